//! A small world for the link's own tests: processes in virtual time, joined by a bad network.
use crate::perfect::{LinkSettings, PerfectLinks};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{Indication, Transmit, datagrams},
    heartbeat::{Beat, Heard},
    link::{Adopt, Deliver, Links, SendRequest, Status, To},
    pressure::{Backlog, Room, Wait},
};
use quorate_core::{
    Addr, Algorithm, Counters, Host, Incarnation, Mailbox, Membership, Name, Observe, ProcessId,
    ProcessSet, Random, Time, TimerId,
    actor::{Actor, Unwatched, join},
    mailbox::Schedule,
};
pub use quorate_sim::testing::p;
use rand::{Rng, SeedableRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

struct Nobody;
impl Schedule for Nobody {
    fn posted(&self, _: usize, _: bool) {}
}

#[derive(Clone)]
struct TestHost {
    me: ProcessId,
    incarnation: Incarnation,
    processes: Membership,
    counters: Counters,
    path: Name,
    seed: u64,
    actors: Arc<Mutex<Vec<Box<dyn Actor>>>>,
}

impl TestHost {
    fn new(rank: usize, incarnation: u64, n: usize, seed: u64) -> Self {
        TestHost {
            me: p(rank),
            incarnation: Incarnation(incarnation),
            processes: Membership::of_size(n).unwrap(),
            counters: Counters::default(),
            path: Name::root(),
            seed,
            actors: Arc::default(),
        }
    }
}

impl Host for TestHost {
    fn me(&self) -> ProcessId {
        self.me
    }
    fn incarnation(&self) -> Incarnation {
        self.incarnation
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
        TestHost {
            path: self.path.at(segment),
            ..self.clone()
        }
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
        let actor = join(
            self.path.clone(),
            self.seed,
            self.counters.clone(),
            mailbox,
            algorithm,
            route,
        );
        self.actors.lock().unwrap().push(actor);
    }
}

pub type Shared<T> = Arc<Mutex<T>>;

/// The address whose messages are collected in `into`.
fn collect<T: Send + 'static>(into: &Shared<Vec<T>>) -> Addr<T> {
    let into = into.clone();
    Addr::new(move |item| into.lock().unwrap().push(item))
}

/// What the layers above a link send and see, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    Deliver(&'static str, ProcessId, Bytes),
    Status(Status),
    /// A message of [`World::say`].
    Sent(ProcessId, u32),
}

/// Alters frames in flight, to make a protocol that differs from the checked one.
pub trait Tamper {
    /// A frame leaves: returns the frames that leave in its place, and their receivers.
    fn leave(&mut self, from: ProcessId, to: ProcessId, frame: Bytes) -> Vec<(ProcessId, Bytes)>;
    /// A frame arrives: returns the frame that arrives in its place.
    fn arrive(&mut self, frame: Bytes) -> Bytes;
}

/// Lanes of this name are fair-loss lanes.
pub const VOLATILE: &str = "volatile";

/// One process: its link, some lanes on it, and their output.
pub struct Process {
    pub counters: Counters,
    pub delivered: Shared<Vec<(&'static str, ProcessId, Bytes)>>,
    pub statuses: Shared<Vec<Status>>,
    pub log: Shared<Vec<Seen>>,
    pub heard: Shared<Vec<ProcessId>>,
    pub met: Shared<Vec<ProcessSet>>,
    watch: Addr<Addr<Status>>,
    pub adopt: Addr<Adopt>,
    pub lanes: BTreeMap<&'static str, Addr<SendRequest<Bytes>>>,
    pub arrivals: Addr<Indication>,
    pub beat: Addr<Beat>,
    /// The heartbeats of a second detector.
    pub sign: Addr<Beat>,
    pub drain: Addr<Addr<()>>,
    links: PerfectLinks<TestHost>,
    actor: Box<dyn Actor>,
    sent: Shared<Vec<Transmit>>,
    timers: BTreeMap<(Time, TimerId), bool>,
    pub paused: bool,
}

/// What the network does to a datagram.
#[derive(Clone, Copy)]
pub struct Faults {
    pub loss: f64,
    pub duplication: f64,
    pub latency: Duration,
    /// A random additional delay of up to this time, which reorders datagrams.
    pub spread: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            loss: 0.0,
            duplication: 0.0,
            latency: ms(1),
            spread: Duration::ZERO,
        }
    }
}

