//! The eventually perfect failure detector ◇P, by increasing timeouts.
//!
//! # Promises
//! - EPFD1 strong completeness (liveness): a process that crashes is eventually suspected for ever
//!   by every correct process.
//! - EPFD2 eventual strong accuracy (liveness): eventually no correct process is suspected by a
//!   correct one.
//!
//! # Assumes
//! Eventual synchrony: after an unknown time, a heartbeat of a correct process arrives within an
//! unknown bound. Any number of crashes. Heartbeats may be lost now and then.
//!
//! # Messages
//! A heartbeat from every process to every other one, each interval. It says whom its sender does not hear;
//! whether its sender is cut off, that is, whether the processes that it hears, and that hear it according to
//! their heartbeats, are less than a majority; and which processes are about to stop, as far as its sender
//! knows. Any other message from a process counts as a heartbeat that says nothing new.
//!
//! # Cost
//! n(n−1) heartbeats an interval h. Once messages take at most δ and the timeout To of a process has outgrown
//! that, its crash is noticed between To − h and To + h + δ after it; a process that is cut off because it
//! hears too few is noticed within To + h + 2δ, because too few hear it, within To + 4h + 3δ. A process that
//! leaves says so at once, and each of the others says once that it knows: n(n−1) heartbeats, and δ until the
//! process is suspected. Memory O(n).
//!
//! # The timeout
//! To = floor + excess, at first F0 + 0. A mistake, one per episode of suspicion, adds F0/20 to the floor and
//! then doubles To. Each 10·F0 of good conduct, in which no silence is longer than the floor, halves the
//! excess. Both end with the peer's start, if the links report it, and with this process's own. So ten pauses
//! and a minute of health leave 1.5·F0, and not F0 · 2¹⁰; a mistake a day for three years leaves 55·F0.
//!
//! # Why it holds
//! A crashed process falls silent, so its timeout passes and nothing restores it (EPFD1). A heartbeat
//! that was in flight when its sender crashed may restore it, finitely often. To grows by mistakes alone,
//! which need such a heartbeat, so that it is finite when the last one has come.
//!
//! Let D bound the silences of a correct process from some time on. Each mistake about it raises the floor by
//! F0/20, and nothing lowers the floor while both live. After at most (D − F0) · 20/F0 mistakes, and one
//! more, the floor exceeds D, and there is no further one, however small the excess has become (EPFD2; 61 for
//! D = 2 s and F0 = 0.5 s). The excess helps before that: while silences are longer than the floor it limits
//! the mistakes to a few, instead of one per silence. Each peer has its own timeout: a shared one would grow
//! with the number of peers that were late together. Nothing limits timeouts but the range of the type.
//!
//! Silence counts only while this process runs. A process whose own timer fires late by more than an interval
//! was stopped: it subtracts the time that it missed from everybody's silence, and judges nobody until an
//! interval has passed, in which it hears every live process. If its timer is late for ever, it judges
//! nobody: eventual synchrony is about processes, too.
//!
//! A process that is cut off is as good as crashed to those that wait for what it does with a majority: it is
//! suspected, too, while its heartbeats say that it is cut off. EPFD2 holds: eventually correct processes
//! hear each other for ever, and say so. If they are a majority, none of them is cut off; if they are not,
//! all of them are, and a process that is cut off itself ignores what others say about being cut off.
//!
//! Ω needs to know which processes, including this one, are cut off: they are indicated together with the
//! suspected ones. A peer's last statement counts only while the peer is heard, so that this information is
//! at most To + h old.
//!
//! # Leaving
//! A process that is about to stop ([`Detector::leave`]) says so in its heartbeats, of which one leaves at
//! once. It is no correct process, so that it is suspected from then on, and reported to Ω as leaving, also
//! at itself: another process takes over a leader's work without a timeout, while the leaving one still
//! answers. A process about which nothing is known except that it leaves is suspected only if the processes
//! that stay are a majority. If they are not, because a whole cluster stops, nothing could be decided without
//! the leaving ones, as long as they are there. A process that learns of it confirms this with a heartbeat at
//! once. The leaving process is told when all that it hears, and that stay, have confirmed, or after three
//! more heartbeats, since any may be lost. A later start of the process is not affected.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 2.6, “Increasing Timeout”. Deviations: silence is measured from the last sign of life instead of
//! being sampled each period; most of what a mistake adds is forgotten; a process that sees from its own
//! clock that it was stopped blames itself; processes that are cut off, and those that say that they are
//! about to stop, are suspected.
mod allowance;
mod farewell;

