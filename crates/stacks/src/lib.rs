//! Stacks by their names: the stacks that a node can be asked for, the same for every host.
//!
//! - [`broadcasts`], [`agreements`], [`registers`], [`views`]: broadcasts, consensus and atomic commit,
//!   registers, and view synchronies, each by its name; [`needs`]: what they need to know of crashes.
//! - [`quorum_system`]: shared memory and consensus over a quorum system that is given.
//! - [`rounds`]: consensus and terminating broadcast in synchronous rounds.
//! - [`stack`]: the wiring of whole stacks.

#[cfg(feature = "agreement")]
pub mod agreements;
#[cfg(feature = "broadcast")]
pub mod broadcasts;
pub mod needs;
#[cfg(feature = "shared-memory")]
pub mod quorum_system;
#[cfg(feature = "shared-memory")]
pub mod registers;
#[cfg(feature = "rounds")]
pub mod rounds;
#[cfg(feature = "broadcast")]
pub mod stack;
#[cfg(feature = "membership")]
pub mod views;
