//! Scenarios: a stack, a workload and an adversary, from one seed.
//!
//! Everything that a run draws (which processes crash and when, the broadcasts, the latencies) follows from
//! its seed, so that a seed and the scenario replay it.
mod client;
mod clocks;
mod command;
mod draw;
mod failures;
mod faults;
mod models;
mod omissions;
mod pattern;
mod subject;
mod timing;

pub use clocks::Clocks;
pub use failures::GivenFailures;
pub use faults::{Cut, Faults, GivenGap, Moment};
pub use omissions::{GivenOmission, Omissions};
pub use pattern::{BadPattern, OnQuorums};
pub use subject::{Subject, UnknownSubject};

use crate::{
    algorithm::{Bound, Detector, Substrate},
    algorithms::{self, OnSystem},
    failure_models::{FailureModel, Keeps},
    journal::Journal,
    wiring::{Environment, Message, Proposal, RequestPort, Wiring},
};
use bytes::Bytes;
use client::Clients;
use draw::Draw;
use quorate_abstractions::atomic_commit::Propose;
use quorate_broadcast::by_leader::Acceptances;
use quorate_core::{Incarnation, Membership, ProcessId, ProcessSet, Time};
use quorate_sim::{
    Oracle, Report, Timed, TimingPolicy, Trace, Verdict, Violation, World,
    adversary::Random as Anything, properties::Properties,
};
use std::time::Duration;

/// The layers below the subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layers {
    /// Ideal perfect links and an oracle for a detector; ◇P errs for a while. Copies take as long as the
    /// adversary decides; seeds alternate between an adversary that draws latencies and one that takes any
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
    /// The faults, drawn from the seed.
    pub faults: Faults,
    /// Given cuts.
    pub cuts: Vec<Cut>,
    /// Given gaps, on ideal links.
    pub gaps: Vec<GivenGap>,
    /// Messages that are omitted, named one by one.
    pub omitted: Vec<GivenOmission>,
    /// The timing model. `None`: latencies of up to 40 milliseconds, and on ideal layers every other seed any order
    /// of steps.
    pub timing: Option<TimingPolicy>,
    /// Whether it runs, and all properties are checked, though its failure models are not those under which the
    /// subject is judged.
    pub beyond: bool,
    /// Processes that start at given times.
    pub starts: Vec<(ProcessId, Time)>,
    /// The quorum system of the subject, and its failures.
    pub quorums: Option<OnQuorums>,
    /// The failures of a file, in place of those that would be drawn from the pattern of a quorum system.
    pub failures: Option<GivenFailures>,
    /// How many messages each process broadcasts, or instances it proposes or votes in.
    pub requests: u64,
}

