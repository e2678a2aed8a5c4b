//! Fair-loss links: what a datagram socket gives, and what an edge of a host or a simulated network
//! supplies.
//!
//! - **FLL1 fair loss** (liveness): what is sent infinitely often to a correct process is delivered
//!   infinitely often.
//! - **FLL2 finite duplication** (liveness): what is sent finitely often is delivered finitely often.
//! - **FLL3 no creation** (safety): what is delivered was sent.
//!
//! Who sent a datagram is for the datagram to say, and for the link above to doubt.
use bytes::Bytes;
use quorate_core::{Observation, Observe, ProcessId, message::digest};

/// What is requested, and what is indicated.
pub type Port = (Transmit, Indication);

/// Requests a transmission of datagrams to one process, which is not oneself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The receiver.
    pub to: ProcessId,
    /// The datagrams, one behind the other.
    pub bytes: Bytes,
    /// The length of each of them but the last, which may be shorter. Never zero.
    pub segment: usize,
}

/// Indications of the edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// Datagrams arrived, one behind the other, each `segment` long but the last, which may be
    /// shorter.
    Arrive {
        /// The datagrams.
        bytes: Bytes,
        /// The length of each but the last. Never zero.
        segment: usize,
    },
    /// The way to this process was interrupted and is open again: what was in flight is lost, and worth sending
    /// again at once. A stream edge knows it of its connections; either edge, when it has another address for the
    /// process.
    Reopened(ProcessId),
}

impl Observe for Transmit {
    fn observe(&self) -> Observation {
        Observation::internal("Transmit")
            .peer(self.to)
            .digest(digest(&self.bytes))
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        match self {
            Indication::Arrive { bytes, .. } => {
                Observation::internal("Arrive").digest(digest(bytes))
            }
            Indication::Reopened(p) => Observation::internal("Reopened").peer(*p),
        }
    }
}

/// The datagrams in `bytes`, each `segment` long but the last.
pub fn datagrams(mut bytes: Bytes, segment: usize) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = segment.max(1).min(bytes.len());
        (length > 0).then(|| bytes.split_to(length))
    })
}
