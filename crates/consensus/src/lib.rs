//! Consensus: one algorithm a file, each for many instances, over the interfaces of the layers below.
//!
//! - [`rotating`]: uniform consensus by a rotating coordinator, over ◇P, f < n/2.

pub mod rotating;
