//! Fair-loss links whose edge tells where datagrams come from, and can be told where they go.
//!
//! They promise what [`fair_loss`] links promise. An address proves nothing: everybody can write any address as
//! the source of a datagram. Edges that do not tell offer [`fair_loss`] alone; [`over`] makes this port of it.
use crate::fair_loss;
use bytes::Bytes;
use quorate_core::{Addr, Layer, Observation, Observe, ProcessId, message::digest};
use std::net::SocketAddr;

/// What is requested, and what is indicated.
pub type Port = (Transmit, Indication);

/// Where a process is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Path {
    /// At its address in the list of members, or where the edge does not tell.
    #[default]
    Listed,
    /// At another one.
    Address(SocketAddr),
}

/// Where datagrams came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The edge does not tell.
    Unknown,
    /// This address, which is that of a process in the list of members, or of none.
    Address(SocketAddr, Option<ProcessId>),
}

impl Source {
    /// Where `p` is, if these datagrams are from it.
    pub fn path(self, p: ProcessId) -> Path {
        match self {
            Source::Unknown => Path::Listed,
            Source::Address(_, Some(listed)) if listed == p => Path::Listed,
            Source::Address(address, _) => Path::Address(address),
        }
    }
}

impl From<Path> for Source {
    /// A datagram of whoever is there.
    fn from(path: Path) -> Self {
        match path {
            Path::Listed => Source::Unknown,
            Path::Address(address) => Source::Address(address, None),
        }
    }
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
        source: Source,
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
                source: Source::Unknown,
                bytes,
                segment,
            },
            fair_loss::Indication::Reopened(p) => Indication::Reopened(p),
        }
    }
}

impl From<Indication> for fair_loss::Indication {
    fn from(indication: Indication) -> Self {
        match indication {
            Indication::Arrive { bytes, segment, .. } => {
                fair_loss::Indication::Arrive { bytes, segment }
            }
            Indication::Reopened(p) => fair_loss::Indication::Reopened(p),
        }
    }
}

impl From<fair_loss::Transmit> for Transmit {
    fn from(fair_loss::Transmit { to, bytes, segment }: fair_loss::Transmit) -> Self {
        Transmit {
            to,
            path: Path::Listed,
            bytes,
            segment,
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

/// The port over an edge that does not tell: every datagram goes to the address in the list of members.
pub fn over(edge: impl Layer<fair_loss::Port>) -> impl Layer<Port> {
    move |up: Addr<Indication>| -> Addr<Transmit> {
        edge.attach(up.with(Indication::from))
            .with(fair_loss::Transmit::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::process::ProcessId;

    #[test]
    fn an_address_is_the_listed_one_of_one_process_alone() {
        let p = |rank| ProcessId::from_rank(rank).expect("ranks begin at 1");
        let address = SocketAddr::from(([10, 0, 0, 3], 7100));
        let of_p3 = Source::Address(address, Some(p(3)));
        assert_eq!(of_p3.path(p(3)), Path::Listed);
        // Who claims another seat there is elsewhere.
        assert_eq!(of_p3.path(p(1)), Path::Address(address));
        let of_nobody = Source::Address(address, None);
        assert_eq!(of_nobody.path(p(3)), Path::Address(address));
        assert_eq!(Source::Unknown.path(p(1)), Path::Listed);
    }
}
