//! View synchronisation: each process enters numbered views by itself, and stays in them longer and longer.
//! In the end all are in the same view for as long as they need.
//!
//! - **VS-ORD order** (safety): each process enters views in ascending order, 1, 2, 3 …, each at most once.
//!   It may skip views to catch up.
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

/// Requests that the process, if it is in an earlier view, enter this view at once, because another process
/// was heard in it.
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

/// The user's interface to the views of a process.
#[derive(Clone)]
pub struct Views {
    /// Tells of each view that the process enters. A new subscriber is told the present view.
    pub entered: Subscribe<Enter>,
    /// Takes the views in which the user has heard other processes.
    pub catch_up: Addr<CatchUp>,
}
