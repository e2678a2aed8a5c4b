//! The messages of primary views.
use crate::messages::{self, Counts, Data, digest_of, put_messages, take_messages};
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Incarnation, Observation, Observe,
    message::{digest, fold},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// What a process has delivered in a view, in which it delivers nothing more before the next one is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flush {
    /// From a copy of a member: which start of the process it is. None: from a member.
    pub copy: Option<Incarnation>,
    /// How much, by member.
    pub counts: Counts,
    /// What of it others may lack, in the order of its senders and numbers.
    pub messages: Vec<Data>,
}

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Within a view.
    Within(messages::Message),
    /// From a member of this view, or from who wants to be in the next one, to its members.
    Flush {
        /// The view.
        view: u64,
        /// What the sender has delivered.
        flush: Flush,
    },
    /// From who is outside the view with this identifier and wants to be in the next, to its members.
    Join {
        /// The view.
        view: u64,
    },
    /// From who is outside of the view with this identifier, which lists it, to its members.
    Outside {
        /// The view.
        view: u64,
    },
    /// From a member of this view whose user does not give its state, to the others.
    Declines {
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
    Flush {
        view: u64,
        copy: Option<Incarnation>,
        counts: Counts,
    },
    Join {
        view: u64,
    },
    Outside {
        view: u64,
    },
    Declines {
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
            Message::Flush { view, flush } => {
                let head = Head::Flush {
                    view: *view,
                    copy: flush.copy,
                    counts: flush.counts.clone(),
                };
                wire::put_head(&head, out);
                put_messages(&flush.messages, out);
            }
            Message::Join { view } => wire::put_head(&Head::Join { view: *view }, out),
            Message::Outside { view } => wire::put_head(&Head::Outside { view: *view }, out),
            Message::Declines { view } => wire::put_head(&Head::Declines { view: *view }, out),
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
            Head::Flush { view, copy, counts } => {
                let messages = take_messages(bytes)?;
                let flush = Flush {
                    copy,
                    counts,
                    messages,
                };
                Message::Flush { view, flush }
            }
            Head::Join { view } if bytes.is_empty() => Message::Join { view },
            Head::Outside { view } if bytes.is_empty() => Message::Outside { view },
            Head::Declines { view } if bytes.is_empty() => Message::Declines { view },
            Head::Join { .. } | Head::Outside { .. } | Head::Declines { .. } => {
                return Err(Undecodable);
            }
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
            Message::Flush { view, flush } => Observation::internal("Flush")
                .instance(*view)
                .digest(digest_of(&flush.messages)),
            Message::Join { view } => Observation::internal("Join").instance(*view),
            Message::Outside { view } => Observation::internal("Outside").instance(*view),
            Message::Declines { view } => Observation::internal("Declines").instance(*view),
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
        let stable = messages::Message::Stable {
            view: 3,
            counts: vec![(p, 4)],
        };
        let flush = |copy| Message::Flush {
            view: 3,
            flush: Flush {
                copy,
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
            flush(None),
            flush(Some(Incarnation(1 << 60))),
        ];
        for message in all {
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
