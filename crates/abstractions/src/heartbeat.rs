//! Signs of life: sent outside the windows of the links, lost without harm.
//!
//! The network may be cut in one direction, or between some processes and not others: a process may be heard
//! and hear nobody, or hear others and not be heard. With its heartbeats each process lists the processes
//! that it does not hear, so that those learn that they are not heard. It also says whether, according to the
//! lists of others, it reaches a majority. A process that is about to stop says so, and the others confirm
//! that they know.
use quorate_core::{Observation, Observe, ProcessId, ProcessSet, message::fold};

/// What is requested, and what is indicated.
pub type Port = (Beat, Heard);

/// Requests one heartbeat to every other process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beat {
    /// The processes that this process does not hear.
    pub unheard: ProcessSet,
    /// Whether the processes that it hears and that hear it, itself included, are less than a majority.
    pub cut_off: bool,
    /// The processes that are about to stop, as far as this process knows, itself included.
    pub leaving: ProcessSet,
}

impl Beat {
    /// The digest that observations show of the heartbeat.
    pub fn digest(self) -> u64 {
        let hears = fold(self.unheard.low_bits(), self.cut_off.into());
        match self.leaving.low_bits() {
            0 => hears,
            leaving => fold(hears, leaving),
        }
    }
}

/// Indicates that any frame arrived from the incarnation of a process that takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    pub from: ProcessId,
    /// The latest heartbeat of that process. If there was none yet, an empty one.
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
