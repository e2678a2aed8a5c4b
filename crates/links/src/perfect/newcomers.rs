//! Incarnations that come after others: adopted into a slot by those who agree on it, and until then
//! waiting.
//!
//! What adopts an incarnation numbers it: it is the so-manieth that was adopted in its slot. Of two
//! claims to a slot the higher number counts, so that news of an adoption may come from anybody, in any
//! order, and late news change nothing. The adopted is admitted by the first who tells it: whoever
//! adopts does so because a majority agreed.
use super::{
    Configuration,
    algorithm::{Ctx, PerfectLink},
    frame::{Verdict, Voter},
    hello::Hello,
    outbox::Outbox,
    peer::Standing,
};
use quorate_abstractions::{
    lanes::{LaneId, Lanes},
    link::{Adopt, Status},
};
use quorate_core::{Incarnation, ProcessId};

/// By lane, whether newcomers use it.
pub fn open_to_newcomers(configuration: &Configuration, lanes: &Lanes) -> Vec<bool> {
    let is_open = |lane: &str| {
        let path = configuration.rejoin.as_deref();
        let rest = path.and_then(|path| lane.strip_prefix(path));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    lanes.names().iter().map(|n| is_open(n.as_str())).collect()
}

/// Whether a verified incarnation other than the voter `known` held the slot before it: it was admitted,
/// and not after that one. What it says or does is no news of its successor.
pub fn is_predecessor(hello: &Hello, known: Voter) -> bool {
    let own = hello.voters.iter().find(|(slot, _)| *slot == hello.from);
    let own = own.filter(|(_, own)| own.incarnation == hello.incarnation);
    let was_adopted = own.is_some_and(|(_, own)| own.number <= known.number);
    known.number > 0 && (was_adopted || own.is_none() && hello.ready)
}

impl PerfectLink {
    /// Whether a message may pass between this process and `p` on the lane: on some newcomers have no
    /// place, since nothing makes up there for what the incarnation before them had promised.
    pub(super) fn is_open_between(&self, p: ProcessId, lane: LaneId) -> bool {
        let came_later = |p: ProcessId| {
            let voter = self.voters[p.index()];
            voter.is_some_and(|voter| voter.number > 0)
        };
        let concerned = self.is_newcomer || came_later(p) || came_later(self.identity.me);
        let is_open = self.open_to_newcomers.get(usize::from(lane.0));
        !concerned || is_open.copied().unwrap_or(false)
    }

    /// Whether an earlier incarnation of this process is no end, but a reason to wait.
    fn may_wait(&self) -> bool {
        self.configuration.rejoin.is_some() && !self.admitted
    }

    /// Somebody knows another incarnation in this process's slot: an earlier one, after which this one
    /// waits; one that this one came after; or one that takes its place. Says whether this process goes
    /// on.
    pub(super) fn upon_known_otherwise(
        &mut self,
        by: ProcessId,
        known: Voter,
        ctx: &mut Ctx,
    ) -> bool {
        let me = self.identity.me;
        if self.may_wait() {
            self.upon_predecessor(by, known, ctx);
            return true;
        }
        let own = self.voters[me.index()].unwrap_or_default();
        if known.number < own.number {
            ctx.count("late news of voters");
            return true;
        }
        let reason = known_otherwise(me, known.incarnation);
        self.exclude(by, Verdict::KnownOtherwise, reason, ctx);
        false
    }

    /// Others know an earlier incarnation of this process. What it was about to send was said in
    /// ignorance of that.
    fn upon_predecessor(&mut self, by: ProcessId, known: Voter, ctx: &mut Ctx) {
        let own = &mut self.voters[self.identity.me.index()];
        let newer = own.is_none_or(|own| known.number >= own.number);
        if newer {
            *own = Some(known);
        }
        if !self.is_newcomer {
            self.upon_coming_later(by, known.incarnation, ctx);
        }
    }

    /// Somebody says that this process came after another in its slot, whatever became of it since.
    fn upon_coming_later(&mut self, by: ProcessId, known: Incarnation, ctx: &mut Ctx) {
        self.is_newcomer = true;
        self.to_oneself.clear();
        self.to_oneself_bytes = 0;
        for p in self.processes.others(self.identity.me).iter() {
            self.peers[p.index()].outbox = Outbox::default();
        }
        let status = Status::Newcomer { by, known };
        self.newcomer = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// `by` knows this process as the voter of its slot: maybe it was adopted before it heard of any
    /// other, and has come later all the same.
    pub(super) fn upon_own_adoption(&mut self, by: ProcessId, own: Voter, ctx: &mut Ctx) {
        if own.number > 0 && self.may_wait() && !self.is_newcomer {
            self.upon_coming_later(by, own.incarnation, ctx);
        }
    }

    /// Those who agree on it say that an incarnation takes the place of another.
    pub(super) fn upon_adopt(&mut self, request: Adopt, ctx: &mut Ctx) {
        let Adopt {
            slot,
            incarnation,
            number,
        } = request;
        let Ok(number) = u32::try_from(number) else {
            return ctx.count("impossible adoption");
        };
        if !self.processes.contains(slot) || self.excluded.is_some() {
            return ctx.count("impossible adoption");
        }
        let voter = Voter {
            incarnation,
            number,
        };
        self.learn_voter(slot, voter, ctx);
    }

    /// A voter takes the place of another: what there was with that one is over.
    pub(super) fn succeed(&mut self, slot: ProcessId, voter: Voter, ctx: &mut Ctx) {
        let me = self.identity.me;
        let before = self.voters[slot.index()].replace(voter);
        if slot == me {
            if voter.incarnation == self.identity.incarnation {
                self.is_newcomer = false;
                self.upon_admissible(ctx);
            } else if !self.may_wait() {
                let reason = format!(
                    "another incarnation of {me}, {}, took its place",
                    voter.incarnation
                );
                self.exclude(me, Verdict::Superseded, reason, ctx);
            }
            return;
        }
        let peer = &mut self.peers[slot.index()];
        peer.standing = Standing::Waiting;
        peer.passage = None;
        peer.outbox = Outbox::default();
        peer.acknowledge_at = None;
        peer.lost_at = None;
        peer.admitted_us = false;
        peer.ready = false;
        peer.greeting.fruitless = 0;
        peer.greeting.due = true;
        self.admitted_by.remove(slot);
        self.touched.insert(slot);
        let known = before.unwrap_or_default().incarnation;
        let status = Status::Replaced {
            peer: slot,
            known,
            newcomer: voter.incarnation,
        };
        if self.peers[slot.index()].told.as_ref() != Some(&status) {
            self.tell(slot, status, ctx);
        }
    }
}

fn known_otherwise(me: ProcessId, known: Incarnation) -> String {
    format!(
        "{me} is known as incarnation {known}: another process runs, or ran, under this identity"
    )
}
