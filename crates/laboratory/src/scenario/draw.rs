//! The draws of a seed.
use super::{BUSY, LARGE};
use bytes::Bytes;
use quorate_abstractions::atomic_commit::Vote;
use quorate_core::{
    ProcessId, Random, Time,
    message::{digest, fold},
};
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// A sequence of draws.
pub(super) struct Draw {
    random: Random,
    /// Events at random moments begin within this time.
    busy: Duration,
}

impl Draw {
    /// The sequence of that seed for this purpose. Draws for other purposes do not shift it.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let seed = fold(digest(purpose.as_bytes()), seed);
        Draw {
            random: Random::seed_from_u64(seed),
            busy: BUSY,
        }
    }

    /// Sets the time within which events at random moments begin.
    pub(super) fn within(mut self, busy: Duration) -> Self {
        self.busy = busy;
        self
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound.max(1))
    }

    /// A number from 1 to `bound`, small ones more often, because a crash matters most at the beginning of a
    /// run.
    pub(super) fn early(&mut self, bound: u64) -> u64 {
        let bound = 1 + self.below(bound);
        1 + self.below(bound)
    }

    pub(super) fn moment(&mut self) -> Time {
        Time::from_nanos(self.below(self.busy.as_nanos() as u64))
    }

    pub(super) fn duration(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let range = longest.saturating_sub(shortest);
        shortest + Duration::from_nanos(self.below(range.as_nanos() as u64))
    }

    /// One of few contents, so that equal ones occur: messages must be told apart by identifier.
    pub(super) fn payload(&mut self) -> Bytes {
        Bytes::from(vec![b'a' + self.below(3) as u8; self.below(40) as usize])
    }

    /// A large content.
    pub(super) fn large(&mut self) -> Bytes {
        let length = LARGE / 2 + self.below(LARGE as u64 / 2) as usize;
        Bytes::from(vec![b'a' + self.below(3) as u8; length])
    }

    /// Mostly yes, so that both outcomes occur.
    pub(super) fn vote(&mut self) -> Vote {
        match self.below(8) {
            0 => Vote::No,
            _ => Vote::Yes,
        }
    }

    /// A content that no other message has; some take several datagrams.
    pub(super) fn unique(&mut self, from: ProcessId, number: u64) -> Bytes {
        let padding = if self.below(4) == 0 { 3000 } else { 40 };
        let padding = "x".repeat(self.below(padding) as usize);
        Bytes::from(format!("{from} {number} {padding}"))
    }

    /// Some process other than `p`, or `p` itself if it is alone.
    pub(super) fn other_than(&mut self, p: ProcessId, n: usize) -> ProcessId {
        let distance = 1 + self.below(n.saturating_sub(1) as u64) as usize;
        ProcessId::from_rank((p.index() + distance) % n + 1).unwrap_or(p)
    }
}
