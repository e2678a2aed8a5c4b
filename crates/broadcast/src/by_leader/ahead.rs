//! What comes before its time: messages of epochs that have not begun here, and batches that have no place
//! yet, of who is not known to hold its seat, or before there is a state.
use super::early::Early;
use crate::ordering::Cut;
use bytes::Bytes;
use quorate_consensus::ballots;
use quorate_core::{MessageId, ProcessId};
use std::collections::VecDeque;

/// Of epochs that have not begun here, so many messages wait; beyond, the state is asked for.
const AHEAD: usize = 1 << 18;

/// A message of an epoch, and of whom.
pub(super) type Message = (ProcessId, u64, ballots::Message<Cut>);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    batches: Early,
    messages: VecDeque<Message>,
    /// The latest epoch of which messages were dropped.
    dropped: u64,
}

impl Ahead {
    /// Takes a batch in, and says how many of the oldest had to go.
    pub(super) fn hold(&mut self, id: MessageId, batch: Bytes) -> u64 {
        self.batches.push(id, batch)
    }

    /// Takes a message in; `false` if there are too many.
    pub(super) fn hear(&mut self, message: Message) -> bool {
        self.messages.push_back(message);
        self.messages.len() <= AHEAD
    }

    /// Whether others are in a later epoch than this one.
    pub(super) fn is_beyond(&self, epoch: u64) -> bool {
        !self.messages.is_empty() || self.dropped > epoch
    }

    /// Drops the messages: they have to be said again.
    pub(super) fn drop_messages(&mut self) {
        let latest = self.messages.iter().map(|(_, epoch, _)| *epoch).max();
        self.dropped = self.dropped.max(latest.unwrap_or(0));
        self.messages.clear();
    }

    /// The messages, in the order in which they came.
    pub(super) fn take_messages(&mut self) -> VecDeque<Message> {
        std::mem::take(&mut self.messages)
    }

    /// The batches, in the order in which they came.
    pub(super) fn take_batches(&mut self) -> VecDeque<(MessageId, Bytes)> {
        self.batches.take()
    }
}