pub struct World {
    pub n: usize,
    pub now: Time,
    pub processes: BTreeMap<ProcessId, Process>,
    pub faults: Faults,
    /// Directed channels that carry nothing.
    pub cuts: Vec<(ProcessId, ProcessId)>,
    pub settings: LinkSettings,
    /// Every transmission so far, if they are recorded.
    pub record: Option<Vec<(ProcessId, Transmit)>>,
    pub tamper: Option<Box<dyn Tamper>>,
    /// Datagrams of this process are delayed by up to this time more.
    pub late: Option<(ProcessId, Duration)>,
    said: u32,
    flights: BTreeMap<(Time, u64), (ProcessId, Bytes)>,
    next_flight: u64,
    rng: Random,
    seed: u64,
}

impl World {
    pub fn new(n: usize, seed: u64) -> Self {
        World {
            n,
            now: Time::ZERO,
            processes: BTreeMap::new(),
            faults: Faults::default(),
            cuts: Vec::new(),
            settings: LinkSettings::default(),
            record: None,
            tamper: None,
            late: None,
            said: 0,
            flights: BTreeMap::new(),
            next_flight: 0,
            rng: Random::seed_from_u64(seed),
            seed,
        }
    }

    /// A world in which every process has started, as incarnation 10 × rank.
    pub fn started(n: usize, seed: u64) -> Self {
        let mut world = World::new(n, seed);
        world.start_all();
        world
    }

    pub fn start_all(&mut self) {
        for rank in 1..=self.n {
            self.start(rank, 10 * rank as u64);
        }
    }

    pub fn start(&mut self, rank: usize, incarnation: u64) {
        self.start_with(
            rank,
            incarnation,
            self.n,
            &["bulk", "small", VOLATILE],
            &self.settings.clone(),
        );
    }

