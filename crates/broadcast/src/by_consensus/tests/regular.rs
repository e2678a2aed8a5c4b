//! Hierarchical consensus: regular, not uniform. What total order must not stand on (B7-E6).
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    Subscribe,
    consensus::{Decide, Propose},
    eventually_perfect,
    link::{self, To},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, ProcessId, ProcessSet,
    wire::{self, Undecodable, Wire},
};
use std::collections::BTreeMap;

pub struct Decided {
    instance: u64,
    value: Bytes,
}

impl Wire for Decided {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_number(self.instance, out);
        out.extend_from_slice(&self.value);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let instance = wire::take_number(&mut bytes)?;
        Ok(Decided {
            instance,
            value: bytes,
        })
    }
}

#[derive(Default)]
struct Instance {
    /// The rank whose turn it is, from 0.
    turn: usize,
    value: Option<Bytes>,
    decided: BTreeMap<usize, Bytes>,
}

struct Hierarchical {
    me: ProcessId,
    n: usize,
    suspected: ProcessSet,
    instances: BTreeMap<u64, Instance>,
}

enum Event {
    Propose(Propose),
    Link(link::Deliver<Decided>),
    Detector(eventually_perfect::Indication),
}

enum Effect {
    Link(link::Send<Decided>),
    Decide(Decide),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Propose(request) => request.observe(),
            Event::Link(_) => Observation::internal("Decided"),
            Event::Detector(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(_) => Observation::internal("Decided"),
            Effect::Decide(indication) => indication.observe(),
        }
    }
}

impl Algorithm for Hierarchical {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => {
                self.instances
                    .entry(instance)
                    .or_default()
                    .value
                    .get_or_insert(value);
            }
            Event::Link(link::Deliver { from, message }) => {
                let instance = self.instances.entry(message.instance).or_default();
                instance.decided.insert(from.index(), message.value);
            }
            Event::Detector(indication) => indication.apply(&mut self.suspected),
        }
        let numbers: Vec<u64> = self.instances.keys().copied().collect();
        for number in numbers {
            self.advance(number, ctx);
        }
    }
}

impl Hierarchical {
    /// Each in turn imposes its value and decides it at once: that is what makes it regular only.
    fn advance(&mut self, number: u64, ctx: &mut Ctx<Self>) {
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        while instance.turn < self.n {
            let turn = ProcessId::from_rank(instance.turn + 1).unwrap();
            if turn == self.me {
                let Some(value) = instance.value.clone() else {
                    return;
                };
                let decided = Decided {
                    instance: number,
                    value: value.clone(),
                };
                ctx.trigger(Effect::Link(link::Send {
                    to: To::All,
                    message: decided,
                }));
                ctx.trigger(Effect::Decide(Decide {
                    instance: number,
                    value,
                }));
            } else if let Some(value) = instance.decided.get(&instance.turn) {
                instance.value = Some(value.clone());
            } else if !self.suspected.contains(turn) {
                return;
            }
            instance.turn += 1;
        }
    }
}

pub fn spawn<H: Host>(
    host: &H,
    link: impl Layer<link::Send<Decided>, link::Deliver<Decided>>,
    detector: &Subscribe<eventually_perfect::Indication>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Propose);
    let link = link.attach(mailbox.addr().with(Event::Link));
    detector.send(mailbox.addr().with(Event::Detector));
    let algorithm = Hierarchical {
        me: host.me(),
        n: host.processes().n(),
        suspected: ProcessSet::EMPTY,
        instances: BTreeMap::new(),
    };
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => link.send(request),
        Effect::Decide(indication) => up.send(indication),
    });
    requests
}
