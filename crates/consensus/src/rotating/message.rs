//! The messages of the rotating coordinator, and how they are carried.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Observation, Observe,
    message::digest,
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// What a message of a round says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// To the coordinator: the sender's value, and the round in which it adopted it (0: its own).
    Estimate {
        /// The round of adoption.
        adopted: u64,
        /// The value.
        value: Bytes,
    },
    /// From the coordinator: adopt this value.
    Propose {
        /// The value.
        value: Bytes,
    },
    /// To the coordinator: adopted.
    Ack,
    /// To the coordinator: it is suspected, and the sender has left the round.
    Refuse,
    /// From the coordinator: the round has failed.
    Abort,
    /// After a gap: the sender has left every earlier round than this one.
    Left,
    /// After a gap: the instance is decided, whatever the round.
    Decided {
        /// The decision.
        value: Bytes,
    },
}

/// A message of one round of one instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The instance.
    pub instance: u64,
    /// The round, counted from 1.
    pub round: u64,
    /// What it says.
    pub content: Content,
}

#[derive(Serialize, Deserialize)]
enum Head {
    Estimate { adopted: u64 },
    Propose,
    Ack,
    Refuse,
    Abort,
    Left,
    Decided,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        let (head, value) = match &self.content {
            Content::Estimate { adopted, value } => {
                (Head::Estimate { adopted: *adopted }, Some(value))
            }
            Content::Propose { value } => (Head::Propose, Some(value)),
            Content::Ack => (Head::Ack, None),
            Content::Refuse => (Head::Refuse, None),
            Content::Abort => (Head::Abort, None),
            Content::Left => (Head::Left, None),
            Content::Decided { value } => (Head::Decided, Some(value)),
        };
        wire::put_head(&(self.instance, self.round, head), out);
        if let Some(value) = value {
            out.extend_from_slice(value);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let (instance, round, head) = wire::take_head(&mut bytes)?;
        let content = match head {
            Head::Estimate { adopted } => Content::Estimate {
                adopted,
                value: bytes,
            },
            Head::Propose => Content::Propose { value: bytes },
            Head::Decided => Content::Decided { value: bytes },
            _ if !bytes.is_empty() => return Err(Undecodable),
            Head::Ack => Content::Ack,
            Head::Refuse => Content::Refuse,
            Head::Abort => Content::Abort,
            Head::Left => Content::Left,
        };
        Ok(Message {
            instance,
            round,
            content,
        })
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        let (label, value) = match &self.content {
            Content::Estimate { value, .. } => ("Estimate", Some(value)),
            Content::Propose { value } => ("Propose", Some(value)),
            Content::Ack => ("Ack", None),
            Content::Refuse => ("Refuse", None),
            Content::Abort => ("Abort", None),
            Content::Left => ("Left", None),
            Content::Decided { value } => ("Decided", Some(value)),
        };
        Observation::internal(label)
            .instance(self.instance)
            .digest(value.map_or(self.round, |value| digest(value)))
    }
}
