//! A cluster of whole processes in a simulated network with weight: real links, real detectors, a stack on
//! top, and a user. Processes start late, crash, and start again without their memory.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(dead_code, reason = "each test uses a part")]

use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    Subscribe,
    leader::Trust,
    link::{Links, Status},
    pressure::{Room, Wait},
    reconfigurable::{Indication, Request, Restore, View},
    total_order,
};
use quorate_broadcast::by_leader;
use quorate_core::{Addr, Host, Incarnation, ProcessId, Time, wire};
use quorate_detectors::{increasing_timeout, lowest_rank};
use quorate_links::perfect::{LinkSettings, PerfectLinks};
pub use quorate_sim::testing::p;
use quorate_sim::{Adversary, Crash, SimHost, World};
use quorate_stacks::broadcasts::{self, Broadcast, Dependencies};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

pub const fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// The stack on the links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// The leader-driven total order that processes rejoin.
    Order,
    Broadcast(Broadcast),
}

/// The settings of every process.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub stack: Stack,
    /// What a peer may owe the link, in bytes.
    pub limit: usize,
    /// Whether the edge is a byte stream.
    pub stream: bool,
}

impl Settings {
    pub fn new(stack: Stack, limit: usize) -> Self {
        Settings {
            stack,
            limit,
            stream: false,
        }
    }

    fn links(&self) -> LinkSettings {
        let rejoin = (self.stack == Stack::Order).then(|| "order".to_owned());
        LinkSettings {
            queue_limit: self.limit,
            stream: self.stream,
            rejoin,
            window: Some(64 << 10),
            ..LinkSettings::default()
        }
    }
}

/// The indications to one start of a process.
#[derive(Default)]
pub struct Log {
    /// The deliveries, or the state that it was given, in order, with their times.
    pub delivered: Vec<(Time, Bytes)>,
    /// How many states it was given.
    pub states: usize,
    pub statuses: Vec<Status>,
    /// The payloads still to be broadcast: one more whenever one of its own is delivered.
    waiting: Vec<Bytes>,
    /// Whether its last broadcast has been delivered.
    is_idle: bool,
    /// Whether the links have no room.
    is_full: bool,
    /// The chunks of an incoming state so far.
    restored: BytesMut,
}

impl Log {
    pub fn payloads(&self) -> Vec<Bytes> {
        self.delivered
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect()
    }

    /// When it delivered this payload.
    pub fn time_of(&self, payload: &[u8]) -> Option<Time> {
        let mut delivered = self.delivered.iter();
        delivered
            .find(|(_, known)| known == payload)
            .map(|(time, _)| *time)
    }

    pub fn is_excluded(&self) -> bool {
        let mut statuses = self.statuses.iter();
        statuses.any(|status| matches!(status, Status::Excluded { .. }))
    }
}

/// One start of a process.
#[derive(Clone)]
pub struct Start {
    broadcast: Addr<Bytes>,
    log: Arc<Mutex<Log>>,
}

impl Start {
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

pub struct Cluster {
    pub world: World,
    settings: Settings,
    /// The present start of each process.
    starts: Vec<Start>,
    restarts: u64,
}

impl Cluster {
    pub fn new(
        n: usize,
        seed: u64,
        settings: Settings,
        adversary: impl Adversary + 'static,
    ) -> Self {
        let world = World::new(n, seed, adversary).unwrap();
        let world = world.maximum_events(200_000_000);
        let starts = world.processes().map(|me| wire(&world, me, settings));
        let starts = starts.collect();
        Cluster {
            world,
            settings,
            starts,
            restarts: 0,
        }
    }

    /// The present start of this process.
    pub fn of(&self, rank: usize) -> &Start {
        &self.starts[rank - 1]
    }

    /// Lets the process broadcast this at this time.
    pub fn ask(&self, rank: usize, time: Time, payload: Bytes) {
        self.world
            .request(p(rank), time, &self.of(rank).broadcast, payload);
    }

    /// Lets the process broadcast these from this time on, each as soon as it has delivered the one before.
    pub fn ask_in_turn(&self, rank: usize, time: Time, mut payloads: Vec<Bytes>) {
        payloads.reverse();
        if let Some(first) = payloads.pop() {
            self.of(rank).log().waiting = payloads;
            self.ask(rank, time, first);
        }
    }

    pub fn run_until(&mut self, time: Time) {
        self.world.call(p(1), time, || {});
        self.world.run_until(time);
    }

    /// Kills the process at one time, and starts it again at the other. The run has passed both times
    /// afterwards.
    pub fn restart(&mut self, rank: usize, killed: Time, back: Time) {
        self.world.crash(p(rank), Crash::at(killed));
        self.run_until(back);
        self.restarts += 1;
        let incarnation = Incarnation(1000 * self.restarts + rank as u64);
        assert!(self.world.restart(p(rank), incarnation));
        self.starts[rank - 1] = wire(&self.world, p(rank), self.settings);
    }

    /// Why some of these processes lack something that another has; `None` if they lack nothing.
    pub fn trouble(&self, ranks: impl IntoIterator<Item = usize>) -> Option<String> {
        let all = self.starts.iter().map(|start| start.log().delivered.len());
        let most = all.max().unwrap_or(0);
        ranks.into_iter().find_map(|rank| {
            let log = self.of(rank).log();
            let has = log.delivered.len();
            let bad = log.is_excluded() || has < most;
            bad.then(|| {
                let told = log.statuses.iter().rev().find(|s| !is_ordinary(s));
                format!("p{rank} has {has} of {most}; {told:?}")
            })
        })
    }

