//! Quorum systems, and access through quorums: where operations return although processes crash and
//! channels fail in one direction.
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | read and write quorums |

pub mod family;

pub use family::{Family, Quorums};
