//! Group membership: the processes agree on who has crashed, view by view.
//!
//! - **GMP1 monotonicity** (safety): the views that a process installs have increasing identifiers, and
//!   each is contained in the one before.
//! - **GMP2 uniform agreement** (safety): views with the same identifier have the same members.
//! - **GMP3 completeness** (liveness): a process that crashes is eventually outside the view of every
//!   correct process.
//! - **GMP4 accuracy** (safety): a process is outside an installed view only if it has crashed before.
use quorate_core::{Observation, Observe, ProcessSet};

/// A view. The first one, with the identifier 0, has all processes; it is indicated like any other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// Its identifier, counted from 0.
    pub id: u64,
    pub members: ProcessSet,
}

/// An observation of a view carries the identifier as the instance, and the members as the digest (only those
/// of rank up to 64).
impl Observe for View {
    fn observe(&self) -> Observation {
        Observation::indication("View")
            .instance(self.id)
            .digest(self.members.low_bits())
    }
}
