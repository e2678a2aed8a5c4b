//! Atomic commit: one algorithm per file, each for many instances, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`non_blocking`] | non-blocking atomic commit | best-effort broadcast, P, uniform consensus | any number of crashes |
//! | [`two_phase`] | atomic commit that may block | links, P | any number of crashes, but not of the coordinator |

pub mod non_blocking;
#[cfg(test)]
mod testing;
pub mod two_phase;
