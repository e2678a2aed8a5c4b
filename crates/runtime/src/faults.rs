//! Injected faults: loss, duplication, delay, limited bandwidth and cuts at the edge, for each peer and
//! direction.
//!
//! Over byte streams a loss becomes a delay, and no frame overtakes another.
//!
//! `tc netem` needs privileges that a container seldom has; these switches need none. They are off by
//! default, and then cost one atomic load for each batch of datagrams.
use bytes::Bytes;
use quorate_abstractions::{
    addressed::{Indication, Source, Transmit},
    fair_loss::datagrams,
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, ProcessId, Time};
use rand::RngExt;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The delay of a lost segment of a byte stream until it is sent again.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// The least number of bytes that can wait for a channel with limited bandwidth.
const LEAST_QUEUE: u64 = 64 << 10;

/// The faults of one direction of the channel between this process and a peer.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Fault {
    /// Nothing passes.
    pub cut: bool,
    /// The probability that a datagram is lost. Over a byte stream a lost frame comes 200 ms later instead,
    /// and so do all frames after it.
    pub loss: f64,
    /// The probability that a datagram is duplicated.
    pub duplicate: f64,
    /// The delay of every datagram.
    pub delay: Duration,
    /// The largest random addition to the delay. So datagrams overtake each other, except over a byte
    /// stream.
    pub jitter: Duration,
    /// The bandwidth in bytes per second; 0 means no limit. Up to a quarter of a second's bytes wait, and
    /// at least 64 KiB; datagrams beyond that are lost, except over a byte stream, where they wait as well.
    pub rate: u64,
}

impl Fault {
    /// Nothing passes.
    pub fn cut() -> Self {
        Fault {
            cut: true,
            ..Fault::default()
        }
    }

    /// The time that a channel with limited bandwidth needs for this many bytes.
    fn passage(&self, bytes: u64) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(bytes as f64 / self.rate as f64)
    }

    /// The longest wait for a channel with limited bandwidth.
    fn longest_wait(&self) -> Duration {
        self.passage((self.rate / 4).max(LEAST_QUEUE))
    }

    fn is_none(&self) -> bool {
        *self == Fault::default()
    }
}

/// The direction of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// From this process to the peer.
    Outgoing,
    /// From the peer to this process.
    Incoming,
}

/// The switch of one direction of one channel.
#[derive(Clone, Copy, Default)]
struct Switch {
    fault: Fault,
    /// The number of cuts so far.
    holes: u64,
}

#[derive(Default)]
struct Switches {
    active: AtomicBool,
    /// Grows with every change.
    version: AtomicU64,
    /// By peer: the switches of the outgoing and the incoming direction.
    peers: Mutex<Vec<[Switch; 2]>>,
}

/// The switches of one process's faults. Clones are the same switches, usable from every thread.
#[derive(Clone, Default)]
pub struct Faults(Arc<Switches>);

impl Faults {
    fn peers(&self) -> MutexGuard<'_, Vec<[Switch; 2]>> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any fault is switched on.
    pub fn are_active(&self) -> bool {
        self.0.active.load(Relaxed)
    }

    /// Grows with every change of a switch.
    #[cfg(feature = "tcp")]
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Relaxed)
    }

    /// The fault between this process and `peer`.
    pub fn get(&self, peer: ProcessId, direction: Direction) -> Fault {
        self.switch(peer, direction).fault
    }

    /// How often the way between this process and `peer` was cut: a stream must be begun anew afterwards,
    /// however short that was.
    #[cfg(feature = "tcp")]
    pub(crate) fn holes(&self, peer: ProcessId, direction: Direction) -> u64 {
        self.switch(peer, direction).holes
    }

    fn switch(&self, peer: ProcessId, direction: Direction) -> Switch {
        let peers = self.peers();
        let pair = peers.get(peer.index()).copied().unwrap_or_default();
        pair[direction as usize]
    }

    /// Sets the fault between this process and `peer`; the default fault is none.
    pub fn set(&self, peer: ProcessId, direction: Direction, fault: Fault) {
        let mut peers = self.peers();
        if peers.len() <= peer.index() {
            peers.resize(peer.index() + 1, Default::default());
        }
        let switch = &mut peers[peer.index()][direction as usize];
        switch.fault = fault;
        switch.holes += u64::from(fault.cut);
        let active = peers.iter().flatten().any(|switch| !switch.fault.is_none());
        self.0.active.store(active, Relaxed);
        self.0.version.fetch_add(1, Relaxed);
    }

    /// Cuts both directions between this process and `peer`.
    pub fn cut(&self, peer: ProcessId) {
        self.set(peer, Direction::Outgoing, Fault::cut());
        self.set(peer, Direction::Incoming, Fault::cut());
    }

    /// Switches every fault off. Datagrams that are being delayed still arrive.
    pub fn heal(&self) {
        let mut peers = self.peers();
        for switch in peers.iter_mut().flatten() {
            switch.fault = Fault::default();
        }
        self.0.active.store(false, Relaxed);
        self.0.version.fetch_add(1, Relaxed);
    }
}

