//! Every algorithm with its model, properties and costs, and the stacks that are built of them.
//!
//! - [`algorithms`]: the entries.
//! - [`broadcasts`]: the broadcasts that a node can be asked for by name.
//! - [`scenario`]: stacks, workloads and adversaries, from a seed.
//! - [`twins`]: broken algorithms, for the checkers to catch.
//! - [`stack`]: the wiring of whole stacks, the same for every host.

pub mod algorithms;
pub mod broadcasts;
pub mod scenario;
pub mod stack;
pub mod twins;
