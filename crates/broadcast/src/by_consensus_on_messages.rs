//! Regular total-order broadcast, by a sequence of consensus instances on batches of whole messages.
//!
//! The textbook's form: easy to follow, and one step faster than [`by_consensus`](crate::by_consensus)
//! because regular broadcast is. In return, it sends more bytes, and its agreement binds correct processes
//! only.
//!
//! # Promises
//! - TOB1 validity (liveness): a correct process delivers its own broadcasts, as does every correct
//!   process.
//! - TOB2 no duplication (safety). TOB3 no creation (safety).
//! - TOB4 agreement (liveness): what some correct process delivers, every correct process delivers.
//! - TOB5 total order (safety): of any two correct processes' delivery sequences, one is a prefix of
//!   the other.
//! - FRB5 first-in first-out order (safety): messages of one origin are delivered in the order in
//!   which they were broadcast, none left out.
//!
//! # Assumes
//! Regular reliable broadcast and regular consensus; of consensus also that a decision, once a correct
//! process has it, reaches every correct process. No origin is more than 2²⁰ broadcasts ahead of the order,
//! and no correct process 2¹⁶ decisions behind another; what lies beyond is refused, and links are bounded
//! too. A message that the broadcast below loses in a gap comes with the decision that orders it. If
//! consensus has forgotten that decision, too, this process delivers nothing from there on; its user was told
//! of the gap.
//!
//! # Messages
//! None of its own. Messages travel by reliable broadcast, and again inside the values of consensus:
//! a batch of messages with their identifiers.
//!
//! # Cost
//! Messages for one isolated message of p1 (of p2 where p1 is dead): those of reliable broadcast,
//! [eager](crate::eager) or [lazy](crate::lazy), and those of consensus, by rotating coordinator over
//! ◇P or by hierarchy over P. The sender crashes after k ≥ 1 copies of its message.
//!
//! | run | eager | lazy | rotating coordinator | hierarchy |
//! |---|---|---|---|---|
//! | failure-free | n(n−1) | n−1 | (n+3)(n−1) | n(n−1) |
//! | pn dead | (n−1)² | n−1 | 3n−5 + (n−1)² | (n−1)² |
//! | p1 dead | (n−1)² | n−1 | 5n−7 + (n−1)² | (n−1)² |
//! | p1 crashes | k + (n−1)² | kn | 5n−7 + (n−1)² | (n−1)² |
//!
//! Steps, with the rotating coordinator: p1 at 4, the others at 5; if p1 is dead or crashes, and this
//! is detected D steps later, p2 at D+3, the others at D+4, and a step later with lazy broadcast if no
//! majority has the message from p1. With the hierarchy: pi at i−1, or at D+i−2.
//!
//! With eager broadcast and the rotating coordinator a payload crosses the network 2(n²−1) times. Messages
//! that wait together are ordered together, up to a proposal's limit; a longer one travels alone. Memory:
//! what was delivered below and is not ordered, within a window; a counter per origin; the decisions that
//! came early.
//!
//! # Why it holds
//! Decisions are the same everywhere and are applied in the order of their instances, each sorted by
//! identifier (TOB5). A process proposes, for each origin, the messages that follow those already ordered.
//! The ordered messages are the same at every process that has reached that instance, so that no decision
//! leaves a gap or repeats a message (TOB2, FRB5). While a correct process holds an unordered message of a
//! correct origin, every correct process comes to hold it and the few before it, and proposes them; origins
//! take turns at the head of proposals, so that none waits for ever (TOB1). Decisions reach every correct
//! process, and contain the payloads (TOB4).
//!
//! # Why it is not uniform
//! Over a regular consensus, a process that crashes may have decided, and delivered, differently. A uniform
//! consensus ([`as_regular`](quorate_abstractions::consensus::as_regular)) does not repair this: a process
//! may decide with the help of acceptors that have proposed nothing. Suppose that p1 alone holds a message,
//! has it decided in this way, delivers it and crashes. Then nobody else has anything to propose in that
//! instance, and consensus owes the others no decision: p1 has delivered what no correct process will. The
//! rotating coordinator happens to exclude this, as it waits for a majority of proposals first; the interface
//! of consensus does not.
//!
//! # Source
//! Chandra, Toueg: *Unreliable Failure Detectors for Reliable Distributed Systems*, JACM 1996,
//! section 7; Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed
//! Programming*, section 6.1, “Consensus-Based Total Order”. Deviations: decisions wait for their turn,
//! whether or not this process proposed; a process proposes only messages that continue an origin's ordered
//! prefix, which gives FRB5, but leaves a crashed origin's message unordered for ever if an earlier one was
//! lost with the origin; proposals are limited in size.
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    regular_consensus::{self, Decide, Propose},
    regular_total_order::{self, Broadcast, Deliver},
    reliable,
};
use quorate_core::{
    Algorithm, Ctx, MessageId,
    message::Origin,
    ports,
    wire::{self, Undecodable},
};
use std::collections::{BTreeMap, VecDeque};

