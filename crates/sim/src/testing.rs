//! What tests of algorithms share: processes by their ranks, an adversary by script, worlds full of faults.
//!
//! The seed of a run says all that is drawn: the same seed gives the same faults.
use crate::{
    World,
    adversary::{Adversary, Random, Timed, Transmission, UNIT},
    fault::{Crash, Lose},
};
use quorate_core::{ProcessId, ProcessSet, Random as Generator};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// The process of this rank, from 1 to 128: there are no others.
#[track_caller]
pub fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).expect("a rank is from 1 to 128")
}

/// The processes of these ranks.
#[track_caller]
pub fn set(ranks: &[usize]) -> ProcessSet {
    ranks.iter().copied().map(p).collect()
}

/// Lock step, but for some ways: from which process to which, by their ranks, and what copies take there, in units.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    first: BTreeMap<(ProcessId, ProcessId), VecDeque<u32>>,
    each: BTreeMap<(ProcessId, ProcessId), u32>,
}

impl Latencies {
    /// Each copy on these ways takes so long.
    pub fn each(ways: &[(usize, usize, u32)]) -> Self {
        let ways = ways.iter();
        Latencies {
            first: BTreeMap::new(),
            each: ways
                .map(|(from, to, units)| ((p(*from), p(*to)), *units))
                .collect(),
        }
    }

    /// The first copies on this way take so long, each as its place says.
    #[must_use]
    pub fn way(mut self, from: usize, to: usize, units: &[u32]) -> Self {
        self.first
            .entry((p(from), p(to)))
            .or_default()
            .extend(units);
        self
    }
}

impl Adversary for Latencies {
    fn latency(&mut self, copy: Transmission, _: &mut Generator) -> Duration {
        let way = (copy.from, copy.to);
        let first = self.first.get_mut(&way).and_then(VecDeque::pop_front);
        let units = first.or_else(|| self.each.get(&way).copied());
        UNIT * units.unwrap_or(1)
    }
}

/// Paced by choice under even seeds, and under odd ones by time, where a copy takes half a unit to six.
pub fn any_pace(seed: u64) -> Box<dyn Adversary> {
    if seed.is_multiple_of(2) {
        Box::new(Random::new())
    } else {
        Box::new(Timed::uniform(UNIT / 2, UNIT * 6))
    }
}

/// What a crash may take along: nothing, each copy with probability one half, everything.
pub const LOSSES: [Lose; 3] = [Lose::Nothing, Lose::Each(0.5), Lose::Everything];

/// One of the [`LOSSES`], by turns.
pub fn losing(turn: u64) -> Lose {
    LOSSES[(turn % 3) as usize]
}

/// A world of 2 to 5 processes at [`any_pace`], in which so many crash, each before one of its first `outputs` · n
/// outputs, [`losing`] by turns.
pub fn turbulent(seed: u64, crashes: impl Fn(&World) -> usize, outputs: u64) -> World {
    let n = 2 + seed % 4;
    let world = World::new(n as usize, seed, any_pace(seed)).expect("there may be so many");
    for rank in 1..=crashes(&world) as u64 {
        let crash = Crash::before_output(1 + (seed / 7 + 3 * rank) % (outputs * n + 1));
        let victim = p(1 + ((rank + seed) % n) as usize);
        world.crash(victim, crash.losing(losing(seed + rank)));
    }
    world
}

/// Has as many processes crash as a minority has, each before one of its first `outputs`, and with it each of its
/// copies with probability one half.
pub fn crash_minority(world: &World, seed: u64, outputs: u64) {
    let n = world.membership().n() as u64;
    for rank in 1..=world.membership().minority() as u64 {
        let crash = Crash::before_output(1 + (seed / 5 + 7 * rank) % outputs);
        let victim = p(1 + ((rank + seed) % n) as usize);
        world.crash(victim, crash.losing(Lose::Each(0.5)));
    }
}
