//! What the tests of the algorithms over P share.
use bytes::Bytes;
use quorate_core::{ProcessId, Random, Time};
use quorate_sim::{Adversary, Copy, UNIT, World};
use std::time::Duration;

pub(crate) fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

pub(crate) fn step(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

/// The value that a process proposes: its rank.
pub(crate) fn payload(p: ProcessId) -> Bytes {
    Bytes::from(vec![p.rank() as u8])
}

/// Lock step, but for the ways named here: from, to, steps.
pub(crate) struct Latencies(pub(crate) &'static [(usize, usize, u32)]);

impl Adversary for Latencies {
    fn latency(&mut self, copy: Copy, _: &mut Random) -> Duration {
        let mut slow = self.0.iter();
        let named = slow.find(|(from, to, _)| p(*from) == copy.from && p(*to) == copy.to);
        UNIT * named.map_or(1, |(_, _, steps)| *steps)
    }
}

/// The step at which each process decided.
pub(crate) fn each_steps(world: &World) -> Vec<Option<u64>> {
    let decided = |q| {
        let tally = world.tally(q, "consensus", "Decide")?;
        Some(tally.first.as_nanos() / UNIT.as_nanos() as u64)
    };
    world.processes().map(decided).collect()
}
