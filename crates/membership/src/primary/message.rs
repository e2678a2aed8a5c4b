//! The messages of primary views.
use crate::messages::{self, Counts, Data, digest_of, put_messages, take_messages};
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Incarnation,
    message::{digest, fold},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// The deliveries of a process in a view, in which it delivers nothing more before the next one is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flush {
    /// From a copy of a member: the start of its process. `None` from a member.
    pub copy: Option<Incarnation>,
    /// Whether the sender, a member, leaves: the next view is to be without it.
    pub leaves: bool,
    /// The number of deliveries, by member.
    pub counts: Counts,
    /// The delivered messages that others may lack, in the order of their senders and numbers.
    pub messages: Vec<Data>,
}

impl Flush {
    /// A digest of it, for observers.
    fn digest(&self) -> u64 {
        let messages = digest_of(&self.messages);
        if self.leaves {
            fold(messages, 1)
        } else {
            messages
        }
    }
}

/// Whose flush it is.
#[derive(Serialize, Deserialize)]
enum Sender {
    Member,
    Copy(Incarnation),
    Leaving,
}

impl Wire for Flush {
    fn encode(&self, out: &mut BytesMut) {
        let sender = match self.copy {
            Some(start) => Sender::Copy(start),
            None if self.leaves => Sender::Leaving,
            None => Sender::Member,
        };
        wire::put_head(&(sender, &self.counts), out);
        put_messages(&self.messages, out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let (sender, counts) = wire::take_head(&mut bytes)?;
        let messages = take_messages(bytes)?;
        let (copy, leaves) = match sender {
            Sender::Member => (None, false),
            Sender::Copy(start) => (Some(start), false),
            Sender::Leaving => (None, true),
        };
        Ok(Flush {
            copy,
            leaves,
            counts,
            messages,
        })
    }
}

/// The initial state of a copy of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transferred {
    /// Its user's state.
    pub state: Bytes,
    /// The messages in that state that others may lack: the receiver must flush them.
    pub messages: Vec<Data>,
}

impl Wire for Transferred {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_head(&(self.state.len() as u64), out);
        out.extend_from_slice(&self.state);
        put_messages(&self.messages, out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let length: u64 = wire::take_head(&mut bytes)?;
        let length = usize::try_from(length).map_err(|_| Undecodable)?;
        if length > bytes.len() {
            return Err(Undecodable);
        }
        let state = bytes.split_to(length);
        let messages = take_messages(bytes)?;
        Ok(Transferred { state, messages })
    }
}

quorate_core::messages! {
    /// The messages.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// Within a view.
        Within(messages::Message),
        /// From a member of this view, or from a process that wants to be in the next one, to its members.
        Flush {
            view: u64;
            /// The sender's deliveries.
            flush: Flush
        } => instance(*view).digest(flush.digest()),
        /// From a process outside the view with this identifier that wants to be in the next, to the members.
        Join {
            view: u64
        } => instance(*view),
        /// From a process outside of the view with this identifier, which lists the process, to the members.
        Outside {
            view: u64
        } => instance(*view),
        /// From a member of this view whose user does not give its state, to the others.
        Declines {
            view: u64
        } => instance(*view),
        /// From a member that has flushed this view, to a process that wants to be in the next: all that the
        /// member has.
        Transfer {
            view: u64,
            /// The number of its deliveries, by member.
            counts: Counts;
            /// Its user's state, and the messages that the receiver must flush.
            all: Transferred
        } => instance(*view).digest(fold(digest(&all.state), digest_of(&all.messages))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::ProcessId;

    #[test]
    fn messages_survive_the_wire() {
        let p = ProcessId::from_rank(2).unwrap();
        let transfer = Message::Transfer {
            view: 3,
            counts: vec![(p, 5)],
            all: Transferred {
                messages: Vec::new(),
                state: Bytes::from_static(b"all that there is"),
            },
        };
        let stable = messages::Message::Stable {
            view: 3,
            counts: vec![(p, 4)],
        };
        let flush = |copy, leaves| Message::Flush {
            view: 3,
            flush: Flush {
                copy,
                leaves,
                counts: vec![(p, 7)],
                messages: Vec::new(),
            },
        };
        let all = [
            transfer,
            Message::Join { view: 9 },
            Message::Outside { view: 9 },
            Message::Declines { view: 9 },
            Message::Within(stable),
            flush(None, false),
            flush(None, true),
            flush(Some(Incarnation(1 << 60)), false),
        ];
        for message in all {
            assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
        }
    }

    #[test]
    fn a_state_longer_than_the_message_is_refused() {
        let mut bytes = BytesMut::new();
        wire::put_head(&u64::MAX, &mut bytes);
        assert_eq!(Transferred::decode(bytes.freeze()), Err(Undecodable));
    }
}
