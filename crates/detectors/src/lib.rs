//! Failure detectors.
//!
//! - [`increasing_timeout`]: the eventually perfect detector ◇P, by a timeout a peer that grows with
//!   every mistake.
//! - [`lowest_rank`]: the eventual leader Ω, the process of lowest rank that ◇P does not suspect.

pub mod increasing_timeout;
pub mod lowest_rank;
