//! A state as it was at one point of the order, read in chunks.
use super::{
    Machine,
    item::{Head, Item},
};
use crate::ordered::Pairs;
use bytes::{Bytes, BytesMut};

/// The length of a chunk, in bytes; the last one is shorter.
pub const CHUNK: usize = 256 * 1024;

/// A machine's state as it was when the view was taken, to be read once, in chunks.
///
/// The view shares with the machine all that has not changed since, and keeps the old version of what has.
/// Beside that it holds one chunk and the longest of the values.
pub struct View {
    head: Option<Head>,
    decisions: Box<dyn Iterator<Item = (u64, Bytes)> + Send>,
    pairs: Pairs,
    /// How many parts have been encoded; `None` after the end.
    written: Option<u64>,
    /// The bytes that are encoded and not yet read.
    waiting: BytesMut,
}

impl View {
    /// The view of a machine as it is now.
    pub(super) fn of(machine: &Machine) -> Self {
        let (log, kv, decisions) = (machine.log, &machine.kv, &machine.decisions);
        View {
            head: Some(Head {
                delivered: log.delivered(),
                hash: log.hash(),
                undecodable: machine.undecodable,
                applied: kv.applied(),
                forgotten: decisions.forgotten(),
            }),
            decisions: Box::new(decisions.all()),
            pairs: kv.store().pairs(),
            written: Some(0),
            waiting: BytesMut::new(),
        }
    }

    /// The next chunk; `None` after the last. Equal states have equal chunks.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        while self.waiting.len() < CHUNK && self.write() {}
        if self.waiting.is_empty() {
            return None;
        }
        let length = self.waiting.len().min(CHUNK);
        Some(self.waiting.split_to(length).freeze())
    }

    /// Encodes the next part. Returns whether there was one.
    fn write(&mut self) -> bool {
        let Some(written) = &mut self.written else {
            return false;
        };
        let out = &mut self.waiting;
        // The room for a whole chunk is reserved at once, so that the bytes are not moved while they grow.
        if out.is_empty() {
            out.reserve(CHUNK + CHUNK / 4);
        }
        *written += 1;
        if let Some(head) = self.head.take() {
            Item::Head(head).encode(out);
        } else if let Some((instance, value)) = self.decisions.next() {
            let value = &value;
            Item::Decision { instance, value }.encode(out);
        } else if let Some((key, value)) = self.pairs.next() {
            let (key, value) = (&key, &value);
            Item::Pair { key, value }.encode(out);
        } else {
            Item::End(*written - 1).encode(out);
            self.written = None;
        }
        true
    }
}
