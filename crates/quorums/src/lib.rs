//! Quorum systems, and access through quorums: where operations return although processes crash and
//! channels fail in one direction.
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | read and write quorums |
//! | [`flooding`] | messages that go round failed channels |

pub mod family;
pub mod flooding;

pub use family::{Family, Quorums};
