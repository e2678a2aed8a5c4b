//! How a state is carried: chunks one way, acknowledgements the other, on a lane of their own, so that
//! messages of the protocol do not wait behind them.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Observation, Observe,
    message::{digest, fold},
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// Which state it is: as of which point of the order, and the how-manieth of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// The epoch.
    pub(super) epoch: u64,
    /// Up to this instance, decisions are applied.
    pub(super) applied: u64,
    /// The sender's number.
    pub(super) ticket: u64,
}

/// A message of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chunk {
    /// A chunk of a state. The first is the protocol's own part of it, the last is empty.
    Chunk {
        /// Of which state.
        transfer: Transfer,
        /// Its place, counted from 0.
        number: u64,
        /// Whether it is the last one.
        last: bool,
        /// The digest of all chunks up to this one.
        digest: u64,
        /// The chunk.
        bytes: Bytes,
    },
    /// The chunks up to this one have been taken.
    Took {
        /// Of which state.
        transfer: Transfer,
        /// The place of the last one.
        up_to: u64,
    },
    /// The state is not wanted any more.
    Enough {
        /// Which one.
        transfer: Transfer,
    },
}

/// The digest of all chunks up to this one, where `before` is that of those before it.
pub(super) fn digest_on(before: u64, chunk: &[u8]) -> u64 {
    fold(before, digest(chunk))
}

#[derive(Serialize, Deserialize)]
enum Head {
    Chunk(Transfer, u64, bool, u64),
    Took(Transfer, u64),
    Enough(Transfer),
}

impl Wire for Chunk {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Chunk::Chunk {
                transfer,
                number,
                last,
                digest,
                bytes,
            } => {
                wire::put_head(&Head::Chunk(*transfer, *number, *last, *digest), out);
                out.extend_from_slice(bytes);
            }
            Chunk::Took { transfer, up_to } => {
                wire::put_head(&Head::Took(*transfer, *up_to), out);
            }
            Chunk::Enough { transfer } => wire::put_head(&Head::Enough(*transfer), out),
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let message = match wire::take_head(&mut bytes)? {
            Head::Chunk(transfer, number, last, digest) => {
                return Ok(Chunk::Chunk {
                    transfer,
                    number,
                    last,
                    digest,
                    bytes,
                });
            }
            Head::Took(transfer, up_to) => Chunk::Took { transfer, up_to },
            Head::Enough(transfer) => Chunk::Enough { transfer },
        };
        bytes.is_empty().then_some(message).ok_or(Undecodable)
    }
}

impl Observe for Chunk {
    fn observe(&self) -> Observation {
        match self {
            Chunk::Chunk { number, digest, .. } => Observation::internal("Chunk")
                .instance(*number)
                .digest(*digest),
            Chunk::Took { up_to, .. } => Observation::internal("Took").instance(*up_to),
            Chunk::Enough { .. } => Observation::internal("Enough"),
        }
    }
}
