//! What a process sends to itself before it is admitted.
use bytes::Bytes;
use quorate_abstractions::lanes::LaneId;

/// What a message costs beyond its bytes while it waits.
const OVERHEAD: usize = 64;

/// Messages to oneself, in the order in which they were sent.
#[derive(Default)]
pub struct ToOneself {
    messages: Vec<(LaneId, Bytes)>,
    bytes: usize,
    /// Whether a message was refused. All later ones are, too: what is kept has no hole.
    ended: bool,
}

impl ToOneself {
    /// Keeps a message, unless all that is kept would be longer than `limit`. Says whether it does.
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

    /// Nothing of what is kept is delivered.
    pub fn clear(&mut self) {
        self.messages = Vec::new();
        self.bytes = 0;
    }

    /// All that was kept.
    pub fn take(&mut self) -> Vec<(LaneId, Bytes)> {
        std::mem::take(self).messages
    }
}
