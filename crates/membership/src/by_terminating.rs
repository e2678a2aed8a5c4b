//! View synchrony by terminating broadcast: before a view is left, each member tells all what it has
//! delivered there, or is known to be faulty.
//!
//! # Promises
//! - VS1 view inclusion, VS2 monotonicity, VS3 uniform agreement on views, VS5 accuracy (safety).
//! - VS4 completeness, VS6 validity, VS11 leaving (liveness). VS7 no duplication, VS8 no creation, VS12 no
//!   return (safety).
//! - VS9 agreement (safety): processes that pass from one view to the next have delivered the same messages
//!   in it, and so has a process that leaves. This is the regular form: a message is delivered when it arrives,
//!   so that a process that crashes may have delivered what nobody else will.
//!
//! # Assumes
//! Group membership; uniform terminating broadcast that this module alone uses, at the same processes;
//! best-effort broadcast over perfect links; any number of crashes, as far as those layers survive them.
//! Nobody joins. The user answers `Block`. A gap does not stop a view: when a stream begins anew, a member
//! sends its receiver again what it has broadcast in the view and is not stable, and how much it has
//! delivered.
//!
//! # Messages
//! - `Data(view, number, id, payload)`: a broadcast.
//! - `Stable(view, counts)`: I have delivered this many messages; sent every 32 deliveries, or 512/n KiB.
//!
//! By terminating broadcast, once per view and member: the messages that the member has delivered in the view
//! and that others may lack.
//!
//! # Cost
//! A broadcast: n − 1 messages, one step (and one 32nd of a report at each process). A view change
//! after one crash, over uniform hierarchical consensus throughout: (n−1)² messages for the view,
//! (n−1) + (n−1)² for the terminating broadcast of each of n − 1 members, (n−1)² for that of the dead:
//! (n−1)²(n+2), and D + 2n − 1 steps if n ≥ 4 and the crash is reported D steps later. Memory: messages that
//! are delivered and not stable, at most 256 per member; as much of the next view for members that are ahead;
//! the flushes, until the view is left.
//!
//! # Why it holds
//! The k-th terminating broadcast of p is about the view k − 1: p begins in view 0, and broadcasts once in
//! each view before it leaves it; views are left in order. A process that was reported faulty broadcasts
//! nothing more, and nothing is awaited from it in any later view. So all processes that leave a view have
//! the same outcome of each of its members (TRB2), and have delivered all messages in these outcomes. That is
//! all that any of them has delivered: each said it in its own broadcast, and between its own flush and the
//! next view delivered only messages in the outcomes (VS9). A message that is in no flush is stable: all
//! members have delivered it. A member is awaited until its broadcast or its crash, one of which comes, as
//! every member hears of the next view, and its user answers (VS4). A member can be at most one view ahead:
//! the view after the next needs this process's flush. A process that leaves asks the group membership for it
//! once it has broadcast what it was asked to before; it flushes the view that it leaves like any other member,
//! and waits for the flushes of the others (VS11, VS12). Nobody awaits its flush of a later view.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 6.8, “TRB-Based View-Synchronous Communication”. Deviations: the first view is indicated; a member
//! that is faulty counts as having flushed; flushes are kept by view, and forgotten when the view is left,
//! not when this process's own flush begins; they contain what is not stable, and their messages are
//! delivered when all flushes are there; data of the next view waits for it; requests of a blocked user wait
//! for the next view, and come first in it; the deliveries from one sender within a view are in its order; a
//! process may leave.
use crate::{
    messages::{Data, Message, put_messages, take_messages},
    within::{Early, Outgoing, Within, union},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    best_effort,
    group_membership::{self, View},
    link,
    terminating::{self, Content},
    view_synchrony::{self, Deliver, Indication, Request},
};
use quorate_core::{Algorithm, Ctx, Host, ProcessId, ProcessSet, ports};
use std::collections::{BTreeMap, VecDeque};

/// How far this process has come in leaving its view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It stays in the view.
    Open,
    /// It has asked its user to stop broadcasting.
    Asked,
    /// It has flushed.
    Blocked,
    /// It has left the group.
    Left,
}

/// View synchrony by terminating broadcast.
pub struct ByTerminating {
    me: ProcessId,
    view: View,
    phase: Phase,
    /// The views to come. If this process leaves, the last one is without it.
    pending: VecDeque<View>,
    /// Whether this process has asked the group membership to leave.
    leaves: bool,
    outgoing: Outgoing,
    within: Within,
    /// The flushes of the present view and the next, by view and member.
    flushed: BTreeMap<(u64, ProcessId), Vec<Data>>,
    /// The faulty processes, each with the first view that it does not flush.
    faulty: BTreeMap<ProcessId, u64>,
    early: Early,
}

