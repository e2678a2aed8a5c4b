//! The messages of the leader-driven total order, and how they are carried.
use crate::ordering::Cut;
use bytes::{Bytes, BytesMut};
use quorate_consensus::ballots;
use quorate_core::{
    Incarnation, MessageId, Observation, Observe, ProcessId,
    message::{Origin, digest},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A batch of requests, from its origin, or from a process that was asked for it.
    Data {
        /// The batch's origin, and its sequence number.
        id: MessageId,
        batch: Bytes,
    },
    /// The sender lacks batches of a decided or proposed cut, beyond those that it holds. Always answered
    /// with [`Found`](Message::Found).
    Lacks {
        /// The number of the request.
        request: u64,
        /// The cut up to which the sender holds everything.
        held: Cut,
        /// Set if the sender makes no progress: the last instance that it has decided.
        decided: Option<u64>,
        /// Whether the sender has dropped what it was sent, and wants it again.
        again: bool,
    },
    /// A part of the answer to a request.
    Found {
        request: u64,
        /// The place of the part, counted from 0, and how many there are.
        part: (u64, u64),
        /// Whether more of what is wanted is here than one answer may contain.
        more: bool,
        /// Whether some of what is wanted is no longer kept here.
        short: bool,
        /// A batch.
        found: Option<(MessageId, Bytes)>,
    },
    /// A message between leaders and acceptors.
    Ballots {
        epoch: u64,
        message: ballots::Message<Cut>,
    },
    /// From the leader: everybody holds this, and has decided up to this instance.
    Stable {
        epoch: u64,
        /// For each origin, the last batch that everybody holds.
        held: Cut,
        /// The last instance that everybody has decided.
        decided: u64,
    },
    /// The sender lacks the state and asks for it.
    Join {
        /// The incarnation that wants it.
        incarnation: Incarnation,
        /// Whether another incarnation held its seat before, so that it takes part only once it is put in the
        /// seat.
        is_newcomer: bool,
    },
    /// From a process that every state reaches too late: broadcast less for a while.
    Slower,
}

/// The first chunk of a state, which precedes the user's chunks: where its receiver begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The number of replacements so far.
    pub(super) epoch: u64,
    /// The process that has the first ballot.
    pub(super) leader: ProcessId,
    /// Decisions up to this instance are applied.
    pub(super) applied: u64,
    /// The newcomers that hold seats, each with the number of incarnations that held its seat before.
    pub(super) newcomers: Vec<(Origin, u64)>,
    /// Each origin with the number of its ordered batches, and of the messages in them.
    pub(super) streams: Vec<(Origin, u64, u64)>,
}

impl Message {
    /// The highest epoch or batch number in the message that its receiver relies on before it gets there
    /// itself; 0 if there is none.
    pub(super) fn highest(&self) -> u64 {
        match self {
            Message::Ballots { epoch, message } => {
                message.value().map_or(0, Cut::highest).max(*epoch)
            }
            Message::Stable { epoch, held, .. } => held.highest().max(*epoch),
            // A batch is checked when it gets its place; nothing is kept of the other messages.
            Message::Data { .. }
            | Message::Found { .. }
            | Message::Lacks { .. }
            | Message::Join { .. }
            | Message::Slower => 0,
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data(MessageId),
    Lacks(u64, Cut, Option<u64>, bool),
    Ballots(u64, ballots::Message<Cut>),
    Join(Incarnation, bool),
    Found(u64, (u64, u64), bool, bool, Option<MessageId>),
    Stable(u64, Cut, u64),
    Slower,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data { id, batch } => {
                wire::put_head(&Head::Data(*id), out);
                out.extend_from_slice(batch);
            }
            Message::Lacks {
                request,
                held,
                decided,
                again,
            } => wire::put_head(&Head::Lacks(*request, held.clone(), *decided, *again), out),
            Message::Found {
                request,
                part,
                more,
                short,
                found,
            } => {
                let id = found.as_ref().map(|(id, _)| *id);
                wire::put_head(&Head::Found(*request, *part, *more, *short, id), out);
                if let Some((_, batch)) = found {
                    out.extend_from_slice(batch);
                }
            }
            Message::Slower => wire::put_head(&Head::Slower, out),
            Message::Ballots { epoch, message } => {
                wire::put_head(&Head::Ballots(*epoch, message.clone()), out);
            }
            Message::Stable {
                epoch,
                held,
                decided,
            } => wire::put_head(&Head::Stable(*epoch, held.clone(), *decided), out),
            Message::Join {
                incarnation,
                is_newcomer,
            } => wire::put_head(&Head::Join(*incarnation, *is_newcomer), out),
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let message = match wire::take_head(&mut bytes)? {
            Head::Data(id) => return Ok(Message::Data { id, batch: bytes }),
            Head::Lacks(request, held, decided, again) => Message::Lacks {
                request,
                held,
                decided,
                again,
            },
            Head::Found(request, part, more, short, id) => {
                let batch = std::mem::take(&mut bytes);
                if id.is_none() && !batch.is_empty() {
                    return Err(Undecodable);
                }
                Message::Found {
                    request,
                    part,
                    more,
                    short,
                    found: id.map(|id| (id, batch)),
                }
            }
            Head::Slower => Message::Slower,
            Head::Ballots(epoch, message) => Message::Ballots { epoch, message },
            Head::Join(incarnation, is_newcomer) => Message::Join {
                incarnation,
                is_newcomer,
            },
            Head::Stable(epoch, held, decided) => Message::Stable {
                epoch,
                held,
                decided,
            },
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
            Message::Lacks { request, .. } => Observation::internal("Lacks").instance(*request),
            Message::Found { request, found, .. } => {
                let observation = Observation::internal("Found").instance(*request);
                match found {
                    Some((id, batch)) => observation.message(*id).digest(digest(batch)),
                    None => observation,
                }
            }
            Message::Slower => Observation::internal("Slower"),
            Message::Ballots { message, .. } => message.observe(),
            Message::Stable { decided, .. } => Observation::internal("Stable").instance(*decided),
            Message::Join { .. } => Observation::internal("Join"),
        }
    }
}