use allowance::Allowance;
use farewell::Farewell;
use quorate_abstractions::{
    Subscribe,
    eventually_perfect::{Allowed, Indication, Reach, Timeout},
    heartbeat::{self, Beat, Heard},
    link::Status,
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Incarnation, Layer, Membership, ProcessId, ProcessSet, Time, ports,
};
use std::{collections::BTreeMap, time::Duration};

/// A process that hears a majority, and is not heard by one, says that it is cut off only after this many
/// ticks in a row: one that was stopped for a while must first be heard again, and learn that it was.
const SETTLED: u32 = 3;
/// When to speak, and how long to wait for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DetectorSettings {
    /// The time between two heartbeats. Not 0.
    pub interval: Duration,
    /// F0: the silence after which a process is suspected that was never suspected by mistake. Should be
    /// several intervals.
    pub timeout: Duration,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        DetectorSettings {
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(500),
        }
    }
}

/// What is known about one peer.
struct Peer {
    /// When the peer was last heard.
    last: Time,
    /// The silence that the peer is allowed.
    allowance: Allowance,
    /// The start of the peer that answers, if the links report it.
    incarnation: Option<Incarnation>,
    /// The peer's last heartbeat, if any.
    said: Option<Beat>,
}

impl Peer {
    fn says(&self) -> Beat {
        self.said.unwrap_or_default()
    }
}

/// ◇P.
pub struct IncreasingTimeout {
    interval: Duration,
    /// The first timeout of every incarnation.
    timeout: Duration,
    processes: Membership,
    me: ProcessId,
    peers: BTreeMap<ProcessId, Peer>,
    /// Those that have been silent for longer than they are allowed.
    silent: ProcessSet,
    /// The last state that the subscribers and the listeners were told.
    told: Reach,
    subscribers: Vec<Addr<Indication>>,
    listeners: Vec<Addr<Reach>>,
    /// The number of ticks in a row at which this process was cut off.
    unreached: u32,
    /// Users that are told the timeouts.
    watchers: Vec<Addr<Allowed>>,
    /// When the timer last fired.
    ticked: Time,
    /// Set once this process is about to stop.
    farewell: Option<Farewell>,
}

ports! {
    serves Indication => Subscribe -> Indicate, Answer;
    serves Allowed => Watch -> Allow;
    serves Reach => Listen -> Tell;
    serves () => Leave -> Known;
    watches status: Status => Status;
    uses heartbeat: heartbeat::Port => Heard / Beat;
    timer Tick;
}

impl Algorithm for IncreasingTimeout {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        for peer in self.peers.values_mut() {
            peer.last = now;
            peer.allowance = Allowance::new(self.timeout, now);
        }
        self.ticked = now;
        self.upon_tick(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => self.upon_subscribe(subscriber, ctx),
            Event::Watch(watcher) => self.upon_watch(watcher, ctx),
            Event::Listen(listener) => self.upon_listen(listener, ctx),
            Event::Heard(heard) => self.upon_heard(heard, ctx),
            Event::Status(Status::Connected { peer, incarnation }) => {
                self.upon_connected(peer, incarnation, ctx);
            }
            Event::Status(
                Status::Refused { .. }
                | Status::Ended { .. }
                | Status::Begun { .. }
                | Status::Gap { .. }
                | Status::Replaced { .. }
                | Status::Admitted
                | Status::Newcomer { .. }
                | Status::Excluded { .. },
            ) => {}
            Event::Leave(reply) => self.upon_leave(reply, ctx),
            Event::Tick => self.upon_tick(ctx),
        }
    }
}

