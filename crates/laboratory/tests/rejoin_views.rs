//! Primary views among processes that are killed and come back without their memory, over the order that puts
//! them in their seats, real links and detectors.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    consensus::Propose,
    group_membership::View,
    link::Links,
    reconfigurable::{self, Restore},
    total_order,
    view_synchrony::{Indication, Lost, Request},
};
use quorate_broadcast::by_leader;
use quorate_core::{
    Addr, Host, Incarnation, MessageId, ProcessId, ProcessSet, Time,
    message::fold,
    wire::{self, Wire},
};
use quorate_detectors::{increasing_timeout, lowest_rank};
use quorate_links::perfect::{LinkSettings, PerfectLinks};
use quorate_membership::primary::{self, Agreed, Ordered, put_proposal};
use quorate_sim::testing::p;
use quorate_sim::{Crash, SimHost, Timed, World};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

const fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// What a user has of the group: by which start of whom, and the number of its broadcast.
type Store = BTreeMap<(usize, u64, u64), Vec<u8>>;

fn key(id: MessageId) -> (usize, u64, u64) {
    let MessageId { origin, sequence } = id;
    (origin.process.rank(), origin.incarnation.0, sequence)
}

/// The indications to a user, in order.
type Told = Arc<Mutex<Vec<Indication>>>;

/// One start of a process.
#[derive(Clone)]
struct Start {
    requests: Addr<Request>,
    told: Told,
    store: Arc<Mutex<Store>>,
}

/// The user: it answers at once, joins when it is outside, and keeps all deliveries.
fn user(
    world: &World,
    me: ProcessId,
    joins: bool,
    port: Arc<OnceLock<Addr<Request>>>,
) -> (Addr<Indication>, Told, Arc<Mutex<Store>>) {
    let (told, store) = (Told::default(), Arc::<Mutex<Store>>::default());
    let (log, mine) = (told.clone(), store.clone());
    let up = world.application_with(me, move |indication: Indication, _| {
        let port = port.get().unwrap();
        let mut mine = mine.lock().unwrap();
        match &indication {
            Indication::Block => port.send(Request::BlockOk),
            Indication::StateWanted { view } => {
                let (view, state) = (*view, wire::encode_value(&*mine).unwrap());
                port.send(Request::State { view, state });
            }
            Indication::State(state) => *mine = wire::decode_value(state).unwrap(),
            Indication::Excluded { .. } if joins => port.send(Request::Join),
            Indication::Deliver(deliver) => {
                let had = mine.insert(key(deliver.id), deliver.payload.to_vec());
                assert!(had.is_none(), "{} is delivered twice", deliver.id);
            }
            _ => {}
        }
        log.lock().unwrap().push(indication);
    });
    (up, told, store)
}

/// The order, and its statements about views: its state is what was agreed on.
fn order(
    host: &SimHost,
    links: &PerfectLinks<SimHost>,
    leader: &quorate_abstractions::Subscribe<quorate_abstractions::leader::Trust>,
    up: Addr<Ordered>,
) -> Addr<Propose> {
    use reconfigurable::{Indication, Request};
    let port: Arc<OnceLock<Addr<Request>>> = Arc::default();
    let answers = port.clone();
    let state = Mutex::new((Agreed::first(host.processes()), BytesMut::new()));
    let user = Addr::new(move |indication| {
        let mut state = state.lock().unwrap();
        let (agreed, coming) = &mut *state;
        match indication {
            Indication::Deliver(deliver) => {
                for proposal in deliver.payloads {
                    if let Some(decision) = agreed.order(proposal).unwrap() {
                        up.send(Ordered::Decide(decision));
                    }
                }
            }
            Indication::Epoch(_) => {}
            Indication::StateWanted { transfer } => {
                let view = reconfigurable::View::of_bytes(wire::encode(agreed));
                let request = Request::State { transfer, view };
                answers.get().unwrap().send(request);
            }
            Indication::Restore(Restore::Begin | Restore::Abandoned) => coming.clear(),
            Indication::Restore(Restore::Chunk(chunk)) => coming.extend_from_slice(&chunk),
            Indication::Restore(Restore::Whole) => {
                *agreed = Agreed::decode(std::mem::take(coming).freeze()).unwrap();
                up.send(Ordered::Restored(agreed.clone()));
            }
        }
    });
    let requests = by_leader::spawn_reconfigurable(
        &host.at("order"),
        by_leader::OrderSettings::default(),
        &links.at("order"),
        leader,
        links.adopt(),
        user,
    );
    assert!(port.set(requests.clone()).is_ok());
    requests.with(|proposal: Propose| {
        let payload = put_proposal(&proposal);
        Request::Broadcast(total_order::Broadcast { payload })
    })
}

