//! Group membership and view synchrony: one algorithm a file, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`group`] | group membership | uniform consensus, P | any number of crashes |
//! | [`by_consensus`] | view synchrony | best-effort broadcast, uniform consensus, P | any number of crashes |
//! | [`by_terminating`] | view synchrony | group membership, terminating and best-effort broadcast | any number of crashes |

pub mod by_consensus;
pub mod by_terminating;
pub mod group;
pub mod messages;
#[cfg(test)]
mod testing;
mod within;
