//! Uniform consensus from uniform total-order broadcast, in many instances: the first proposal in the
//! order is the decision.
//!
//! The converse of total order by consensus. Together they say that the two problems are one: what
//! either needs, and cannot do without, the other does.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety).
//! - UC4 termination (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it. (It is enough that one correct process proposes.)
//!
//! # Assumes
//! Uniform total-order broadcast, and whatever that assumes. No instance is more than 2¹⁶ above the
//! lowest undecided one: a proposal in what lies beyond is refused, at every process alike.
//!
//! # Messages
//! `(instance, value)`, by total-order broadcast: a proposal.
//!
//! # Cost
//! A proposal costs what one broadcast of the total order below does, in messages and in steps; in an
//! instance in which all propose, up to n of them. Memory: the undecided instances in which this
//! process has proposed; decided ones are places in a watermark.
//!
//! # Why it holds
//! Whether a proposal is the first of its instance depends only on what the order has before it, which
//! is the same everywhere (UC2), and there is one first (UC3). It is somebody's proposal (UC1). A
//! correct process delivers its own proposal, unless another of that instance came first, and what any
//! process delivers, every correct one does (UC4).
//!
//! # Source
//! Chandra, Toueg: *Unreliable Failure Detectors for Reliable Distributed Systems*, JACM 1996,
//! section 7.1; Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed
//! Programming*, chapter 6. Deviation: many instances share one total order.
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    consensus::{Decide, Propose},
    total_order::{Broadcast, Deliver},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe,
    instances::{Entry, Instances},
    wire,
};

/// Instances so far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// An undecided instance at one process.
#[derive(Debug, Default)]
struct Instance {
    /// Whether this process has proposed.
    proposed: bool,
}

/// Consensus by total order.
pub struct ByTotalOrder {
    instances: Instances<Instance>,
}

/// What the algorithm reacts to.
#[derive(Debug)]
pub enum Event {
    /// A request from above.
    Propose(Propose),
    /// Proposals, in the total order.
    Deliver(Deliver),
}

/// What the algorithm triggers.
#[derive(Debug)]
pub enum Effect {
    /// A proposal, to total-order broadcast.
    Broadcast(Broadcast),
    /// An indication to the layer above.
    Decide(Decide),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Propose(request) => request.observe(),
            Event::Deliver(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Broadcast(request) => request.observe().as_internal(),
            Effect::Decide(indication) => indication.observe(),
        }
    }
}

impl Algorithm for ByTotalOrder {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, &value, ctx),
            Event::Deliver(Deliver { payloads, .. }) => {
                for payload in payloads {
                    self.upon_proposal(payload, ctx);
                }
            }
        }
    }
}

impl Default for ByTotalOrder {
    fn default() -> Self {
        ByTotalOrder {
            instances: Instances::new(INSTANCES_AHEAD),
        }
    }
}

impl ByTotalOrder {
    /// The first proposal of this process in an instance is broadcast, unless it is decided already.
    fn upon_propose(&mut self, number: u64, value: &Bytes, ctx: &mut Ctx<Self>) {
        match self.instances.at(number, Instance::default) {
            Entry::Live(Instance { proposed: true }) | Entry::Retired => {}
            Entry::Live(instance) => {
                instance.proposed = true;
                let payload = proposal(number, value);
                ctx.trigger(Effect::Broadcast(Broadcast { payload }));
            }
            Entry::TooFar => ctx.count("instance too far ahead"),
        }
    }

    /// The first proposal of an instance decides it. What is refused here is refused by everybody:
    /// which instances are decided depends on the order alone.
    fn upon_proposal(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let mut value = payload;
        let Ok(number) = wire::take_number(&mut value) else {
            return ctx.count("undecodable proposal");
        };
        match self.instances.at(number, Instance::default) {
            Entry::Live(_) => {
                self.instances.retire(number);
                ctx.trigger(Effect::Decide(Decide {
                    instance: number,
                    value,
                }));
            }
            Entry::Retired => {}
            Entry::TooFar => ctx.count("instance too far ahead"),
        }
    }
}

/// What total order carries: the instance, then the value.
fn proposal(instance: u64, value: &Bytes) -> Bytes {
    let mut payload = BytesMut::with_capacity(value.len() + 10);
    wire::put_number(instance, &mut payload);
    payload.extend_from_slice(value);
    payload.freeze()
}

/// Starts consensus over total-order broadcast.
pub fn spawn<H: Host>(
    host: &H,
    total_order: impl Layer<Broadcast, Deliver>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Propose);
    let total_order = total_order.attach(mailbox.addr().with(Event::Deliver));
    let algorithm = ByTotalOrder::default();
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Broadcast(request) => total_order.send(request),
        Effect::Decide(indication) => up.send(indication),
    });
    requests
}

#[cfg(test)]
mod tests;
