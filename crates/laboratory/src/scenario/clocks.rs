//! The clocks of a scenario, which the seed draws.
use super::{Scenario, draw::Draw};
use quorate_core::Time;
use quorate_sim::{Clock, World};
use std::time::Duration;

/// How the clocks of the processes differ from time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Clocks {
    /// Whether each begins at a time of its own.
    pub offset: bool,
    /// ρ: each runs at a speed between 1 − ρ and 1 + ρ.
    pub drift: f64,
    /// How many times one of them jumps forward.
    pub jumps: usize,
}

impl Clocks {
    /// All clocks show the simulated time.
    pub const EXACT: Clocks = Clocks {
        offset: false,
        drift: 0.0,
        jumps: 0,
    };
}

/// The longest offset.
const OFFSET: Duration = Duration::from_hours(1);
/// The range of the length of a jump. In most cases ◇P does not wait as long.
const JUMP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1500));

/// Gives each process its clock. A third of them run as fast as they may, a third as slowly.
pub(super) fn plan(scenario: &Scenario, world: &World, seed: u64) {
    let clocks = scenario.faults.clocks;
    if clocks == Clocks::EXACT {
        return;
    }
    let mut draw = Draw::new(seed, "clocks").within(scenario.busy());
    let mut drawn: Vec<_> = world
        .processes()
        .map(|_| {
            let offset = draw.duration(Duration::ZERO, OFFSET);
            let speed = match draw.below(3) {
                0 => clocks.drift,
                1 => -clocks.drift,
                _ => clocks.drift * (draw.below(2001) as f64 / 1000.0 - 1.0),
            };
            let clock = Clock::new().drift(speed);
            if clocks.offset {
                clock.offset(offset)
            } else {
                clock
            }
        })
        .collect();
    for _ in 0..clocks.jumps {
        let place = draw.below(drawn.len() as u64) as usize;
        let (at, by): (Time, _) = (draw.moment(), draw.duration(JUMP.0, JUMP.1));
        drawn[place] = std::mem::take(&mut drawn[place]).jump(at, by);
    }
    for (p, clock) in world.processes().zip(drawn) {
        world.clock(p, clock);
    }
}