impl IncreasingTimeout {
    /// A detector at `host` that suspects nobody.
    pub fn new(host: &impl Host, settings: DetectorSettings) -> Self {
        let peer = |p| {
            (
                p,
                Peer {
                    last: Time::ZERO,
                    allowance: Allowance::new(settings.timeout, Time::ZERO),
                    incarnation: None,
                    said: None,
                },
            )
        };
        IncreasingTimeout {
            interval: settings.interval,
            timeout: settings.timeout,
            processes: *host.processes(),
            me: host.me(),
            peers: host
                .processes()
                .others(host.me())
                .iter()
                .map(peer)
                .collect(),
            silent: ProcessSet::EMPTY,
            told: Reach::default(),
            subscribers: Vec::new(),
            listeners: Vec::new(),
            unreached: 0,
            watchers: Vec::new(),
            ticked: Time::ZERO,
            farewell: None,
        }
    }

    fn upon_subscribe(&mut self, subscriber: Addr<Indication>, ctx: &mut Ctx<Self>) {
        for p in self.told.suspected.iter() {
            ctx.trigger(Effect::Answer(Indication::Suspect(p), subscriber.clone()));
        }
        self.subscribers.push(subscriber);
    }

    fn upon_watch(&mut self, watcher: Addr<Allowed>, ctx: &mut Ctx<Self>) {
        for (p, peer) in &self.peers {
            let allowed = Allowed {
                process: *p,
                timeout: peer.allowance.timeout(),
            };
            ctx.trigger(Effect::Allow(allowed, vec![watcher.clone()]));
        }
        self.watchers.push(watcher);
    }

