//! Primary views: view synchrony over a detector that errs; members leave and join.
//!
//! # Promises
//! - VS1 view inclusion, VS3 uniform agreement on views; the identifiers of views increase (safety).
//! - VS6 validity: what a correct process that stays a member broadcasts, all correct ones that stay deliver; a
//!   process outside a view has crashed, or is told so, and may join again (liveness).
//! - VS11 leaving (liveness): a correct process that asks to leave is told that it has left, or that it is
//!   excluded, as soon as a majority of Π remains without it. If it asks while it joins, or before it knows that it
//!   is a member, it leaves once it is one. VS12 no return (safety).
//! - VS10 nothing is swallowed (safety): a process that is told that it is outside gets back as lost what it
//!   has broadcast and no member of the next view has delivered; or, if it was out of reach when that view
//!   was decided, all that it does not know to have arrived.
//! - VS7 no duplication, VS8 no creation (safety).
//! - VS9 agreement (safety): processes that pass from one view to the next have delivered the same messages
//!   in it, and so has a process that leaves; a process that joins has a state that covers the same messages.
//!
//! Messages, its own or others', that a process delivered in a view that it was excluded from may be lost:
//! its user replaces its state when the process joins.
//!
//! Over an order that decides seats ([`spawn_rejoining`]), a process that was started again without its
//! memory joins, too: its crashed start is no longer a member, and the process is outside until it asks.
//!
//! # Assumes
//! Perfect links; uniform consensus that decides as soon as one correct process proposes, and tells all of Π
//! (the leader-driven one); the eventually perfect failure detector ◇P; f < n/2 crashes. Safety needs neither
//! the detector nor timing. Members keep the state: at any time some process must be up *and inside* that has
//! it. A view changes only while a majority of Π is in it or asks to be, so that a process that has left counts
//! like one that has crashed. The user answers `Block` and
//! `StateWanted`: until then no view changes. A gap between two members ends the view: the next begins with
//! what any process has delivered in this one, and messages of the view change are sent again.
//!
//! # Messages
//! - `Data`, `Stable` among the members, as in [`by_consensus`](crate::by_consensus).
//! - `Flush(view, copy, leaves, counts, messages)`, as there; also with the delivery counts, and, from a copy
//!   of a member, the start of its process.
//! - `Join(view)`, from a process outside of a view → its members; `Outside(view)`, from a process that is
//!   outside, does not ask to join, and is listed as a member.
//! - `Transfer(view, counts, messages, state)`, from the member of lowest rank that is not suspected, and
//!   whose user gives its state → a process that wants to join: the state at the time of the flush, what it
//!   covers, and the flushed messages. `Declines(view)`, from a member whose user does not give its state →
//!   the others.
//!
//! # Cost
//! A broadcast: n − 1 messages, one step. A view change after the crash of the last in rank, over
//! leader-driven consensus: (n−1)² messages `Flush`, n − 1 `Accept`, (n−2)(n−1) `Accepted`: 2(n−1)². Over an
//! order, the flushes, and the cost of ordering one message with all that is unstable. The first member alone
//! proposes. A false suspicion costs as much as a crash; a process that joins costs its `Join` to all
//! members, the transfer, and the change. Memory: as `by_consensus`, and for each other process its flush of
//! the next view, its start, and the views that it has asked to follow, is outside of, or gives no state for;
//! at a process that sponsors or joins, a state until the view changes.
//!
//! # Why it holds
//! The view after v is what consensus decides in instance v + 1: there is only one, whichever processes
//! suspect each other. Its members have all flushed v: each delivered nothing more before the decision, which
//! contains the union of their flushes. So they have delivered the same (VS9). A process that joins first
//! becomes the copy of a member that has flushed: it has that member's state, and flushes what that member
//! flushed. So every member of every view has the state, and every view has a majority of Π: a state outlives
//! every minority of crashes, and two views can never follow the same one. (If processes were let in first
//! and given the state afterwards, a false suspicion could leave a view in which one process alone has the
//! state.) A process that is left out learns it from consensus, in which all of Π takes part. Eventually ◇P
//! is accurate, and the correct processes, a majority, flush: as members, or as copies of one (liveness).
//!
//! A process that leaves flushes when it has broadcast what it was asked to before, in a view that has a
//! majority without it. The proposal contains its flush, and not itself, unless a majority needs it: then it is
//! a member of the next view, too, and waits until that view has a majority without it. If the decision has all
//! that it has delivered, it delivers the rest, and has left; if it was suspected and its flush did not count, it
//! is excluded (VS11, VS12). A process that asks to leave while it is about to be a member keeps the wish until it
//! installs a view: the others may have decided on it already.
//!
//! A start of a process that lost its memory is outside from the beginning, though its process may be listed:
//! a decision names the starts that are let in, and a copy is a member only of a view that names its own
//! start. So neither a flush of an earlier start nor a view that counts an earlier start lets a later one in.
//! The others know that it is outside when they hear of it; of a process that missed decisions they know it
//! when it asks to join.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues, section 6.8, in substance; primary partition and state transfer after
//! Birman, Joseph: *Exploiting Virtual Synchrony in Distributed Systems*, 1987. Deviations: consensus orders
//! the views; the state is transferred before the view is decided, not within it; a process may leave.
mod agreed;
mod candidates;
mod joining;
mod message;

