//! A fair adversary that holds consensus by a rotating coordinator undecided (Fischer, Lynch, Paterson, against
//! the algorithm that is deployed).
//!
//! Nobody crashes, and every message arrives within a bound; but whenever a coordinator proposes, everybody else
//! comes to suspect it just before the proposal arrives, refuses, and moves on. Safety holds all the time. When
//! the adversary stops, the same run decides; and an algorithm that tosses coins decides under the same latencies
//! without any detector.
//!
//! # Why the adversary succeeds
//! While a round's coordinator is suspected, nobody acknowledges but itself; it stays suspected until the
//! coordinator of a later round proposes. By then a majority has left the round, by a nack to it or together with
//! its coordinator: those that can still acknowledge are no majority.
//!
//! # Source
//! Fischer, Lynch, Paterson: *Impossibility of Distributed Consensus with One Faulty Process*, JACM 1985. The
//! adversary is fair in their sense, and never uses the crash that it may cause (H3-E3).
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    consensus::Propose,
    eventually_perfect,
    link::{self, Links},
    reliable,
};
use quorate_broadcast::{best_effort, eager};
use quorate_consensus::{
    randomised,
    rotating::{self, Content, Message},
};
use quorate_core::{Addr, Host, Layer, ProcessId, Time, process::BadMembership};
use quorate_sim::{Director, Kind, Report, Svg, Timed, Trace, UNIT, World, properties};
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A picture shows a run in which so many coordinators are suspected.
const DRAWN: u64 = 2;

/// Consensus that is to be held undecided.
pub trait Candidate {
    /// What it is called in texts.
    fn name(&self) -> &'static str;

    /// What this process proposes.
    fn value(&self, q: ProcessId) -> Bytes;

    /// Starts it at `q`, over perfect links and ◇P. A process that proposes as the coordinator of a round
    /// calls `notify` with the round first.
    fn wire(
        &self,
        world: &World,
        q: ProcessId,
        detector: Detector,
        notify: Notify,
    ) -> Addr<Propose>;
}

/// ◇P at a process.
pub type Detector = Subscribe<eventually_perfect::Indication>;

/// Is told in which round a coordinator proposes.
pub type Notify = Box<dyn Fn(u64) + Send + Sync>;

/// Consensus by a rotating coordinator.
pub struct Rotating;

impl Candidate for Rotating {
    fn name(&self) -> &'static str {
        "rotating coordinator"
    }

    fn value(&self, q: ProcessId) -> Bytes {
        Bytes::from(vec![q.rank() as u8])
    }

    fn wire(
        &self,
        world: &World,
        q: ProcessId,
        detector: Detector,
        notify: Notify,
    ) -> Addr<Propose> {
        let (host, links) = (
            world.host(q).at("consensus"),
            world.links(q).at("consensus"),
        );
        let lane = links.lane();
        let link = move |up: Addr<link::Deliver<Message>>| {
            let down = lane.attach(up);
            Addr::new(move |send: link::SendRequest<Message>| {
                if let Content::Propose { .. } = send.message.content {
                    notify(send.message.round);
                }
                down.send(send);
            })
        };
        let reliable = |up: Addr<reliable::Deliver>| {
            let lane = links.at("reliable").lane();
            eager::spawn(&host.at("reliable"), best_effort::over(lane), up)
        };
        rotating::spawn(
            &host,
            link,
            &links.status(),
            reliable,
            &detector,
            world.application(q),
        )
    }
}

/// Consensus on a bit by tossing coins: it has no coordinator, and does not ask the detector.
pub struct Tossing;

impl Candidate for Tossing {
    fn name(&self) -> &'static str {
        "tossing coins"
    }

    fn value(&self, q: ProcessId) -> Bytes {
        Bytes::from(vec![q.rank() as u8 & 1])
    }

    fn wire(&self, world: &World, q: ProcessId, _: Detector, _: Notify) -> Addr<Propose> {
        let host = world.host(q).at("consensus");
        let links = world.links(q).at("consensus");
        let (lane, status) = (links.lane(), links.status());
        randomised::spawn(&host, lane, &status, world.application(q))
    }
}

/// What an adversary knows, and what it plans.
#[derive(Default)]
struct Plan {
    directors: Vec<Director>,
    /// The coordinator that all others suspect.
    suspected: Option<ProcessId>,
    /// How many coordinators it has made suspected, and how many it still plans to.
    foiled: u64,
    left: u64,
    /// The last round in which a coordinator proposed.
    round: u64,
    over: bool,
}