    fn upon_listen(&mut self, listener: Addr<Reach>, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Tell(self.told, vec![listener.clone()]));
        self.listeners.push(listener);
    }

    /// A process that takes the place of another was never suspected by mistake; neither was the one before
    /// it, because that one has crashed.
    fn upon_connected(&mut self, p: ProcessId, incarnation: Incarnation, ctx: &mut Ctx<Self>) {
        let Some(peer) = self.peers.get_mut(&p) else {
            return;
        };
        let before = peer.incarnation.replace(incarnation);
        if before.is_some_and(|before| before != incarnation) {
            let now = ctx.now();
            let known = peer.allowance.timeout();
            peer.last = now;
            peer.allowance = Allowance::new(self.timeout, now);
            peer.said = None;
            self.silent.remove(p);
            self.upon_timeout(p, known, ctx);
            self.upon_change(ctx);
        }
    }

    /// A process that was suspected and is heard after all was suspected by mistake.
    fn upon_heard(&mut self, Heard { from, beat }: Heard, ctx: &mut Ctx<Self>) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let now = ctx.now();
        let known = peer.allowance.timeout();
        if self.silent.remove(from) {
            peer.allowance.upon_mistake(now);
        } else {
            let silence = now.since(peer.last);
            peer.allowance.upon_sign_of_life(silence, now);
        }
        peer.last = now;
        let leaves = beat.leaving.contains(from) && !peer.says().leaving.contains(from);
        peer.said = Some(beat);
        if let Some(farewell) = &mut self.farewell
            && beat.leaving.contains(self.me)
        {
            farewell.note_known(from);
        }
        self.upon_timeout(from, known, ctx);
        self.upon_change(ctx);
        if leaves {
            // The sender waits for this confirmation.
            self.beat(ctx);
        }
        self.upon_known(ctx);
    }

    /// This process is about to stop.
    fn upon_leave(&mut self, reply: Addr<()>, ctx: &mut Ctx<Self>) {
        let is_new = self.farewell.is_none();
        let farewell = self.farewell.get_or_insert_default();
        farewell.wait(reply);
        if is_new {
            self.upon_change(ctx);
            self.beat(ctx);
        }
        self.upon_known(ctx);
    }

    /// Answers once the others know that this process is about to stop, or after enough attempts to tell
    /// them.
    fn upon_known(&mut self, ctx: &mut Ctx<Self>) {
        if !self.farewell.as_ref().is_some_and(Farewell::is_awaited) {
            return;
        }
        let to_be_told = self.to_be_told();
        if let Some(farewell) = &mut self.farewell
            && farewell.is_over(to_be_told)
        {
            ctx.trigger(Effect::Known((), farewell.take_waiting()));
        }
    }

    /// The processes that were heard, or are connected, and stay: they must learn that this process leaves.
    fn to_be_told(&self) -> ProcessSet {
        let is_there = |peer: &Peer| peer.said.is_some() || peer.incarnation.is_some();
        let there = self.peers.iter().filter(|(_, peer)| is_there(peer));
        let there: ProcessSet = there.map(|(p, _)| *p).collect();
        there.without(self.silent).without(self.say_to_leave())
    }

    /// Tells the watchers a timeout that has changed.
    fn upon_timeout(&self, p: ProcessId, known: Timeout, ctx: &mut Ctx<Self>) {
        let Some(peer) = self.peers.get(&p) else {
            return;
        };
        let timeout = peer.allowance.timeout();
        if timeout != known && !self.watchers.is_empty() {
            let allowed = Allowed {
                process: p,
                timeout,
            };
            ctx.trigger(Effect::Allow(allowed, self.watchers.clone()));
        }
    }

    /// Each interval: sends a heartbeat, and checks who has been silent for too long.
    fn upon_tick(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        let late = now.since(self.ticked).saturating_sub(self.interval);
        self.ticked = now;
        if late > self.interval {
            self.upon_stop(late, now);
        } else {
            self.silent = self.silent.union(self.overdue(now));
        }
        self.upon_change(ctx);
        if self.told.cut_off.contains(self.me) {
            self.unreached = self.unreached.saturating_add(1);
        } else {
            self.unreached = 0;
        }
        if let Some(farewell) = &mut self.farewell {
            farewell.upon_tick();
        }
        self.beat(ctx);
        self.upon_known(ctx);
        ctx.after_in_background(self.interval, Event::Tick);
    }

    fn beat(&self, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Beat(Beat {
            unheard: self.silent,
            cut_off: !self.hears_majority() || self.unreached >= SETTLED,
            leaving: self.say_to_leave(),
        }));
    }

    /// This process was stopped for this long: as far as it can tell, nobody was silent meanwhile.
    fn upon_stop(&mut self, late: Duration, now: Time) {
        for peer in self.peers.values_mut() {
            peer.last = now.min(peer.last + late);
        }
    }

    /// Tells the subscribers and the listeners what is new.
    fn upon_change(&mut self, ctx: &mut Ctx<Self>) {
        let before = self.told;
        self.told = self.reach();
        if self.told == before {
            return;
        }
        if !self.listeners.is_empty() {
            ctx.trigger(Effect::Tell(self.told, self.listeners.clone()));
        }
        for p in self.told.suspected.without(before.suspected).iter() {
            self.indicate(Indication::Suspect(p), ctx);
        }
        for p in before.suspected.without(self.told.suspected).iter() {
            self.indicate(Indication::Restore(p), ctx);
        }
    }

    fn indicate(&self, indication: Indication, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Indicate(indication, self.subscribers.clone()));
    }

    /// Processes that were silent for longer than they are allowed.
    fn overdue(&self, now: Time) -> ProcessSet {
        let late = |peer: &Peer| peer.allowance.is_exceeded_by(now.since(peer.last));
        let late = self.peers.iter().filter(|(_, peer)| late(peer));
        late.map(|(p, _)| *p).collect()
    }

    /// The suspected processes: the silent ones; the ones that are cut off, if this process is not cut off
    /// itself; and the leaving ones. The ones that are cut off: those that are heard and say so, and this
    /// process, if it is.
    fn reach(&self) -> Reach {
        let peers = self.peers.iter();
        let say_so = peers.filter(|(p, peer)| peer.says().cut_off && !self.silent.contains(**p));
        let mut cut_off: ProcessSet = say_so.map(|(p, _)| *p).collect();
        if 1 + self.reached().len() < self.processes.majority() {
            cut_off.insert(self.me);
            return Reach {
                suspected: self.silent,
                cut_off,
                leaving: ProcessSet::EMPTY,
            };
        }
        let leaving = self.dispensable();
        let mut others = leaving;
        others.remove(self.me);
        Reach {
            suspected: self.silent.union(cut_off).union(others),
            cut_off,
            leaving,
        }
    }

    /// The processes that are heard and say that they leave, and this process, if it leaves.
    fn say_to_leave(&self) -> ProcessSet {
        let peers = self.peers.iter();
        let say_so = peers
            .filter(|(p, peer)| peer.says().leaving.contains(**p) && !self.silent.contains(**p));
        let mut leaving: ProcessSet = say_so.map(|(p, _)| *p).collect();
        if self.farewell.is_some() {
            leaving.insert(self.me);
        }
        leaving
    }

    /// The leaving processes, if the others that reach each other, as far as this process knows, are a
    /// majority.
    fn dispensable(&self) -> ProcessSet {
        let leaving = self.say_to_leave();
        let mut staying = self.reached();
        staying.insert(self.me);
        if staying.without(leaving).len() < self.processes.majority() {
            return ProcessSet::EMPTY;
        }
        leaving
    }

    /// Whether this process hears a majority, itself included.
    fn hears_majority(&self) -> bool {
        self.processes.n() - self.silent.len() >= self.processes.majority()
    }

    /// The processes that this process hears and that hear it.
    fn reached(&self) -> ProcessSet {
        let peers = self.peers.iter();
        let both = peers.filter(|(p, peer)| {
            !self.silent.contains(**p) && !peer.says().unheard.contains(self.me)
        });
        both.map(|(p, _)| *p).collect()
    }
}

