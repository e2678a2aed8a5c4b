//! View synchronisation: processes enter numbered views, each by itself, and stay in them longer and
//! longer, so that in the end they are in the same one for as long as is needed.
//!
//! - **VS-ORD order** (safety): each process enters the views 1, 2, 3 … in this order, each once.
//! - **VS-OVL overlap** (liveness): for each duration there is a view from which on all correct processes
//!   are in the same view together for that long, once their clocks run alike.
use quorate_core::{Observation, Observe};

/// The process has entered a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enter {
    /// Its number, counted from 1.
    pub view: u64,
}

impl Observe for Enter {
    fn observe(&self) -> Observation {
        Observation::indication("Enter").instance(self.view)
    }
}
