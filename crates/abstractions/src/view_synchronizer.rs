//! View synchronisation: processes enter numbered views, each by itself, and stay in them longer and
//! longer, so that in the end they are in the same one for as long as is needed.
//!
//! - **VS-ORD order** (safety): each process enters views in ascending order, each once at most: 1, 2, 3 …,
//!   but for those that it passes over to catch up.
//! - **VS-OVL overlap** (liveness): for each duration there is a view from which on all correct processes
//!   are in the same view together for that long, once their clocks run alike.
use crate::Subscribe;
use quorate_core::{Addr, Observation, Observe};

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

/// Requests that the process enter this view at once, if it is in an earlier one: another process was heard in
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatchUp {
    /// Its number.
    pub view: u64,
}

impl Observe for CatchUp {
    fn observe(&self) -> Observation {
        Observation::request("CatchUp").instance(self.view)
    }
}

/// The views of a process, as their user sees them.
#[derive(Clone)]
pub struct Views {
    /// Tells of each view that the process enters; a new subscriber of the present one.
    pub entered: Subscribe<Enter>,
    /// Where a user says which views others have been heard in.
    pub catch_up: Addr<CatchUp>,
}
