//! Executions over links and timers are executions in lock step, round by round and message by message: under
//! crashes at any step while the bounds hold, and with the reported omissions whatever the delays.
use super::*;
use crate::{
    execution::run,
    failures::Pattern,
    flood_set::{self, FloodSet},
    one_round::OneRound,
    problem::{Broadcasts, Consensus},
    properties::Delivery,
    terminating::Terminating,
};
use quorate_abstractions::link::Links;
use quorate_core::{Addr, Random};
use quorate_sim::{
    Adversary, Crash, Report, Timed, Transmission, UNIT, World,
    testing::{Latencies, losing, p, set},
};
use rand::{RngExt, SeedableRng};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// δ of all worlds.
const DELAY: Duration = UNIT;

fn value(rank: usize) -> Bytes {
    Bytes::from(vec![rank as u8])
}

/// The exchange of one round.
struct Once;

impl Problem for Once {
    type Request = Bytes;
    type Rounds = OneRound<Bytes>;

    fn rounds(&self) -> u64 {
        1
    }

    fn begin(&self, proposal: Bytes) -> OneRound<Bytes> {
        OneRound::new(proposal)
    }

    fn join(&self, heard: &[Bytes]) -> Option<OneRound<Bytes>> {
        heard.first().cloned().map(OneRound::new)
    }

    fn write(message: &Bytes, out: &mut BytesMut) {
        out.extend_from_slice(message);
    }

    fn read(&self, bytes: Bytes) -> Result<Bytes, Undecodable> {
        Ok(bytes)
    }

    fn observe_request(_: &Bytes) -> Observation {
        Observation::request("Propose")
    }

    fn observe_output(_: &Bytes) -> Observation {
        Observation::indication("Decide")
    }
}

/// Terminating broadcasts of p1 that do not stop early: in round 1 only p1 sends.
struct Benign {
    f: usize,
    me: ProcessId,
}

impl Problem for Benign {
    type Request = Option<Bytes>;
    type Rounds = Terminating<Bytes>;

    fn rounds(&self) -> u64 {
        self.f as u64 + 1
    }

    fn begin(&self, message: Option<Bytes>) -> Terminating<Bytes> {
        Terminating::new(self.f, self.me, p(1), message)
    }

    fn join(&self, _: &[Bytes]) -> Option<Terminating<Bytes>> {
        Some(self.begin(None))
    }

    fn write(message: &Bytes, out: &mut BytesMut) {
        out.extend_from_slice(message);
    }

    fn read(&self, bytes: Bytes) -> Result<Bytes, Undecodable> {
        Ok(bytes)
    }

    fn observe_request(_: &Option<Bytes>) -> Observation {
        Observation::request("Broadcast")
    }

    fn observe_output(_: &Delivery<Bytes>) -> Observation {
        Observation::indication("Deliver")
    }
}

/// Consensus in which all send all that they know in every round.
struct Talkative(Consensus);

impl Problem for Talkative {
    type Request = Bytes;
    type Rounds = FloodSet<Bytes>;

    fn rounds(&self) -> u64 {
        self.0.rounds()
    }

    fn begin(&self, proposal: Bytes) -> FloodSet<Bytes> {
        let quiet = self.0.begin(proposal);
        quiet.mutant(flood_set::Mutant::SendsAgain)
    }

    fn join(&self, heard: &[BTreeSet<Bytes>]) -> Option<FloodSet<Bytes>> {
        let quiet = self.0.join(heard);
        quiet.map(|quiet| quiet.mutant(flood_set::Mutant::SendsAgain))
    }

    fn write(message: &BTreeSet<Bytes>, out: &mut BytesMut) {
        Consensus::write(message, out);
    }

    fn read(&self, bytes: Bytes) -> Result<BTreeSet<Bytes>, Undecodable> {
        self.0.read(bytes)
    }

    fn observe_request(proposal: &Bytes) -> Observation {
        Consensus::observe_request(proposal)
    }

    fn observe_output(decision: &Bytes) -> Observation {
        Consensus::observe_output(decision)
    }
}

/// The messages of a round, with their senders.
type Received<A> = Vec<(ProcessId, <A as RoundAlgorithm>::Message)>;

/// What processes did, in an execution in rounds or in one over links.
struct Log<A: RoundAlgorithm> {
    /// The state with which each process began.
    beginnings: BTreeMap<ProcessId, A>,
    /// The last round in which each process sent.
    sent: BTreeMap<ProcessId, u64>,
    /// What each process received in each round.
    received: BTreeMap<(ProcessId, u64), Received<A>>,
    /// Its output in that round, if there was one.
    outputs: BTreeMap<(ProcessId, u64), A::Output>,
    halted: BTreeMap<ProcessId, u64>,
}

impl<A: RoundAlgorithm> Default for Log<A> {
    fn default() -> Self {
        Log {
            beginnings: BTreeMap::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            outputs: BTreeMap::new(),
            halted: BTreeMap::new(),
        }
    }
}

