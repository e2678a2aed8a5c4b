//! The messages that a process sends to itself before it is admitted.
use bytes::Bytes;
use quorate_abstractions::lanes::LaneId;

/// The memory that a waiting message takes beyond its bytes, in bytes.
const OVERHEAD: usize = 64;

/// Messages to oneself, in the order in which they were sent.
#[derive(Default)]
pub struct ToOneself {
    messages: Vec<(LaneId, Bytes)>,
    bytes: usize,
    /// Whether a message was refused. Then all later ones are refused, too, so that the kept messages have no
    /// hole.
    ended: bool,
}

impl ToOneself {
    /// Keeps a message, unless all kept messages would be longer than `limit` bytes. Returns whether it was
    /// kept.
    pub fn keep(&mut self, lane: LaneId, message: Bytes, limit: usize) -> bool {
        let bytes = self.bytes + message.len() + OVERHEAD;
        self.ended |= bytes > limit;
        if !self.ended {
            self.bytes = bytes;
            self.messages.push((lane, message));
        }
        !self.ended
    }

    /// Whether a message was refused.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Drops all kept messages.
    pub fn clear(&mut self) {
        self.messages = Vec::new();
        self.bytes = 0;
    }

    /// Removes and returns all kept messages.
    pub fn take(&mut self) -> Vec<(LaneId, Bytes)> {
        std::mem::take(self).messages
    }
}
