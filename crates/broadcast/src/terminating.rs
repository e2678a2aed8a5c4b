//! Terminating reliable broadcast: consensus on each message of each source, or on the source's crash.
//!
//! # Promises
//! - TRB1 validity (liveness): a correct source delivers what it broadcasts.
//! - TRB2 uniform agreement (safety): no two processes deliver differently in an instance; over
//!   regular consensus ([`spawn_regular`]), no two correct ones.
//! - TRB3 integrity (safety): in an instance a process delivers at most once: either what the source
//!   broadcast there, or that the source is faulty, and then the source has crashed. A source's instances are
//!   delivered one after the other, the report that it is faulty last.
//! - TRB4 termination (liveness): if the source broadcasts its message of that number or crashes, every
//!   correct process delivers in that instance.
//!
//! # Assumes
//! Best-effort broadcast over perfect links, the perfect failure detector P, and uniform consensus, one
//! sequence of instances per source; any number of crashes, as far as consensus survives them. A correct
//! source that does not broadcast leaves its next instance open for ever, and nothing is sent in it: a user
//! that waits for it must ensure that the source broadcasts. No correct process is 2¹⁶ instances of a source
//! behind another; what lies beyond is refused, and links are bounded too. A gap does not stop an instance:
//! when a stream begins anew, the source sends its message in flight again; a process that lacks an older
//! message has the decision of consensus.
//!
//! # Messages
//! `Data(number, payload)`, from the source → everybody. The link identifies the source: nobody relays.
//! `SenderFaulty` is encoded as a form of its own in proposals, so that no payload is mistaken for it.
//!
//! # Cost
//! Over [uniform hierarchical consensus](quorate_consensus::uniform_hierarchical), a message costs
//! (n−1) + n(n−1) = n²−1 messages failure-free; everybody delivers at step n + 1, if the source is p1
//! at step n, the last in rank one step earlier. Over the regular form the messages are as many, and
//! pi delivers at step i, if the source is p1 at step i−1.
//!
//! A source that is dead costs (n−1)² messages, once: its `SenderFaulty` is delivered n−1 steps after
//! the report. The source crashing after k ≥ 1 sends of its message, p1 and reported after D: k + 2(n−1)²
//! messages and D + 2(n−1) steps, for its message is delivered, and then the report. Memory: per source the
//! instance in flight, and what comes ahead of it; the requests that wait here for their turn.
//!
//! # Why it holds
//! A process proposes only what came from the source itself, or that P has reported the source: the rest of
//! TRB3 is the validity of consensus, and the accuracy of P. TRB2 is the agreement of consensus. Consider the
//! first instance in which some correct process is stuck: all correct processes come to it. If the source is
//! correct, its message reaches all of them; if not, each of them gets the message or the report. So all
//! correct processes propose, and consensus decides (TRB4). For a correct source nobody proposes anything but
//! its message (TRB1).
//!
//! # Why each source has its own consensus
//! Sources go on at their own pace, and some stop: they fall silent, or are faulty. One sequence of instances
//! for all, with number (k−1)n + rank for the k-th of a source, would have a hole in each round for each
//! stopped source: the decided instances would no longer be a prefix and a few exceptions, and the window of
//! consensus above its oldest undecided instance would close. A sequence per source has no hole, wherever it
//! ends. It costs a module and a lane per source, and no message.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 6.3, “Consensus-Based Uniform Terminating Reliable Broadcast”. Deviations: many instances per
//! source, the next message being broadcast once its predecessor was delivered at the source; each process
//! proposes once per instance, and crashes that were reported before the instance began count, too; a
//! decision that comes before this process's proposal is then proposed by this process, since consensus owes
//! decisions only if everybody proposes. Decisions may come in any order, and wait for their turn: links are
//! not first-in first-out, so that a process for which one message of consensus is slow may be several
//! instances behind the source.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    Subscribe, best_effort,
    consensus::{self, Decide, Propose},
    link, perfect, regular_consensus,
    terminating::{self, Broadcast, Content, Deliver},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, ProcessId, ProcessSet,
    instances::{Entry, Instances},
    message::digest,
    ports,
    wire::{self, Undecodable, Wire},
};
use std::collections::{BTreeMap, VecDeque};

