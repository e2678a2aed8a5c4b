//! Batches that have no place yet, because their origin is not known to hold its seat or because this process
//! has no state yet.
use bytes::Bytes;
use quorate_core::MessageId;
use std::collections::VecDeque;

/// At most this many batches wait.
const BATCHES: usize = 1 << 16;
/// At most this many bytes of them wait.
const BYTES: usize = 64 << 20;

/// The latest batches that have no place yet.
#[derive(Debug, Default)]
pub(super) struct Early {
    batches: VecDeque<(MessageId, Bytes)>,
    bytes: usize,
}

impl Early {
    /// Keeps a batch, and returns how many of the oldest were dropped for it.
    pub(super) fn push(&mut self, id: MessageId, batch: Bytes) -> u64 {
        self.bytes += batch.len();
        self.batches.push_back((id, batch));
        let mut dropped = 0;
        while self.bytes > BYTES || self.batches.len() > BATCHES {
            let Some((_, batch)) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= batch.len();
            dropped += 1;
        }
        dropped
    }

    /// Takes all batches, in the order in which they came.
    pub(super) fn take(&mut self) -> VecDeque<(MessageId, Bytes)> {
        self.bytes = 0;
        std::mem::take(&mut self.batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Incarnation, ProcessId, message::Origin};

    #[test]
    fn the_oldest_go_first() {
        let process = ProcessId::from_rank(1).unwrap();
        let origin = Origin {
            process,
            incarnation: Incarnation(1),
        };
        let id = |sequence| MessageId { origin, sequence };
        let mut early = Early::default();
        for sequence in 1..=BATCHES as u64 {
            assert_eq!(early.push(id(sequence), Bytes::from_static(b"x")), 0);
        }
        assert_eq!(early.push(id(0), Bytes::from(vec![0; BYTES - 10])), 65_526);
        let left = early.take();
        assert_eq!(left.len(), 11);
        assert_eq!(left.back().unwrap().0, id(0));
        assert_eq!(early.push(id(1), Bytes::from(vec![0; BYTES])), 0);
    }
}
