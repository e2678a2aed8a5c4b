//! Uniform reliable broadcast.
//!
//! - **URB1 validity** (liveness): a correct process that broadcasts m delivers m, as does every correct
//!   process.
//! - **URB2 no duplication** (safety). **URB3 no creation** (safety).
//! - **URB4 uniform agreement** (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made, and deliveries
//! carry that number: messages are told apart by it, never by content.
use crate::reliable;
use quorate_core::{Addr, Layer};

crate::numbered::numbered_broadcast!();

/// A uniform broadcast promises all that a regular one does, and may stand in for it.
pub fn as_reliable(uniform: impl Layer<Port>) -> impl Layer<reliable::Port> {
    move |up: Addr<reliable::Deliver>| {
        let requests = uniform
            .attach(up.with(|Deliver { id, payload }: Deliver| reliable::Deliver { id, payload }));
        requests.with(|reliable::Broadcast { payload }: reliable::Broadcast| Broadcast { payload })
    }
}
