//! The perfect link's state machine: see [`perfect`](super) for what it promises and why it holds.
use super::{
    Configuration, LARGEST_DATAGRAM,
    events::{Effect, Event},
    frame::{self, Acknowledged, Frame, Malformed, Token, Verdict, Voter},
    hello::Identity,
    newcomers::open_to_newcomers,
    peer::{Peer, Standing},
    receiving::{Assembled, Fate},
};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{self, datagrams},
    heartbeat::Heard,
    lanes::{LaneId, Lanes},
    link::{Send, Status, To},
};
use quorate_core::{Addr, Algorithm, Context, Membership, ProcessId, ProcessSet};
use std::{collections::VecDeque, time::Duration};

pub type Ctx = Context<Event, Effect>;

/// After such a silence the first sign of life makes retransmission start afresh.
const SILENCE: Duration = Duration::from_secs(1);

/// A timer that fires so late tells that this process was held up.
const HELD_UP: Duration = Duration::from_millis(10);

/// The perfect link of one process.
pub struct PerfectLink {
    pub(super) configuration: Configuration,
    pub(super) identity: Identity,
    pub(super) processes: Membership,
    pub(super) lanes: Lanes,
    /// By slot; the entry of this process is not used.
    pub(super) peers: Vec<Peer>,
    /// By slot, the voter: the first incarnation that became known, or the last that was adopted.
    pub(super) voters: Vec<Option<Voter>>,
    /// Whether others know an earlier incarnation of this process: it waits to be adopted.
    pub(super) is_newcomer: bool,
    /// What was indicated of that. It has come later even once it was adopted.
    pub(super) newcomer: Option<Status>,
    /// By lane, whether newcomers use it.
    pub(super) open_to_newcomers: Vec<bool>,
    /// Which others know this process as the voter of its slot.
    pub(super) admitted_by: ProcessSet,
    /// Whether enough of them do: only then data flows.
    pub(super) admitted: bool,
    /// Set once and for good: this process may not take part.
    pub(super) excluded: Option<Status>,
    /// Whether that goes for fair-loss lanes, too.
    pub(super) silenced: bool,
    /// Messages to oneself, until this process is admitted.
    pub(super) to_oneself: VecDeque<(LaneId, Bytes)>,
    pub(super) to_oneself_bytes: usize,
    /// Peers for which something may have to leave at the end of this batch.
    pub(super) touched: ProcessSet,
    /// Peers of which something was heard in this batch.
    pub(super) heard: ProcessSet,
    pub(super) listeners: Vec<Addr<Heard>>,
    pub(super) watchers: Vec<Addr<Status>>,
    pub(super) drains: Vec<Addr<()>>,
    /// The last refusal of one who is no member.
    pub(super) stranger: Option<Status>,
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
            Event::Listen(listener) => self.listeners.push(listener),
            Event::Watch(watcher) => self.upon_watch(watcher, ctx),
            Event::Adopt(request) => self.upon_adopt(request, ctx),
            Event::Drain(reply) => self.drains.push(reply),
            Event::Timer(p) => self.upon_timer(p, ctx),
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx) {
        for from in std::mem::take(&mut self.heard).iter() {
            let session = self.peers[from.index()].session();
            let deaf = session.is_some_and(|session| session.deaf);
            for listener in &self.listeners {
                ctx.trigger(Effect::Heard(listener.clone(), Heard { from, deaf }));
            }
        }
        for p in std::mem::take(&mut self.touched).iter() {
            self.flush(p, ctx);
        }
        if !self.drains.is_empty() && self.is_drained() {
            for reply in std::mem::take(&mut self.drains) {
                ctx.trigger(Effect::Drained(reply));
            }
        }
    }
}

impl PerfectLink {
    /// A link between the `processes`, over the given lanes.
    pub fn new(
        configuration: Configuration,
        identity: Identity,
        processes: Membership,
        lanes: Lanes,
    ) -> Self {
        let mut voters = vec![None; processes.n()];
        voters[identity.me.index()] = Some(Voter {
            incarnation: identity.incarnation,
            number: 0,
        });
        let open_to_newcomers = open_to_newcomers(&configuration, &lanes);
        PerfectLink {
            configuration,
            processes,
            lanes,
            peers: processes.iter().map(Peer::new).collect(),
            voters,
            is_newcomer: false,
            newcomer: None,
            open_to_newcomers,
            admitted_by: ProcessSet::EMPTY,
            admitted: false,
            excluded: None,
            silenced: false,
            to_oneself: VecDeque::new(),
            to_oneself_bytes: 0,
            touched: ProcessSet::EMPTY,
            heard: ProcessSet::EMPTY,
            listeners: Vec::new(),
            watchers: Vec::new(),
            drains: Vec::new(),
            stranger: None,
            identity,
        }
    }

