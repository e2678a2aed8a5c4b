//! Consensus: one algorithm a file, each for many instances, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`hierarchical`] | regular consensus | best-effort broadcast, P | any number of crashes |
//! | [`uniform_hierarchical`] | uniform consensus | best-effort broadcast, P | any number of crashes |
//! | [`rotating`] | uniform consensus | links, reliable broadcast, ◇P | f < n/2 |

pub mod hierarchical;
pub mod hierarchy;
pub mod rotating;
#[cfg(test)]
mod testing;
pub mod uniform_hierarchical;