type SharedLog<A> = Arc<Mutex<Log<A>>>;

/// An algorithm whose doings are logged.
struct Logged<A: RoundAlgorithm> {
    inner: A,
    me: ProcessId,
    log: SharedLog<A>,
}

impl<A: RoundAlgorithm> RoundAlgorithm for Logged<A> {
    type Message = A::Message;
    type Output = A::Output;

    fn send(&mut self, round: u64) -> Vec<(To, A::Message)> {
        self.log.lock().unwrap().sent.insert(self.me, round);
        self.inner.send(round)
    }

    fn receive(&mut self, round: u64, received: &[(ProcessId, A::Message)]) -> Option<A::Output> {
        let output = self.inner.receive(round, received);
        let mut log = self.log.lock().unwrap();
        log.received.insert((self.me, round), received.to_vec());
        if let Some(output) = &output {
            log.outputs.insert((self.me, round), output.clone());
        }
        if self.inner.is_halted() {
            log.halted.insert(self.me, round);
        }
        output
    }

    fn is_halted(&self) -> bool {
        self.inner.is_halted()
    }
}

/// A problem whose algorithm is logged.
struct LoggedProblem<P: Problem> {
    inner: P,
    me: ProcessId,
    log: SharedLog<P::Rounds>,
}

impl<P: Problem<Rounds: Clone>> LoggedProblem<P> {
    fn log(&self, inner: P::Rounds) -> Logged<P::Rounds> {
        let mut log = self.log.lock().unwrap();
        log.beginnings.insert(self.me, inner.clone());
        Logged {
            inner,
            me: self.me,
            log: self.log.clone(),
        }
    }
}

impl<P: Problem<Rounds: Clone>> Problem for LoggedProblem<P> {
    type Request = P::Request;
    type Rounds = Logged<P::Rounds>;

    fn rounds(&self) -> u64 {
        self.inner.rounds()
    }

    fn begin(&self, request: P::Request) -> Logged<P::Rounds> {
        self.log(self.inner.begin(request))
    }

    fn join(&self, heard: &[problem::Message<P>]) -> Option<Logged<P::Rounds>> {
        self.inner.join(heard).map(|inner| self.log(inner))
    }

    fn write(message: &problem::Message<P>, out: &mut BytesMut) {
        P::write(message, out);
    }

    fn read(&self, bytes: Bytes) -> Result<problem::Message<P>, Undecodable> {
        self.inner.read(bytes)
    }

    fn observe_request(request: &P::Request) -> Observation {
        P::observe_request(request)
    }

    fn observe_output(output: &Output<P>) -> Observation {
        P::observe_output(output)
    }
}

/// The clocks, the network, the faults and the mutant of a run of one instance.
struct Case {
    n: usize,
    seed: u64,
    adversary: Box<dyn Adversary>,
    /// When each process is asked to begin, in rank order.
    requests: Vec<Option<Duration>>,
    /// How long a round takes at each process.
    lengths: Vec<Duration>,
    crashes: Vec<(ProcessId, Crash)>,
    /// Whether messages may be late.
    may_be_late: bool,
    mutant: Option<Mutant>,
}

/// A length of rounds that suffices where clocks do not drift.
fn length() -> Duration {
    RoundBounds::new(DELAY).unwrap().length(3).unwrap()
}

impl Case {
    /// Copies take any time up to δ, and each process is asked to begin at any time up to δ.
    fn drawn(n: usize, seed: u64) -> Self {
        let mut rng = Random::seed_from_u64(seed);
        let mut at = || Some(DELAY.mul_f64(rng.random_range(0.0..=1.0)));
        Case {
            n,
            seed,
            adversary: Box::new(Timed::uniform(Duration::ZERO, DELAY)),
            requests: (0..n).map(|_| at()).collect(),
            lengths: vec![length(); n],
            crashes: Vec::new(),
            may_be_late: false,
            mutant: None,
        }
    }

    /// Everything takes δ, and all are asked to begin at once.
    fn lock_step(n: usize) -> Self {
        Case {
            adversary: Box::new(Timed::lock_step()),
            requests: vec![Some(Duration::ZERO); n],
            ..Case::drawn(n, 0)
        }
    }

    fn crashing(mut self, how_many: usize) -> Self {
        let mut rng = Random::seed_from_u64(self.seed ^ 0xC0);
        let mut left: Vec<usize> = (1..=self.n).collect();
        for turn in 0..how_many {
            let victim = left.swap_remove(rng.random_range(0..left.len()));
            let crash = match rng.random_range(0..3) {
                0 => Crash::before_output(rng.random_range(1..=4 * self.n as u64)),
                1 => Crash::before_effect(rng.random_range(1..=12)),
                _ => {
                    let time = length().mul_f64(rng.random_range(0.0..3.5));
                    Crash::at(Time::ZERO + time)
                }
            };
            let crash = crash.losing(losing(self.seed + turn as u64));
            self.crashes.push((p(victim), crash));
        }
        self
    }
}

