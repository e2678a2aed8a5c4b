//! Scenarios: a stack, a workload and an adversary, from one seed.
//!
//! Everything that a run draws (who crashes and when, what is broadcast, how long copies take) follows
//! from its seed, so that a seed and the scenario replay it.
mod client;
mod command;
mod draw;
mod faults;
mod pattern;
mod subject;

pub use faults::{Cut, Faults, GivenGap, Moment};
pub use pattern::{BadPattern, OnQuorums};
pub use subject::{Subject, UnknownSubject};

use crate::{
    algorithm::{Detector, Substrate},
    algorithms::{self, OnSystem},
    journal::Journal,
    wiring::{Environment, Message, Proposal, RequestPort, Wiring},
};
use bytes::Bytes;
use client::Clients;
use draw::Draw;
use quorate_abstractions::atomic_commit::Propose;
use quorate_broadcast::by_leader::Acceptances;
use quorate_core::{Incarnation, Membership, ProcessId, Time};
use quorate_sim::{
    Oracle, Report, Timed, Trace, Verdict, Violation, World, adversary::Random as Anything,
    properties::Properties,
};
use std::time::Duration;

/// What the subject stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layers {
    /// Ideal perfect links and an oracle for a detector; ◇P errs for a while. Copies take as long as
    /// the adversary likes; seeds alternate between one that draws latencies and one that takes any
    /// enabled step.
    Ideal,
    /// The real perfect link over fair-loss links, and the real detector over its heartbeats.
    Full,
    /// The full stack for every tenth seed, ideal layers for the others.
    Mixed,
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
    /// What befalls them, as drawn from the seed.
    pub faults: Faults,
    /// Cuts that are given.
    pub cuts: Vec<Cut>,
    /// Gaps that are given, on ideal links.
    pub gaps: Vec<GivenGap>,
    /// Processes that start at these times.
    pub starts: Vec<(ProcessId, Time)>,
    /// A quorum system that the subject runs on, and what fails of it.
    pub quorums: Option<OnQuorums>,
    /// How many messages each process broadcasts, or instances it proposes or votes in.
    pub requests: u64,
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
    /// Loss, duplication or the full stack, where nothing below loses or duplicates.
    #[error("{0} never rests over the real link, and runs on ideal ones, which lose nothing")]
    Lossless(Subject),
    /// A cut names a process that is not there, or one process twice.
    #[error("a cut is between two of the processes p1 … p{0}")]
    Cut(usize),
    /// A gap or a start names a process that is not there, or one process twice.
    #[error("gaps and starts are of the processes p1 … p{0}")]
    Stranger(usize),
    /// Gaps, where what a stream loses is not said again.
    #[error("{0} promises nothing once a stream between two processes has ended")]
    Gaps(Subject),
    /// Restarts, where there is no real link that tells one start from another.
    #[error("{0} never runs on the real link, which tells one start from another")]
    Restarts(Subject),
    /// A quorum system is given to what does not run on one.
    #[error("{0} does not run on a quorum system that is given: {known} do", known = on_systems())]
    NotOnQuorums(Subject),
    /// A quorum system of another number of processes.
    #[error("the quorum system is for {own} processes, not {processes}")]
    QuorumSize {
        /// How many it has.
        own: usize,
        /// What was asked.
        processes: usize,
    },
    /// Crashes beside those of a pattern.
    #[error("the pattern says who crashes, and which channels fail for good: no others do")]
    BesidePattern,
    /// Pauses, long cuts or late starts, where a process that is silent for a while must not look crashed.
    #[error(
        "{0} needs the perfect failure detector, which nobody has where processes are silent for long"
    )]
    Pauses(Subject),
}

fn on_systems() -> String {
    let names: Vec<_> = algorithms::on_systems().collect();
    names.join(", ")
}

/// What came of one seed.
#[derive(Debug)]
pub struct SeedResult {
    /// What it ran on.
    pub layers: Layers,
    /// The verdicts, the hash of the trace, the counts.
    pub report: Report,
    /// The trace; its records are there only if they were asked for.
    pub trace: Trace,
}

