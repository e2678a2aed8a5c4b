//! What can go wrong with shared memory.
use super::Error;
use quorate_core::ProcessId;

/// Why an operation on shared memory is refused, or its outcome not known: on registers, atomic snapshots, lattice
/// agreement and quorum access.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Another process alone writes the registers.
    #[error("{writer} alone writes the registers")]
    NotWriter { writer: ProcessId },
    /// There are no larger timestamps: the register cannot be written any more.
    #[error("the timestamps of the register are used up")]
    Exhausted,
    /// What a register holds is no value of the expected type: some process writes another one.
    #[error("the value of register `{0}` is undecodable: another process writes another type")]
    UndecodableValue(String),
    /// What a process's segment of a snapshot holds is no value of the expected type.
    #[error("the segment of {of} is undecodable: it updates with another type")]
    UndecodableSegment { of: ProcessId },
    /// Messages carry all registers, and these would have more than the limit together: nothing was written.
    #[error(
        "the store is full: over a quorum system messages carry all of it, at most {limit} bytes"
    )]
    StoreFull {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The algorithm itself refuses the operation, because it has one of this process in flight that the handle
    /// knows nothing of: this one was not begun. Calls of the handle wait for each other, so that this is a fault
    /// of whoever else gives the algorithm requests.
    #[error(
        "the algorithm has an operation of this process in flight that the handle has not begun"
    )]
    Busy,
    /// What can go wrong with any request.
    #[error(transparent)]
    Failed(#[from] Error),
}
