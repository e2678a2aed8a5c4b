//! The messages of the registers, and how they are carried.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::register::{RegisterResponse, Tag};
use quorate_core::{
    Membership, Observation, Observe, ProcessId,
    message::{LAST_NUMBER, digest},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// What a replica holds of a register: the value, and the write that it comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Identifies the write.
    pub tag: Tag,
    /// The value; `None` before any write.
    pub value: Option<Bytes>,
}

impl Held {
    /// The response of a read that returns this.
    pub(crate) fn read(self) -> RegisterResponse {
        let Held { tag, value } = self;
        RegisterResponse::Read { tag, value }
    }

    /// Whether some process of Π (or the only writer, if there is one) can have written this.
    pub(crate) fn is_possible(&self, processes: &Membership, only: Option<ProcessId>) -> bool {
        match self.tag.writer {
            None => *self == Held::default(),
            Some(writer) => {
                let may_write = only.is_none_or(|only| only == writer);
                self.value.is_some()
                    && (1..=LAST_NUMBER).contains(&self.tag.timestamp)
                    && may_write
                    && processes.contains(writer)
            }
        }
    }
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// What do you hold of this register?
    Read {
        /// Its name.
        register: Bytes,
    },
    /// The value that the sender holds; the answer to `Read`.
    Value(Held),
    /// Hold this, unless you hold something newer.
    Write {
        /// The name of the register.
        register: Bytes,
        /// What to hold.
        held: Held,
    },
    /// Done; the answer to `Write`.
    Acknowledge,
    /// A stream to the receiver has begun anew: answers to its requests may be lost, and it must ask again.
    Resumed,
}

/// A request of a process, which numbers it, or the answer with the number of its request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The request's number.
    pub request: u64,
    /// What it says.
    pub content: Content,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Read,
    Value,
    Write,
    Acknowledge,
    Resumed,
}

#[derive(Serialize, Deserialize)]
struct Head {
    request: u64,
    kind: Kind,
    tag: Tag,
    has_value: bool,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        let nothing = Held::default();
        let (kind, register, held) = match &self.content {
            Content::Read { register } => (Kind::Read, Some(register), &nothing),
            Content::Value(held) => (Kind::Value, None, held),
            Content::Write { register, held } => (Kind::Write, Some(register), held),
            Content::Acknowledge => (Kind::Acknowledge, None, &nothing),
            Content::Resumed => (Kind::Resumed, None, &nothing),
        };
        let head = Head {
            request: self.request,
            kind,
            tag: held.tag,
            has_value: held.value.is_some(),
        };
        wire::put_head(&head, out);
        if let Some(register) = register {
            wire::put_number(register.len() as u64, out);
            out.put_slice(register);
        }
        if let Some(value) = &held.value {
            out.put_slice(value);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let head: Head = wire::take_head(&mut bytes)?;
        let request = head.request;
        let register = match head.kind {
            Kind::Read | Kind::Write => {
                let length = wire::take_number(&mut bytes)?;
                let length = usize::try_from(length).map_err(|_| Undecodable)?;
                if length > bytes.len() {
                    return Err(Undecodable);
                }
                bytes.split_to(length)
            }
            Kind::Value | Kind::Acknowledge | Kind::Resumed => Bytes::new(),
        };
        if !head.has_value && !bytes.is_empty() {
            return Err(Undecodable);
        }
        let held = Held {
            tag: head.tag,
            value: head.has_value.then_some(bytes),
        };
        let content = match head.kind {
            Kind::Read if held == Held::default() => Content::Read { register },
            Kind::Acknowledge if held == Held::default() => Content::Acknowledge,
            Kind::Resumed if held == Held::default() => Content::Resumed,
            Kind::Read | Kind::Acknowledge | Kind::Resumed => return Err(Undecodable),
            Kind::Value => Content::Value(held),
            Kind::Write => Content::Write { register, held },
        };
        Ok(Message { request, content })
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        let observation = match &self.content {
            Content::Read { register } => Observation::internal("Read").object(digest(register)),
            Content::Value(held) => held.told("Value"),
            Content::Write { register, held } => held.told("Write").object(digest(register)),
            Content::Acknowledge => Observation::internal("Acknowledge"),
            Content::Resumed => Observation::internal("Resumed"),
        };
        observation.instance(self.request)
    }
}

impl Held {
    fn told(&self, label: &'static str) -> Observation {
        let value = self.value.as_ref().map_or(0, |value| digest(value));
        let observation = Observation::internal(label).digest(value);
        match self.tag.id() {
            Some(id) => observation.message(id),
            None => observation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held() -> impl Strategy<Value = Held> {
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        (any::<u64>(), 1..=128_usize, value).prop_map(|(timestamp, rank, value)| Held {
            tag: Tag {
                timestamp,
                writer: ProcessId::from_rank(rank),
            },
            value: value.map(Bytes::from),
        })
    }

    proptest! {
        #[test]
        fn a_message_survives_the_wire(
            request: u64,
            register in prop::collection::vec(any::<u8>(), 0..40),
            held in held(),
            kind in 0..5_u8,
        ) {
            let register = Bytes::from(register);
            let content = match kind {
                0 => Content::Read { register },
                1 => Content::Value(held),
                2 => Content::Write { register, held },
                3 => Content::Acknowledge,
                _ => Content::Resumed,
            };
            let message = Message { request, content };
            prop_assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Message::decode(Bytes::from(bytes));
        }
    }
}
