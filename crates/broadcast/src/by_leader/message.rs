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
    /// A batch of requests, from its origin, or from who was asked for it.
    Data {
        /// Whose batch it is, and its sequence number.
        id: MessageId,
        batch: Bytes,
    },
    /// Of the batches up to a decided or proposed cut some are missing beyond these. Answered with
    /// [`Found`](Message::Found), always.
    Lacks {
        /// The number of the request.
        request: u64,
        /// Up to where the sender holds everything.
        held: Cut,
        /// Where the sender gets no further: the instance up to which it has decided.
        decided: Option<u64>,
        /// Whether the sender has dropped what it was sent, so that it wants that again.
        again: bool,
    },
    /// A part of the answer to a request.
    Found {
        request: u64,
        /// The place of the part, counted from 0, and how many there are.
        part: (u64, u64),
        /// Whether there is more of it here than one answer holds.
        more: bool,
        /// Whether something of it is not kept here any more.
        short: bool,
        /// A batch.
        found: Option<(MessageId, Bytes)>,
    },
    /// Between leaders and acceptors.
    Ballots {
        epoch: u64,
        /// What they say.
        message: ballots::Message<Cut>,
    },
    /// From the leader: everybody holds this, and has decided so far.
    Stable {
        epoch: u64,
        /// For each origin, up to which batch.
        held: Cut,
        /// Up to which instance.
        decided: u64,
    },
    /// From one who lacks the state: it is wanted.
    Join {
        /// The incarnation that wants it.
        incarnation: Incarnation,
        /// Whether it came after another, so that it has a place only where it was put in its seat.
        is_newcomer: bool,
    },
    /// From one that every state reaches too late: broadcast less for a while.
    Slower,
}

/// Where one begins that is given a state: what comes before the chunks of the user's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// How many replacements there were.
    pub(super) epoch: u64,
    /// Who has the first ballot.
    pub(super) leader: ProcessId,
    /// Up to this instance, decisions are applied.
    pub(super) applied: u64,
    /// The newcomers that hold seats, each with how many held it before.
    pub(super) newcomers: Vec<(Origin, u64)>,
    /// Each origin with how many of its batches, and how many messages, are ordered.
    pub(super) streams: Vec<(Origin, u64, u64)>,
}

impl Message {
    /// The highest epoch, or number of a batch, in it that is believed before it is reached here.
    pub(super) fn highest(&self) -> u64 {
        match self {
            Message::Ballots { epoch, message } => {
                message.value().map_or(0, Cut::highest).max(*epoch)
            }
            Message::Stable { epoch, held, .. } => held.highest().max(*epoch),
            // A batch is looked at when it gets its place, of the others nothing is kept.
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
                wire::put_head(&Head::Ballots(*epoch, message.clone()), out)
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
