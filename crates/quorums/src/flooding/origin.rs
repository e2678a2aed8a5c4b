//! What a process knows about the items of another.
use super::message::Item;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What a process knows about one origin. Of the versions up to the highest known one, that one and those it
/// names are retained; all others are over.
#[derive(Default, Debug)]
pub(super) struct Known {
    /// The highest version that was received completely.
    highest: u64,
    /// Retained versions below the highest that were not received.
    awaited: BTreeSet<u64>,
    /// Retained versions that were received.
    received: BTreeSet<u64>,
    /// Chunks, by version and number.
    chunks: BTreeMap<u64, BTreeMap<u64, Bytes>>,
    /// The number of chunks held.
    held: usize,
}

impl Known {
    /// Whether this version may still be delivered.
    pub(super) fn is_new(&self, version: u64) -> bool {
        version > self.highest || self.awaited.contains(&version)
    }

    /// Whether this version was received and, as far as is known, is retained.
    pub(super) fn is_retained(&self, version: u64) -> bool {
        self.received.contains(&version)
    }

    /// Whether this version was replaced or withdrawn.
    pub(super) fn is_over(&self, version: u64) -> bool {
        !self.is_new(version) && !self.is_retained(version)
    }

    /// Accepts a version that is new.
    pub(super) fn accept(&mut self, version: u64, item: &Item) {
        self.awaited.remove(&version);
        if self.held > 0 {
            self.drop_chunks(|of| of == version);
        }
        if version > self.highest {
            let before = self.highest;
            let (awaited, received) = (&self.awaited, &self.received);
            let retained = item.retained.iter().copied();
            let is_open = |v: &u64| *v > before || awaited.contains(v);
            let awaited: BTreeSet<u64> = retained.clone().filter(is_open).collect();
            let received = retained.filter(|v| received.contains(v)).collect();
            (self.awaited, self.received) = (awaited, received);
            self.highest = version;
        }
        if item.content.is_some() || version == self.highest {
            self.received.insert(version);
        }
        if self.held > 0 {
            let (highest, awaited) = (self.highest, self.awaited.clone());
            self.drop_chunks(|of| of <= highest && !awaited.contains(&of));
        }
    }

    /// Keeps a chunk of a new version, which has `of` chunks. Returns the item, once it is complete. At most
    /// `most` chunks are held; those of newer versions have precedence.
    pub(super) fn keep(
        &mut self,
        version: u64,
        number: u64,
        of: u64,
        bytes: Bytes,
        most: usize,
    ) -> Kept {
        while self.held >= most {
            match self.chunks.first_key_value() {
                Some((&oldest, _)) if oldest < version => self.drop_chunks(|v| v == oldest),
                Some(_) | None => return Kept::NoRoom,
            }
        }
        let chunks = self.chunks.entry(version).or_default();
        if chunks.insert(number, bytes).is_none() {
            self.held += 1;
        }
        if (chunks.len() as u64) < of {
            return Kept::Incomplete;
        }
        let whole: Vec<u8> = chunks.values().flatten().copied().collect();
        self.drop_chunks(|v| v == version);
        Kept::Complete(Bytes::from(whole))
    }

    fn drop_chunks(&mut self, of: impl Fn(u64) -> bool) {
        self.chunks.retain(|version, _| !of(*version));
        self.held = self.chunks.values().map(BTreeMap::len).sum();
    }

    /// The memory that the origin takes: the number of versions and chunks.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.awaited.len() + self.received.len() + self.held
    }
}

/// What happened to a chunk.
pub(super) enum Kept {
    /// Other chunks are missing.
    Incomplete,
    /// It was the last missing chunk: the complete item.
    Complete(Bytes),
    /// It was dropped.
    NoRoom,
}
