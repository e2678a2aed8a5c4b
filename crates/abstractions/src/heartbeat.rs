//! Signs of life: sent outside the windows of the links, lost without harm.
//!
//! A process can be heard and hear nobody: the network may be cut one way. It says so with its
//! heartbeats, since nobody else can know.
use quorate_core::{Observation, Observe, ProcessId};

/// Requests one heartbeat to every other process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beat {
    /// Whether this process hears less than a majority, itself included.
    pub deaf: bool,
}

/// Indicates that anything at all was heard of the incarnation of a process that takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The process.
    pub from: ProcessId,
    /// Whether it says, in the latest of its heartbeats, that it hears less than a majority.
    pub deaf: bool,
}

impl Heard {
    /// A sign of life of a process that hears a majority.
    pub fn of(from: ProcessId) -> Self {
        Heard { from, deaf: false }
    }
}

impl Observe for Beat {
    fn observe(&self) -> Observation {
        Observation::internal("Beat").digest(self.deaf.into())
    }
}

impl Observe for Heard {
    fn observe(&self) -> Observation {
        let heard = Observation::internal("Heard").peer(self.from);
        heard.digest(self.deaf.into())
    }
}
