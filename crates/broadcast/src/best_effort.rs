//! Best-effort broadcast: send to everybody.
//!
//! # Promises
//! - BEB1 validity (liveness): if p and q are correct, q delivers what p broadcasts.
//! - BEB2 no duplication (safety). BEB3 no creation (safety).
//!
//! # Assumes
//! Perfect links. A gap is not repaired: BEB1 holds for what arrives within a stream, and the users
//! at both ends are told of the gap.
//!
//! # Cost
//! n − 1 messages (k, if the sender crashes after k sends), one step. It has no state, and so is no actor but
//! a function of the wiring.
//!
//! # Why it holds
//! Each property is the link's own.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.2, “Basic Broadcast”.
use quorate_abstractions::{
    best_effort::{Broadcast, Deliver, Port},
    link,
};
use quorate_core::{Addr, Layer, wire::Wire};

/// Best-effort broadcast over a lane.
pub fn over<M: Wire>(lane: impl Layer<link::Port<M>>) -> impl Layer<Port<M>> {
    move |up: Addr<Deliver<M>>| {
        let send = lane.attach(up.with(|delivery: link::Deliver<M>| delivery.into()));
        send.with(|request: Broadcast<M>| request.into())
    }
}

#[cfg(test)]
mod tests;
