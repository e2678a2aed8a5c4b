//! Deterministic state machines over total order.
//!
//! A service is a function of the sequence of messages that total-order broadcast delivers: no
//! clock, no randomness, no input of its own. Replicas that applied the same prefix are equal.
//!
//! | module | service |
//! |---|---|
//! | [`kv`] | a key-value store with the commands of the Redis string family |
//! | [`once`] | decisions, each taken once by the first proposal in the order |
//! | [`locks`] | locks with fencing tokens, and the values that they guard |
//! | [`log`] | the running hash of what was delivered, by which replicas compare their prefixes |
//! | [`machine`] | all of them in one: what a replica keeps |
//!
//! The machine gives its state [in chunks](machine::View) and [takes it](machine::Restoring): that is how a
//! replica that lost its memory gets one.
pub mod kv;
pub mod locks;
pub mod log;
pub mod machine;
pub mod once;
mod ordered;