impl Plan {
    /// A coordinator proposes: all others suspect it before the next step, and restore the last one.
    fn upon_propose(&mut self, coordinator: ProcessId, round: u64) {
        self.round = self.round.max(round);
        let soon = UNIT / 2;
        if let Some(last) = self.suspected.take() {
            let directors = self.directors.iter();
            directors.for_each(|director| director.restore(last, soon));
        }
        if self.left == 0 {
            self.over = true;
            return;
        }
        self.left -= 1;
        self.foiled += 1;
        self.suspected = Some(coordinator);
        let directors = self.directors.iter();
        directors.for_each(|director| director.suspect(coordinator, soon));
    }
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    pub processes: usize,
    pub seed: u64,
    /// Every message takes 1 … this many steps.
    pub bound: u32,
    /// So many coordinators are suspected; then the adversary stops.
    pub rounds: u64,
}

/// What a candidate loses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Horn {
    /// Validity, agreement or integrity.
    Safety,
    /// The adversary has done all that it planned, and nobody has decided.
    Termination,
}

impl Display for Horn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Horn::Safety => "safety",
            Horn::Termination => "termination, for as long as the adversary goes on",
        })
    }
}

/// The result of a run.
pub struct Outcome {
    pub name: &'static str,
    /// How many coordinators were suspected just in time.
    pub foiled: u64,
    /// The last round in which a coordinator proposed.
    pub round: u64,
    /// The reports on the properties when the adversary stopped, and at the end.
    pub reports: [Report; 2],
    /// When each process had decided: at the time when the adversary stopped, and in the end.
    pub decided: [Vec<Option<Time>>; 2],
    size: Size,
    trace: Trace,
}

/// All processes propose; the adversary foils the rounds, then stops.
///
/// # Errors
/// When there is no such membership.
pub fn hold(candidate: &dyn Candidate, size: Size) -> Result<Outcome, BadMembership> {
    let latency = Timed::uniform(UNIT, UNIT * size.bound);
    let mut world = World::new(size.processes, size.seed, latency)?.keep_trace();
    world.check(properties::consensus(world.membership(), "consensus"));
    world.check(properties::eventually_perfect("eventually-perfect"));
    let plan = Arc::new(Mutex::new(Plan {
        left: size.rounds,
        ..Plan::default()
    }));
    for q in world.processes() {
        let (detector, director) = world.directed(q, UNIT);
        locked(&plan).directors.push(director);
        let seen = plan.clone();
        let notify = Box::new(move |round| locked(&seen).upon_propose(q, round));
        let port = candidate.wire(&world, q, detector, notify);
        let (instance, value) = (1, candidate.value(q));
        world.request(q, Time::ZERO, &port, Propose { instance, value });
    }
    let held = world.run_while(|_| !locked(&plan).over);
    let before = decided(&world);
    let end = world.run();
    let plan = locked(&plan);
    Ok(Outcome {
        name: candidate.name(),
        foiled: plan.foiled,
        round: plan.round,
        reports: [held, end],
        decided: [before, decided(&world)],
        size,
        trace: world.trace(),
    })
}

fn decided(world: &World) -> Vec<Option<Time>> {
    let decided = |q| Some(world.tally(q, "consensus", "Decide")?.first);
    world.processes().map(decided).collect()
}

/// Times, in steps.
fn steps(times: &[Option<Time>]) -> String {
    let step = |time: &Option<Time>| match time {
        Some(time) => format!("{:.1}", time.as_nanos() as f64 / UNIT.as_nanos() as f64),
        None => "–".to_owned(),
    };
    times.iter().map(step).collect::<Vec<_>>().join(" ")
}

impl Outcome {
    /// The horns that broke.
    pub fn broken(&self) -> Vec<Horn> {
        let mut broken = Vec::new();
        let [held, end] = &self.reports;
        if held.violation().or(end.violation()).is_some() {
            broken.push(Horn::Safety);
        }
        if self.foiled == self.size.rounds && self.decided[0].iter().all(Option::is_none) {
            broken.push(Horn::Termination);
        }
        broken
    }

