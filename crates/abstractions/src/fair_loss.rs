//! Fair-loss links: the guarantees of a datagram socket, supplied by an edge of a host or a simulated
//! network.
//!
//! - **FLL1 fair loss** (liveness): what is sent infinitely often to a correct process is delivered
//!   infinitely often.
//! - **FLL2 finite duplication** (liveness): what is sent finitely often is delivered finitely often.
//! - **FLL3 no creation** (safety): what is delivered was sent.
//!
//! Each datagram names its sender; the link above must not trust that name.
use bytes::Bytes;
use quorate_core::{Observation, Observe, ProcessId, message::digest};

/// What is requested, and what is indicated.
pub type Port = (Transmit, Indication);

/// Requests a transmission of datagrams to one process other than this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The receiver.
    pub to: ProcessId,
    /// The datagrams, concatenated.
    pub bytes: Bytes,
    /// The length in bytes of each datagram except the last, which may be shorter. Never zero.
    pub segment: usize,
}

/// Indications of the edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// Datagrams arrived, concatenated. Each is `segment` bytes long except the last, which may be shorter.
    Arrive {
        bytes: Bytes,
        /// The length in bytes of each datagram except the last. Never zero.
        segment: usize,
    },
    /// The path to this process was interrupted and is open again: datagrams in flight are lost, and it is
    /// worth sending them again at once. A stream edge reports it when it has a new connection; either edge
    /// reports it when it has another address for the process.
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

/// The datagrams in `bytes`, each `segment` bytes long except the last.
pub fn datagrams(mut bytes: Bytes, segment: usize) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = segment.max(1).min(bytes.len());
        (length > 0).then(|| bytes.split_to(length))
    })
}