use crate::{
    messages::{self, Data},
    within::{Early, Outgoing, Within, union},
};
pub use agreed::{Agreed, Decision, Ordered, put_proposal};
use bytes::Bytes;
use candidates::Candidates;
use joining::Sponsoring;
pub use message::{Flush, Message, Transferred};
use quorate_abstractions::{
    Subscribe,
    consensus::{self, Decide, Propose},
    eventually_perfect,
    group_membership::View,
    link::{self, To},
    view_synchrony::{self, Deliver, Indication, Lost, Request},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Incarnation, Layer, Membership, ProcessId, ProcessSet, ports,
    wire::{self, Wire},
};
use std::collections::BTreeMap;

/// The role of this process in the present view.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Role {
    /// It does not know yet whether this is the first start of its process, and therefore a member.
    Waiting {
        /// Whether another start came before. If so, it waits for what the others have agreed on.
        came_later: bool,
    },
    /// A member that stays.
    Open,
    /// A member, whose user was asked to stop broadcasting.
    Asked,
    /// A member that has flushed.
    Blocked,
    /// A member that has proposed the next view.
    Proposed,
    /// Not a member.
    Outside,
    /// Not a member; it has asked to be in the next view.
    Joining,
    /// Not a member, but the copy of one that had this state; it has flushed.
    Copy(Bytes),
}

/// Primary views.
pub struct Primary {
    processes: Membership,
    me: ProcessId,
    /// The start of this process.
    start: Incarnation,
    /// The latest view that this process knows of.
    agreed: Agreed,
    role: Role,
    candidates: Candidates,
    outgoing: Outgoing,
    within: Within,
    /// Whether this process's flush of the present view says that it leaves.
    leaves: bool,
    /// The flushes of the present view, by members and by copies of members.
    flushed: BTreeMap<ProcessId, Flush>,
    early: Early,
    /// The flushes of the view after the present one.
    early_flushes: BTreeMap<ProcessId, Flush>,
    /// Decisions about views after the next.
    decisions: BTreeMap<u64, Decision>,
    sponsoring: Sponsoring,
}

ports! {
    offers view_synchrony::Port => Request -> Indicate;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by watch;
    uses order: (Propose, Ordered) => Order / Propose;
    watches detector: eventually_perfect::Indication => Detector;

    /// Starts primary views over perfect links, ◇P, and an order that decides seats, in a system in which
    /// processes may be started again. [`Agreed::order`] tells which of the ordered proposals are decided,
    /// and the state of the order contains the result.
    pub fn spawn_rejoining(host) = Primary::rejoining(host);
}

