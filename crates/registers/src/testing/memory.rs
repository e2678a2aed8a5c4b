//! Registers that p1 holds for all, as long as it does not crash: they take the fewest messages, for
//! exhaustive search.
use super::p;
use bytes::Bytes;
use quorate_abstractions::{
    link::{Deliver, Links, SendRequest, To},
    register::{self, Action, Indication, RegisterResponse, Request, Tag},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, ProcessId, wire::Plain,
};
use quorate_sim::World;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// A read, or a write of this value.
    Ask(Vec<u8>, u64, Option<Vec<u8>>),
    /// The result of a read.
    Value(Vec<u8>, u64, Tag, Option<Vec<u8>>),
    /// A write is half done: until it is settled, some readers see it and some do not.
    Half(Vec<u8>, u64),
    /// The write is to be completed.
    Settle(Vec<u8>, u64),
    Done(Vec<u8>, u64, Tag),
}

impl Plain for Message {}

impl Observe for Message {
    fn observe(&self) -> Observation {
        Observation::internal(match self {
            Message::Ask(..) => "Ask",
            Message::Value(..) => "Value",
            Message::Half(..) => "Half",
            Message::Settle(..) => "Settle",
            Message::Done(..) => "Done",
        })
    }
}

/// Whether the registers are atomic or regular; in regular ones, only p2 sees a write in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Atomic,
    Regular,
}

#[derive(Default)]
struct Cell {
    value: Option<(Tag, Vec<u8>)>,
    half: Option<(Tag, Vec<u8>)>,
}

struct Memory(Kind, BTreeMap<Vec<u8>, Cell>);

#[derive(Debug)]
enum Event {
    Request(Request),
    Link(Deliver<Message>),
}

#[derive(Debug)]
enum Effect {
    Link(SendRequest<Message>),
    Return(Indication),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Request(request) => request.observe(),
            Event::Link(indication) => indication.observe(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(request) => request.observe(),
            Effect::Return(indication) => indication.observe(),
        }
    }
}

impl Memory {
    fn upon_message(&mut self, from: ProcessId, message: Message) -> Option<Effect> {
        let answer = match message {
            Message::Ask(register, operation, value) => {
                let cell = self.1.entry(register.clone()).or_default();
                let last = cell.value.clone();
                match value {
                    None => {
                        let half = cell.half.clone().filter(|_| from == p(2));
                        let seen = half.or(last);
                        let tag = seen.as_ref().map_or(Tag::INITIAL, |(tag, _)| *tag);
                        Message::Value(register, operation, tag, seen.map(|(_, value)| value))
                    }
                    Some(value) => {
                        let timestamp = last.map_or(1, |(tag, _)| tag.timestamp + 1);
                        let writer = Some(from);
                        let tag = Tag { timestamp, writer };
                        if self.0 == Kind::Regular {
                            cell.half = Some((tag, value));
                            Message::Half(register, operation)
                        } else {
                            cell.value = Some((tag, value));
                            Message::Done(register, operation, tag)
                        }
                    }
                }
            }
            Message::Half(register, operation) => Message::Settle(register, operation),
            Message::Settle(register, operation) => {
                let cell = self.1.get_mut(&register)?;
                let (tag, value) = cell.half.take()?;
                cell.value = Some((tag, value));
                Message::Done(register, operation, tag)
            }
            Message::Value(register, operation, tag, value) => {
                let value = value.map(Bytes::from);
                let outcome = RegisterResponse::Read { tag, value };
                return Some(returned(register, operation, outcome));
            }
            Message::Done(register, operation, tag) => {
                return Some(returned(
                    register,
                    operation,
                    RegisterResponse::Written { tag },
                ));
            }
        };
        let (to, message) = (To::One(from), answer);
        Some(Effect::Link(SendRequest { to, message }))
    }
}

fn returned(register: Vec<u8>, operation: u64, outcome: RegisterResponse) -> Effect {
    Effect::Return(Indication {
        register: register.into(),
        operation,
        outcome,
    })
}

impl Algorithm for Memory {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(Request {
                register,
                operation,
                action,
            }) => {
                let value = match action {
                    Action::Read => None,
                    Action::Write(value) => Some(value.to_vec()),
                };
                let message = Message::Ask(register.to_vec(), operation, value);
                let to = To::One(p(1));
                ctx.trigger(Effect::Link(SendRequest { to, message }));
            }
            Event::Link(Deliver { from, message }) => {
                if let Some(effect) = self.upon_message(from, message) {
                    ctx.trigger(effect);
                }
            }
        }
    }
}

/// The registers, at `q`.
pub(crate) fn memory(world: &World, q: ProcessId, kind: Kind) -> impl Layer<register::Port> {
    let (host, links) = (world.host(q).at("memory"), world.links(q).at("memory"));
    move |up: Addr<Indication>| {
        let mailbox = host.mailbox();
        let port = mailbox.addr().with(Event::Request);
        let below = links.lane().attach(mailbox.addr().with(Event::Link));
        host.start(
            mailbox,
            Memory(kind, BTreeMap::new()),
            move |effect| match effect {
                Effect::Link(request) => below.send(request),
                Effect::Return(indication) => up.send(indication),
            },
        );
        port
    }
}
