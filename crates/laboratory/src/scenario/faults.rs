//! The faults of a scenario.
use super::{Clocks, Layers, Omissions, Scenario, clocks, draw::Draw, omissions};
use quorate_core::{Membership, ProcessId, Time};
use quorate_sim::{Channel, Crash, Gap, Keep, Lose, Tampering, World};
use std::{collections::BTreeMap, time::Duration};

/// When a process crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Moment {
    /// At a time, before an output or before an effect, more often an early one. Its copies in flight may be
    /// lost.
    #[default]
    Any,
    /// Before one of the outputs that it would make, with equal probability.
    Output,
}

/// Faults that are drawn from the seed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Faults {
    /// How many processes crash.
    pub crashes: usize,
    /// When they do.
    pub moment: Moment,
    /// The processes that omit messages.
    pub omissions: Option<Omissions>,
    /// The clocks of the processes.
    pub clocks: Clocks,
    /// The probability that a fair-loss link loses a copy.
    pub loss: f64,
    /// The probability that a fair-loss link duplicates a copy.
    pub duplication: f64,
    /// The probability that a datagram on a fair-loss link is the occasion for a forged, altered, repeated or
    /// misdirected one.
    pub tampering: f64,
    /// How many times one direction between two processes is cut for a while.
    pub cuts: usize,
    /// How many times a process is stopped for longer than a failure detector waits.
    pub pauses: usize,
    /// Whether an oracle ◇P makes no false suspicions.
    pub accurate: bool,
    /// Whether an oracle ◇P makes false suspicions throughout a long time, instead of a few.
    pub storm: bool,
    /// How many bytes a second each direction between two processes carries; 0 for no limit.
    pub bandwidth: u64,
    /// How many bytes wait there at most; 0 for no limit.
    pub queue: u64,
    /// How many times the stream from one process to another ends and begins anew. Only on ideal links.
    pub gaps: usize,
    /// How many processes start late.
    pub late: usize,
    /// How many processes crash and start again, without their memory. Only on the full stack.
    pub restarts: usize,
    /// How many processes have a user that takes indications in slowly.
    pub slow: usize,
    /// How many processes ask to leave their group.
    pub leaves: usize,
    /// How many pairs of processes are cut off from each other for long, while messages are large and the
    /// limit of what a peer may owe a real link is small. Only on the full stack.
    pub long_cuts: usize,
}

impl Faults {
    /// No crashes and no losses; an oracle ◇P still errs for a while.
    pub const NONE: Faults = Faults {
        crashes: 0,
        moment: Moment::Any,
        omissions: None,
        clocks: Clocks::EXACT,
        loss: 0.0,
        duplication: 0.0,
        tampering: 0.0,
        cuts: 0,
        pauses: 0,
        accurate: false,
        storm: false,
        bandwidth: 0,
        queue: 0,
        gaps: 0,
        late: 0,
        restarts: 0,
        slow: 0,
        leaves: 0,
        long_cuts: 0,
    };

    /// One process asks to leave its group.
    pub const ONE_LEAVES: Faults = Faults {
        leaves: 1,
        ..Faults::NONE
    };

    /// One process crashes.
    pub const ONE_CRASH: Faults = Faults {
        crashes: 1,
        ..Faults::NONE
    };
}

/// One direction of one channel that carries nothing for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The sender.
    pub from: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    pub begin: Time,
    /// The end of the cut; if `None`, the cut lasts for ever, and no liveness property is judged.
    pub end: Option<Time>,
}

/// The range of the length of a drawn cut. P waits longer.
const CUT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));
/// The range of the length of a pause. In most cases ◇P does not wait as long.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1500));

/// The range of times at which a late process starts.
const LATE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1500));
/// The range of times at which a process that restarts is killed. By then the others know it.
const KILLED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// The range of the time after which it comes back.
const AWAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1500));
/// How long a slow user takes for an indication.
const SLOW: Duration = Duration::from_millis(20);
/// The begin and the end of a long cut.
const LONG_CUT: (Time, Time) = (
    Time::from_nanos(1_000_000_000),
    Time::from_nanos(11_000_000_000),
);

/// How long somebody tampers with datagrams.
const TAMPERED: (Time, Time) = (Time::ZERO, Time::from_nanos(30_000_000_000));

/// A process is killed at a time, and comes back at another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Restart {
    pub(super) p: ProcessId,
    pub(super) killed: Time,
    pub(super) back: Time,
}

/// The restarts that a seed draws, in the order of time. No process restarts twice.
pub(super) fn restarts(scenario: &Scenario, processes: &Membership, seed: u64) -> Vec<Restart> {
    let mut draw = Draw::new(seed, "restarts");
    let mut spared: Vec<_> = processes.iter().collect();
    let count = scenario.faults.restarts.min(spared.len());
    let mut restarts: Vec<_> = (0..count)
        .map(|_| {
            let p = spared.swap_remove(draw.below(spared.len() as u64) as usize);
            let killed = Time::ZERO + draw.duration(KILLED.0, KILLED.1);
            let back = killed + draw.duration(AWAY.0, AWAY.1);
            Restart { p, killed, back }
        })
        .collect();
    restarts.sort_by_key(|restart| restart.back);
    restarts
}

/// The processes that ask to leave, and when. Draws for other purposes are not shifted by them.
pub(super) fn leavers(
    scenario: &Scenario,
    processes: &Membership,
    seed: u64,
) -> BTreeMap<ProcessId, Time> {
    let mut draw = Draw::new(seed, "leaves").within(scenario.busy());
    let mut staying: Vec<_> = processes.iter().collect();
    let count = scenario.faults.leaves.min(staying.len());
    (0..count)
        .map(|_| {
            let p = staying.swap_remove(draw.below(staying.len() as u64) as usize);
            (p, draw.moment())
        })
        .collect()
}

