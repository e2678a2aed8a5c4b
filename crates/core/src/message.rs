//! Messages are identified by their origin and sequence number, never by their content.
use crate::process::{Incarnation, ProcessId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest number that processes may count up to (timestamps, versions, views, calls). Counting would
/// take centuries to get there, so a message with a larger number is damaged or forged. The limit is far
/// below the maximum of `u64`, so that additions to such a number do not overflow.
pub const LAST_NUMBER: u64 = 1 << 62;

/// The next number after `number`; `None` if the numbers are used up.
pub const fn next_number(number: u64) -> Option<u64> {
    if number < LAST_NUMBER {
        Some(number + 1)
    } else {
        None
    }
}

/// The stream of messages of one incarnation of one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The process that broadcast.
    pub process: ProcessId,
    /// Its incarnation at that time.
    pub incarnation: Incarnation,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.process, self.incarnation)
    }
}

/// The identifier of a message: its origin and its place in the origin's sequence, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The process, and its incarnation, that broadcast the message.
    pub origin: Origin,
    /// The sequence number of the message at its origin, counted from 1.
    pub sequence: u64,
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.origin.process, self.sequence)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A 64-bit digest for traces and log hashes (FNV-1a, then mixed). Not cryptographic.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    fold(hash, bytes.len() as u64)
}

/// Continues the digest `hash` with `next`; order matters.
pub fn fold(hash: u64, next: u64) -> u64 {
    let mut mixed = (hash.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}
