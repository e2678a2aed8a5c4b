//! The eventually perfect failure detector ◇P.
//!
//! - **EPFD1 strong completeness** (liveness): a process that crashes is eventually suspected for
//!   ever by every correct process.
//! - **EPFD2 eventual strong accuracy** (liveness): eventually no correct process is suspected by a
//!   correct one.
//!
//! A process that announces that it is about to stop counts as crashed, and may be suspected at once.
//!
//! An algorithm that needs the perfect detector does not compile on this one.
use quorate_core::{Observation, Observe, ProcessId, ProcessSet, message::fold};
use std::time::Duration;

/// A change of the set of suspected processes, which is empty at first. A new subscriber is told of
/// every process that is suspected at that time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indication {
    /// This process is suspected now.
    Suspect(ProcessId),
    /// This process is suspected no longer.
    Restore(ProcessId),
}

impl Indication {
    /// Brings the subscriber's copy of the suspected set up to date.
    pub fn apply(self, suspected: &mut ProcessSet) {
        match self {
            Indication::Suspect(p) => suspected.insert(p),
            Indication::Restore(p) => suspected.remove(p),
        };
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        match self {
            Indication::Suspect(p) => Observation::indication("Suspect").peer(*p),
            Indication::Restore(p) => Observation::indication("Restore").peer(*p),
        }
    }
}

/// How long a process may be silent before it is suspected. The part above the floor decays over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeout {
    /// The part that stays until one of the two processes is restarted.
    pub floor: Duration,
    /// The part that decays during a time without false suspicions.
    pub excess: Duration,
}

impl Timeout {
    /// The timeout in effect: the sum of both parts.
    pub fn total(self) -> Duration {
        self.floor.saturating_add(self.excess)
    }
}

/// The timeout of this process has changed. A new subscriber is told the timeout of every other process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowed {
    pub process: ProcessId,
    pub timeout: Timeout,
}

impl Observe for Allowed {
    fn observe(&self) -> Observation {
        let total = self.timeout.total().as_nanos() as u64;
        Observation::internal("Allowed")
            .peer(self.process)
            .digest(total)
    }
}

/// The state of the detector at one time. A new subscriber is told the present state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    pub suspected: ProcessSet,
    /// The processes that are known to be cut off: they reach less than a majority of all processes in both
    /// directions. A process knows this of itself; it knows it of others from their heartbeats, as long as it
    /// hears them.
    pub cut_off: ProcessSet,
    /// The processes that are about to stop and no longer needed, because a majority remains. They are
    /// suspected, except this process itself.
    pub leaving: ProcessSet,
}

impl Observe for Reach {
    fn observe(&self) -> Observation {
        let sets = [self.suspected, self.cut_off].map(ProcessSet::low_bits);
        let digest = match self.leaving.low_bits() {
            0 => fold(sets[0], sets[1]),
            leaving => fold(fold(sets[0], sets[1]), leaving),
        };
        Observation::internal("Reach").digest(digest)
    }
}
