//! The messages of the rotating coordinator, and how they are carried.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Observation, Observe,
    message::digest,
    messages,
    wire::{self, Undecodable, Wire},
};

messages! {
    /// What a message of a round says.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Content {
        /// To the coordinator: the sender's value, and the round in which it adopted it (0: its own).
        Estimate {
            /// The round of adoption.
            adopted: u64;
            value: Bytes
        } => digest(digest(value)),
        /// From the coordinator: adopt this value.
        Propose {;
            value: Bytes
        } => digest(digest(value)),
        /// To the coordinator: adopted.
        Ack,
        /// To the coordinator: it is suspected, and the sender has left the round.
        Nack,
        /// From the coordinator: the round has failed.
        Abort,
        /// After a gap: the sender has left every round before this one.
        Left,
        /// After a gap: the instance is decided, in any round.
        Decided {;
            /// The decision.
            value: Bytes
        } => digest(digest(value)),
    }
}

/// A message of one round of one instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub instance: u64,
    /// The round, counted from 1.
    pub round: u64,
    /// What it says.
    pub content: Content,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_head(&(self.instance, self.round), out);
        self.content.encode(out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let (instance, round) = wire::take_head(&mut bytes)?;
        let content = Content::decode(bytes)?;
        Ok(Message {
            instance,
            round,
            content,
        })
    }
}

/// Messages without a value are told apart by their round.
impl Observe for Message {
    fn observe(&self) -> Observation {
        let observation = self.content.observe().instance(self.instance);
        match self.content {
            Content::Ack | Content::Nack | Content::Abort | Content::Left => {
                observation.digest(self.round)
            }
            Content::Estimate { .. } | Content::Propose { .. } | Content::Decided { .. } => {
                observation
            }
        }
    }
}
