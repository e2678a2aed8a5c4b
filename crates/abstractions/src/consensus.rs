//! Uniform consensus, in many instances.
//!
//! - **UC1 validity** (safety): what is decided was proposed in that instance.
//! - **UC2 uniform agreement** (safety): no two processes decide differently in an instance.
//! - **UC3 integrity** (safety): a process decides at most once in an instance.
//! - **UC4 termination** (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it.
use crate::regular_consensus;
use quorate_core::{Addr, Layer};

crate::numbered::numbered_consensus!();

/// Uniform consensus promises all that the regular one does, and may stand in for it.
pub fn as_regular(uniform: impl Layer<Port>) -> impl Layer<regular_consensus::Port> {
    move |up: Addr<regular_consensus::Decide>| {
        let decided =
            |Decide { instance, value }: Decide| regular_consensus::Decide { instance, value };
        let proposed = |request: regular_consensus::Propose| {
            let regular_consensus::Propose { instance, value } = request;
            Propose { instance, value }
        };
        uniform.attach(up.with(decided)).with(proposed)
    }
}