    /// PL1: every receiver's queue gets the message; packets are made at the end of the batch.
    fn upon_send(&mut self, opened: usize, Send { to, message }: Send<Bytes>, ctx: &mut Ctx) {
        let Some(lane) = self.lanes.number(opened) else {
            return ctx.count("no lane");
        };
        if message.len() > self.configuration.maximum_message {
            return ctx.count("too large");
        }
        if self.excluded.is_some() {
            return ctx.count("excluded");
        }
        let receivers = match to {
            To::One(p) => return self.send(p, lane, message, ctx),
            To::Some(set) => set,
            To::All => self.processes.set(),
        };
        for p in receivers.iter() {
            self.send(p, lane, message.clone(), ctx);
        }
    }

    fn send(&mut self, to: ProcessId, lane: LaneId, message: Bytes, ctx: &mut Ctx) {
        if !self.processes.contains(to) {
            return ctx.count("no member");
        }
        if !self.is_open_between(to, lane) {
            return ctx.count("closed to newcomers");
        }
        if to == self.identity.me {
            return self.send_to_oneself(lane, message, ctx);
        }
        let peer = &mut self.peers[to.index()];
        if peer.is_closed() {
            return ctx.count("closed");
        }
        peer.outbox.push(lane, message);
        self.touched.insert(to);
        self.limit_queue(to, ctx);
    }

