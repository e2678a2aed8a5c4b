//! Uniform total-order broadcast, by a sequence of consensus instances on what comes next.
//!
//! # Promises
//! - TOB1 validity (liveness): a correct process delivers its own broadcasts.
//! - TOB2 no duplication (safety). TOB3 no creation (safety).
//! - TOB4 uniform agreement (liveness): what any process delivers, every correct process delivers.
//! - TOB5 uniform total order (safety): of any two delivery sequences, one is a prefix of the other.
//! - FRB5 first-in first-out order (safety): messages of one origin are delivered in the order in
//!   which they were broadcast.
//!
//! # Assumes
//! Uniform reliable broadcast and uniform consensus, both: with a weaker broadcast, a decided message may be
//! gone with the only process that had it; with a weaker consensus, a process that crashes may have delivered
//! in another order. If the uniform broadcast below loses a batch in a gap, this process delivers nothing
//! from there on; its user was told of the gap.
//!
//! # Messages
//! None of its own. Payloads travel by uniform broadcast, in batches; consensus is on a [`Cut`]: for
//! each origin, up to which batch its messages come next.
//!
//! # Cost
//! For one isolated message of p1 with [`majority_ack`](crate::majority_ack) and the rotating
//! coordinator; D is the time of detection:
//!
//! | run | messages | steps |
//! |---|---|---|
//! | failure-free | (2n+3)(n−1) | p1 at 5, the others at 6 (n ≤ 3: a step less) |
//! | pn dead | 2(n−1)² + 3n−5 | the same |
//! | p1 dead, p2 broadcasts | 2(n−1)² + 5n−7 | p2 at D+3, the others at D+4 |
//! | p1 crashes after k ≥ 1 sends | k + 2(n−1)² + 5n−7 | p2 D+3 after it, the others D+4 |
//!
//! Messages that wait together travel and are ordered together. Memory: what was delivered below and is not
//! yet ordered, a counter per origin, and the decisions that came early.
//!
//! # Why it holds
//! Decisions are the same everywhere and are applied in the order of their instances, and what a
//! decision adds depends only on the decisions before it (TOB5). A cut is cumulative, so that an
//! origin's messages are ordered without gap or repetition, whatever instances ran side by side
//! (TOB2, FRB5). A process proposes only what uniform broadcast has delivered to it, so that the
//! payloads of a decided cut reach every correct process (TOB4). A process that holds something
//! unordered has always proposed in the next instance to apply, and so has, eventually, every correct
//! process, so that it is decided (TOB1).
//!
//! # Source
//! Chandra, Toueg: *Unreliable Failure Detectors for Reliable Distributed Systems*, JACM 1996,
//! section 7; Guerraoui, Cachin, Rodrigues, section 6.1. Deviations: identifiers are proposed, not
//! payloads, and as cumulative cuts; several instances run at a time; requests that wait together
//! become one broadcast.
use crate::ordering::Outgoing;
pub use crate::ordering::{Cut, OrderSettings};
use bytes::Bytes;
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    total_order::{self, Broadcast, Deliver},
    uniform,
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId,
    message::Origin,
    ports,
    wire::{self, Wire},
};
use std::collections::BTreeMap;

/// What is known about one origin's batches.
#[derive(Default)]
struct Stream {
    /// The number of the last batch that is ordered and delivered.
    ordered: u64,
    /// The number of messages in those batches.
    delivered: u64,
    /// The batches that came by uniform broadcast and are not ordered yet.
    held: BTreeMap<u64, Bytes>,
    /// All batches up to this one have come.
    contiguous: u64,
}

impl Stream {
    fn hold(&mut self, batch: u64, payload: Bytes) {
        if batch > self.ordered {
            self.held.insert(batch, payload);
        }
        while self.held.contains_key(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
    }
}

/// Total order by consensus.
pub struct ByConsensus {
    settings: OrderSettings,
    me: Origin,
    outgoing: Outgoing,
    streams: BTreeMap<Origin, Stream>,
    /// Decisions up to this instance are applied.
    applied: u64,
    /// Decisions that are not applied yet.
    decisions: BTreeMap<u64, Cut>,
    /// This process's proposals in instances that are not applied yet.
    proposals: BTreeMap<u64, Cut>,
}

ports! {
    offers total_order::Port => Broadcast -> Deliver;
    uses uniform: uniform::Port => Uniform;
    uses consensus: consensus::Port => Decide / Propose;

    /// Starts total order by consensus, over uniform broadcast and uniform consensus.
    pub fn spawn(host, settings: OrderSettings) = ByConsensus::new(host, settings);
}

impl Algorithm for ByConsensus {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.outgoing.request(payload),
            Event::Uniform(delivery) => self.upon_uniform(delivery, ctx),
            Event::Decide(decision) => self.upon_decide(decision, ctx),
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_room_for_batches(ctx);
        self.upon_unordered(ctx);
    }
}

