//! How a state is carried: chunks one way, acknowledgements the other, on a lane of their own, so that
//! protocol messages do not wait behind them.
use bytes::Bytes;
use quorate_core::{
    message::{digest, fold},
    messages,
};
use serde::{Deserialize, Serialize};

/// Identifies a state: the point of the order that it reaches, and its number at the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    pub(super) epoch: u64,
    /// Decisions up to this instance are applied.
    pub(super) applied: u64,
    /// The sender's number.
    pub(super) number: u64,
}

messages! {
    /// A message of a transfer.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum StateMessage {
        /// A chunk of a state. The first is the protocol's own part of it, the last is empty.
        Chunk {
            /// The state that the chunk belongs to.
            transfer: Transfer,
            /// Its place, counted from 0.
            number: u64,
            last: bool,
            /// The digest of all chunks up to this one.
            digest: u64;
            /// The chunk.
            bytes: Bytes
        } => instance(*number).digest(*digest),
        /// The chunks up to this one have been taken.
        Took {
            /// The state that the chunks belong to.
            transfer: Transfer,
            /// The place of the last one.
            up_to: u64
        } => instance(*up_to),
        /// The receiver does not want the state any more.
        Enough {
            transfer: Transfer
        },
    }
}

/// The digest of all chunks up to this one, where `before` is that of those before it.
pub(super) fn digest_on(before: u64, chunk: &[u8]) -> u64 {
    fold(before, digest(chunk))
}
