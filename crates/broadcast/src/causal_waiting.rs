//! Causal broadcast with waiting: a message carries counters, and waits for what it depends on.
//!
//! # Promises
//! - CRB1 validity (liveness): a correct process delivers its own broadcasts.
//! - CRB2 no duplication (safety). CRB3 no creation (safety).
//! - CRB4 agreement (liveness), as strong as that of the layer below: over uniform broadcast
//!   ([`as_reliable`](quorate_abstractions::uniform::as_reliable)) it is uniform.
//! - CRB5 causal order (safety): a message is delivered after all that precedes it. A message precedes another if
//!   the other's origin broadcast or delivered it before, or through a chain of such messages.
//!
//! # Assumes
//! Reliable broadcast, and what it assumes; no failure detector. One incarnation per process, which the links
//! ensure. No origin is more than 2²⁰ broadcasts ahead of what a correct process has delivered from it;
//! messages beyond that are refused; so are more than 256 MiB of payloads that wait, but for the origin's next
//! message. If the layer below loses a message in a gap, the messages that causally
//! follow it are never delivered here. The handles of a node tell their users of gaps.
//!
//! # Messages
//! `Message(predecessors, payload)`, from the origin → everybody, by reliable broadcast. Its identifier is
//! the one that reliable broadcast gives it: both count an origin's broadcasts from 1, as no other module uses
//! that instance of reliable broadcast. The predecessors are n
//! counters: the number of messages of each process that the origin has delivered before; of its own, the
//! number that it has broadcast.
//!
//! # Cost
//! The messages of the reliable broadcast: failure-free over [`lazy`](crate::lazy) n−1, over
//! [`eager`](crate::eager) and [`majority_ack`](crate::majority_ack) n(n−1). As many steps as reliable broadcast takes, and the wait for
//! what precedes. A header of n counters. Memory: n counters, and what waits: per origin, at most 2²⁰
//! messages and 256 MiB, and the origin's next message. What exceeds this is dropped, as if lost in a gap.
//!
//! No message of a correct origin waits for ever, except after a gap. If the layer below is not uniform, a
//! message of a crashed origin may: the origin broadcast it after it had delivered something that no correct
//! process ever receives. Such messages were in flight at the crash, so that they do not grow with the run.
//! Nobody can tell that they will never be delivered without asking everybody, so that they are kept.
//! [`causal_past`](crate::causal_past) would deliver them: there each message carries its past.
//!
//! # Why it holds
//! The counters cover all that precedes a message, as an origin's messages are delivered in order and without
//! gaps; a message is delivered once the counts here have reached them (CRB5). Every message comes from the
//! layer below, and each number is delivered once (CRB2, CRB3). A correct process that delivers a message has
//! delivered all that precedes it, so that the layer below delivers all of that to every correct process; by
//! induction none of it waits for ever at any correct process, and neither does the message (CRB4). A correct process also
//! delivers its own broadcasts in this way (CRB1).
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.9, “Waiting Causal Broadcast”. Deviation: messages are known by identifier, not content.
//! Some editions deliver an own message at once, when it is broadcast. That is not done: over uniform
//! broadcast, a process that delivers and crashes would break the promise.
use crate::{
    causal::Clock,
    data::{AHEAD_BYTES, Numbering, WINDOW},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    causal::{self, Broadcast, Deliver},
    reliable,
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, ProcessId,
    message::Origin,
    ports,
    wire::{self, Undecodable, Wire},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// The only message: a payload, and the messages that it waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Message {
    predecessors: Clock,
    payload: Bytes,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_head(&self.predecessors, out);
        out.extend_from_slice(&self.payload);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let predecessors = wire::take_head(&mut bytes)?;
        let payload = bytes;
        Ok(Message {
            predecessors,
            payload,
        })
    }
}

