//! Streams: the messages of a process to a peer form a sequence of streams. Each stream ends when the peer
//! owes too much, and is followed by the next.
//!
//! A queue above its limit means that much was sent, not that the peer is gone: a burst of long messages
//! suffices. So a stream ends only if, besides, the peer acknowledges nothing for a while, or if the queue
//! reaches a multiple of the limit, which bounds the memory. Then all waiting messages are freed, and
//! messages sent meanwhile are dropped. The sender repeats OPEN until the peer answers OPENED; only then is
//! the next stream in use. So both learn of the hole, each once, before any message of the next stream is
//! sent or delivered. No process is excluded for it. A stream ends as well when a session in which it was
//! used is followed by another between the same two starts.
use super::{
    LinkSettings,
    algorithm::{Ctx, PerfectLink},
    receiving::Opening,
};
use bytes::Bytes;
use quorate_abstractions::{lanes::LaneId, link::Status};
use quorate_core::{ProcessId, Time};
use std::time::Duration;

/// If a peer owes more than this many times the limit, the stream ends even if the peer acknowledges.
const HARDEST: usize = 4;
/// For how long a process that was held up itself first handles what its peers sent, before it ends their
/// streams.
const HEARING: Duration = Duration::from_millis(100);

impl LinkSettings {
    /// How long a peer above the limit may acknowledge nothing. Data that waits within a stream edge delays
    /// its acknowledgements.
    fn limit_timeout(&self) -> Duration {
        Duration::from_secs(if self.stream { 5 } else { 2 })
    }
}

impl PerfectLink {
    /// Bounds the memory in every case. Called with every message.
    pub(super) fn limit_queue(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let hardest = self.settings.queue_limit.saturating_mul(HARDEST);
        if self.peers.get(p).owed_bytes() > hardest {
            self.end_stream(p, ctx);
        }
    }

    /// Called at the end of a batch: the timeout begins when the limit is passed. A peer that has not
    /// answered for long has used it up already.
    pub(super) fn weigh_queue(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let peer = self.peers.get_mut(p);
        if peer.owed_bytes() <= self.settings.queue_limit {
            peer.queue.go_on();
        } else if peer
            .session()
            .is_some_and(|session| session.sending.is_fruitless())
        {
            self.end_stream(p, ctx);
        } else if peer.queue.ends_at().is_none() {
            peer.queue.end_at(ctx.now() + self.settings.limit_timeout());
        }
    }

    /// `p` has acknowledged something: the timeout begins anew.
    pub(super) fn postpone_end(&mut self, p: ProcessId, now: Time) {
        let timeout = self.settings.limit_timeout();
        let queue = &mut self.peers.get_mut(p).queue;
        if queue.ends_at().is_some() {
            queue.end_at(now + timeout);
        }
    }

    /// Ends the stream to `p` if it is time. If this process was `held_up`, it handles first what arrived
    /// meanwhile.
    pub(super) fn end_if_overdue(&mut self, p: ProcessId, held_up: bool, ctx: &mut Ctx) {
        let now = ctx.now();
        let queue = &mut self.peers.get_mut(p).queue;
        if queue.ends_at().is_none_or(|at| at > now) {
            return;
        }
        if held_up {
            queue.end_at(now + HEARING);
        } else {
            self.end_stream(p, ctx);
        }
    }

    /// `p` owes too much, or has forgotten the session: waiting messages are dropped, and the next stream has
    /// to be opened. A stream that has ended already does not end again.
    pub(super) fn end_stream(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if self.peers.get(p).queue.has_ended() {
            return;
        }
        ctx.count("streams ended");
        self.peers.touch(p).end_stream();
        self.watchers.say(Status::Ended { peer: p }, ctx);
    }

    /// The peer begins the next of its streams to this process: something of the last one is missing.
    pub(super) fn upon_open(&mut self, from: ProcessId, stream: u32, first: u64, ctx: &mut Ctx) {
        if !self.seats.is_admitted() {
            return ctx.count("not admitted");
        }
        if self.pressure.is_stuck() {
            return ctx.count("user stands still");
        }
        let Some(session) = self.peers.touch(from).session_mut() else {
            return;
        };
        match session.receiving.open(stream, first) {
            Opening::Next => self.watchers.say(Status::Gap { peer: from }, ctx),
            Opening::Again => {}
            Opening::Ended => return ctx.count("of another stream"),
            Opening::Impossible => return ctx.count("malformed"),
        }
        let answer = session.opened();
        Self::transmit_one(from, answer, ctx);
        if !self.peers.get(from).has_met_us() {
            self.learn_from_data(from, ctx);
        }
    }

    /// The peer knows that the next stream has begun: messages sent from now on arrive.
    pub(super) fn upon_opened(&mut self, from: ProcessId, stream: u32, upto: u64, ctx: &mut Ctx) {
        let (Some(session), queue) = self.peers.touch(from).exchange() else {
            return;
        };
        match session.begin(stream, upto) {
            None => ctx.count("of another stream"),
            Some(missing) => {
                queue.begin();
                ctx.count_many("packets lost with their stream", missing);
                self.watchers.say(Status::Begun { peer: from }, ctx);
            }
        }
    }

    /// Before it is admitted, a process keeps what it sends to itself, in order, up to the limit.
    pub(super) fn keep_to_oneself(&mut self, lane: LaneId, message: Bytes, ctx: &mut Ctx) {
        let limit = self.settings.queue_limit;
        let had_ended = self.to_oneself.has_ended();
        if self.to_oneself.keep(lane, message, limit) {
            return;
        }
        ctx.count("stream ended");
        if !had_ended {
            let peer = self.seats.me();
            self.watchers.say(Status::Ended { peer }, ctx);
        }
    }

    /// The kept messages are delivered. If some were not kept, this process gets the same indications as a
    /// peer would.
    pub(super) fn deliver_what_was_kept(&mut self, ctx: &mut Ctx) {
        let peer = self.seats.me();
        let had_ended = self.to_oneself.has_ended();
        for (lane, message) in self.to_oneself.take() {
            self.deliver_to_oneself(lane, message, ctx);
        }
        if had_ended {
            self.watchers.say(Status::Gap { peer }, ctx);
            self.watchers.say(Status::Begun { peer }, ctx);
        }
    }
}
