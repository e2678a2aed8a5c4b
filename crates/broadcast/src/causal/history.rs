//! The rule that both causal broadcasts without waiting share: what was delivered, and the past.
use super::Clock;
use crate::data::{Data, Numbering};
use bytes::{Buf, Bytes, BytesMut};
use quorate_core::{
    Host, MessageId,
    wire::{self, Undecodable},
};

/// Appends messages: how many they are, then each with its identifier and length.
pub(crate) fn put_messages(messages: &[Data], out: &mut BytesMut) {
    wire::put_number(messages.len() as u64, out);
    for Data { id, payload } in messages {
        wire::put_head(id, out);
        wire::put_number(payload.len() as u64, out);
        out.extend_from_slice(payload);
    }
}

/// Takes messages off the front of `bytes`. Allocates for the messages that are there, not for the number
/// that is claimed.
///
/// # Errors
/// When the bytes do not begin with as many messages as they claim.
pub(crate) fn take_messages(bytes: &mut Bytes) -> Result<Vec<Data>, Undecodable> {
    let claimed = wire::take_number(bytes)?;
    let mut messages = Vec::new();
    for _ in 0..claimed {
        let id = wire::take_head(bytes)?;
        let length = usize::try_from(wire::take_number(bytes)?).map_err(|_| Undecodable)?;
        if length > bytes.remaining() {
            return Err(Undecodable);
        }
        let payload = bytes.split_to(length);
        messages.push(Data { id, payload });
    }
    Ok(messages)
}

/// What one process has broadcast and delivered, and what its next broadcast depends on.
pub(crate) struct History {
    numbering: Numbering,
    /// How many messages of each process were delivered.
    delivered: Clock,
    /// What was broadcast or delivered here, in that order: no message depends on a later one.
    past: Vec<Data>,
}

impl History {
    /// The history of the process at `host`, at its start.
    pub(crate) fn new(host: &impl Host) -> Self {
        History {
            numbering: Numbering::new(host),
            delivered: Clock::zero(host.processes()),
            past: Vec::new(),
        }
    }

    pub(crate) fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    pub(crate) fn delivered(&self) -> &Clock {
        &self.delivered
    }

    /// What the next broadcast depends on.
    pub(crate) fn past(&self) -> &[Data] {
        &self.past
    }

    /// Numbers a broadcast, and appends it to what the next one depends on.
    pub(crate) fn broadcast(&mut self, payload: &Bytes) -> MessageId {
        let data = self.numbering.number(payload.clone());
        self.append(&data);
        data.id
    }

    /// Whether these messages can be delivered one after the other: each was delivered before, or is the next
    /// of its origin.
    pub(crate) fn admits(&self, messages: &[Data]) -> bool {
        let mut delivered = self.delivered.clone();
        messages.iter().all(|Data { id, .. }| {
            let next = delivered.of(id.origin.process).saturating_add(1);
            if id.sequence == next {
                delivered.advance(id.origin.process);
            }
            self.numbering.is_possible(*id) && id.sequence <= next
        })
    }

    /// Notes that the message is delivered next. Returns `false` if it was delivered before, and must not be
    /// delivered again.
    pub(crate) fn deliver(&mut self, data: &Data) -> bool {
        let origin = data.id.origin.process;
        if data.id.sequence <= self.delivered.of(origin) {
            return false;
        }
        self.delivered.advance(origin);
        // An own message has been in the past since it was broadcast.
        if !self.numbering.is_mine(data.id) {
            self.append(data);
        }
        true
    }

    /// Removes the messages within these counts from the past, and returns their identifiers.
    pub(crate) fn collect(&mut self, counts: &Clock) -> Vec<MessageId> {
        let mut collected = Vec::new();
        self.past.retain(|Data { id, .. }| {
            let stays = id.sequence > counts.of(id.origin.process);
            if !stays {
                collected.push(*id);
            }
            stays
        });
        collected
    }

    /// The payload is copied: its buffer may hold a whole message, with its past.
    fn append(&mut self, data: &Data) {
        self.past.push(Data {
            id: data.id,
            payload: Bytes::copy_from_slice(&data.payload),
        });
    }
}

#[cfg(test)]
mod tests;
