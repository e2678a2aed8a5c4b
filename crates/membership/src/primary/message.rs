//! The messages of primary views.
use crate::messages::{self, Counts, Data, digest_of, put_messages, take_messages};
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Observation, Observe,
    message::{digest, fold},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Within a view; a flush comes also from who wants to be in the next one.
    Within(messages::Message),
    /// From who is outside the view with this identifier and wants to be in the next, to its members.
    Join {
        /// The view.
        view: u64,
    },
    /// From a member that has flushed this view, to who wants to be in the next: all that it has.
    Transfer {
        /// The view.
        view: u64,
        /// How much it has delivered, by member.
        counts: Counts,
        /// What of it others may lack: what the receiver is to flush.
        messages: Vec<Data>,
        /// Its user's state.
        state: Bytes,
    },
}

#[derive(Serialize, Deserialize)]
enum Head {
    Within,
    Join {
        view: u64,
    },
    Transfer {
        view: u64,
        counts: Counts,
        state: u64,
    },
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Within(message) => {
                wire::put_head(&Head::Within, out);
                message.encode(out);
            }
            Message::Join { view } => wire::put_head(&Head::Join { view: *view }, out),
            Message::Transfer {
                view,
                counts,
                messages,
                state,
            } => {
                let head = Head::Transfer {
                    view: *view,
                    counts: counts.clone(),
                    state: state.len() as u64,
                };
                wire::put_head(&head, out);
                out.extend_from_slice(state);
                put_messages(messages, out);
            }
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(match wire::take_head(&mut bytes)? {
            Head::Within => Message::Within(messages::Message::decode(bytes)?),
            Head::Join { view } if bytes.is_empty() => Message::Join { view },
            Head::Join { .. } => return Err(Undecodable),
            Head::Transfer {
                view,
                counts,
                state,
            } => {
                let length = usize::try_from(state).map_err(|_| Undecodable)?;
                if length > bytes.len() {
                    return Err(Undecodable);
                }
                let state = bytes.split_to(length);
                let messages = take_messages(bytes)?;
                Message::Transfer {
                    view,
                    counts,
                    messages,
                    state,
                }
            }
        })
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        match self {
            Message::Within(message) => message.observe(),
            Message::Join { view } => Observation::internal("Join").instance(*view),
            Message::Transfer {
                view,
                messages,
                state,
                ..
            } => Observation::internal("Transfer")
                .instance(*view)
                .digest(fold(digest(state), digest_of(messages))),
        }
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
            messages: Vec::new(),
            state: Bytes::from_static(b"all that there is"),
        };
        let flush = messages::Message::Flush {
            view: 3,
            messages: Vec::new(),
        };
        for message in [transfer, Message::Join { view: 9 }, Message::Within(flush)] {
            assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
        }
    }

    #[test]
    fn a_state_longer_than_the_message_is_refused() {
        let head = Head::Transfer {
            view: 1,
            counts: Vec::new(),
            state: u64::MAX,
        };
        let mut bytes = BytesMut::new();
        wire::put_head(&head, &mut bytes);
        assert_eq!(Message::decode(bytes.freeze()), Err(Undecodable));
    }
}
