//! What a message costs: sent by one link, received by another, without a network in between.
//!
//! `cargo bench -p quorate-links`; a message's cost at both ends together is the time by item.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{Indication, Transmit},
    link::{Deliver, Links, SendRequest, To},
};
use quorate_core::{
    Addr, Algorithm, Counters, Host, Incarnation, Mailbox, Membership, Name, Observe, ProcessId,
    Time,
    actor::{Actor, Unwatched, join},
    mailbox::Schedule,
};
use quorate_links::perfect::{LinkSettings, PerfectLinks};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How many messages enter a link in one batch.
const BATCH: u64 = 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = [64, 1024])]
fn datagrams(bencher: divan::Bencher, length: usize) {
    bench(bencher, length, LinkSettings::default());
}

#[divan::bench(args = [64, 1024])]
fn large_datagrams(bencher: divan::Bencher, length: usize) {
    let datagram = 8 * 1024;
    bench(
        bencher,
        length,
        LinkSettings {
            datagram,
            ..LinkSettings::default()
        },
    );
}

#[divan::bench(args = [64, 1024])]
fn stream(bencher: divan::Bencher, length: usize) {
    let (datagram, stream) = (60 * 1024, true);
    bench(
        bencher,
        length,
        LinkSettings {
            datagram,
            stream,
            ..LinkSettings::default()
        },
    );
}

fn bench(bencher: divan::Bencher, length: usize, settings: LinkSettings) {
    let mut pair = Pair::new(&settings);
    let message = Bytes::from(vec![7; length]);
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .bench_local(|| pair.send_batch(&message));
}

struct Nobody;
impl Schedule for Nobody {
    fn posted(&self, _: usize, _: bool) {}
}

#[derive(Clone)]
struct BenchHost {
    me: ProcessId,
    processes: Membership,
    counters: Counters,
    path: Name,
    actors: Arc<Mutex<Vec<Box<dyn Actor>>>>,
}

impl Host for BenchHost {
    fn me(&self) -> ProcessId {
        self.me
    }
    fn incarnation(&self) -> Incarnation {
        Incarnation(self.me.rank() as u64)
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
    fn at(&self, _: &str) -> Self {
        self.clone()
    }
    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E> {
        Mailbox::new(0, Arc::new(Nobody))
    }
    fn start<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    ) {
        let (name, counters) = (self.path.clone(), self.counters.clone());
        let actor = join(name, 1, counters, mailbox, algorithm, route);
        self.actors.lock().unwrap().push(actor);
    }
}

struct End {
    actor: Box<dyn Actor>,
    lane: Addr<SendRequest<Bytes>>,
    arrivals: Addr<Indication>,
    sent: Arc<Mutex<Vec<Transmit>>>,
    delivered: Arc<AtomicU64>,
}

impl End {
    fn new(rank: usize, settings: &LinkSettings) -> End {
        let host = BenchHost {
            me: ProcessId::from_rank(rank).unwrap(),
            processes: Membership::of_size(2).unwrap(),
            counters: Counters::default(),
            path: Name::root(),
            actors: Arc::default(),
        };
        let links = PerfectLinks::new(&host, settings.clone());
        let delivered: Arc<AtomicU64> = Arc::default();
        let count = delivered.clone();
        let up = Addr::new(move |deliver: Deliver<Bytes>| {
            divan::black_box(deliver);
            count.fetch_add(1, Relaxed);
        });
        let lane = links.at("lane").open(up);
        let sent: Arc<Mutex<Vec<Transmit>>> = Arc::default();
        let edge = sent.clone();
        links
            .start(Addr::new(move |transmit| {
                edge.lock().unwrap().push(transmit);
            }))
            .unwrap();
        let mut actor = host.actors.lock().unwrap().pop().unwrap();
        actor.start(Time::ZERO, &mut Unwatched);
        End {
            actor,
            lane,
            arrivals: links.arrivals(),
            sent,
            delivered,
        }
    }

    /// Handles the waiting events, and passes outgoing datagrams to `other`. Returns whether there were any.
    fn run(&mut self, now: Time, other: &Addr<Indication>) -> bool {
        self.actor.handle_batch(now, &mut Unwatched);
        self.actor.take_alarms(&mut Vec::new());
        let mut sent = self.sent.lock().unwrap();
        let some = !sent.is_empty();
        for Transmit { bytes, segment, .. } in sent.drain(..) {
            other.send(Indication::Arrive { bytes, segment });
        }
        some
    }
}

struct Pair {
    ends: [End; 2],
    now: Time,
}

impl Pair {
    fn new(settings: &LinkSettings) -> Pair {
        let ends = [End::new(1, settings), End::new(2, settings)];
        let mut pair = Pair {
            ends,
            now: Time::ZERO,
        };
        pair.exchange();
        pair
    }

    fn exchange(&mut self) {
        let [a, b] = &mut self.ends;
        loop {
            self.now = self.now + Duration::from_micros(20);
            let sent = a.run(self.now, &b.arrivals);
            let answered = b.run(self.now, &a.arrivals);
            if !sent && !answered {
                return;
            }
        }
    }

    fn send_batch(&mut self, message: &Bytes) {
        let to = To::One(ProcessId::from_rank(2).unwrap());
        let before = self.ends[1].delivered.load(Relaxed);
        for _ in 0..BATCH {
            let message = message.clone();
            self.ends[0].lane.send(SendRequest { to, message });
        }
        self.exchange();
        assert_eq!(self.ends[1].delivered.load(Relaxed) - before, BATCH);
    }
}
