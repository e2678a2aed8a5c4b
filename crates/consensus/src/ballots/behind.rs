//! One who lacks decisions, and gets by another way what they stand for.
use super::{Ballots, Part};
use quorate_core::watermark::Watermark;

impl<V: Clone + PartialEq> Ballots<V> {
    /// Whether somebody has decided an instance that is not decided here, or one above it.
    pub fn is_behind(&self) -> bool {
        let low = self.known.low();
        self.reached.values().any(|reached| *reached > low)
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
