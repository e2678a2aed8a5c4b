//! Signs of life: sent outside the windows of the links, lost without harm.
//!
//! The network may be cut in one direction, or between some and not between others: a process can be heard
//! and hear nobody, or hear and not be heard. Each says with its heartbeats whom it does not hear, so that the
//! others learn that they are not heard; and whether, from what it is told so, it reaches a majority. Who is about
//! to stop says so, and the others say that they know.
use quorate_core::{Observation, Observe, ProcessId, ProcessSet, message::fold};

/// What is requested, and what is indicated.
pub type Port = (Beat, Heard);

/// Requests one heartbeat to every other process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beat {
    /// Those that this process does not hear.
    pub unheard: ProcessSet,
    /// Whether those that it hears and that hear it are less than a majority, itself included.
    pub cut_off: bool,
    /// Those that are about to stop, as this process knows, itself included.
    pub leaving: ProcessSet,
}

impl Beat {
    /// What observations show of it.
    pub fn digest(self) -> u64 {
        let hears = fold(self.unheard.low_bits(), self.cut_off.into());
        match self.leaving.low_bits() {
            0 => hears,
            leaving => fold(hears, leaving),
        }
    }
}

/// Indicates that anything at all was heard of the incarnation of a process that takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    pub from: ProcessId,
    /// The latest of its heartbeats; one that says nothing if there was none yet.
    pub beat: Beat,
}

impl Heard {
    /// A sign of life of a process that hears everybody.
    pub fn of(from: ProcessId) -> Self {
        let beat = Beat::default();
        Heard { from, beat }
    }
}

impl Observe for Beat {
    fn observe(&self) -> Observation {
        Observation::internal("Beat").digest(self.digest())
    }
}

impl Observe for Heard {
    fn observe(&self) -> Observation {
        let heard = Observation::internal("Heard").peer(self.from);
        heard.digest(self.beat.digest())
    }
}