ports! {
    offers view_synchrony::Port => Request -> Indicate;
    uses group: group_membership::Port => Group / Leave;
    uses terminating: terminating::Port => Terminating;
    uses lane: link::Port<Message> => BestEffort as best_effort::Port<Message>, Link;
    watches status: link::Status => Status, by link::watch_streams;

    /// Starts view synchrony by terminating broadcast, over group membership, uniform terminating broadcast and
    /// the best-effort broadcast of a lane.
    pub fn spawn(host) = ByTerminating::new(host);
}

impl Algorithm for ByTerminating {
    type Event = Event;
    type Effect = Effect;

    /// The first view is indicated like any other.
    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.indicate_view(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Group(
                group_membership::Indication::View(view) | group_membership::Indication::Left(view),
            ) => self.upon_view(view, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                self.upon_message(from, message, ctx);
            }
            Event::Status(status) => self.upon_status(&status, ctx),
            Event::Terminating(delivery) => self.upon_terminating(delivery, ctx),
        }
    }
}

impl ByTerminating {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let (me, members) = (host.me(), host.processes().set());
        ByTerminating {
            me,
            view: View { id: 0, members },
            phase: Phase::Open,
            pending: VecDeque::new(),
            leaves: false,
            outgoing: Outgoing::new(host),
            within: Within::new(me, members),
            flushed: BTreeMap::new(),
            faulty: BTreeMap::new(),
            early: Early::default(),
        }
    }

    /// Requests of a blocked user wait for the next view.
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

    /// When the last broadcast of a process that leaves has left, asks the group membership, once.
    fn upon_last_broadcast(&mut self, ctx: &mut Ctx<Self>) {
        if self.outgoing.is_due() && !self.leaves {
            self.leaves = true;
            ctx.trigger(Effect::Leave(group_membership::Request::Leave));
        }
    }

    fn is_delivering(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Asked)
    }

    /// When the user is not blocked, delivers and broadcasts the requests that there is room for.
    fn upon_room(&mut self, ctx: &mut Ctx<Self>) {
        while self.is_delivering()
            && let Some(data) = self.outgoing.next(&mut self.within)
        {
            self.indicate_delivery(data.clone(), ctx);
            let view = self.view.id;
            tell(Message::Data { view, data }, ctx);
        }
        if let Some(counts) = self.within.report() {
            let view = self.view.id;
            tell(Message::Stable { view, counts }, ctx);
        }
        self.upon_last_broadcast(ctx);
    }

    /// When a stream begins anew, sends its receiver again what is not stable in this view, and the delivery
    /// counts.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        if self.phase == Phase::Left {
            return;
        }
        let view = self.view.id;
        for data in self.within.own_unstable().cloned() {
            tell_again(peer, Message::Data { view, data }, ctx);
        }
        let counts = self.within.counts();
        tell_again(peer, Message::Stable { view, counts }, ctx);
    }

    /// Views come in order. The first is known already.
    fn upon_view(&mut self, view: View, ctx: &mut Ctx<Self>) {
        let last = self.pending.back().unwrap_or(&self.view);
        if view.id > last.id {
            self.pending.push_back(view);
            self.upon_pending(ctx);
        }
    }

    /// When a view is pending, asks the user to broadcast nothing more in the present one.
    fn upon_pending(&mut self, ctx: &mut Ctx<Self>) {
        if self.phase == Phase::Open && !self.pending.is_empty() {
            self.phase = Phase::Asked;
            ctx.trigger(Effect::Indicate(Indication::Block));
        }
    }

    /// The user broadcasts nothing more: flushes what was delivered in the view, and delivers no more.
    fn upon_block_ok(&mut self, ctx: &mut Ctx<Self>) {
        if self.phase != Phase::Asked {
            return ctx.count("unasked BlockOk");
        }
        self.phase = Phase::Blocked;
        let mut payload = BytesMut::new();
        put_messages(&self.within.unstable(), &mut payload);
        let payload = payload.freeze();
        ctx.trigger(Effect::Terminating(terminating::Broadcast { payload }));
    }

    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        if self.phase == Phase::Left {
            return;
        }
        match (message.view().checked_sub(self.view.id), message) {
            (None, _) => {}
            (_, Message::Flush { .. }) => ctx.count("flush by best-effort broadcast"),
            (Some(1), message) => {
                if let Err(reason) = self.early.keep(from, message) {
                    ctx.count(reason);
                }
            }
            (Some(2..), _) => ctx.count("view too far ahead"),
            (Some(0), _) if !self.view.members.contains(from) => ctx.count("not a member"),
            (Some(0), Message::Data { data, .. }) => self.upon_data(from, data, ctx),
            (Some(0), Message::Stable { counts, .. }) => {
                self.within.hear_counts(from, &counts);
                self.upon_room(ctx);
            }
        }
    }

    /// While blocked, nothing is delivered: the message is in its sender's flush.
    fn upon_data(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        if !self.is_delivering() {
            return;
        }
        match self.within.hear(from, data) {
            Ok(ready) => {
                for data in ready {
                    self.indicate_delivery(data, ctx);
                }
                self.upon_room(ctx);
            }
            Err(reason) => ctx.count(reason),
        }
    }

    /// The k-th flush of a member is for view k − 1. A faulty process flushes no more views.
    fn upon_terminating(&mut self, delivery: terminating::Deliver, ctx: &mut Ctx<Self>) {
        if self.phase == Phase::Left {
            return;
        }
        let terminating::Deliver {
            source,
            number,
            outcome,
        } = delivery;
        let Some(view) = number.checked_sub(1) else {
            return ctx.count("impossible flush");
        };
        match outcome {
            Content::SenderFaulty => _ = self.faulty.insert(source, view),
            Content::Message(_) if view < self.view.id || view > self.view.id + 1 => {
                return ctx.count("flush of another view");
            }
            Content::Message(payload) => self.upon_flush(view, source, payload, ctx),
        }
        self.upon_all_flushed(ctx);
    }

    fn upon_flush(&mut self, view: u64, member: ProcessId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let messages = take_messages(payload).unwrap_or_else(|_| {
            ctx.count("undecodable flush");
            Vec::new()
        });
        self.flushed.insert((view, member), messages);
    }

    /// Whether the member has flushed the present view, or never will.
    fn is_done(&self, member: ProcessId) -> bool {
        let id = self.view.id;
        let is_faulty = self.faulty.get(&member).is_some_and(|view| *view <= id);
        is_faulty || self.flushed.contains_key(&(id, member))
    }

    /// Once all members have flushed, except the faulty ones, installs the next view.
    fn upon_all_flushed(&mut self, ctx: &mut Ctx<Self>) {
        let mut members = self.view.members.iter();
        if self.phase == Phase::Blocked
            && members.all(|p| self.is_done(p))
            && let Some(next) = self.pending.pop_front()
        {
            self.deliver_flushed(ctx);
            if self.leaves && !next.members.contains(self.me) {
                self.upon_left(next, ctx);
            } else {
                self.install(next, ctx);
            }
        }
    }

    fn deliver_flushed(&mut self, ctx: &mut Ctx<Self>) {
        let id = self.view.id;
        let present = self.flushed.iter().filter(|((view, _), _)| *view == id);
        let messages = union(present.map(|(_, messages)| messages));
        for data in self.within.complete(messages) {
            self.indicate_delivery(data, ctx);
        }
    }

    /// This process has left: what it keeps is of no use any more.
    fn upon_left(&mut self, view: View, ctx: &mut Ctx<Self>) {
        self.view = view;
        self.phase = Phase::Left;
        self.within = Within::new(self.me, view.members);
        self.pending.clear();
        self.flushed.clear();
        self.early.clear();
        ctx.trigger(Effect::Indicate(Indication::Left { view: view.id }));
    }

    /// Requests that waited come first in the view, then what members that were ahead have sent. Another view
    /// may already be pending, and flushed by those members.
    fn install(&mut self, view: View, ctx: &mut Ctx<Self>) {
        self.view = view;
        self.within = Within::new(self.me, view.members);
        self.flushed.retain(|(of, _), _| *of >= view.id);
        self.phase = Phase::Open;
        self.indicate_view(ctx);
        self.upon_room(ctx);
        let early: Vec<_> = self.early.take().collect();
        for (from, message) in early {
            self.upon_message(from, message, ctx);
        }
        self.upon_pending(ctx);
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

fn tell_again(to: ProcessId, message: Message, ctx: &mut Ctx<ByTerminating>) {
    let to = link::To::One(to);
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

fn tell(message: Message, ctx: &mut Ctx<ByTerminating>) {
    ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
}

#[cfg(test)]
mod tests;
