//! The perfect link's state machine: see [`perfect`](super) for what it promises and why it holds.
pub use super::events::Ctx;
use super::{
    LARGEST_DATAGRAM, LinkSettings, TooLong,
    events::{Effect, Event},
    frame::{self, Acknowledged, Content, Frame, Malformed, PacketHead, Stamped, Token},
    hello::Identity,
    oneself::ToOneself,
    peer::Peers,
    pressure::{Modules, Observer, Owes, Pressure},
    receiving::{Assembled, Fate},
    seats::Seats,
    session::Session,
    watchers::Watchers,
};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{self, datagrams},
    heartbeat::{Beat, Heard},
    lanes::{LaneId, Lanes},
    link::{SendRequest, To},
};
use quorate_core::{Algorithm, Membership, ProcessId, Time};
use std::time::Duration;

/// A timer that fires so late tells that this process was held up.
const HELD_UP: Duration = Duration::from_millis(10);

/// The perfect link of one process.
pub struct PerfectLink {
    pub(super) settings: LinkSettings,
    pub(super) lanes: Lanes,
    pub(super) seats: Seats,
    pub(super) peers: Peers,
    /// Messages to oneself, until this process is admitted.
    pub(super) to_oneself: ToOneself,
    pub(super) watchers: Watchers,
    /// What the peers owe, for each module.
    pub(super) pressure: Pressure,
    /// This process's latest heartbeat, which says whom it hears.
    pub(super) says: Beat,
}

impl Algorithm for PerfectLink {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx) {
        self.introduce(ctx);
        self.upon_idle(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx) {
        match event {
            Event::Send(opened, send) => self.upon_send(opened, send, ctx),
            Event::SendDatagram(opened, send) => self.upon_send_datagram(opened, send, ctx),
            Event::Edge(fair_loss::Indication::Arrive { bytes, segment }) => {
                self.upon_arrive(bytes, segment, ctx);
            }
            Event::Edge(fair_loss::Indication::Reopened(p)) => self.upon_reopened(p, ctx),
            Event::Beat(beat) => self.upon_beat(beat, ctx),
            Event::Repeat => self.beat(ctx),
            Event::Listen(listener) => self.watchers.listen(listener),
            Event::Watch(watcher) => self.watchers.watch(watcher, ctx),
            Event::Meet(watcher) => self.watchers.meet(watcher, ctx),
            Event::WatchLengths(watcher) => self.watchers.watch_lengths(watcher),
            Event::Pressure(module, wait, up) => {
                if let Some(room) = self.pressure.watch(&module, wait, up.clone()) {
                    ctx.trigger(Effect::Room(vec![up], room));
                }
            }
            Event::Backlog(module, backlog) => {
                self.pressure.upon_backlog(&module, backlog, ctx.now());
            }
            Event::Observe(observer) => self.upon_observe(observer, ctx),
            Event::Adopt(request) => self.upon_adopt(request, ctx),
            Event::Drain(reply) => self.watchers.drain(reply),
            Event::Gauge(reply) => self.upon_gauge(reply, ctx),
            Event::Timer(p) => self.upon_timer(p, ctx),
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx) {
        for from in self.peers.take_heard().iter() {
            let session = self.peers.get(from).session();
            let beat = session.map(Session::said).unwrap_or_default();
            self.watchers.tell_heard(Heard { from, beat }, ctx);
        }
        for p in self.peers.take_touched().iter() {
            self.flush(p, ctx);
            self.account(p, ctx.now());
        }
        self.judge(ctx);
        self.watchers.tell_met(self.seats.met(), ctx);
        if self.watchers.await_drain() && self.is_drained() {
            self.watchers.tell_drained(ctx);
        }
    }
}

impl PerfectLink {
    /// A link between the `processes`, over the given lanes.
    pub fn new(
        settings: LinkSettings,
        identity: Identity,
        processes: Membership,
        lanes: Lanes,
    ) -> Self {
        PerfectLink {
            peers: Peers::new(&processes, identity.me),
            watchers: Watchers::new(processes.n()),
            pressure: Pressure::new(identity.me, &processes, &lanes, settings.queue_limit),
            seats: Seats::new(&settings, identity, processes, &lanes),
            to_oneself: ToOneself::default(),
            says: Beat::default(),
            settings,
            lanes,
        }
    }

