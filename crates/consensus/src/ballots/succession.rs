//! One group of acceptors after the other, and what a leader alone knows of all.
use super::{Ballots, Message};
use quorate_abstractions::link::To;
use quorate_core::{ProcessId, ProcessSet};

impl<V: Clone + PartialEq> Ballots<V> {
    /// …whose acceptances go to the leader alone. For groups of at most three, where the leader's
    /// acceptance and one's own are a majority: in larger ones only leaders would decide. What is
    /// decided is then forgotten when [`reach_all`](Ballots::reach_all) says so.
    #[must_use]
    pub fn to_leader_alone(self) -> Self {
        Ballots {
            to_leader: true,
            ..self
        }
    }

    /// Up to which instance every process is known to have decided.
    pub fn reached_by_all(&self) -> u64 {
        let reached = self.reached.iter().map(|(_, reached)| *reached);
        reached.min().unwrap_or(0)
    }

    /// Every process has decided up to this instance, as the leader knows.
    pub fn reach_all(&mut self, decided: u64) {
        let decided = decided.min(self.known.low());
        for (_, reached) in &mut self.reached {
            *reached = decided.max(*reached);
        }
        self.forget();
    }

    /// Begins anew after the instance `last`, which is the last of these acceptors, though more may be
    /// decided: from now on nobody has promised or accepted anything, and `leader` has the first ballot.
    /// These `newcomers` need nothing up to there; the others are sent what they may lack, and that is
    /// to leave before anything of the new beginning. Gives it back.
    pub fn succeed(
        &mut self,
        last: u64,
        leader: ProcessId,
        newcomers: ProcessSet,
    ) -> Vec<(To, Message<V>)> {
        self.decided.split_off(&last.saturating_add(1));
        for (p, reached) in self.reached.clone() {
            if reached < last && !newcomers.contains(p) {
                self.tell_decided(p, reached.saturating_add(1));
            }
        }
        let owed = self.take_outgoing();
        let mut next = Ballots::from(self.me, self.processes, leader, last);
        next.to_leader = self.to_leader;
        (next.owes, next.kept) = (self.owes, self.kept);
        for (p, reached) in &mut next.reached {
            if !newcomers.contains(*p) {
                let before = self.reached.get(p.index());
                *reached = last.min(before.map_or(0, |(_, before)| *before));
            }
        }
        next.decided = std::mem::take(&mut self.decided);
        *self = next;
        owed
    }

    /// Sends what is decided here from this instance on to one who has just come.
    pub fn inform(&mut self, p: ProcessId, from: u64) {
        self.tell_decided(p, from);
    }
}
