//! Scenarios: a stack, a workload and an adversary, from one seed.
//!
//! Everything that a run draws (who crashes and when, what is broadcast, how long copies take) follows
//! from its seed, so that a seed and the scenario replay it.
use crate::{stack, twins};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, consensus, eventually_perfect, fair_loss, link::Links, reliable, total_order,
    uniform,
};
use quorate_broadcast::by_consensus;
use quorate_core::{Addr, Host, Membership, ProcessId, Random, Time};
use quorate_detectors::increasing_timeout;
use quorate_links::perfect::{self, Admission, PerfectLinks};
use quorate_sim::{
    Crash, Lose, Oracle, Report, SimHost, Timed, Trace, World,
    adversary::Random as Anything,
    properties::{self, Properties},
};
use rand::{RngExt, SeedableRng};
use std::{fmt, str::FromStr, time::Duration};

/// What a scenario is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Eager reliable broadcast.
    Reliable,
    /// Majority-ack uniform reliable broadcast.
    Uniform,
    /// Rotating-coordinator uniform consensus.
    Consensus,
    /// Total-order broadcast by consensus.
    TotalOrder,
    /// A broken twin: uniform broadcast that delivers on one acknowledgement, its own.
    UniformOnOneAck,
}

/// Every subject, by the name under which commands know it.
pub const SUBJECTS: &[(&str, Subject)] = &[
    ("reliable", Subject::Reliable),
    ("uniform", Subject::Uniform),
    ("consensus", Subject::Consensus),
    ("total-order", Subject::TotalOrder),
    ("broken-uniform", Subject::UniformOnOneAck),
];

/// No subject has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no stack `{0}`: choose one of {names}", names = subject_names())]
pub struct UnknownSubject(String);

fn subject_names() -> String {
    let names: Vec<_> = SUBJECTS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(name: &str) -> Result<Self, UnknownSubject> {
        let mut subjects = SUBJECTS.iter();
        let found = subjects
            .find(|(known, _)| *known == name)
            .map(|(_, subject)| *subject);
        found.ok_or_else(|| UnknownSubject(name.to_owned()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SUBJECTS
            .iter()
            .find(|(_, subject)| subject == self)
            .map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl Subject {
    /// Whether it needs a correct majority.
    fn needs_majority(self) -> bool {
        self != Subject::Reliable
    }
}

/// What the subject stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layers {
    /// Ideal perfect links and an oracle ◇P that errs for a while. Copies take as long as the
    /// adversary likes; seeds alternate between one that draws latencies and one that takes any
    /// enabled step.
    Ideal,
    /// The real perfect link over fair-loss links, and the real ◇P over its heartbeats.
    Full,
    /// The full stack for every tenth seed, ideal layers for the others.
    Mixed,
}

impl Layers {
    /// What the run of this seed stands on.
    #[must_use]
    pub fn of(self, seed: u64) -> Layers {
        match self {
            Layers::Mixed if seed.is_multiple_of(10) => Layers::Full,
            Layers::Mixed => Layers::Ideal,
            given => given,
        }
    }
}

/// One direction of one channel that carries nothing for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The sender.
    pub from: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    /// From when.
    pub begin: Time,
    /// Until when; `None`: for ever, and no liveness property is judged.
    pub end: Option<Time>,
}

/// A scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// What runs.
    pub subject: Subject,
    /// On what it runs.
    pub layers: Layers,
    /// How many processes there are.
    pub processes: usize,
    /// How many of them crash, at moments drawn from the seed.
    pub crashes: usize,
    /// The probability that a fair-loss link loses a copy.
    pub loss: f64,
    /// The probability that a fair-loss link duplicates a copy.
    pub duplication: f64,
    /// The cuts.
    pub cuts: Vec<Cut>,
    /// How many messages each process broadcasts, or instances it proposes in.
    pub requests: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            subject: Subject::TotalOrder,
            layers: Layers::Mixed,
            processes: 3,
            crashes: 0,
            loss: 0.0,
            duplication: 0.0,
            cuts: Vec::new(),
            requests: 4,
        }
    }
}

/// A scenario that makes no sense.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refused {
    /// The membership has no such size.
    #[error(transparent)]
    Membership(#[from] quorate_core::process::BadMembership),
    /// More crashes than the algorithm survives.
    #[error(
        "{subject} here survives at most {most} crashes of {processes} processes, not {crashes}"
    )]
    TooManyCrashes {
        /// What was to run.
        subject: Subject,
        /// The bound.
        most: usize,
        /// n.
        processes: usize,
        /// What was asked.
        crashes: usize,
    },
    /// A probability outside 0 … 0.9.
    #[error("{0} is no probability of loss or duplication between 0 and 0.9")]
    Probability(f64),
    /// A cut names a process that is not there, or one process twice.
    #[error("a cut is between two of the processes p1 … p{0}")]
    Cut(usize),
}

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// What it ran on.
    pub layers: Layers,
    /// The verdicts, the hash of the trace, the counts.
    pub report: Report,
    /// The trace; its records are there only if they were asked for.
    pub trace: Trace,
}