    /// PL1: every receiver's queue gets the message; packets are made at the end of the batch.
    fn upon_send(
        &mut self,
        opened: usize,
        SendRequest { to, message }: SendRequest<Bytes>,
        ctx: &mut Ctx,
    ) {
        let Some(lane) = self.lanes.number(opened) else {
            return ctx.count("no lane");
        };
        let limit = self.settings.maximum_message;
        if message.len() > limit {
            return self.refuse_too_long(lane, message.len(), limit, ctx);
        }
        if self.seats.is_excluded() {
            return ctx.count("excluded");
        }
        let receivers = match to {
            To::One(p) => return self.send(p, lane, message, ctx),
            To::Some(set) => set,
            To::All => self.seats.processes().set(),
        };
        for p in receivers.iter() {
            self.send(p, lane, message.clone(), ctx);
        }
    }

    /// The sender is told, because no other process would ever know.
    pub(super) fn refuse_too_long(&self, lane: LaneId, bytes: usize, limit: usize, ctx: &mut Ctx) {
        ctx.count("too long");
        if let Some(lane) = self.lanes.names().get(usize::from(lane.0)).cloned() {
            let message = TooLong { lane, bytes, limit };
            self.watchers.tell_too_long(message, ctx);
        }
    }

    fn send(&mut self, to: ProcessId, lane: LaneId, message: Bytes, ctx: &mut Ctx) {
        if !self.seats.processes().contains(to) {
            return ctx.count("no member");
        }
        if !self.seats.is_open_between(to, lane) {
            return ctx.count("closed to newcomers");
        }
        if to == self.seats.me() {
            return self.send_to_oneself(lane, message, ctx);
        }
        let peer = self.peers.get(to);
        if peer.is_closed() {
            return ctx.count("closed");
        }
        if peer.queue.has_ended() {
            return ctx.count("stream ended");
        }
        self.peers.touch(to).queue.push(lane, message);
        self.limit_queue(to, ctx);
    }

    /// A message to oneself needs no packet: the effect reaches the lane after this handler.
    pub(super) fn send_to_oneself(&mut self, lane: LaneId, message: Bytes, ctx: &mut Ctx) {
        if self.seats.is_admitted() {
            return self.deliver_to_oneself(lane, message, ctx);
        }
        self.keep_to_oneself(lane, message, ctx);
    }

    fn upon_arrive(&mut self, bytes: Bytes, segment: usize, ctx: &mut Ctx) {
        ctx.count_many(
            "datagrams received",
            bytes.len().div_ceil(segment.max(1)) as u64,
        );
        for datagram in datagrams(bytes, segment) {
            if datagram.len() > LARGEST_DATAGRAM {
                ctx.count("oversized");
                continue;
            }
            match Frame::decode(datagram) {
                Ok(frame) => self.upon_frame(frame, ctx),
                Err(Malformed::Frame) => ctx.count("malformed"),
                Err(Malformed::Damaged) => ctx.count("damaged"),
                Err(Malformed::Version { from, version }) => {
                    self.upon_other_version(from, version, ctx);
                }
            }
        }
    }

    fn upon_frame(&mut self, frame: Frame, ctx: &mut Ctx) {
        match frame {
            Frame::Packet { head, chunks } => {
                if self.is_of_session(head.from, head.token, ctx) {
                    self.upon_packet(&head, &chunks, ctx);
                    let acknowledged = Acknowledged {
                        all: head.acknowledged,
                        ..Acknowledged::default()
                    };
                    self.upon_acknowledged(head.from, &acknowledged, ctx);
                }
            }
            Frame::Stamped(stamped) => self.upon_stamped(stamped, ctx),
            Frame::Hello(hello) => self.upon_hello(hello, ctx),
            Frame::Excluded {
                from,
                incarnation,
                echo,
                known,
                verdict,
            } => self.upon_excluded((from, incarnation), echo, known, verdict, ctx),
        }
    }

    /// A frame about streams takes effect even if later frames have already arrived; an old heartbeat or an old
    /// report of room does not.
    fn upon_stamped(&mut self, stamped: Stamped, ctx: &mut Ctx) {
        let Stamped {
            from,
            token,
            stamp,
            content,
        } = stamped;
        if !self.is_of_session(from, token, ctx) {
            return;
        }
        if let Content::Datagram { lane, message } = content {
            return self.upon_datagram(from, stamp, lane, &message, ctx);
        }
        let is_new = self.upon_stamp(from, stamp, ctx);
        match content {
            Content::Acknowledge {
                stream,
                acknowledged,
            } => {
                if self.is_of_stream(from, stream, ctx) {
                    self.upon_acknowledged(from, &acknowledged, ctx);
                }
            }
            Content::Open { stream, first } => self.upon_open(from, stream, first, ctx),
            Content::Opened { stream, upto } => self.upon_opened(from, stream, upto, ctx),
            Content::Beat(beat) if is_new => self.upon_hearing(from, beat, ctx.now()),
            Content::Room(without) if is_new => self.upon_room(from, without, ctx.now()),
            Content::Beat(_) | Content::Room(_) | Content::Datagram { .. } => {}
        }
    }