    pub fn start_with(
        &mut self,
        rank: usize,
        incarnation: u64,
        n: usize,
        names: &[&'static str],
        settings: &LinkSettings,
    ) {
        let seed = self.seed ^ incarnation << 8 ^ rank as u64;
        let host = TestHost::new(rank, incarnation, n, seed);
        let links = PerfectLinks::new(&host, settings.clone());
        let delivered: Shared<Vec<_>> = Arc::default();
        let log: Shared<Vec<Seen>> = Arc::default();
        let mut lanes = BTreeMap::new();
        for &name in names {
            let (delivered, log) = (delivered.clone(), log.clone());
            let up = Addr::new(move |Deliver { from, message }: Deliver<Bytes>| {
                let seen = Seen::Deliver(name, from, message.clone());
                log.lock().unwrap().push(seen);
                delivered.lock().unwrap().push((name, from, message));
            });
            let lane = if name == VOLATILE {
                links.datagrams().at(name).open(up)
            } else {
                links.at(name).open(up)
            };
            lanes.insert(name, lane);
        }
        let (statuses, heard, sent) = (Shared::default(), Shared::default(), Shared::default());
        let met = Shared::default();
        links.met().send(collect(&met));
        let all: Shared<Vec<Status>> = Arc::clone(&statuses);
        let seen = log.clone();
        links.status().send(Addr::new(move |status: Status| {
            seen.lock().unwrap().push(Seen::Status(status.clone()));
            all.lock().unwrap().push(status);
        }));
        let beat = links.heartbeat(collect(&heard).with(|heard: Heard| heard.from));
        let sign = links.signs_of_life(Addr::nowhere());
        links.start(collect(&sent)).unwrap();
        let actor = host.actors.lock().unwrap().pop().unwrap();
        let mut process = Process {
            counters: host.counters.clone(),
            delivered,
            statuses,
            log,
            heard,
            met,
            watch: links.status(),
            adopt: links.adopt(),
            lanes,
            arrivals: links.arrivals(),
            beat,
            sign,
            drain: links.drained(),
            links,
            actor,
            sent,
            timers: BTreeMap::new(),
            paused: false,
        };
        process.actor.start(self.now, &mut Unwatched);
        self.processes.insert(p(rank), process);
    }

    pub fn crash(&mut self, rank: usize) {
        self.processes.remove(&p(rank));
    }

    pub fn process(&self, rank: usize) -> &Process {
        &self.processes[&p(rank)]
    }

    pub fn pause(&mut self, rank: usize, paused: bool) {
        self.processes.get_mut(&p(rank)).unwrap().paused = paused;
    }

    pub fn send(&self, from: usize, to: usize, lane: &str, message: impl Into<Bytes>) {
        self.process(from).lanes[lane].send(SendRequest {
            to: To::One(p(to)),
            message: message.into(),
        });
    }

    /// Sends a numbered message of this many bytes, at once.
    pub fn say(&mut self, from: usize, to: usize, length: usize) {
        self.said += 1;
        let mut message = vec![0; length.max(4)];
        message[..4].copy_from_slice(&self.said.to_le_bytes());
        // The events in the mailbox come before it.
        self.settle();
        let seen = Seen::Sent(p(to), self.said);
        self.process(from).log.lock().unwrap().push(seen);
        self.send(from, to, "small", message);
        self.settle();
    }

    /// Injects a datagram to `to` that no process has sent.
    pub fn inject(&mut self, to: usize, datagram: Bytes) {
        self.next_flight += 1;
        self.flights
            .insert((self.now, self.next_flight), (p(to), datagram));
    }

    /// Lets every process handle its events, and moves its datagrams to the network.
    fn settle(&mut self) {
        loop {
            let mut sent = Vec::new();
            for (id, process) in &mut self.processes {
                if process.paused {
                    continue;
                }
                process.actor.handle_batch(self.now, &mut Unwatched);
                let mut alarms = Vec::new();
                process.actor.take_alarms(&mut alarms);
                for alarm in alarms {
                    process
                        .timers
                        .insert((alarm.at, alarm.id), alarm.background);
                }
                for transmit in process.sent.lock().unwrap().drain(..) {
                    sent.push((*id, transmit));
                }
            }
            if sent.is_empty() {
                return;
            }
            for (from, transmit) in sent {
                self.carry(from, transmit);
            }
        }
    }

    fn carry(&mut self, from: ProcessId, transmit: Transmit) {
        assert!(transmit.segment > 0 && !transmit.bytes.is_empty());
        if let Some(record) = &mut self.record {
            record.push((from, transmit.clone()));
        }
        for datagram in datagrams(transmit.bytes, transmit.segment) {
            if self.cuts.contains(&(from, transmit.to)) {
                continue;
            }
            let leaving = match &mut self.tamper {
                Some(tamper) => tamper.leave(from, transmit.to, datagram),
                None => vec![(transmit.to, datagram)],
            };
            for (to, datagram) in leaving {
                let late = self.late.filter(|(sender, _)| *sender == from);
                self.fly(to, &datagram, late.map_or(Duration::ZERO, |(_, by)| by));
            }
        }
    }

    /// Applies the network's faults to a datagram that is not cut off.
    fn fly(&mut self, to: ProcessId, datagram: &Bytes, late: Duration) {
        let chance = |rng: &mut Random| f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let copies = 1 + usize::from(chance(&mut self.rng) < self.faults.duplication);
        for _ in 0..copies {
            if chance(&mut self.rng) < self.faults.loss {
                continue;
            }
            let delay =
                self.faults.latency + (self.faults.spread + late).mul_f64(chance(&mut self.rng));
            self.next_flight += 1;
            self.flights
                .insert((self.now + delay, self.next_flight), (to, datagram.clone()));
        }
    }

    /// The next instant at which something happens.
    fn next_instant(&self) -> Option<Time> {
        let flight = self.flights.keys().next().map(|(at, _)| *at);
        let timers = self.processes.values().filter(|process| !process.paused);
        let timer = timers.filter_map(|process| process.timers.keys().next().map(|(at, _)| *at));
        timer.chain(flight).min()
    }

    fn step_to(&mut self, at: Time) {
        self.now = self.now.max(at);
        while let Some(entry) = self.flights.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, datagram) = entry.remove();
            let datagram = match &mut self.tamper {
                Some(tamper) => tamper.arrive(datagram),
                None => datagram,
            };
            if let Some(process) = self.processes.get(&to) {
                let segment = datagram.len();
                process.arrivals.send(Indication::Arrive {
                    bytes: datagram,
                    segment: segment.max(1),
                });
            }
        }
        for process in self
            .processes
            .values_mut()
            .filter(|process| !process.paused)
        {
            while let Some(entry) = process.timers.first_entry()
                && entry.key().0 <= self.now
            {
                let ((_, id), _) = entry.remove_entry();
                process.actor.fire(id, self.now, &mut Unwatched);
            }
        }
        self.settle();
    }

    /// Runs for `duration` of virtual time.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(at) = self.next_instant()
            && at <= end
        {
            self.step_to(at);
        }
        self.now = end;
    }

    /// Runs until `holds`, for at most `limit` of virtual time.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&World) -> bool) {
        let end = self.now + limit;
        self.settle();
        while !holds(self) {
            let at = self.next_instant().expect("nothing will happen any more");
            assert!(at <= end, "not within {limit:?}");
            self.step_to(at);
        }
    }

    /// Runs until only background timers are left, and returns how long that took.
    pub fn run_until_quiet(&mut self, limit: Duration) -> Duration {
        let (begin, end) = (self.now, self.now + limit);
        self.settle();
        loop {
            for process in self.processes.values_mut() {
                let Process { timers, actor, .. } = process;
                timers.retain(|(_, id), _| actor.is_waiting(*id));
            }
            let busy = !self.flights.is_empty()
                || self.processes.values().any(|process| {
                    !process.paused && process.timers.values().any(|background| !background)
                });
            if !busy {
                return self.now - begin;
            }
            let at = self.next_instant().unwrap();
            assert!(at <= end, "not quiet within {limit:?}");
            self.step_to(at);
        }
    }

    /// Runs until every running process is admitted and connected to all others.
    pub fn connect(&mut self) {
        let n = self.processes.len();
        self.run_until(Duration::from_mins(1), |world| {
            world
                .processes
                .values()
                .all(|process| process.connected() == n - 1)
        });
    }
}

