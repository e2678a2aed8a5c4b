//! The port of an edge that tells where datagrams come from.
//!
//! Edges that do not tell offer [`fair_loss`] alone; [`over`] puts the sealed layer on them. There every datagram
//! goes to the address that the list of members has, wherever those of the peer come from.
use bytes::Bytes;
use quorate_abstractions::fair_loss;
use quorate_core::{Addr, Layer, Observation, Observe, ProcessId, message::digest};
use std::net::SocketAddr;

/// What is requested, and what is indicated.
pub type Port = (Transmit, Indication);

/// Where a datagram goes, or comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Path {
    /// The address in the list of members; or unknown, for a datagram whose edge does not tell.
    #[default]
    Listed,
    /// Another one.
    Address(SocketAddr),
}

/// Requests a transmission of datagrams to one process other than this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The receiver.
    pub to: ProcessId,
    pub path: Path,
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
        path: Path,
        bytes: Bytes,
        /// The length in bytes of each datagram except the last. Never zero.
        segment: usize,
    },
    /// The path to this process was interrupted and is open again.
    Reopened(ProcessId),
}

impl Observe for Transmit {
    fn observe(&self) -> Observation {
        let content = digest(&self.bytes);
        Observation::internal("Transmit")
            .peer(self.to)
            .digest(content)
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

impl From<fair_loss::Indication> for Indication {
    fn from(indication: fair_loss::Indication) -> Self {
        match indication {
            fair_loss::Indication::Arrive { bytes, segment } => Indication::Arrive {
                path: Path::Listed,
                bytes,
                segment,
            },
            fair_loss::Indication::Reopened(p) => Indication::Reopened(p),
        }
    }
}

impl From<Transmit> for fair_loss::Transmit {
    fn from(
        Transmit {
            to, bytes, segment, ..
        }: Transmit,
    ) -> Self {
        fair_loss::Transmit { to, bytes, segment }
    }
}

/// An edge that does not tell where datagrams come from.
pub fn over(edge: impl Layer<fair_loss::Port>) -> impl Layer<Port> {
    move |up: Addr<Indication>| -> Addr<Transmit> {
        edge.attach(up.with(Indication::from))
            .with(fair_loss::Transmit::from)
    }
}