/// Requests, false suspicions and faults begin in this time.
const BUSY: Duration = Duration::from_millis(200);
/// The same, where processes start late or again, or are cut off for long.
const LONG: Duration = Duration::from_secs(4);
/// Messages are so long while processes are cut off for long,
const LARGE: usize = 4 << 10;
/// and about so many bytes is all that a peer may owe the link: less than is sent during a cut. More than four
/// times as many, which end a stream at once, are never said again at once.
const OWED: usize = 8 << 10;
/// False suspicions of a storm begin and end in this time: long after everything else has begun,
const STORM: Duration = Duration::from_millis(600);
/// and there are so many of them for each process.
const SUSPICIONS: usize = 60;
/// After so many copies in a row, fair-loss links lose no more.
const LOSSES: u32 = 8;
/// What runs over fair-loss links is over when nothing has happened for so long: the link backs off to
/// 2.5 seconds, and so many copies in a row may be lost.
const SETTLED: Duration = Duration::from_secs(30);
/// What only heartbeats keep going is over when nothing has happened for so long.
const SILENT: Duration = Duration::from_secs(10);
/// What waits for what is sent once a period is over when nothing has happened for many.
const PUSHED: Duration = Duration::from_secs(2);
/// When stubborn links are told to stop.
const STUBBORN: Duration = Duration::from_secs(150);

impl Scenario {
    /// The scenario of this subject: three processes, and what the laboratory says of its faults.
    pub fn of(subject: Subject) -> Self {
        Scenario {
            subject,
            layers: Layers::Mixed,
            processes: 3,
            faults: subject.mutant.map_or(Faults::NONE, |mutant| mutant.under),
            cuts: Vec::new(),
            gaps: Vec::new(),
            starts: Vec::new(),
            quorums: None,
            requests: 4,
        }
    }

    /// Whether the scenario makes sense.
    ///
    /// # Errors
    /// When it does not, and why.
    pub fn validate(&self) -> Result<Membership, Refused> {
        let processes = Membership::of_size(self.processes)?;
        let (subject, faults) = (self.subject, &self.faults);
        let crashes = faults.crashes + faults.restarts;
        let most = self.most_crashes(&processes);
        if crashes > most {
            return Err(Refused::TooManyCrashes {
                subject,
                most,
                processes: self.processes,
                crashes,
            });
        }
        for probability in [self.faults.loss, self.faults.duplication] {
            if !(0.0..=0.9).contains(&probability) {
                return Err(Refused::Probability(probability));
            }
        }
        let is_lossy = self.faults.loss > 0.0 || self.faults.duplication > 0.0;
        if is_lossy && self.substrate() == Substrate::Pushes {
            return Err(Refused::Lossless(subject));
        }
        let is_late = faults.late > 0 || !self.starts.is_empty();
        let is_silent = faults.pauses > 0 || faults.long_cuts > 0 || is_late;
        if is_silent && !subject.survives_pauses() {
            return Err(Refused::Pauses(subject));
        }
        self.validate_streams(&processes)?;
        self.validate_quorums()?;
        let is_bad = |cut: &Cut| {
            cut.from == cut.to || !processes.contains(cut.from) || !processes.contains(cut.to)
        };
        if self.cuts.iter().any(is_bad) || (self.faults.cuts > 0 && self.processes < 2) {
            return Err(Refused::Cut(self.processes));
        }
        Ok(processes)
    }

    /// Whether the subject runs on the quorum system, if there is one.
    fn validate_quorums(&self) -> Result<(), Refused> {
        let Some(quorums) = &self.quorums else {
            return Ok(());
        };
        let (own, processes) = (quorums.system().processes(), self.processes);
        let faults = &self.faults;
        if self.on_system().is_none() {
            return Err(Refused::NotOnQuorums(self.subject));
        }
        if own != processes {
            return Err(Refused::QuorumSize { own, processes });
        }
        if faults.crashes + faults.restarts + faults.long_cuts > 0 {
            return Err(Refused::BesidePattern);
        }
        if self.layers == Layers::Full {
            return Err(Refused::Lossless(self.subject));
        }
        Ok(())
    }

