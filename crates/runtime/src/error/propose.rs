//! What can go wrong with instances of consensus and atomic commit.
use super::Error;

/// The reason why a proposal or a vote is not made in an instance, or why its decision is unknown: see
/// [`Proposer`](crate::Proposer) and [`Voter`](crate::Voter).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This process has proposed, or voted, in this undecided instance before.
    #[error("a second request in instance {instance}")]
    RequestedTwice { instance: u64 },
    /// The instance was decided so long ago that its decision is forgotten. Also given for the number 0,
    /// which is no instance.
    #[error("instance {instance} is over")]
    InstanceOver { instance: u64 },
    /// The instance is too far above the oldest one that is undecided here.
    #[error("instance {instance} is too far ahead: now at most {most}")]
    InstanceTooFar {
        instance: u64,
        /// The highest instance that is accepted at present.
        most: u64,
    },
    /// The consensus agrees on a bit, and the value is neither `false` nor `true`.
    #[error("this consensus agrees on a bit: propose `false` or `true`")]
    NotABit,
    /// The decision is not of the expected type: some process proposes another type.
    #[error(
        "the decision of instance {instance} is undecodable: another process proposes another type"
    )]
    UndecodableDecision { instance: u64 },
    /// Any request can fail with this error.
    #[error(transparent)]
    Failed(#[from] Error),
}
