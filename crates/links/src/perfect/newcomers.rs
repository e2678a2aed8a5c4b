//! Incarnations that come after others in a seat. They wait until the group that agrees on it adopts them.
//!
//! An adoption carries a number: how many incarnations were adopted in its seat before. Of two claims to a
//! seat the higher number counts, so that news of an adoption may come from any process, in any order, and
//! late news changes nothing. The adopted incarnation is admitted by the first process that tells it, because
//! an adoption means that a majority agreed.
use super::{
    algorithm::{Ctx, PerfectLink},
    frame::{MOST_ADOPTIONS, Verdict, Voter},
    hello::Hello,
};
use quorate_abstractions::link::{Adopt, Status};
use quorate_core::{Incarnation, ProcessId};

/// Whether a verified incarnation other than the voter `known` held the seat before it: it was admitted, and
/// not after the voter. Its messages say nothing new about its successor.
pub fn is_predecessor(hello: &Hello, known: Voter) -> bool {
    let own = hello.voters.iter().find(|(seat, _)| *seat == hello.from);
    let own = own.filter(|(_, own)| own.incarnation == hello.incarnation);
    let was_adopted = own.is_some_and(|(_, own)| own.number <= known.number);
    known.number > 0 && (was_adopted || own.is_none() && hello.ready)
}

impl PerfectLink {
    /// Another process knows another incarnation in this process's seat: an earlier one, after which this one
    /// waits; one that this one came after; or one that takes its place, or was admitted if the seat
    /// `is_taken`. Returns whether this process goes on.
    pub(super) fn upon_known_otherwise(
        &mut self,
        by: ProcessId,
        known: Voter,
        is_taken: bool,
        ctx: &mut Ctx,
    ) -> bool {
        if self.seats.may_wait() {
            self.upon_predecessor(by, known, ctx);
            return true;
        }
        // Of two first incarnations, the one that was admitted is the only one that ever is, unless the other
        // is known to be admitted as well: then more processes have lost their memory than may.
        let own = self.seats.own().number;
        let is_first = (known.number, own) == (0, 0) && self.seats.is_admitted() && !is_taken;
        if known.number < own || is_first {
            ctx.count("late news of voters");
            return true;
        }
        let reason = known_otherwise(self.seats.me(), known.incarnation);
        self.exclude(by, Verdict::KnownOtherwise, reason, ctx);
        false
    }

    /// Others know an earlier incarnation of this process. Messages about to be sent are dropped, because
    /// they were written in ignorance of that.
    fn upon_predecessor(&mut self, by: ProcessId, known: Voter, ctx: &mut Ctx) {
        self.seats.yield_to(known);
        if !self.seats.is_newcomer() {
            self.upon_coming_later(by, known.incarnation, ctx);
        }
    }

    /// Another process says that this process came after another in its seat, whatever has happened to that
    /// one since.
    fn upon_coming_later(&mut self, by: ProcessId, known: Incarnation, ctx: &mut Ctx) {
        self.seats.come_later();
        self.to_oneself.clear();
        for p in self.peers.others().iter() {
            self.peers.get_mut(p).queue.clear();
        }
        let status = Status::Newcomer { by, known };
        self.watchers.tell_newcomer(status, ctx);
    }

    /// `by` knows this process as the voter of its seat. This process may have been adopted before it heard
    /// of any other, and has come later all the same.
    pub(super) fn upon_own_adoption(&mut self, by: ProcessId, own: Voter, ctx: &mut Ctx) {
        if own.number > 0 && self.seats.may_wait() && !self.seats.is_newcomer() {
            self.upon_coming_later(by, own.incarnation, ctx);
        }
    }

    /// The group that agrees on it says that an incarnation takes the place of another.
    pub(super) fn upon_adopt(&mut self, request: Adopt, ctx: &mut Ctx) {
        let Adopt {
            seat,
            incarnation,
            number,
        } = request;
        let number = u32::try_from(number).ok();
        let Some(number) = number.filter(|number| *number < MOST_ADOPTIONS) else {
            return ctx.count("impossible adoption");
        };
        if !self.seats.processes().contains(seat) || self.seats.is_excluded() {
            return ctx.count("impossible adoption");
        }
        let voter = Voter {
            incarnation,
            number,
        };
        self.learn_voter(seat, voter, ctx);
    }

    /// A voter has taken the place of another, `known`: the exchange with that one is over.
    pub(super) fn succeed(
        &mut self,
        seat: ProcessId,
        voter: Voter,
        known: Incarnation,
        ctx: &mut Ctx,
    ) {
        let me = self.seats.me();
        let newcomer = voter.incarnation;
        if seat == me {
            if newcomer == self.seats.identity().incarnation {
                self.seats.take_seat();
                self.upon_admissible(ctx);
            } else if !self.seats.may_wait() {
                let reason = format!("another incarnation of {me}, {newcomer}, took its place");
                self.exclude(me, Verdict::Superseded, reason, ctx);
            }
            return;
        }
        self.peers.touch(seat).succeed();
        self.seats.forget(seat);
        self.tell_replaced(seat, known, newcomer, ctx);
    }
}

fn known_otherwise(me: ProcessId, known: Incarnation) -> String {
    format!(
        "{me} is known as incarnation {known}: another process runs, or ran, under this identity"
    )
}