    /// Of any two sequences one is a prefix of the other.
    pub fn assert_one_order(&self) {
        let logs: Vec<_> = self
            .starts
            .iter()
            .map(|start| start.log().payloads())
            .collect();
        let longest = logs.iter().max_by_key(|log| log.len()).unwrap();
        assert!(
            logs.iter().all(|log| longest.starts_with(log)),
            "two orders"
        );
    }
}

fn is_ordinary(status: &Status) -> bool {
    matches!(status, Status::Connected { .. } | Status::Admitted)
}

fn wire(world: &World, me: ProcessId, settings: Settings) -> Start {
    let host = world.host(me);
    let links = PerfectLinks::new(&host, settings.links());
    let heartbeat = |up| links.heartbeat(up);
    let detection = increasing_timeout::DetectorSettings::default();
    let detector = increasing_timeout::spawn(&host.at("detector"), detection, heartbeat);
    let leader = lowest_rank::spawn_by_reach(&host.at("leader"), &detector.reach);
    let log = Arc::<Mutex<Log>>::default();
    let statuses = log.clone();
    links.status().send(Addr::new(move |status| {
        statuses.lock().unwrap().statuses.push(status);
    }));
    let broadcast = match settings.stack {
        Stack::Order => order(world, &host, &links, &leader, &log),
        Stack::Broadcast(broadcast) => {
            let port = Arc::new(OnceLock::new());
            let (user, again) = (log.clone(), port.clone());
            let up = world.application_with(me, move |deliver: total_order::Deliver, now| {
                deliver_to(&user, me, deliver, now);
                go_on(&user, again.get().unwrap());
            });
            let links = links.at("broadcast");
            let below = Dependencies {
                links: links.clone(),
                leader,
                eventually_perfect: detector.suspicions,
                perfect: None,
                total_order: by_leader::OrderSettings::default(),
            };
            let requests = broadcasts::spawn(broadcast, &host, &below, up).unwrap();
            assert!(port.set(requests.clone()).is_ok());
            let (user, again) = (log.clone(), requests.clone());
            let room = Addr::new(move |room| {
                user.lock().unwrap().is_full = room != Room::Open;
                go_on(&user, &again);
            });
            links.pressure(Wait::default(), room);
            requests
        }
    };
    links.start(world.fair_loss(me, links.arrivals())).unwrap();
    Start { broadcast, log }
}

/// The user takes in a delivery.
fn deliver_to(log: &Mutex<Log>, me: ProcessId, deliver: total_order::Deliver, now: Time) {
    let mut log = log.lock().unwrap();
    log.is_idle |= deliver.origin.process == me;
    let payloads = deliver.payloads.into_iter();
    log.delivered.extend(payloads.map(|payload| (now, payload)));
}

/// A user that honours room broadcasts its next payload, if it has delivered the one before, and there is
/// room.
fn go_on(log: &Mutex<Log>, broadcast: &Addr<Bytes>) {
    let next = {
        let mut log = log.lock().unwrap();
        let may_go_on = log.is_idle && !log.is_full;
        let next = may_go_on.then(|| log.waiting.pop()).flatten();
        log.is_idle &= next.is_none();
        next
    };
    if let Some(next) = next {
        broadcast.send(next);
    }
}

/// The order, and a user that keeps all payloads and gives them away as its state.
fn order(
    world: &World,
    host: &SimHost,
    links: &PerfectLinks<SimHost>,
    leader: &Subscribe<Trust>,
    log: &Arc<Mutex<Log>>,
) -> Addr<Bytes> {
    let port: Arc<OnceLock<Addr<Request>>> = Arc::default();
    let (user, requests, me) = (log.clone(), port.clone(), host.me());
    let broadcast = Addr::new({
        let port = port.clone();
        move |payload| {
            let request = Request::Broadcast(total_order::Broadcast { payload });
            port.get().unwrap().send(request);
        }
    });
    let up = world.application_with(me, move |indication: Indication, now| match indication {
        Indication::Deliver(deliver) => deliver_to(&user, me, deliver, now),
        Indication::Epoch(_) => {}
        Indication::StateWanted { transfer } => {
            let mut state = BytesMut::new();
            wire::put_batch(&user.lock().unwrap().payloads(), &mut state);
            let view = View::of_bytes(state.freeze());
            requests
                .get()
                .unwrap()
                .send(Request::State { transfer, view });
        }
        Indication::Restore(Restore::Begin | Restore::Abandoned) => {
            user.lock().unwrap().restored.clear();
        }
        Indication::Restore(Restore::Chunk(chunk)) => {
            user.lock().unwrap().restored.extend_from_slice(&chunk);
        }
        Indication::Restore(Restore::Whole) => {
            let mut log = user.lock().unwrap();
            let state = std::mem::take(&mut log.restored).freeze();
            let payloads: Vec<Bytes> = wire::take_batch(state).unwrap();
            log.delivered = payloads.into_iter().map(|payload| (now, payload)).collect();
            log.states += 1;
        }
    });
    let requests = by_leader::spawn_reconfigurable(
        &host.at("order"),
        by_leader::OrderSettings::default(),
        &links.at("order"),
        leader,
        links.adopt(),
        up,
    );
    assert!(port.set(requests).is_ok());
    broadcast
}
