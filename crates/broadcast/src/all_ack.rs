//! Uniform reliable broadcast by acknowledgement of all.
//!
//! # Promises
//! - URB1 validity (liveness): a correct process delivers its own broadcasts.
//! - URB2 no duplication (safety). URB3 no creation (safety).
//! - URB4 uniform agreement (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//!
//! # Assumes
//! Best-effort broadcast over perfect links, and the perfect failure detector P, whose accuracy is essential:
//! a process that delivers without waiting for a live process may be the only one to deliver. Any number of
//! crashes. No origin is more than 2²⁰ broadcasts ahead of what a correct process has delivered from it;
//! messages beyond that are refused. A gap does not stop a broadcast: both ends send again what they hold and
//! have not delivered, and a process that has delivered it answers.
//!
//! # Messages
//! `Data(id, payload)`: from the origin → everybody; from everybody else, at the first sight of it →
//! everybody. It also says that the sender holds the payload.
//!
//! # Cost
//! Failure-free n(n−1) messages, 2 steps (n = 2: the receiver 1); with another process dead, reported after
//! D, (n−1)² and max(2, D) steps (n = 2: D); the sender crashing after k ≥ 1 sends, k + (n−1)². Memory: the
//! messages that are not yet delivered, and the delivered identifiers as watermarks.
//!
//! # Why it holds
//! A process delivers a message only once every other process holds it, except those that have certainly
//! crashed: every correct process holds the message and has relayed it. So every correct process hears of it
//! from every other correct one, hears of every crash, and delivers. A delivered message never becomes
//! pending again, so that a late copy is relayed by nobody.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.4, “All-Ack Uniform Reliable Broadcast”. Deviations: messages are known by identifier, not
//! content; a delivered message is no longer pending; the origin's own broadcast becomes pending when it
//! arrives, like any other.
use crate::data::{Data, Numbering};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    best_effort, link, perfect,
    uniform::{self, Broadcast, Deliver},
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, Observation, Observe, ProcessId, ProcessSet, ports,
    watermark::WatermarkSet,
    wire::{Undecodable, Wire},
};
use std::collections::BTreeMap;

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A payload, which the sender holds.
    Data(Data),
    /// Like `Data`, but the sender does not know whether the receiver holds the payload, because a gap may
    /// have taken either copy. The receiver answers with its own copy.
    Again(Data),
    /// A stream to the receiver has begun anew: copies from the sender may be lost, and the sender may no
    /// longer remember them. The receiver asks for those that it lacks.
    Resumed,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        let (kind, data) = match self {
            Message::Data(data) => (0, Some(data)),
            Message::Again(data) => (1, Some(data)),
            Message::Resumed => (2, None),
        };
        out.put_u8(kind);
        if let Some(data) = data {
            data.encode(out);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let kind = bytes.try_get_u8().map_err(|_| Undecodable)?;
        match kind {
            0 => Ok(Message::Data(Data::decode(bytes)?)),
            1 => Ok(Message::Again(Data::decode(bytes)?)),
            2 if bytes.is_empty() => Ok(Message::Resumed),
            _ => Err(Undecodable),
        }
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        match self {
            Message::Data(data) | Message::Again(data) => data.observe(),
            Message::Resumed => Observation::internal("Resumed"),
        }
    }
}

/// A message that is held here and not delivered yet.
struct Pending {
    payload: Bytes,
    /// Processes known to hold the message.
    ack: ProcessSet,
}

/// All-ack uniform reliable broadcast.
pub struct AllAck {
    numbering: Numbering,
    /// Processes that the detector has not reported as crashed.
    correct: ProcessSet,
    pending: BTreeMap<MessageId, Pending>,
    delivered: WatermarkSet,
}

ports! {
    offers uniform::Port => Broadcast -> Deliver;
    uses lane: link::Port<Message> => BestEffort as best_effort::Port<Message>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: perfect::Crash => Detector;

    /// Starts all-ack uniform reliable broadcast over the best-effort broadcast of a lane, and P.
    pub fn spawn(host) = AllAck::new(host);
}

impl Algorithm for AllAck {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => match message {
                Message::Data(data) => self.upon_data(from, data, ctx),
                Message::Again(data) => self.upon_again(from, data, ctx),
                Message::Resumed => self.say_again(from, ctx),
            },
            Event::Detector(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl AllAck {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        AllAck {
            numbering: Numbering::new(host),
            correct: host.processes().set(),
            pending: BTreeMap::new(),
            delivered: WatermarkSet::default(),
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let data = self.numbering.number(payload);
        // Recorded at once: a gap may take the copies to others before this process's own copy arrives.
        let (payload, ack) = (data.payload.clone(), ProcessSet::EMPTY);
        self.pending.insert(data.id, Pending { payload, ack });
        let message = Message::Data(data);
        ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
    }

    /// The first copy is kept and relayed; each copy shows that its sender holds the payload.
    fn upon_data(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        let id = data.id;
        if let Err(reason) = self.numbering.check(id, &mut self.delivered) {
            return ctx.count(reason);
        }
        if self.delivered.contains(id) {
            return;
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.ack.insert(from);
        } else {
            let (payload, ack) = (data.payload.clone(), ProcessSet::from_iter([from]));
            self.pending.insert(id, Pending { payload, ack });
            self.relay(data, ctx);
        }
        self.upon_deliverable(id, ctx);
    }

    /// The origin relays nothing: its broadcast has gone to everybody already.
    fn relay(&self, data: Data, ctx: &mut Ctx<Self>) {
        if !self.numbering.is_mine(data.id) {
            let message = Message::Data(data);
            ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
        }
    }

    /// Answers that this process holds the payload; if it did not before, it does now.
    fn upon_again(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        self.upon_data(from, data.clone(), ctx);
        if self.pending.contains_key(&data.id) || self.delivered.contains(data.id) {
            say(from, Message::Data(data), ctx);
        }
    }

    /// When a stream begins anew, both ends send again what is pending.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        if let link::Status::Begun { peer } = *status {
            say(peer, Message::Resumed, ctx);
            self.say_again(peer, ctx);
        }
    }

    /// Sends what is pending here again, in case this process's copy was lost, and asks for the peer's copy,
    /// in case that one was lost. A peer that has delivered the message has forgotten it, but answers all the
    /// same.
    fn say_again(&self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        for (id, Pending { payload, .. }) in &self.pending {
            let (id, payload) = (*id, payload.clone());
            say(peer, Message::Again(Data { id, payload }), ctx);
        }
    }

    /// Nobody waits for a crashed process: messages that waited for it alone are delivered.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.correct.remove(p);
        let pending: Vec<MessageId> = self.pending.keys().copied().collect();
        for id in pending {
            self.upon_deliverable(id, ctx);
        }
    }

    /// Upon a message that all correct processes are known to hold: deliver it.
    fn upon_deliverable(&mut self, id: MessageId, ctx: &mut Ctx<Self>) {
        if !self.can_deliver(id) {
            return;
        }
        if let Some(Pending { payload, .. }) = self.pending.remove(&id) {
            self.delivered.insert(id);
            ctx.trigger(Effect::Deliver(Deliver { id, payload }));
        }
    }

    fn can_deliver(&self, id: MessageId) -> bool {
        let pending = self.pending.get(&id);
        pending.is_some_and(|pending| self.correct.is_subset(pending.ack))
    }
}

fn say(to: ProcessId, message: Message, ctx: &mut Ctx<AllAck>) {
    let to = link::To::One(to);
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
