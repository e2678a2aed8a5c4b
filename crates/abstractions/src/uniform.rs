//! Uniform reliable broadcast.
//!
//! - **URB1 validity** (liveness): a correct process that broadcasts m delivers m, as does every correct
//!   process.
//! - **URB2 no duplication** (safety). **URB3 no creation** (safety).
//! - **URB4 uniform agreement** (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made, and deliveries
//! carry that number: messages are told apart by it, never by content.
use bytes::Bytes;
use quorate_core::{MessageId, Observation, Observe, message::digest};

/// Requests a broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// The payload, opaque.
    pub payload: Bytes,
}

/// Indicates a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    /// Whose how-manieth broadcast this is.
    pub id: MessageId,
    /// The payload.
    pub payload: Bytes,
}

impl Observe for Broadcast {
    fn observe(&self) -> Observation {
        Observation::request("Broadcast").digest(digest(&self.payload))
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
            .message(self.id)
            .digest(digest(&self.payload))
    }
}
