//! Uniform consensus, in many instances.
//!
//! - **UC1 validity** (safety): what is decided was proposed in that instance.
//! - **UC2 uniform agreement** (safety): no two processes decide differently in an instance.
//! - **UC3 integrity** (safety): a process decides at most once in an instance.
//! - **UC4 termination** (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it.
use bytes::Bytes;
use quorate_core::{Observation, Observe, message::digest};

/// Requests agreement on a value: at most one proposal an instance and process counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Propose {
    /// The instance, counted from 1.
    pub instance: u64,
    /// The value, opaque.
    pub value: Bytes,
}

/// Indicates the decision of an instance, in whatever order instances end; also to a process that
/// did not propose in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decide {
    /// The instance.
    pub instance: u64,
    /// The value.
    pub value: Bytes,
}

impl Observe for Propose {
    fn observe(&self) -> Observation {
        Observation::request("Propose")
            .instance(self.instance)
            .digest(digest(&self.value))
    }
}

impl Observe for Decide {
    fn observe(&self) -> Observation {
        Observation::indication("Decide")
            .instance(self.instance)
            .digest(digest(&self.value))
    }
}
