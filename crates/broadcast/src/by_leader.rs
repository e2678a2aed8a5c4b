//! Uniform total-order broadcast, driven by a leader: origins spread payloads, the leader orders them.
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
//! Perfect links, the eventual leader detector Ω, f < n/2 crashes. Safety needs neither the detector
//! nor timing. No origin is more than 2¹⁶ batches ahead of what a correct process holds of it without
//! a gap.
//!
//! # Messages
//! - `Data(id, batch)`, from the origin → all: the requests that waited together.
//! - `Accept`, `Accepted` and the other messages of [`ballots`], on a [`Cut`] an instance: for each
//!   origin, up to which batch its messages come next.
//! - `Lacks(held)`, from who misses batches of a cut, after a while, → one after the other; answered
//!   with `Data`.
//!
//! # Cost
//! One isolated message, stable leader: n − 1 `Data`, n − 1 `Accept`, (n−1)² `Accepted`, together n² − 1
//! messages. The leader's own message is delivered by everybody at step 2, another's at step 3 (the
//! followers a step earlier if n ≤ 3). With another process dead: n − 1 + n − 1 + (n−2)(n−1). Messages
//! that wait together travel and are ordered together. Memory: what is not ordered, and of what is
//! ordered the last 1,024 batches or 16 MiB an origin that some process is not known to hold.
//!
//! # Why it holds
//! Decided cuts are the same everywhere and are applied in the order of their instances, and what a cut
//! adds depends only on the cuts before it (TOB5). Cuts are cumulative, so that an origin's messages are
//! ordered without gap or repetition, even if two leaders order the same ones (TOB2, FRB5). A process
//! accepts a cut only once it holds everything up to it, so that a decided cut is held by a majority,
//! a correct process among them, which can be asked (TOB4). What a correct process broadcasts reaches
//! the leader that Ω settles on, which orders whatever it holds (TOB1). Nothing is forgotten before
//! everybody is known to hold it, or a perfect link owes it to who may not.
//!
//! # Source
//! Lamport: *The Part-Time Parliament*, 1998, on identifiers; the separation of payloads from order as
//! in Chandra, Toueg, 1996, section 7. Deviations: those of [`ballots`]; cuts as in
//! [`by_consensus`](crate::by_consensus).
mod message;
mod missing;
mod stream;

use crate::ordering::Outgoing;
pub use crate::ordering::{Configuration, Cut};
use bytes::Bytes;
pub use message::Message;
use quorate_abstractions::{
    Subscribe,
    leader::Trust,
    link::{self, To},
    total_order::{Broadcast, Deliver},
};
use quorate_consensus::ballots::{self, Acceptance, Ballots, Candidacy};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Membership, MessageId, Observation, Observe, ProcessId,
    message::Origin, wire,
};
use std::{collections::BTreeMap, time::Duration};
use stream::Stream;

/// Ordered batches of one origin that are kept for processes that may lack them,
const KEPT: usize = 1024;
/// …and their bytes.
const KEPT_BYTES: usize = 16 << 20;
/// What was accepted or decided, and is not here after this, is asked for.
const PATIENCE: Duration = Duration::from_millis(50);
/// …and again ever more slowly, up to this.
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// Instances so far above the applied ones are not waited for.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// Leader-driven total order.
pub struct ByLeader {
    configuration: Configuration,
    processes: Membership,
    me: Origin,
    outgoing: Outgoing,
    /// How many batches have left.
    sent: u64,
    streams: BTreeMap<Origin, Stream>,
    /// Up to where each process is known to hold everything.
    holds: BTreeMap<ProcessId, Cut>,
    candidacy: Candidacy,
    ballots: Ballots<Cut>,
    /// What this leader has proposed in its ballot, or found proposed.
    proposed: Cut,
    /// Proposals that wait for batches, by instance: those of the highest ballot.
    deferred: BTreeMap<u64, (ProcessId, Acceptance<Cut>, u64)>,
    /// Up to this instance, decisions are applied.
    applied: u64,
    /// Decisions that are not applied yet.
    decisions: BTreeMap<u64, Cut>,
    /// Who is asked next for what is missing, and after how long.
    asked: u64,
    patience: Duration,
    /// Whether the wait before asking is on.
    waits: bool,
}

