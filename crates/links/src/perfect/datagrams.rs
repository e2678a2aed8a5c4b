//! Fair-loss lanes: one frame per message, sent once, never acknowledged.
//!
//! These lanes need both directions of a channel only for the handshake. From then on each direction works by
//! itself, whatever happens to the streams of perfect lanes, because nothing is acknowledged; users of these
//! lanes must expect lost messages. The lanes end when another incarnation takes the place of either process.
use super::{
    LinkSettings, PerfectLinks,
    algorithm::{Ctx, PerfectLink},
    events::{Effect, Event},
    frame::{self, DATAGRAM_OVERHEAD},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    lanes::LaneId,
    link::{Deliver, Links, SendRequest, Status, To},
};
use quorate_core::{Addr, Host, ProcessId, wire::Wire};

/// The fair-loss lanes of a process, on its perfect links: see [`PerfectLinks::datagrams`].
pub struct Datagrams<H>(PerfectLinks<H>);

impl<H: Clone> Clone for Datagrams<H> {
    fn clone(&self) -> Self {
        Datagrams(self.0.clone())
    }
}

impl<H: Host> PerfectLinks<H> {
    /// The same links, for lanes that promise less and need less: *fair-loss lanes*. A message that is sent
    /// often enough in one direction of a channel arrives, even when nothing comes back; it may be lost, be
    /// duplicated or come late. A message is no longer than [`LinkSettings::datagram_message`] allows.
    /// Messages sent to a peer before the two have met are dropped.
    ///
    /// Fair-loss lanes and perfect lanes share one namespace.
    #[must_use]
    pub fn datagrams(&self) -> Datagrams<H> {
        Datagrams(self.clone())
    }
}

impl<H> Datagrams<H> {
    /// The longest message in bytes: see [`LinkSettings::datagram_message`].
    pub fn longest(&self) -> usize {
        self.0.shared.settings.datagram_message()
    }
}

impl<H: Host> Links for Datagrams<H> {
    fn at(&self, segment: &str) -> Self {
        Datagrams(self.0.at(segment))
    }

    fn status(&self) -> Subscribe<Status> {
        self.0.status()
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        let PerfectLinks { host, path, shared } = &self.0;
        let events = &shared.events;
        let send = events.with(|(opened, send)| Event::SendDatagram(opened, send));
        shared.lanes.mark_fair_loss(path.clone());
        shared.lanes.open(path.clone(), host.counters(), up, send)
    }
}

impl PerfectLink {
    /// Fair loss: the message leaves at once, or never. Streams that end do not affect it.
    pub(super) fn upon_send_datagram(
        &mut self,
        opened: usize,
        SendRequest { to, message }: SendRequest<Bytes>,
        ctx: &mut Ctx,
    ) {
        let Some(lane) = self.lanes.number(opened) else {
            return ctx.count("no lane");
        };
        let limit = self.settings.datagram_message();
        if message.len() > limit {
            return self.refuse_too_long(lane, message.len(), limit, ctx);
        }
        if self.seats.is_excluded() {
            return ctx.count("excluded");
        }
        let receivers = match to {
            To::One(p) => return self.send_datagram(p, lane, &message, ctx),
            To::Some(set) => set,
            To::All => self.seats.processes().set(),
        };
        for p in receivers.iter() {
            self.send_datagram(p, lane, &message, ctx);
        }
    }

    fn send_datagram(&mut self, to: ProcessId, lane: LaneId, message: &Bytes, ctx: &mut Ctx) {
        if !self.seats.processes().contains(to) {
            return ctx.count("no member");
        }
        if !self.seats.is_open_between(to, lane) {
            return ctx.count("closed to newcomers");
        }
        if to == self.seats.me() {
            return self.send_to_oneself(lane, message.clone(), ctx);
        }
        let me = self.seats.me();
        let peer = self.peers.get_mut(to);
        let met = self.seats.is_admitted() && peer.has_met_us();
        let Some(session) = peer.session_mut().filter(|_| met) else {
            return ctx.count("not met");
        };
        let stamp = session.passage.next_stamp();
        let Some(bytes) = frame::datagram(me, session.token(), stamp, lane, message) else {
            return ctx.count("too long");
        };
        ctx.count("datagrams sent");
        Self::transmit_one(to, bytes, ctx);
    }

    /// A message has arrived on a fair-loss lane, from a peer whose token was verified.
    pub(super) fn upon_datagram(
        &mut self,
        from: ProcessId,
        stamp: u64,
        lane: LaneId,
        message: &Bytes,
        ctx: &mut Ctx,
    ) {
        if !self.seats.is_admitted() {
            return ctx.count("not admitted");
        }
        if !self.lanes.is_fair_loss(lane) {
            return ctx.count("wrong lane");
        }
        let peer = self.peers.get_mut(from);
        // A process that sends data has admitted us, and has been admitted.
        let news = !peer.has_met_us();
        let session = peer.session_mut();
        if !session.is_some_and(|session| session.passage.is_new(stamp)) {
            return ctx.count("stale");
        }
        self.heard_of(from, ctx);
        if news {
            self.learn_from_data(from, ctx);
        }
        if !self.seats.is_open_between(from, lane) {
            return ctx.count("closed to newcomers");
        }
        // A slice would keep the whole received buffer, up to 64 KiB, in memory.
        let message = Bytes::copy_from_slice(message);
        ctx.trigger(Effect::DeliverDatagram(lane, from, message));
    }

    /// A message of this process to itself has arrived, on a lane of either kind.
    pub(super) fn deliver_to_oneself(&self, lane: LaneId, message: Bytes, ctx: &mut Ctx) {
        let me = self.seats.me();
        ctx.trigger(if self.lanes.is_fair_loss(lane) {
            Effect::DeliverDatagram(lane, me, message)
        } else {
            Effect::Deliver(lane, me, message)
        });
    }
}

impl LinkSettings {
    /// How long a message on [fair-loss lanes](PerfectLinks::datagrams) may be, in bytes: the size of a
    /// datagram less 26 bytes of overhead. Longer messages are dropped, and counted.
    #[must_use]
    pub fn datagram_message(&self) -> usize {
        let longest = self.datagram.saturating_sub(DATAGRAM_OVERHEAD);
        longest.min(usize::from(u16::MAX))
    }
}
