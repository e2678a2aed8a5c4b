//! Non-blocking atomic commit, in many instances.
//!
//! - **NBAC1 uniform agreement** (safety): no two processes decide differently in an instance.
//! - **NBAC2 termination** (liveness): if every correct process votes, every correct process decides.
//! - **NBAC3 commit validity** (safety): commit is decided only if every process voted yes.
//! - **NBAC4 abort validity** (safety): abort is decided only if some process voted no, or crashed
//!   before the decision.
//! - **NBAC5 integrity** (safety): a process decides at most once in an instance.
use quorate_core::{Observation, Observe};
use serde::{Deserialize, Serialize};

/// What is requested, and what is indicated.
pub type Port = (Propose, Decide);

/// A vote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Vote {
    /// This process can commit, and will do so if the decision is to commit.
    Yes,
    /// This process cannot commit.
    No,
}

/// A decision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// All processes commit.
    Commit,
    /// No process commits.
    Abort,
}

/// Requests agreement, with the vote of this process. Of each process, at most one vote counts in an
/// instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Propose {
    /// The instance, counted from 1.
    pub instance: u64,
    pub vote: Vote,
}

/// Indicates the decision of an instance, in whatever order instances end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decide {
    pub instance: u64,
    /// The decision.
    pub outcome: Outcome,
}

impl Observe for Propose {
    fn observe(&self) -> Observation {
        Observation::request("Propose")
            .instance(self.instance)
            .digest(u64::from(self.vote == Vote::Yes))
    }
}

impl Observe for Decide {
    fn observe(&self) -> Observation {
        Observation::indication("Decide")
            .instance(self.instance)
            .digest(u64::from(self.outcome == Outcome::Commit))
    }
}
