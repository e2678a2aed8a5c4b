//! Uniform consensus over the perfect detector whose acceptors need not have proposed (B7-E6): the first live
//! process that has proposed imposes its estimate, and decides once every live process has adopted it. It
//! keeps UC1–4; a value that nobody else proposes need not be decided by anybody else.
use super::*;
use quorate_abstractions::{
    consensus::{Decide, Propose},
    link::{self, To},
    perfect,
};
use quorate_core::{Addr, Host, Membership, Observation, Observe, ProcessSet, wire::Plain};
use serde::{Deserialize, Serialize};

/// A message of one instance.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Message {
    instance: u64,
    /// The value to adopt; `None` says that the sender has adopted it.
    value: Option<Vec<u8>>,
}

impl Plain for Message {}

impl Observe for Message {
    fn observe(&self) -> Observation {
        Observation::internal("Passive").instance(self.instance)
    }
}

#[derive(Default, PartialEq, Eq)]
enum Lead {
    #[default]
    Idle,
    Imposed,
    Announced,
}

#[derive(Default)]
struct Instance {
    estimate: Option<Vec<u8>>,
    /// The highest rank from which a value was adopted.
    leader: Option<ProcessId>,
    proposed: bool,
    /// How far this process has come as the leader.
    lead: Lead,
    adopted: ProcessSet,
    decided: bool,
}

pub(super) struct Passive {
    me: ProcessId,
    processes: Membership,
    crashed: ProcessSet,
    instances: BTreeMap<u64, Instance>,
}

pub(super) enum Event {
    Propose(Propose),
    Link(link::Deliver<Message>),
    Reliable(reliable::Deliver),
    Crash(perfect::Crash),
}

pub(super) enum Effect {
    Link(link::SendRequest<Message>),
    Reliable(reliable::Broadcast),
    Decide(Decide),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Propose(request) => request.observe(),
            Event::Link(indication) => indication.observe(),
            Event::Reliable(indication) => indication.observe().as_internal(),
            Event::Crash(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(request) => request.observe(),
            Effect::Reliable(request) => request.observe().as_internal(),
            Effect::Decide(indication) => indication.observe(),
        }
    }
}

impl Algorithm for Passive {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => {
                let state = self.instances.entry(instance).or_default();
                state.proposed = true;
                state.estimate.get_or_insert_with(|| value.to_vec());
            }
            Event::Link(link::Deliver { from, message }) => self.upon_message(from, message, ctx),
            Event::Reliable(delivery) => self.upon_decided(delivery.payload, ctx),
            Event::Crash(perfect::Crash(q)) => {
                self.crashed.insert(q);
            }
        }
        let numbers: Vec<u64> = self.instances.keys().copied().collect();
        for number in numbers {
            self.upon_lead(number, ctx);
        }
    }
}

impl Passive {
    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        let Message { instance, value } = message;
        let state = self.instances.entry(instance).or_default();
        match value {
            Some(value) if state.leader.is_none_or(|leader| leader <= from) => {
                state.leader = Some(from);
                state.estimate = Some(value);
                let (to, value) = (To::One(from), None);
                let message = Message { instance, value };
                ctx.trigger(Effect::Link(link::SendRequest { to, message }));
            }
            Some(_) => {}
            None => {
                state.adopted.insert(from);
            }
        }
    }

    /// The first live process imposes its estimate once it has proposed, and decides it once every live
    /// process has adopted it.
    fn upon_lead(&mut self, number: u64, ctx: &mut Ctx<Self>) {
        let (me, alive) = (self.me, self.processes.set().without(self.crashed));
        let Some(state) = self.instances.get_mut(&number) else {
            return;
        };
        let Some(value) = state.estimate.clone() else {
            return;
        };
        if alive.iter().next() != Some(me) || !state.proposed || state.decided {
            return;
        }
        if state.lead == Lead::Idle {
            state.lead = Lead::Imposed;
            let (to, value) = (To::All, Some(value.clone()));
            let instance = number;
            let message = Message { instance, value };
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
        if alive.is_subset(state.adopted) && state.lead == Lead::Imposed {
            state.lead = Lead::Announced;
            let mut payload = BytesMut::new();
            wire::put_number(number, &mut payload);
            payload.extend_from_slice(&value);
            let payload = payload.freeze();
            ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
        }
    }

    fn upon_decided(&mut self, mut value: Bytes, ctx: &mut Ctx<Self>) {
        let Ok(instance) = wire::take_number(&mut value) else {
            return;
        };
        let state = self.instances.entry(instance).or_default();
        if !state.decided {
            state.decided = true;
            ctx.trigger(Effect::Decide(Decide { instance, value }));
        }
    }
}

pub(super) fn spawn<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Propose);
    let link = links.open(mailbox.addr().with(Event::Link));
    let reliable = eager_at(host, links, mailbox.addr().with(Event::Reliable));
    detector.send(mailbox.addr().with(Event::Crash));
    let algorithm = Passive {
        me: host.me(),
        processes: *host.processes(),
        crashed: ProcessSet::EMPTY,
        instances: BTreeMap::new(),
    };
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => link.send(request),
        Effect::Reliable(request) => reliable.send(request),
        Effect::Decide(indication) => up.send(indication),
    });
    requests
}
