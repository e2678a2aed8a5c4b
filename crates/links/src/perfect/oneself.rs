//! What a process sends to itself before it is admitted.
use bytes::Bytes;
use quorate_abstractions::lanes::LaneId;

/// Messages to oneself, in the order in which they were sent.
#[derive(Default)]
pub struct ToOneself {
    messages: Vec<(LaneId, Bytes)>,
    bytes: usize,
}

impl ToOneself {
    /// Keeps a message.
    pub fn push(&mut self, lane: LaneId, message: Bytes) {
        self.bytes += message.len();
        self.messages.push((lane, message));
    }

    /// What is kept, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All that was kept.
    pub fn take(&mut self) -> Vec<(LaneId, Bytes)> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }
}