/// What came of a run.
struct Ran<P: Problem> {
    log: SharedLog<P::Rounds>,
    processes: Membership,
    report: Report,
    /// What the users were told, by process.
    outputs: BTreeMap<ProcessId, Vec<(u64, Output<P>)>>,
    /// By process, what it reported.
    omissions: BTreeSet<(ProcessId, Omission)>,
    may_be_late: bool,
    times: BTreeMap<ProcessId, Time>,
}

/// Who was told what, and when.
type News<P> = (ProcessId, Time, Told<LoggedProblem<P>>);

fn go<P: Problem<Rounds: Clone>>(
    case: Case,
    make: impl Fn(ProcessId, &Membership) -> P,
    request: impl Fn(ProcessId) -> P::Request,
) -> Ran<P> {
    let mut world = World::new(case.n, case.seed, case.adversary).unwrap();
    let processes = *world.membership();
    let log = SharedLog::<P::Rounds>::default();
    let told: Arc<Mutex<Vec<News<P>>>> = Arc::default();
    for q in world.processes() {
        let (host, links) = (world.host(q).at("rounds"), world.links(q).at("rounds"));
        let problem = LoggedProblem {
            inner: make(q, &processes),
            me: q,
            log: log.clone(),
        };
        let synchroniser = Synchroniser {
            mutant: case.mutant,
            ..Synchroniser::new(&host, problem, case.lengths[q.index()])
        };
        let heard = told.clone();
        let up = world.application_with(q, move |it, now| heard.lock().unwrap().push((q, now, it)));
        let port = spawn_as(&host, synchroniser, links.lane(), up);
        if let Some(after) = case.requests[q.index()] {
            let (instance, request) = (1, request(q));
            world.request(q, Time::ZERO + after, &port, Begin { instance, request });
        }
    }
    for (victim, crash) in case.crashes {
        world.crash(victim, crash);
    }
    let report = world.run();
    assert!(report.completion.complete, "{report}");
    let mut ran = Ran {
        log,
        processes,
        report,
        outputs: BTreeMap::new(),
        omissions: BTreeSet::new(),
        may_be_late: case.may_be_late,
        times: BTreeMap::new(),
    };
    for (q, now, it) in told.lock().unwrap().drain(..) {
        match it {
            Told::Output { round, output, .. } => {
                ran.outputs.entry(q).or_default().push((round, output));
                ran.times.insert(q, now);
            }
            Told::Omission(omission) => _ = ran.omissions.insert((q, omission)),
        }
    }
    ran
}

impl<P: Problem<Rounds: Clone>> Ran<P> {
    /// The failures of the execution in rounds: who crashed in which round after reaching whom, and what was
    /// reported as omitted.
    fn pattern(&self) -> Pattern {
        let log = self.log.lock().unwrap();
        let mut pattern = Pattern::failure_free();
        for (q, omission) in &self.omissions {
            pattern = pattern.omit(omission.from, omission.round, omission.from, *q);
        }
        let crashed = self.processes.set().without(self.report.completion.correct);
        for q in crashed.iter() {
            let Some(last) = log.sent.get(&q).copied() else {
                pattern = pattern.crash(q, 1, ProcessSet::EMPTY);
                continue;
            };
            // What a process computes and tells nobody is as if it had not computed it.
            let told = self.outputs.get(&q).map_or(0, Vec::len);
            let computed = log.outputs.range((q, 0)..=(q, u64::MAX));
            let untold = computed.skip(told).map(|((_, round), _)| *round).next();
            let round = match untold {
                Some(round) => round,
                None if log.halted.contains_key(&q) => continue,
                None => last,
            };
            let reached = self.processes.others(q).iter().filter(|other| {
                let received = log.received.get(&(*other, round));
                received.is_some_and(|received| received.iter().any(|(from, _)| *from == q))
            });
            pattern = pattern.crash(q, round, reached.collect());
        }
        pattern
    }

    /// The first difference from the execution in lock step that begins with the same states and has the same
    /// failures.
    fn difference(&self, rounds: u64) -> Option<String> {
        let pattern = self.pattern();
        if !self.may_be_late && !self.omissions.is_empty() {
            return Some(format!("omitted, without a cause: {:?}", self.omissions));
        }
        let (over_links, in_rounds) = (self.log.lock().unwrap(), SharedLog::default());
        let Some(any) = over_links.beginnings.values().next() else {
            return Some("nobody began".to_owned());
        };
        let execution = run(&self.processes, &pattern, rounds, |me| Logged {
            inner: over_links.beginnings.get(&me).unwrap_or(any).clone(),
            me,
            log: in_rounds.clone(),
        });
        let in_rounds = in_rounds.lock().unwrap();
        for (at, expected) in &in_rounds.received {
            let received = over_links.received.get(at);
            if received != Some(expected) {
                return Some(format!("{pattern}: {at:?} {received:?}, not {expected:?}"));
            }
        }
        let count = |log: &Log<P::Rounds>| {
            let all = log.received.keys();
            all.filter(|(q, round)| pattern.computes(*q, *round))
                .count()
        };
        if count(&over_links) != count(&in_rounds) {
            return Some(format!("{pattern}: another number of rounds"));
        }
        (self.outputs != execution.outputs).then(|| {
            let (these, those) = (&self.outputs, &execution.outputs);
            format!("{pattern}: {these:?}, not {those:?}")
        })
    }
}

