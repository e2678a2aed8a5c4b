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
    Ballots {
        /// Those of which configuration.
        configuration: u64,
        /// What they say.
        message: ballots::Message<Cut>,
    },
    /// From the leader: everybody holds this, and has decided so far.
    Stable {
        /// In which configuration.
        configuration: u64,
        /// For each origin, up to which batch.
        held: Cut,
        /// Up to which instance.
        decided: u64,
    },
    /// From one who lacks the state: it is wanted.
    Join {
        /// The incarnation that wants it.
        incarnation: Incarnation,
        /// Whether it came after another, so that it has a place only where it was put in its slot.
        is_newcomer: bool,
    },
    /// A piece of the state, for a newcomer.
    State {
        /// Which answer of the sender this is of.
        ticket: u64,
        /// The place of the piece, counted from 0.
        part: u64,
        /// How many pieces there are.
        parts: u64,
        /// The piece.
        piece: Bytes,
    },
}

/// Where a newcomer begins: what comes before the user's state in the pieces put together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// How many replacements there were.
    pub(super) configuration: u64,
    /// Who has the first ballot.
    pub(super) leader: ProcessId,
    /// Up to this instance, decisions are applied.
    pub(super) applied: u64,
    /// The newcomers that hold slots, each with how many held it before.
    pub(super) newcomers: Vec<(Origin, u64)>,
    /// Each origin with how many of its batches, and how many messages, are ordered.
    pub(super) streams: Vec<(Origin, u64, u64)>,
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data(MessageId),
    Lacks(Cut),
    Ballots(u64, ballots::Message<Cut>),
    Join(Incarnation, bool),
    State(u64, u64, u64),
    Stable(u64, Cut, u64),
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data { id, batch } => {
                wire::put_head(&Head::Data(*id), out);
                out.extend_from_slice(batch);
            }
            Message::Lacks { held } => wire::put_head(&Head::Lacks(held.clone()), out),
            Message::Ballots {
                configuration,
                message,
            } => wire::put_head(&Head::Ballots(*configuration, message.clone()), out),
            Message::Stable {
                configuration,
                held,
                decided,
            } => wire::put_head(&Head::Stable(*configuration, held.clone(), *decided), out),
            Message::Join {
                incarnation,
                is_newcomer,
            } => wire::put_head(&Head::Join(*incarnation, *is_newcomer), out),
            Message::State {
                ticket,
                part,
                parts,
                piece,
            } => {
                wire::put_head(&Head::State(*ticket, *part, *parts), out);
                out.extend_from_slice(piece);
            }
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let message = match wire::take_head(&mut bytes)? {
            Head::Data(id) => return Ok(Message::Data { id, batch: bytes }),
            Head::Lacks(held) => Message::Lacks { held },
            Head::Ballots(configuration, message) => Message::Ballots {
                configuration,
                message,
            },
            Head::Join(incarnation, is_newcomer) => Message::Join {
                incarnation,
                is_newcomer,
            },
            Head::Stable(configuration, held, decided) => Message::Stable {
                configuration,
                held,
                decided,
            },
            Head::State(ticket, part, parts) => {
                return Ok(Message::State {
                    ticket,
                    part,
                    parts,
                    piece: bytes,
                });
            }
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
            Message::Ballots { message, .. } => message.observe(),
            Message::Stable { decided, .. } => Observation::internal("Stable").instance(*decided),
            Message::Join { .. } => Observation::internal("Join"),
            Message::State { ticket, piece, .. } => Observation::internal("State")
                .instance(*ticket)
                .digest(digest(piece)),
        }
    }
}