/// Requests, false suspicions and crashes fall into this time.
const BUSY: Duration = Duration::from_millis(200);

impl Scenario {
    /// Whether the scenario makes sense.
    ///
    /// # Errors
    /// When it does not, and why.
    pub fn validate(&self) -> Result<Membership, Refused> {
        let processes = Membership::of_size(self.processes)?;
        // The real link lets nobody in whom no majority has admitted.
        let needs_majority = self.subject.needs_majority() || self.layers != Layers::Ideal;
        let most = if needs_majority {
            processes.minority()
        } else {
            self.processes
        };
        if self.crashes > most {
            let (subject, crashes) = (self.subject, self.crashes);
            return Err(Refused::TooManyCrashes {
                subject,
                most,
                processes: self.processes,
                crashes,
            });
        }
        for probability in [self.loss, self.duplication] {
            if !(0.0..=0.9).contains(&probability) {
                return Err(Refused::Probability(probability));
            }
        }
        let is_bad = |cut: &Cut| {
            cut.from == cut.to || !processes.contains(cut.from) || !processes.contains(cut.to)
        };
        if self.cuts.iter().any(is_bad) {
            return Err(Refused::Cut(self.processes));
        }
        Ok(processes)
    }

    /// Runs one seed, and keeps the trace's records if asked to.
    ///
    /// # Errors
    /// When the scenario makes no sense.
    pub fn run(&self, seed: u64, keep_trace: bool) -> Result<Outcome, Refused> {
        let processes = self.validate()?;
        let layers = self.layers.of(seed);
        let mut world = self.world(layers, seed)?;
        if keep_trace {
            world = world.keep_trace();
        }
        let mut draw = Draw(Random::seed_from_u64(seed ^ 0x5ce7_a210));
        let oracle = Oracle::accurate(Duration::from_millis(20)).erratic(
            &processes,
            seed,
            2 * self.processes,
            Time::ZERO + BUSY,
        );
        for p in processes.iter() {
            let host = world.host(p);
            match layers {
                Layers::Full => {
                    let (links, detector) = full(&world, p, &host);
                    self.wire(&world, p, &links.0, &detector, &mut draw);
                    links.1(&links.0);
                }
                Layers::Ideal | Layers::Mixed => {
                    let detector = world.eventually_perfect(p, &oracle);
                    self.wire(&world, p, &world.links(p), &detector, &mut draw);
                }
            }
        }
        self.fail(&world, &processes, layers, &mut draw);
        world.check(self.properties(&processes));
        let report = world.run();
        Ok(Outcome {
            layers,
            report,
            trace: world.trace(),
        })
    }

    fn world(&self, layers: Layers, seed: u64) -> Result<World, Refused> {
        let n = self.processes;
        let timed = Timed::uniform(
            Duration::from_micros(100),
            Duration::from_millis(if seed.is_multiple_of(3) { 40 } else { 5 }),
        );
        if layers == Layers::Full {
            let adversary = timed.loss(self.loss).duplication(self.duplication);
            let world = World::new(n, seed, adversary)?;
            // The link backs off to 2.5 seconds, and up to 16 copies in a row may be lost.
            return Ok(world.settle(Duration::from_mins(1)));
        }
        Ok(if seed.is_multiple_of(2) {
            World::new(n, seed, timed)?
        } else {
            World::new(n, seed, Anything::new())?
        })
    }