fn flood(case: Case, f: usize) -> Ran<Consensus> {
    go(case, |_, all| Consensus::new(f, all), |q| value(q.rank()))
}

/// The message of p1, if this is p1.
fn message(q: ProcessId) -> Option<Bytes> {
    (q.rank() == 1).then(|| value(1))
}

fn broadcast(case: Case, f: usize) -> Ran<Broadcasts> {
    let make = |me, all: &Membership| Broadcasts::new(f, all, me, p(1));
    go(case, make, message)
}

/// Runs one of the algorithms, where at most `f` processes crash: the first difference from the execution in
/// lock step.
fn difference(case: Case, which: usize, f: usize) -> Option<String> {
    let rounds = f as u64 + 1;
    match which {
        0 => go(case, |_, _| Once, |q| value(q.rank())).difference(1),
        1 => flood(case, f).difference(rounds),
        2 => go(case, |me, _| Benign { f, me }, message).difference(rounds),
        _ => broadcast(case, f).difference(rounds),
    }
}

/// The sizes of a seed: how many processes there are, and how many crash, or may.
fn sizes(seed: u64) -> (usize, usize) {
    let n = 2 + seed as usize % 4;
    (n, (1 + seed as usize / 4 % 2).min(n - 1))
}

fn assert_lock_step(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        for which in 0..4 {
            let (n, f) = sizes(seed);
            let case = Case::drawn(n, seed).crashing(seed as usize / 8 % (f + 1));
            let found = difference(case, which, f);
            assert_eq!(found, None, "seed {seed}, algorithm {which}");
        }
    }
}

#[test]
fn rs2_synchrony_while_the_bounds_hold_every_run_is_one_in_lock_step_with_crashes() {
    assert_lock_step(0..480);
}

#[test]
#[ignore = "a hundred thousand runs of each algorithm: scripts/soak"]
fn rs2_synchrony_a_hundred_thousand_times() {
    assert_lock_step(0..100_000);
}

/// One crash at each output and at each effect, with each choice of copies that are lost.
#[test]
fn rs2_synchrony_a_crash_may_strike_at_every_step() {
    for which in 0..4 {
        for step in 1..=14 {
            for (turn, victim) in (0..3).flat_map(|turn| (1..=3).map(move |rank| (turn, rank))) {
                for crash in [Crash::before_output(step), Crash::before_effect(step)] {
                    let mut case = Case::drawn(3, step);
                    case.crashes = vec![(p(victim), crash.losing(losing(turn)))];
                    let found = difference(case, which, 1);
                    assert_eq!(found, None, "{which}, {crash:?} of p{victim}");
                }
            }
        }
    }
}

/// Most copies are in time, and some are late by any measure.
struct SomeLate;

impl Adversary for SomeLate {
    fn latency(&mut self, _: Transmission, rng: &mut Random) -> Duration {
        let units = if rng.random_bool(0.2) { 20.0 } else { 1.0 };
        DELAY.mul_f64(rng.random_range(0.0..=units))
    }
}

fn late(n: usize, seed: u64) -> Case {
    Case {
        adversary: Box::new(SomeLate),
        may_be_late: true,
        ..Case::drawn(n, seed)
    }
}

#[test]
fn rs1_rounds_and_rs3_reports_whatever_the_delays_every_run_is_one_with_the_reported_omissions() {
    let mut omitted = 0;
    for seed in 0..400 {
        for which in 0..4 {
            let (n, f) = sizes(seed);
            let found = difference(late(n, seed), which, f);
            assert_eq!(found, None, "seed {seed}, algorithm {which}");
        }
        let ran = flood(late(3, seed), 2);
        omitted += ran.omissions.len();
    }
    assert!(omitted > 400, "{omitted}");
}

#[test]
fn rs3_reports_a_delay_above_the_bound_is_reported_by_its_receiver_with_its_sender_and_round() {
    // The copy of round 2 from p1 to p3 takes ten times δ.
    let mut case = Case::lock_step(4);
    case.adversary = Box::new(Latencies::default().way(1, 3, &[1, 10]));
    let ran = flood(case, 1);
    let omission = Omission {
        instance: 1,
        round: 2,
        from: p(1),
    };
    assert_eq!(ran.omissions, [(p(3), omission)].into());
    // The first copy from p1 to p3 comes so late that the instance is over: it is an omission of round 1.
    let mut case = Case::lock_step(4);
    case.adversary = Box::new(Latencies::default().way(1, 3, &[30]));
    let ran = flood(case, 1);
    let omission = Omission {
        round: 1,
        ..omission
    };
    assert_eq!(ran.omissions, [(p(3), omission)].into());
    // p3 has heard of p1's value in round 2.
    assert_eq!(ran.outputs[&p(3)], [(2, value(1))]);
}

