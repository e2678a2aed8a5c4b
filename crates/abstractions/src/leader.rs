//! The eventual leader detector Ω.
//!
//! - **ELD1 eventual accuracy** (liveness): eventually every correct process trusts some correct
//!   process for ever.
//! - **ELD2 eventual agreement** (liveness): eventually no two correct processes trust different
//!   ones.
use quorate_core::{Observation, Observe, ProcessId};

/// From now on this process is trusted to lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trust(pub ProcessId);

impl Observe for Trust {
    fn observe(&self) -> Observation {
        Observation::indication("Trust").peer(self.0)
    }
}
