//! Joining: what who is outside does to get in, and what a member does for it.
use super::{Effect, Message, Primary, Standing, send};
use crate::{
    messages::{Counts, Data},
    within::Within,
};
use bytes::Bytes;
use quorate_abstractions::view_synchrony::Indication;
use quorate_core::{Ctx, ProcessId, ProcessSet};

/// What a member does for those that want to join.
#[derive(Default)]
pub(super) struct Sponsoring {
    /// Whether the user was asked for its state in the present view.
    asked: bool,
    /// The user's state.
    state: Option<Bytes>,
    /// Who has got it.
    served: ProcessSet,
}

/// At a member.
impl Primary {
    /// Somebody is outside, and asks to be in the view after that one.
    pub(super) fn upon_join(&mut self, from: ProcessId, view: u64, ctx: &mut Ctx<Self>) {
        let last = self.joiners.entry(from).or_default();
        *last = view.max(*last);
        // Whoever asks again has not got the state.
        self.sponsoring.served.remove(from);
        self.upon_change_wanted(ctx);
        self.upon_someone_to_sponsor(ctx);
    }

    /// Who wants to be in the next view and is not suspected.
    pub(super) fn joining(&self) -> ProcessSet {
        let now = self
            .joiners
            .iter()
            .filter(|(_, view)| **view == self.view.id);
        let now: ProcessSet = now.map(|(p, _)| *p).collect();
        now.without(self.view.members).without(self.suspected)
    }

    /// Upon somebody that wants to join while this member, the first that is not suspected, has
    /// flushed: ask the user for its state, and send it.
    pub(super) fn upon_someone_to_sponsor(&mut self, ctx: &mut Ctx<Self>) {
        let waiting = self.joining().without(self.sponsoring.served);
        let first = self.view.members.without(self.suspected).iter().next();
        let has_flushed = matches!(self.standing, Standing::Blocked | Standing::Proposed);
        if !has_flushed || first != Some(self.me) || waiting.is_empty() {
            return;
        }
        let view = self.view.id;
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
            messages: self.within.unstable(),
            state,
        };
        send(waiting, transfer, ctx);
    }

    /// Upon a gap between this process and another: the state may not have got there.
    pub(super) fn upon_transfer_lost(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        if self.sponsoring.served.remove(peer) {
            self.upon_someone_to_sponsor(ctx);
        }
    }

    /// The user's state, as it is since this process has flushed.
    pub(super) fn upon_state(&mut self, view: u64, state: Bytes, ctx: &mut Ctx<Self>) {
        let is_wanted = view == self.view.id && self.is_member() && self.sponsoring.asked;
        if !is_wanted || self.sponsoring.state.is_some() {
            return ctx.count("state not wanted");
        }
        self.sponsoring.state = Some(state);
        self.upon_someone_to_sponsor(ctx);
    }
}

/// Outside.
impl Primary {
    pub(super) fn upon_wish_to_join(&mut self, ctx: &mut Ctx<Self>) {
        if self.standing != Standing::Outside {
            return ctx.count("nothing to join");
        }
        self.ask_to_join(ctx);
    }

    pub(super) fn ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        self.standing = Standing::Joining;
        let view = self.view.id;
        send(self.view.members, Message::Join { view }, ctx);
    }

    /// This process is the copy of a member that has flushed: it flushes the same.
    pub(super) fn upon_transfer(
        &mut self,
        counts: &Counts,
        messages: Vec<Data>,
        state: Bytes,
        ctx: &mut Ctx<Self>,
    ) {
        self.standing = Standing::Copy(state);
        self.within = Within::copy(self.me, self.view.members, counts, messages);
        self.flush(ctx);
    }

    pub(super) fn upon_left_out(&mut self, was_member: bool, ctx: &mut Ctx<Self>) {
        if was_member {
            self.standing = Standing::Outside;
            let view = self.view.id;
            ctx.trigger(Effect::Indicate(Indication::Excluded { view }));
        } else if self.standing != Standing::Outside {
            self.ask_to_join(ctx);
        }
    }
}
