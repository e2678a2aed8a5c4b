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

    /// Whether others are in an epoch that has not begun here.
    pub(super) fn is_of_later_epoch(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Drops the messages.
    pub(super) fn clear(&mut self) {
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
