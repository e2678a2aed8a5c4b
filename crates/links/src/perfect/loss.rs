//! Peers that owe too much: how long they are borne with, and how they are lost.
//!
//! A queue above its limit says that much was sent, not that the peer is gone: a burst of long
//! messages does it. So a peer is lost only if it acknowledges nothing for a while besides, or if its
//! queue reaches a multiple of the limit, which bounds the memory.
//!
//! A peer that was lost must not take part any more, or there would be a hole between the two that
//! nobody knows of. What tells it so may be cut off as well: it is greeted slowly for ever, and told
//! when it answers. If both have lost each other, the one of the higher rank yields. Fair-loss lanes have
//! holes anyway: they go on, also of the one that yields.
use super::{
    Configuration,
    algorithm::{Ctx, PerfectLink},
    events::Effect,
    frame::{self, Verdict, Voter},
    handshake::{FOREGROUND_GREETINGS, SLOWEST_GREETING},
    outbox::Outbox,
    peer::Standing,
};
use quorate_abstractions::{fair_loss::Transmit, link::Status};
use quorate_core::{ProcessId, Time};
use std::time::Duration;

/// A peer that owes more than so many times the limit is lost whatever it acknowledges.
const HARDEST: usize = 4;
/// A process that was held up itself hears its peers out for so long before it blames them.
const HEARING: Duration = Duration::from_millis(100);

impl Configuration {
    /// How long a peer above the limit may acknowledge nothing. What waits within a stream delays
    /// its acknowledgements.
    fn patience(&self) -> Duration {
        Duration::from_secs(if self.stream { 5 } else { 2 })
    }
}

impl PerfectLink {
    /// Memory is bounded, whatever happens: looked at with every message.
    pub(super) fn limit_queue(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let hardest = self.configuration.queue_limit.saturating_mul(HARDEST);
        if self.peers[p.index()].owed_bytes() > hardest {
            self.lose(p, ctx);
        }
    }

    /// At the end of a batch: patience begins when the limit is passed. Who has not answered for long
    /// has used it up before.
    pub(super) fn weigh_queue(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let peer = &mut self.peers[p.index()];
        if peer.owed_bytes() <= self.configuration.queue_limit {
            peer.lost_at = None;
        } else if peer
            .session()
            .is_some_and(|session| session.sending.is_fruitless())
        {
            self.lose(p, ctx);
        } else if peer.lost_at.is_none() {
            peer.lost_at = Some(ctx.now() + self.configuration.patience());
        }
    }

    /// `p` has acknowledged something: patience begins anew.
    pub(super) fn bear_with(&mut self, p: ProcessId, now: Time) {
        let patience = self.configuration.patience();
        if let Some(lost_at) = &mut self.peers[p.index()].lost_at {
            *lost_at = now + patience;
        }
    }

    /// Loses `p` if patience with it is over; if this process was `held_up`, what arrived meanwhile
    /// is to be seen first.
    pub(super) fn lose_if_overdue(&mut self, p: ProcessId, held_up: bool, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = &mut self.peers[p.index()];
        if peer.lost_at.is_none_or(|at| at > now) {
            return;
        }
        if held_up {
            peer.lost_at = Some(now + HEARING);
        } else {
            self.lose(p, ctx);
        }
    }

    /// The queue to `p` is too long: this pair of incarnations exchanges nothing any more.
    pub(super) fn lose(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if let Standing::Connected(session) = &self.peers[p.index()].standing {
            let nonce = session.nonce;
            let known = self.voters[p.index()].unwrap_or_default();
            self.turn_away(p, nonce, known, Verdict::Lost, ctx);
        }
        self.close(p, Verdict::Lost);
        let greeting = &mut self.peers[p.index()].greeting;
        greeting.fruitless = FOREGROUND_GREETINGS;
        greeting.at = Some(ctx.now() + SLOWEST_GREETING);
        self.tell(p, Status::Lost { peer: p }, ctx);
    }

    /// Whether this is the verdict of one whom this process has lost in turn, and who is to yield:
    /// of two that have lost each other it is the one of the higher rank.
    pub(super) fn lost_mutually(&self, from: ProcessId, verdict: Verdict) -> bool {
        verdict == Verdict::Lost && self.peers[from.index()].is_lost() && self.identity.me < from
    }

    /// Ends whatever there is between the two, and frees it.
    pub(super) fn close(&mut self, p: ProcessId, verdict: Verdict) {
        let peer = &mut self.peers[p.index()];
        let session = peer.session().map(|session| (session.token, session.nonce));
        peer.standing = Standing::Closed { verdict, session };
        if verdict != Verdict::Lost {
            peer.passage = None;
        }
        peer.outbox = Outbox::default();
        peer.acknowledge_at = None;
        peer.lost_at = None;
        peer.greeting.at = None;
        self.touched.insert(p);
    }

    /// Tells the incarnation of `p` that knows `nonce` that it may not take part.
    pub(super) fn turn_away(
        &mut self,
        p: ProcessId,
        nonce: u64,
        known: Voter,
        verdict: Verdict,
        ctx: &mut Ctx,
    ) {
        ctx.count("turned away");
        let bytes = frame::excluded(self.identity.me, nonce, known, verdict);
        let segment = bytes.len();
        ctx.trigger(Effect::Transmit(Transmit {
            to: p,
            bytes,
            segment,
        }));
    }
}
