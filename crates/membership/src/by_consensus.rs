//! View synchrony by consensus: the next view, and what is delivered before it, are one decision.
//!
//! # Promises
//! - VS1 view inclusion, VS2 monotonicity, VS3 uniform agreement on views, VS5 accuracy (safety).
//! - VS4 completeness, VS6 validity, VS11 leaving (liveness). VS7 no duplication, VS8 no creation, VS12 no
//!   return (safety).
//! - VS9 agreement (safety): processes that pass from one view to the next have delivered the same messages
//!   in it, and so has a process that leaves.
//!
//! - UVS9 uniform agreement (liveness), only if started by [`spawn_uniform`]: what any process delivers in a view,
//!   even one that crashes, every correct process of the view delivers in it.
//!
//! # Assumes
//! Best-effort broadcast over perfect links, uniform consensus, the perfect failure detector P; any number of
//! crashes. Nobody joins. The user answers `Block`. A gap does not stop a view: when a stream begins anew, a
//! member sends its receiver again what it has broadcast in the view and is not stable, and how much it has
//! delivered; or its flush.
//!
//! # Messages
//! - `Data(view, number, id, payload)`: a broadcast.
//! - `Flush(view, leaves, messages)`: I deliver nothing more in this view before the decision, and have
//!   delivered these, which others may lack; and whether I leave. In the uniform form: I receive nothing more, have
//!   received these, and deliver before the decision only what every member has received.
//! - `Stable(view, counts)`: I have delivered this many messages; sent every 32 deliveries, or 512/n KiB. In the
//!   uniform form: I have received this many; sent at each message of another.
//!
//! # Cost
//! A broadcast: n − 1 messages, one step (and one 32nd of a report at each process). A view change after one
//! crash, over uniform hierarchical consensus: (n−1)² messages `Flush` and as many of consensus, n steps
//! after the report (one less for the last in rank; none if only one process is left). The lecture gives 1 +
//! n steps, but consensus skips the rounds of processes that P has reported. A process that leaves,
//! failure-free: n(n−1) messages `Flush` and as many of consensus. Memory: messages that are delivered and not
//! stable, at most 256 per member; as much of the next view for members that are ahead.
//!
//! In the uniform form a broadcast costs n(n−1) messages and two steps.
//!
//! # Why it holds
//! A process that flushes delivers nothing before the decision (in the uniform form, nothing that some member may
//! lack), and a decision contains the flushes of all its members: their union, with what all members have anyway, is
//! what each of them has delivered in the end (VS9). A proposer waits for the flush of every member that P has not reported, and a process that hears of
//! a flush flushes; so all correct members propose, and the decision comes (VS4). Crashes that were noticed
//! meanwhile begin the next change at once. A member can be at most one view ahead: the decision after the
//! next needs this process's flush.
//!
//! A process that leaves flushes once it has broadcast what it was asked to before: everybody then flushes, and
//! the proposals contain its flush, and not itself as a member. So the others deliver what it has delivered, and
//! it delivers what they have (VS11, VS12). After that it flushes nothing, but hears the flushes of the members
//! and proposes as they do, because consensus may wait for the proposal of every correct process.
//!
//! In the uniform form a message is delivered once every member has received it, or when the next view is
//! decided. What a process delivers before that decision, every correct member has received, and keeps until it
//! delivers it, or flushes it: then the decision contains it. What it delivers by the decision, every process
//! that comes to the next view, or leaves, delivers by the same decision (UVS9).
//!
//! # Source
//! The lecture's second view-synchronous algorithm; Guerraoui, Cachin, Rodrigues, section 6.8, in substance.
//! Deviations: flushes are kept by view and contain what is not stable; a received flush starts one; crashes
//! also count while flushing; the proposal is made once, of members only; the deliveries from one sender
//! within a view are in its order; a process may leave; there is a uniform form, which delivers what is stable.
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;

