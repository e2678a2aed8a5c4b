//! Regular reliable broadcast, eager: everybody relays every message once.
//!
//! # Promises
//! - RB1 validity (liveness): a correct process delivers its own broadcasts.
//! - RB2 no duplication (safety). RB3 no creation (safety).
//! - RB4 agreement (liveness): what some correct process delivers, every correct process delivers.
//!
//! # Assumes
//! Best-effort broadcast; any number of crashes; no failure detector. No origin is more than 2²⁰ broadcasts
//! ahead of what a correct process has delivered from it; messages beyond that are refused. A gap is not
//! repaired, because no payloads are kept: RB4 holds if a relay comes another way, and the users are told of
//! the gap.
//!
//! # Messages
//! `Data(id, payload)`, from each process at its first sight of the message → everybody.
//!
//! # Cost
//! Failure-free n(n−1) messages and one step; with another process dead (n−1)²; the sender crashing
//! after k ≥ 1 sends, k + (n−1)². Memory: the delivered identifiers as watermarks.
//!
//! # Why it holds
//! A correct process that delivers has relayed, and its relay reaches every correct process (RB4).
//! The identifier is recorded before the delivery, so that there is no second one (RB2).
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.3, “Eager Reliable Broadcast”. Deviation: messages are known by identifier, not content.
use crate::data::{Data, Numbering};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort,
    reliable::{self, Broadcast, Deliver},
};
use quorate_core::{Algorithm, Ctx, Host, ports, watermark::WatermarkSet};

/// Eager reliable broadcast.
pub struct Eager {
    numbering: Numbering,
    delivered: WatermarkSet,
}

ports! {
    offers reliable::Port => Broadcast -> Deliver;
    uses best_effort: best_effort::Port<Data> => BestEffort;

    /// Starts eager reliable broadcast over best-effort broadcast.
    pub fn spawn(host) = Eager::new(host);
}

impl Algorithm for Eager {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::BestEffort(best_effort::Deliver { message, .. }) => self.upon_data(message, ctx),
        }
    }
}

impl Eager {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        Eager {
            numbering: Numbering::new(host),
            delivered: WatermarkSet::default(),
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let data = self.numbering.number(payload);
        ctx.trigger(Effect::BestEffort(best_effort::Broadcast(data)));
    }

    /// The first copy is relayed, then delivered. The origin has sent to everybody already.
    fn upon_data(&mut self, data: Data, ctx: &mut Ctx<Self>) {
        if let Err(reason) = self.numbering.check(data.id, &mut self.delivered) {
            return ctx.count(reason);
        }
        if !self.delivered.insert(data.id) {
            return;
        }
        if !self.numbering.is_mine(data.id) {
            ctx.trigger(Effect::BestEffort(best_effort::Broadcast(data.clone())));
        }
        let Data { id, payload } = data;
        ctx.trigger(Effect::Deliver(Deliver { id, payload }));
    }
}

#[cfg(test)]
mod tests;
