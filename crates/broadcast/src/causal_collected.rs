//! Causal broadcast without waiting, whose causal past is collected.
//!
//! # Promises
//! - CRB1–5 as [`causal_past`](crate::causal_past); uniform over uniform broadcast.
//! - GC1 (safety): a message leaves the past of a process only when every process whose crash was not
//!   reported to it has delivered it.
//! - GC2 (liveness): once broadcasts cease, the past of every correct process becomes empty.
//!
//! # Assumes
//! Reliable broadcast, and what it assumes; the perfect failure detector. With a detector that errs, a
//! message leaves the past while a process that was wrongly suspected still needs it there, and CRB5 is lost.
//! One incarnation per process, which the links ensure. If the layer below loses a message in a gap, a later
//! one brings it along in its past, as long as not everybody has acknowledged it; a message that is not known
//! to be acknowledged stays in the past. The user was told of the gap.
//!
//! # Messages
//! By reliable broadcast, from the origin → everybody:
//! - `Data(sequence, past, payload)`: a broadcast, and the messages that its origin has broadcast or
//!   delivered before and not collected yet, in that order.
//! - `Acknowledge(counts)`: how many messages of each process the sender has delivered.
//!
//! # Cost
//! A message costs its own reliable broadcast, and one more for each process that delivers it. Over
//! [`lazy`](crate::lazy): (n−1) + n(n−1) messages failure-free; (n−1) + (n−1)² with another process
//! dead; kn + (n−1)² if the sender crashes after k ≥ 1 sends and before it acknowledges. Over
//! [`eager`](crate::eager): n(n−1) + n·n(n−1); (n−1)² + (n−1)³; k + (n−1)² + (n−1)³. One step; a message is
//! collected after two, or when the crash of a process that did not acknowledge is reported. What is
//! delivered in one batch is acknowledged together. Memory: the messages that some live process is not known
//! to have delivered, and n² counters.
//!
//! # Why it holds
//! A message that is missing in a past was delivered by every process that may still deliver anything, so the
//! argument of `causal_past` stands (CRB5, GC1). Each correct process acknowledges what it delivers, and
//! every correct one hears of it; processes that do not acknowledge crash and are reported, upon which the
//! past is checked again (GC2). Acknowledgements are counts, of which the highest counts: one that comes
//! early, late or again does no harm, and none has to be kept. The counts tell which processes have delivered
//! a message; counts also remember, for ever, what was delivered here.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.9, “Garbage-Collection of Causal Past”. Deviations: those of `causal_past`; an
//! acknowledgement is cumulative, for all origins at once; a message carries its own number, as
//! acknowledgements are numbered with messages below; a reported crash counts like an acknowledgement.
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;

use crate::{
    causal::{Clock, History, put_messages, take_messages},
    data::Data,
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    causal::{self, Broadcast, Deliver},
    perfect, reliable,
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, Observation, Observe, ProcessId, ProcessSet, ports,
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug)]
enum Message {
    /// A broadcast with its sequence number at the origin, after the messages that it depends on.
    Data {
        sequence: u64,
        past: Vec<Data>,
        payload: Bytes,
    },
    /// The sender has delivered this many messages of each process.
    Acknowledge(Clock),
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data(u64),
    Acknowledge(Clock),
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data {
                sequence,
                past,
                payload,
            } => {
                wire::put_head(&Head::Data(*sequence), out);
                put_messages(past, out);
                out.extend_from_slice(payload);
            }
            Message::Acknowledge(delivered) => {
                wire::put_head(&Head::Acknowledge(delivered.clone()), out);
            }
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        match wire::take_head(&mut bytes)? {
            Head::Data(sequence) => Ok(Message::Data {
                sequence,
                past: take_messages(&mut bytes)?,
                payload: bytes,
            }),
            Head::Acknowledge(delivered) if bytes.is_empty() => Ok(Message::Acknowledge(delivered)),
            Head::Acknowledge(_) => Err(Undecodable),
        }
    }
}

/// Causal broadcast that sends along the messages that some process may not have delivered yet.
pub struct CausalCollected {
    history: History,
    /// By process: the messages that it is known to have delivered.
    acknowledged: Vec<Clock>,
    /// Processes whose crash was reported.
    crashed: ProcessSet,
    /// Whether something was delivered since the last acknowledgement.
    owes_acknowledgement: bool,
}

/// For the trace: a message is collected, because nothing depends on it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collect {
    pub id: MessageId,
    /// How many messages are left in the past.
    pub left: u64,
}

