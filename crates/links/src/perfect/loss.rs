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
    frame::{self, Verdict, Voter},
    outbox::Outbox,
};
use bytes::Bytes;
use quorate_abstractions::{lanes::LaneId, link::Status};
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

/// What waits to be sent to a peer, and how long the peer is still borne with.
#[derive(Default)]
pub struct Queue {
    outbox: Outbox,
    /// The peer owes more than the limit, and is lost then unless it acknowledges something.
    lost_at: Option<Time>,
}

impl Queue {
    /// Appends a message.
    pub fn push(&mut self, lane: LaneId, message: Bytes) {
        self.outbox.push(lane, message);
    }

    /// From where packets are filled.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What waits, in bytes.
    pub fn bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Nothing is sent of what waits.
    pub fn clear(&mut self) {
        *self = Queue::default();
    }

    /// Nothing is sent of what waits, and patience with the peer goes on.
    pub fn drop_messages(&mut self) {
        self.outbox = Outbox::default();
    }

    /// When patience with the peer is over.
    pub fn lost_at(&self) -> Option<Time> {
        self.lost_at
    }
}

impl PerfectLink {
    /// Memory is bounded, whatever happens: looked at with every message.
    pub(super) fn limit_queue(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let hardest = self.configuration.queue_limit.saturating_mul(HARDEST);
        if self.peers.get(p).owed_bytes() > hardest {
            self.lose(p, ctx);
        }
    }

    /// At the end of a batch: patience begins when the limit is passed. Who has not answered for long
    /// has used it up before.
    pub(super) fn weigh_queue(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let peer = self.peers.get_mut(p);
        if peer.owed_bytes() <= self.configuration.queue_limit {
            peer.queue.lost_at = None;
        } else if peer
            .session()
            .is_some_and(|session| session.sending.is_fruitless())
        {
            self.lose(p, ctx);
        } else if peer.queue.lost_at.is_none() {
            peer.queue.lost_at = Some(ctx.now() + self.configuration.patience());
        }
    }

    /// `p` has acknowledged something: patience begins anew.
    pub(super) fn bear_with(&mut self, p: ProcessId, now: Time) {
        let patience = self.configuration.patience();
        if let Some(lost_at) = &mut self.peers.get_mut(p).queue.lost_at {
            *lost_at = now + patience;
        }
    }

    /// Loses `p` if patience with it is over; if this process was `held_up`, what arrived meanwhile
    /// is to be seen first.
    pub(super) fn lose_if_overdue(&mut self, p: ProcessId, held_up: bool, ctx: &mut Ctx) {
        let now = ctx.now();
        let queue = &mut self.peers.get_mut(p).queue;
        if queue.lost_at.is_none_or(|at| at > now) {
            return;
        }
        if held_up {
            queue.lost_at = Some(now + HEARING);
        } else {
            self.lose(p, ctx);
        }
    }

    /// The queue to `p` is too long: this pair of incarnations exchanges nothing any more.
    pub(super) fn lose(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if let Some(session) = self.peers.get(p).session() {
            let nonce = session.nonce();
            let known = self.seats.voter(p).unwrap_or_default();
            self.turn_away(p, nonce, known, Verdict::Lost, ctx);
        }
        self.close(p, Verdict::Lost);
        self.peers.get_mut(p).greeting.slow_down(ctx.now());
        self.watchers.tell(p, Status::Lost { peer: p }, ctx);
    }

    /// Whether this is the verdict of one whom this process has lost in turn, and who is to yield:
    /// of two that have lost each other it is the one of the higher rank.
    pub(super) fn lost_mutually(&self, from: ProcessId, verdict: Verdict) -> bool {
        verdict == Verdict::Lost && self.peers.get(from).is_lost() && self.seats.me() < from
    }

    /// Ends whatever there is between the two, and frees it.
    pub(super) fn close(&mut self, p: ProcessId, verdict: Verdict) {
        self.peers.touch(p).close(verdict);
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
        let bytes = frame::excluded(self.seats.me(), nonce, known, verdict);
        Self::transmit_one(p, bytes, ctx);
    }
}