/// What the algorithm reacts to.
#[derive(Debug)]
pub enum Event {
    /// A request from above.
    Broadcast(Broadcast),
    /// A message.
    Link(link::Deliver<Message>),
    /// Ω trusts this process from now on.
    Leader(Trust),
    /// The wait before another campaign is over.
    Retry,
    /// The wait for missing batches is over.
    Ask,
}

/// What the algorithm triggers.
#[derive(Debug)]
pub enum Effect {
    /// A message.
    Link(link::Send<Message>),
    /// An indication to the layer above.
    Deliver(Deliver),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Broadcast(request) => request.observe(),
            Event::Link(indication) => indication.observe(),
            Event::Leader(indication) => indication.observe().as_internal(),
            Event::Retry => Observation::internal("Retry"),
            Event::Ask => Observation::internal("Ask"),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(request) => request.observe(),
            Effect::Deliver(indication) => indication.observe(),
        }
    }
}

impl Algorithm for ByLeader {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.outgoing.request(payload),
            Event::Link(link::Deliver { from, message }) => match message {
                Message::Data { id, batch } => self.upon_data(id, batch, ctx),
                Message::Lacks { held } => self.upon_lacks(from, &held, ctx),
                Message::Ballots(message) => self.upon_ballots(from, message, ctx),
            },
            Event::Leader(Trust(p)) => self.candidacy.upon_trust(p, &mut self.ballots),
            Event::Retry => self.candidacy.upon_retry(&mut self.ballots),
            Event::Ask => self.upon_ask(ctx),
        }
        self.upon_progress(ctx);
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_room_for_batches(ctx);
        self.upon_unordered(ctx);
    }
}