/// One direction of the channel between this process and a peer.
type PeerDirection = (ProcessId, Direction);

/// What the fault injector reacts to.
enum Event {
    /// The process sends.
    Outgoing(Transmit),
    /// Datagrams of this peer have arrived.
    Incoming(ProcessId, Source, Bytes, usize),
    /// The delay of this effect is over.
    Release(PeerDirection, Effect),
}

/// A transmission or an arrival that the fault injector lets through.
#[derive(Clone)]
enum Effect {
    Outgoing(Transmit),
    Incoming(Source, Bytes, usize),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        Observation::internal("Fault")
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        Observation::internal("Pass")
    }
}

/// The state of one direction of one channel.
#[derive(Clone, Copy, Default)]
struct Passing {
    /// The time at which a channel with limited bandwidth will have passed everything so far.
    free_at: Time,
    /// The time at which the last frame of a byte stream arrives.
    last: Time,
    /// The number of datagrams that are being held back.
    held: u64,
}

/// Applies the faults that are switched on.
struct Injector {
    faults: Faults,
    stream: bool,
    ways: BTreeMap<PeerDirection, Passing>,
    inside: Inside,
}

/// The number of datagrams that are in the injector.
#[derive(Clone, Default)]
struct Inside(Arc<AtomicU64>);

impl Inside {
    fn enter(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

impl Algorithm for Injector {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Outgoing(Transmit {
                to,
                path,
                bytes,
                segment,
            }) => {
                let pass = |bytes| {
                    Effect::Outgoing(Transmit {
                        to,
                        path,
                        bytes,
                        segment,
                    })
                };
                self.filter((to, Direction::Outgoing), bytes, segment, ctx, pass);
                self.inside.leave();
            }
            Event::Incoming(from, source, bytes, segment) => {
                let pass = |bytes| Effect::Incoming(source, bytes, segment);
                self.filter((from, Direction::Incoming), bytes, segment, ctx, pass);
                self.inside.leave();
            }
            Event::Release(way, effect) => {
                self.ways.entry(way).or_default().held -= 1;
                self.inside.leave();
                ctx.trigger(effect);
            }
        }
    }
}

impl Injector {
    fn filter(
        &mut self,
        way: PeerDirection,
        bytes: Bytes,
        segment: usize,
        ctx: &mut Ctx<Self>,
        pass: impl Fn(Bytes) -> Effect,
    ) {
        let fault = self.faults.get(way.0, way.1);
        if fault.cut {
            ctx.count_many("cut", bytes.len().div_ceil(segment.max(1)) as u64);
            return;
        }
        let passing = self.ways.entry(way).or_default();
        // Over a byte stream no frame may overtake those that are still held back.
        if fault.is_none() && !(self.stream && passing.held > 0) {
            ctx.trigger(pass(bytes));
            return;
        }
        if self.stream {
            let delay = passing.in_order(fault, bytes.len() as u64, ctx);
            if chance(fault.duplicate, ctx) {
                ctx.count("duplicated");
                passing.hold(way, delay, pass(bytes.clone()), &self.inside, ctx);
            }
            return passing.hold(way, delay, pass(bytes), &self.inside, ctx);
        }
        for datagram in datagrams(bytes, segment) {
            if chance(fault.loss, ctx) {
                ctx.count("lost");
                continue;
            }
            let Some(wait) = passing.wait(fault, datagram.len() as u64, ctx) else {
                ctx.count("queue full");
                continue;
            };
            if chance(fault.duplicate, ctx) {
                ctx.count("duplicated");
                let later = wait + delay(fault, ctx);
                passing.hold(way, later, pass(datagram.clone()), &self.inside, ctx);
            }
            let later = wait + delay(fault, ctx);
            passing.hold(way, later, pass(datagram), &self.inside, ctx);
        }
    }
}

