//! Uniform consensus from uniform total-order broadcast, in many instances: the first proposal in the
//! order is the decision.
//!
//! The converse of total order by consensus. Together they say that the two problems are equivalent: a system
//! in which one can be solved solves the other.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety).
//! - UC4 termination (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it. (It is enough that one correct process proposes.)
//!
//! # Assumes
//! Uniform total-order broadcast, and whatever that assumes. No instance is more than 2¹⁶ above the lowest
//! undecided one: a proposal beyond that is refused, at every process alike. If the order skips what nobody
//! keeps any more, it gives and takes states; a process that missed a decision that is not among the latest
//! 256, or 4 MiB of them, never gets it. Over an order that skips and keeps no state ([`spawn`]), a process
//! decides nothing after a skip.
//!
//! # Messages
//! `(instance, value)`, by total-order broadcast: a proposal.
//!
//! # Cost
//! A proposal costs what one broadcast of the total order below does, in messages and in steps; in an
//! instance in which all propose, up to n of them. Memory: the undecided instances in which this process has
//! proposed; decided ones as a watermark, and the values of the latest.
//!
//! # Why it holds
//! Whether a proposal is the first of its instance depends only on what precedes it in the order. That is the
//! same everywhere, and so is a state that covers it (UC2), and only one proposal is the first (UC3). A
//! process that has skipped something, and has no state, cannot know which is the first. The decision is some
//! process's proposal (UC1). A correct process delivers its own proposal, unless another of that instance
//! came first, and what any process delivers, every correct one delivers (UC4).
//!
//! # Source
//! Chandra, Toueg: *Unreliable Failure Detectors for Reliable Distributed Systems*, JACM 1996,
//! section 7.1; Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed
//! Programming*, chapter 6. Deviations: many instances share one total order; states.
mod decisions;

use bytes::{Bytes, BytesMut};
use decisions::Decisions;
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    reconfigurable::{self, Indication, Request, Restore, View},
    total_order::{self, Broadcast, Deliver},
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Layer, instances::Entry, ports, wire};

/// Instances this far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// An undecided instance at one process.
#[derive(Debug, Default)]
struct Instance {
    /// Whether this process has proposed.
    proposed: bool,
}

/// Consensus by total order.
#[derive(Default)]
pub struct ByTotalOrder {
    decisions: Decisions,
    /// The chunks of the state that is being transferred to this process.
    arriving: BytesMut,
    /// Whether the order skipped something here that no state covers.
    skipped: bool,
}

ports! {
    offers consensus::Port => Propose -> Decide;
    uses order: reconfigurable::Port => Order;

    /// Starts consensus over total-order broadcast whose users give and take states.
    pub fn spawn_with_state(host) = ByTotalOrder::default();
}

impl Algorithm for ByTotalOrder {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, &value, ctx),
            Event::Order(Indication::Deliver(Deliver { payloads, .. })) if payloads.is_empty() => {
                self.upon_skipped(ctx);
            }
            Event::Order(Indication::Deliver(Deliver { payloads, .. })) => {
                for payload in payloads {
                    self.upon_proposal(payload, ctx);
                }
            }
            Event::Order(Indication::StateWanted { transfer }) => {
                let view = View::of_bytes(self.decisions.encode());
                ctx.trigger(Effect::Order(Request::State { transfer, view }));
            }
            Event::Order(Indication::Restore(restore)) => match restore {
                Restore::Begin | Restore::Abandoned => self.arriving.clear(),
                Restore::Chunk(chunk) => self.arriving.extend_from_slice(&chunk),
                Restore::Whole => self.upon_state(ctx),
            },
            // Nobody comes back.
            Event::Order(Indication::Epoch(_)) => {}
        }
    }
}

impl ByTotalOrder {
    /// The first proposal of this process in an instance is broadcast, unless it is decided already.
    fn upon_propose(&mut self, number: u64, value: &Bytes, ctx: &mut Ctx<Self>) {
        match self.decisions.at(number) {
            Entry::Live(Instance { proposed: true }) | Entry::Retired => {}
            Entry::Live(instance) => {
                instance.proposed = true;
                let payload = proposal(number, value);
                ctx.trigger(Effect::Order(Request::Broadcast(Broadcast { payload })));
            }
            Entry::TooFar => ctx.count("instance too far ahead"),
        }
    }

    /// The first proposal of an instance decides it. A proposal that is refused here is refused by everybody:
    /// which instances are decided depends on the order alone.
    fn upon_proposal(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let mut value = payload;
        let Ok(number) = wire::take_number(&mut value) else {
            return ctx.count("undecodable proposal");
        };
        if self.skipped {
            return ctx.count("proposal behind one that was skipped");
        }
        match self.decisions.at(number) {
            Entry::Live(_) => {
                let instance = number;
                let decision = Decide { instance, value };
                self.decisions.decide(decision.clone());
                ctx.trigger(Effect::Decide(decision));
            }
            Entry::Retired => {}
            Entry::TooFar => ctx.count("instance too far ahead"),
        }
    }

    /// After a skip without a state, this process does not know which proposal is the first of an instance.
    fn upon_skipped(&mut self, ctx: &mut Ctx<Self>) {
        self.skipped = true;
        ctx.count("decides nothing any more, since proposals were skipped");
    }

    /// Another process's state covers what was not delivered here: its new decisions are indicated.
    fn upon_state(&mut self, ctx: &mut Ctx<Self>) {
        let state = std::mem::take(&mut self.arriving).freeze();
        let Ok(news) = self.decisions.restore(state) else {
            ctx.count("undecodable state");
            return self.upon_skipped(ctx);
        };
        for decision in news {
            ctx.trigger(Effect::Decide(decision));
        }
    }
}

/// The payload of total order: the instance, then the value.
fn proposal(instance: u64, value: &Bytes) -> Bytes {
    let mut payload = BytesMut::with_capacity(value.len() + 10);
    wire::put_number(instance, &mut payload);
    payload.extend_from_slice(value);
    payload.freeze()
}

/// Starts consensus over total-order broadcast that skips nothing, or whose users keep no state: after a
/// skip, nothing is decided.
pub fn spawn(
    host: &impl Host,
    total_order: impl Layer<total_order::Port>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let order = |up: Addr<Indication>| {
        let broadcasts = total_order.attach(up.with(Indication::Deliver));
        Addr::new(move |request| match request {
            Request::Broadcast(request) => broadcasts.send(request),
            // Nobody wants a state.
            Request::State { .. } => {}
        })
    };
    spawn_with_state(host, order, up)
}

#[cfg(test)]
mod tests;
