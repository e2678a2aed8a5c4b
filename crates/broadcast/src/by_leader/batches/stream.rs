//! The batches of one origin: those that have come, and those that others may still ask for.
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// Batches so far above the contiguous ones are refused.
const WINDOW: u64 = 1 << 16;

/// What is known of one origin's batches.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Up to this batch they are ordered and delivered.
    pub(super) ordered: u64,
    /// How many messages those batches held.
    pub(super) delivered: u64,
    /// Everything up to this batch has come.
    pub(super) contiguous: u64,
    /// The batches beyond the ordered ones that have come, and ordered ones that others may lack.
    held: BTreeMap<u64, Bytes>,
    /// How many bytes those are.
    bytes: usize,
}

impl Stream {
    /// So many batches are ordered, with so many messages, as a state says that stands for them.
    pub(super) fn advance(&mut self, ordered: u64, delivered: u64) {
        if ordered <= self.ordered {
            return;
        }
        self.ordered = ordered;
        self.delivered = delivered;
        self.contiguous = self.contiguous.max(ordered);
        while self.held.contains_key(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
    }

    /// Takes a batch in; `false` if it lies too far ahead.
    pub(super) fn hold(&mut self, number: u64, batch: Bytes) -> bool {
        if number > self.contiguous.saturating_add(WINDOW) {
            return false;
        }
        if number > self.contiguous && !self.held.contains_key(&number) {
            self.bytes += batch.len();
            self.held.insert(number, batch);
        }
        while self.held.contains_key(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
        true
    }

    /// The next batch in order. It stays for those that may lack it.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.ordered += 1;
        self.held.get(&self.ordered).cloned()
    }

    /// What has come without a gap beyond this batch, and is still here.
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

    /// The oldest ordered batch that is still here, if there are more of them, or more bytes, than
    /// these.
    pub(super) fn excess(&self, batches: usize, bytes: usize) -> Option<(u64, Bytes)> {
        let (number, batch) = self.held.first_key_value()?;
        let is_ordered = *number <= self.ordered;
        let is_much = self.held.len() > batches || self.bytes > bytes;
        (is_ordered && is_much).then(|| (*number, batch.clone()))
    }

    /// How many batches are here.
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
            assert!(stream.hold(number, batch()));
        }
        assert_eq!(stream.contiguous, 2);
        assert!(stream.next().is_some() && stream.next().is_some());
        assert_eq!((stream.ordered, stream.len()), (2, 3));
        let beyond: Vec<_> = stream.beyond(1).map(|(number, _)| number).collect();
        assert_eq!(beyond, [2], "4 lies behind a gap");
        assert_eq!(stream.beyond(u64::MAX).count(), 0);
        assert_eq!(stream.excess(2, 100), Some((1, batch())));
        assert_eq!(stream.excess(3, 15), None);
        assert_eq!(stream.excess(3, 14), Some((1, batch())));
        stream.forget(u64::MAX);
        assert_eq!(stream.len(), 1, "what is not ordered is not forgotten");
        assert_eq!(stream.excess(0, 0), None);
        assert!(stream.hold(1, batch()) && stream.hold(2, batch()));
        assert_eq!(stream.len(), 1, "late copies change nothing");
        assert!(stream.hold(3, batch()));
        assert!(stream.next().is_some() && stream.next().is_some());
        assert_eq!(
            stream.excess(2, 10),
            None,
            "what was forgotten has no bytes"
        );
        assert_eq!(stream.excess(2, 9), Some((3, batch())));
    }

    #[test]
    fn what_lies_too_far_ahead_is_refused() {
        let mut stream = Stream::default();
        assert!(stream.hold(WINDOW, batch()));
        assert!(!stream.hold(WINDOW + 1, batch()));
        assert!(!stream.hold(u64::MAX, batch()));
    }
}