/// Why a scenario is not valid.
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
        subject: Subject,
        /// The largest number of crashes that it survives.
        most: usize,
        /// The number of processes.
        processes: usize,
        /// The number of crashes that was asked for, processes that omit messages included.
        crashes: usize,
    },
    /// The failure model is not among those of the entry.
    #[error("{subject} is not judged under {model} (--beyond runs it all the same)")]
    Outside {
        subject: Subject,
        /// The failure model that was asked for.
        model: FailureModel,
    },
    /// The subject assumes more of time than the timing model gives.
    #[error("{subject} assumes a system that is {timing} (--beyond runs it all the same)")]
    Timing {
        subject: Subject,
        /// The assumption of the entry.
        timing: crate::algorithm::Timing,
    },
    /// The bounds of the timing model, or the drift of the clocks, are beyond what the perfect failure detector of the
    /// laboratory allows for.
    #[error(
        "{0} stands on bounds: with these delays, or clocks that drift so much, a live process looks crashed \
         (--beyond runs it all the same)"
    )]
    Bounds(Subject),
    /// Other faults that delay messages or processes were asked for beside a timing model.
    #[error(
        "the timing model says how long messages take and when processes run: no bandwidths, cuts, pauses, late \
         starts or restarts beside it"
    )]
    BesideTiming,
    /// The probability of an omission is outside 0 … 1.
    #[error("{0} is no probability of an omission between 0 and 1")]
    Omission(f64),
    /// The drift is outside 0 … 0.9.
    #[error("{0} is no drift between 0 and 0.9")]
    Drift(f64),
    /// The probability is outside 0 … 0.9.
    #[error("{0} is no probability of loss, duplication or tampering between 0 and 0.9")]
    Probability(f64),
    /// Loss, duplication or the full stack was asked for, but no layer below loses or duplicates.
    #[error("{0} never rests over the real link, and runs on ideal ones, which lose nothing")]
    Lossless(Subject),
    /// A cut names a process that does not exist, or one process twice.
    #[error("a cut is between two of the processes p1 … p{0}")]
    Cut(usize),
    /// A gap, an omission or a start names a process that does not exist, or one process twice.
    #[error("gaps, omissions and starts are of the processes p1 … p{0}")]
    Stranger(usize),
    /// Gaps were asked for, but the subject does not repeat what a stream loses.
    #[error("{0} promises nothing once a stream between two processes has ended")]
    Gaps(Subject),
    /// Processes are to leave, but the subject is not a group.
    #[error("{0} is not a group that a process may leave")]
    NotAGroup(Subject),
    /// Restarts were asked for, but there is no real link that distinguishes one start from another.
    #[error("{0} never runs on the real link, which tells one start from another")]
    Restarts(Subject),
    /// A quorum system was given, but the subject does not run on one.
    #[error("{0} does not run on a quorum system that is given: {known} do", known = on_systems())]
    NotOnQuorums(Subject),
    /// The quorum system has another number of processes.
    #[error("the quorum system is for {own} processes, not {processes}")]
    QuorumSize {
        /// The number in the quorum system.
        own: usize,
        /// The number that was asked for.
        processes: usize,
    },
    /// Crashes were asked for beside those of a pattern.
    #[error("the pattern says who crashes, and which channels fail for good: no others do")]
    BesidePattern,
    /// Crashes or restarts were asked for beside the failures of a file.
    #[error("the file says who crashes, and when: no others do")]
    BesideFailures,
    /// The file of failures has another number of processes.
    #[error("the failures are those of {own} processes, not {processes}")]
    FailuresSize {
        /// The number in the file.
        own: usize,
        /// The number that was asked for.
        processes: usize,
    },
    /// Pauses, long cuts or late starts were asked for, but a process that is silent for a while must not
    /// look crashed.
    #[error(
        "{0} needs the perfect failure detector, which nobody has where processes are silent for long"
    )]
    Pauses(Subject),
}

fn on_systems() -> String {
    let names: Vec<_> = algorithms::on_systems().collect();
    names.join(", ")
}

/// The result of one seed.
#[derive(Debug)]
pub struct SeedResult {
    /// The layers on which it ran.
    pub layers: Layers,
    /// The verdicts, the hash of the trace, the counts.
    pub report: Report,
    /// The trace; it has records only if they were asked for.
    pub trace: Trace,
}

/// Requests, false suspicions and faults begin within this time.
const BUSY: Duration = Duration::from_millis(200);
/// The same, where processes start late or again, or are cut off for long.
const LONG: Duration = Duration::from_secs(4);
/// The length of a message in bytes in scenarios with long cuts.
const LARGE: usize = 4 << 10;
/// About how many bytes a peer may owe the link there: less than is sent during a cut. If a peer owes more
/// than four times as many, the stream ends at once; that much is never sent again at once.
const OWED: usize = 8 << 10;
/// False suspicions of a storm begin and end within this time, which is long after everything else has begun.
const STORM: Duration = Duration::from_millis(600);
/// How many false suspicions a storm has for each process.
const SUSPICIONS: usize = 60;
/// After this many lost copies in a row, fair-loss links lose no more.
const LOSSES: u32 = 8;
/// A run over fair-loss links is over when nothing has happened for this time: the link's backoff grows to
/// 2.5 seconds, and `LOSSES` copies in a row may be lost.
const SETTLED: Duration = Duration::from_secs(30);
/// A run that only heartbeats keep going is over when nothing has happened for this time.
const SILENT: Duration = Duration::from_secs(10);
/// A run that waits for messages sent once a period is over when nothing has happened for this time, which is
/// many periods.
const PUSHED: Duration = Duration::from_secs(2);
/// A run on ideal layers in which messages are omitted is given up after so many steps of each process: who never gets an
/// answer may ask for it for ever.
const IDEAL_EVENTS: u64 = 20_000;
/// The time between two copies of a message that is sent more than once.
const BETWEEN_COPIES: Duration = Duration::from_millis(250);
/// When stubborn links are told to stop.
const STUBBORN: Duration = Duration::from_secs(150);

