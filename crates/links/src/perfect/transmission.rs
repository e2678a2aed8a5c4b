//! The end of a batch: everything gathered for a peer leaves in as few transmissions as possible.
use super::{
    algorithm::{Ctx, PerfectLink},
    events::{Effect, Event},
    greeting::jittered,
    peer::Armed,
    session::Session,
};
use bytes::Bytes;
use quorate_abstractions::{fair_loss::Transmit, heartbeat::Beat};
use quorate_core::{ProcessId, Random, Time};

impl PerfectLink {
    /// Sends everything that is due for `p`, and sets its timer.
    pub(super) fn flush(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if p == self.seats.me() {
            return;
        }
        self.weigh_queue(p, ctx);
        if self.peers.get(p).greeting.is_due() {
            self.greet(p, ctx);
        }
        if self.may_send(p) && !self.seats.is_excluded() {
            self.open_stream(p, ctx);
            self.send_again(p, ctx);
            while self.send_packets(p, ctx) {}
        }
        self.acknowledge(p, ctx);
        self.set_timer(p, ctx);
    }

    pub(super) fn transmit(to: ProcessId, bytes: Bytes, segment: usize, ctx: &mut Ctx) {
        ctx.trigger(Effect::Transmit(Transmit { to, bytes, segment }));
    }

    /// A transmission of one datagram.
    pub(super) fn transmit_one(to: ProcessId, bytes: Bytes, ctx: &mut Ctx) {
        let segment = bytes.len();
        Self::transmit(to, bytes, segment, ctx);
    }

    /// After a stream has ended, the next one begins once the peer knows of the end.
    fn open_stream(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let session = self.peers.get_mut(p).session_mut();
        if let Some(bytes) = session.and_then(|session| session.open(ctx.now())) {
            Self::transmit_one(p, bytes, ctx);
        }
    }

    /// Lost packets leave first, unchanged.
    fn send_again(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let Some(session) = self.peers.get_mut(p).session_mut() else {
            return;
        };
        if !session.sending.has_lost() {
            return;
        }
        let mut again = Vec::new();
        session.sending.take_lost(ctx.now(), &mut again);
        ctx.count_many("packets sent again", again.len() as u64);
        for bytes in again {
            Self::transmit_one(p, bytes, ctx);
        }
    }

    /// Makes one transmission of waiting messages, as far as the window allows. Returns `false` if there is
    /// nothing to send.
    fn send_packets(&mut self, p: ProcessId, ctx: &mut Ctx) -> bool {
        let datagram = self.settings.datagram;
        let (Some(session), queue) = self.peers.get_mut(p).exchange() else {
            return false;
        };
        let Some(bytes) = session.packets(queue.outbox(), datagram, ctx.now()) else {
            return false;
        };
        ctx.count_many("packets sent", bytes.len().div_ceil(datagram) as u64);
        Self::transmit(p, bytes, datagram, ctx);
        true
    }

    fn acknowledge(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let session = self.peers.get_mut(p).session_mut();
        if let Some(bytes) = session.and_then(|session| session.acknowledgement(ctx.now())) {
            Self::transmit_one(p, bytes, ctx);
        }
    }

    /// Heartbeats bypass the window. An owed acknowledgement does not replace a heartbeat, because it does
    /// not say whom this process hears.
    pub(super) fn upon_beat(&mut self, beat: Beat, ctx: &mut Ctx) {
        self.says = beat;
        self.beat(ctx);
    }

    pub(super) fn beat(&mut self, ctx: &mut Ctx) {
        let mut beat = self.says;
        if self.pressure.is_stuck() {
            // A process that takes no packets says that it hears nobody.
            beat.unheard = self.peers.others();
            beat.cut_off = true;
        }
        for p in self.peers.others().iter() {
            if let Some(session) = self.peers.get_mut(p).session_mut() {
                Self::transmit_one(p, session.beat(beat), ctx);
            }
        }
        self.pressure.say_again();
    }

    /// There is one timer per peer. A timer that fires no later than needed is kept, and the next one is
    /// computed when it fires.
    fn set_timer(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = self.peers.get(p);
        let greets_in_background = peer.greeting.is_fruitless() || peer.is_settled();
        let greeting = peer.greeting.at().map(|at| (at, greets_in_background));
        let session = peer.session();
        let acknowledgement = session.and_then(Session::acknowledge_at);
        let acknowledgement = acknowledgement.map(|at| (at, true));
        let timeout = session.and_then(Session::deadline);
        let end = peer.queue.ends_at().map(|at| (at, false));
        let due = [greeting, acknowledgement, timeout, end];
        let Some(at) = due.iter().flatten().map(|(at, _)| *at).min() else {
            return;
        };
        let background = due.iter().flatten().all(|(_, background)| *background);
        if let Some(armed) = peer.timer() {
            if armed.at <= at_latest(at, now) && (background || !armed.background) {
                return;
            }
            ctx.cancel(armed.id);
        }
        let at = jittered_until(at, now, ctx.rng());
        let delay = at - now;
        let id = if background {
            ctx.after_in_background(delay, Event::Timer(p))
        } else {
            ctx.after(delay, Event::Timer(p))
        };
        let armed = Armed { id, at, background };
        self.peers.get_mut(p).set_timer(Some(armed));
    }
}

/// A timer that was armed for `at` fires at most a quarter of the remaining time later.
fn at_latest(at: Time, now: Time) -> Time {
    at + (at - now) / 4
}

/// The later of now and `at`, jittered.
fn jittered_until(at: Time, now: Time, rng: &mut Random) -> Time {
    now + jittered(at - now, rng)
}