/// Messages that are this far above the ordered ones of their origin are refused.
const MESSAGES_AHEAD: u64 = 1 << 20;
/// Decisions that are this far above the last applied one are refused.
const DECISIONS_AHEAD: u64 = 1 << 16;

/// The size of one proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposalSettings {
    /// A proposal takes no further message that would make it longer than this many bytes. Must be well below
    /// the longest message of a link.
    pub proposal_bytes: usize,
}

impl Default for ProposalSettings {
    fn default() -> Self {
        ProposalSettings {
            proposal_bytes: 256 * 1024,
        }
    }
}

/// What is known about one origin's messages.
#[derive(Default)]
struct Stream {
    /// The number of the last message that is ordered and delivered.
    ordered: u64,
    /// The messages that came by reliable broadcast and are not ordered yet.
    held: BTreeMap<u64, Bytes>,
}

impl Stream {
    /// The unordered messages that directly follow the ordered ones, up to the first that has not come.
    fn next(&self, origin: Origin) -> impl Iterator<Item = (MessageId, &Bytes)> {
        (self.ordered + 1..).map_while(move |sequence| {
            let payload = self.held.get(&sequence)?;
            Some((MessageId { origin, sequence }, payload))
        })
    }
}

/// Total order by consensus on messages.
pub struct ByConsensusOnMessages {
    settings: ProposalSettings,
    streams: BTreeMap<Origin, Stream>,
    /// Decisions up to this instance are applied.
    applied: u64,
    /// Whether this process has proposed in the next instance.
    proposed: bool,
    /// Decisions that came before their turn.
    decisions: BTreeMap<u64, Bytes>,
}

ports! {
    offers regular_total_order::Port => Broadcast -> Deliver;
    uses reliable: reliable::Port => Reliable;
    uses consensus: regular_consensus::Port => Decide / Propose;

    /// Starts total order by consensus on messages, over reliable broadcast and regular consensus.
    pub fn spawn(host, settings: ProposalSettings) = ByConsensusOnMessages::new(settings);
}

impl Algorithm for ByConsensusOnMessages {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => {
                ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
            }
            Event::Reliable(delivery) => self.upon_reliable(delivery, ctx),
            Event::Decide(decision) => self.upon_decide(decision, ctx),
        }
    }

    /// Messages that came together are proposed together.
    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_unordered(ctx);
    }
}

impl ByConsensusOnMessages {
    /// The algorithm.
    pub fn new(settings: ProposalSettings) -> Self {
        ByConsensusOnMessages {
            settings,
            streams: BTreeMap::new(),
            applied: 0,
            proposed: false,
            decisions: BTreeMap::new(),
        }
    }

