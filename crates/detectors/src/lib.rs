//! Failure detectors.
//!
//! - [`exclude_on_timeout`]: the perfect detector P, by a timeout that follows from the bounds of a
//!   synchronous system.
//! - [`exclusion_notice`]: a live process that P reports is told so.
//! - [`first_incarnations`]: ◇P where processes are replaced, for modules without a place for
//!   newcomers.
//! - [`from_commit`]: P again, from non-blocking atomic commit between the processes of each pair, which is as hard
//!   as P.
//! - [`from_terminating`]: P again, from terminating reliable broadcast, which is as hard as P.
//! - [`increasing_timeout`]: the eventually perfect detector ◇P, by a timeout per peer that grows with every
//!   mistake and forgets most of it; it knows which processes are cut off from a majority.
//! - [`lowest_rank`]: the eventual leader Ω, the process of lowest rank that ◇P does not suspect, and that is
//!   not cut off.
//!
//! # P is not ◇P
//! What is proved with the one fails with the other, so that they have different types. An algorithm that
//! needs P does not compile on ◇P:
//!
//! ```compile_fail,E0308
//! use quorate_abstractions::{Subscribe, eventually_perfect, perfect};
//!
//! fn lazy_broadcast(_: &Subscribe<perfect::Crash>) {}
//!
//! fn wire(detector: &Subscribe<eventually_perfect::Indication>) {
//!     lazy_broadcast(detector);
//! }
//! ```
//!
//! nor one that needs ◇P on P:
//!
//! ```compile_fail,E0308
//! use quorate_abstractions::{Subscribe, eventually_perfect, perfect};
//!
//! fn rotating_consensus(_: &Subscribe<eventually_perfect::Indication>) {}
//!
//! fn wire(detector: &Subscribe<perfect::Crash>) {
//!     rotating_consensus(detector);
//! }
//! ```
//!
//! unless the code says so, which is sound in this direction alone:
//!
//! ```
//! use quorate_abstractions::{Subscribe, eventually_perfect, perfect};
//!
//! fn rotating_consensus(_: &Subscribe<eventually_perfect::Indication>) {}
//!
//! fn wire(detector: &Subscribe<perfect::Crash>) {
//!     rotating_consensus(&perfect::as_eventually_perfect(detector));
//! }
//! ```

pub mod exclude_on_timeout;
pub mod exclusion_notice;
pub mod first_incarnations;
pub mod from_commit;
pub mod from_terminating;
pub mod increasing_timeout;
mod interval;
pub mod lowest_rank;

#[cfg(test)]
mod harness;
