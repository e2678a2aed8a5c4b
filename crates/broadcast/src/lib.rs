//! Broadcasts: one algorithm per file, each over the interfaces of the layers below it.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`best_effort`] | best-effort | perfect links | – |
//! | [`eager`] | regular reliable | best-effort | any number of crashes |
//! | [`lazy`] | regular reliable | perfect links, ◇P | any number of crashes |
//! | [`all_ack`] | uniform reliable | best-effort, P | any number of crashes |
//! | [`majority_ack`] | uniform reliable | perfect links | f < n/2 |
//! | [`textbook_majority_ack`] | uniform reliable, as printed | best-effort | f < n/2 |
//! | [`first_in_first_out`] | first-in first-out, regular or uniform | reliable or uniform | what that survives |
//! | [`causal_past`] | causal, regular or uniform, for short runs | reliable or uniform | what that survives |
//! | [`causal_collected`] | causal, regular or uniform | reliable or uniform; P | what they survive |
//! | [`causal_waiting`] | causal, regular or uniform | reliable or uniform | what that survives |
//! | [`by_leader`] | uniform total order | perfect links, Ω | f < n/2 |
//! | [`by_consensus`] | uniform total order | uniform reliable, uniform consensus | what they survive |
//! | [`primary_backup`] | uniform total order | perfect links, P | any number of crashes |
//! | [`by_consensus_on_messages`] | regular total order | regular reliable, regular consensus | what they survive |
//! | [`terminating`] | terminating reliable | best-effort, consensus, P | what they survive |

pub mod all_ack;
pub mod best_effort;
pub mod by_consensus;
pub mod by_consensus_on_messages;
pub mod by_leader;
mod causal;
pub mod causal_collected;
pub mod causal_past;
pub mod causal_waiting;
pub mod data;
pub mod eager;
pub mod first_in_first_out;
pub mod lazy;
pub mod majority_ack;
mod ordering;
pub mod primary_backup;
pub mod terminating;
#[cfg(test)]
mod testing;
pub mod textbook_majority_ack;
