//! Lattice agreement: processes propose values of a join-semilattice, and what they decide can be
//! ordered.
//!
//! - **LA1 comparability** (safety): of two decisions, one is at most the other.
//! - **LA2 downward validity** (safety): what a process decides is at least what it proposed.
//! - **LA3 upward validity** (safety): what is decided is at most the join of what was proposed.
//! - **LA4 termination** (liveness): a correct process that proposes decides.
//!
//! Lattice agreement does not need consensus. A process proposes once, or, if an algorithm says so, again
//! after each decision: then LA1 applies to all decisions, and LA2 to all values that the process has
//! proposed so far.
use crate::lattice::Lattice;
use quorate_core::{Observation, Observe};

/// What is requested, and what is indicated.
pub type Port<L> = (Propose<L>, Indication<L>);

/// Proposes a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Propose<L> {
    /// The user's number for the proposal.
    pub operation: u64,
    pub value: L,
}

/// Indicates what became of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indication<L> {
    /// The proposal.
    pub operation: u64,
    /// How it ended.
    pub outcome: LatticeResponse<L>,
}

/// How a proposal ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LatticeResponse<L> {
    Decided(L),
    /// The proposal was not started, and has no effect.
    Refused(Refusal),
}

/// Why a proposal is not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A proposal of this process is in flight.
    #[error("a proposal of this process is in flight")]
    Busy,
    /// This process has proposed already, and may propose only once.
    #[error("this process has proposed already")]
    AlreadyProposed,
}

impl<L: Lattice> Observe for Propose<L> {
    fn observe(&self) -> Observation {
        Observation::request("Propose")
            .instance(self.operation)
            .digest(self.value.digest())
    }
}

impl<L: Lattice> Observe for Indication<L> {
    fn observe(&self) -> Observation {
        let observation = match &self.outcome {
            LatticeResponse::Decided(value) => {
                Observation::indication("Decide").digest(value.digest())
            }
            LatticeResponse::Refused(_) => Observation::indication("Refused"),
        };
        observation.instance(self.operation)
    }
}
