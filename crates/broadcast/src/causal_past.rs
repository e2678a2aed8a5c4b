//! Causal broadcast without waiting: every message carries its causal past.
//!
//! # Promises
//! - CRB1 validity (liveness): a correct process delivers its own broadcasts.
//! - CRB2 no duplication (safety). CRB3 no creation (safety).
//! - CRB4 agreement (liveness), as strong as that of the layer below: over uniform broadcast
//!   ([`as_reliable`](quorate_abstractions::uniform::as_reliable)) it is uniform.
//! - CRB5 causal order (safety): a message is delivered after all that precedes it.
//!
//! # Assumes
//! Reliable broadcast, and what it assumes. One incarnation per process, which the links ensure. If the layer
//! below loses a message in a gap, a later one brings it along in its past; the user was told of the gap.
//!
//! # Messages
//! `Message(past, payload)`, from the origin → everybody, by reliable broadcast, whose number is the
//! message's. The past is all that the origin has broadcast or delivered before, in that order.
//!
//! # Cost
//! The messages and steps of the reliable broadcast, failure-free and with crashes: over
//! [`lazy`](crate::lazy) n−1 messages and one step, over [`eager`](crate::eager) n(n−1). The past is never
//! shortened: the k-th message of a run carries up to k−1 others, and each process keeps them all. For short
//! runs alone; [`causal_collected`](crate::causal_collected) shortens the past, and
//! [`causal_waiting`](crate::causal_waiting) carries n counters instead.
//!
//! # Why it holds
//! A message arrives with all that precedes it, in an order in which each message comes after those that
//! precede it; those that are missing are delivered first (CRB5). So nothing ever waits, and what the layer
//! below promises about a carrying message holds for the messages in its past: a message that was delivered
//! out of a past is delivered by every process that delivers the carrier (CRB4). A process has delivered all
//! that precedes what it has delivered, including an origin's earlier messages, so that counters tell what
//! was delivered (CRB2).
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.9, “No-Waiting Causal Broadcast”. Deviations: the past is a list, as a set has no order to
//! deliver in; messages are known by identifier, not content; a process's own message enters its past
//! when it is broadcast, and not again when it is delivered.
use crate::{
    causal::{History, put_messages, take_messages},
    data::Data,
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    causal::{self, Broadcast, Deliver},
    reliable,
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, ports,
    wire::{self, Undecodable, Wire},
};

/// The only message: a payload, after the messages that it depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Message {
    past: Vec<Data>,
    payload: Bytes,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        put_messages(&self.past, out);
        out.extend_from_slice(&self.payload);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let past = take_messages(&mut bytes)?;
        let payload = bytes;
        Ok(Message { past, payload })
    }
}

/// Causal broadcast that sends the causal past along.
pub struct CausalPast {
    history: History,
}

ports! {
    offers causal::Port => Broadcast -> Deliver;
    uses reliable: reliable::Port => Reliable;

    /// Starts causal broadcast without waiting, over reliable broadcast.
    pub fn spawn(host) = CausalPast::new(host);
}

impl Algorithm for CausalPast {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Reliable(reliable::Deliver { id, payload }) => match Message::decode(payload) {
                Ok(message) => self.upon_message(id, message, ctx),
                Err(Undecodable) => ctx.count("undecodable message"),
            },
        }
    }
}

impl CausalPast {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        CausalPast {
            history: History::new(host),
        }
    }

    /// The message leaves after its past, and then belongs to the past of the next.
    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let past = self.history.past().to_vec();
        self.history.broadcast(&payload);
        let payload = wire::encode(&Message { past, payload });
        ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
    }

    /// Delivers the missing messages of the past, in its order, and then the message itself.
    fn upon_message(&mut self, id: MessageId, message: Message, ctx: &mut Ctx<Self>) {
        let Message { past, payload } = message;
        let mut messages = past;
        messages.push(Data { id, payload });
        if !self.history.admits(&messages) {
            return ctx.count("impossible past");
        }
        for data in messages {
            if self.history.deliver(&data) {
                let Data { id, payload } = data;
                ctx.trigger(Effect::Deliver(Deliver { id, payload }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
