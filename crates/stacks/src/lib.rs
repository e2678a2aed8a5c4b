//! What a name stands for: the stacks that a node can be asked for, the same for every host.
//!
//! - [`broadcasts`], [`agreements`], [`registers`], [`views`]: broadcasts, consensus and atomic commit,
//!   registers, and view synchronies, each by its name.
//! - [`quorum_system`]: shared memory and consensus over a quorum system that is given.
//! - [`stack`]: the wiring of whole stacks.

pub mod agreements;
pub mod broadcasts;
pub mod quorum_system;
pub mod registers;
pub mod stack;
pub mod views;
