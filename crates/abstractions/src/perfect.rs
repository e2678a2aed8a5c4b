//! The perfect failure detector P, which only a synchronous system or an ideal object can supply.
//!
//! - **PFD1 strong completeness** (liveness): a process that crashes is eventually reported to every
//!   correct process.
//! - **PFD2 strong accuracy** (safety): no process is reported before it crashes.
//!
//! Messages that a process sent before its crash may still arrive after the report. An algorithm that
//! needs this detector does not compile on the eventually perfect one.
use crate::{Subscribe, eventually_perfect};
use quorate_core::{Addr, Observation, Observe, ProcessId};

/// This process has crashed. Indicated once for each process; a new subscriber is told of all crashes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crash(pub ProcessId);

impl Observe for Crash {
    fn observe(&self) -> Observation {
        Observation::indication("Crash").peer(self.0)
    }
}

/// What has this name needs the perfect failure detector, and there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` needs the perfect failure detector, which only a synchronous system has")]
pub struct NeedsPerfect(pub &'static str);

/// P promises all that ◇P does, and may stand in for it.
pub fn as_eventually_perfect(
    detector: &Subscribe<Crash>,
) -> Subscribe<eventually_perfect::Indication> {
    detector.with(|up: Addr<eventually_perfect::Indication>| {
        up.with(|Crash(p)| eventually_perfect::Indication::Suspect(p))
    })
}
