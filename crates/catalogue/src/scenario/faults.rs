//! What befalls the processes of a scenario.
use super::{Layers, Scenario, draw::Draw};
use quorate_core::{ProcessId, Time};
use quorate_sim::{Crash, Lose, World};
use std::time::Duration;

/// When a process crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Moment {
    /// At a time, before an output or before an effect, more often an early one; and its copies that
    /// are under way may be lost.
    #[default]
    Any,
    /// Before one of the outputs that it would make, each as likely.
    Output,
}

/// Faults that are drawn from the seed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Faults {
    /// How many processes crash.
    pub crashes: usize,
    /// When they do.
    pub moment: Moment,
    /// The probability that a fair-loss link loses a copy.
    pub loss: f64,
    /// The probability that a fair-loss link duplicates a copy.
    pub duplication: f64,
    /// How many times one way between two processes is cut, for a while.
    pub cuts: usize,
    /// How many times a process is stopped, for longer than a failure detector waits.
    pub pauses: usize,
    /// Whether an oracle ◇P never errs.
    pub accurate: bool,
    /// Whether an oracle ◇P errs all the time, for long: far more often than a few times.
    pub storm: bool,
}

impl Faults {
    /// Nobody crashes, nothing is lost; an oracle ◇P still errs for a while.
    pub const NONE: Faults = Faults {
        crashes: 0,
        moment: Moment::Any,
        loss: 0.0,
        duplication: 0.0,
        cuts: 0,
        pauses: 0,
        accurate: false,
        storm: false,
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
    /// From when.
    pub begin: Time,
    /// Until when; `None`: for ever, and no liveness property is judged.
    pub end: Option<Time>,
}

/// A cut that is drawn lasts so long: P waits longer.
const CUT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));
/// A pause lasts so long: mostly, ◇P does not wait as long.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1500));

/// Plans the faults. `outputs`: how many outputs each process makes, where a crash is before one.
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
    // Fair-loss links lose what they like anyway.
    crash.losing(match draw.below(3) {
        _ if layers == Layers::Full => Lose::Nothing,
        0 => Lose::Nothing,
        1 => Lose::Each(0.5),
        _ => Lose::Everything,
    })
}
