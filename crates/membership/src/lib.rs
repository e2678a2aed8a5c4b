//! Group membership and view synchrony: one algorithm per file, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`group`] | group membership | uniform consensus, P | any number of crashes |
//! | [`by_consensus`] | view synchrony, also uniform | best-effort broadcast, uniform consensus, P | any number of crashes |
//! | [`by_terminating`] | view synchrony | group membership, terminating and best-effort broadcast | any number of crashes |
//! | [`primary`] | view synchrony, with joins | links, uniform consensus, ◇P | f < n/2 |

pub mod by_consensus;
pub mod by_terminating;
pub mod group;
pub mod messages;
pub mod primary;
#[cfg(test)]
mod testing;
mod within;
