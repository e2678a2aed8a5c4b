//! Every algorithm with its model, properties and costs, and the stacks that are built of them.
//!
//! - [`algorithms`]: the entries.
//! - [`stack`]: the wiring of whole stacks, the same for every host.

pub mod algorithms;
pub mod stack;
