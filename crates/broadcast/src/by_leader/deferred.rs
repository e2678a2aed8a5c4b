//! Proposals that wait for batches. Each is filed under the last batch that it needs of the first origin of which it lacks some, so that a batch wakes
//! only the proposals that wait for it. A process that is far behind has tens of thousands of them.
use crate::ordering::Cut;
use quorate_consensus::ballots::{Acceptance, Ballot};
use quorate_core::{ProcessId, message::Origin};
use std::collections::{BTreeMap, BTreeSet};

/// A proposal that waits: its sender, the proposal, and the last instance that the sender has decided.
pub(super) type Deferred = (ProcessId, Acceptance<Cut>, u64);

/// A missing batch: its origin and its number.
pub(super) type Lack = (Origin, u64);

/// The proposals that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By instance: the proposal of the highest ballot, with the batch that it waits for.
    proposals: BTreeMap<u64, (Deferred, Lack)>,
    /// By origin: the missing batches, each with an instance that waits for it.
    lacking: BTreeMap<Origin, BTreeSet<(u64, u64)>>,
    /// The instances by the ballots of their proposals.
    ballots: BTreeSet<(Ballot, u64)>,
}

impl Waiting {
    /// The proposal waits for this batch, unless one of the same or a higher ballot waits for its instance
    /// already.
    pub(super) fn insert(&mut self, deferred: Deferred, lack: Lack) {
        let Acceptance {
            instance, ballot, ..
        } = deferred.1;
        let waiting = self.proposals.get(&instance);
        if waiting.is_some_and(|((_, other, _), _)| other.ballot >= ballot) {
            return;
        }
        self.remove(instance);
        let (origin, up_to) = lack;
        let lacking = self.lacking.entry(origin).or_default();
        lacking.insert((up_to, instance));
        self.ballots.insert((ballot, instance));
        self.proposals.insert(instance, (deferred, lack));
    }

    fn remove(&mut self, instance: u64) -> Option<Deferred> {
        let (deferred, (origin, up_to)) = self.proposals.remove(&instance)?;
        self.ballots.remove(&(deferred.1.ballot, instance));
        if let Some(lacking) = self.lacking.get_mut(&origin) {
            lacking.remove(&(up_to, instance));
            if lacking.is_empty() {
                self.lacking.remove(&origin);
            }
        }
        Some(deferred)
    }

    /// Takes the proposals that need not wait any more, in the order of their instances: those that are
    /// outdated, and those that lack nothing. `held` gives the last batch of an origin up to which all are
    /// here.
    pub(super) fn take_due(
        &mut self,
        is_outdated: impl Fn(&Acceptance<Cut>) -> bool,
        held: impl Fn(&Origin) -> u64,
        lack: impl Fn(&Cut) -> Option<Lack>,
    ) -> Vec<Deferred> {
        let mut due = Vec::new();
        while let Some((_, instance)) = self.ballots.first().copied()
            && let Some(((_, acceptance, _), _)) = self.proposals.get(&instance)
            && is_outdated(acceptance)
        {
            due.extend(self.remove(instance));
        }
        let woken = self.lacking.iter().flat_map(|(origin, lacking)| {
            let here = lacking.range(..=(held(origin), u64::MAX));
            here.map(|(_, instance)| *instance)
        });
        let woken: Vec<u64> = woken.collect();
        for instance in woken {
            let Some(deferred) = self.remove(instance) else {
                continue;
            };
            match lack(&deferred.1.value) {
                Some(lack) => self.insert(deferred, lack),
                None => due.push(deferred),
            }
        }
        due.sort_by_key(|(_, acceptance, _)| acceptance.instance);
        due
    }

    pub(super) fn is_empty(&self) -> bool {
        self.proposals.is_empty()
    }

    /// The proposal of the lowest instance.
    pub(super) fn first(&self) -> Option<&Cut> {
        let first = self.proposals.first_key_value();
        first.map(|(_, ((_, acceptance, _), _))| &acceptance.value)
    }

    /// Drops the proposals up to this instance: nobody waits for them any more.
    pub(super) fn skip_to(&mut self, instance: u64) {
        while let Some((first, _)) = self.proposals.first_key_value()
            && *first <= instance
        {
            let first = *first;
            self.remove(first);
        }
    }

