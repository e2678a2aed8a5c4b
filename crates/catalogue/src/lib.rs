//! Every algorithm with its model, properties, costs and broken twins, and the stacks built of them.
//!
//! - [`algorithm`]: what an entry says; [`algorithms`]: the entries.
//! - [`site`]: on what the entries are wired in the simulator.
//! - [`broadcasts`]: the broadcasts that a node can be asked for by name.
//! - [`agreements`]: so with consensus and atomic commit.
//! - [`quorum_system`]: shared memory and consensus over a quorum system that is given.
//! - [`views`]: the view synchronies that a node can be asked for by name.
//! - [`handles`]: by which handle of the library an algorithm is reached.
//! - [`scenario`]: stacks, workloads and adversaries, from a seed.
//! - [`matrix`]: every algorithm under every fault.
//! - [`document`]: the texts that are generated from the entries.
//! - [`stack`]: the wiring of whole stacks, the same for every host.

pub mod agreements;
pub mod algorithm;
pub mod algorithms;
pub mod broadcasts;
pub mod document;
pub mod gaps;
pub mod handles;
mod journal;
pub mod matrix;
pub mod quorum_system;
pub mod registers;
pub mod scenario;
pub mod site;
pub mod stack;
pub mod views;