/// Plans the drawn bandwidths and queues, gaps, late starts and slow users.
fn plan_weight(scenario: &Scenario, world: &World, layers: Layers, seed: u64) {
    let (faults, n) = (&scenario.faults, scenario.processes);
    let mut channel = Channel::new();
    if faults.bandwidth > 0 {
        channel = channel.bandwidth(faults.bandwidth);
    }
    if faults.queue > 0 {
        channel = channel.queue(faults.queue);
    }
    if channel != Channel::new() {
        world.channels(channel);
    }
    let mut draw = Draw::new(seed, "gaps, late starts and slow users");
    for _ in 0..faults.gaps {
        let from = world.membership().coordinator(1 + draw.below(n as u64));
        let to = draw.other_than(from, n);
        let gap = Gap::at(draw.moment()).keeping(Keep::Drawn);
        if layers == Layers::Ideal {
            world.gap((from, to), gap);
        }
    }
    let mut punctual: Vec<_> = world.processes().collect();
    for _ in 0..faults.late.min(n) {
        let p = punctual.swap_remove(draw.below(punctual.len() as u64) as usize);
        world.start_at(p, Time::ZERO + draw.duration(LATE.0, LATE.1));
    }
    let mut quick: Vec<_> = world.processes().collect();
    for _ in 0..faults.slow.min(n) {
        let p = quick.swap_remove(draw.below(quick.len() as u64) as usize);
        world.slow_user(p, SLOW);
    }
    for _ in 0..faults.long_cuts {
        let one = world.membership().coordinator(1 + draw.below(n as u64));
        let other = draw.other_than(one, n);
        for way in [(one, other), (other, one)] {
            world.cut(way, LONG_CUT.0, Some(LONG_CUT.1));
        }
    }
    for gap in &scenario.gaps {
        world.gap((gap.from, gap.to), Gap::at(gap.at).keeping(Keep::Drawn));
    }
    for (p, at) in &scenario.starts {
        world.start_at(*p, *at);
    }
}

/// Plans who tampers with datagrams.
fn plan_tampering(scenario: &Scenario, world: &World, seed: u64) {
    let each = scenario.faults.tampering;
    if each > 0.0 {
        let seed = Draw::new(seed, "tampering").below(u64::MAX);
        let (begin, end) = TAMPERED;
        world.tamper(Tampering {
            begin,
            end,
            each,
            seed,
        });
    }
}

/// The stream from one process to another ends at this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GivenGap {
    /// The sender.
    pub from: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    pub at: Time,
}

/// Plans the faults. `outputs` says how many outputs each process makes, for crashes before one of them.
pub(super) fn plan(scenario: &Scenario, world: &World, layers: Layers, seed: u64, outputs: &[u64]) {
    let mut draw = Draw::new(seed, "cuts and pauses");
    let (n, processes) = (scenario.processes, world.membership());
    for _ in 0..scenario.faults.cuts {
        let from = processes.coordinator(1 + draw.below(n as u64));
        let to = draw.other_than(from, n);
        let begin = draw.moment();
        let end = begin + draw.duration(CUT.0, CUT.1);
        world.cut((from, to), begin, Some(end));
    }
    for _ in 0..scenario.faults.pauses {
        let p = processes.coordinator(1 + draw.below(n as u64));
        let begin = draw.moment();
        let end = begin + draw.duration(PAUSE.0, PAUSE.1);
        world.pause(p, begin, Some(end));
    }
    for cut in &scenario.cuts {
        world.cut((cut.from, cut.to), cut.begin, cut.end);
    }
    plan_weight(scenario, world, layers, seed);
    plan_tampering(scenario, world, seed);
    match (&scenario.failures, &scenario.quorums) {
        (Some(failures), _) => failures.plan(world),
        (None, Some(quorums)) => quorums.plan(world, seed),
        (None, None) => {}
    }
    omissions::plan(scenario, world, seed);
    clocks::plan(scenario, world, seed);
    if let Some(policy) = scenario.timing {
        world.timing(policy);
    }
    for restart in restarts(scenario, processes, seed) {
        world.crash(restart.p, Crash::at(restart.killed));
    }
    crash(scenario, world, layers, seed, outputs);
}

fn crash(scenario: &Scenario, world: &World, layers: Layers, seed: u64, outputs: &[u64]) {
    let mut draw = Draw::new(seed, "crashes");
    let mut spared: Vec<_> = world.processes().collect();
    for _ in 0..scenario.faults.crashes {
        let p = spared.swap_remove(draw.below(spared.len() as u64) as usize);
        let crash = match scenario.faults.moment {
            Moment::Any => any_crash(&mut draw, layers, scenario.processes),
            Moment::Output => match outputs.get(p.index()) {
                Some(outputs @ 1..) => Crash::before_output(1 + draw.below(*outputs)),
                Some(0) | None => Crash::at(draw.moment()),
            },
        };
        world.crash(p, crash);
    }
}

fn any_crash(draw: &mut Draw, layers: Layers, n: usize) -> Crash {
    let crash = match draw.below(3) {
        0 => Crash::at(draw.moment()),
        1 => Crash::before_output(draw.early(20 * n as u64)),
        _ => Crash::before_effect(draw.early(100)),
    };
    // Fair-loss links may lose these copies in any case.
    crash.losing(match draw.below(3) {
        _ if layers == Layers::Full => Lose::Nothing,
        0 => Lose::Nothing,
        1 => Lose::Each(0.5),
        _ => Lose::Everything,
    })
}
