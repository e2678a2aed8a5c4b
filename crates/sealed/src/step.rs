//! What one event gives, and what it may use.
use crate::{edge::Path, keys::Identity};
use bytes::Bytes;
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
    /// Transmissions for this peer were lost before there was a session.
    Reopened(ProcessId),
    /// The peer has shown that it is at this address now.
    Moved { peer: ProcessId, path: Path },
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
