//! One group of acceptors succeeds another, and the leader alone knows what all have decided.
use super::{Ballots, Message};
use quorate_abstractions::link::To;
use quorate_core::{ProcessId, ProcessSet};

impl<V: Clone + PartialEq> Ballots<V> {
    /// Makes acceptances go to the leader alone. For groups of at most three processes, in which a process
    /// and the leader are a majority: in larger groups only leaders would decide. Decisions are then
    /// forgotten when [`reach_all`](Ballots::reach_all) says so.
    #[must_use]
    pub fn to_leader_alone(self) -> Self {
        Ballots {
            to_leader: true,
            ..self
        }
    }

    /// The instance up to which every process is known to have decided.
    pub fn reached_by_all(&self) -> u64 {
        let reached = self.reached.iter().map(|(_, reached)| *reached);
        reached.min().unwrap_or(0)
    }

    /// The leader knows that every process has decided up to this instance.
    pub fn reach_all(&mut self, decided: u64) {
        let decided = decided.min(self.known.low());
        for (_, reached) in &mut self.reached {
            *reached = decided.max(*reached);
        }
        self.forget();
    }

    /// Begins anew after the instance `last`, the last of the present acceptors, even if more are decided:
    /// from now on nobody has promised or accepted anything, and `leader` has the first ballot. The
    /// `newcomers` need nothing up to there. The others are sent the decisions that they may lack: these
    /// messages are returned, and must leave before any message of the new beginning.
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

    /// Sends the decisions from this instance on to a process that has just come.
    pub fn inform(&mut self, p: ProcessId, from: u64) {
        self.tell_decided(p, from);
    }
}