    /// PL3: a frame counts only if it proves to be of the session between these two incarnations.
    fn is_of_session(&mut self, from: ProcessId, token: Token, ctx: &mut Ctx) -> bool {
        if !self.seats.is_other(from) {
            ctx.count("no member");
            return false;
        }
        if self.seats.is_excluded() {
            ctx.count("excluded");
            return false;
        }
        let session = self.peers.get(from).session();
        if session.is_some_and(|session| session.token() == token) {
            return true;
        }
        ctx.count("other session");
        self.upon_other_session(from, token, ctx);
        false
    }

    /// PL2: each packet is unpacked once, in the order of the numbers. Every packet is acknowledged.
    fn upon_packet(&mut self, head: &PacketHead, chunks: &Bytes, ctx: &mut Ctx) {
        let PacketHead { from, number, .. } = *head;
        if !self.seats.is_admitted() {
            return ctx.count("not admitted");
        }
        if self.pressure.is_stuck() {
            // The packet is neither taken nor acknowledged: it comes again, or its stream ends.
            return ctx.count("user stands still");
        }
        if number == 0 || !frame::are_well_formed(chunks, self.lanes.len()) {
            return ctx.count("malformed");
        }
        let peer = self.peers.touch(from);
        // A process that sends data has admitted us, and has been admitted.
        let news = !peer.has_met_us();
        let Some(session) = peer.session_mut() else {
            return;
        };
        if session.receiving.stream().0 != head.stream {
            return ctx.count("of another stream");
        }
        match session.receiving.arrive(number, chunks) {
            Fate::Duplicate => return ctx.count("duplicate"),
            Fate::Beyond => return ctx.count("beyond the window"),
            Fate::Early => self.heard_of(from, ctx),
            Fate::Next => {
                self.heard_of(from, ctx);
                self.take_apart(from, chunks, ctx);
            }
        }
        if news {
            self.learn_from_data(from, ctx);
        }
    }

    /// Whether a peer's frame about a stream from this process is about the stream in use.
    fn is_of_stream(&self, from: ProcessId, stream: u32, ctx: &mut Ctx) -> bool {
        let session = self.peers.get(from).session();
        let is = session.is_some_and(|session| session.stream() == stream);
        if !is {
            ctx.count("of another stream");
        }
        is
    }

    /// Delivers the messages that this packet completes, and those of the packets that waited for it.
    fn take_apart(&mut self, from: ProcessId, chunks: &Bytes, ctx: &mut Ctx) {
        let is_closed = |link: &Self, lane| !link.seats.is_open_between(from, lane);
        let mut next = None;
        loop {
            let packet: &Bytes = next.as_ref().unwrap_or(chunks);
            let mut at = 0;
            while let Ok(Some(chunk)) = frame::chunk_at(packet, at) {
                at = chunk.end;
                if self.lanes.is_fair_loss(chunk.lane) {
                    ctx.count("wrong lane");
                    continue;
                }
                let closed = is_closed(self, chunk.lane);
                let Some(session) = self.peers.get_mut(from).session_mut() else {
                    return;
                };
                match session.receiving.assemble(packet, chunk) {
                    Assembled::Whole(_) if closed => ctx.count("closed to newcomers"),
                    Assembled::Whole(message) => {
                        ctx.trigger(Effect::Deliver(chunk.lane, from, message));
                    }
                    Assembled::Part => {}
                    Assembled::Refused => ctx.count("bad fragment"),
                }
            }
            let session = self.peers.get_mut(from).session_mut();
            next = session.and_then(|session| session.receiving.take_next());
            if next.is_none() {
                return;
            }
        }
    }

    /// Handles a frame without a number, which is a sign of life unless it is an old frame. Returns whether
    /// it is one.
    fn upon_stamp(&mut self, from: ProcessId, stamp: u64, ctx: &mut Ctx) -> bool {
        let session = self.peers.get_mut(from).session_mut();
        let fresh = session.is_some_and(|session| session.receiving.is_fresh(stamp));
        if fresh {
            self.heard_of(from, ctx);
        } else {
            ctx.count("stale");
        }
        fresh
    }