/// A running detector.
#[derive(Clone)]
pub struct Detector {
    /// The suspicions of ◇P.
    pub suspicions: Subscribe<Indication>,
    /// The longest silences that are allowed.
    pub timeouts: Subscribe<Allowed>,
    /// The processes that are suspected, and those known to be cut off, at the same time.
    pub reach: Subscribe<Reach>,
    /// Tells the detector that this process is about to stop, which cannot be taken back. The answer comes
    /// when the others know, as far as can be waited for.
    pub leave: Subscribe<()>,
}

/// Starts the detector of a process, over heartbeats.
pub fn spawn(
    host: &impl Host,
    settings: DetectorSettings,
    heartbeat: impl Layer<heartbeat::Port>,
) -> Detector {
    spawn_with_incarnations(host, settings, heartbeat, &Addr::nowhere())
}

/// Starts the detector in a system in which crashed processes come back as new incarnations, as the links
/// report: each of them begins with the first timeout.
pub fn spawn_with_incarnations(
    host: &impl Host,
    settings: DetectorSettings,
    heartbeat: impl Layer<heartbeat::Port>,
    links: &Subscribe<Status>,
) -> Detector {
    let algorithm = IncreasingTimeout::new(host, settings);
    start(host, algorithm, links, heartbeat)
}

fn start(
    host: &impl Host,
    algorithm: impl Algorithm<Event = Event, Effect = Effect>,
    status: &Subscribe<Status>,
    heartbeat: impl Layer<heartbeat::Port>,
) -> Detector {
    let (suspicions, timeouts, reach, leave) = spawn_as(host, algorithm, status, heartbeat);
    Detector {
        suspicions,
        timeouts,
        reach,
        leave,
    }
}

#[cfg(test)]
mod tests;