#[test]
fn rs3_reports_what_comes_after_a_process_has_halted_is_no_omission() {
    // Where processes crash, the others halt in different rounds; whoever halts later still sends to those
    // that have halted.
    for seed in 0..100 {
        let ran = broadcast(Case::drawn(5, seed).crashing(2), 3);
        assert_eq!(ran.omissions, BTreeSet::new(), "seed {seed}");
    }
}

#[test]
fn rs4_progress_whoever_is_called_begins_within_the_delay_and_decides() {
    for n in 2..=5 {
        for seed in 0..20 {
            let mut case = Case::drawn(n, seed);
            case.requests = vec![None; n];
            case.requests[seed as usize % n] = Some(Duration::ZERO);
            let ran = flood(case, 1);
            assert_eq!(ran.outputs.len(), n, "seed {seed}");
            let caller = value(1 + seed as usize % n);
            for (q, outputs) in &ran.outputs {
                assert_eq!(*outputs, [(2, caller.clone())], "{q}, seed {seed}");
                let (earliest, latest) = (Time::ZERO + 2 * length(), DELAY);
                assert!(ran.times[q].since(earliest) <= latest, "{q}, seed {seed}");
                assert!(ran.times[q] >= earliest, "{q}, seed {seed}");
            }
            assert_eq!(ran.difference(2), None, "seed {seed}");
        }
    }
}

/// Of p1 and p2, p1 begins by δ later, and its clock is as slow as p2's is fast; every message takes δ, and both
/// send in every round. ρ is given in parts per million.
fn drifting(rounds: u64, length: Duration, drift: u32) -> Ran<Talkative> {
    const MILLION: u64 = 1_000_000;
    let (nanoseconds, rate) = (length.as_nanos() as u64, MILLION + u64::from(drift));
    let mut case = Case::lock_step(2);
    case.requests = vec![Some(DELAY), Some(Duration::ZERO)];
    case.lengths = vec![
        Duration::from_nanos(nanoseconds * rate / MILLION),
        Duration::from_nanos((nanoseconds * MILLION).div_ceil(rate)),
    ];
    let f = rounds as usize - 1;
    let make = |_, all: &Membership| Talkative(Consensus::new(f, all));
    go(case, make, |q| value(q.rank()))
}

#[test]
fn rs2_synchrony_the_length_allows_for_clocks_that_drift_apart_over_all_rounds() {
    for drift in [10_000, 100_000] {
        let bounds = RoundBounds::new(DELAY).unwrap().drift(drift);
        for rounds in 1..=5 {
            let enough = bounds.length(rounds).unwrap();
            let ran = drifting(rounds, enough, drift);
            assert_eq!(ran.omissions, BTreeSet::new(), "{rounds} rounds");
            // The length for one round is not enough for a second, when the clocks have drifted apart.
            let of_one = bounds.length(1).unwrap();
            let late = drifting(rounds, of_one, drift).omissions;
            assert_eq!(late.is_empty(), rounds == 1, "{rounds} rounds: {late:?}");
        }
    }
}

#[test]
fn the_length_of_a_round_follows_from_the_bounds() {
    let bounds = RoundBounds::new(Duration::from_millis(50)).unwrap();
    assert_eq!(bounds.length(3), Ok(Duration::from_millis(100) + INSTANT));
    let near = bounds.skew(Duration::from_millis(10));
    assert_eq!(near.length(3), Ok(Duration::from_millis(60) + INSTANT));
    assert_eq!(bounds.skew(Duration::from_secs(9)), bounds);
    // 0.1 · 1.1 / (2 − 1.21) seconds.
    let drifting = bounds.drift(100_000).length(2).unwrap();
    assert_eq!(drifting, Duration::from_nanos(139_240_507) + INSTANT);
    let (drift, rounds) = (100_000, 6);
    let refused = Err(BadBounds::TooMuchDrift { drift, rounds });
    assert_eq!(bounds.drift(drift).length(rounds), refused);
    assert_eq!(RoundBounds::new(Duration::ZERO), Err(BadBounds::NoDelay));
    let endless = RoundBounds::new(Duration::MAX).unwrap();
    assert!(endless.drift(u32::MAX).length(1).is_ok());
    assert!(endless.length(128).is_ok());
    let (drift, rounds) = (u32::MAX, u64::MAX);
    let refused = Err(BadBounds::TooMuchDrift { drift, rounds });
    assert_eq!(endless.drift(drift).length(rounds), refused);
}