use crate::{
    messages::{Data, Decision, Message},
    within::{Early, Outgoing, Within, union},
};
use quorate_abstractions::{
    best_effort,
    consensus::{self, Decide, Propose},
    group_membership::View,
    link, perfect,
    view_synchrony::{self, Deliver, Indication, Request},
};
use quorate_core::{
    Algorithm, Ctx, Host, ProcessId, ProcessSet, ports,
    wire::{self, Wire},
};
use std::collections::BTreeMap;

/// How far this process has come in leaving its view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It stays in the view.
    Open,
    /// It has asked its user to stop broadcasting.
    Asked,
    /// It has flushed.
    Blocked,
    /// It has proposed the next view.
    Proposed,
}

/// When a message is delivered in its view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Delivery {
    /// When it comes.
    AtOnce,
    /// When every member has received it, or when the view ends: the uniform form.
    OnceStable,
}

/// The flush of a member.
struct Flushed {
    leaves: bool,
    messages: Vec<Data>,
}

/// View synchrony by consensus.
pub struct ByConsensus {
    me: ProcessId,
    view: View,
    phase: Phase,
    delivery: Delivery,
    /// Whether this process's flush of the present view says that it leaves.
    leaves: bool,
    /// Whether this process has left. Then it only takes part in consensus, and is never in the phases
    /// before [`Blocked`](Phase::Blocked).
    has_left: bool,
    crashed: ProcessSet,
    outgoing: Outgoing,
    within: Within,
    /// The flushes of the present view, by member.
    flushed: BTreeMap<ProcessId, Flushed>,
    early: Early,
    /// Decisions about views after the next.
    decisions: BTreeMap<u64, Decision>,
}

ports! {
    offers view_synchrony::Port => Request -> Indicate;
    uses lane: link::Port<Message> => BestEffort as best_effort::Port<Message>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    uses consensus: consensus::Port => Decide / Propose;
    watches detector: perfect::Crash => Crash;

    /// Starts view synchrony by consensus, over the best-effort broadcast of a lane, uniform consensus and P.
    pub fn spawn(host) = ByConsensus::new(host);
    /// Starts the uniform form.
    pub fn spawn_uniform(host) = ByConsensus::uniform(host);
}

impl Algorithm for ByConsensus {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.indicate_view(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                self.upon_message(from, message, ctx);
            }
            Event::Status(status) => self.upon_status(&status, ctx),
            Event::Decide(decision) => self.upon_decide(decision, ctx),
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
        }
    }
}

