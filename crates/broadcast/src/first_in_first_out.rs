//! First-in first-out broadcast: holds messages back until it is their turn.
//!
//! # Promises
//! - FRB1–4: as RB1–4 of the reliable broadcast below; over a uniform one, as URB1–4.
//! - FRB5 first-in first-out order (safety): messages of one origin are delivered in the order in which
//!   they were broadcast, none left out.
//!
//! # Assumes
//! Reliable broadcast, or uniform through [`uniform::as_reliable`](quorate_abstractions::uniform), with no
//! other user: its numbers are those of the requests here. No origin is more than 2²⁰ broadcasts ahead of
//! what a correct process has delivered from it; messages beyond that are refused. If the layer below loses a
//! message in a gap, this process delivers nothing later from that origin, since none may be left out; the
//! user was told of the gap.
//!
//! # Messages
//! None of its own.
//!
//! # Cost
//! The messages of the layer below, and no step of its own. Memory: a number per origin, and the messages
//! that came before their turn: per origin at most 2²⁰ messages and 256 MiB. Beyond that, the origin's
//! deliveries end here, as in a gap. Messages that wait behind a gap stay in memory.
//!
//! # Why it holds
//! A message is delivered only directly after the previous one of its origin (FRB5). Of a correct origin, and
//! of any origin whose later message some correct process delivers (some process, over a uniform layer), all
//! earlier messages are delivered below by every correct process, so that the gap closes.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.9, “Broadcast with Sequence Number”. Deviation: the number is the lower layer's own.
use crate::data::{AHEAD_BYTES, WINDOW, detached};
use bytes::Bytes;
use quorate_abstractions::{
    first_in_first_out::{self, Broadcast, Deliver},
    reliable,
};
use quorate_core::{Algorithm, Ctx, MessageId, message::Origin, ports};
use std::collections::BTreeMap;

/// First-in first-out broadcast.
pub struct FirstInFirstOut {
    /// By origin: the number of the last message that was delivered.
    last: BTreeMap<Origin, u64>,
    /// Messages that came before their turn.
    pending: BTreeMap<MessageId, Bytes>,
    /// The bytes of pending messages, by origin.
    bytes: BTreeMap<Origin, usize>,
    /// The most bytes that may be pending per origin.
    most: usize,
}

impl Default for FirstInFirstOut {
    fn default() -> Self {
        FirstInFirstOut {
            last: BTreeMap::new(),
            pending: BTreeMap::new(),
            bytes: BTreeMap::new(),
            most: AHEAD_BYTES,
        }
    }
}

ports! {
    offers first_in_first_out::Port => Broadcast -> Deliver;
    uses reliable: reliable::Port => Reliable;

    /// Starts first-in first-out broadcast over reliable broadcast.
    pub fn spawn(host) = FirstInFirstOut::default();
}

impl Algorithm for FirstInFirstOut {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => Self::upon_broadcast(payload, ctx),
            Event::Reliable(reliable::Deliver { id, payload }) => {
                self.upon_reliable(id, payload, ctx);
            }
        }
    }
}

impl FirstInFirstOut {
    /// The layer below numbers requests in their order.
    fn upon_broadcast(payload: Bytes, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
    }

    fn upon_reliable(&mut self, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let last = self.last(id.origin);
        if id.sequence <= last {
            return ctx.count("delivered before");
        }
        if id.sequence > last.saturating_add(WINDOW) {
            return ctx.count("identifier too far ahead");
        }
        if id.sequence > last + 1 {
            return self.upon_early(id, &payload, ctx);
        }
        self.deliver(id, payload, ctx);
        self.upon_turn(id.origin, ctx);
    }

    /// A message that comes before its turn waits, while there is room. Behind a message that never comes,
    /// the room finally runs out.
    fn upon_early(&mut self, id: MessageId, payload: &Bytes, ctx: &mut Ctx<Self>) {
        let bytes = self.bytes.entry(id.origin).or_default();
        if *bytes + payload.len() > self.most {
            return ctx.count("too much before its turn");
        }
        if self.pending.insert(id, detached(payload)).is_none() {
            *bytes += payload.len();
        }
    }

    /// Delivers the message whose turn it is, and then those that waited for it.
    fn upon_turn(&mut self, origin: Origin, ctx: &mut Ctx<Self>) {
        let mut id = MessageId {
            origin,
            sequence: self.last(origin) + 1,
        };
        while let Some(payload) = self.pending.remove(&id) {
            if let Some(bytes) = self.bytes.get_mut(&origin) {
                *bytes -= payload.len();
            }
            self.deliver(id, payload, ctx);
            id.sequence += 1;
        }
    }

    fn deliver(&mut self, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        self.last.insert(id.origin, id.sequence);
        ctx.trigger(Effect::Deliver(Deliver { id, payload }));
    }

    fn last(&self, origin: Origin) -> u64 {
        self.last.get(&origin).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
