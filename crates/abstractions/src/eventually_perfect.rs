//! The eventually perfect failure detector ◇P.
//!
//! - **EPFD1 strong completeness** (liveness): a process that crashes is eventually suspected for
//!   ever by every correct process.
//! - **EPFD2 eventual strong accuracy** (liveness): eventually no correct process is suspected by a
//!   correct one.
//!
//! Who says that it is about to stop is as good as crashed, and may be suspected at once.
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

/// How long a process may be silent before it is suspected. What is above the floor is forgotten again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeout {
    /// What stays for as long as neither process is started again.
    pub floor: Duration,
    /// What a while without mistakes takes back.
    pub excess: Duration,
}

impl Timeout {
    /// The timeout that counts: both parts.
    pub fn total(self) -> Duration {
        self.floor.saturating_add(self.excess)
    }
}

/// From now on the timeout of this process is this. A new subscriber is told of every other process.
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

/// All that is known at one time. A new subscriber is told the present state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    pub suspected: ProcessSet,
    /// Those that are known to be cut off: they reach less than a majority of all processes in both directions.
    /// Of itself a process knows, of others what they say while it hears them.
    pub cut_off: ProcessSet,
    /// Those that are about to stop and not needed any more, since a majority stays. They are suspected, but for
    /// this process.
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