impl Algorithm for Primary {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        if self.is_member() {
            self.indicate_view(ProcessSet::EMPTY, ctx);
        }
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Link(link::Deliver { from, message }) => self.upon_message(from, message, ctx),
            Event::Order(Ordered::Decide(decision)) => self.upon_decide(decision, ctx),
            Event::Order(Ordered::Restored(agreed)) => self.upon_restored(agreed, ctx),
            Event::Detector(indication) => self.upon_detector(indication, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl Primary {
    /// The algorithm at `host`, if no process starts twice.
    pub fn new(host: &impl Host) -> Self {
        let (me, members) = (host.me(), host.processes().set());
        Primary {
            processes: *host.processes(),
            me,
            start: host.incarnation(),
            agreed: Agreed::first(host.processes()),
            role: Role::Open,
            candidates: Candidates::default(),
            outgoing: Outgoing::new(host),
            within: Within::new(me, members),
            leaves: false,
            flushed: BTreeMap::new(),
            early: Early::default(),
            early_flushes: BTreeMap::new(),
            decisions: BTreeMap::new(),
            sponsoring: Sponsoring::default(),
        }
    }

    /// The algorithm at `host`, if processes are started again: it is a member once the links have reported
    /// that this is the first start.
    pub fn rejoining(host: &impl Host) -> Self {
        Primary {
            role: Role::Waiting { came_later: false },
            ..Primary::new(host)
        }
    }

    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        match request {
            Request::Broadcast(payload) => {
                self.outgoing.push(payload);
                self.upon_room(ctx);
            }
            Request::BlockOk => self.upon_block_ok(ctx),
            Request::State { view, state } => self.upon_state(view, state, ctx),
            Request::Decline { view } => self.upon_decline(view, ctx),
            Request::Join => self.upon_wish_to_join(ctx),
            Request::Leave => self.upon_wish_to_leave(ctx),
        }
    }

    /// A process that is outside, and does not ask to join, has nothing to leave. Otherwise the wish waits until this
    /// process is a member.
    fn upon_wish_to_leave(&mut self, ctx: &mut Ctx<Self>) {
        if self.role == Role::Outside {
            return ctx.count("nothing to leave");
        }
        if !self.outgoing.leave() {
            return ctx.count("leaves already");
        }
        self.upon_change_wanted(ctx);
    }

    /// Whether this process leaves now: it has broadcast all that it was asked to, and a majority remains.
    fn may_leave(&self) -> bool {
        self.outgoing.is_due() && self.agreed.view.members.len() > self.processes.majority()
    }

    /// When the user is not blocked, delivers and broadcasts the requests that there is room for.
    fn upon_room(&mut self, ctx: &mut Ctx<Self>) {
        while self.is_delivering()
            && let Some(data) = self.outgoing.next(&mut self.within)
        {
            self.indicate_delivery(data.clone(), ctx);
            let view = self.agreed.view.id;
            self.tell_others(messages::Message::Data { view, data }, ctx);
        }
        if let Some(counts) = self.within.report() {
            let view = self.agreed.view.id;
            self.tell_others(messages::Message::Stable { view, counts }, ctx);
        }
        if self.may_leave() {
            self.start_flush(ctx);
        }
    }

    /// The user broadcasts nothing more: flushes what was delivered in the view, and delivers no more.
    fn upon_block_ok(&mut self, ctx: &mut Ctx<Self>) {
        if self.role != Role::Asked {
            return ctx.count("unasked BlockOk");
        }
        self.role = Role::Blocked;
        self.leaves = self.may_leave();
        self.flush(ctx);
        self.upon_someone_to_sponsor(ctx);
    }

    fn flush(&self, ctx: &mut Ctx<Self>) {
        send(self.agreed.view.members, self.flushing(), ctx);
    }

    fn flushing(&self) -> Message {
        let flush = Flush {
            copy: (!self.is_member()).then_some(self.start),
            leaves: self.leaves,
            counts: self.within.counts(),
            messages: self.within.unstable(),
        };
        let view = self.agreed.view.id;
        Message::Flush { view, flush }
    }

    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        match message {
            Message::Within(message) => self.upon_message_within(from, message, ctx),
            Message::Flush { view, flush } => self.upon_flush(from, view, flush, ctx),
            Message::Join { view } => self.upon_join(from, view, ctx),
            Message::Outside { view } => self.upon_absent(from, view, ctx),
            Message::Declines { view } => self.upon_declined(from, view, ctx),
            Message::Transfer { view, counts, all }
                if self.role == Role::Joining
                    && view == self.agreed.view.id
                    && self.agreed.view.members.contains(from) =>
            {
                self.upon_transfer(&counts, all, ctx);
            }
            Message::Transfer { .. } => {}
        }
    }

    fn upon_message_within(
        &mut self,
        from: ProcessId,
        message: messages::Message,
        ctx: &mut Ctx<Self>,
    ) {
        match message.view().checked_sub(self.agreed.view.id) {
            None => {}
            Some(2..) => ctx.count("view too far ahead"),
            Some(0) if self.is_waiting() => self.keep_early(from, message, ctx),
            Some(0) if !self.is_member() => {}
            Some(0) => match message {
                messages::Message::Data { data, .. } => self.upon_data(from, data, ctx),
                messages::Message::Stable { counts, .. } => {
                    self.within.hear_counts(from, &counts);
                    self.upon_room(ctx);
                }
                messages::Message::Flush { .. } => ctx.count("flush without counts"),
            },
            Some(1) => self.keep_early(from, message, ctx),
        }
    }