    /// The peer's latest heartbeat stays valid until the next one. If the peer heard nobody and now hears
    /// others again, it takes the packets that it did not take before. Its heartbeats never stopped, so that
    /// no silence ended that would have triggered retransmission.
    fn upon_hearing(&mut self, from: ProcessId, beat: Beat, now: Time) {
        let session = self.peers.get_mut(from).session_mut();
        if session.is_some_and(|session| session.says(beat, now) || session.leaves()) {
            self.peers.touch(from);
        }
    }

    /// A peer says for which modules it has no room. If it has room again for some, it may have taken nothing
    /// before.
    fn upon_room(&mut self, from: ProcessId, without: Modules, now: Time) {
        self.pressure.announced(from, without, now);
        let session = self.peers.get_mut(from).session_mut();
        if session.is_some_and(|session| session.has_room_but_for(without, now)) {
            self.peers.touch(from);
        }
    }

    fn upon_acknowledged(&mut self, from: ProcessId, acknowledged: &Acknowledged, ctx: &mut Ctx) {
        let now = ctx.now();
        let Some(session) = self.peers.get_mut(from).session_mut() else {
            return;
        };
        match session.sending.acknowledge(acknowledged, now) {
            Ok(true) => {
                self.peers.touch(from);
                self.postpone_end(from, now);
                self.pressure.acknowledged(from, now);
            }
            Ok(false) => {}
            Err(_) => ctx.count("acknowledges what was never sent"),
        }
    }

    /// A frame arrived that is no copy of an earlier one: the peer is alive, perhaps again.
    pub(super) fn heard_of(&mut self, from: ProcessId, ctx: &mut Ctx) {
        let session = self.peers.hear(from).session_mut();
        if session.is_some_and(|session| session.heard(ctx.now())) {
            self.peers.touch(from);
        }
    }

    fn upon_reopened(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if !self.seats.processes().contains(p) || self.seats.is_excluded() {
            return;
        }
        let peer = self.peers.touch(p);
        let wanted = !peer.is_settled();
        peer.greeting.ask(wanted);
        if let Some(session) = peer.session_mut() {
            session.interrupted(ctx.now());
        }
    }

    fn upon_timer(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = self.peers.touch(p);
        let held_up = peer.timer().is_some_and(|armed| now - armed.at > HELD_UP);
        peer.set_timer(None);
        let unanswered = !peer.is_settled();
        peer.greeting.fire(now, unanswered);
        let session = peer.session_mut();
        if session.is_some_and(|session| session.fire(held_up, now)) {
            ctx.count("timeouts");
        }
        self.end_if_overdue(p, held_up, ctx);
    }

    fn upon_observe(&mut self, observer: Observer, ctx: &mut Ctx) {
        for (module, room) in self.pressure.observe(observer.clone()) {
            ctx.trigger(Effect::RoomOf(vec![observer.clone()], module, room));
        }
    }

    /// Accounts for what `p` owes, after everything that could leave has left.
    fn account(&mut self, p: ProcessId, now: Time) {
        let peer = self.peers.get(p);
        let owes = match peer.session() {
            _ if peer.is_closed() || peer.queue.has_ended() => Owes::Gone,
            None => Owes::Packets(0),
            Some(session) if session.leaves() => Owes::Gone,
            Some(session) => Owes::Packets(session.sending.unacknowledged()),
        };
        let queued = |lane| peer.queue.of_lane(lane);
        self.pressure.upon_account(p, owes, queued, now);
    }

    /// Tells modules whether they may send, and tells the peers when this process begins or ceases to have
    /// room.
    fn judge(&mut self, ctx: &mut Ctx) {
        for change in self.pressure.judge(ctx.now()) {
            ctx.trigger(Effect::Room(change.watchers, change.room));
            let observers = self.pressure.observers().to_vec();
            ctx.trigger(Effect::RoomOf(observers, change.module, change.room));
        }
        if let Some(without) = self.pressure.take_due() {
            for p in self.peers.others().iter() {
                if let Some(session) = self.peers.get_mut(p).session_mut() {
                    Self::transmit_one(p, session.room(without), ctx);
                }
            }
        }
    }

    /// Whether nothing waits for a peer that is alive.
    fn is_drained(&self) -> bool {
        self.seats.is_excluded() || self.peers.owe_nothing()
    }
}