fn wire_up(world: &World, me: ProcessId, joins: bool) -> Start {
    let host = world.host(me);
    let settings = LinkSettings {
        rejoin: Some("order".to_owned()),
        ..LinkSettings::default()
    };
    let links = PerfectLinks::new(&host, settings);
    let heartbeat = |up| links.heartbeat(up);
    let detector = increasing_timeout::spawn_with_incarnations(
        &host.at("detector"),
        increasing_timeout::DetectorSettings::default(),
        heartbeat,
        &links.status(),
    );
    let leader = lowest_rank::spawn_by_reach(&host.at("leader"), &detector.reach);
    let port = Arc::new(OnceLock::new());
    let (up, told, store) = user(world, me, joins, port.clone());
    let requests = primary::spawn_rejoining(
        &host.at("views"),
        links.at("order").at("views").lane(),
        &links.status(),
        |up| order(&host, &links, &leader, up),
        &detector.suspicions,
        up,
    );
    assert!(port.set(requests.clone()).is_ok());
    links.start(world.fair_loss(me, links.arrivals())).unwrap();
    Start {
        requests,
        told,
        store,
    }
}

struct Cluster {
    world: World,
    /// For each process its starts, the present one last.
    starts: Vec<Vec<Start>>,
    /// The number of broadcasts of starts that live to the end.
    said: u64,
}

impl Cluster {
    fn new(n: usize, seed: u64, loss: f64) -> Self {
        let timed = Timed::uniform(Duration::from_millis(1), Duration::from_millis(5)).loss(loss);
        let world = World::new(n, seed, timed).unwrap();
        let world = world.maximum_events(100_000_000);
        let starts = world.processes().map(|me| vec![wire_up(&world, me, true)]);
        let starts = starts.collect();
        Cluster {
            world,
            starts,
            said: 0,
        }
    }

    fn run_until(&mut self, time: Time) {
        self.world.call(p(1), time, || {});
        self.world.run_until(time);
    }

    fn now(&self, rank: usize) -> &Start {
        self.starts[rank - 1].last().unwrap()
    }

    fn say(&mut self, rank: usize, time: Time) {
        self.said += 1;
        let payload = Bytes::from(self.said.to_be_bytes().to_vec());
        let request = Request::Broadcast(payload);
        self.world
            .request(p(rank), time, &self.now(rank).requests, request);
    }

    /// Every process broadcasts every 40 milliseconds.
    fn chat(&mut self, ranks: &[usize], from: u64, until: u64) {
        for time in (from..until).step_by(40) {
            for rank in ranks {
                self.say(*rank, at(time + *rank as u64));
            }
        }
    }

    /// Kills the process at one time, and starts it again at the other. The run has passed both times
    /// afterwards.
    fn restart(&mut self, rank: usize, killed: Time, back: Time, joins: bool) {
        self.world.crash(p(rank), Crash::at(killed));
        self.run_until(back);
        let number = self.starts[rank - 1].len() as u64;
        let incarnation = Incarnation(1000 * number + rank as u64);
        assert!(self.world.restart(p(rank), incarnation));
        let start = wire_up(&self.world, p(rank), joins);
        self.starts[rank - 1].push(start);
    }

    /// Safety, over all starts: views are the same everywhere and grow; processes that pass from one to the
    /// next together have delivered the same in it; no process that went on has a message that is lost for
    /// certain.
    fn check(&self, what: &str) {
        let mut views = BTreeMap::new();
        let mut passed: BTreeMap<u64, BTreeSet<MessageId>> = BTreeMap::new();
        let mut lost = Vec::new();
        for start in self.starts.iter().flatten() {
            let told = start.told.lock().unwrap();
            let mut present: Option<(u64, BTreeSet<MessageId>)> = None;
            let (mut last, mut left) = (None, 0);
            for indication in told.iter() {
                match indication {
                    Indication::View { view, .. } => {
                        let View { id, members } = *view;
                        assert!(last < Some(id), "{what}: view {id} after {last:?}");
                        last = Some(id);
                        let known = views.entry(id).or_insert(members);
                        assert_eq!(*known, members, "{what}: view {id}");
                        if let Some((before, had)) = present.take() {
                            assert_eq!(before + 1, id, "{what}");
                            let known = passed.entry(before).or_insert_with(|| had.clone());
                            assert_eq!(*known, had, "{what}: in view {before}");
                        }
                        present = Some((id, BTreeSet::new()));
                    }
                    Indication::Deliver(deliver) => {
                        if let Some((view, had)) = &mut present {
                            assert_eq!(*view, deliver.view, "{what}");
                            had.insert(deliver.id);
                        }
                    }
                    Indication::Excluded { .. } => {
                        left = present.take().map_or(0, |(view, _)| view);
                    }
                    Indication::Lost(Lost { id, is_certain, .. }) => {
                        lost.push((left, *id, *is_certain));
                    }
                    _ => {}
                }
            }
        }
        for (view, id, is_certain) in lost {
            let had = passed.get(&view).is_some_and(|had| had.contains(&id));
            assert!(!(is_certain && had), "{what}: {id} is not lost");
        }
    }

