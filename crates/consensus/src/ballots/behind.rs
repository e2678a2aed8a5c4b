//! One who lacks decisions, and gets by another way what they stand for.
use super::{Ballots, Part};
use quorate_core::watermark::Watermark;

impl<V: Clone + PartialEq> Ballots<V> {
    /// Whether somebody has decided an instance that is not decided here, or one above it.
    pub fn is_behind(&self) -> bool {
        let low = self.known.low();
        let reached = self.reached.iter().map(|(_, reached)| *reached).max();
        let reached = reached.unwrap_or(0);
        reached.max(self.known.high()) > low
    }

    /// Decisions beyond the limit are dropped, and sent to nobody: who lacks them gets by another way what
    /// they stand for.
    #[must_use]
    pub fn dropping(self) -> Self {
        Ballots {
            owes: false,
            ..self
        }
    }

    /// Keeps so many decided values from now on.
    pub fn keep(&mut self, kept: usize) {
        self.kept = kept;
        self.forget();
    }

    /// Whether what this process has decided beyond this instance is still here, all of it.
    pub fn keeps_beyond(&self, decided: u64) -> bool {
        let next = decided.saturating_add(1);
        next > self.known.low() || self.decided.contains_key(&next)
    }

    /// What was decided up to this instance is known to the owner, though not from here. Whatever was
    /// promised, and accepted above, stays.
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
