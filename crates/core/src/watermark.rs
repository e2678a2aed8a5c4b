//! Sets of sequence numbers whose memory depends on the disorder of the network, not on the run's length.
use crate::message::{MessageId, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// A set of sequence numbers, counted from 1: a contiguous prefix and the few ranges above it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watermark {
    low: u64,
    /// Disjoint, non-adjacent ranges above `low`: first → last.
    above: BTreeMap<u64, u64>,
}

impl Watermark {
    /// Everything up to and including `low`.
    pub fn up_to(low: u64) -> Self {
        Watermark {
            low,
            above: BTreeMap::new(),
        }
    }

    /// Everything up to and including this number is in the set.
    pub fn low(&self) -> u64 {
        self.low
    }

    /// The highest number in the set.
    pub fn high(&self) -> u64 {
        self.above
            .last_key_value()
            .map_or(self.low, |(_, last)| *last)
    }

    /// How many ranges lie above the prefix. The memory of the set is proportional to it.
    pub fn gaps(&self) -> usize {
        self.above.len()
    }

    /// The ranges above the prefix, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.above.iter().map(|(first, last)| (*first, *last))
    }

    /// Whether `sequence` is in the set. Zero, which is no sequence number, counts as known.
    pub fn contains(&self, sequence: u64) -> bool {
        sequence <= self.low
            || self
                .above
                .range(..=sequence)
                .next_back()
                .is_some_and(|(_, last)| sequence <= *last)
    }

    /// Gives up missing numbers that are too far below `sequence`: while `sequence` lies more than `window`
    /// above the prefix, the prefix is extended to the end of the first range above it. A `sequence` more
    /// than `window` above the highest number in the set changes nothing.
    pub fn give_up(&mut self, sequence: u64, window: u64) {
        if sequence > self.high().saturating_add(window) {
            return;
        }
        while sequence > self.low.saturating_add(window)
            && let Some((_, last)) = self.above.pop_first()
        {
            self.low = last;
        }
    }

    /// Adds everything up to and including `sequence`.
    pub fn raise(&mut self, sequence: u64) {
        self.low = self.low.max(sequence);
        while let Some(range) = self.above.first_entry()
            && *range.key() <= self.low.saturating_add(1)
        {
            self.low = self.low.max(range.remove());
        }
    }

    /// Adds everything up to and including `last`, except the numbers `but`, which stay as they are.
    pub fn fill(&mut self, last: u64, but: impl IntoIterator<Item = u64>) {
        let but = but.into_iter();
        let missing: BTreeSet<u64> = but
            .filter(|sequence| *sequence <= last && !self.contains(*sequence))
            .collect();
        let beyond = std::mem::take(&mut self.above);
        let beyond = beyond.into_iter().filter(|(_, end)| *end > last);
        let mut next = 1;
        for sequence in missing {
            self.add(next, sequence - 1);
            next = sequence + 1;
        }
        self.add(next, last);
        for (first, end) in beyond {
            self.add(first.max(last + 1), end);
        }
    }

    /// Adds a range that lies above all numbers in the set.
    fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        if self.above.is_empty() && first <= self.low.saturating_add(1) {
            self.low = self.low.max(last);
        } else if let Some(mut range) = self.above.last_entry()
            && *range.get() + 1 >= first
        {
            *range.get_mut() = last.max(*range.get());
        } else {
            self.above.insert(first, last);
        }
    }

    /// Adds `sequence`; true if it was not there.
    pub fn insert(&mut self, sequence: u64) -> bool {
        if self.contains(sequence) {
            return false;
        }
        let mut first = sequence;
        let mut last = sequence;
        if let Some((&before, &end)) = self.above.range(..sequence).next_back()
            && end + 1 == sequence
        {
            first = before;
        }
        if let Some(&end) = sequence
            .checked_add(1)
            .and_then(|next| self.above.get(&next))
        {
            self.above.remove(&(sequence + 1));
            last = end;
        }
        if first == self.low + 1 {
            self.above.remove(&first);
            self.low = last;
        } else {
            self.above.insert(first, last);
        }
        true
    }
}

/// A set of message identifiers, with one [`Watermark`] per origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatermarkSet {
    origins: BTreeMap<Origin, Watermark>,
}

