//! Uniform reliable broadcast by majority acknowledgement.
//!
//! # Promises
//! - URB1 validity (liveness): a correct process delivers its own broadcasts.
//! - URB2 no duplication (safety). URB3 no creation (safety).
//! - URB4 uniform agreement (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//!
//! # Assumes
//! Perfect links; f < n/2 crashes; no failure detector. No origin is more than 2²⁰ broadcasts ahead of what a
//! correct process has delivered from it; messages beyond that are refused, and links are bounded too. After
//! a gap both ends send again what they hold and have not delivered, so that URB1 holds over any gaps. URB4
//! holds unless gaps keep a message away from a process on all ways until all others have delivered it,
//! because delivered messages are forgotten. The users are told of the gap.
//!
//! # Messages
//! - `Data(id, payload)`: from the origin → everybody; from everybody else, at the first sight of
//!   the payload → those not known to hold it. It also says that the sender holds the payload.
//! - `Ack(id)`, instead of `Data`, → those known to hold the payload.
//!
//! # Cost
//! Failure-free n(n−1) messages, 2 steps (1 at the receivers if n ≤ 3); with a dead process (n−1)², 2 steps;
//! the sender crashing after k ≥ 1 sends, k + (n−1)². Memory: the messages that are not yet delivered, and
//! the delivered identifiers as watermarks.
//!
//! # Why it holds
//! A process delivers only once a majority is known to hold the message and to have relayed it.
//! Some member of that majority is correct; its relay reaches every correct process, each of which
//! relays in turn, so that every correct process hears of a majority (the correct ones) and delivers.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.4, “Majority-Ack Uniform Reliable Broadcast”. Deviations: messages are known by
//! identifier, not content; nothing is relayed twice; a relay to a process that is known to hold the
//! payload carries the identifier alone, which is why the algorithm stands on links and not on
//! best-effort broadcast.
use crate::data::{Data, Numbering, forget_given_up};
use bytes::Bytes;
use quorate_abstractions::{
    link::{self, To},
    uniform::{self, Broadcast, Deliver},
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, ProcessId, ProcessSet, message::digest, messages, ports,
    watermark::WatermarkSet,
};
use std::collections::BTreeMap;

messages! {
    /// The messages.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// The payload of a broadcast.
        Data {
            id: MessageId;
            payload: Bytes
        } => message(*id).digest(digest(payload)),
        /// The sender holds the payload of this broadcast.
        Ack {
            id: MessageId
        } => message(*id),
        /// Like `Data`, but the sender does not know whether the receiver holds the payload, because a gap
        /// may have taken either message. The receiver answers with an `Ack`.
        Again {
            id: MessageId;
            payload: Bytes
        } => message(*id).digest(digest(payload)),
        /// A stream to the receiver has begun anew: acknowledgements from the sender may be lost, and the
        /// sender may no longer remember them. The receiver asks for those that it lacks.
        Resumed,
    }
}

/// What is known about a message that is not delivered yet.
#[derive(Default)]
struct Pending {
    /// The payload, once it has come.
    payload: Option<Bytes>,
    /// Processes known to hold the message.
    ack: ProcessSet,
}

/// Majority-ack uniform reliable broadcast.
pub struct MajorityAck {
    numbering: Numbering,
    /// How many must hold a message before it is delivered.
    quorum: usize,
    pending: BTreeMap<MessageId, Pending>,
    delivered: WatermarkSet,
}

ports! {
    offers uniform::Port => Broadcast -> Deliver;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;

    /// Starts majority-ack uniform reliable broadcast over perfect links.
    pub fn spawn(host) = MajorityAck::new(host, host.processes().majority());

    /// Starts a mutant that delivers once `quorum` processes hold a message. Only for tests and
    /// demonstrations of the checkers.
    #[cfg(any(test, feature = "mutants"))]
    pub fn spawn_mutant(host, quorum: usize) = MajorityAck::new(host, quorum);
}