    /// How the subject runs on the quorum system, if there is one.
    fn on_system(&self) -> Option<(&OnQuorums, &'static OnSystem)> {
        let quorums = self.quorums.as_ref()?;
        let subject = Some(self.subject).filter(|subject| subject.mutant.is_none())?;
        Some((quorums, algorithms::on_system(subject.algorithm)?))
    }

    /// What is below the subject.
    fn substrate(&self) -> Substrate {
        match self.quorums {
            // What is said is said again, once a period.
            Some(_) => Substrate::Pushes,
            None => self.subject.algorithm.simulation.substrate,
        }
    }

    /// Wires the subject.
    fn wire(&self, wiring: &Wiring<'_>) -> RequestPort {
        match self.on_system() {
            Some((quorums, on)) => (on.wire)(wiring, quorums.system()),
            None => self.subject.wire()(wiring),
        }
    }

    /// Whether the subject can have the gaps, the starts and the restarts.
    fn validate_streams(&self, processes: &Membership) -> Result<(), Refused> {
        let (subject, faults) = (self.subject, &self.faults);
        let algorithm = subject.algorithm;
        if self.has_gaps() && !algorithm.survives_gaps() {
            return Err(Refused::Gaps(subject));
        }
        if faults.restarts > 0 && self.substrate() == Substrate::Pushes {
            return Err(Refused::Restarts(subject));
        }
        let is_strange = |gap: &GivenGap| {
            gap.from == gap.to || !processes.contains(gap.from) || !processes.contains(gap.to)
        };
        let is_late_stranger = |(p, _): &(ProcessId, Time)| !processes.contains(*p);
        let is_alone = self.processes < 2 && (faults.gaps > 0 || faults.long_cuts > 0);
        let strangers =
            self.gaps.iter().any(is_strange) || self.starts.iter().any(is_late_stranger);
        if strangers || is_alone {
            return Err(Refused::Stranger(self.processes));
        }
        Ok(())
    }

    /// The most crashes that the subject survives on these layers: the real link lets nobody in whom
    /// no majority has admitted.
    fn most_crashes(&self, processes: &Membership) -> usize {
        let most = self.subject.algorithm.bound.most(processes);
        if self.layers == Layers::Ideal {
            return most;
        }
        most.min(processes.minority())
    }

    /// What the run of this seed stands on.
    #[must_use]
    pub fn layers_of(&self, seed: u64) -> Layers {
        match self.layers {
            // The real link never rests while something is sent over it once a period.
            _ if self.substrate() == Substrate::Pushes => Layers::Ideal,
            _ if self.substrate() == Substrate::FairLoss => Layers::Full,
            _ if self.faults.restarts > 0 || self.faults.long_cuts > 0 => Layers::Full,
            Layers::Mixed if seed.is_multiple_of(10) => Layers::Full,
            Layers::Mixed => Layers::Ideal,
            given => given,
        }
    }

    /// The properties of the subject, and of the layers that it brings along: of these, a gap may end what
    /// the subject says again by itself.
    pub fn properties(&self, processes: &Membership, seed: u64) -> Properties {
        if let Some((quorums, on)) = self.on_system() {
            return (on.check)(processes, quorums.returning(seed));
        }
        let algorithm = self.subject.algorithm;
        let mut all = (algorithm.simulation.check)(processes);
        if self.has_gaps() {
            all.retain(|property| algorithm.promises(property.tag()));
        }
        all
    }

    /// Whether streams end, as drawn or as given.
    fn has_gaps(&self) -> bool {
        self.faults.gaps > 0 || self.faults.long_cuts > 0 || !self.gaps.is_empty()
    }

    /// Runs one seed, and keeps the trace's records if asked to.
    ///
    /// # Errors
    /// When the scenario makes no sense.
    pub fn run(&self, seed: u64, keep_trace: bool) -> Result<SeedResult, Refused> {
        let processes = self.validate()?;
        let layers = self.layers_of(seed);
        let outputs = self.outputs(&processes, layers, seed)?;
        let below = self.below(&processes, layers, seed);
        let mut world = self.wired(&processes, layers, &below, seed)?;
        if keep_trace {
            world = world.keep_trace();
        }
        faults::plan(self, &world, layers, seed, &outputs);
        world.check(self.properties(&processes, seed));
        self.restart(&mut world, &below, seed);
        let mut report = world.run();
        report.verdicts.extend(rejoined(&world, &below, &report));
        Ok(SeedResult {
            layers,
            report,
            trace: world.trace(),
        })
    }