    /// In addition, liveness: these processes are together, without others, with the same content, and have
    /// all their broadcasts.
    fn check_together(&self, ranks: &[usize], what: &str) {
        self.check(what);
        let members = ranks.iter().map(|rank| p(*rank)).collect();
        let store = self.now(ranks[0]).store.lock().unwrap().clone();
        for rank in ranks {
            let start = self.now(*rank);
            let told = start.told.lock().unwrap();
            let last = told.iter().rev().find_map(|indication| match indication {
                Indication::View { view, .. } => Some(view.members),
                Indication::Excluded { .. } => Some(ProcessSet::EMPTY),
                _ => None,
            });
            assert_eq!(last, Some(members), "{what}: p{rank}, {:?}", told.last());
            let mine = start.store.lock().unwrap();
            assert_eq!(*mine, store, "{what}: p{rank}");
            // Nothing is swallowed: each of its deliveries is here, or was returned as lost.
            for indication in told.iter() {
                let Indication::Deliver(deliver) = indication else {
                    continue;
                };
                let is_own = deliver.id.origin.process == p(*rank);
                let back =
                    |i: &Indication| matches!(i, Indication::Lost(lost) if lost.id == deliver.id);
                assert!(
                    !is_own || store.contains_key(&key(deliver.id)) || told.iter().any(back),
                    "{what}: {} is swallowed",
                    deliver.id
                );
            }
        }
    }
}

#[test]
fn three_rolling_restarts_and_the_group_goes_on_with_its_state() {
    for gap in [40, 400, 3000] {
        let mut cluster = Cluster::new(3, gap, 0.0);
        cluster.run_until(at(1000));
        cluster.chat(&[1, 2, 3], 1000, 2000);
        let mut now = 2000;
        for rank in 1..=3 {
            cluster.restart(rank, at(now), at(now + gap), true);
            now += gap + 4000;
            cluster.run_until(at(now));
            cluster.chat(&[1, 2, 3], now, now + 1000);
            now += 1000;
        }
        cluster.run_until(at(now + 10_000));
        let what = format!("back after {gap} ms");
        cluster.check_together(&[1, 2, 3], &what);
        let store = cluster.now(1).store.lock().unwrap();
        assert_eq!(
            store.len(),
            4 * 25 * 3,
            "{what}: everything was said by members"
        );
    }
}

#[test]
fn who_was_started_again_is_no_member_before_it_asks_and_nobody_waits_for_it() {
    let mut cluster = Cluster::new(3, 1, 0.0);
    cluster.run_until(at(1000));
    cluster.restart(2, at(1000), at(1010), false);
    cluster.chat(&[1, 3], 1020, 3000);
    cluster.run_until(at(13_000));
    cluster.check_together(&[1, 3], "p2 has not asked");
    let told = cluster.now(2).told.lock().unwrap().clone();
    assert!(
        told.iter()
            .all(|i| matches!(i, Indication::Excluded { .. }))
            && !told.is_empty(),
        "{told:?}"
    );
    let requests = cluster.now(2).requests.clone();
    cluster.say(2, at(13_500));
    cluster
        .world
        .request(p(2), at(14_000), &requests, Request::Join);
    cluster.run_until(at(24_000));
    cluster.check_together(&[1, 2, 3], "p2 has asked");
    let store = cluster.now(1).store.lock().unwrap();
    let last = cluster.said.to_be_bytes().to_vec();
    assert!(
        store.values().any(|payload| *payload == last),
        "it was said in the view that it joined"
    );
}

