//! A random schedule.
use super::{
    budget::OmissionBudget,
    play::{Player, Run},
    script::Script,
    shrink::shrink,
    step::{Act, Step},
};
use crate::{chance, omission::OmissionKind, world::World};
use quorate_core::Random;
use rand::SeedableRng;

/// The adversary that takes enabled steps with equal probability, and sometimes lets a process crash: a
/// random walk through the schedules. A violation that it finds has a schedule, and so can be replayed, read
/// and shrunk.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    seed: u64,
    crashes: usize,
    gaps: usize,
    omissions: Option<OmissionBudget>,
    chance: f64,
    steps: usize,
}

impl Walk {
    /// The walk drawn from this seed, without crashes.
    pub fn new(seed: u64) -> Self {
        Walk {
            seed,
            crashes: 0,
            gaps: 0,
            omissions: None,
            chance: 0.1,
            steps: 100_000,
        }
    }

    /// Allows at most this many crashes, equally likely between steps and inside them.
    #[must_use]
    pub fn crashes(mut self, most: usize) -> Self {
        self.crashes = most;
        self
    }

    /// Allows at most this many gaps: as long as one is allowed, the ends of streams are among the steps to
    /// choose from.
    #[must_use]
    pub fn gaps(mut self, most: usize) -> Self {
        self.gaps = most;
        self
    }

    /// Allows at most this many messages of this kind to be omitted, by at most this many processes, beside
    /// those that crash: as long as one is allowed, omissions are among the steps to choose from.
    #[must_use]
    pub fn omissions(mut self, kind: OmissionKind, messages: usize, processes: usize) -> Self {
        self.omissions = Some(OmissionBudget {
            kind,
            messages,
            processes,
        });
        self
    }

    /// The probability of a crash at each step, as long as one is allowed (a tenth by default).
    #[must_use]
    pub fn chance(mut self, probability: f64) -> Self {
        self.chance = probability;
        self
    }

    /// Ends the random choice after this many steps, and goes on with the oldest step (100,000 by default).
    #[must_use]
    pub fn steps(mut self, most: usize) -> Self {
        self.steps = most;
        self
    }

    /// Runs this many walks, from this seed on, each in a world that `build` makes. Returns the first that
    /// breaks a property, as a short script that names its seed.
    pub fn hunt(&self, walks: u64, build: impl Fn() -> World) -> Option<Script> {
        (self.seed..self.seed + walks).find_map(|seed| {
            let run = Walk { seed, ..*self }.run(build());
            let violation = run.report.violation()?;
            let mut script = run.taken.clone();
            script.heading = vec![format!("Found by the random walk of seed {seed}.")];
            Some(shrink(&script, &violation.tag, &build).unwrap_or(script))
        })
    }

    /// For tests: asserts that none of this many walks, from this seed on, breaks a property.
    ///
    /// # Panics
    /// When a walk breaks a property; the message has its seed and the shrunk script.
    #[track_caller]
    pub fn assert_none_breaks(&self, walks: u64, build: impl Fn() -> World) {
        if let Some(script) = self.hunt(walks, build) {
            panic!("{script}");
        }
    }

    /// Runs this world, which has not run yet, to its end. A violation ends the run, unless the world was
    /// told to go on.
    pub fn run(&self, world: World) -> Run {
        let mut rng = Random::seed_from_u64(self.seed);
        let mut player = Player::new(world);
        let (mut crashes, mut gaps) = (0, 0);
        for _ in 0..self.steps {
            if player.is_over() || player.world.is_complete() {
                break;
            }
            let mut enabled = player.world.enabled();
            enabled.extend(player.world.losable());
            if gaps < self.gaps {
                enabled.extend(player.world.endable());
            }
            if let Some(budget) = self.omissions {
                let taken = player.steps();
                enabled.extend(budget.rest(taken, player.world.omittable(budget.kind)));
            }
            if enabled.is_empty() {
                break;
            }
            let crashing = crashes < self.crashes && chance::happens(&mut rng, self.chance);
            let mut step = enabled[chance::below(&mut rng, enabled.len() as u64) as usize];
            if crashing {
                step = crash(step, &player.world, &mut rng);
            }
            player.take(step);
            gaps += usize::from(matches!(step.act, Act::End { .. }));
            crashes = player
                .world
                .processes()
                .filter(|p| !player.world.is_alive(*p))
                .count();
        }
        player.finish(&Script::default())
    }
}

/// A crash inside the step, or of any process instead of it.
fn crash(step: Step, world: &World, rng: &mut Random) -> Step {
    let reacts = step.act.process().is_some();
    if reacts && chance::happens(rng, 0.5) {
        let most = world.membership().n() as u64;
        return step.crashing_before(2 + chance::below(rng, most));
    }
    let alive: Vec<_> = world.processes().filter(|p| world.is_alive(*p)).collect();
    let p = alive[chance::below(rng, alive.len() as u64) as usize];
    Act::Crash(p).into()
}
