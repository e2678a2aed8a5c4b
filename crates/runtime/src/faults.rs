//! Faults to order: loss, duplication, delay and cuts at the edge, a peer and a direction each.
//!
//! `tc netem` wants privileges that a container seldom has; these switches want none. They are off
//! unless somebody turns them on, and then cost one load of an atomic a datagram batch.
use bytes::Bytes;
use quorate_abstractions::fair_loss::{Indication, Transmit, datagrams};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, ProcessId};
use rand::RngExt;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What happens to the datagrams of one direction of the way between this process and a peer.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Fault {
    /// Nothing passes.
    pub cut: bool,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that a datagram is duplicated.
    pub duplicate: f64,
    /// How long every datagram is held back.
    pub delay: Duration,
    /// The most that is added to the delay, at random: datagrams overtake each other.
    pub jitter: Duration,
}

impl Fault {
    /// Nothing passes.
    pub fn cut() -> Self {
        Fault {
            cut: true,
            ..Fault::default()
        }
    }

    /// Whether datagrams get lost.
    pub fn is_lossy(&self) -> bool {
        self.cut || self.loss > 0.0
    }

    fn is_none(&self) -> bool {
        *self == Fault::default()
    }
}

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// From this process to the peer.
    Outgoing,
    /// From the peer to this process.
    Incoming,
}

/// The switch of one direction of one way.
#[derive(Clone, Copy, Default)]
struct Switch {
    fault: Fault,
    /// How often it was set to something that loses datagrams.
    holes: u64,
}

#[derive(Default)]
struct Switches {
    active: AtomicBool,
    /// Grows with every change.
    version: AtomicU64,
    /// By peer: outgoing, incoming.
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
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Relaxed)
    }

    /// The fault between this process and `peer`.
    pub fn get(&self, peer: ProcessId, direction: Direction) -> Fault {
        self.switch(peer, direction).fault
    }

    /// How often the fault between this process and `peer` was set to one that loses datagrams: a
    /// stream must be begun anew afterwards, however short that was.
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
        switch.holes += u64::from(fault.is_lossy());
        let active = peers.iter().flatten().any(|switch| !switch.fault.is_none());
        self.0.active.store(active, Relaxed);
        self.0.version.fetch_add(1, Relaxed);
    }

    /// Cuts both directions between this process and `peer`.
    pub fn cut(&self, peer: ProcessId) {
        self.set(peer, Direction::Outgoing, Fault::cut());
        self.set(peer, Direction::Incoming, Fault::cut());
    }

    /// Switches every fault off. What is being delayed still arrives.
    pub fn heal(&self) {
        let mut peers = self.peers();
        for switch in peers.iter_mut().flatten() {
            switch.fault = Fault::default();
        }
        self.0.active.store(false, Relaxed);
        self.0.version.fetch_add(1, Relaxed);
    }
}

/// What the fault injector reacts to.
enum Event {
    /// The process sends.
    Outgoing(Transmit),
    /// Datagrams of this peer have arrived.
    Incoming(ProcessId, Bytes, usize),
    /// The delay of this is over.
    Release(Effect),
}

/// What the fault injector lets through.
#[derive(Clone)]
enum Effect {
    Outgoing(Transmit),
    Incoming(Bytes, usize),
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

/// Applies the faults that are switched on.
struct Injector {
    faults: Faults,
}

impl Algorithm for Injector {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Outgoing(Transmit { to, bytes, segment }) => {
                let fault = self.faults.get(to, Direction::Outgoing);
                Self::filter(fault, bytes, segment, ctx, |bytes| {
                    Effect::Outgoing(Transmit { to, bytes, segment })
                });
            }
            Event::Incoming(from, bytes, segment) => {
                let fault = self.faults.get(from, Direction::Incoming);
                Self::filter(fault, bytes, segment, ctx, |bytes| {
                    Effect::Incoming(bytes, segment)
                });
            }
            Event::Release(effect) => ctx.trigger(effect),
        }
    }
}

impl Injector {
    fn filter(
        fault: Fault,
        bytes: Bytes,
        segment: usize,
        ctx: &mut Ctx<Self>,
        pass: impl Fn(Bytes) -> Effect,
    ) {
        if fault.cut {
            ctx.count_many("cut", bytes.len().div_ceil(segment.max(1)) as u64);
            return;
        }
        if fault.is_none() {
            ctx.trigger(pass(bytes));
            return;
        }
        for datagram in datagrams(bytes, segment) {
            if chance(fault.loss, ctx) {
                ctx.count("lost");
                continue;
            }
            if chance(fault.duplicate, ctx) {
                ctx.count("duplicated");
                Self::hold(fault, pass(datagram.clone()), ctx);
            }
            Self::hold(fault, pass(datagram), ctx);
        }
    }

    fn hold(fault: Fault, effect: Effect, ctx: &mut Ctx<Self>) {
        let jitter = fault.jitter.mul_f64(ctx.rng().random());
        let delay = fault.delay + jitter;
        if delay.is_zero() {
            ctx.trigger(effect);
        } else {
            ctx.after(delay, Event::Release(effect));
        }
    }
}

fn chance(probability: f64, ctx: &mut Ctx<Injector>) -> bool {
    probability > 0.0 && ctx.rng().random::<f64>() < probability
}

/// An edge's two ends with the fault injector between them and the link.
pub(crate) struct Injected {
    faults: Faults,
    direct: Addr<Indication>,
    injector: Addr<Event>,
}

impl Injected {
    /// Puts the injector between an edge (`out`) and a link (`up`). Gives the address for the
    /// link's transmissions, and what the edge is to hand arrivals to.
    pub fn attach(
        host: &impl Host,
        faults: Faults,
        out: Addr<Transmit>,
        up: Addr<Indication>,
    ) -> (Addr<Transmit>, Self) {
        let host = host.at("faults");
        let mailbox = host.mailbox();
        let injector = mailbox.addr();
        let (to_edge, to_link) = (out.clone(), up.clone());
        host.start(
            mailbox,
            Injector {
                faults: faults.clone(),
            },
            move |effect| match effect {
                Effect::Outgoing(transmit) => to_edge.send(transmit),
                Effect::Incoming(bytes, segment) => {
                    to_link.send(Indication::Arrive { bytes, segment });
                }
            },
        );
        let transmit = {
            let (faults, injector) = (faults.clone(), injector.clone());
            Addr::new(move |transmit| {
                if faults.are_active() {
                    injector.send(Event::Outgoing(transmit));
                } else {
                    out.send(transmit);
                }
            })
        };
        let injected = Injected {
            faults,
            direct: up,
            injector,
        };
        (transmit, injected)
    }

    /// Hands arrivals on. `from` is asked only while faults are switched on.
    pub fn arrive(&self, bytes: Bytes, segment: usize, from: impl FnOnce() -> Option<ProcessId>) {
        if self.faults.are_active()
            && let Some(from) = from()
        {
            self.injector.send(Event::Incoming(from, bytes, segment));
            return;
        }
        self.direct.send(Indication::Arrive { bytes, segment });
    }

    /// The switches.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Hands on that the way to a peer is open again.
    pub fn reopened(&self, peer: ProcessId) {
        self.direct.send(Indication::Reopened(peer));
    }
}