impl ByLeader {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host, configuration: Configuration) -> Self {
        let processes = *host.processes();
        ByLeader {
            configuration,
            processes,
            me: Origin {
                process: host.me(),
                incarnation: host.incarnation(),
            },
            outgoing: Outgoing::new(&configuration),
            sent: 0,
            streams: BTreeMap::new(),
            holds: processes.iter().map(|p| (p, Cut::default())).collect(),
            candidacy: Candidacy::new(host.me()),
            ballots: Ballots::new(host.me(), processes),
            proposed: Cut::default(),
            deferred: BTreeMap::new(),
            applied: 0,
            decisions: BTreeMap::new(),
            asked: 0,
            patience: PATIENCE,
            waits: false,
        }
    }

    /// Upon requests and room for a batch: they leave together.
    fn upon_room_for_batches(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(batch) = self.outgoing.next_batch() {
            self.sent += 1;
            let id = MessageId {
                origin: self.me,
                sequence: self.sent,
            };
            send(ctx, To::All, Message::Data { id, batch });
        }
    }

    /// A batch has come: from now on it may be ordered.
    fn upon_data(&mut self, id: MessageId, batch: Bytes, ctx: &mut Ctx<Self>) {
        let MessageId { origin, sequence } = id;
        let is_forged = origin == self.me && sequence > self.sent;
        if is_forged || !self.processes.contains(origin.process) {
            return ctx.count("impossible identifier");
        }
        let stream = self.streams.entry(origin).or_default();
        if !stream.hold(sequence, batch) {
            ctx.count("identifier too far ahead");
        }
    }

    /// Upon proposals that waited for batches which are all here now: accept them, also where others
    /// have decided. Upon a higher promise meanwhile: refuse them.
    fn upon_held(&mut self, ctx: &mut Ctx<Self>) {
        let is_due = |(_, acceptance, _): &(ProcessId, Acceptance<Cut>, u64)| {
            self.holds_all(&acceptance.value) || self.ballots.is_outdated(acceptance)
        };
        let due = self.deferred.iter().filter(|(_, waiting)| is_due(waiting));
        let due: Vec<u64> = due.map(|(instance, _)| *instance).collect();
        for instance in due {
            if let Some((from, acceptance, decided)) = self.deferred.remove(&instance) {
                self.accept(from, acceptance, decided, ctx);
            }
        }
    }

    /// A proposal is accepted only once everything up to its cut is here. The sender of a proposal
    /// or an acceptance holds all of that itself.
    fn upon_ballots(
        &mut self,
        from: ProcessId,
        message: ballots::Message<Cut>,
        ctx: &mut Ctx<Self>,
    ) {
        match message {
            ballots::Message::Accept {
                acceptance,
                decided,
            } => {
                self.learn_holder(from, &acceptance.value);
                let is_ready =
                    self.holds_all(&acceptance.value) || self.ballots.is_outdated(&acceptance);
                if is_ready {
                    self.accept(from, acceptance, decided, ctx);
                } else {
                    self.defer(from, acceptance, decided, ctx);
                }
            }
            ballots::Message::Accepted {
                acceptance,
                decided,
            } => {
                self.learn_holder(from, &acceptance.value);
                let message = ballots::Message::Accepted {
                    acceptance,
                    decided,
                };
                self.hand_over(from, message, ctx);
            }
            ballots::Message::Prepare { .. }
            | ballots::Message::Promise { .. }
            | ballots::Message::Refuse { .. }
            | ballots::Message::Decided { .. } => self.hand_over(from, message, ctx),
        }
    }

    fn accept(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<Cut>,
        decided: u64,
        ctx: &mut Ctx<Self>,
    ) {
        let message = ballots::Message::Accept {
            acceptance,
            decided,
        };
        self.hand_over(from, message, ctx);
    }

    fn defer(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<Cut>,
        decided: u64,
        ctx: &mut Ctx<Self>,
    ) {
        let instance = acceptance.instance;
        if instance > self.applied.saturating_add(INSTANCES_AHEAD) {
            return ctx.count("instance too far ahead");
        }
        let waiting = self.deferred.get(&instance);
        if waiting.is_none_or(|(_, other, _)| other.ballot < acceptance.ballot) {
            self.deferred.insert(instance, (from, acceptance, decided));
        }
    }

    fn hand_over(&mut self, from: ProcessId, message: ballots::Message<Cut>, ctx: &mut Ctx<Self>) {
        if let Some(reason) = self.ballots.upon(from, message) {
            ctx.count(reason);
        }
    }

    /// After every event: messages leave, decisions are applied, an elected process leads once it holds
    /// what it is obliged to propose, and what is missing is asked for in the end.
    fn upon_progress(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_held(ctx);
        self.upon_elected();
        for (instance, cut) in self.ballots.take_decisions() {
            self.decisions.insert(instance, cut);
        }
        self.upon_applicable(ctx);
        if let Some(patience) = self.candidacy.wait(&self.ballots) {
            ctx.after(patience, Event::Retry);
        }
        if !self.waits && self.is_waiting_for_batches() {
            self.waits = true;
            ctx.after(self.patience, Event::Ask);
            self.patience = self.patience.saturating_mul(2).min(MOST_PATIENCE);
        }
        for (to, message) in self.ballots.take_outgoing() {
            send(ctx, to, Message::Ballots(message));
        }
    }

    fn upon_elected(&mut self) {
        let Some(obliged) = self.ballots.elected(|cut| self.holds_all(cut)) else {
            return;
        };
        self.candidacy.upon_lead();
        self.ballots.lead(&obliged, Some(&Cut::default()));
        self.proposed = Cut::default();
        for cut in obliged.values().chain(self.decisions.values()) {
            self.proposed.raise(cut);
        }
    }

    /// Upon the next decision, all of whose batches are here: deliver them, origin by origin.
    fn upon_applicable(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(cut) = self.decisions.get(&(self.applied + 1))
            && self.holds_all(cut)
        {
            self.applied += 1;
            self.patience = PATIENCE;
            let Some(Cut(cut)) = self.decisions.remove(&self.applied) else {
                return;
            };
            for (origin, up_to) in cut {
                self.deliver(origin, up_to, ctx);
                self.forget(origin, ctx);
            }
        }
    }

    fn deliver(&mut self, origin: Origin, up_to: u64, ctx: &mut Ctx<Self>) {
        let stream = self.streams.entry(origin).or_default();
        while stream.ordered < up_to {
            let Some(batch) = stream.next() else {
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
        if origin == self.me {
            self.outgoing.upon_return(up_to);
        }
    }

    /// Drops the ordered batches that everybody is known to hold; and the oldest beyond the limit, once
    /// they are on their way to those that may lack them. What is one's own is on its way already.
    fn forget(&mut self, origin: Origin, ctx: &mut Ctx<Self>) {
        let mut others = self.processes.others(self.me.process);
        others.remove(origin.process);
        let held = |p: ProcessId| self.holds.get(&p).map_or(0, |cut| cut.up_to(origin));
        let low = others.iter().map(held).min().unwrap_or(u64::MAX);
        let Some(stream) = self.streams.get_mut(&origin) else {
            return;
        };
        stream.forget(low);
        while let Some((sequence, batch)) = stream.excess(KEPT, KEPT_BYTES) {
            stream.forget(sequence);
            if origin != self.me {
                let id = MessageId { origin, sequence };
                let lacking = others.iter().filter(|p| held(*p) < sequence).collect();
                send(ctx, To::Some(lacking), Message::Data { id, batch });
            }
        }
    }

    /// Upon batches that no proposal orders: a leader proposes that they come next.
    fn upon_unordered(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(instance) = self.ballots.next_instance() {
            let cut = self.unordered();
            let most = self
                .ballots
                .low()
                .saturating_add(self.configuration.instances);
            if cut.0.is_empty() || instance > most {
                break;
            }
            self.proposed.raise(&cut);
            self.ballots.propose(instance, cut);
        }
        self.upon_progress(ctx);
    }

    /// What has come without a gap and lies beyond what is ordered or proposed already.
    fn unordered(&self) -> Cut {
        let next = |(origin, stream): (&Origin, &Stream)| {
            let known = self.proposed.up_to(*origin).max(stream.ordered);
            let most = known.saturating_add(self.configuration.proposal);
            let up_to = stream.contiguous.min(most);
            (up_to > known).then_some((*origin, up_to))
        };
        Cut(self.streams.iter().filter_map(next).collect())
    }

    /// Whether everything up to the cut is here.
    fn holds_all(&self, cut: &Cut) -> bool {
        let contiguous = |origin| self.streams.get(origin).map_or(0, |s| s.contiguous);
        cut.0
            .iter()
            .all(|(origin, up_to)| contiguous(origin) >= *up_to)
    }

    fn learn_holder(&mut self, p: ProcessId, cut: &Cut) {
        if let Some(holds) = self.holds.get_mut(&p) {
            holds.raise(cut);
        }
    }
}

fn send(ctx: &mut Ctx<ByLeader>, to: To, message: Message) {
    ctx.trigger(Effect::Link(link::Send { to, message }));
}

/// Starts leader-driven total order over perfect links and Ω.
pub fn spawn<H: Host>(
    host: &H,
    configuration: Configuration,
    link: impl Layer<link::Send<Message>, link::Deliver<Message>>,
    detector: &Subscribe<Trust>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let link = link.attach(mailbox.addr().with(Event::Link));
    detector.send(mailbox.addr().with(Event::Leader));
    let algorithm = ByLeader::new(host, configuration);
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => link.send(request),
        Effect::Deliver(indication) => up.send(indication),
    });
    requests
}

#[cfg(test)]
mod tests;