    fn keep_early(&mut self, from: ProcessId, message: messages::Message, ctx: &mut Ctx<Self>) {
        if let Err(reason) = self.early.keep(from, message) {
            ctx.count(reason);
        }
    }

    /// After the flush, nothing is delivered: the message is in its sender's flush.
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

    /// A first flush counts, and makes everybody flush. The flush of a copy replaces one of another start,
    /// and one of the member that its process was.
    fn upon_flush(&mut self, from: ProcessId, view: u64, flush: Flush, ctx: &mut Ctx<Self>) {
        match view.checked_sub(self.agreed.view.id) {
            None => return,
            Some(2..) => return ctx.count("view too far ahead"),
            Some(1) => return drop(self.early_flushes.insert(from, flush)),
            Some(0) if self.is_waiting() => return drop(self.early_flushes.insert(from, flush)),
            Some(0) if !self.is_member() => return,
            Some(0) => {}
        }
        if flush.copy.is_some() {
            self.candidates.note_absent(from, view);
        } else {
            self.candidates.note_member(from);
        }
        let known = self.flushed.get(&from).map(|known| known.copy);
        if known.is_none_or(|known| flush.copy.is_some() && flush.copy != known) {
            self.flushed.insert(from, flush);
        }
        self.start_flush(ctx);
        self.upon_all_flushed(ctx);
    }

    /// A suspicion of a member ends the view, even if it is revoked. A proposal may also have waited for it,
    /// or it may make this process the sponsor.
    fn upon_detector(&mut self, indication: eventually_perfect::Indication, ctx: &mut Ctx<Self>) {
        self.candidates.upon_detector(indication);
        self.upon_eligibility(ctx);
    }