#[test]
fn rounds_that_are_too_short_are_found() {
    // Everything takes δ, and p1 begins by δ after the others.
    let with = |length| {
        let mut case = Case::lock_step(3);
        case.requests[0] = Some(DELAY);
        case.lengths = vec![length; 3];
        flood(case, 1).omissions
    };
    assert_eq!(with(length()), BTreeSet::new());
    let found = with(length().saturating_sub(2 * INSTANT));
    assert!(!found.is_empty());
    // In drawn runs, too, and agreement breaks: a process omits, and the others do not know of it.
    let broken = (0..200).filter(|seed| {
        let mut case = Case::drawn(3, *seed);
        case.lengths = vec![DELAY.mul_f64(0.6); 3];
        let outputs = flood(case, 1).outputs;
        let decided: BTreeSet<_> = outputs.values().flatten().collect();
        decided.len() > 1
    });
    assert!(broken.count() > 0);
}

#[test]
fn every_mutant_is_found() {
    let found = |mutant, case: fn(usize, u64) -> Case| {
        (0..300).any(|seed| {
            (0..4).any(|which| {
                let case = Case {
                    mutant: Some(mutant),
                    ..case(3, seed)
                };
                difference(case, which, 2).is_some()
            })
        })
    };
    assert!(found(Mutant::DropsEarly, Case::drawn));
    assert!(found(Mutant::Deaf, Case::drawn));
    assert!(found(Mutant::CountsLate, late));
    assert!(found(Mutant::Silent, late));
    // Under the bounds, these two do nothing else than the algorithm.
    assert!(!found(Mutant::CountsLate, Case::drawn));
    assert!(!found(Mutant::Silent, Case::drawn));
    let mut alone = Case::drawn(3, 1);
    alone.requests = vec![Some(Duration::ZERO), None, None];
    alone.mutant = Some(Mutant::WaitsForRequests);
    assert_eq!(flood(alone, 1).outputs.len(), 1);
}

/// A message of round 1, with this proposal.
fn proposal(instance: u64, round: u64, value: &Bytes) -> Message {
    let mut messages = BytesMut::new();
    let mut set = BytesMut::new();
    wire::put_batch([value], &mut set);
    wire::put_batch([&set.freeze()], &mut messages);
    Message::Round {
        instance,
        round,
        messages: messages.freeze(),
    }
}

/// p1 sends what it likes, and the others decide nonetheless.
struct Hostile {
    world: World,
    lane: Addr<link::SendRequest<Bytes>>,
    ports: Vec<Addr<Begin<Consensus>>>,
    decided: Arc<Mutex<Vec<(ProcessId, u64, Bytes)>>>,
    sizes: Arc<AtomicUsize>,
}

/// Notes how much the synchroniser holds at most.
struct Weighed(Synchroniser<Consensus>, Arc<AtomicUsize>);

impl Algorithm for Weighed {
    type Event = Event<Consensus>;
    type Effect = Effect<Consensus>;

    fn upon(&mut self, event: Self::Event, ctx: &mut Ctx<Self>) {
        self.0.upon(event, ctx);
        let runs = self.0.running.numbers();
        let waiting = |number: &u64| {
            let run = self.0.running.get(*number);
            run.map_or(0, |run| run.received.values().map(BTreeMap::len).sum())
        };
        let held: usize = runs.iter().map(waiting).sum();
        self.1
            .fetch_max(held + runs.len() + self.0.over.len(), Relaxed);
    }
}

fn hostile(n: usize, mutant: Option<Mutant>) -> Hostile {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let (decided, sizes) = (
        Arc::<Mutex<Vec<_>>>::default(),
        Arc::<AtomicUsize>::default(),
    );
    let lane = world
        .links(p(1))
        .at("rounds")
        .open(Addr::<link::Deliver<Bytes>>::nowhere());
    let mut ports = Vec::new();
    for q in world.processes().skip(1) {
        let (host, links) = (world.host(q).at("rounds"), world.links(q).at("rounds"));
        let problem = Consensus::new(1, host.processes());
        let synchroniser = Synchroniser {
            mutant,
            ..Synchroniser::new(&host, problem, length())
        };
        let told = decided.clone();
        let up = world.application_with(q, move |it, _| {
            if let Told::Output {
                instance, output, ..
            } = it
            {
                told.lock().unwrap().push((q, instance, output));
            }
        });
        let weighed = Weighed(synchroniser, sizes.clone());
        ports.push(spawn_as(&host, weighed, links.lane(), up));
    }
    Hostile {
        world,
        lane,
        ports,
        decided,
        sizes,
    }
}

impl Hostile {
    fn send(&self, at: Duration, message: impl Into<Bytes>) {
        let (to, message) = (
            To::Some(self.world.membership().others(p(1))),
            message.into(),
        );
        let request = link::SendRequest { to, message };
        self.world
            .request(p(1), Time::ZERO + at, &self.lane, request);
    }

    fn propose(&self, at: Duration, instance: u64) {
        for (port, q) in self.ports.iter().zip(self.world.processes().skip(1)) {
            let request = value(q.rank());
            let begin = Begin { instance, request };
            self.world.request(q, Time::ZERO + at, port, begin);
        }
    }

