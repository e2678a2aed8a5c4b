//! The messages of view synchrony over consensus, and the values that are agreed on.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    MessageId, Observation, Observe, ProcessId, ProcessSet,
    message::{digest, fold},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// By member: the number of the last of its messages in a view that a process has delivered.
pub type Counts = Vec<(ProcessId, u64)>;

/// A message that was broadcast in a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// The message's number among its sender's broadcasts in the view.
    pub number: u64,
    /// The origin of the broadcast, and its sequence number.
    pub id: MessageId,
    pub payload: Bytes,
}

/// The messages between members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A broadcast in this view.
    Data {
        view: u64,
        /// The message.
        data: Data,
    },
    /// The sender's deliveries in this view.
    Stable {
        view: u64,
        /// The number of deliveries, by member.
        counts: Counts,
    },
    /// The sender delivers nothing more in this view before the next one is decided. Contains the messages
    /// that it has delivered and that others may lack.
    Flush {
        view: u64,
        /// Whether the sender leaves: the next view is to be without it.
        leaves: bool,
        /// The messages, in the order of their senders and numbers.
        messages: Vec<Data>,
    },
}

impl Message {
    /// The view that it belongs to.
    pub fn view(&self) -> u64 {
        match self {
            Message::Data { view, .. }
            | Message::Stable { view, .. }
            | Message::Flush { view, .. } => *view,
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data {
        view: u64,
        number: u64,
        id: MessageId,
    },
    Stable {
        view: u64,
        counts: Counts,
    },
    Flush {
        view: u64,
    },
    LeavingFlush {
        view: u64,
    },
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data { view, data } => {
                let (view, number, id) = (*view, data.number, data.id);
                wire::put_head(&Head::Data { view, number, id }, out);
                out.extend_from_slice(&data.payload);
            }
            Message::Stable { view, counts } => {
                let (view, counts) = (*view, counts.clone());
                wire::put_head(&Head::Stable { view, counts }, out);
            }
            Message::Flush {
                view,
                leaves,
                messages,
            } => {
                let view = *view;
                let head = if *leaves {
                    Head::LeavingFlush { view }
                } else {
                    Head::Flush { view }
                };
                wire::put_head(&head, out);
                put_messages(messages, out);
            }
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(match wire::take_head(&mut bytes)? {
            Head::Data { view, number, id } => {
                let payload = bytes;
                let data = Data {
                    number,
                    id,
                    payload,
                };
                Message::Data { view, data }
            }
            Head::Stable { view, counts } if bytes.is_empty() => Message::Stable { view, counts },
            Head::Stable { .. } => return Err(Undecodable),
            Head::Flush { view } => Message::Flush {
                view,
                leaves: false,
                messages: take_messages(bytes)?,
            },
            Head::LeavingFlush { view } => Message::Flush {
                view,
                leaves: true,
                messages: take_messages(bytes)?,
            },
        })
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        match self {
            Message::Data { view, data } => Observation::internal("Data")
                .instance(*view)
                .message(data.id)
                .digest(digest(&data.payload)),
            Message::Stable { view, counts } => {
                let counts = counts.iter();
                let content =
                    counts.fold(0, |hash, (p, count)| fold(hash ^ p.index() as u64, *count));
                Observation::internal("Stable")
                    .instance(*view)
                    .digest(content)
            }
            Message::Flush {
                view,
                leaves,
                messages,
            } => Observation::internal(if *leaves { "LeavingFlush" } else { "Flush" })
                .instance(*view)
                .digest(digest_of(messages)),
        }
    }
}

/// The digest of a list of messages, for observers.
pub(crate) fn digest_of(messages: &[Data]) -> u64 {
    messages.iter().fold(messages.len() as u64, |hash, data| {
        let origin = data.id.origin.process.index() as u64;
        fold(fold(hash, origin), data.id.sequence)
    })
}

/// Appends messages, to the end of the encoding.
pub(crate) fn put_messages(messages: &[Data], out: &mut BytesMut) {
    for data in messages {
        wire::put_head(&(data.number, data.id), out);
        wire::put_number(data.payload.len() as u64, out);
        out.extend_from_slice(&data.payload);
    }
}

/// Takes messages, up to the end of the encoding. The payloads are copied, because they are kept longer than
/// the buffer that they arrived in.
pub(crate) fn take_messages(mut bytes: Bytes) -> Result<Vec<Data>, Undecodable> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (number, id) = wire::take_head(&mut bytes)?;
        let length = wire::take_number(&mut bytes)?;
        let length = usize::try_from(length).map_err(|_| Undecodable)?;
        if length > bytes.len() {
            return Err(Undecodable);
        }
        let payload = Bytes::copy_from_slice(&bytes.split_to(length));
        messages.push(Data {
            number,
            id,
            payload,
        });
    }
    Ok(messages)
}

/// The value of consensus: the next view, and the messages that its members deliver before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The members of the next view.
    pub members: ProcessSet,
    /// Every message of the present view that some of them have delivered and that others may lack.
    pub messages: Vec<Data>,
}

impl Wire for Decision {
    fn encode(&self, out: &mut BytesMut) {
        let members: Vec<_> = self.members.iter().collect();
        wire::put_head(&members, out);
        put_messages(&self.messages, out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let members: Vec<ProcessId> = wire::take_head(&mut bytes)?;
        Ok(Decision {
            members: members.into_iter().collect(),
            messages: take_messages(bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Incarnation, message::Origin};
    use quorate_sim::testing::p;

    fn data(rank: usize, number: u64) -> Data {
        let process = p(rank);
        let incarnation = Incarnation(7);
        let origin = Origin {
            process,
            incarnation,
        };
        let sequence = number + 3;
        let payload = Bytes::from(vec![number as u8; rank]);
        let id = MessageId { origin, sequence };
        Data {
            number,
            id,
            payload,
        }
    }

    #[test]
    fn messages_survive_the_wire() {
        let messages = vec![data(1, 1), data(1, 2), data(3, 9)];
        let (view, counts) = (4, vec![(p(1), 2), (p(3), 9)]);
        let all = [
            Message::Data {
                view,
                data: data(2, 5),
            },
            Message::Stable { view, counts },
            Message::Flush {
                view,
                leaves: false,
                messages: messages.clone(),
            },
            Message::Flush {
                view,
                leaves: true,
                messages: messages.clone(),
            },
        ];
        for message in all {
            assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
        }
        let decision = Decision {
            members: [p(1), p(3)].into_iter().collect(),
            messages,
        };
        let bytes = wire::encode(&decision);
        assert_eq!(Decision::decode(bytes.clone()), Ok(decision));
        let cut_short = bytes.slice(..bytes.len() - 1);
        assert_eq!(Decision::decode(cut_short), Err(Undecodable));
    }
}
