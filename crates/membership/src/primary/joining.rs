//! Joining: what a process outside does to get in, and what a member does for it.
use super::{Agreed, Effect, Message, Primary, Role, Transferred, give_back, send};
use crate::{messages::Counts, within::Within};
use bytes::Bytes;
use quorate_abstractions::{group_membership::View, view_synchrony::Indication};
use quorate_core::{Ctx, Incarnation, ProcessId, ProcessSet};
use std::collections::BTreeMap;

/// What a member does for those that want to join.
#[derive(Default)]
pub(super) struct Sponsoring {
    /// Whether the user was asked for its state in the present view.
    asked: bool,
    /// The user's state.
    state: Option<Bytes>,
    /// Processes that were sent the state.
    served: ProcessSet,
    /// By process, including this one: the last view in which its user did not give its state.
    declined: BTreeMap<ProcessId, u64>,
}

impl Sponsoring {
    /// A view begins.
    pub(super) fn begin(&mut self, view: u64) {
        self.asked = false;
        self.state = None;
        self.served = ProcessSet::EMPTY;
        self.declined.retain(|_, of| *of >= view);
    }
}

/// The handlers of a member.
impl Primary {
    /// A process is outside, and asks to be in the view after this one.
    pub(super) fn upon_join(&mut self, from: ProcessId, view: u64, ctx: &mut Ctx<Self>) {
        self.candidates.note_join(from, view);
        // A process that asks again did not receive the state.
        self.sponsoring.served.remove(from);
        self.upon_eligibility(ctx);
    }

    /// A process is outside of that view, which lists it.
    pub(super) fn upon_absent(&mut self, from: ProcessId, view: u64, ctx: &mut Ctx<Self>) {
        self.candidates.note_absent(from, view);
        self.upon_eligibility(ctx);
    }

    /// Another start of a process is alive: the earlier one has crashed, whether or not it was suspected.
    pub(super) fn upon_started_again(
        &mut self,
        p: ProcessId,
        start: Incarnation,
        ctx: &mut Ctx<Self>,
    ) {
        self.candidates.note_start(p, start);
        // Requests and flushes of the earlier start do not count for this one.
        self.sponsoring.served.remove(p);
        self.early_flushes.remove(&p);
        let copy = self.flushed.get(&p).and_then(|flush| flush.copy);
        if copy.is_some_and(|copy| copy != start) {
            self.flushed.remove(&p);
        }
        self.upon_eligibility(ctx);
    }

    /// When a process wants to join and this member, the first that is not suspected, has flushed, asks the
    /// user for its state, and sends it.
    pub(super) fn upon_someone_to_sponsor(&mut self, ctx: &mut Ctx<Self>) {
        let waiting = self.candidates.joining(&self.agreed);
        let waiting = waiting.without(self.sponsoring.served);
        let (view, sponsor) = (self.agreed.view.id, self.sponsor());
        let has_flushed = matches!(self.role, Role::Blocked | Role::Proposed);
        if !has_flushed || waiting.is_empty() {
            return;
        }
        if sponsor.is_none() {
            ctx.count("nobody gives a state");
        }
        if sponsor != Some(self.me) {
            return;
        }
        let Some(state) = self.sponsoring.state.clone() else {
            if !std::mem::replace(&mut self.sponsoring.asked, true) {
                ctx.trigger(Effect::Indicate(Indication::StateWanted { view }));
            }
            return;
        };
        self.sponsoring.served = self.sponsoring.served.union(waiting);
        let transfer = Message::Transfer {
            view,
            counts: self.within.counts(),
            all: Transferred {
                messages: self.within.unstable(),
                state,
            },
        };
        send(waiting, transfer, ctx);
    }

    /// The first member that is not suspected, and whose user gives its state.
    fn sponsor(&self) -> Option<ProcessId> {
        let view = self.agreed.view.id;
        let has_declined = |p: &ProcessId| self.sponsoring.declined.get(p) == Some(&view);
        let staying = self.candidates.staying(&self.agreed);
        staying.iter().find(|p| !has_declined(p))
    }

    /// The user does not give its state: another member is to be asked.
    pub(super) fn upon_decline(&mut self, view: u64, ctx: &mut Ctx<Self>) {
        let is_wanted = view == self.agreed.view.id && self.is_member() && self.sponsoring.asked;
        if !is_wanted || self.sponsoring.state.is_some() {
            return ctx.count("state not wanted");
        }
        self.sponsoring.declined.insert(self.me, view);
        self.say_declined(self.agreed.view.members, ctx);
        self.upon_someone_to_sponsor(ctx);
    }

