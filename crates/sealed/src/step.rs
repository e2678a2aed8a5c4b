//! What one event gives, and what it may use.
use crate::keys::Identity;
use bytes::Bytes;
use quorate_abstractions::addressed::Path;
use quorate_core::{Incarnation, ProcessId, Random, Time};

/// What leaves the state machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Datagrams for the edge, concatenated.
    Transmit {
        to: ProcessId,
        path: Path,
        bytes: Bytes,
        segment: usize,
    },
    /// A datagram for the layer above, which this process has sealed.
    Deliver { from: ProcessId, bytes: Bytes },
    /// There is a session with this start of the peer.
    Begun {
        peer: ProcessId,
        incarnation: Incarnation,
        identity: Identity,
    },
    /// The session with this peer has ended, because its identity is no longer listed.
    Ended(ProcessId),
    /// Somebody in the place of this peer is no party to a handshake, or refuses to be.
    Stranger {
        peer: ProcessId,
        path: Path,
        why: Strangeness,
    },
    /// Transmissions for this peer were lost before there was a session.
    Reopened(ProcessId),
    /// The peer has shown that it is at this address now.
    Moved { peer: ProcessId, path: Path },
}

/// Why a handshake is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Strangeness {
    /// Its sender does not know this process's identity, and has another one listed, or none.
    ForAnother,
    /// Its sender has agreed on something else: it belongs to another cluster, or speaks another version.
    OtherContext,
    /// Its sender has an identity that is not listed for the seat.
    UnlistedIdentity,
    /// It is this process's own, and is refused by somebody who does not have the peer's secret, or has another identity
    /// listed for this process.
    OtherIdentity,
}

/// The time, the generator, and where outputs and counts go.
pub struct Step<'a> {
    pub now: Time,
    pub rng: &'a mut Random,
    pub outputs: &'a mut Vec<Output>,
    /// What was dropped, by reason.
    pub counts: &'a mut Vec<&'static str>,
}

impl Step<'_> {
    pub(crate) fn transmit(&mut self, to: ProcessId, path: Path, bytes: Bytes) {
        let segment = bytes.len();
        self.outputs.push(Output::Transmit {
            to,
            path,
            bytes,
            segment,
        });
    }

    pub(crate) fn count(&mut self, reason: &'static str) {
        self.counts.push(reason);
    }
}
