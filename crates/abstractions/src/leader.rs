//! The eventual leader detector Ω.
//!
//! - **ELD1 eventual accuracy** (liveness): eventually every correct process trusts some correct
//!   process for ever.
//! - **ELD2 eventual agreement** (liveness): eventually no two correct processes trust different
//!   ones.
//!
//! If the detector knows which processes are cut off from a majority, it promises both if a majority is
//! correct. Then no process that is cut off begins to trust itself.
use quorate_core::{Observation, Observe, ProcessId};

/// From now on this process is trusted to lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trust(pub ProcessId);

impl Observe for Trust {
    fn observe(&self) -> Observation {
        Observation::indication("Trust").peer(self.0)
    }
}