impl WatermarkSet {
    /// Whether the message is in the set.
    pub fn contains(&self, id: MessageId) -> bool {
        self.origins
            .get(&id.origin)
            .is_some_and(|seen| seen.contains(id.sequence))
    }

    /// Adds the message; true if it was not there.
    pub fn insert(&mut self, id: MessageId) -> bool {
        self.origins
            .entry(id.origin)
            .or_default()
            .insert(id.sequence)
    }

    /// Gives up missing messages of the origin that are too far below this one, as [`Watermark::give_up`]
    /// does.
    pub fn give_up(&mut self, id: MessageId, window: u64) {
        if let Some(seen) = self.origins.get_mut(&id.origin) {
            seen.give_up(id.sequence, window);
        }
    }

    /// The number up to which all of `origin`'s messages are in the set.
    pub fn low(&self, origin: Origin) -> u64 {
        self.origins.get(&origin).map_or(0, Watermark::low)
    }

    /// The origins in order, each with the number up to which all its messages are in the set.
    pub fn lows(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.origins
            .iter()
            .map(|(origin, seen)| (*origin, seen.low()))
    }

    /// How many ranges lie above the prefixes, over all origins. The memory of the set is proportional to it.
    pub fn gaps(&self) -> usize {
        self.origins.values().map(Watermark::gaps).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_swallows_the_ranges_that_it_reaches() {
        let mut set = Watermark::default();
        for sequence in [3, 5, 6, 9] {
            set.insert(sequence);
        }
        set.raise(4);
        assert_eq!((set.low(), set.ranges().collect()), (6, vec![(9, 9)]));
        set.raise(2);
        assert_eq!(set.low(), 6, "it never falls");
        set.raise(20);
        assert_eq!((set.low(), set.gaps()), (20, 0));
    }
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_watermark_set_holds_what_was_inserted_and_nothing_else(sequences in prop::collection::vec(1..40_u64, 0..80)) {
            let mut watermark = Watermark::default();
            let mut model = BTreeSet::new();
            for sequence in sequences {
                prop_assert_eq!(watermark.insert(sequence), model.insert(sequence));
            }
            for sequence in 1..45 {
                prop_assert_eq!(watermark.contains(sequence), model.contains(&sequence));
            }
            let low = (1..=40).take_while(|s| model.contains(s)).count() as u64;
            prop_assert_eq!(watermark.low(), low);
            prop_assert_eq!(watermark.high(), model.last().copied().unwrap_or(0));
        }

        #[test]
        fn filling_adds_all_but_what_is_named(
            sequences in prop::collection::vec(1..40_u64, 0..40),
            last in 0..45_u64,
            but in prop::collection::vec(1..45_u64, 0..10),
        ) {
            let (mut filled, mut model) = (Watermark::default(), Watermark::default());
            for sequence in sequences {
                filled.insert(sequence);
                model.insert(sequence);
            }
            filled.fill(last, but.clone());
            for sequence in (1..=last).filter(|sequence| !but.contains(sequence)) {
                model.insert(sequence);
            }
            prop_assert_eq!(filled, model);
        }
    }

    #[test]
    fn what_is_missing_far_below_is_given_up_for_what_has_come() {
        let mut set = Watermark::up_to(2);
        for sequence in [4, 5, 9, 13] {
            set.insert(sequence);
        }
        set.give_up(12, 10);
        assert_eq!(set.low(), 2, "it is within the window");
        set.give_up(13, 10);
        assert_eq!((set.low(), set.gaps()), (5, 2), "no more than it takes");
        set.give_up(24, 10);
        assert_eq!((set.low(), set.gaps()), (5, 2), "it is not near anything");
        set.give_up(23, 10);
        assert_eq!((set.low(), set.gaps()), (13, 0));
    }

    #[test]
    fn a_million_in_order_cost_nothing() {
        let mut watermark = Watermark::default();
        for sequence in 1..=1_000_000 {
            assert!(watermark.insert(sequence));
        }
        assert_eq!((watermark.low(), watermark.gaps()), (1_000_000, 0));
    }

    #[test]
    fn the_ends_of_the_range_are_safe() {
        let mut watermark = Watermark::default();
        assert!(!watermark.insert(0));
        assert!(watermark.insert(u64::MAX));
        assert!(watermark.insert(u64::MAX - 1));
        assert_eq!(watermark.gaps(), 1);
    }
}