    /// A gap between members ends the view: the next begins with what any process has delivered in this one.
    /// Messages of the view change are sent again to a process to which a stream begins anew.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        match status {
            link::Status::Replaced { peer, newcomer, .. } => {
                self.upon_started_again(*peer, *newcomer, ctx);
            }
            link::Status::Newcomer { .. } => self.upon_came_later(),
            link::Status::Admitted => self.upon_admitted(ctx),
            status => {
                if let Some(peer) = status.interrupted() {
                    self.upon_interrupted(peer, ctx);
                }
            }
        }
    }

    fn upon_interrupted(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        if self.is_member() && self.agreed.view.members.contains(peer) {
            self.start_flush(ctx);
        }
        match self.role {
            Role::Blocked | Role::Proposed | Role::Copy(_) => {
                let flush = self.flushing();
                send(ProcessSet::from_iter([peer]), flush, ctx);
            }
            Role::Joining if self.agreed.view.members.contains(peer) => {
                let view = self.agreed.view.id;
                send(ProcessSet::from_iter([peer]), Message::Join { view }, ctx);
            }
            Role::Outside => self.say_outside(ProcessSet::from_iter([peer]), ctx),
            Role::Open | Role::Asked | Role::Joining | Role::Waiting { .. } => {}
        }
        self.say_declined(ProcessSet::from_iter([peer]), ctx);
        self.upon_transfer_lost(peer, ctx);
    }

    /// Other processes than before may be in the next view.
    fn upon_eligibility(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_change_wanted(ctx);
        self.upon_someone_to_sponsor(ctx);
        self.upon_all_flushed(ctx);
    }

    /// The view has to change when a member is suspected or outside, or a process wants to join, or this one to
    /// leave.
    fn upon_change_wanted(&mut self, ctx: &mut Ctx<Self>) {
        let members = self.candidates.staying(&self.agreed);
        let joining = self.candidates.joining(&self.agreed);
        let is_outdated = members != self.agreed.view.members;
        if is_outdated || !joining.is_empty() || self.may_leave() {
            self.start_flush(ctx);
        }
    }

    fn start_flush(&mut self, ctx: &mut Ctx<Self>) {
        if self.role == Role::Open {
            self.role = Role::Asked;
            ctx.trigger(Effect::Indicate(Indication::Block));
        }
    }

    /// Once all members and joining processes that are not suspected have flushed, the first member that is
    /// not suspected proposes them as the next view, if they are a majority of Π, without those that leave.
    fn upon_all_flushed(&mut self, ctx: &mut Ctx<Self>) {
        let present = self.present();
        let staying = self.candidates.staying(&self.agreed);
        let joining = self.candidates.joining(&self.agreed);
        if self.role != Role::Blocked
            || staying.iter().next() != Some(self.me)
            || !staying.union(joining).is_subset(present)
            || present.len() < self.processes.majority()
        {
            return;
        }
        self.role = Role::Proposed;
        let flushes = || {
            let flushes = self.flushed.iter();
            flushes.filter(|(p, _)| present.contains(**p))
        };
        let newcomers = flushes().filter_map(|(p, flush)| Some((*p, flush.copy?)));
        let proposal = Decision {
            members: self.remaining(present),
            newcomers: newcomers.collect(),
            counts: most(flushes().map(|(_, flush)| &flush.counts)),
            messages: union(flushes().map(|(_, flush)| &flush.messages)),
        };
        ctx.trigger(Effect::Propose(Propose {
            instance: self.agreed.view.id + 1,
            value: wire::encode(&proposal),
        }));
    }

    /// Those that have flushed, as members or as copies of one, and are not suspected.
    fn present(&self) -> ProcessSet {
        let outside = self.candidates.outside(&self.agreed);
        let is_in = |(p, flush): (&ProcessId, &Flush)| {
            let is_in = flush.copy.is_some() || !outside.contains(*p);
            (is_in && !self.candidates.is_suspected(*p)).then_some(*p)
        };
        self.flushed.iter().filter_map(is_in).collect()
    }

    /// Of these, those that do not leave, and those that leave and without which there would be no majority.
    fn remaining(&self, present: ProcessSet) -> ProcessSet {
        let leaving = self.flushed.iter().filter(|(_, flush)| flush.leaves);
        let mut members = present;
        for (p, _) in leaving {
            if members.len() > self.processes.majority() {
                members.remove(*p);
            }
        }
        members
    }

    /// Decisions are kept until their turn.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        match Decision::decode(decision.value) {
            Ok(decided) if decision.instance > self.agreed.view.id => {
                self.decisions.insert(decision.instance, decided);
            }
            Ok(_) => {}
            Err(_) => ctx.count("undecodable decision"),
        }
        self.upon_decisions(ctx);
    }

    /// Once this process knows its role, applies the decisions whose turn it is.
    fn upon_decisions(&mut self, ctx: &mut Ctx<Self>) {
        while !self.is_waiting()
            && let Some(decided) = self.decisions.remove(&(self.agreed.view.id + 1))
        {
            self.upon_next_view(decided, ctx);
        }
    }

    /// The next view: this process installs it, or has left, or is told that it is outside, or tries again.
    fn upon_next_view(&mut self, decided: Decision, ctx: &mut Ctx<Self>) {
        let newcomers = decided.newcomers();
        let is_in = match &self.role {
            Role::Blocked | Role::Proposed => decided.members.without(newcomers).contains(self.me),
            Role::Copy(state) if decided.lets_in(self.me, self.start) => {
                ctx.trigger(Effect::Indicate(Indication::State(state.clone())));
                true
            }
            _ => false,
        };
        let was_member = self.is_member();
        let has_left = !is_in && self.has_left(&decided);
        let lost = if was_member && !is_in && !has_left {
            self.own_beyond(decided.count(self.me))
        } else {
            Vec::new()
        };
        let mut agreed = self.agreed.clone();
        agreed.advance(&decided);
        if is_in || has_left {
            for data in self.within.complete(decided.messages) {
                self.indicate_delivery(data, ctx);
            }
        }
        self.agreed = agreed;
        self.upon_left_view();
        if is_in {
            self.upon_installed(newcomers, ctx);
        } else {
            self.early.clear();
            self.early_flushes.clear();
            if has_left {
                self.upon_left(ctx);
            } else {
                self.upon_left_out(was_member, ctx);
            }
            give_back(lost, true, ctx);
        }
    }

    /// Whether this process leaves by this decision, which is without it: whether the others will have
    /// delivered all that it has delivered.
    fn has_left(&self, decided: &Decision) -> bool {
        let counts = self.within.counts();
        let has_flushed = matches!(self.role, Role::Blocked | Role::Proposed);
        let mut delivered = counts.iter();
        self.outgoing.is_due()
            && has_flushed
            && delivered.all(|(of, count)| *count <= decided.count(*of))
    }

    /// Drops what belongs to the view before.
    fn upon_left_view(&mut self) {
        let View { id, members } = self.agreed.view;
        self.within = Within::new(self.me, members);
        self.leaves = false;
        self.flushed.clear();
        self.sponsoring.begin(id);
        self.candidates.begin(id);
    }

    /// Requests that waited come first in the view, then what members that were ahead have sent; suspicions
    /// that came meanwhile end it.
    fn upon_installed(&mut self, newcomers: ProcessSet, ctx: &mut Ctx<Self>) {
        self.role = Role::Open;
        self.indicate_view(newcomers, ctx);
        self.upon_room(ctx);
        let early: Vec<_> = self.early.take().collect();
        for (from, message) in early {
            self.upon_message_within(from, message, ctx);
        }
        let view = self.agreed.view.id;
        for (from, flush) in std::mem::take(&mut self.early_flushes) {
            self.upon_flush(from, view, flush, ctx);
        }
        self.upon_change_wanted(ctx);
    }

    fn is_member(&self) -> bool {
        match self.role {
            Role::Open | Role::Asked | Role::Blocked | Role::Proposed => true,
            Role::Waiting { .. } | Role::Outside | Role::Joining | Role::Copy(_) => false,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.role, Role::Waiting { .. })
    }

    fn is_delivering(&self) -> bool {
        matches!(self.role, Role::Open | Role::Asked)
    }

    fn tell_others(&self, message: messages::Message, ctx: &mut Ctx<Self>) {
        let mut others = self.agreed.view.members;
        others.remove(self.me);
        send(others, Message::Within(message), ctx);
    }

    fn indicate_view(&self, newcomers: ProcessSet, ctx: &mut Ctx<Self>) {
        let view = self.agreed.view;
        ctx.trigger(Effect::Indicate(Indication::View { view, newcomers }));
    }

    /// This process's own messages in the view with higher numbers than this that others may lack.
    fn own_beyond(&self, count: u64) -> Vec<Data> {
        let own = self.within.own_unstable();
        own.filter(|data| data.number > count).cloned().collect()
    }

    fn indicate_delivery(&self, data: Data, ctx: &mut Ctx<Self>) {
        let (view, Data { id, payload, .. }) = (self.agreed.view.id, data);
        let deliver = Deliver { view, id, payload };
        ctx.trigger(Effect::Indicate(Indication::Deliver(deliver)));
    }
}

