//! The messages of the leader-driven total order, and how they are carried.
use crate::ordering::Cut;
use bytes::{Bytes, BytesMut};
use quorate_consensus::ballots;
use quorate_core::{
    MessageId, Observation, Observe,
    message::digest,
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A batch of requests, from its origin, or from who was asked for it.
    Data {
        /// Whose how-manieth batch it is.
        id: MessageId,
        /// The batch.
        batch: Bytes,
    },
    /// Of the batches up to a decided or proposed cut some are missing beyond these.
    Lacks {
        /// Up to where the sender holds everything.
        held: Cut,
    },
    /// Between leaders and acceptors.
    Ballots(ballots::Message<Cut>),
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data(MessageId),
    Lacks(Cut),
    Ballots(ballots::Message<Cut>),
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data { id, batch } => {
                wire::put_head(&Head::Data(*id), out);
                out.extend_from_slice(batch);
            }
            Message::Lacks { held } => wire::put_head(&Head::Lacks(held.clone()), out),
            Message::Ballots(message) => wire::put_head(&Head::Ballots(message.clone()), out),
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let message = match wire::take_head(&mut bytes)? {
            Head::Data(id) => return Ok(Message::Data { id, batch: bytes }),
            Head::Lacks(held) => Message::Lacks { held },
            Head::Ballots(message) => Message::Ballots(message),
        };
        bytes.is_empty().then_some(message).ok_or(Undecodable)
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        match self {
            Message::Data { id, batch } => Observation::internal("Data")
                .message(*id)
                .digest(digest(batch)),
            Message::Lacks { .. } => Observation::internal("Lacks"),
            Message::Ballots(message) => message.observe(),
        }
    }
}
