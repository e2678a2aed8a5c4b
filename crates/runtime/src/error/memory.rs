//! What can go wrong with shared memory.
use super::Error;
use quorate_core::ProcessId;

/// The reason why an operation on shared memory is refused, or has an unknown outcome: on registers, atomic
/// snapshots, lattice agreement and quorum access.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Only another process writes these registers.
    #[error("{writer} alone writes the registers")]
    NotWriter { writer: ProcessId },
    /// There are no larger timestamps: the register cannot be written any more.
    #[error("the timestamps of the register are used up")]
    Exhausted,
    /// The value of a register is not of the expected type: some process writes another type.
    #[error("the value of register `{0}` is undecodable: another process writes another type")]
    UndecodableValue(String),
    /// The value of a process's segment is not of the expected type.
    #[error("the segment of {of} is undecodable: it updates with another type")]
    UndecodableSegment { of: ProcessId },
    /// Each message carries all registers, and these would have more bytes together than the limit: nothing
    /// was written.
    #[error(
        "the store is full: over a quorum system messages carry all of it, at most {limit} bytes"
    )]
    StoreFull {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The algorithm refuses the operation, because it has an operation of this process in flight that the
    /// handle does not know: the refused one was not begun. Calls of the handle wait for each other, so
    /// some other code has sent requests to the algorithm.
    #[error(
        "the algorithm has an operation of this process in flight that the handle has not begun"
    )]
    Busy,
    /// Any request can fail with this error.
    #[error(transparent)]
    Failed(#[from] Error),
}