/// Instances this far above the expected one of their source are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// The only message: the sender's own message of this number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// The message's sequence number at the sender.
    pub number: u64,
    pub payload: Bytes,
}

impl Wire for Data {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_number(self.number, out);
        out.extend_from_slice(&self.payload);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let number = wire::take_number(&mut bytes)?;
        let payload = bytes;
        Ok(Data { number, payload })
    }
}

impl Observe for Data {
    fn observe(&self) -> Observation {
        Observation::internal("Data")
            .instance(self.number)
            .digest(digest(&self.payload))
    }
}

/// The first byte of a proposal that the source is faulty. Nothing follows.
const FAULTY: u8 = 0;
/// The first byte of a proposal of the source's message, which follows.
const MESSAGE: u8 = 1;

/// Encodes an outcome as a value for consensus.
fn encode(outcome: &Content) -> Bytes {
    match outcome {
        Content::SenderFaulty => Bytes::from_static(&[FAULTY]),
        Content::Message(payload) => {
            let mut value = BytesMut::with_capacity(1 + payload.len());
            value.put_u8(MESSAGE);
            value.extend_from_slice(payload);
            value.freeze()
        }
    }
}

fn decode(value: &Bytes) -> Result<Content, Undecodable> {
    match value[..] {
        [FAULTY] => Ok(Content::SenderFaulty),
        [MESSAGE, ..] => Ok(Content::Message(value.slice(1..))),
        _ => Err(Undecodable),
    }
}

/// One instance at one process.
#[derive(Default)]
struct Instance {
    /// The source's message.
    data: Option<Bytes>,
    /// Whether this process has proposed.
    proposed: bool,
    decided: Option<Content>,
}

impl Instance {
    /// What this process can propose, if anything.
    fn proposal(&self, crashed: bool) -> Option<Content> {
        let message = self.data.clone().map(Content::Message);
        let known = message.or_else(|| self.decided.clone());
        known.or(crashed.then_some(Content::SenderFaulty))
    }
}

/// The instances of one source.
struct Source {
    /// The number of the instance whose outcome is to be delivered next.
    expected: u64,
    instances: Instances<Instance>,
}

impl Source {
    fn new() -> Self {
        Source {
            expected: 1,
            instances: Instances::new(INSTANCES_AHEAD),
        }
    }
}

/// Terminating reliable broadcast.
pub struct Terminating {
    me: ProcessId,
    /// The sources that have not been delivered as faulty.
    sources: BTreeMap<ProcessId, Source>,
    /// Processes that the detector has reported as crashed.
    crashed: ProcessSet,
    /// Requests that are not broadcast yet.
    requested: VecDeque<Bytes>,
    /// The message that this process has broadcast and not yet delivered.
    in_flight: Option<Data>,
}

ports! {
    offers terminating::Port => Broadcast -> Deliver;
    uses lane: link::Port<Data> => BestEffort as best_effort::Port<Data>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    uses each consensus: consensus::Port => Decide / Propose;
    watches detector: perfect::Crash => Crash;

    /// Starts terminating reliable broadcast over the best-effort broadcast of a lane, P, and for each source
    /// a uniform consensus of its own.
    pub fn spawn(host) = Terminating::new(host);
}

