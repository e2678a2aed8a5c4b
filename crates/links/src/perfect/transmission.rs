//! The end of a batch: what has gathered for a peer leaves in as few transmissions as it can.
use super::{
    algorithm::{Ctx, PerfectLink},
    events::{Effect, Event},
    frame::{self, PACKET_HEADER},
    handshake::FOREGROUND_GREETINGS,
    peer::{Armed, Standing},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{fair_loss::Transmit, heartbeat::Beat};
use quorate_core::{ProcessId, Random, Time};
use rand::Rng;
use std::time::Duration;

/// A transmission holds at most so many datagrams,
const MAXIMUM_SEGMENTS: usize = 64;
/// and is at most so long (if it holds more than one): what segmentation offload takes.
const MAXIMUM_TRANSMISSION: usize = 60 * 1024;

impl PerfectLink {
    /// Lets everything out that is due for `p`, and sets its timer.
    pub(super) fn flush(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if p == self.identity.me {
            return;
        }
        self.weigh_queue(p, ctx);
        if self.peers[p.index()].greeting.due {
            self.greet(p, ctx);
        }
        if self.may_send(p) && self.excluded.is_none() {
            self.send_again(p, ctx);
            while self.send_packets(p, ctx) {}
        }
        self.acknowledge(p, ctx);
        self.set_timer(p, ctx);
    }

    pub(super) fn transmit(to: ProcessId, bytes: Bytes, segment: usize, ctx: &mut Ctx) {
        ctx.trigger(Effect::Transmit(Transmit { to, bytes, segment }));
    }

    /// Lost packets leave first, as they were.
    fn send_again(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let Some(session) = self.peers[p.index()].session() else {
            return;
        };
        if !session.sending.has_lost() {
            return;
        }
        let mut again = Vec::new();
        session.sending.take_lost(ctx.now(), &mut again);
        ctx.count_many("packets sent again", again.len() as u64);
        for bytes in again {
            let segment = bytes.len();
            Self::transmit(p, bytes, segment, ctx);
        }
    }

    /// Makes one transmission of what waits, as far as the window goes; `false`: nothing left.
    fn send_packets(&mut self, p: ProcessId, ctx: &mut Ctx) -> bool {
        let datagram = self.configuration.datagram;
        let me = self.identity.me;
        let peer = &mut self.peers[p.index()];
        let Standing::Connected(session) = &mut peer.standing else {
            return false;
        };
        let count = (session.sending.room() / datagram)
            .min(session.sending.places())
            .min(MAXIMUM_SEGMENTS)
            .min((MAXIMUM_TRANSMISSION / datagram).max(1));
        if count == 0 || peer.outbox.is_empty() {
            return false;
        }
        let estimate = peer.outbox.bytes() + PACKET_HEADER * count;
        let mut buffer = BytesMut::with_capacity(estimate.min(count * datagram));
        let acknowledged = session.receiving.contiguous();
        for number in (session.sending.next_number()..).take(count) {
            if peer.outbox.is_empty() {
                break;
            }
            let start = buffer.len();
            frame::begin_packet(&mut buffer, me, session.token, number, acknowledged);
            peer.outbox.fill(&mut buffer, start, start + datagram);
            frame::end_packet(&mut buffer, start);
        }
        let bytes = buffer.freeze();
        ctx.count_many("packets sent", bytes.len().div_ceil(datagram) as u64);
        let now = ctx.now();
        for start in (0..bytes.len()).step_by(datagram) {
            let end = bytes.len().min(start + datagram);
            session.sending.sent(bytes.slice(start..end), now);
        }
        if !session.receiving.has_gaps() {
            session.receiving.settle();
        }
        Self::transmit(p, bytes, datagram, ctx);
        true
    }

    /// Acknowledges at once what is urgent, and soon what may find company.
    fn acknowledge(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let me = self.identity.me;
        let now = ctx.now();
        let peer = &mut self.peers[p.index()];
        let Standing::Connected(session) = &mut peer.standing else {
            return;
        };
        match session.receiving.owes() {
            None => peer.acknowledge_at = None,
            Some(true) => {
                peer.acknowledge_at = None;
                session.stamp += 1;
                let acknowledged = session.receiving.acknowledgement();
                let bytes = frame::acknowledge(me, session.token, session.stamp, &acknowledged);
                let segment = bytes.len();
                Self::transmit(p, bytes, segment, ctx);
            }
            Some(false) if peer.acknowledge_at.is_none() => {
                let delay = session.sending.acknowledgement_delay();
                peer.acknowledge_at = Some(now + delay);
            }
            Some(false) => {}
        }
    }

    /// Heartbeats bypass the window. An acknowledgement that is owed does not replace one: it does not
    /// say whom this process hears.
    pub(super) fn upon_beat(&mut self, beat: Beat, ctx: &mut Ctx) {
        let me = self.identity.me;
        for peer in &mut self.peers {
            let p = peer.id;
            if let Some(session) = peer.session() {
                session.stamp += 1;
                let bytes = frame::beat(me, session.token, session.stamp, beat.deaf);
                let segment = bytes.len();
                Self::transmit(p, bytes, segment, ctx);
            }
        }
    }

    /// One timer a peer: it is left alone if it fires no later than needed, and looks again then.
    fn set_timer(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = &self.peers[p.index()];
        let greets_in_background =
            peer.greeting.fruitless >= FOREGROUND_GREETINGS || peer.is_settled();
        let greeting = peer.greeting.at.map(|at| (at, greets_in_background));
        let acknowledgement = peer.acknowledge_at.map(|at| (at, true));
        let timeout = match &peer.standing {
            Standing::Connected(session) => session.sending.deadline(),
            Standing::Waiting | Standing::Closed { .. } => None,
        };
        let loss = peer.lost_at.map(|at| (at, false));
        let due = [greeting, acknowledgement, timeout, loss];
        let Some(at) = due.iter().flatten().map(|(at, _)| *at).min() else {
            return;
        };
        let background = due.iter().flatten().all(|(_, background)| *background);
        if let Some(armed) = &peer.armed {
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
        self.peers[p.index()].armed = Some(Armed { id, at, background });
    }
}

/// A timer that was armed for `at` fires at most a quarter of the remaining time later.
fn at_latest(at: Time, now: Time) -> Time {
    at + (at - now) / 4
}

/// Up to a quarter longer, so that processes do not act in step.
pub fn jittered(pause: Duration, rng: &mut Random) -> Duration {
    pause + pause.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX) / 4.0)
}

/// The later of now and `at`, jittered.
fn jittered_until(at: Time, now: Time, rng: &mut Random) -> Time {
    now + jittered(at - now, rng)
}
