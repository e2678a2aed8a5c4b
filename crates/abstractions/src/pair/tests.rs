use super::*;
use quorate_core::{Incarnation, wire::Undecodable};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

/// A process of n.
#[derive(Clone)]
struct Alone {
    me: ProcessId,
    processes: Membership,
    counters: Counters,
    path: Name,
}

fn alone(rank: usize, n: usize) -> Alone {
    Alone {
        me: p(rank),
        processes: Membership::of_size(n).unwrap(),
        counters: Counters::default(),
        path: Name::root(),
    }
}

impl Host for Alone {
    fn me(&self) -> ProcessId {
        self.me
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(7)
    }

    fn processes(&self) -> &Membership {
        &self.processes
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn path(&self) -> &Name {
        &self.path
    }

    fn at(&self, segment: &str) -> Self {
        let path = self.path.at(segment);
        Alone {
            path,
            ..self.clone()
        }
    }

    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E> {
        unreachable!("no module is started")
    }

    fn start<A: Algorithm>(
        &self,
        _: Mailbox<A::Event>,
        _: A,
        _: impl FnMut(A::Effect) + Send + 'static,
    ) {
    }
}

#[test]
fn pairs_of_one_colour_have_no_process_in_common_and_each_process_has_every_colour() {
    for n in 1..=9 {
        let mut colours = vec![BTreeSet::new(); n];
        for me in 1..=n {
            let mut mine = BTreeSet::new();
            for partner in 1..=n {
                let pair = Pair::of(&alone(me, n), p(partner)).unwrap();
                let back = Pair::of(&alone(partner, n), p(me)).unwrap();
                assert_eq!(pair.colour(), back.colour());
                assert!(colours[pair.colour()].insert((me, partner)));
                assert!(mine.insert(pair.colour()), "n = {n}: p{me}, p{partner}");
            }
            assert_eq!(mine, (0..n).collect(), "n = {n}");
        }
        for pairs in colours {
            let firsts: BTreeSet<_> = pairs.iter().map(|(me, _)| me).collect();
            assert_eq!(firsts.len(), n, "each process once");
        }
    }
    assert_eq!(Pair::of(&alone(1, 3), p(4)), None);
}

#[test]
fn the_two_are_p1_and_p2_in_the_order_of_their_ranks() {
    let (higher, lower) = (alone(5, 5), alone(2, 5));
    let pair = Pair::of(&higher, p(2)).unwrap();
    let host = pair.host(&higher).at("commit");
    assert_eq!((host.me(), host.processes().n()), (p(2), 2));
    assert_eq!(host.path(), &Name::root().at("commit"));
    assert_eq!(host.incarnation(), Incarnation(7));
    let other = Pair::of(&lower, p(5)).unwrap();
    assert_eq!(other.host(&lower).me(), p(1));
    let own = Pair::of(&lower, p(2)).unwrap();
    assert_eq!(
        (own.host(&lower).me(), own.host(&lower).processes().n()),
        (p(1), 1)
    );
}

/// Links that keep what is sent, and where deliveries and statuses go.
#[derive(Clone, Default)]
struct Kept {
    sent: Arc<Mutex<Vec<To>>>,
    up: Arc<Mutex<Option<Addr<Deliver<Byte>>>>>,
    told: Arc<Mutex<Option<Addr<Status>>>>,
}

/// A message.
struct Byte;

impl Wire for Byte {
    fn encode(&self, _: &mut bytes::BytesMut) {}

    fn decode(_: bytes::Bytes) -> Result<Self, Undecodable> {
        Ok(Byte)
    }
}

impl Links for Kept {
    fn at(&self, _: &str) -> Self {
        self.clone()
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        let narrow = Addr::new(move |Deliver { from, .. }: Deliver<Byte>| {
            if let Ok(message) = M::decode(bytes::Bytes::new()) {
                up.send(Deliver { from, message });
            }
        });
        *self.up.lock().unwrap() = Some(narrow);
        let sent = self.sent.clone();
        Addr::new(move |SendRequest { to, .. }| sent.lock().unwrap().push(to))
    }

    fn status(&self) -> Subscribe<Status> {
        let told = self.told.clone();
        Addr::new(move |up| *told.lock().unwrap() = Some(up))
    }
}

#[test]
fn what_is_sent_and_told_in_the_pair_is_renamed_and_what_is_not_of_it_is_dropped() {
    let pair = Pair::of(&alone(3, 5), p(2)).unwrap();
    let kept = Kept::default();
    let links = pair.links(&kept).at("commit");
    let heard: Arc<Mutex<Vec<ProcessId>>> = Arc::default();
    let mine = heard.clone();
    let port = links.open(Addr::new(move |Deliver { from, .. }: Deliver<Byte>| {
        mine.lock().unwrap().push(from);
    }));
    let both: ProcessSet = [p(2), p(3)].into_iter().collect();
    let one: ProcessSet = [p(2)].into_iter().collect();
    for (to, outside) in [
        (To::One(p(1)), To::One(p(2))),
        (To::One(p(2)), To::One(p(3))),
        (To::One(p(3)), To::Some(ProcessSet::EMPTY)),
        (To::Some([p(1)].into_iter().collect()), To::Some(one)),
        (To::All, To::Some(both)),
    ] {
        let message = Byte;
        port.send(SendRequest { to, message });
        assert_eq!(kept.sent.lock().unwrap().pop(), Some(outside), "{to:?}");
    }
    let up = kept.up.lock().unwrap().clone().unwrap();
    for from in 1..=5 {
        let (from, message) = (p(from), Byte);
        up.send(Deliver { from, message });
    }
    assert_eq!(*heard.lock().unwrap(), [p(1), p(2)], "from p2 and p3 alone");

    let news: Arc<Mutex<Vec<Status>>> = Arc::default();
    let mine = news.clone();
    links.status().send(Addr::new(move |status| {
        mine.lock().unwrap().push(status);
    }));
    let told = kept.told.lock().unwrap().clone().unwrap();
    for peer in [p(1), p(2)] {
        told.send(Status::Begun { peer });
        told.send(Status::Gap { peer });
    }
    told.send(Status::Admitted);
    let peer = p(1);
    let expected = [
        Status::Begun { peer },
        Status::Gap { peer },
        Status::Admitted,
    ];
    assert_eq!(*news.lock().unwrap(), expected);

    let crashes: Arc<Mutex<Vec<ProcessId>>> = Arc::default();
    let mine = crashes.clone();
    let below: Subscribe<Crash> = Addr::new(|up: Addr<Crash>| {
        (1..=5).for_each(|rank| up.send(Crash(p(rank))));
    });
    pair.detector(&below)
        .send(Addr::new(move |Crash(q)| mine.lock().unwrap().push(q)));
    assert_eq!(*crashes.lock().unwrap(), [p(1), p(2)]);
}