impl Algorithm for Terminating {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                self.upon_data(from, message, ctx);
            }
            Event::Decide(source, decision) => self.upon_decide(source, decision, ctx),
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl Terminating {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let sources = host.processes().iter();
        Terminating {
            me: host.me(),
            sources: sources.map(|p| (p, Source::new())).collect(),
            crashed: ProcessSet::EMPTY,
            requested: VecDeque::new(),
            in_flight: None,
        }
    }

    /// A process that was delivered as faulty broadcasts nothing more.
    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        if !self.sources.contains_key(&self.me) {
            return ctx.count("broadcast of a source that is faulty");
        }
        self.requested.push_back(payload);
        self.upon_requested(ctx);
    }

    /// When no own message is in flight, broadcasts the next request. So others hold no more than they must.
    fn upon_requested(&mut self, ctx: &mut Ctx<Self>) {
        let Some(source) = self.sources.get(&self.me) else {
            return self.requested.clear();
        };
        if self.in_flight.is_some() {
            return;
        }
        if let Some(payload) = self.requested.pop_front() {
            let number = source.expected;
            let data = Data { number, payload };
            self.in_flight = Some(data.clone());
            ctx.trigger(Effect::BestEffort(best_effort::Broadcast(data)));
        }
    }

    /// Only the first message of a number counts, and only if it comes from the source itself.
    fn upon_data(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        let Some(source) = self.sources.get_mut(&from) else {
            return;
        };
        match source.instances.at(data.number, Instance::default) {
            Entry::Live(instance) => _ = instance.data.get_or_insert(data.payload),
            Entry::Retired => return,
            Entry::TooFar => return ctx.count("message too far ahead"),
        }
        self.upon_expected(from, ctx);
    }

    fn upon_decide(&mut self, p: ProcessId, decision: Decide, ctx: &mut Ctx<Self>) {
        let Ok(outcome) = decode(&decision.value) else {
            return ctx.count("undecodable decision");
        };
        let Some(source) = self.sources.get_mut(&p) else {
            return;
        };
        match source.instances.at(decision.instance, Instance::default) {
            Entry::Live(instance) => instance.decided = Some(outcome),
            Entry::Retired => return ctx.count("repeated decision"),
            Entry::TooFar => return ctx.count("decision too far ahead"),
        }
        self.upon_expected(p, ctx);
    }

    /// When a stream begins anew, sends the message in flight to its receiver again.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        if let link::Status::Begun { peer } = *status
            && let Some(message) = self.in_flight.clone()
        {
            let to = link::To::One(peer);
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    /// A crash affects the instance in flight, and those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.crashed.insert(p);
        self.upon_expected(p, ctx);
    }

    /// For the expected instance of a source: proposes once, delivers what was decided, and then expects the
    /// next instance.
    fn upon_expected(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        let crashed = self.crashed.contains(p);
        while let Some(source) = self.sources.get_mut(&p) {
            let number = source.expected;
            let Entry::Live(instance) = source.instances.at(number, Instance::default) else {
                return;
            };
            if !instance.proposed
                && let Some(proposal) = instance.proposal(crashed)
            {
                instance.proposed = true;
                propose(p, number, &proposal, ctx);
            }
            let Some(outcome) = instance.decided.take() else {
                return;
            };
            self.deliver(p, number, outcome, ctx);
        }
    }

    fn deliver(&mut self, p: ProcessId, number: u64, outcome: Content, ctx: &mut Ctx<Self>) {
        if outcome == Content::SenderFaulty {
            self.sources.remove(&p);
        } else if let Some(source) = self.sources.get_mut(&p) {
            source.instances.retire(number);
            source.expected += 1;
        }
        ctx.trigger(Effect::Deliver(Deliver {
            source: p,
            number,
            outcome,
        }));
        if p == self.me {
            self.in_flight = None;
            self.upon_requested(ctx);
        }
    }
}

fn propose(source: ProcessId, instance: u64, outcome: &Content, ctx: &mut Ctx<Terminating>) {
    let value = encode(outcome);
    ctx.trigger(Effect::Propose(source, Propose { instance, value }));
}

/// Starts terminating reliable broadcast over regular consensus: its agreement binds correct processes
/// only.
pub fn spawn_regular(
    host: &impl Host,
    lane: impl Layer<link::Port<Data>>,
    status: &Subscribe<link::Status>,
    consensus: impl Fn(ProcessId, Addr<regular_consensus::Decide>) -> Addr<regular_consensus::Propose>,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let regular = |source, up: Addr<Decide>| {
        let decided = |regular_consensus::Decide { instance, value }| Decide { instance, value };
        let proposed = |Propose { instance, value }| regular_consensus::Propose { instance, value };
        consensus(source, up.with(decided)).with(proposed)
    };
    spawn(host, lane, status, regular, detector, up)
}

#[cfg(test)]
mod tests;
