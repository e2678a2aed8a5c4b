//! A counter per process.
use quorate_core::{Membership, ProcessId};
use serde::{Deserialize, Serialize};

/// A number of messages of each process: as causal order leaves no gaps, the number also says which messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Clock(Vec<u64>);

impl Clock {
    /// No message of any process.
    pub(crate) fn zero(processes: &Membership) -> Self {
        Clock(vec![0; processes.n()])
    }

    /// Whether it has exactly one entry per process.
    pub(crate) fn is_of(&self, processes: &Membership) -> bool {
        self.0.len() == processes.n()
    }

    /// The number of `p`'s messages.
    pub(crate) fn of(&self, p: ProcessId) -> u64 {
        self.0.get(p.index()).copied().unwrap_or(0)
    }

    /// Sets the number of `p`'s messages.
    pub(crate) fn set(&mut self, p: ProcessId, count: u64) {
        if let Some(entry) = self.0.get_mut(p.index()) {
            *entry = count;
        }
    }

    /// Counts one more message of `p`.
    pub(crate) fn advance(&mut self, p: ProcessId) {
        self.set(p, self.of(p).saturating_add(1));
    }

    /// Whether no entry is above that of `other`, which is as long.
    pub(crate) fn is_within(&self, other: &Clock) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a <= b)
    }

    /// Raises every entry to at least that of `other`.
    pub(crate) fn raise(&mut self, other: &Clock) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Lowers every entry to at most that of `other`.
    pub(crate) fn lower(&mut self, other: &Clock) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).min(*theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_sim::testing::p;

    #[test]
    fn clocks_are_compared_entry_by_entry() {
        let clock = |counts: &[u64]| Clock(counts.to_vec());
        assert!(clock(&[1, 0, 2]).is_within(&clock(&[1, 1, 2])));
        assert!(!clock(&[1, 0, 3]).is_within(&clock(&[5, 5, 2])));
        assert!(
            !clock(&[0, 0]).is_within(&clock(&[1, 1, 1])),
            "another length"
        );
        let (mut high, mut low) = (clock(&[1, 5]), clock(&[1, 5]));
        high.raise(&clock(&[3, 4]));
        low.lower(&clock(&[3, 4]));
        assert_eq!((high, low), (clock(&[3, 5]), clock(&[1, 4])));
    }

    #[test]
    fn a_process_without_an_entry_has_none() {
        let processes = Membership::of_size(2).unwrap();
        let mut clock = Clock::zero(&processes);
        clock.advance(p(2));
        clock.advance(p(9));
        assert_eq!((clock.of(p(1)), clock.of(p(2)), clock.of(p(9))), (0, 1, 0));
        assert!(clock.is_of(&processes) && !clock.is_of(&Membership::of_size(3).unwrap()));
    }
}
