//! A process that lacks decisions, and gets their effect in another way.
use super::{Ballots, Part};
use quorate_core::watermark::Watermark;

impl<V: Clone + PartialEq> Ballots<V> {
    /// Whether another process has decided an instance that is not decided here, or one above it.
    pub fn is_behind(&self) -> bool {
        let low = self.known.low();
        let reached = self.reached.iter().map(|(_, reached)| *reached).max();
        let reached = reached.unwrap_or(0);
        reached.max(self.known.high()) > low
    }

    /// Decisions beyond the limit are dropped, and not sent to anybody: a process that lacks them gets their
    /// effect in another way.
    #[must_use]
    pub fn dropping(self) -> Self {
        Ballots {
            owes: false,
            ..self
        }
    }

    /// Keeps at most this many decided values from now on.
    pub fn keep(&mut self, kept: usize) {
        self.kept = kept;
        self.forget();
    }

    /// Whether all decisions of this process after this instance are still here.
    pub fn keeps_beyond(&self, decided: u64) -> bool {
        let next = decided.saturating_add(1);
        next > self.known.low() || self.decided.contains_key(&next)
    }

    /// The owner has learned the effect of the decisions up to this instance in another way. What was
    /// promised, and what was accepted above, stays.
    pub fn skip_to(&mut self, decided: u64) {
        if decided <= self.known.low() {
            return;
        }
        let mut known = Watermark::up_to(decided);
        for (first, last) in self.known.ranges() {
            for instance in first.max(decided.saturating_add(1))..=last {
                known.insert(instance);
            }
        }
        self.known = known;
        let above = decided.saturating_add(1);
        self.accepted = self.accepted.split_off(&above);
        self.votes = self.votes.split_off(&above);
        self.fresh.retain(|(instance, _)| *instance > decided);
        if let Part::Leads { next, .. } = &mut self.part {
            *next = above.max(*next);
        }
        self.reach(self.me, self.known.low());
        self.forget();
    }
}