impl ByConsensus {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let (me, members) = (host.me(), host.processes().set());
        ByConsensus {
            me,
            view: View { id: 0, members },
            phase: Phase::Open,
            delivery: Delivery::AtOnce,
            leaves: false,
            has_left: false,
            crashed: ProcessSet::EMPTY,
            outgoing: Outgoing::new(host),
            within: Within::new(me, members),
            flushed: BTreeMap::new(),
            early: Early::default(),
            decisions: BTreeMap::new(),
        }
    }

    /// The uniform form at `host`.
    pub fn uniform(host: &impl Host) -> Self {
        let regular = ByConsensus::new(host);
        ByConsensus {
            delivery: Delivery::OnceStable,
            within: regular.within.keeping_stable(),
            ..regular
        }
    }

    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        match request {
            Request::Broadcast(_) if self.outgoing.is_leaving() => {
                ctx.count("broadcast after leaving");
            }
            Request::Broadcast(payload) => {
                self.outgoing.push(payload);
                self.upon_room(ctx);
            }
            Request::Leave => self.upon_wish_to_leave(ctx),
            Request::BlockOk => self.upon_block_ok(ctx),
            Request::State { .. } | Request::Decline { .. } | Request::Join => {
                ctx.count("nobody joins");
            }
        }
    }

    fn upon_wish_to_leave(&mut self, ctx: &mut Ctx<Self>) {
        if !self.outgoing.leave() {
            return ctx.count("leaves already");
        }
        self.upon_last_broadcast(ctx);
    }

    /// When the last broadcast of a process that leaves has left, flushes, which makes everybody flush.
    fn upon_last_broadcast(&mut self, ctx: &mut Ctx<Self>) {
        if self.outgoing.is_due() {
            self.start_flush(ctx);
        }
    }

    /// When the user is not blocked, delivers and broadcasts the requests that there is room for.
    fn upon_room(&mut self, ctx: &mut Ctx<Self>) {
        while matches!(self.phase, Phase::Open | Phase::Asked)
            && let Some(data) = self.outgoing.next(&mut self.within)
        {
            self.upon_received(data.clone(), ctx);
            let view = self.view.id;
            tell(Message::Data { view, data }, ctx);
        }
        self.upon_stable(ctx);
        self.upon_report_due(ctx);
        self.upon_last_broadcast(ctx);
    }

    fn upon_received(&self, data: Data, ctx: &mut Ctx<Self>) {
        if self.delivery == Delivery::AtOnce {
            self.indicate_delivery(data, ctx);
        }
    }

    /// In the uniform form, delivers what every member has received.
    fn upon_stable(&mut self, ctx: &mut Ctx<Self>) {
        for data in self.within.take_stable() {
            self.indicate_delivery(data, ctx);
        }
    }

    /// When a stream begins anew, sends its receiver again what was sent in this view, and may be needed:
    /// after the flush, the flush; before it, what is not stable, and the delivery counts.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        if self.has_left {
            return;
        }
        let view = self.view.id;
        if matches!(self.phase, Phase::Blocked | Phase::Proposed) {
            return tell_again(peer, self.flush(), ctx);
        }
        for data in self.within.own_unstable().cloned() {
            tell_again(peer, Message::Data { view, data }, ctx);
        }
        let counts = self.within.counts();
        tell_again(peer, Message::Stable { view, counts }, ctx);
    }

    fn upon_report_due(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(counts) = self.within.report() {
            let view = self.view.id;
            tell(Message::Stable { view, counts }, ctx);
        }
    }

    /// The user broadcasts nothing more: flushes what was received in the view, and receives no more.
    fn upon_block_ok(&mut self, ctx: &mut Ctx<Self>) {
        if self.phase != Phase::Asked {
            return ctx.count("unasked BlockOk");
        }
        self.phase = Phase::Blocked;
        self.leaves = self.outgoing.is_due();
        tell(self.flush(), ctx);
    }

    fn flush(&self) -> Message {
        Message::Flush {
            view: self.view.id,
            leaves: self.leaves,
            messages: self.within.unstable(),
        }
    }

    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        match message.view().checked_sub(self.view.id) {
            None => {}
            Some(1) => {
                if let Err(reason) = self.early.keep(from, message) {
                    ctx.count(reason);
                }
            }
            Some(2..) => ctx.count("view too far ahead"),
            Some(0) if !self.view.members.contains(from) => ctx.count("not a member"),
            Some(0) => match message {
                Message::Data { data, .. } => self.upon_data(from, data, ctx),
                Message::Stable { counts, .. } => {
                    self.within.hear_counts(from, &counts);
                    self.upon_room(ctx);
                }
                Message::Flush {
                    leaves, messages, ..
                } => self.upon_flush(from, Flushed { leaves, messages }, ctx),
            },
        }
    }

    /// While blocked, nothing is received: the message is in its sender's flush.
    fn upon_data(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        if matches!(self.phase, Phase::Blocked | Phase::Proposed) {
            return;
        }
        match self.within.hear(from, data) {
            Ok(ready) => {
                for data in ready {
                    self.upon_received(data, ctx);
                }
                self.upon_room(ctx);
            }
            Err(reason) => ctx.count(reason),
        }
    }

    /// A member's first flush counts, and makes everybody flush.
    fn upon_flush(&mut self, from: ProcessId, flush: Flushed, ctx: &mut Ctx<Self>) {
        self.flushed.entry(from).or_insert(flush);
        self.start_flush(ctx);
        self.upon_all_flushed(ctx);
    }

    /// Only a member's crash changes the view; it may be what a proposal was waiting for.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.crashed.insert(p);
        if self.view.members.contains(p) {
            self.start_flush(ctx);
        }
        self.upon_all_flushed(ctx);
    }

    fn start_flush(&mut self, ctx: &mut Ctx<Self>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Asked;
            ctx.trigger(Effect::Indicate(Indication::Block));
        }
    }

    /// Once all members have flushed, except those that have crashed, proposes the next view, once: those that
    /// do not leave.
    fn upon_all_flushed(&mut self, ctx: &mut Ctx<Self>) {
        let alive = self.view.members.without(self.crashed);
        let all = alive.iter().all(|p| self.flushed.contains_key(&p));
        if self.phase != Phase::Blocked || !all || alive.is_empty() {
            return;
        }
        self.phase = Phase::Proposed;
        let flushed = || self.flushed.iter().filter(|(p, _)| alive.contains(**p));
        let staying = flushed().filter(|(_, flush)| !flush.leaves);
        let proposal = Decision {
            members: staying.map(|(p, _)| *p).collect(),
            messages: union(flushed().map(|(_, flush)| &flush.messages)),
        };
        ctx.trigger(Effect::Propose(Propose {
            instance: self.view.id + 1,
            value: wire::encode(&proposal),
        }));
    }

    /// Decisions are kept until their turn.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        match Decision::decode(decision.value) {
            Ok(decided) if decision.instance > self.view.id => {
                self.decisions.insert(decision.instance, decided);
            }
            Ok(_) => {}
            Err(_) => ctx.count("undecodable decision"),
        }
        while let Some(decided) = self.decisions.remove(&(self.view.id + 1)) {
            self.upon_next_view(decided, ctx);
        }
    }

    /// Delivers what this process lacks, and installs the view, or has left. Requests that waited come first in
    /// it, then what members that were ahead have sent; crashes that were noticed meanwhile end it.
    fn upon_next_view(&mut self, decided: Decision, ctx: &mut Ctx<Self>) {
        if !self.has_left {
            self.upon_view_over(decided.messages, ctx);
        }
        let leaves = self.leaves && !decided.members.contains(self.me);
        self.view = View {
            id: self.view.id + 1,
            members: decided.members,
        };
        let within = Within::new(self.me, self.view.members);
        self.within = match self.delivery {
            Delivery::AtOnce => within,
            Delivery::OnceStable => within.keeping_stable(),
        };
        self.flushed.clear();
        self.leaves = false;
        if leaves {
            self.has_left = true;
            let view = self.view.id;
            ctx.trigger(Effect::Indicate(Indication::Left { view }));
        }
        if self.has_left {
            self.phase = Phase::Blocked;
        } else {
            self.phase = Phase::Open;
            self.indicate_view(ctx);
            self.upon_room(ctx);
        }
        let early: Vec<_> = self.early.take().collect();
        for (from, message) in early {
            self.upon_message(from, message, ctx);
        }
        if self.view.members.without(self.crashed) != self.view.members {
            self.start_flush(ctx);
        }
    }

    /// Delivers what was received and is not delivered, in the uniform form, and what others have flushed.
    fn upon_view_over(&mut self, flushed: Vec<Data>, ctx: &mut Ctx<Self>) {
        let received = match self.delivery {
            Delivery::AtOnce => Vec::new(),
            Delivery::OnceStable => self.within.unstable(),
        };
        let lacking = self.within.complete(flushed);
        for data in received.into_iter().chain(lacking) {
            self.indicate_delivery(data, ctx);
        }
    }

    fn indicate_view(&self, ctx: &mut Ctx<Self>) {
        let (view, newcomers) = (self.view, ProcessSet::EMPTY);
        ctx.trigger(Effect::Indicate(Indication::View { view, newcomers }));
    }

    fn indicate_delivery(&self, data: Data, ctx: &mut Ctx<Self>) {
        let (view, Data { id, payload, .. }) = (self.view.id, data);
        let deliver = Deliver { view, id, payload };
        ctx.trigger(Effect::Indicate(Indication::Deliver(deliver)));
    }
}

fn tell_again(to: ProcessId, message: Message, ctx: &mut Ctx<ByConsensus>) {
    let to = link::To::One(to);
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

fn tell(message: Message, ctx: &mut Ctx<ByConsensus>) {
    ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
}

#[cfg(test)]
mod tests;