#[test]
fn restarts_at_any_time_divide_nobody_and_swallow_nothing() {
    for seed in 0..60 {
        let mut drawn = 0;
        let mut draw = |below: u64| {
            drawn += 1;
            fold(fold(seed, drawn), 7) % below
        };
        let n = 3 + 2 * (seed % 2) as usize;
        let loss = if seed % 4 < 2 { 0.0 } else { 0.1 };
        let mut cluster = Cluster::new(n, seed, loss);
        let all: Vec<usize> = (1..=n).collect();
        cluster.run_until(at(1500));
        let (mut now, mut is_quick) = (1500, false);
        for _ in 0..4 {
            let rank = 1 + draw(n as u64) as usize;
            let killed = now + draw(600);
            let back = killed + 1 + draw(1500);
            let others: Vec<usize> = all.iter().copied().filter(|other| *other != rank).collect();
            cluster.chat(&[rank], now, killed);
            cluster.chat(&others, now, back);
            cluster.restart(rank, at(killed), at(back), true);
            // With five processes the next may be killed before this one is back: a majority keeps its
            // memory.
            is_quick = n == 5 && !is_quick && draw(2) == 0;
            now = back + if is_quick { 100 } else { 6000 };
            cluster.chat(&all, back + 1, now);
            cluster.run_until(at(now));
        }
        cluster.run_until(at(now + 40_000));
        cluster.check_together(&all, &format!("n = {n}, seed {seed}"));
    }
}

/// Processes are cut off for a while, and continue to broadcast; in between some are killed. Returns how many
/// messages were returned as lost for certain, and how many as doubtful.
fn run_with_cuts(seed: u64) -> (usize, usize) {
    let mut drawn = 0;
    let mut draw = |below: u64| {
        drawn += 1;
        fold(fold(seed, drawn), 7) % below
    };
    let mut cluster = Cluster::new(5, seed, 0.0);
    let all = [1, 2, 3, 4, 5];
    cluster.run_until(at(1500));
    let mut now = 1500;
    for _ in 0..3 {
        let cut_off = 1 + draw(5) as usize;
        let other = 1 + (cut_off + draw(4) as usize) % 5;
        let (from, to) = (now + draw(400), now + 1500 + draw(6000));
        let side = ProcessSet::from_iter([p(cut_off)]);
        cluster.world.partition(side, at(from), Some(at(to)));
        cluster.chat(&all, now, from + 2000);
        cluster.run_until(at(from + 2000));
        if draw(2) == 0 {
            let killed = from + 2001 + draw(500);
            cluster.restart(other, at(killed), at(killed + 1 + draw(800)), true);
        }
        now = to.max(from + 4000) + 8000;
        cluster.run_until(at(now));
    }
    cluster.run_until(at(now + 40_000));
    cluster.check_together(&all, &format!("seed {seed}"));
    let count = |certain| {
        let starts = cluster.starts.iter().flatten();
        let given = starts.map(|start| {
            let told = start.told.lock().unwrap();
            let is_it =
                |i: &&Indication| matches!(i, Indication::Lost(lost) if lost.is_certain == certain);
            told.iter().filter(is_it).count()
        });
        given.sum()
    };
    (count(true), count(false))
}

#[test]
fn who_is_cut_off_while_others_are_killed_gets_back_what_the_others_lack() {
    let given = (0..20).map(run_with_cuts);
    let (lost, doubtful) = given.fold((0, 0), |all, next| (all.0 + next.0, all.1 + next.1));
    assert!(lost > 100, "{lost} lost, {doubtful} doubtful");
}

/// A process that has asked to join is killed before it is let in, and comes back without asking: no process
/// waits for it.
#[test]
fn who_is_killed_while_it_joins_and_does_not_ask_again_holds_up_nobody() {
    for after in (0..200).step_by(10) {
        let mut cluster = Cluster::new(3, after, 0.0);
        cluster.run_until(at(1000));
        cluster.restart(3, at(1000), at(1010), true);
        // It gets its seat and its state, and asks to join some time after it is back.
        let killed = 1011 + after;
        cluster.run_until(at(killed));
        cluster.restart(3, at(killed), at(killed + 10), false);
        cluster.chat(&[1, 2], killed + 20, killed + 1000);
        cluster.run_until(at(killed + 15_000));
        cluster.check_together(&[1, 2], &format!("killed {after} ms after it was back"));
        let store = cluster.now(1).store.lock().unwrap().len();
        assert_eq!(store, 2 * 25, "{after}");
    }
}
