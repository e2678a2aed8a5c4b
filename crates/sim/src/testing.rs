//! What tests of algorithms share: processes by their ranks, an adversary by script.
use crate::adversary::{Adversary, Transmission, UNIT};
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
