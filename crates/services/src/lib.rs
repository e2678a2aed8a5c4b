//! Deterministic state machines over total order.
//!
//! A service is a function of the sequence of messages that total-order broadcast delivers: no
//! clock, no randomness, no input of its own. Replicas that applied the same prefix are equal.
//!
//! | module | service |
//! |---|---|
//! | [`kv`] | a key-value store with the commands of the Redis string family |
//! | [`log`] | the running hash of what was delivered, by which replicas compare their prefixes |
pub mod kv;
pub mod log;
