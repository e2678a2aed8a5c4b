//! Uniform reliable broadcast by majority acknowledgement, as the textbook prints it.
//!
//! # Promises
//! - URB1 validity (liveness): a correct process delivers its own broadcasts.
//! - URB2 no duplication (safety). URB3 no creation (safety).
//! - URB4 uniform agreement (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//!
//! # Assumes
//! Best-effort broadcast; f < n/2 crashes; no failure detector. No origin is more than 2²⁰ broadcasts ahead
//! of what a correct process has delivered from it; messages beyond that are refused, and messages that are
//! so far behind are given up. A gap is not repaired: URB1 and URB4 hold over a gap if a majority's relays
//! come all the same.
//!
//! # Messages
//! `Data(id, payload)`, from the origin, and from each process at its first sight of the message → everybody.
//! It also says that the sender holds the payload.
//!
//! # Cost
//! Failure-free n(n−1) messages, each with the payload, and 2 steps (1 at the receivers if n ≤ 3); with a
//! dead process (n−1)², 2 steps; the sender crashing after k ≥ 1 sends, k + (n−1)². Memory: the messages that
//! are not yet delivered, and the delivered identifiers as watermarks.
//!
//! # Why it holds
//! A process delivers only once a majority has relayed the message. Some member of that majority is
//! correct; its relay reaches every correct process, each of which relays in turn, so that every correct
//! process hears of a majority (the correct ones) and delivers.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.4, “Majority-Ack Uniform Reliable Broadcast”. Deviations: messages are known by identifier, not
//! content; a delivered message is no longer pending, and its later copies are dropped; messages that are too
//! far ahead are refused. [`majority_ack`](crate::majority_ack) does the same with fewer bytes: it sends only
//! the identifier to processes that hold the payload, and sends again what a gap may have taken.
use crate::data::{Data, Numbering, forget_given_up};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort,
    uniform::{self, Broadcast, Deliver},
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, ProcessId, ProcessSet, ports, watermark::WatermarkSet,
};
use std::collections::BTreeMap;

/// A message that was seen and is not delivered yet.
struct Pending {
    payload: Bytes,
    /// Processes that have relayed the message.
    ack: ProcessSet,
}

/// The textbook's majority-ack uniform reliable broadcast.
pub struct TextbookMajorityAck {
    numbering: Numbering,
    /// How many must have relayed a message before it is delivered.
    quorum: usize,
    pending: BTreeMap<MessageId, Pending>,
    delivered: WatermarkSet,
}

ports! {
    offers uniform::Port => Broadcast -> Deliver;
    uses best_effort: best_effort::Port<Data> => BestEffort;

    /// Starts the textbook's majority-ack broadcast over best-effort broadcast.
    pub fn spawn(host) = TextbookMajorityAck::new(host, host.processes().majority());

    /// Starts a mutant that delivers once `quorum` processes have relayed a message.
    #[cfg(any(test, feature = "mutants"))]
    pub fn spawn_mutant(host, quorum: usize) = TextbookMajorityAck::new(host, quorum);
}

impl Algorithm for TextbookMajorityAck {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                self.upon_data(from, message, ctx);
            }
        }
    }
}

impl TextbookMajorityAck {
    fn new(host: &impl Host, quorum: usize) -> Self {
        TextbookMajorityAck {
            numbering: Numbering::new(host),
            quorum,
            pending: BTreeMap::new(),
            delivered: WatermarkSet::default(),
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let data = self.numbering.number(payload);
        self.see(&data);
        ctx.trigger(Effect::BestEffort(best_effort::Broadcast(data)));
    }

    /// Each copy shows that its sender has the message; the first one is relayed.
    fn upon_data(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        let id = data.id;
        if let Err(reason) = self.numbering.check(id, &mut self.delivered) {
            return ctx.count(reason);
        }
        forget_given_up(&mut self.pending, id.origin, &self.delivered);
        if self.delivered.contains(id) {
            return;
        }
        if self.see(&data) {
            ctx.trigger(Effect::BestEffort(best_effort::Broadcast(data)));
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.ack.insert(from);
        }
        self.upon_deliverable(id, ctx);
    }

    /// Upon a pending message that a majority has relayed: deliver it.
    fn upon_deliverable(&mut self, id: MessageId, ctx: &mut Ctx<Self>) {
        if self.can_deliver(id)
            && let Some(Pending { payload, .. }) = self.pending.remove(&id)
        {
            self.delivered.insert(id);
            ctx.trigger(Effect::Deliver(Deliver { id, payload }));
        }
    }

    fn can_deliver(&self, id: MessageId) -> bool {
        let pending = self.pending.get(&id);
        pending.is_some_and(|pending| pending.ack.len() >= self.quorum)
    }

    /// Marks the message as pending. Returns whether it was not pending before.
    fn see(&mut self, data: &Data) -> bool {
        let is_new = !self.pending.contains_key(&data.id);
        if is_new {
            let (payload, ack) = (data.payload.clone(), ProcessSet::EMPTY);
            self.pending.insert(data.id, Pending { payload, ack });
        }
        is_new
    }
}

#[cfg(test)]
mod tests;