    /// Runs up to the last restart. A start that comes after another asks for nothing.
    fn restart(&self, world: &mut World, below: &Environment, seed: u64) {
        let restarts = faults::restarts(self, world.membership(), seed);
        for (restart, number) in restarts.into_iter().zip(1..) {
            let others = world.membership().others(restart.p);
            if let Some(q) = others.iter().next() {
                // The run is not over before.
                world.call(q, restart.back, || {});
            }
            world.run_until(restart.back);
            let incarnation = Incarnation(1000 * number + restart.p.rank() as u64);
            if world.restart(restart.p, incarnation) {
                let wiring = Wiring::new(world, restart.p, below);
                // Its port is shut: nobody asks it for anything.
                let _port = self.wire(&wiring);
                wiring.start();
            }
        }
    }

    /// How many outputs each process makes if none crashes: what a crash before one of them is drawn
    /// from. Up to the crash, the run with it is the same.
    fn outputs(
        &self,
        processes: &Membership,
        layers: Layers,
        seed: u64,
    ) -> Result<Vec<u64>, Refused> {
        if self.faults.crashes == 0 || self.faults.moment != Moment::Output {
            return Ok(Vec::new());
        }
        let below = self.below(processes, layers, seed);
        let mut world = self.wired(processes, layers, &below, seed)?;
        let spared = Scenario {
            faults: Faults {
                crashes: 0,
                ..self.faults
            },
            ..self.clone()
        };
        faults::plan(&spared, &world, layers, seed, &[]);
        world.run();
        Ok(processes.iter().map(|p| world.outputs(p)).collect())
    }

    /// A world in which everything is wired, and the requests are planned.
    fn wired(
        &self,
        processes: &Membership,
        layers: Layers,
        below: &Environment,
        seed: u64,
    ) -> Result<World, Refused> {
        let world = self.world(layers, seed)?;
        let mut draw = Draw::new(seed, "requests").within(self.busy());
        let clients = Clients::default();
        for p in processes.iter() {
            let mut wiring = Wiring::new(&world, p, below).telling(clients.audience());
            wiring.instances = 1 + draw.below(4);
            if wiring.instances > 2 {
                wiring.acceptances = Acceptances::WhoNeedsThem;
            }
            let port = self.wire(&wiring);
            if let RequestPort::Operate(objects) = &port {
                clients.begin(&world, p, objects, self.requests, &mut draw);
            }
            self.ask(&world, p, &mut draw, &port);
            wiring.start();
        }
        Ok(world)
    }

    fn world(&self, layers: Layers, seed: u64) -> Result<World, Refused> {
        let n = self.processes;
        let timed = Timed::uniform(
            Duration::from_micros(100),
            Duration::from_millis(if seed.is_multiple_of(3) { 40 } else { 5 }),
        );
        if layers == Layers::Full {
            let (loss, duplication) = (self.faults.loss, self.faults.duplication);
            let adversary = timed.loss(loss).duplication(duplication);
            let world = World::new(n, seed, adversary)?;
            return Ok(world
                .fair_loss_bounds(LOSSES, 4)
                .settle(SETTLED)
                .maximum_events(self.most_events()));
        }
        Ok(match self.substrate() {
            Substrate::Heartbeats => World::new(n, seed, timed)?.settle(SILENT),
            Substrate::TimedLinks => World::new(n, seed, timed)?,
            Substrate::Pushes => World::new(n, seed, timed)?.settle(PUSHED),
            _ if seed.is_multiple_of(2) => World::new(n, seed, timed)?,
            Substrate::FairLoss | Substrate::Links => World::new(n, seed, Anything::new())?,
        })
    }