impl Passing {
    /// The time that a datagram waits for the channel and passes it; `None` if the queue is full.
    fn wait(&mut self, fault: Fault, bytes: u64, ctx: &mut Ctx<Injector>) -> Option<Duration> {
        let now = ctx.now();
        let begins = self.free_at.max(now);
        if fault.rate > 0 && begins - now > fault.longest_wait() {
            return None;
        }
        self.free_at = begins + fault.passage(bytes);
        Some(self.free_at - now)
    }

    /// The time for which a frame of a byte stream is held back.
    fn in_order(&mut self, fault: Fault, bytes: u64, ctx: &mut Ctx<Injector>) -> Duration {
        let now = ctx.now();
        self.free_at = self.free_at.max(now) + fault.passage(bytes);
        let mut arrives = self.free_at + delay(fault, ctx);
        if chance(fault.loss, ctx) {
            ctx.count("lost");
            arrives = arrives + RETRANSMISSION;
        }
        self.last = self.last.max(arrives);
        self.last - now
    }

    fn hold(
        &mut self,
        way: PeerDirection,
        delay: Duration,
        effect: Effect,
        inside: &Inside,
        ctx: &mut Ctx<Injector>,
    ) {
        if delay.is_zero() && self.held == 0 {
            return ctx.trigger(effect);
        }
        self.held += 1;
        inside.enter();
        ctx.after(delay, Event::Release(way, effect));
    }
}

fn delay(fault: Fault, ctx: &mut Ctx<Injector>) -> Duration {
    fault.delay + fault.jitter.mul_f64(ctx.rng().random())
}

fn chance(probability: f64, ctx: &mut Ctx<Injector>) -> bool {
    probability > 0.0 && ctx.rng().random::<f64>() < probability
}

/// The two ends of an edge, with the fault injector between them and the link.
pub(crate) struct Injected {
    faults: Faults,
    stream: bool,
    inside: Inside,
    direct: Addr<Indication>,
    injector: Addr<Event>,
}

impl Injected {
    /// Puts the injector between an edge (`out`) and a link (`up`). Returns the address for the link's
    /// transmissions, and the object that takes the edge's arrivals. `stream` says whether the edge is a
    /// byte stream.
    pub fn attach(
        host: &impl Host,
        faults: Faults,
        stream: bool,
        out: Addr<Transmit>,
        up: Addr<Indication>,
    ) -> (Addr<Transmit>, Self) {
        let host = host.at("faults");
        let mailbox = host.mailbox();
        let injector = mailbox.addr();
        let (to_edge, to_link) = (out.clone(), up.clone());
        let inside = Inside::default();
        host.start(
            mailbox,
            Injector {
                faults: faults.clone(),
                stream,
                ways: BTreeMap::new(),
                inside: inside.clone(),
            },
            move |effect| match effect {
                Effect::Outgoing(transmit) => to_edge.send(transmit),
                Effect::Incoming(source, bytes, segment) => {
                    to_link.send(Indication::Arrive {
                        source,
                        bytes,
                        segment,
                    });
                }
            },
        );
        let transmit = {
            let (faults, injector) = (faults.clone(), injector.clone());
            let inside = inside.clone();
            Addr::new(move |transmit| {
                if faults.are_active() || stream && !inside.is_empty() {
                    inside.enter();
                    injector.send(Event::Outgoing(transmit));
                } else {
                    out.send(transmit);
                }
            })
        };
        let injected = Injected {
            faults,
            stream,
            inside,
            direct: up,
            injector,
        };
        (transmit, injected)
    }

    /// Passes arrivals on. `from` is called only while faults are switched on, or while datagrams are held
    /// back.
    pub fn arrive(
        &self,
        source: Source,
        bytes: Bytes,
        segment: usize,
        from: impl FnOnce() -> Option<ProcessId>,
    ) {
        let is_slow = self.faults.are_active() || self.stream && !self.inside.is_empty();
        if is_slow && let Some(from) = from() {
            self.inside.enter();
            self.injector
                .send(Event::Incoming(from, source, bytes, segment));
            return;
        }
        self.direct.send(Indication::Arrive {
            source,
            bytes,
            segment,
        });
    }

    /// The switches.
    #[cfg(feature = "tcp")]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Tells the link that the channel to a peer is open again.
    pub fn reopened(&self, peer: ProcessId) {
        self.direct.send(Indication::Reopened(peer));
    }
}

#[cfg(test)]
mod tests;