    /// Wires the subject at `p`, and plans its requests.
    fn wire(
        &self,
        world: &World,
        p: ProcessId,
        links: &impl Links,
        detector: &Subscribe<eventually_perfect::Indication>,
        draw: &mut Draw,
    ) {
        let host = world.host(p);
        match self.subject {
            Subject::Reliable => {
                let up = world.application::<reliable::Deliver>(p);
                let door = stack::reliable(&host, links, up);
                self.ask(
                    world,
                    p,
                    draw,
                    &door.with(|payload| reliable::Broadcast { payload }),
                );
            }
            Subject::Uniform | Subject::UniformOnOneAck => {
                let up = world.application::<uniform::Deliver>(p);
                let door = if self.subject == Subject::Uniform {
                    stack::uniform(&host, links, up)
                } else {
                    twins::uniform_on_one_ack(&host, links, up)
                };
                self.ask(
                    world,
                    p,
                    draw,
                    &door.with(|payload| uniform::Broadcast { payload }),
                );
            }
            Subject::TotalOrder => {
                let up = world.application::<total_order::Deliver>(p);
                let configuration = by_consensus::Configuration {
                    instances: 1 + draw.below(4),
                    ..Default::default()
                };
                let door = stack::total_order(&host, links, detector, configuration, up);
                self.ask(
                    world,
                    p,
                    draw,
                    &door.with(|payload| total_order::Broadcast { payload }),
                );
            }
            Subject::Consensus => {
                let up = world.application::<consensus::Decide>(p);
                let door = stack::consensus(&host, links, detector, up);
                for instance in 1..=self.requests {
                    let value = draw.payload();
                    let request = consensus::Propose { instance, value };
                    world.request(p, draw.moment(), &door, request);
                }
            }
        }
    }

    fn ask(&self, world: &World, p: ProcessId, draw: &mut Draw, door: &Addr<Bytes>) {
        for _ in 0..self.requests {
            let payload = draw.payload();
            world.request(p, draw.moment(), door, payload);
        }
    }

    /// Plans the crashes and the cuts.
    fn fail(&self, world: &World, processes: &Membership, layers: Layers, draw: &mut Draw) {
        let mut spared: Vec<_> = processes.iter().collect();
        for _ in 0..self.crashes {
            let p = spared.swap_remove(draw.below(spared.len() as u64) as usize);
            let crash = match draw.below(3) {
                0 => Crash::at(draw.moment()),
                1 => Crash::before_output(draw.early(20 * self.processes as u64)),
                _ => Crash::before_effect(draw.early(100)),
            };
            // Fair-loss links lose what they like anyway.
            let lose = match draw.below(3) {
                _ if layers == Layers::Full => Lose::Nothing,
                0 => Lose::Nothing,
                1 => Lose::Each(0.5),
                _ => Lose::Everything,
            };
            world.crash(p, crash.losing(lose));
        }
        for cut in &self.cuts {
            world.cut((cut.from, cut.to), cut.begin, cut.end);
        }
    }

    /// The properties of the subject, and of the layers that it brings along.
    pub fn properties(&self, processes: &Membership) -> Properties {
        match self.subject {
            Subject::Reliable => properties::reliable(processes, "reliable"),
            Subject::Uniform | Subject::UniformOnOneAck => {
                properties::uniform(processes, "uniform")
            }
            Subject::Consensus => {
                let mut all = properties::consensus(processes, "consensus");
                all.extend(properties::reliable(processes, "reliable"));
                all
            }
            Subject::TotalOrder => {
                let mut all = properties::total_order(processes, "total-order");
                all.extend(properties::uniform(processes, "uniform"));
                all.extend(properties::consensus(processes, "consensus"));
                all
            }
        }
    }
}

type Started<L> = (L, Box<dyn FnOnce(&L)>);

/// The real link and the real detector of `p`. The link starts when what stands on it is wired.
fn full(
    world: &World,
    p: ProcessId,
    host: &SimHost,
) -> (
    Started<PerfectLinks<SimHost>>,
    Subscribe<eventually_perfect::Indication>,
) {
    // Nobody is ever started again here, and whoever crashes may do so before anybody has met it.
    let configuration = perfect::Configuration {
        admission: Admission::CrashStop,
        ..perfect::Configuration::default()
    };
    let links = PerfectLinks::new(&host.at("link"), configuration);
    let heartbeat = |up| links.heartbeat(up);
    let detector = increasing_timeout::spawn(
        &host.at("detector"),
        increasing_timeout::Configuration::default(),
        heartbeat,
    );
    let edge: Addr<fair_loss::Transmit> = world.fair_loss(p, links.arrivals());
    let start = move |links: &PerfectLinks<SimHost>| {
        let started = links.start(edge);
        assert!(
            started.is_ok(),
            "the stacks here open every lane once: {started:?}"
        );
    };
    ((links, Box::new(start)), detector)
}

/// What a seed draws.
struct Draw(Random);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    /// A number from 1 to `bound`, small ones more often: what begins a run is what a crash upsets.
    fn early(&mut self, bound: u64) -> u64 {
        let bound = 1 + self.below(bound);
        1 + self.below(bound)
    }

    fn moment(&mut self) -> Time {
        Time::from_nanos(self.below(BUSY.as_nanos() as u64))
    }

    /// One of few contents: messages are told apart by identifier, and equal ones must be, too.
    fn payload(&mut self) -> Bytes {
        Bytes::from(vec![b'a' + self.below(3) as u8; self.below(40) as usize])
    }
}