    fn counted(&self, rank: usize, reason: &str) -> u64 {
        let counts = self.world.counters(p(rank)).snapshot();
        let of_reason = counts.into_iter().filter(|(_, it, _)| *it == reason);
        of_reason.map(|(_, _, count)| count).sum()
    }
}

#[test]
fn hostile_messages_are_dropped_and_counted() {
    let mut hostile = hostile(3, None);
    let round = |instance, round| wire::encode(&proposal(instance, round, &value(9)));
    hostile.propose(Duration::ZERO, 1);
    let many: Vec<Bytes> = (0..4).map(value).collect();
    let mut set = BytesMut::new();
    wire::put_batch(&many, &mut set);
    let set = set.freeze();
    let mut messages = BytesMut::new();
    wire::put_batch([&set], &mut messages);
    let crowded = Message::Round {
        instance: 1,
        round: 1,
        messages: messages.freeze(),
    };
    let empty = Message::Round {
        instance: 2,
        round: 1,
        messages: Bytes::new(),
    };
    for bytes in [
        round(1, 0),
        round(1, 3),
        round(1, u64::MAX),
        round(u64::MAX, 1),
        round(0, 1),
        wire::encode(&crowded),
        wire::encode(&empty),
    ] {
        hostile.send(Duration::ZERO, bytes);
    }
    for bytes in [&b""[..], b"\x00", b"\xff\xff", b"\x00\x01\x01\x09x"] {
        hostile.send(Duration::ZERO, Bytes::from_static(bytes));
    }
    hostile.send(Duration::ZERO, round(1, 1));
    hostile.send(Duration::ZERO, round(1, 1));
    hostile.world.run();
    for reason in [
        "no such round",
        "instance too far ahead",
        "message of an instance that is forgotten",
        "undecodable messages",
        "nothing to begin with",
        "second message of a round",
    ] {
        assert!(hostile.counted(2, reason) > 0, "{reason}");
        assert!(hostile.counted(3, reason) > 0, "{reason}");
    }
    // Value 9, which p1 said in time, is a proposal like others.
    let decided = hostile.decided.lock().unwrap();
    assert_eq!(*decided, [(p(2), 1, value(2)), (p(3), 1, value(2))]);
}

#[test]
fn the_first_message_of_a_round_counts() {
    let decided = |mutant| {
        let mut hostile = hostile(3, mutant);
        hostile.propose(Duration::ZERO, 1);
        for first in [9, 1] {
            let message = wire::encode(&proposal(1, 1, &value(first)));
            hostile.send(Duration::ZERO, message);
        }
        hostile.world.run();
        let decided = hostile.decided.lock().unwrap();
        decided.iter().map(|(_, _, it)| it[0]).collect::<Vec<_>>()
    };
    assert_eq!(decided(None), [2, 2]);
    assert_eq!(decided(Some(Mutant::TakesTheLast)), [1, 1]);
}

#[test]
fn memory_does_not_follow_the_length_of_the_run() {
    let size_after = |instances: u64| {
        let mut hostile = hostile(3, None);
        for instance in 1..=instances {
            let at = length() * 3 * instance as u32;
            hostile.propose(at, instance);
            // p1 repeats itself, and speaks of instances that are over.
            for _ in 0..3 {
                hostile.send(at, wire::encode(&proposal(instance, 2, &value(5))));
            }
            hostile.send(at, wire::encode(&proposal(instance / 2 + 1, 1, &value(5))));
        }
        assert!(hostile.world.run().completion.complete);
        let decided = hostile.decided.lock().unwrap().len() as u64;
        assert_eq!(decided, 2 * instances);
        hostile.sizes.load(Relaxed)
    };
    let few = size_after(1_100);
    assert!(few <= REMEMBERED + 20, "{few}");
    assert_eq!(size_after(3_000), few);
}

#[test]
fn instances_run_side_by_side() {
    const INSTANCES: u64 = 40;
    let mut world = World::new(4, 5, Timed::uniform(Duration::ZERO, DELAY)).unwrap();
    let decided: Arc<Mutex<BTreeMap<u64, Vec<Bytes>>>> = Arc::default();
    for q in world.processes() {
        let (host, links) = (world.host(q).at("rounds"), world.links(q).at("rounds"));
        let problem = Consensus::new(2, host.processes());
        let told = decided.clone();
        let up = world.application_with(q, move |it, _| match it {
            Told::Output {
                instance, output, ..
            } => told
                .lock()
                .unwrap()
                .entry(instance)
                .or_default()
                .push(output),
            Told::Omission(omission) => panic!("{omission:?}"),
        });
        let port = spawn(&host, problem, length(), links.lane(), up);
        for instance in 1..=INSTANCES {
            // Processes begin in different orders, so that most are called before they are asked.
            let turn = (instance * q.rank() as u64) % INSTANCES;
            let at = Time::ZERO + DELAY * turn as u32 / 8;
            let request = Bytes::from(vec![instance as u8, q.rank() as u8]);
            world.request(q, at, &port, Begin { instance, request });
        }
    }
    assert!(world.run().completion.complete);
    let decided = decided.lock().unwrap();
    assert_eq!(decided.len() as u64, INSTANCES);
    for (instance, values) in decided.iter() {
        assert_eq!(values.len(), 4);
        let first = &values[0];
        assert_eq!(u64::from(first[0]), *instance, "{values:?}");
        assert!(values.iter().all(|it| it == first), "{values:?}");
    }
}