impl Scenario {
    /// The scenario of this subject: three processes, or as many as show a mutant, and the faults of its entry in the
    /// laboratory.
    pub fn of(subject: Subject) -> Self {
        Scenario {
            subject,
            layers: Layers::Mixed,
            processes: subject
                .mutant
                .map_or(3, |mutant| algorithms::processes_of(mutant.name)),
            faults: subject.mutant.map_or(Faults::NONE, |mutant| mutant.under),
            cuts: Vec::new(),
            gaps: Vec::new(),
            omitted: Vec::new(),
            timing: None,
            beyond: false,
            starts: Vec::new(),
            quorums: None,
            failures: None,
            requests: 4,
        }
    }

    /// Checks that the scenario is valid, and returns its membership.
    ///
    /// # Errors
    /// When it is not valid; the error says why.
    pub fn validate(&self) -> Result<Membership, Refused> {
        let processes = Membership::of_size(self.processes)?;
        let (subject, faults) = (self.subject, &self.faults);
        let given = self.failures.as_ref().map_or(0, GivenFailures::crashes);
        let crashes = faults.crashes + faults.restarts + self.omitters() + given;
        // Where views need a majority, it must be there without those that have left.
        let needs_majority = subject.algorithm.bound == Bound::Minority;
        let crashes = match crashes {
            1.. if needs_majority => crashes + faults.leaves,
            _ => crashes,
        };
        let most = self.most_crashes(&processes);
        // With given quorums, what is promised follows from the failures.
        if crashes > most && self.quorums.is_none() {
            return Err(Refused::TooManyCrashes {
                subject,
                most,
                processes: self.processes,
                crashes,
            });
        }
        for probability in [faults.loss, faults.duplication, faults.tampering] {
            if !(0.0..=0.9).contains(&probability) {
                return Err(Refused::Probability(probability));
            }
        }
        self.validate_models(&processes)?;
        let is_lossy = self.faults.loss > 0.0 || self.faults.duplication > 0.0;
        if is_lossy && self.substrate() == Substrate::Pushes {
            return Err(Refused::Lossless(subject));
        }
        let is_late = faults.late > 0 || !self.starts.is_empty();
        let is_silent = faults.pauses > 0 || faults.long_cuts > 0 || is_late;
        if is_silent && !subject.survives_pauses() {
            return Err(Refused::Pauses(subject));
        }
        if faults.leaves > 0 && !subject.algorithm.is_group() {
            return Err(Refused::NotAGroup(subject));
        }
        self.validate_streams(&processes)?;
        self.validate_quorums()?;
        self.validate_failures()?;
        let is_bad = |cut: &Cut| {
            cut.from == cut.to || !processes.contains(cut.from) || !processes.contains(cut.to)
        };
        if self.cuts.iter().any(is_bad) || (self.faults.cuts > 0 && self.processes < 2) {
            return Err(Refused::Cut(self.processes));
        }
        Ok(processes)
    }

    /// Checks that the subject runs on the quorum system, if there is one.
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

    /// Checks that the failures of the file are of these processes, and that no others are drawn beside them.
    fn validate_failures(&self) -> Result<(), Refused> {
        let Some(failures) = &self.failures else {
            return Ok(());
        };
        let (own, processes) = (failures.processes(), self.processes);
        if own != processes {
            return Err(Refused::FailuresSize { own, processes });
        }
        if self.faults.crashes + self.faults.restarts > 0 {
            return Err(Refused::BesideFailures);
        }
        Ok(())
    }

    /// Where operations are promised to return in the run of this seed, on this quorum system.
    fn returning(&self, quorums: &OnQuorums, seed: u64) -> ProcessSet {
        match &self.failures {
            Some(failures) => failures.returning(quorums.system().quorums()),
            None => quorums.returning(seed),
        }
    }

    /// Where operations are promised to return on the quorum system with the failures of the file, by name; `None` if not
    /// both are given: then it is at all correct processes, or as the pattern says.
    pub fn promised(&self) -> Option<String> {
        let (quorums, failures) = (self.quorums.as_ref()?, self.failures.as_ref()?);
        Some(failures.named(failures.returning(quorums.system().quorums())))
    }