    /// Keeps a message until a decision orders it. If a decision has brought the message already, it must not
    /// be proposed again.
    fn upon_reliable(&mut self, delivery: reliable::Deliver, ctx: &mut Ctx<Self>) {
        let MessageId { origin, sequence } = delivery.id;
        let stream = self.streams.entry(origin).or_default();
        if sequence <= stream.ordered {
            return;
        }
        if sequence - stream.ordered > MESSAGES_AHEAD {
            return ctx.count("message too far ahead");
        }
        stream.held.insert(sequence, delivery.payload);
    }

    /// Decisions are kept until their turn, whether or not this process proposed.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        let Decide { instance, value } = decision;
        if instance <= self.applied {
            return ctx.count("repeated decision");
        }
        if instance - self.applied > DECISIONS_AHEAD {
            return ctx.count("decision too far ahead");
        }
        self.decisions.insert(instance, value);
        self.upon_applicable(ctx);
    }

    /// Upon the next decision: deliver its messages, sorted by identifier.
    fn upon_applicable(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(value) = self.decisions.remove(&(self.applied + 1)) {
            self.applied += 1;
            self.proposed = false;
            let batch = take_messages(value).unwrap_or_else(|_| {
                ctx.count("undecodable decision");
                BTreeMap::new()
            });
            for (id, payload) in batch {
                self.deliver(id, payload, ctx);
            }
        }
    }

    fn deliver(&mut self, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let stream = self.streams.entry(id.origin).or_default();
        if id.sequence != stream.ordered + 1 {
            return ctx.count("decided message out of turn");
        }
        stream.ordered += 1;
        stream.held.remove(&id.sequence);
        ctx.trigger(Effect::Deliver(Deliver { id, payload }));
    }

    /// When messages are unordered and no own proposal is open, proposes that they come next.
    fn upon_unordered(&mut self, ctx: &mut Ctx<Self>) {
        if self.proposed || !self.has_unordered() {
            return;
        }
        self.proposed = true;
        let instance = self.applied + 1;
        let value = self.next_batch(instance);
        ctx.trigger(Effect::Propose(Propose { instance, value }));
    }

    fn has_unordered(&self) -> bool {
        let mut streams = self.streams.values();
        streams.any(|stream| stream.held.contains_key(&(stream.ordered + 1)))
    }

    /// The next messages of every origin, one of each in turn, as many as a proposal may hold. In each
    /// instance another origin comes first, so that the limit starves none.
    fn next_batch(&self, instance: u64) -> Bytes {
        let streams = self.streams.iter();
        let mut turns: VecDeque<_> = streams.map(|(origin, s)| s.next(*origin)).collect();
        let beginning = instance % (turns.len() as u64).max(1);
        turns.rotate_left(beginning as usize);
        let mut batch = BytesMut::new();
        while let Some(mut turn) = turns.pop_front() {
            let Some((id, payload)) = turn.next() else {
                continue;
            };
            let length = batch.len();
            put_message(id, payload, &mut batch);
            if length > 0 && batch.len() > self.settings.proposal_bytes {
                batch.truncate(length);
                break;
            }
            turns.push_back(turn);
        }
        batch.freeze()
    }
}

fn put_message(id: MessageId, payload: &Bytes, out: &mut BytesMut) {
    wire::put_head(&id, out);
    wire::put_batch([payload], out);
}

/// The messages of a batch, sorted by identifier.
fn take_messages(mut bytes: Bytes) -> Result<BTreeMap<MessageId, Bytes>, Undecodable> {
    let mut batch = BTreeMap::new();
    while !bytes.is_empty() {
        let id = wire::take_head(&mut bytes)?;
        let length = usize::try_from(wire::take_number(&mut bytes)?).map_err(|_| Undecodable)?;
        if length > bytes.len() {
            return Err(Undecodable);
        }
        batch.insert(id, bytes.split_to(length));
    }
    Ok(batch)
}

#[cfg(test)]
mod tests;
