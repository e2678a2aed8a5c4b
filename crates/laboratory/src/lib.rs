//! Every algorithm with its model, properties, costs and mutants, and the code that runs it against an
//! adversary.
//!
//! - [`algorithm`]: what an entry says; [`model`]: what it assumes; [`algorithms`]: the entries.
//! - [`failure_models`]: under which failures, beside crashes, they are judged, and where properties are known to fall.
//! - [`wiring`]: on what the entries are wired in the simulator.
//! - [`handles`]: by which handle of the library an algorithm is reached.
//! - [`scenario`]: stacks, workloads and adversaries, from a seed.
//! - [`rounds`]: the entries of algorithms in synchronous rounds, and what runs them.
//! - [`matrix`]: every algorithm under every fault.
//! - [`checkers`]: which mutant violates which part of which property.
//! - [`document`]: the texts that are generated from the entries.
//!
//! No deployed crate depends on it: the stacks that a node runs are in `quorate-stacks`.

pub mod algorithm;
pub mod algorithms;
pub mod checkers;
pub mod document;
pub mod failure_models;
pub mod gaps;
pub mod handles;
mod journal;
pub mod matrix;
pub mod model;
pub mod rounds;
pub mod scenario;
pub mod wiring;
