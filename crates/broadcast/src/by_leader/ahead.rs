//! Messages that arrive before their time: messages of epochs that have not begun here, and batches that have
//! no place yet, because their origin is not known to hold its seat or because this process has no state yet.
use super::early::Early;
use crate::ordering::Cut;
use bytes::Bytes;
use quorate_consensus::ballots;
use quorate_core::{MessageId, ProcessId};
use std::collections::VecDeque;

/// At most this many messages wait of epochs that have not begun here; beyond that, the state is asked for.
const AHEAD: usize = 1 << 18;

/// A message of an epoch, and its sender.
pub(super) type Message = (ProcessId, u64, ballots::Message<Cut>);

/// Messages and batches that wait.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    batches: Early,
    messages: VecDeque<Message>,
    /// The latest epoch of which messages were dropped.
    dropped: u64,
}

impl Ahead {
    /// Keeps a batch, and returns how many of the oldest were dropped for it.
    pub(super) fn hold(&mut self, id: MessageId, batch: Bytes) -> u64 {
        self.batches.push(id, batch)
    }

    /// Keeps a message; returns `false` if there are too many.
    pub(super) fn hear(&mut self, message: Message) -> bool {
        self.messages.push_back(message);
        self.messages.len() <= AHEAD
    }

    /// Whether others are in a later epoch than this one.
    pub(super) fn is_beyond(&self, epoch: u64) -> bool {
        !self.messages.is_empty() || self.dropped > epoch
    }

    /// Drops the messages: they have to be sent again.
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