    /// The data to run the subject on the quorum system, if there is one.
    fn on_system(&self) -> Option<(&OnQuorums, &'static OnSystem)> {
        let quorums = self.quorums.as_ref()?;
        let subject = Some(self.subject).filter(|subject| subject.mutant.is_none())?;
        Some((quorums, algorithms::on_system(subject.algorithm)?))
    }

    /// The layers below the subject.
    fn substrate(&self) -> Substrate {
        match self.quorums {
            // Messages are sent again once a period.
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

    /// Checks that the subject can have the gaps, the starts and the restarts.
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

    /// The most crashes that the subject survives on these layers: the real link admits only processes that a
    /// majority has met.
    fn most_crashes(&self, processes: &Membership) -> usize {
        let most = self.subject.algorithm.bound.most(processes);
        if self.layers == Layers::Ideal {
            return most;
        }
        most.min(processes.minority())
    }

    /// The layers on which this seed runs.
    #[must_use]
    pub fn layers_of(&self, seed: u64) -> Layers {
        match self.layers {
            // The real link never rests while messages are sent over it once a period.
            _ if self.substrate() == Substrate::Pushes => Layers::Ideal,
            _ if self.substrate() == Substrate::FairLoss => Layers::Full,
            _ if self.faults.restarts > 0 || self.faults.long_cuts > 0 => Layers::Full,
            Layers::Mixed if seed.is_multiple_of(10) => Layers::Full,
            Layers::Mixed => Layers::Ideal,
            given => given,
        }
    }

    /// The properties of the subject, and of the layers that it includes. Where streams end, only the
    /// properties that the subject itself promises are checked: a gap may end a layer below whose messages
    /// the subject sends again. Under a failure model or a timing model in which the subject keeps its safety
    /// alone, only its safety properties are checked.
    pub fn properties(&self, processes: &Membership, seed: u64) -> Properties {
        let algorithm = self.subject.algorithm;
        let mut all = match self.on_system() {
            Some((quorums, on)) => (on.check)(processes, self.returning(quorums, seed)),
            None => (algorithm.simulation.check)(processes),
        };
        if self.has_gaps() {
            all.retain(|property| algorithm.promises(property.tag()));
        }
        if self.keeps() == Keeps::Safety {
            all.retain(|property| algorithm.is_safety(property.tag()));
        }
        all
    }

    /// Whether streams end, drawn or given.
    fn has_gaps(&self) -> bool {
        self.faults.gaps > 0 || self.faults.long_cuts > 0 || !self.gaps.is_empty()
    }

    /// Runs one seed, and keeps the trace's records if asked to.
    ///
    /// # Errors
    /// When the scenario is not valid.
    pub fn run(&self, seed: u64, keep_trace: bool) -> Result<SeedResult, Refused> {
        self.run_in(seed, |world| {
            if keep_trace {
                world.keep_trace()
            } else {
                world
            }
        })
    }

    /// Runs one seed to its end, whatever is violated before, so that every property is judged.
    ///
    /// # Errors
    /// When the scenario is not valid.
    pub fn run_to_the_end(&self, seed: u64) -> Result<SeedResult, Refused> {
        self.run_in(seed, World::go_on_after_violation)
    }

    /// Runs one seed in a world that is prepared by this function.
    fn run_in(
        &self,
        seed: u64,
        prepare: impl FnOnce(World) -> World,
    ) -> Result<SeedResult, Refused> {
        let processes = self.validate()?;
        let layers = self.layers_of(seed);
        let outputs = self.outputs(&processes, layers, seed)?;
        let below = self.below(&processes, layers, seed);
        let mut world = prepare(self.wired(&processes, layers, &below, seed)?);
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

    /// Runs up to the last restart. A start after a restart makes no requests.
    fn restart(&self, world: &mut World, below: &Environment, seed: u64) {
        let restarts = faults::restarts(self, world.membership(), seed);
        for (restart, number) in restarts.into_iter().zip(1..) {
            let others = world.membership().others(restart.p);
            if let Some(q) = others.iter().next() {
                // This keeps the run going until then.
                world.call(q, restart.back, || {});
            }
            world.run_until(restart.back);
            let incarnation = Incarnation(1000 * number + restart.p.rank() as u64);
            if world.restart(restart.p, incarnation) {
                let wiring = Wiring::new(world, restart.p, below);
                // The port of this start is not used: it gets no requests.
                let _port = self.wire(&wiring);
                wiring.start();
            }
        }
    }

    /// How many outputs each process makes if none crashes. A crash before one of them is drawn from this. Up
    /// to the crash, the run with it is the same.
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

    /// A world in which everything is wired and the requests are planned.
    fn wired(
        &self,
        processes: &Membership,
        layers: Layers,
        below: &Environment,
        seed: u64,
    ) -> Result<World, Refused> {
        let world = self.world(layers, seed)?;
        let mut draw = Draw::new(seed, "requests").within(self.busy());
        let leavers = faults::leavers(self, processes, seed);
        let clients = Clients::default();
        for p in processes.iter() {
            let mut wiring = Wiring::new(&world, p, below).telling(clients.audience());
            wiring.instances = 1 + draw.below(4);
            if wiring.instances > 2 {
                wiring.acceptances = Acceptances::Fewest;
            }
            let port = self.wire(&wiring);
            if let RequestPort::Operate(objects) = &port {
                clients.begin(&world, p, objects, self.requests, &mut draw);
            }
            self.ask(&world, p, &mut draw, &port);
            if let (Some(at), Some(leave)) = (leavers.get(&p), port.leave()) {
                world.request(p, *at, leave, ());
            }
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
        let world = match self.substrate() {
            Substrate::Heartbeats => World::new(n, seed, timed)?.settle(SILENT),
            Substrate::TimedLinks => World::new(n, seed, timed)?,
            Substrate::Pushes => World::new(n, seed, timed)?.settle(PUSHED),
            // Bounds need a world that moves by time.
            _ if seed.is_multiple_of(2) || self.timing.and_then(TimingPolicy::bounds).is_some() => {
                World::new(n, seed, timed)?
            }
            Substrate::FairLoss | Substrate::Links => World::new(n, seed, Anything::new())?,
        };
        Ok(match self.omitters() {
            0 => world,
            _ => world.maximum_events(IDEAL_EVENTS * n as u64),
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

    /// How many bytes a peer may owe. The one message that each member of a view sends at its end has to fit.
    fn owed(&self) -> usize {
        let is_flushed = self
            .subject
            .algorithm
            .abstraction
            .contains("view synchrony");
        if is_flushed { 4 * OWED } else { OWED }
    }

    /// A run is given up after this many steps. Runs in which streams end, or messages are omitted, need far fewer:
    /// more would mean a storm of messages, or that a process asks for ever for what was omitted.
    fn most_events(&self) -> u64 {
        if self.has_gaps() || self.omitters() > 0 {
            1_000_000
        } else {
            20_000_000
        }
    }

    /// Requests are made within this time, which is longer for faults that take long.
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

    /// Plans the requests of `p`. A process that is alone has no receiver to send to.
    fn ask(&self, world: &World, p: ProcessId, draw: &mut Draw, port: &RequestPort) {
        for number in 1..=self.requests {
            match port {
                RequestPort::Nothing | RequestPort::Leave(_) | RequestPort::Operate(_) => {}
                RequestPort::Send { .. } if self.processes == 1 => {}
                RequestPort::Broadcast(port)
                | RequestPort::Group {
                    broadcast: port, ..
                } => {
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
                RequestPort::Send {
                    send,
                    cancel,
                    copies,
                } => {
                    let to = draw.other_than(p, self.processes);
                    let bytes = draw.unique(p, number);
                    let message = Message { to, number, bytes };
                    let first = draw.moment();
                    for copy in 0..*copies {
                        let time = first + BETWEEN_COPIES * copy;
                        world.request(p, time, send, message.clone());
                    }
                    if let Some(cancel) = cancel {
                        world.request(p, Time::ZERO + STUBBORN, cancel, (to, number));
                    }
                }
            }
        }
    }
}

/// The verdict on rejoining, if processes rejoined: one order, and at the end every live process has all of
/// it.
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

/// The tag of this property: a process that comes back goes on from the state, in the same order.
const REJOIN: &str = "REJOIN";

impl Subject {
    /// Whether a process may be stopped for a while. It may not where silence certainly means a crash.
    fn survives_pauses(self) -> bool {
        self.algorithm.detector != Detector::Perfect
            && self.algorithm.timing != crate::algorithm::Timing::Synchronous
    }
}
