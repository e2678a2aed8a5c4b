//! A state as it was at one point of the order, read in chunks.
use super::{
    Machine,
    item::{Head, Item},
};
use crate::ordered::Pairs;
use bytes::{Bytes, BytesMut};

/// How long a chunk is; the last one is shorter.
pub const CHUNK: usize = 256 * 1024;

/// A machine's state as it was when the view was taken, to be read once, in chunks.
///
/// It shares with the machine what has not changed since, and keeps of what has changed what was there
/// before. Beside that it holds a chunk and the longest of its values.
pub struct View {
    head: Option<Head>,
    decisions: Box<dyn Iterator<Item = (u64, Bytes)> + Send>,
    pairs: Pairs,
    /// How many parts were written; `None` after the end.
    written: Option<u64>,
    /// What is written and not yet read.
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

    /// Writes the next part. Says whether there was one.
    fn write(&mut self) -> bool {
        let Some(written) = &mut self.written else {
            return false;
        };
        let out = &mut self.waiting;
        // Room for a whole chunk at once, so that it is not moved while it grows.
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