/// Causal broadcast in which a message waits for those that precede it.
pub struct CausalWaiting {
    numbering: Numbering,
    /// The number of delivered messages of each process.
    delivered: Clock,
    /// Messages that arrived too early, because a predecessor is not delivered yet; by process and number.
    pending: BTreeMap<(ProcessId, u64), (Origin, Message)>,
    /// The bytes of these payloads, by process.
    bytes: BTreeMap<ProcessId, usize>,
    /// The most bytes that may wait, per origin.
    most: usize,
}

ports! {
    offers causal::Port => Broadcast -> Deliver;
    uses reliable: reliable::Port => Reliable;

    /// Starts causal broadcast with waiting, over reliable broadcast.
    pub fn spawn(host) = CausalWaiting::new(host);
}

impl Algorithm for CausalWaiting {
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

impl CausalWaiting {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        CausalWaiting {
            numbering: Numbering::new(host),
            delivered: Clock::zero(host.processes()),
            pending: BTreeMap::new(),
            bytes: BTreeMap::new(),
            most: AHEAD_BYTES,
        }
    }

    /// The message follows all that was delivered and all that was broadcast here.
    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let mut predecessors = self.delivered.clone();
        predecessors.set(self.numbering.me(), self.numbering.broadcasts());
        let payload = self.numbering.number(payload).payload;
        let payload = wire::encode(&Message {
            predecessors,
            payload,
        });
        ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
    }

    /// A message waits until its turn, which may be at once.
    fn upon_message(&mut self, id: MessageId, message: Message, ctx: &mut Ctx<Self>) {
        if !self.is_possible(id, &message.predecessors) {
            return ctx.count("impossible predecessors");
        }
        let process = id.origin.process;
        if id.sequence > self.delivered.of(process).saturating_add(WINDOW) {
            return ctx.count("message too far ahead");
        }
        let is_next = id.sequence == self.delivered.of(process) + 1;
        let (bytes, length) = (
            self.bytes.entry(process).or_default(),
            message.payload.len(),
        );
        if *bytes + length > self.most && !is_next {
            return ctx.count("too much before its turn");
        }
        if let Entry::Vacant(place) = self.pending.entry((process, id.sequence)) {
            place.insert((id.origin, message));
            *bytes += length;
        }
        self.upon_deliverable(ctx);
    }

    /// Delivers the messages all of whose predecessors are delivered, and then those that waited for them.
    fn upon_deliverable(&mut self, ctx: &mut Ctx<Self>) {
        while let Some((process, sequence)) = self.next_deliverable() {
            let Some((origin, message)) = self.pending.remove(&(process, sequence)) else {
                return;
            };
            if let Some(bytes) = self.bytes.get_mut(&process) {
                *bytes -= message.payload.len();
            }
            self.delivered.advance(process);
            ctx.trigger(Effect::Deliver(Deliver {
                id: MessageId { origin, sequence },
                payload: message.payload,
            }));
        }
    }

    /// The first origin whose next message can be delivered, and that message's number.
    fn next_deliverable(&self) -> Option<(ProcessId, u64)> {
        let next = |process| (process, self.delivered.of(process) + 1);
        let mut candidates = self.numbering.processes().iter().map(next);
        candidates.find(|place| {
            let pending = self.pending.get(place);
            pending.is_some_and(|(_, message)| message.predecessors.is_within(&self.delivered))
        })
    }

    /// Whether the message is possible: it was not delivered before, it follows exactly the messages of its
    /// origin with lower numbers, and it follows no more of this process's messages than there are.
    fn is_possible(&self, id: MessageId, predecessors: &Clock) -> bool {
        let origin = id.origin.process;
        self.numbering.is_possible(id)
            && id.sequence > self.delivered.of(origin)
            && predecessors.is_of(self.numbering.processes())
            && predecessors.of(origin) == id.sequence - 1
            && predecessors.of(self.numbering.me()) <= self.numbering.broadcasts()
    }
}

#[cfg(test)]
mod tests;
