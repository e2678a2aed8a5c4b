//! The batches of one origin: those that have come, and those that others may still ask for.
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// Batches that are this far above the contiguous ones are refused.
const WINDOW: u64 = 1 << 16;
/// Once this many bytes beyond the ordered batches are here, batches that are not needed yet are refused.
const AHEAD_BYTES: usize = 96 << 20;

/// What is known about one origin's batches.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The number of the last batch that is ordered and delivered.
    pub(super) ordered: u64,
    /// The number of messages in those batches.
    pub(super) delivered: u64,
    /// All batches up to this one have come.
    pub(super) contiguous: u64,
    /// The batches beyond the ordered ones that have come, and ordered ones that others may lack.
    held: BTreeMap<u64, Bytes>,
    /// The bytes of the batches held.
    bytes: usize,
    /// The number of held batches that are beyond the ordered ones.
    ahead: usize,
    /// Whether the stream's origin is gone.
    closed: bool,
}

impl Stream {
    /// A state covers this many ordered batches, and this many messages in them.
    pub(super) fn advance(&mut self, ordered: u64, delivered: u64) {
        if ordered <= self.ordered {
            return;
        }
        let passed = self.held.range(self.ordered + 1..=ordered);
        self.ahead -= passed.map(|(_, batch)| batch.len()).sum::<usize>();
        self.ordered = ordered;
        self.delivered = delivered;
        self.contiguous = self.contiguous.max(ordered);
        while self.held.contains_key(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
    }

    /// Keeps a batch; returns `false` if it lies too far ahead, or if there are too many already and its
    /// number is above `needed`.
    pub(super) fn hold(&mut self, number: u64, batch: Bytes, needed: u64) -> bool {
        let is_too_much = number > needed && self.ahead > AHEAD_BYTES;
        if number > self.contiguous.saturating_add(WINDOW) || is_too_much {
            return false;
        }
        if number > self.contiguous && !self.held.contains_key(&number) {
            self.bytes += batch.len();
            self.ahead += batch.len();
            self.held.insert(number, batch);
        }
        while self.held.contains_key(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
        true
    }

    /// The next batch in order. It stays here for processes that may lack it.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.ordered += 1;
        let next = self.held.get(&self.ordered).cloned();
        self.ahead -= next.as_ref().map_or(0, Bytes::len);
        next
    }

    /// The batches after this one that have come without a gap and are still here.
    pub(super) fn beyond(&self, number: u64) -> impl Iterator<Item = (u64, &Bytes)> {
        let beyond = self.held.range((Excluded(number), Unbounded));
        let here = beyond.take_while(|(n, _)| **n <= self.contiguous);
        here.map(|(n, batch)| (*n, batch))
    }

    /// Drops the ordered batches up to this one.
    pub(super) fn forget(&mut self, up_to: u64) {
        while let Some(entry) = self.held.first_entry()
            && *entry.key() <= up_to.min(self.ordered)
        {
            self.bytes -= entry.remove().len();
        }
    }

    /// Drops the oldest ordered batches while there are more than `batches`, or more than `bytes`.
    pub(super) fn limit(&mut self, batches: usize, bytes: usize) {
        while (self.held.len() > batches || self.bytes > bytes)
            && let Some(entry) = self.held.first_entry()
            && *entry.key() <= self.ordered
        {
            self.bytes -= entry.remove().len();
        }
    }

    /// Whether an ordered batch after this one is not here any more.
    pub(super) fn lacks_after(&self, number: u64) -> bool {
        number < self.ordered && !self.held.contains_key(&(number + 1))
    }

    /// The origin is gone: its unordered batches are dropped.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for batch in self.held.split_off(&(self.ordered + 1)).values() {
            self.bytes -= batch.len();
        }
        self.ahead = 0;
        self.contiguous = self.ordered;
    }

    /// Whether the stream's origin is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The number of batches that are here.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Bytes {
        Bytes::from_static(b"batch")
    }

    #[test]
    fn what_is_ordered_stays_until_it_is_forgotten_or_in_excess() {
        let mut stream = Stream::default();
        for number in [2, 1, 4] {
            assert!(stream.hold(number, batch(), 0));
        }
        assert_eq!(stream.contiguous, 2);
        assert!(stream.next().is_some() && stream.next().is_some());
        assert_eq!((stream.ordered, stream.len()), (2, 3));
        let beyond: Vec<_> = stream.beyond(1).map(|(number, _)| number).collect();
        assert_eq!(beyond, [2], "4 lies behind a gap");
        assert_eq!(stream.beyond(u64::MAX).count(), 0);
        stream.limit(3, 15);
        assert_eq!((stream.len(), stream.lacks_after(0)), (3, false));
        stream.limit(3, 14);
        assert_eq!((stream.len(), stream.lacks_after(0)), (2, true));
        assert!(!stream.lacks_after(1) && !stream.lacks_after(2));
        stream.limit(1, 100);
        stream.limit(0, 0);
        assert_eq!(stream.len(), 1, "what is not ordered is not forgotten");
        assert!(stream.hold(1, batch(), 0) && stream.hold(2, batch(), 0));
        assert_eq!(stream.len(), 1, "late copies change nothing");
        assert!(stream.hold(3, batch(), 0));
        assert!(stream.next().is_some() && stream.next().is_some());
        stream.limit(2, 10);
        assert_eq!(stream.len(), 2, "what was forgotten has no bytes");
        stream.forget(3);
        assert_eq!(stream.len(), 1);
    }

    #[test]
    fn what_lies_too_far_ahead_is_refused() {
        let mut stream = Stream::default();
        assert!(stream.hold(WINDOW, batch(), 0));
        assert!(!stream.hold(WINDOW + 1, batch(), 0));
        assert!(!stream.hold(u64::MAX, batch(), 0));
    }

    #[test]
    fn once_there_is_much_only_what_is_needed_is_held() {
        let mut stream = Stream::default();
        assert!(stream.hold(1, Bytes::from(vec![0; AHEAD_BYTES + 1]), 0));
        assert!(!stream.hold(2, batch(), 1));
        assert!(stream.hold(2, batch(), 2));
        assert!(stream.next().is_some());
        assert!(stream.hold(3, batch(), 0), "there is room again");
        assert!(stream.hold(4, Bytes::from(vec![0; AHEAD_BYTES]), 0));
        assert!(!stream.hold(5, batch(), 4), "there is much again");
    }

    #[test]
    fn what_is_kept_for_others_takes_no_room_from_what_comes() {
        let mut stream = Stream::default();
        let large = || Bytes::from(vec![0; AHEAD_BYTES / 2 + 1]);
        for number in 1..=4 {
            assert!(stream.hold(number, large(), 0), "{number}");
            assert!(stream.next().is_some());
        }
        assert_eq!((stream.len(), stream.ahead), (4, 0), "all are kept");
        for number in [5, 6, 8] {
            assert!(stream.hold(number, large(), 8));
        }
        stream.advance(8, 100);
        assert_eq!(
            (stream.ahead, stream.contiguous),
            (0, 8),
            "a state stands for them"
        );
        stream.forget(8);
        assert_eq!((stream.bytes, stream.len()), (0, 0));
    }

    #[test]
    fn of_an_origin_that_is_gone_only_what_is_ordered_stays() {
        let mut stream = Stream::default();
        for number in [1, 2, 4] {
            assert!(stream.hold(number, batch(), 0));
        }
        assert!(stream.next().is_some());
        stream.close();
        assert_eq!((stream.len(), stream.contiguous), (1, 1));
        stream.limit(9, 4);
        assert_eq!(stream.len(), 0, "its bytes are those of one batch");
    }
}