impl ByConsensus {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host, settings: OrderSettings) -> Self {
        ByConsensus {
            settings,
            me: Origin {
                process: host.me(),
                incarnation: host.incarnation(),
            },
            outgoing: Outgoing::new(&settings),
            streams: BTreeMap::new(),
            applied: 0,
            decisions: BTreeMap::new(),
            proposals: BTreeMap::new(),
        }
    }

    /// When requests wait and a batch may leave, the requests leave together.
    fn upon_room_for_batches(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(payload) = self.outgoing.next_batch() {
            ctx.trigger(Effect::Uniform(uniform::Broadcast { payload }));
        }
    }

    /// A batch has come: it may be ordered from now on, or a decision was waiting for it.
    fn upon_uniform(&mut self, delivery: uniform::Deliver, ctx: &mut Ctx<Self>) {
        let uniform::Deliver {
            id: MessageId { origin, sequence },
            payload,
        } = delivery;
        let stream = self.streams.entry(origin).or_default();
        stream.hold(sequence, payload);
        if origin == self.me {
            self.outgoing.upon_return(stream.contiguous);
        }
        self.upon_applicable(ctx);
    }

    /// Decisions are kept until their turn, whether or not this process proposed.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        let cut = Cut::decode(decision.value).unwrap_or_else(|_| {
            ctx.count("undecodable decision");
            Cut::default()
        });
        self.decisions.insert(decision.instance, cut);
        self.upon_applicable(ctx);
    }

    /// Upon the next decision, all of whose messages are here: deliver them, origin by origin.
    fn upon_applicable(&mut self, ctx: &mut Ctx<Self>) {
        while self.is_applicable(self.applied + 1) {
            self.applied += 1;
            self.proposals.remove(&self.applied);
            let Some(Cut(cut)) = self.decisions.remove(&self.applied) else {
                return;
            };
            for (origin, up_to) in cut {
                self.deliver(origin, up_to, ctx);
            }
        }
    }

    fn deliver(&mut self, origin: Origin, up_to: u64, ctx: &mut Ctx<Self>) {
        let stream = self.streams.entry(origin).or_default();
        while stream.ordered < up_to {
            stream.ordered += 1;
            let Some(batch) = stream.held.remove(&stream.ordered) else {
                continue;
            };
            let Ok(payloads) = wire::take_batch(batch) else {
                ctx.count("undecodable batch");
                continue;
            };
            let first = stream.delivered + 1;
            stream.delivered += payloads.len() as u64;
            if !payloads.is_empty() {
                ctx.trigger(Effect::Deliver(Deliver {
                    origin,
                    first,
                    payloads,
                }));
            }
        }
    }

    /// Proposes to order next the messages that no decision and no own proposal orders. Once the allowed
    /// number of own proposals is in flight, no instance is free; the loop's condition only saves the search
    /// for one.
    fn upon_unordered(&mut self, ctx: &mut Ctx<Self>) {
        while self.proposals.len() < self.settings.instances as usize {
            let cut = self.unordered();
            if cut.0.is_empty() {
                return;
            }
            let instance = self.next_instance();
            if instance > self.applied + self.settings.instances {
                return;
            }
            let value = wire::encode(&cut);
            self.proposals.insert(instance, cut);
            ctx.trigger(Effect::Propose(Propose { instance, value }));
        }
    }

    /// The batches that have come without a gap and lie beyond those ordered or proposed already.
    fn unordered(&self) -> Cut {
        let next = |(origin, stream): (&Origin, &Stream)| {
            let proposed = self
                .proposals
                .values()
                .filter_map(|cut| cut.0.get(origin))
                .max();
            let known = proposed.copied().unwrap_or(0).max(stream.ordered);
            let up_to = stream
                .contiguous
                .min(known.saturating_add(self.settings.proposal));
            (up_to > known).then_some((*origin, up_to))
        };
        Cut(self.streams.iter().filter_map(next).collect())
    }

    /// The first instance that is neither applied, nor decided, nor proposed in.
    fn next_instance(&self) -> u64 {
        let mut instance = self.applied + 1;
        while self.decisions.contains_key(&instance) || self.proposals.contains_key(&instance) {
            instance += 1;
        }
        instance
    }

    /// A decision can be applied once everything up to its cut is here.
    fn is_applicable(&self, instance: u64) -> bool {
        let is_here = |(origin, up_to): (&Origin, &u64)| {
            self.streams
                .get(origin)
                .map_or(0, |stream| stream.contiguous)
                >= *up_to
        };
        self.decisions
            .get(&instance)
            .is_some_and(|cut| cut.0.iter().all(is_here))
    }
}

#[cfg(test)]
pub(crate) mod tests;