impl Process {
    /// Everything that the module is told of its room from now on.
    pub fn room(&self, module: &str, wait: Wait) -> Shared<Vec<Room>> {
        let told = Shared::default();
        self.links.at(module).pressure(wait, collect(&told));
        told
    }

    /// Reports the module's backlog.
    pub fn backlog(&self, module: &str, backlog: Backlog) {
        self.links.at(module).backlog().send(backlog);
    }

    pub fn connected(&self) -> usize {
        let statuses = self.statuses.lock().unwrap();
        let connected = |status: &&Status| matches!(status, Status::Connected { .. });
        statuses.iter().filter(connected).count()
    }

    pub fn has(&self, wanted: impl Fn(&Status) -> bool) -> bool {
        self.statuses.lock().unwrap().iter().any(wanted)
    }

    pub fn is_admitted(&self) -> bool {
        self.has(|status| *status == Status::Admitted)
    }

    pub fn is_excluded(&self) -> bool {
        self.has(|status| matches!(status, Status::Excluded { .. }))
    }

    pub fn refusals(&self) -> Vec<String> {
        let statuses = self.statuses.lock().unwrap();
        let reason = |status: &Status| match status {
            Status::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        statuses.iter().filter_map(reason).collect()
    }

    /// What was delivered from `from` on `lane`, in order.
    pub fn from(&self, from: usize, lane: &str) -> Vec<Bytes> {
        let delivered = self.delivered.lock().unwrap();
        let matching = delivered
            .iter()
            .filter(|(l, f, _)| *l == lane && *f == p(from));
        matching.map(|(_, _, message)| message.clone()).collect()
    }

    pub fn delivered(&self) -> usize {
        self.delivered.lock().unwrap().len()
    }
}

impl World {
    /// Watches the links of a process that has started.
    pub fn watch(&self, rank: usize) -> Shared<Vec<Status>> {
        let statuses = Shared::default();
        self.process(rank).watch.send(collect(&statuses));
        statuses
    }

    /// How many timers of a process are running.
    pub fn timers(&self, rank: usize) -> usize {
        let Process { timers, actor, .. } = self.process(rank);
        timers
            .keys()
            .filter(|(_, id)| actor.is_waiting(*id))
            .count()
    }

    /// Starts a link on a host of its own, and returns whether it could start.
    pub fn try_start(
        settings: LinkSettings,
        names: &[&'static str],
    ) -> Result<(), crate::perfect::StartError> {
        let host = TestHost::new(1, 1, 1, 1);
        let links = PerfectLinks::new(&host, settings);
        for name in names {
            links.at(name).open::<Bytes>(Addr::nowhere());
        }
        links.start(Addr::nowhere())
    }
}
