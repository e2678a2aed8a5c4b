//! Quorum systems, and access through quorums: operations return although processes crash and channels fail
//! in one direction.
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | read and write quorums |
//! | [`system`] | which processes, and channels in one direction, may fail together; what then stays |
//! | [`file`](mod@file) | such systems in TOML |
//! | [`decision`] | whether there are quorums for such a system, or why not |
//! | [`report`](mod@report) | all of this in words |
//! | [`usable`] | the quorums of a file, for algorithms to use |
//! | [`draw`] | pictures of systems and quorums |
//! | [`example`] | the paper's example |
//! | [`classical`] | access that needs correct channels in both directions |
//! | [`flooding`] | messages that go round failed channels |
//! | [`generalized`] | access over flooding, where channels fail in one direction |
//! | [`marks`] | a state for tests and demonstrations |

pub mod classical;
pub mod decision;
pub mod draw;
pub mod example;
pub mod family;
#[cfg(feature = "files")]
pub mod file;
pub mod flooding;
pub mod generalized;
pub mod marks;
#[cfg(feature = "files")]
pub mod report;
pub mod system;
#[cfg(test)]
mod testing;
#[cfg(feature = "files")]
pub mod usable;

pub use family::{Family, Quorums};
