//! Quorum systems, and access through quorums: where operations return although processes crash and
//! channels fail in one direction.
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | read and write quorums |
//! | [`classical`] | access that needs correct channels in both directions |
//! | [`flooding`] | messages that go round failed channels |
//! | [`generalized`] | access over flooding, where channels fail in one direction |
//! | [`marks`] | a state for tests and demonstrations |

pub mod classical;
pub mod family;
pub mod flooding;
pub mod generalized;
pub mod marks;
#[cfg(test)]
mod testing;

pub use family::{Family, Quorums};
