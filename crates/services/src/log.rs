//! The running hash of a delivery sequence: two replicas with equal counts and equal hashes have
//! delivered the same messages in the same order.
use quorate_core::{
    MessageId,
    message::{digest, fold},
};

/// How much was delivered, and a hash of what and in which order. Not cryptographic: it catches
/// mistakes, not forgers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Log {
    delivered: u64,
    hash: u64,
}

impl Log {
    /// The log that has delivered so many messages, whose sequence has this hash.
    pub(crate) fn restored(delivered: u64, hash: u64) -> Self {
        Log { delivered, hash }
    }

    /// Takes in the next message of the sequence.
    pub fn append(&mut self, id: MessageId, payload: &[u8]) {
        let mut hash = fold(self.hash, id.origin.process.rank() as u64);
        hash = fold(hash, id.origin.incarnation.0);
        hash = fold(hash, id.sequence);
        self.hash = fold(hash, digest(payload));
        self.delivered += 1;
    }

    /// How many messages were delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The hash over all of them, in order.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Incarnation, ProcessId, message::Origin};

    fn id(rank: usize, sequence: u64) -> MessageId {
        let origin = Origin {
            process: ProcessId::from_rank(rank).unwrap(),
            incarnation: Incarnation(7),
        };
        MessageId { origin, sequence }
    }

    fn hash_of(messages: &[(MessageId, &[u8])]) -> u64 {
        let mut log = Log::default();
        for (id, payload) in messages {
            log.append(*id, payload);
        }
        assert_eq!(log.delivered(), messages.len() as u64);
        log.hash()
    }

    #[test]
    fn order_identity_and_content_all_count() {
        let (a, b) = (id(1, 1), id(2, 1));
        let hash = hash_of(&[(a, b"x"), (b, b"y")]);
        assert_eq!(hash, hash_of(&[(a, b"x"), (b, b"y")]));
        assert_ne!(hash, hash_of(&[(b, b"y"), (a, b"x")]));
        assert_ne!(hash, hash_of(&[(a, b"x"), (id(2, 2), b"y")]));
        assert_ne!(hash, hash_of(&[(a, b"x"), (b, b"z")]));
        assert_ne!(hash, hash_of(&[(a, b"x")]));
    }

    #[test]
    fn who_takes_the_log_over_continues_it() {
        let mut log = Log::default();
        log.append(id(1, 1), b"x");
        let mut restored = Log::restored(log.delivered(), log.hash());
        log.append(id(2, 1), b"y");
        restored.append(id(2, 1), b"y");
        assert_eq!(restored, log);
    }
}
