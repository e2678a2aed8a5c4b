//! What can go wrong for the user of a node, by what was asked.
//!
//! | type | what was asked |
//! |---|---|
//! | [`StartError`] | to declare a module on the builder, or to start the node |
//! | [`StreamError`] | the next item of a stream |
//! | [`ProposeError`] | to propose or to vote in an instance, or its decision |
//! | [`MemoryError`] | an operation on registers, a snapshot, lattice agreement or quorum access |
//! | [`SubmitError`](crate::SubmitError) | to apply a command to a replicated machine, or to set an ordered register |
//! | [`LockError`](crate::LockError) | a lock, or a value that it guards |
//! | [`CompareError`](crate::CompareError) | to set an ordered register of an expected version |
//! | [`TryBroadcastError`](crate::TryBroadcastError) | to broadcast at once or not at all |
//! | [`TrySendError`](crate::TrySendError) | to send at once or not at all |
//! | [`TryRequestError`](crate::TryRequestError) | to request at once or not at all |
//! | [`Error`] | any other request to a handle, or to the node |
//!
//! Any request can fail with an [`Error`]. The other error types of a running node have a variant that
//! holds one, and `?` converts an [`Error`] into them.
mod memory;
mod propose;
mod start;
mod stream;

pub use memory::MemoryError;
pub use propose::ProposeError;
pub use start::StartError;
pub use stream::StreamError;

use quorate_abstractions::perfect::NeedsPerfect;
use quorate_core::ProcessId;

/// What can go wrong with a request to a handle, or to the node itself.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node has not been started yet.
    #[error("the node has not started")]
    NotStarted,
    /// The node has stopped, or is stopping: the message was not broadcast, and nothing was begun.
    #[error("the node has stopped")]
    Stopped,
    /// The node stopped after the message was broadcast and before it was delivered here; or after an
    /// operation on shared memory began and before it returned. Or this process has
    /// [skipped](StreamError::Skipped) the message, and does not know whether others have delivered it.
    #[error(
        "outcome unknown: the message was skipped here, or the node stopped before it was delivered, or the operation returned"
    )]
    OutcomeUnknown,
    /// Some own messages were not delivered within the drain time.
    #[error("stopped with {pending} own messages not delivered, outcome unknown")]
    NotDrained {
        /// The number of own messages that were not delivered.
        pending: u64,
    },
    /// This process was started again, and this module has no place for a process that has lost its memory:
    /// the others go on without it. The request was not begun.
    #[error("this process was started again: the others go on without it here")]
    StartedAgain,
    /// A state that was transferred to this process cannot be read: the others run another program. The
    /// node has stopped.
    #[error("the state that came cannot be read: do all processes run the same program?")]
    UnreadableState,
    /// Too many others cannot talk to this process, because modules, programs, versions or clusters differ.
    /// This process may still be admitted, once those others run the right program.
    #[error("{by} cannot talk to this process, and without it too few are left: {reason}")]
    Refused {
        /// One of those that cannot.
        by: ProcessId,
        reason: String,
    },
    /// The others know this process under another incarnation: it may not take part.
    #[error("excluded by {by}: {reason}")]
    Excluded {
        /// The process that said so.
        by: ProcessId,
        reason: String,
    },
    /// The system was [assumed to be synchronous](crate::Builder::assume_synchronous) and was not: another
    /// process has reported this one as crashed, for ever. This process has stopped, as if it had crashed.
    #[error("{by} has reported this process as crashed: the system was not synchronous")]
    ReportedCrashed {
        /// The process that made the report.
        by: ProcessId,
    },
    /// This process has asked to leave the group, in which nobody joins again: the message was not broadcast.
    #[error("this process leaves the group")]
    Leaves,
    /// An algorithm panicked.
    #[error("the protocol thread panicked in {0}")]
    Panicked(String),
    /// There is no such process to send to.
    #[error("{process} is not among the {n} peers")]
    NotMember {
        process: ProcessId,
        /// How many peers there are.
        n: usize,
    },
    /// The system is not assumed to be synchronous, so that there is no perfect failure detector.
    #[error("{0}: see `assume_synchronous`")]
    NeedsPerfect(#[from] NeedsPerfect),
    /// The message is longer than messages may be.
    #[error("a message of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// The length of the encoded message, in bytes.
        size: usize,
        /// The longest allowed, in bytes.
        limit: usize,
    },
    /// The codec does not support the message's type, or this value of it: the encoded value could not be
    /// decoded.
    #[error("the codec does not support the message's type")]
    Unencodable,
}
