//! Causal broadcast without waiting as published, with sets and single acknowledgements, and with one flaw.
use super::{CausalCollected, Collect, Effect, Event};
use crate::{
    causal::{put_messages, take_messages},
    data::{Data, Numbering},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    causal::{Broadcast, Deliver},
    perfect, reliable,
};
use quorate_core::{
    Algorithm, Ctx, MessageId, ProcessId, ProcessSet,
    message::{Origin, digest},
    wire::{Undecodable, put_head, put_number, take_head, take_number},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// What is wrong with a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Nothing.
    None,
    /// The past has no order: it is delivered backwards.
    Unordered,
    /// An own message is appended both when it is broadcast and when it is delivered.
    AppendedTwice,
    /// An own message is delivered inside its broadcast, which then appends it.
    DeliveredInside,
    /// Messages are known by content.
    ByContent,
    /// A crash report does not lead to collection.
    NotTestedAgain,
    /// An acknowledgement that comes before the message is dropped.
    EarlyDropped,
    /// An acknowledgement that comes after the collection is kept.
    LateKept,
    /// A collected message is no longer known as delivered.
    Forgetful,
}

/// The number of acknowledgement sets that a process holds.
pub type Held = Arc<AtomicUsize>;

/// The published algorithm with one flaw.
pub struct Published {
    flaw: Flaw,
    numbering: Numbering,
    crashed: ProcessSet,
    delivered: BTreeSet<(Option<MessageId>, u64)>,
    past: Vec<Data>,
    acknowledged: BTreeMap<MessageId, ProcessSet>,
    collected: BTreeSet<MessageId>,
    held: Held,
}

impl Algorithm for Published {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Reliable(delivery) => self.upon_reliable(delivery, ctx),
            Event::Crash(perfect::Crash(q)) => {
                self.crashed.insert(q);
                if self.flaw != Flaw::NotTestedAgain {
                    let waiting: Vec<_> = self.acknowledged.keys().copied().collect();
                    for id in waiting {
                        self.collect(id, ctx);
                    }
                }
            }
        }
        self.held.store(self.acknowledged.len(), Relaxed);
    }
}

const DATA: u8 = 0;
const ACKNOWLEDGE: u8 = 1;

impl Published {
    /// The published algorithm with this flaw, in the place of the other. It counts in `held`.
    pub fn by(flaw: Flaw, held: Held, collected: &CausalCollected) -> Self {
        Published {
            flaw,
            numbering: collected.history.numbering().clone(),
            crashed: ProcessSet::EMPTY,
            delivered: BTreeSet::new(),
            past: Vec::new(),
            acknowledged: BTreeMap::new(),
            collected: BTreeSet::new(),
            held,
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let data = self.numbering.number(payload);
        let mut bytes = BytesMut::new();
        bytes.put_u8(DATA);
        put_number(data.id.sequence, &mut bytes);
        put_messages(&self.past, &mut bytes);
        bytes.extend_from_slice(&data.payload);
        send(bytes, ctx);
        if self.flaw == Flaw::DeliveredInside {
            self.deliver(&data, ctx);
        }
        self.past.push(data);
    }

    fn upon_reliable(&mut self, delivery: reliable::Deliver, ctx: &mut Ctx<Self>) {
        let (origin, mut bytes) = (delivery.id.origin, delivery.payload);
        let is_known = match bytes.try_get_u8() {
            Ok(ACKNOWLEDGE) => take_head(&mut bytes)
                .map(|id| self.upon_acknowledge(origin.process, id, ctx))
                .is_ok(),
            Ok(DATA) => self.upon_data(origin, bytes, ctx).is_ok(),
            _ => false,
        };
        if !is_known {
            ctx.count("undecodable message");
        }
    }

    fn upon_data(
        &mut self,
        origin: Origin,
        mut bytes: Bytes,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), Undecodable> {
        let sequence = take_number(&mut bytes)?;
        let mut messages = take_messages(&mut bytes)?;
        if self.flaw == Flaw::Unordered {
            messages.reverse();
        }
        let id = MessageId { origin, sequence };
        messages.push(Data { id, payload: bytes });
        for data in messages {
            self.deliver(&data, ctx);
        }
        Ok(())
    }

    fn deliver(&mut self, data: &Data, ctx: &mut Ctx<Self>) {
        if !self.delivered.insert(self.key(data)) {
            return;
        }
        let Data { id, payload } = data.clone();
        let is_there = self.past.iter().any(|other| other.id == id);
        if !is_there || self.flaw == Flaw::AppendedTwice {
            self.past.push(data.clone());
        }
        ctx.trigger(Effect::Deliver(Deliver { id, payload }));
        let mut bytes = BytesMut::new();
        bytes.put_u8(ACKNOWLEDGE);
        put_head(&id, &mut bytes);
        send(bytes, ctx);
    }

    fn key(&self, data: &Data) -> (Option<MessageId>, u64) {
        let id = Some(data.id).filter(|_| self.flaw != Flaw::ByContent);
        (id, digest(&data.payload))
    }

    fn upon_acknowledge(&mut self, from: ProcessId, id: MessageId, ctx: &mut Ctx<Self>) {
        let is_early = !self.past.iter().any(|data| data.id == id);
        if is_early && self.flaw == Flaw::EarlyDropped {
            return;
        }
        if self.collected.contains(&id) && self.flaw != Flaw::LateKept {
            return;
        }
        self.acknowledged.entry(id).or_default().insert(from);
        self.collect(id, ctx);
    }

    fn collect(&mut self, id: MessageId, ctx: &mut Ctx<Self>) {
        let alive = self.numbering.processes().set().without(self.crashed);
        if !alive.is_subset(self.acknowledged.get(&id).copied().unwrap_or_default()) {
            return;
        }
        self.acknowledged.remove(&id);
        let Some(place) = self.past.iter().position(|data| data.id == id) else {
            return;
        };
        let data = self.past.remove(place);
        self.collected.insert(id);
        if self.flaw == Flaw::Forgetful {
            self.delivered.remove(&self.key(&data));
        }
        let left = self.past.len() as u64;
        ctx.trigger(Effect::Collect(Collect { id, left }));
    }
}

fn send(bytes: BytesMut, ctx: &mut Ctx<Published>) {
    let payload = bytes.freeze();
    ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
}