/// What is sent, and when the last process is done, in rounds' lengths.
fn cost<P: Problem>(ran: &Ran<P>) -> (u64, u64) {
    let last = ran.times.values().max().copied().unwrap_or(Time::ZERO);
    let lengths = last.as_nanos() / length().as_nanos() as u64;
    assert_eq!(Time::ZERO + length() * lengths as u32, last);
    (ran.report.counts.messages, lengths)
}

#[test]
fn the_cost_is_exact() {
    for n in 1..=8_usize {
        let (all, others) = (n as u64, n as u64 - 1);
        for f in 0..n {
            let rounds = f as u64 + 1;
            let many = if f == 0 || n == 1 { 1 } else { 2 };
            let apart = flood(Case::lock_step(n), f);
            assert_eq!(cost(&apart), (many * all * others, rounds), "n = {n}");
            let alike = go(
                Case::lock_step(n),
                |_, all| Consensus::new(f, all),
                |_| value(1),
            );
            assert_eq!(cost(&alike), (all * others, rounds), "n = {n}, f = {f}");
            let early = broadcast(Case::lock_step(n), f);
            let twice = if f == 0 { 1 } else { 2 };
            assert_eq!(cost(&early), (twice * all * others, 1), "n = {n}, f = {f}");
            let benign = go(Case::lock_step(n), |me, _| Benign { f, me }, message);
            // In round 1 those who have nothing to say tell that the instance begins.
            let relays = if f == 0 { 0 } else { others * others };
            assert_eq!(
                cost(&benign),
                (all * others + relays, 1),
                "n = {n}, f = {f}"
            );
        }
        let once = go(Case::lock_step(n), |_, _| Once, |q| value(q.rank()));
        assert_eq!(cost(&once), (all * others, 1));
    }
    for n in 3..=8_usize {
        let others = n as u64 - 1;
        let dead = || {
            let mut case = Case::lock_step(n);
            case.crashes = vec![(p(1), Crash::at(Time::ZERO))];
            case
        };
        for f in 1..n {
            let apart = flood(dead(), f);
            let square = others * others;
            assert_eq!(cost(&apart), (2 * square, f as u64 + 1), "n = {n}, f = {f}");
            let rounds = if f == 1 { 2 } else { 3 };
            let early = broadcast(dead(), f);
            assert_eq!(cost(&early), (rounds * square, 2), "n = {n}, f = {f}");
        }
    }
}

#[test]
fn a_called_process_proposes_what_it_heard() {
    let processes = Membership::of_size(3).unwrap();
    let problem = Consensus::new(1, &processes);
    let mut joined = problem.join(&[[value(3), value(2)].into()]).unwrap();
    assert_eq!(joined.send(1), [(To::All, [value(2)].into())]);
    assert!(problem.join(&[]).is_none());
}

#[test]
fn messages_survive_the_wire() {
    let processes = Membership::of_size(3).unwrap();
    let consensus = Consensus::new(1, &processes);
    let values: BTreeSet<Bytes> = [value(1), Bytes::new()].into();
    let mut out = BytesMut::new();
    Consensus::write(&values, &mut out);
    assert_eq!(consensus.read(out.freeze()), Ok(values));
    assert_eq!(consensus.read(Bytes::new()), Err(Undecodable), "no values");
    let broadcasts = Broadcasts::new(1, &processes, p(1), p(2));
    for said in [
        None,
        Some(Delivery::SenderFaulty),
        Some(Delivery::Message(value(7))),
        Some(Delivery::Message(Bytes::new())),
    ] {
        let mut out = BytesMut::new();
        Broadcasts::write(&said, &mut out);
        assert_eq!(broadcasts.read(out.freeze()), Ok(said));
    }
    for bytes in [&b""[..], b"\x00x", b"\x01x", b"\x03"] {
        let bytes = Bytes::from_static(bytes);
        assert_eq!(broadcasts.read(bytes), Err(Undecodable));
    }
}

#[test]
fn whom_the_same_is_sent_to() {
    let processes = Membership::of_size(4).unwrap();
    let sent = [
        (To::All, 'a'),
        (To::One(p(2)), 'b'),
        (To::Some(set(&[2, 4])), 'c'),
    ];
    let same = same_messages(&sent, &processes);
    let expected = [
        (vec![0], set(&[1, 3])),
        (vec![0, 1, 2], set(&[2])),
        (vec![0, 2], set(&[4])),
    ];
    assert_eq!(same, BTreeMap::from(expected));
    let silent = same_messages::<char>(&[], &processes);
    assert_eq!(silent, BTreeMap::from([(vec![], processes.set())]));
}