/// Returns to the user what an excluded process has broadcast, and the others do not have.
fn give_back(lost: Vec<Data>, is_certain: bool, ctx: &mut Ctx<Primary>) {
    for Data { id, payload, .. } in lost {
        let lost = Lost {
            id,
            payload,
            is_certain,
        };
        ctx.trigger(Effect::Indicate(Indication::Lost(lost)));
    }
}

/// The highest of these counts, by process.
fn most<'a>(all: impl Iterator<Item = &'a messages::Counts>) -> messages::Counts {
    let mut most = BTreeMap::new();
    for (p, count) in all.flatten() {
        let known: &mut u64 = most.entry(*p).or_default();
        *known = (*known).max(*count);
    }
    most.into_iter().collect()
}

fn send(to: ProcessSet, message: Message, ctx: &mut Ctx<Primary>) {
    let to = To::Some(to);
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

/// Starts primary views over perfect links, uniform consensus and ◇P, in a system in which no process starts
/// twice.
pub fn spawn(
    host: &impl Host,
    link: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    consensus: impl Layer<consensus::Port>,
    detector: &Subscribe<eventually_perfect::Indication>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let order = |up: Addr<Ordered>| consensus.attach(up.with(Ordered::Decide));
    spawn_as(host, Primary::new(host), link, status, order, detector, up)
}

/// Tells `up` when streams end and begin anew, and the starts: those of others, and this process's own.
fn watch(status: &Subscribe<link::Status>, up: Addr<link::Status>) {
    link::watch_streams(status, up.clone());
    status.send(Addr::new(move |news| {
        if let link::Status::Replaced { .. }
        | link::Status::Newcomer { .. }
        | link::Status::Admitted = news
        {
            up.send(news);
        }
    }));
}

#[cfg(test)]
mod tests;
