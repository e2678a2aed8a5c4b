//! The running hash of a delivery sequence: two replicas with equal counts and equal hashes have
//! delivered the same messages in the same order.
use quorate_core::{
    ProcessId,
    message::{digest, fold},
};

/// The number of delivered messages, and a hash of them and their order. The hash is not cryptographic: it
/// catches mistakes, not forgeries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Log {
    delivered: u64,
    hash: u64,
}

impl Log {
    /// The log after `delivered` messages, whose sequence has this hash.
    pub(crate) fn restored(delivered: u64, hash: u64) -> Self {
        Log { delivered, hash }
    }

    /// Adds the next message of the sequence.
    pub fn append(&mut self, origin: ProcessId, payload: &[u8]) {
        let hash = fold(self.hash, origin.rank() as u64);
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
    use quorate_sim::testing::p;

    fn hash_of(messages: &[(ProcessId, &[u8])]) -> u64 {
        let mut log = Log::default();
        for (origin, payload) in messages {
            log.append(*origin, payload);
        }
        assert_eq!(log.delivered(), messages.len() as u64);
        log.hash()
    }

    #[test]
    fn the_hash_depends_on_order_origin_and_content() {
        let (a, b) = (p(1), p(2));
        let hash = hash_of(&[(a, b"x"), (b, b"y")]);
        assert_eq!(hash, hash_of(&[(a, b"x"), (b, b"y")]));
        assert_ne!(hash, hash_of(&[(b, b"y"), (a, b"x")]));
        assert_ne!(hash, hash_of(&[(a, b"x"), (a, b"y")]));
        assert_ne!(hash, hash_of(&[(a, b"x"), (b, b"z")]));
        assert_ne!(hash, hash_of(&[(a, b"x")]));
    }

    #[test]
    fn who_takes_the_log_over_continues_it() {
        let mut log = Log::default();
        log.append(p(1), b"x");
        let mut restored = Log::restored(log.delivered(), log.hash());
        log.append(p(2), b"y");
        restored.append(p(2), b"y");
        assert_eq!(restored, log);
    }
}
