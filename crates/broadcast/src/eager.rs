//! Regular reliable broadcast, eager: everybody relays every message once.
//!
//! # Promises
//! - RB1 validity (liveness): a correct process delivers its own broadcasts.
//! - RB2 no duplication (safety). RB3 no creation (safety).
//! - RB4 agreement (liveness): what some correct process delivers, every correct process delivers.
//!
//! # Assumes
//! Best-effort broadcast; any number of crashes; no failure detector. No origin is more than 2²⁰
//! broadcasts ahead of what a correct process has delivered of it: what lies beyond is refused. A
//! gap is not repaired, for nothing is remembered: RB4 holds where a relay comes another way, and
//! the users are told of the gap.
//!
//! # Messages
//! `Data(id, payload)`, from whoever first sees it → everybody.
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
    reliable::{Broadcast, Deliver},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, watermark::WatermarkSet,
};

/// Eager reliable broadcast.
pub struct Eager {
    numbering: Numbering,
    delivered: WatermarkSet,
}

/// What the algorithm reacts to.
#[derive(Debug)]
pub enum Event {
    /// A request from above.
    Broadcast(Broadcast),
    /// A message from below.
    BestEffort(best_effort::Deliver<Data>),
}

/// What the algorithm triggers.
#[derive(Debug)]
pub enum Effect {
    /// A request to the layer below.
    BestEffort(best_effort::Broadcast<Data>),
    /// An indication to the layer above.
    Deliver(Deliver),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Broadcast(request) => request.observe(),
            Event::BestEffort(indication) => indication.observe(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::BestEffort(request) => request.observe(),
            Effect::Deliver(indication) => indication.observe(),
        }
    }
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

/// Starts eager reliable broadcast over best-effort broadcast.
pub fn spawn<H: Host>(
    host: &H,
    best_effort: impl Layer<best_effort::Broadcast<Data>, best_effort::Deliver<Data>>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    spawn_as(host, Eager::new(host), best_effort, up)
}

/// The wiring, for any algorithm with these events and effects.
fn spawn_as<H: Host>(
    host: &H,
    algorithm: impl Algorithm<Event = Event, Effect = Effect>,
    best_effort: impl Layer<best_effort::Broadcast<Data>, best_effort::Deliver<Data>>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let below = best_effort.attach(mailbox.addr().with(Event::BestEffort));
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::BestEffort(request) => below.send(request),
        Effect::Deliver(indication) => up.send(indication),
    });
    requests
}

#[cfg(test)]
mod tests;
