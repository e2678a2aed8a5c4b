//! Uniform total-order broadcast.
//!
//! - **TOB1 validity** (liveness), **TOB2 no duplication** (safety), **TOB3 no creation** (safety):
//!   as for uniform reliable broadcast.
//! - **TOB4 uniform agreement** (liveness): what any process delivers, every correct process delivers.
//! - **TOB5 uniform total order** (safety): of any two processes' delivery sequences, one is a prefix
//!   of the other.
//! - **FRB5 first-in first-out order** (safety), a stated extra: messages of one origin are delivered
//!   in the order in which they were broadcast.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made.
use bytes::Bytes;
use quorate_core::{
    MessageId, Observation, Observe,
    message::{Origin, digest, fold},
};

/// What is requested, and what is indicated.
pub type Port = (Broadcast, Deliver);

/// Requests a broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// The payload, opaque.
    pub payload: Bytes,
}

/// Indicates that consecutive messages of one origin come next in the total order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    /// The process, and its incarnation, that broadcast them.
    pub origin: Origin,
    /// The sequence number of the first message.
    pub first: u64,
    /// The payloads, in order. Empty if this process skips messages before `first`, and none follows yet.
    pub payloads: Vec<Bytes>,
}

impl Deliver {
    /// The identifier of the first message.
    pub fn first_id(&self) -> MessageId {
        MessageId {
            origin: self.origin,
            sequence: self.first,
        }
    }

    /// The messages with their identifiers, in order.
    pub fn messages(&self) -> impl Iterator<Item = (MessageId, &Bytes)> {
        (self.first..)
            .zip(&self.payloads)
            .map(|(sequence, payload)| {
                (
                    MessageId {
                        origin: self.origin,
                        sequence,
                    },
                    payload,
                )
            })
    }
}

impl Observe for Broadcast {
    fn observe(&self) -> Observation {
        Observation::request("Broadcast").digest(digest(&self.payload))
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        let content = self
            .payloads
            .iter()
            .fold(0, |hash, payload| fold(hash, digest(payload)));
        Observation::indication("Deliver")
            .message(self.first_id())
            .count(self.payloads.len() as u64)
            .digest(content)
    }
}