impl Algorithm for MajorityAck {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Link(link::Deliver { from, message }) => match message {
                Message::Data { id, payload } => self.upon_data(from, id, payload, ctx),
                Message::Ack { id } => self.upon_ack(from, id, ctx),
                Message::Again { id, payload } => self.upon_again(from, id, payload, ctx),
                Message::Resumed => self.say_again(from, ctx),
            },
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl MajorityAck {
    /// The algorithm at `host`, which delivers a message once `quorum` processes hold it: a majority, except
    /// in mutants.
    fn new(host: &impl Host, quorum: usize) -> Self {
        MajorityAck {
            numbering: Numbering::new(host),
            quorum,
            pending: BTreeMap::new(),
            delivered: WatermarkSet::default(),
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let Data { id, payload } = self.numbering.number(payload);
        say(To::All, Message::Data { id, payload }, ctx);
    }

    /// The first copy is kept and relayed; each copy shows that its sender holds the payload.
    fn upon_data(&mut self, from: ProcessId, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let Some(pending) = self.mention(id, ctx) else {
            return;
        };
        pending.ack.insert(from);
        if pending.payload.is_none() {
            pending.payload = Some(payload.clone());
            self.relay(id, payload, ctx);
        }
        self.upon_deliverable(id, ctx);
    }

    /// Answers that this process holds the payload; if it did not before, it does now.
    fn upon_again(&mut self, from: ProcessId, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        self.upon_data(from, id, payload, ctx);
        if self.pending.contains_key(&id) || self.delivered.contains(id) {
            say(To::One(from), Message::Ack { id }, ctx);
        }
    }

    /// When a stream begins anew, both ends send again what is pending.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        if let link::Status::Begun { peer } = *status {
            say(To::One(peer), Message::Resumed, ctx);
            self.say_again(peer, ctx);
        }
    }

    /// Sends what is pending here again, in case it was lost, and asks for the acknowledgement, in case that
    /// was lost.
    fn say_again(&self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        for (id, pending) in &self.pending {
            if let Some(payload) = pending.payload.clone() {
                say(To::One(peer), Message::Again { id: *id, payload }, ctx);
            }
        }
    }

    fn upon_ack(&mut self, from: ProcessId, id: MessageId, ctx: &mut Ctx<Self>) {
        if let Some(pending) = self.mention(id, ctx) {
            pending.ack.insert(from);
            self.upon_deliverable(id, ctx);
        }
    }

    /// Upon a message that is held here and known to be held by a majority: deliver it.
    fn upon_deliverable(&mut self, id: MessageId, ctx: &mut Ctx<Self>) {
        if self.can_deliver(id)
            && let Some(payload) = self.pending.remove(&id).and_then(|held| held.payload)
        {
            self.delivered.insert(id);
            ctx.trigger(Effect::Deliver(Deliver { id, payload }));
        }
    }

    fn can_deliver(&self, id: MessageId) -> bool {
        let pending = self.pending.get(&id);
        pending.is_some_and(|held| held.payload.is_some() && held.ack.len() >= self.quorum)
    }

    /// Tells everybody that this process holds the payload: with the payload, unless they hold it too. The
    /// origin relays nothing: its broadcast has gone to everybody already.
    fn relay(&mut self, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let (me, others) = (self.numbering.me(), self.numbering.others());
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        pending.ack.insert(me);
        if self.numbering.is_mine(id) {
            return;
        }
        let mut holders = pending.ack;
        holders.insert(id.origin.process);
        holders.remove(me);
        let ignorant = others.without(holders);
        if !ignorant.is_empty() {
            say(To::Some(ignorant), Message::Data { id, payload }, ctx);
        }
        say(To::Some(holders), Message::Ack { id }, ctx);
    }

    /// The entry of a message that may still be delivered, made at its first mention.
    fn mention(&mut self, id: MessageId, ctx: &mut Ctx<Self>) -> Option<&mut Pending> {
        if self.delivered.contains(id) {
            return None;
        }
        if let Err(reason) = self.numbering.check(id, &mut self.delivered) {
            ctx.count(reason);
            return None;
        }
        forget_given_up(&mut self.pending, id.origin, &self.delivered);
        Some(self.pending.entry(id).or_default())
    }
}

fn say(to: To, message: Message, ctx: &mut Ctx<MajorityAck>) {
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
