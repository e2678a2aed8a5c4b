//! Signs of life: sent outside the windows of the links, lost without harm.
use quorate_core::{Observation, Observe, ProcessId};

/// Requests one heartbeat to every other process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat;

/// Indicates that anything at all was heard of the incarnation of this process that takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard(pub ProcessId);

impl Observe for Beat {
    fn observe(&self) -> Observation {
        Observation::internal("Beat")
    }
}

impl Observe for Heard {
    fn observe(&self) -> Observation {
        Observation::internal("Heard").peer(self.0)
    }
}
