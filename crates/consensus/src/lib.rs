//! Consensus: one algorithm per file, each for many instances, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`hierarchical`] | regular consensus | best-effort broadcast, P | any number of crashes |
//! | [`uniform_hierarchical`] | uniform consensus | best-effort broadcast, P | any number of crashes |
//! | [`leader_driven`] | uniform consensus | links, Ω | f < n/2 |
//! | [`rotating`] | uniform consensus | links, reliable broadcast, ◇P | f < n/2 |
//! | [`randomised`] | uniform consensus on a bit | links alone | f < n/2 |
//! | [`by_quorums`] | uniform consensus | flooding, view synchronisation | what leaves quorums, also channels that fail in one direction |
//! | [`by_total_order`] | uniform consensus | uniform total order | what that survives |
//!
//! [`view_synchronizer`] provides the views for consensus by quorums.

pub mod ballots;
pub mod by_quorums;
pub mod by_total_order;
pub mod hierarchical;
pub mod hierarchy;
mod last_messages;
pub mod leader_driven;
pub mod randomised;
pub mod rotating;
#[cfg(test)]
mod testing;
pub mod uniform_hierarchical;
pub mod view_synchronizer;
