//! Processes, their incarnations, and sets of them.
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest membership: sets of processes are bit sets of this many bits.
pub const MAXIMUM_PROCESSES: usize = 128;

/// A seat of the membership, named by its rank: 1 … n, as in the literature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(u8);

impl ProcessId {
    /// The process of the given rank, counted from 1; `None` outside 1 … 128.
    pub const fn from_rank(rank: usize) -> Option<Self> {
        if rank >= 1 && rank <= MAXIMUM_PROCESSES {
            Some(ProcessId(rank as u8))
        } else {
            None
        }
    }

    /// The rank, counted from 1.
    pub const fn rank(self) -> usize {
        self.0 as usize
    }

    /// The index, counted from 0, for tables with one entry per process. A rank of 0, which only a forged
    /// message can carry, saturates.
    pub const fn index(self) -> usize {
        (self.0 as usize).saturating_sub(1)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// One start of a process. A process that has lost its memory is another incarnation, and counts as a new
/// process.
///
/// Incarnations are compared for equality only. A handshake with a fresh nonce establishes which of two is
/// alive, never the larger number, so that a clock set back is harmless.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A set of processes, in rank order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ProcessSet(u128);

impl ProcessSet {
    /// The empty set.
    pub const EMPTY: ProcessSet = ProcessSet(0);

    fn bit(p: ProcessId) -> u128 {
        1 << (p.index() % MAXIMUM_PROCESSES)
    }

    /// Adds `p`; true if it was not there.
    pub fn insert(&mut self, p: ProcessId) -> bool {
        let new = !self.contains(p);
        self.0 |= Self::bit(p);
        new
    }

    /// Removes `p`; true if it was there.
    pub fn remove(&mut self, p: ProcessId) -> bool {
        let there = self.contains(p);
        self.0 &= !Self::bit(p);
        there
    }

    /// Whether `p` is in the set.
    pub fn contains(self, p: ProcessId) -> bool {
        p.0 != 0 && self.0 & Self::bit(p) != 0
    }

    /// How many processes are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether nobody is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every process of this set is in `other`.
    pub fn is_subset(self, other: ProcessSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// The processes of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: ProcessSet) -> ProcessSet {
        ProcessSet(self.0 & !other.0)
    }

    /// The processes of either set.
    #[must_use]
    pub fn union(self, other: ProcessSet) -> ProcessSet {
        ProcessSet(self.0 | other.0)
    }

    /// The processes of both sets.
    #[must_use]
    pub fn intersection(self, other: ProcessSet) -> ProcessSet {
        ProcessSet(self.0 & other.0)
    }

    /// Whether no process is in both sets.
    pub fn is_disjoint(self, other: ProcessSet) -> bool {
        self.0 & other.0 == 0
    }

    /// The processes as bits, p1 the lowest, for encoding in frames.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The set of the processes with these bits.
    pub const fn of_bits(bits: u128) -> ProcessSet {
        ProcessSet(bits)
    }

    /// The processes of rank 1 … 64, as bits from the lowest. An observation can carry only these of a set.
    pub const fn low_bits(self) -> u64 {
        self.0 as u64
    }

    /// The set of the processes with these bits.
    pub const fn of_low_bits(bits: u64) -> ProcessSet {
        ProcessSet(bits as u128)
    }

    /// The processes in rank order.
    pub fn iter(self) -> impl Iterator<Item = ProcessId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let index = rest.trailing_zeros();
            rest &= rest - 1;
            Some(ProcessId(index as u8 + 1))
        })
    }
}

impl FromIterator<ProcessId> for ProcessSet {
    fn from_iter<I: IntoIterator<Item = ProcessId>>(processes: I) -> Self {
        let mut set = ProcessSet::EMPTY;
        for p in processes {
            set.insert(p);
        }
        set
    }
}

impl fmt::Debug for ProcessSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The membership is empty or larger than [`MAXIMUM_PROCESSES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a membership has 1 to {MAXIMUM_PROCESSES} processes, not {0}")]
pub struct BadMembership(pub usize);

/// Π: the processes p1 … pn of one cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    n: usize,
}

impl Membership {
    /// The membership p1 … pn.
    ///
    /// # Errors
    /// When `n` is 0 or above [`MAXIMUM_PROCESSES`].
    pub fn of_size(n: usize) -> Result<Self, BadMembership> {
        if (1..=MAXIMUM_PROCESSES).contains(&n) {
            Ok(Membership { n })
        } else {
            Err(BadMembership(n))
        }
    }

    /// How many processes there are: n.
    pub const fn n(&self) -> usize {
        self.n
    }

    /// The size of a majority: ⌊n/2⌋ + 1.
    pub const fn majority(&self) -> usize {
        self.n / 2 + 1
    }

    /// How many crashes a majority algorithm survives: the largest f < n/2.
    pub const fn minority(&self) -> usize {
        (self.n - 1) / 2
    }

    /// Whether `p` belongs to Π.
    pub fn contains(&self, p: ProcessId) -> bool {
        (1..=self.n).contains(&p.rank())
    }

    /// p1 … pn, in rank order.
    pub fn iter(&self) -> impl Iterator<Item = ProcessId> + use<> {
        (1..=self.n as u8).map(ProcessId)
    }

    /// Π as a set.
    pub fn set(&self) -> ProcessSet {
        self.iter().collect()
    }

    /// Π without `me`.
    pub fn others(&self, me: ProcessId) -> ProcessSet {
        let mut set = self.set();
        set.remove(me);
        set
    }

    /// The coordinator of round `round`, counted from 1: p1, p2, … pn, p1, …
    pub fn coordinator(&self, round: u64) -> ProcessId {
        let index = round.saturating_sub(1) % self.n as u64;
        ProcessId(index as u8 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_iterates_in_rank_order() {
        let p = |rank| ProcessId::from_rank(rank).unwrap();
        let set: ProcessSet = [p(128), p(3), p(1)].into_iter().collect();
        assert_eq!(
            set.iter().map(ProcessId::rank).collect::<Vec<_>>(),
            [1, 3, 128]
        );
        assert_eq!(set.without([p(3)].into_iter().collect()).len(), 2);
        assert!(!set.contains(p(2)));
    }

    #[test]
    fn a_coordinator_is_never_rank_zero() {
        let three = Membership::of_size(3).unwrap();
        let ranks: Vec<_> = (1..=7)
            .map(|round| three.coordinator(round).rank())
            .collect();
        assert_eq!(ranks, [1, 2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn a_majority_of_an_even_membership_is_more_than_half() {
        let sizes: Vec<_> = (1..=7)
            .map(|n| Membership::of_size(n).unwrap().majority())
            .collect();
        assert_eq!(sizes, [1, 2, 2, 3, 3, 4, 4]);
        assert!(Membership::of_size(0).is_err());
        assert!(Membership::of_size(129).is_err());
    }
}
