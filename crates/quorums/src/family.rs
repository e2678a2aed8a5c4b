//! Read and write quorums, in the form that algorithms use.
use quorate_core::{Membership, ProcessSet};

/// A family of quorums. A set that contains a quorum is as good as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Family {
    /// All sets of at least this many processes.
    AtLeast(usize),
    /// All sets of processes whose weights sum to at least `at_least`; the weights are in the order of the
    /// processes p1 … pn.
    Weighted {
        /// The weights of p1 … pn.
        weights: Vec<u64>,
        /// The least weight of a quorum.
        at_least: u64,
    },
    Sets(Vec<ProcessSet>),
}

impl Family {
    /// A quorum all of whose members are in `present`, if there is one.
    pub fn within(&self, present: ProcessSet) -> Option<ProcessSet> {
        match self {
            Family::AtLeast(count) => (present.len() >= *count).then_some(present),
            Family::Weighted { weights, at_least } => {
                let weight = |index: usize| weights.get(index).copied().unwrap_or(0);
                let total = present.iter().map(|p| weight(p.index()));
                let total = total.fold(0, u64::saturating_add);
                (total >= *at_least).then_some(present)
            }
            Family::Sets(sets) => sets.iter().copied().find(|q| q.is_subset(present)),
        }
    }
}

/// The quorums of a system: every read quorum meets every write quorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quorums {
    /// The quorums whose states a read needs.
    pub reads: Family,
    /// The quorums that have to know a write.
    pub writes: Family,
}

impl Quorums {
    /// Majorities, to read and to write.
    pub fn majorities(processes: &Membership) -> Self {
        Quorums {
            reads: Family::AtLeast(processes.majority()),
            writes: Family::AtLeast(processes.majority()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_sim::testing::set;

    #[test]
    fn a_quorum_is_all_of_one_set_and_not_as_many_of_several() {
        let family = Family::Sets(vec![set(&[1, 2]), set(&[3, 4])]);
        assert_eq!(family.within(set(&[1, 3])), None);
        assert_eq!(family.within(set(&[1, 3, 4])), Some(set(&[3, 4])));
    }

    #[test]
    fn a_weighted_quorum_goes_by_weights_and_not_by_heads() {
        let family = Family::Weighted {
            weights: vec![3, 1, 1],
            at_least: 3,
        };
        assert!(family.within(set(&[1])).is_some());
        assert!(family.within(set(&[2, 3])).is_none());
    }
}