impl Observe for Collect {
    fn observe(&self) -> Observation {
        Observation::internal("Collect")
            .message(self.id)
            .digest(self.left)
    }
}

ports! {
    offers causal::Port => Broadcast -> Deliver;
    notes Collect => Collect;
    uses reliable: reliable::Port => Reliable;
    watches detector: perfect::Crash => Crash;

    /// Starts causal broadcast with a collected past, over reliable broadcast and the perfect failure
    /// detector.
    pub fn spawn(host) = CausalCollected::new(host);
}

impl Algorithm for CausalCollected {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Reliable(delivery) => self.upon_reliable(delivery, ctx),
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_unacknowledged(ctx);
    }
}

impl CausalCollected {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let nothing = Clock::zero(host.processes());
        CausalCollected {
            history: History::new(host),
            acknowledged: vec![nothing; host.processes().n()],
            crashed: ProcessSet::EMPTY,
            owes_acknowledgement: false,
        }
    }

    /// The message leaves after its past, and then belongs to the past of the next.
    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let past = self.history.past().to_vec();
        let message = Message::Data {
            sequence: self.history.broadcast(&payload).sequence,
            past,
            payload,
        };
        send(&message, ctx);
    }

    fn upon_reliable(&mut self, delivery: reliable::Deliver, ctx: &mut Ctx<Self>) {
        let origin = delivery.id.origin;
        match Message::decode(delivery.payload) {
            Ok(Message::Data {
                sequence,
                past,
                payload,
            }) => {
                let id = MessageId { origin, sequence };
                self.upon_data(past, Data { id, payload }, ctx);
            }
            Ok(Message::Acknowledge(delivered)) => {
                self.upon_acknowledge(origin.process, &delivered, ctx);
            }
            Err(Undecodable) => ctx.count("undecodable message"),
        }
    }

    /// Delivers the missing messages of the past, in its order, and then the message itself.
    fn upon_data(&mut self, past: Vec<Data>, data: Data, ctx: &mut Ctx<Self>) {
        let mut messages = past;
        messages.push(data);
        if !self.history.admits(&messages) {
            return ctx.count("impossible past");
        }
        for data in messages {
            if self.history.deliver(&data) {
                self.owes_acknowledgement = true;
                let Data { id, payload } = data;
                ctx.trigger(Effect::Deliver(Deliver { id, payload }));
            }
        }
    }

    /// When the others do not know of some deliveries, tells them, once for a batch.
    fn upon_unacknowledged(&mut self, ctx: &mut Ctx<Self>) {
        if std::mem::take(&mut self.owes_acknowledgement) {
            let delivered = self.history.delivered().clone();
            send(&Message::Acknowledge(delivered), ctx);
        }
    }

    /// Acknowledgements only grow: an older one that comes later changes nothing.
    fn upon_acknowledge(&mut self, from: ProcessId, delivered: &Clock, ctx: &mut Ctx<Self>) {
        if !self.is_possible(delivered) {
            return ctx.count("impossible acknowledgement");
        }
        if let Some(acknowledged) = self.acknowledged.get_mut(from.index()) {
            acknowledged.raise(delivered);
        }
        self.upon_stable(ctx);
    }

    /// From now on, nothing waits for this process.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.crashed.insert(p);
        self.upon_stable(ctx);
    }

    /// Messages that every process not reported has delivered leave the past.
    fn upon_stable(&mut self, ctx: &mut Ctx<Self>) {
        let stable = self.stable();
        let collected = self.history.collect(&stable);
        let left = self.history.past().len() + collected.len();
        for (left, id) in (0..left as u64).rev().zip(collected) {
            ctx.trigger(Effect::Collect(Collect { id, left }));
        }
    }

    /// For each process, how many of its messages every process not reported has delivered.
    fn stable(&self) -> Clock {
        let mut stable = self.history.delivered().clone();
        for p in self
            .history
            .numbering()
            .processes()
            .set()
            .without(self.crashed)
            .iter()
        {
            if let Some(acknowledged) = self.acknowledged.get(p.index()) {
                stable.lower(acknowledged);
            }
        }
        stable
    }

    /// Whether the counts are possible: nobody has delivered more of this process's messages than it has
    /// broadcast.
    fn is_possible(&self, delivered: &Clock) -> bool {
        let numbering = self.history.numbering();
        delivered.is_of(numbering.processes())
            && delivered.of(numbering.me()) <= numbering.broadcasts()
    }
}

fn send(message: &Message, ctx: &mut Ctx<CausalCollected>) {
    let payload = wire::encode(message);
    ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
}

#[cfg(test)]
mod tests;
