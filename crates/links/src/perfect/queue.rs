//! The queue of messages to a peer.
use super::outbox::Outbox;
use bytes::Bytes;
use quorate_abstractions::lanes::LaneId;
use quorate_core::Time;

/// The queue to a peer in the present stream, or why there is none.
#[derive(Default)]
pub struct Queue {
    outbox: Outbox,
    /// The peer owes more than the limit, and the stream ends then unless it acknowledges something.
    ends_at: Option<Time>,
    /// Whether the stream has ended, and the next one is not in use yet.
    ended: bool,
}

impl Queue {
    /// Appends a message.
    pub fn push(&mut self, lane: LaneId, message: Bytes) {
        self.outbox.push(lane, message);
    }

    /// From where packets are filled.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The length of the queue in bytes.
    pub fn bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// The part of one lane: bytes, and messages.
    pub fn of_lane(&self, lane: LaneId) -> (usize, usize) {
        self.outbox.of_lane(lane)
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Nothing in the queue is sent.
    pub fn clear(&mut self) {
        self.outbox = Outbox::default();
        self.ends_at = None;
    }

    /// The stream ends, with all that waits.
    pub fn end(&mut self) {
        self.clear();
        self.ended = true;
    }

    /// A stream is in use.
    pub fn begin(&mut self) {
        self.ended = false;
    }

    /// Whether what is sent is dropped.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The peer owes no more than the limit.
    pub fn go_on(&mut self) {
        self.ends_at = None;
    }

    /// The peer owes more than the limit: the stream ends then unless something is acknowledged.
    pub fn end_at(&mut self, at: Time) {
        self.ends_at = Some(at);
    }

    /// When the stream ends unless something is acknowledged.
    pub fn ends_at(&self) -> Option<Time> {
        self.ends_at
    }
}