    /// To oneself no packet is needed: the effect reaches the lane after this handler.
    pub(super) fn send_to_oneself(&mut self, lane: LaneId, message: Bytes, ctx: &mut Ctx) {
        if self.admitted {
            return self.deliver_to_oneself(lane, message, ctx);
        }
        self.to_oneself_bytes += message.len();
        self.to_oneself.push_back((lane, message));
        if self.to_oneself_bytes > self.configuration.queue_limit {
            let reason = "its queue to itself overflowed before it was admitted".to_owned();
            self.exclude(self.identity.me, Verdict::Superseded, reason, ctx);
        }
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
                Err(Malformed::Version { from, version }) => {
                    self.upon_other_version(from, version, ctx);
                }
            }
        }
    }

    fn upon_frame(&mut self, frame: Frame, ctx: &mut Ctx) {
        match frame {
            Frame::Packet {
                from,
                token,
                number,
                acknowledged,
                chunks,
            } => {
                if self.is_of_session(from, token, ctx) {
                    self.upon_packet(from, number, &chunks, ctx);
                    let acknowledged = Acknowledged {
                        all: acknowledged,
                        ranges: Vec::new(),
                    };
                    self.upon_acknowledged(from, &acknowledged, ctx);
                }
            }
            Frame::Acknowledge {
                from,
                token,
                stamp,
                acknowledged,
            } => {
                if self.is_of_session(from, token, ctx) {
                    self.upon_stamp(from, stamp, ctx);
                    self.upon_acknowledged(from, &acknowledged, ctx);
                }
            }
            Frame::Beat {
                from,
                token,
                stamp,
                deaf,
            } => {
                if self.is_of_session(from, token, ctx) && self.upon_stamp(from, stamp, ctx) {
                    self.upon_hearing(from, deaf);
                }
            }
            Frame::Datagram {
                from,
                token,
                stamp,
                lane,
                message,
            } => {
                if self.is_of_passage(from, token, ctx) {
                    self.upon_datagram(from, stamp, lane, &message, ctx);
                }
            }
            Frame::Hello(hello) => self.upon_hello(hello, ctx),
            Frame::Excluded {
                from,
                echo,
                known,
                verdict,
            } => self.upon_excluded(from, echo, known, verdict, ctx),
        }
    }

    /// PL3: a frame counts only if it proves to be of the session between these two incarnations.
    fn is_of_session(&mut self, from: ProcessId, token: Token, ctx: &mut Ctx) -> bool {
        if !self.processes.contains(from) || from == self.identity.me {
            ctx.count("no member");
            return false;
        }
        if self.excluded.is_some() {
            ctx.count("excluded");
            return false;
        }
        let peer = &mut self.peers[from.index()];
        if peer.session().is_some_and(|session| session.token == token) {
            return true;
        }
        ctx.count("other session");
        self.upon_other_session(from, token, ctx);
        false
    }

    /// PL2: each packet is taken apart once, in the order of the numbers; acknowledged always.
    fn upon_packet(&mut self, from: ProcessId, number: u64, chunks: &Bytes, ctx: &mut Ctx) {
        if !self.admitted {
            return ctx.count("not admitted");
        }
        if number == 0 || !frame::are_well_formed(chunks, self.lanes.len()) {
            return ctx.count("malformed");
        }
        self.touched.insert(from);
        let peer = &mut self.peers[from.index()];
        // Whoever sends data has admitted us, and has been admitted.
        let news = !(peer.ready && peer.admitted_us);
        let Some(session) = peer.session() else {
            return;
        };
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

    /// Delivers what is whole in this packet and in those that waited for it.
    fn take_apart(&mut self, from: ProcessId, chunks: &Bytes, ctx: &mut Ctx) {
        let is_closed = |link: &Self, lane| !link.is_open_between(from, lane);
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
                let Some(session) = self.peers[from.index()].session() else {
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
            let session = self.peers[from.index()].session();
            next = session.and_then(|session| session.receiving.take_next());
            if next.is_none() {
                return;
            }
        }
    }

    /// A frame without a number: a sign of life unless it is an old one. Says whether it is one.
    fn upon_stamp(&mut self, from: ProcessId, stamp: u64, ctx: &mut Ctx) -> bool {
        let fresh = self.peers[from.index()]
            .session()
            .is_some_and(|session| session.receiving.is_fresh(stamp));
        if fresh {
            self.heard_of(from, ctx);
        } else {
            ctx.count("stale");
        }
        fresh
    }

    /// What a peer says of whom it hears stands until it says otherwise.
    fn upon_hearing(&mut self, from: ProcessId, deaf: bool) {
        if let Some(session) = self.peers[from.index()].session() {
            session.deaf = deaf;
        }
    }

    fn upon_acknowledged(&mut self, from: ProcessId, acknowledged: &Acknowledged, ctx: &mut Ctx) {
        let now = ctx.now();
        let Some(session) = self.peers[from.index()].session() else {
            return;
        };
        match session.sending.acknowledge(acknowledged, now) {
            Ok(true) => {
                self.touched.insert(from);
                self.bear_with(from, now);
            }
            Ok(false) => {}
            Err(_) => ctx.count("acknowledges what was never sent"),
        }
    }

    /// Something that is no copy arrived: the peer is alive, maybe again.
    pub(super) fn heard_of(&mut self, from: ProcessId, ctx: &mut Ctx) {
        self.heard.insert(from);
        let now = ctx.now();
        let Some(session) = self.peers[from.index()].session() else {
            return;
        };
        if now - session.heard_at > SILENCE {
            session.sending.encourage();
            self.touched.insert(from);
        }
        session.heard_at = now;
    }

    fn upon_reopened(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if !self.processes.contains(p) || self.excluded.is_some() {
            return;
        }
        let now = ctx.now();
        let peer = &mut self.peers[p.index()];
        peer.greeting.due |= !peer.is_settled();
        if let Some(session) = peer.session() {
            session.sending.interrupted(now);
        }
        self.touched.insert(p);
    }

    fn upon_timer(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = &mut self.peers[p.index()];
        let armed = peer.armed.take();
        let held_up = armed.is_some_and(|armed| now - armed.at > HELD_UP);
        self.touched.insert(p);
        if peer.greeting.at.is_some_and(|at| at <= now) {
            peer.greeting.at = None;
            peer.greeting.due = true;
            peer.greeting.fruitless += u32::from(!peer.is_settled());
        }
        let acknowledge = peer.acknowledge_at.is_some_and(|at| at <= now);
        if let Standing::Connected(session) = &mut peer.standing {
            if acknowledge {
                session.receiving.hurry();
            }
            let sending = &mut session.sending;
            if sending.deadline().is_some_and(|(at, _)| at <= now)
                && !(held_up && sending.excuse(now))
            {
                ctx.count("timeouts");
                sending.timed_out(now);
            }
        }
        self.lose_if_overdue(p, held_up, ctx);
    }

    /// Nothing waits for a peer that is alive.
    fn is_drained(&self) -> bool {
        self.excluded.is_some()
            || self.peers.iter().all(|peer| match &peer.standing {
                Standing::Connected(session) => {
                    session.sending.is_fruitless()
                        || session.sending.is_empty() && peer.outbox.is_empty()
                }
                Standing::Waiting | Standing::Closed { .. } => true,
            })
    }
}