    /// The proposals that wait, by instance.
    #[cfg(test)]
    pub(super) fn all(&self) -> BTreeMap<u64, Deferred> {
        let proposals = self.proposals.iter();
        proposals.map(|(i, (d, _))| (*i, d.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::Incarnation;

    fn origin(rank: usize) -> Origin {
        Origin {
            process: ProcessId::from_rank(rank).unwrap(),
            incarnation: Incarnation(1),
        }
    }

    fn ballot(round: u64) -> Ballot {
        Ballot {
            round,
            leader: ProcessId::from_rank(1).unwrap(),
        }
    }

    fn proposal(instance: u64, round: u64, ups: &[(usize, u64)]) -> Deferred {
        let value = Cut(ups.iter().map(|(rank, up)| (origin(*rank), *up)).collect());
        let acceptance = Acceptance {
            instance,
            ballot: ballot(round),
            value,
        };
        (ProcessId::from_rank(1).unwrap(), acceptance, 0)
    }

    /// The instances and ballots that are released when this much of the first and the second origin is held,
    /// and a promise outdates lower ballots.
    fn due(waiting: &mut Waiting, held: [u64; 2], promised: u64) -> Vec<(u64, u64)> {
        let held = |o: &Origin| held[o.process.index()];
        let due = waiting.take_due(
            |acceptance| acceptance.ballot < ballot(promised),
            held,
            |cut| {
                let lack = cut.0.iter().find(|(o, up)| held(o) < **up);
                lack.map(|(o, up)| (*o, *up))
            },
        );
        let due = due.iter();
        due.map(|(_, a, _)| (a.instance, a.ballot.round)).collect()
    }

    #[test]
    fn a_proposal_is_due_once_everything_that_it_lacks_is_here() {
        let mut waiting = Waiting::default();
        waiting.insert(proposal(7, 1, &[(1, 3), (2, 5)]), (origin(1), 3));
        waiting.insert(proposal(6, 1, &[(2, 4)]), (origin(2), 4));
        waiting.insert(proposal(8, 1, &[(1, 4)]), (origin(1), 4));
        assert_eq!(due(&mut waiting, [2, 3], 1), []);
        assert_eq!(due(&mut waiting, [3, 4], 1), [(6, 1)], "7 lacks the other");
        assert_eq!(due(&mut waiting, [4, 5], 1), [(7, 1), (8, 1)]);
        assert!(waiting.is_empty() && waiting.lacking.is_empty() && waiting.ballots.is_empty());
    }

    #[test]
    fn of_an_instance_the_highest_ballot_waits_and_what_is_outdated_goes() {
        let mut waiting = Waiting::default();
        waiting.insert(proposal(1, 2, &[(1, 9)]), (origin(1), 9));
        waiting.insert(proposal(1, 1, &[(1, 1)]), (origin(1), 1));
        waiting.insert(proposal(2, 1, &[(1, 9)]), (origin(1), 9));
        assert_eq!(due(&mut waiting, [1, 0], 2), [(2, 1)]);
        waiting.insert(proposal(1, 3, &[(1, 2)]), (origin(1), 2));
        assert_eq!(due(&mut waiting, [2, 0], 3), [(1, 3)]);
        assert!(waiting.is_empty() && waiting.lacking.is_empty() && waiting.ballots.is_empty());
    }

    #[test]
    fn what_comes_wakes_those_alone_that_waited_for_it() {
        let mut waiting = Waiting::default();
        for instance in 1..=10_000 {
            waiting.insert(
                proposal(instance, 1, &[(1, instance)]),
                (origin(1), instance),
            );
        }
        let looked = std::cell::Cell::new(0);
        for held in 1..=100 {
            let due = waiting.take_due(
                |_| false,
                |_| held,
                |_| {
                    looked.set(looked.get() + 1);
                    None
                },
            );
            assert_eq!(due.len(), 1);
        }
        assert_eq!(looked.get(), 100, "of ten thousand that wait");
    }

    #[test]
    fn what_a_state_stands_for_waits_no_longer() {
        let mut waiting = Waiting::default();
        for instance in 1..=3 {
            waiting.insert(proposal(instance, 1, &[(1, 9)]), (origin(1), 9));
        }
        waiting.skip_to(2);
        assert_eq!(waiting.all().into_keys().collect::<Vec<_>>(), [3]);
        assert_eq!(due(&mut waiting, [9, 0], 1), [(3, 1)]);
    }
}