    fn below(&self, processes: &Membership, layers: Layers, seed: u64) -> Environment {
        let algorithm = self.subject.algorithm;
        let mut draw = Draw::new(seed, "detectors");
        let accurate = Oracle::accurate(Duration::from_millis(20));
        let (lies, until) = match self.faults {
            Faults { accurate: true, .. } => (0, BUSY),
            Faults { storm: true, .. } => (SUSPICIONS * self.processes, STORM),
            _ => (2 * self.processes, BUSY),
        };
        Environment {
            substrate: self.substrate(),
            real: layers == Layers::Full,
            detector: algorithm.detector,
            oracle: accurate.erratic(processes, seed, lies, Time::ZERO + until),
            delay: Duration::from_millis(draw.below(60)),
            restarts: self.faults.restarts > 0,
            journal: (self.faults.restarts > 0 && algorithm.rejoins).then(Journal::default),
            limit: (self.faults.long_cuts > 0).then(|| self.owed()),
        }
    }

    /// So many bytes may be owed. What the members of a view say in one message at its end has to fit.
    fn owed(&self) -> usize {
        let is_flushed = self
            .subject
            .algorithm
            .abstraction
            .starts_with("view synchrony");
        if is_flushed { 4 * OWED } else { OWED }
    }

    /// A run is given up after so many steps. Far fewer are needed where streams end: more would be a storm.
    fn most_events(&self) -> u64 {
        if self.has_gaps() {
            1_000_000
        } else {
            20_000_000
        }
    }

    /// Requests are made in this time: with what takes long, for longer.
    fn busy(&self) -> Duration {
        let faults = &self.faults;
        let is_long = faults.restarts > 0 || faults.late > 0 || faults.long_cuts > 0;
        if is_long { LONG } else { BUSY }
    }

    fn payload(&self, draw: &mut Draw) -> Bytes {
        if self.faults.long_cuts > 0 {
            draw.large()
        } else {
            draw.payload()
        }
    }

    /// Plans the requests of `p`. Who is alone has nobody to send to.
    fn ask(&self, world: &World, p: ProcessId, draw: &mut Draw, port: &RequestPort) {
        for number in 1..=self.requests {
            match port {
                RequestPort::Nothing | RequestPort::Operate(_) => {}
                RequestPort::Send { .. } if self.processes == 1 => {}
                RequestPort::Broadcast(port) => {
                    let payload = self.payload(draw);
                    world.request(p, draw.moment(), port, payload);
                }
                RequestPort::Propose(port) => {
                    let (instance, value) = (number, self.payload(draw));
                    world.request(p, draw.moment(), port, Proposal { instance, value });
                }
                RequestPort::Vote(port) => {
                    let (instance, vote) = (number, draw.vote());
                    world.request(p, draw.moment(), port, Propose { instance, vote });
                }
                RequestPort::Send { send, cancel } => {
                    let to = draw.other_than(p, self.processes);
                    let bytes = draw.unique(p, number);
                    let message = Message { to, number, bytes };
                    world.request(p, draw.moment(), send, message);
                    if let Some(cancel) = cancel {
                        world.request(p, Time::ZERO + STUBBORN, cancel, (to, number));
                    }
                }
            }
        }
    }
}

/// What came of rejoining, if processes did: one order, and at the end everybody alive has all of it.
fn rejoined(world: &World, below: &Environment, report: &Report) -> Option<(String, Verdict)> {
    let journal = below.journal.as_ref()?;
    let is_over = report.completion.complete && !report.completion.severed;
    let living = world.processes().filter(|p| is_over && world.is_alive(*p));
    let verdict = match journal.trouble(living) {
        Some(text) => Verdict::Violated(Violation {
            tag: REJOIN.to_owned(),
            time: report.completion.time,
            text,
        }),
        None if is_over => Verdict::Holds,
        None => Verdict::Unknown,
    };
    Some((REJOIN.to_owned(), verdict))
}

/// Who comes back goes on from the state, in the same order.
const REJOIN: &str = "REJOIN";

impl Subject {
    /// Whether a process may be stopped for a while: not where silence is a crash for certain.
    fn survives_pauses(self) -> bool {
        self.algorithm.detector != Detector::Perfect
            && self.algorithm.timing != crate::algorithm::Timing::Synchronous
    }
}
