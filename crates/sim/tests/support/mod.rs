//! A small uniform broadcast for the tests of the world itself: majority acknowledgement directly over
//! perfect links, with the number of acknowledgements as a parameter.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    link::{self, Links, To},
    uniform::{Broadcast, Deliver},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Incarnation, MessageId, Observation, Observe, ProcessId,
    ProcessSet,
    message::{Origin, digest},
    wire::{Undecodable, Wire, put_number, take_number},
};
use quorate_sim::World;
pub use quorate_sim::testing::p;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Data {
    id: MessageId,
    payload: Bytes,
}

impl Observe for Data {
    fn observe(&self) -> Observation {
        Observation::internal("Data")
            .message(self.id)
            .digest(digest(&self.payload))
    }
}

impl Wire for Data {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.id.origin.process.rank() as u8);
        put_number(self.id.origin.incarnation.0, out);
        put_number(self.id.sequence, out);
        out.extend_from_slice(&self.payload);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let rank = take_number(&mut bytes)? as usize;
        let origin = Origin {
            process: ProcessId::from_rank(rank).ok_or(Undecodable)?,
            incarnation: Incarnation(take_number(&mut bytes)?),
        };
        let sequence = take_number(&mut bytes)?;
        Ok(Data {
            id: MessageId { origin, sequence },
            payload: bytes,
        })
    }
}

pub struct MajorityAck {
    me: Origin,
    quorum: usize,
    sequence: u64,
    seen: BTreeMap<MessageId, (ProcessSet, bool)>,
}

pub enum Event {
    Broadcast(Broadcast),
    Link(link::Deliver<Data>),
}

pub enum Effect {
    Deliver(Deliver),
    Link(link::SendRequest<Data>),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Broadcast(event) => event.observe(),
            Event::Link(event) => event.observe(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Deliver(effect) => effect.observe(),
            Effect::Link(effect) => effect.observe(),
        }
    }
}

impl Algorithm for MajorityAck {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => {
                self.sequence += 1;
                let id = MessageId {
                    origin: self.me,
                    sequence: self.sequence,
                };
                self.seen.entry(id).or_default();
                Self::send(Data { id, payload }, ctx);
            }
            Event::Link(link::Deliver { from, message }) => {
                let is_new = !self.seen.contains_key(&message.id);
                let (acks, delivered) = self.seen.entry(message.id).or_default();
                acks.insert(from);
                let deliverable = acks.len() >= self.quorum && !*delivered;
                *delivered |= deliverable;
                if is_new {
                    Self::send(message.clone(), ctx);
                }
                if deliverable {
                    let Data { id, payload } = message;
                    ctx.trigger(Effect::Deliver(Deliver { id, payload }));
                }
            }
        }
    }
}

impl MajorityAck {
    fn send(message: Data, ctx: &mut Ctx<Self>) {
        let to = To::All;
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
    }
}

pub fn spawn(
    host: &impl Host,
    quorum: usize,
    links: &impl Links,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let host = host.at("urb");
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let link = links.at("urb").open(mailbox.addr().with(Event::Link));
    let algorithm = MajorityAck {
        me: Origin {
            process: host.me(),
            incarnation: host.incarnation(),
        },
        quorum,
        sequence: 0,
        seen: BTreeMap::new(),
    };
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Deliver(deliver) => up.send(deliver),
        Effect::Link(send) => link.send(send),
    });
    requests
}

/// Uniform broadcast at every process of a world, delivering to its application.
pub fn everywhere(world: &World, quorum: usize) -> Vec<Addr<Broadcast>> {
    world
        .processes()
        .map(|p| {
            spawn(
                &world.host(p),
                quorum,
                &world.links(p),
                world.application(p),
            )
        })
        .collect()
}

pub fn payload(text: &str) -> Broadcast {
    Broadcast {
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}
