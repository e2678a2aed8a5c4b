//! Group membership: the processes agree on who has crashed or has left, view by view.
//!
//! - **GMP1 monotonicity** (safety): the views that a process installs have increasing identifiers, and
//!   each is contained in the one before.
//! - **GMP2 uniform agreement** (safety): views with the same identifier have the same members.
//! - **GMP3 completeness** (liveness): a process that crashes is eventually outside the view of every
//!   correct process that has not left.
//! - **GMP4 accuracy** (safety): a process is outside an installed view only if it has crashed before, or has
//!   asked to leave.
//! - **GMP5 leaving** (liveness): a correct process that asks to leave is told that it has left, and in the end
//!   it is in the view of no correct process.
//! - **GMP6 no return** (safety): a process is told that it has left only if it has asked, and only of a view
//!   without it; it installs no view after that.
use quorate_core::{Observation, Observe, ProcessSet};

/// What is requested, and what is indicated.
pub type Port = (Request, Indication);

/// What is requested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// This process asks to leave: to be in no further view.
    Leave,
}

/// What is indicated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indication {
    /// A view is installed.
    View(View),
    /// This process has left, as it has asked: the others go on with this view, which is without it. Nothing
    /// more is indicated.
    Left(View),
}

/// A view. The first one, with the identifier 0, has all processes; it is indicated like any other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Its identifier, counted from 0.
    pub id: u64,
    pub members: ProcessSet,
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        match self {
            Request::Leave => Observation::request("Leave"),
        }
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        match self {
            Indication::View(view) => view.observe(),
            Indication::Left(view) => view.observe_as("Left"),
        }
    }
}

/// An observation of a view carries the identifier as the instance, and the members as the digest (only those
/// of rank up to 64).
impl Observe for View {
    fn observe(&self) -> Observation {
        self.observe_as("View")
    }
}

impl View {
    fn observe_as(&self, label: &'static str) -> Observation {
        Observation::indication(label)
            .instance(self.id)
            .digest(self.members.low_bits())
    }
}