    /// How long the slowest message took, in steps; `None` if one never arrived.
    pub fn slowest(&self) -> Option<f64> {
        let mut sent = BTreeMap::new();
        let mut slowest = 0;
        for record in self.trace.records() {
            match record.kind {
                Kind::Send { message, to, .. } => {
                    sent.insert((message, to), record.time);
                }
                Kind::Receive { message, .. } => {
                    let at = sent.remove(&(message, record.process))?;
                    slowest = slowest.max(record.time.as_nanos() - at.as_nanos());
                }
                _ => {}
            }
        }
        let all = sent.is_empty();
        all.then(|| slowest as f64 / UNIT.as_nanos() as f64)
    }

    /// Whether the adversary was fair: nobody crashed, and every message arrived within the bound.
    pub fn is_fair(&self) -> bool {
        let correct = self.reports[1].completion.correct.len();
        let in_time = self
            .slowest()
            .is_some_and(|it| it <= f64::from(self.size.bound));
        correct == self.size.processes && in_time
    }

    /// Whether everything holds in the end, and everybody has decided.
    pub fn decides_in_the_end(&self) -> bool {
        self.reports[1].all_hold() && self.decided[1].iter().all(Option::is_some)
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        let [held, end] = &self.reports;
        let slowest = self.slowest();
        let slowest = slowest.map_or("never arrived".to_owned(), |it| {
            format!("took {it:.1} steps")
        });
        let _ = writeln!(
            text,
            "  {} coordinators suspected just in time, up to round {}; {} messages; the slowest {slowest}",
            self.foiled, self.round, held.counts.messages
        );
        let _ = writeln!(
            text,
            "  decided by then, by step: {}",
            steps(&self.decided[0])
        );
        for broken in self.broken() {
            let _ = writeln!(text, "  broken: {broken}");
        }
        if let Some(violation) = held.violation().or(end.violation()) {
            let _ = writeln!(text, "  {}: {}", violation.tag, violation.text);
        }
        let _ = writeln!(
            text,
            "  the adversary stops; decided, by step: {}",
            steps(&self.decided[1])
        );
        text
    }
}

/// A candidate under the adversary, and one that decides under the same latencies.
pub struct Shown {
    pub held: Outcome,
    pub saved: Outcome,
    svg: String,
}

/// Holds the candidate, and runs the other one for comparison.
///
/// # Errors
/// When there is no such membership.
pub fn show(
    candidate: &dyn Candidate,
    other: &dyn Candidate,
    size: Size,
) -> Result<Shown, BadMembership> {
    let held = hold(candidate, size)?;
    let saved = hold(other, size)?;
    let short = Size {
        rounds: DRAWN,
        bound: 1,
        ..size
    };
    let drawn = hold(candidate, short)?;
    let svg = Svg::default()
        .title(format!("{}, held undecided for {DRAWN} rounds", drawn.name))
        .note("Everybody else suspects the coordinator just before its proposal arrives.")
        .note("Nobody crashes; every message takes one step. Then the adversary stops.");
    Ok(Shown {
        held,
        saved,
        svg: svg.draw(&drawn.trace, size.processes),
    })
}

impl Shown {
    /// What is not as the result has it: the first must lose termination alone, and decide in the end; the other
    /// one must lose nothing; the adversary must be fair.
    pub fn unexpected(&self) -> Vec<String> {
        let mut unexpected = Vec::new();
        let name = self.held.name;
        match &self.held.broken()[..] {
            [Horn::Termination] => {}
            [] => unexpected.push(format!("{name}: no horn broke")),
            broken => unexpected.push(format!("{name}: {broken:?}, not termination alone")),
        }
        let broken = self.saved.broken();
        if !broken.is_empty() {
            unexpected.push(format!(
                "{}: {broken:?}, and must lose nothing",
                self.saved.name
            ));
        }
        for outcome in [&self.held, &self.saved] {
            if !outcome.is_fair() {
                unexpected.push(format!("{}: the adversary was not fair", outcome.name));
            }
            if !outcome.decides_in_the_end() {
                unexpected.push(format!("{}: not all decide in the end", outcome.name));
            }
        }
        unexpected
    }

    /// The runs, as text.
    pub fn text(&self) -> String {
        let Size {
            processes, bound, ..
        } = self.held.size;
        format!(
            "{processes} processes, nobody crashes, every message arrives within {bound} steps\n\n{}\n{}",
            self.held.text(),
            self.saved.text()
        )
    }

    /// A short run, as a picture.
    pub fn svg(&self) -> String {
        self.svg.clone()
    }
}

#[cfg(test)]
mod tests;