    pub(super) fn upon_declined(&mut self, from: ProcessId, view: u64, ctx: &mut Ctx<Self>) {
        let last = self.sponsoring.declined.entry(from).or_default();
        *last = view.max(*last);
        self.upon_someone_to_sponsor(ctx);
    }

    /// Tells these processes, if this process has declined in the present view.
    pub(super) fn say_declined(&self, of: ProcessSet, ctx: &mut Ctx<Self>) {
        let view = self.agreed.view.id;
        let mut others = of;
        others.remove(self.me);
        if self.sponsoring.declined.get(&self.me) == Some(&view) && !others.is_empty() {
            send(others, Message::Declines { view }, ctx);
        }
    }

    /// After a gap between this process and another, the state may not have arrived there.
    pub(super) fn upon_transfer_lost(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        if self.sponsoring.served.remove(peer) {
            self.upon_someone_to_sponsor(ctx);
        }
    }

    /// The user's state, as it has been since this process flushed.
    pub(super) fn upon_state(&mut self, view: u64, state: Bytes, ctx: &mut Ctx<Self>) {
        let is_wanted = view == self.agreed.view.id && self.is_member() && self.sponsoring.asked;
        if !is_wanted || self.sponsoring.state.is_some() {
            return ctx.count("state not wanted");
        }
        self.sponsoring.state = Some(state);
        self.upon_someone_to_sponsor(ctx);
    }
}

/// The handlers of a process that is outside.
impl Primary {
    /// Another start of this process came before.
    pub(super) fn upon_came_later(&mut self) {
        if let Role::Waiting { came_later } = &mut self.role {
            *came_later = true;
        }
    }

    /// The others know this start: if it is the first, it is a member of the first view.
    pub(super) fn upon_admitted(&mut self, ctx: &mut Ctx<Self>) {
        if self.role == (Role::Waiting { came_later: false }) {
            self.upon_installed(ProcessSet::EMPTY, ctx);
            self.upon_decisions(ctx);
        }
    }

    /// The others have come further, and what they decided meanwhile does not arrive here: this process is
    /// outside.
    pub(super) fn upon_restored(&mut self, agreed: Agreed, ctx: &mut Ctx<Self>) {
        let was_waiting = self.is_waiting();
        if agreed.view.id <= self.agreed.view.id && !was_waiting {
            return;
        }
        let was_member = self.is_member();
        let lost = if was_member {
            self.own_beyond(0)
        } else {
            Vec::new()
        };
        self.decisions
            .retain(|instance, _| *instance > agreed.view.id);
        self.agreed = agreed;
        self.upon_left_view();
        self.early.clear();
        self.early_flushes.clear();
        self.upon_left_out(was_member || was_waiting, ctx);
        give_back(lost, false, ctx);
        self.upon_decisions(ctx);
    }

    pub(super) fn upon_wish_to_join(&mut self, ctx: &mut Ctx<Self>) {
        if self.role != Role::Outside {
            return ctx.count("nothing to join");
        }
        self.ask_to_join(ctx);
    }

    pub(super) fn ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        self.role = Role::Joining;
        let view = self.agreed.view.id;
        send(self.agreed.view.members, Message::Join { view }, ctx);
    }

    /// This process is the copy of a member that has flushed: it flushes the same.
    pub(super) fn upon_transfer(&mut self, counts: &Counts, all: Transferred, ctx: &mut Ctx<Self>) {
        self.role = Role::Copy(all.state);
        self.within = Within::copy(self.me, self.agreed.view.members, counts, all.messages);
        self.flush(ctx);
    }

    /// This process has left, as it has asked.
    pub(super) fn upon_left(&mut self, ctx: &mut Ctx<Self>) {
        self.role = Role::Outside;
        self.outgoing.stay();
        let view = self.agreed.view.id;
        ctx.trigger(Effect::Indicate(Indication::Left { view }));
    }

    pub(super) fn upon_left_out(&mut self, is_news: bool, ctx: &mut Ctx<Self>) {
        if !is_news && self.role != Role::Outside {
            return self.ask_to_join(ctx);
        }
        self.role = Role::Outside;
        self.outgoing.stay();
        if is_news {
            let view = self.agreed.view.id;
            ctx.trigger(Effect::Indicate(Indication::Excluded { view }));
        }
        self.say_outside(self.agreed.view.members, ctx);
    }

    /// Tells these processes that this one is outside, if they may count it as a member.
    pub(super) fn say_outside(&self, of: ProcessSet, ctx: &mut Ctx<Self>) {
        let View { id, members } = self.agreed.view;
        let mut others: ProcessSet = of.iter().filter(|p| members.contains(*p)).collect();
        others.remove(self.me);
        if members.contains(self.me) && !others.is_empty() {
            send(others, Message::Outside { view: id }, ctx);
        }
    }
}
