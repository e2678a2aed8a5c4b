//! The perfect failure detector P, which excludes every process that is silent for too long.
//!
//! # Promises
//! - PFD1 strong completeness (liveness): a process that crashes is eventually reported to every
//!   correct process.
//! - PFD2 strong accuracy (safety): no process is reported before it crashes, and none twice.
//! - If processes are started again ([`spawn_with_incarnations`]), the process of a seat is its first start:
//!   a second start means that the first has crashed, and comes too late to be a process of the system. A
//!   second start reports nobody.
//!
//! # Assumes
//! A synchronous system: a heartbeat arrives within a known delay δ, processing at both ends included; of
//! those from one process to another at most B in a row are lost; all processes start within one interval; a
//! timer fires at most Φ late; and in a second a clock shows between 1 − ρ and 1 + ρ seconds
//! ([`SynchronyBounds::lateness`], [`SynchronyBounds::drift`]; 0 if nothing is said). No clock jumps, and no
//! process is suspended for longer than Φ. Any number of crashes, and no omissions: a process whose messages
//! are missing, at its own end or on the way, looks crashed. If the system is not synchronous (and no network certainly is), a process that is
//! only slow is reported, and PFD2 is lost: use ◇P there.
//!
//! # Messages
//! A heartbeat from every process to every other one, each interval h. Any other message from a process
//! counts as one. Heartbeats do not say whether their sender hears others: in a synchronous system every
//! process does.
//!
//! # Cost
//! n(n−1) heartbeats an interval. If the timeout is To ≥ h(B+1) + δ (with Φ and ρ: ((h/(1−ρ) + Φ)(B+1) + δ)(1+ρ)),
//! a crash is reported between To − h and
//! To + δ after it (from To − h(B+1) on if heartbeats are lost), or when the next start of that process is
//! known, if that is earlier. Memory O(n).
//!
//! # Why it holds
//! A live process is heard at least every h(B+1) + δ: its heartbeats leave every h, one in B + 1
//! arrives, and of two that arrive the second is in flight for at most δ longer than the first. A
//! longer silence is a crash (PFD2), and a crashed process is silent for ever (PFD1). Where clocks drift, the
//! slowest one makes of h a time of h/(1−ρ), and the fastest one shows a silence to be 1+ρ times as long as it is.
//!
//! *Started again.* Heartbeats come from the start that the links know in a seat. Once another start is
//! there, the links indicate `Replaced` before anything is heard from it, and the process is reported: the
//! second start's messages are no sign of life of the first (PFD1). The links indicate this only when another
//! start of the seat is verified, and is the later one (`links::perfect`, *Which start is the latest*): the
//! first has crashed by then, and an old greeting changes nothing (PFD2). A start that learns that it comes
//! after another is no process of the system. Nobody talks to it, so that it would hear silence: it judges
//! nobody any more.
//!
//! # Source
//! Cachin, Guerraoui, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 2.6, “Exclude on Timeout”. Deviations: processes speak without being asked, which saves
//! half of the messages; silence is measured from the last sign of life, and ends in a report at the
//! first instant at which it is too long, instead of being sampled each period; lost heartbeats are
//! allowed for.
use quorate_abstractions::{
    Subscribe,
    heartbeat::{self, Beat},
    link::Status,
    perfect::Crash,
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Layer, ProcessId, ProcessSet, Time, ports};
use std::{collections::BTreeMap, time::Duration};

/// The resolution of [`Time`]: a silence of To is allowed, one that is longer by this is not.
const INSTANT: Duration = Duration::from_nanos(1);

/// The bounds of the system, and the timeout that follows from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SynchronyBounds {
    interval: Duration,
    delay: Duration,
    losses: u32,
    lateness: Duration,
    /// ρ, in parts per 10⁹.
    drift: u32,
    timeout: Duration,
}

/// The unit of the drift.
const BILLION: u32 = 1_000_000_000;

/// A timeout that would report live processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBounds {
    /// The interval between heartbeats is 0.
    #[error("the interval between two heartbeats must be above 0")]
    NoInterval,
    /// A clock that drifts so much may stand still.
    #[error("the drift of a clock must be at least 0 and below 1")]
    Drift,
    /// A live process may be silent for longer than the timeout.
    #[error("a live process may be silent for {least:?}: a timeout of {timeout:?} is too short")]
    ShortTimeout {
        /// The requested timeout.
        timeout: Duration,
        /// The shortest timeout that keeps PFD2.
        least: Duration,
    },
}

impl SynchronyBounds {
    /// A heartbeat each `interval`, which is never lost and arrives within `delay`. The timeout is the
    /// shortest possible one, their sum.
    ///
    /// # Errors
    /// When the interval is 0.
    pub fn new(interval: Duration, delay: Duration) -> Result<Self, BadBounds> {
        if interval.is_zero() {
            return Err(BadBounds::NoInterval);
        }
        Ok(SynchronyBounds {
            interval,
            delay,
            losses: 0,
            lateness: Duration::ZERO,
            drift: 0,
            timeout: interval.saturating_add(delay),
        })
    }

    /// Links that lose at most `in_a_row` consecutive heartbeats. Raises the timeout if necessary.
    #[must_use]
    pub fn losses(mut self, in_a_row: u32) -> Self {
        self.losses = in_a_row;
        self.timeout = self.timeout.max(self.longest_silence());
        self
    }

    /// Timers that fire up to `phi` late. Raises the timeout if necessary.
    #[must_use]
    pub fn lateness(mut self, phi: Duration) -> Self {
        self.lateness = phi;
        self.timeout = self.timeout.max(self.longest_silence());
        self
    }

    /// Clocks that show between 1 − `rho` and 1 + `rho` seconds in a second. Raises the timeout if necessary.
    ///
    /// # Errors
    /// When `rho` is negative, or not below 1.
    pub fn drift(mut self, rho: f64) -> Result<Self, BadBounds> {
        let parts = (rho * f64::from(BILLION)).ceil();
        if !(0.0..f64::from(BILLION)).contains(&parts) {
            return Err(BadBounds::Drift);
        }
        self.drift = parts as u32;
        self.timeout = self.timeout.max(self.longest_silence());
        Ok(self)
    }

    /// The interval h between two heartbeats.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The timeout To: the longest silence that is not a crash, by the clock of the process that listens.
    pub fn allowed_silence(&self) -> Duration {
        self.timeout
    }

    /// A timeout that is longer than the shortest one.
    ///
    /// # Errors
    /// When it is shorter than a live process may be silent.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, BadBounds> {
        let least = self.longest_silence();
        if timeout < least {
            return Err(BadBounds::ShortTimeout { timeout, least });
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// The longest silence of a live process: h(B+1) + δ; with late timers and clocks that drift,
    /// ((h/(1−ρ) + Φ)(B+1) + δ)(1+ρ).
    fn longest_silence(&self) -> Duration {
        let intervals = self.losses.saturating_add(1);
        let slow = scaled(self.interval, BILLION, BILLION - self.drift);
        let between = slow.saturating_add(self.lateness).saturating_mul(intervals);
        let silence = between.saturating_add(self.delay);
        scaled(silence, BILLION.saturating_add(self.drift), BILLION)
    }
}

/// The duration times `by` / `of`, rounded up.
fn scaled(duration: Duration, by: u32, of: u32) -> Duration {
    if by == of {
        return duration;
    }
    let nanoseconds = (duration.as_nanos() * u128::from(by)).div_ceil(u128::from(of));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

impl Default for SynchronyBounds {
    /// A heartbeat every 100 ms, which arrives within 400 ms: a timeout of 500 ms.
    fn default() -> Self {
        let (interval, delay) = (Duration::from_millis(100), Duration::from_millis(400));
        SynchronyBounds {
            interval,
            delay,
            losses: 0,
            lateness: Duration::ZERO,
            drift: 0,
            timeout: interval + delay,
        }
    }
}

/// The perfect failure detector P, by a timeout.
pub struct ExcludeOnTimeout {
    interval: Duration,
    timeout: Duration,
    /// When each process that has not been reported was last heard.
    last: BTreeMap<ProcessId, Time>,
    crashed: ProcessSet,
    subscribers: Vec<Addr<Crash>>,
}

ports! {
    serves Crash => Subscribe -> Indicate, Answer;
    watches status: Status => Status;
    uses heartbeat: heartbeat::Port => Heard / Beat;
    timer Tick;
    timer Silence;
}

impl Algorithm for ExcludeOnTimeout {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        for last in self.last.values_mut() {
            *last = ctx.now();
        }
        self.upon_tick(ctx);
        self.watch(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => self.upon_subscribe(subscriber, ctx),
            Event::Heard(heard) => self.upon_heard(heard.from, ctx),
            Event::Status(Status::Replaced { peer, .. }) => self.upon_replaced(peer, ctx),
            Event::Status(Status::Newcomer { .. } | Status::Excluded { .. }) => {
                self.upon_coming_later();
            }
            Event::Status(
                Status::Connected { .. }
                | Status::Refused { .. }
                | Status::Ended { .. }
                | Status::Begun { .. }
                | Status::Gap { .. }
                | Status::Admitted,
            ) => {}
            Event::Tick => self.upon_tick(ctx),
            Event::Silence => self.upon_silence(ctx),
        }
    }
}

impl ExcludeOnTimeout {
    /// A detector at `host` that has reported nobody.
    pub fn new(host: &impl Host, bounds: SynchronyBounds) -> Self {
        let others = host.processes().others(host.me());
        ExcludeOnTimeout {
            interval: bounds.interval,
            timeout: bounds.timeout,
            last: others.iter().map(|p| (p, Time::ZERO)).collect(),
            crashed: ProcessSet::EMPTY,
            subscribers: Vec::new(),
        }
    }

    /// A late subscriber learns of all crashes so far, since they are not indicated again.
    fn upon_subscribe(&mut self, subscriber: Addr<Crash>, ctx: &mut Ctx<Self>) {
        for p in self.crashed.iter() {
            ctx.trigger(Effect::Answer(Crash(p), subscriber.clone()));
        }
        self.subscribers.push(subscriber);
    }

    /// Messages that were in flight when a process crashed may arrive after the report: they have no effect.
    fn upon_heard(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        if let Some(last) = self.last.get_mut(&p) {
            *last = ctx.now();
        }
    }

    /// Another start is in the seat of this process: the process has crashed, however recently it was heard.
    fn upon_replaced(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        if self.last.contains_key(&p) {
            self.report(p, ctx);
        }
    }

    /// This start comes after another, or may not take part: the silence of the others says nothing about
    /// them.
    fn upon_coming_later(&mut self) {
        self.last.clear();
    }

    /// Each interval: a heartbeat.
    fn upon_tick(&mut self, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Beat(Beat::default()));
        ctx.after_in_background(self.interval, Event::Tick);
    }

    /// A process that was silent for too long is reported, and excluded for ever.
    fn upon_silence(&mut self, ctx: &mut Ctx<Self>) {
        for p in self.silent(ctx.now()).iter() {
            self.report(p, ctx);
        }
        self.watch(ctx);
    }

    fn report(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.last.remove(&p);
        self.crashed.insert(p);
        ctx.trigger(Effect::Indicate(Crash(p), self.subscribers.clone()));
    }

    /// Sets the timer for the first instant at which some process can have been silent for too long. Messages
    /// that arrive meanwhile only make that instant later.
    fn watch(&self, ctx: &mut Ctx<Self>) {
        if let Some(earliest) = self.last.values().min() {
            let too_long = *earliest + self.timeout + INSTANT;
            ctx.after_in_background(too_long.since(ctx.now()), Event::Silence);
        }
    }

    fn silent(&self, now: Time) -> ProcessSet {
        let silent = |last: &Time| now.since(*last) > self.timeout;
        let silent = self.last.iter().filter(|(_, last)| silent(last));
        silent.map(|(p, _)| *p).collect()
    }
}

/// Starts the detector of a process, over heartbeats.
pub fn spawn(
    host: &impl Host,
    bounds: SynchronyBounds,
    heartbeat: impl Layer<heartbeat::Port>,
) -> Subscribe<Crash> {
    spawn_with_incarnations(host, bounds, heartbeat, &Addr::nowhere())
}

/// Starts the detector in a system in which crashed processes are started again, as the links report: a
/// second start means that the first has crashed.
pub fn spawn_with_incarnations(
    host: &impl Host,
    bounds: SynchronyBounds,
    heartbeat: impl Layer<heartbeat::Port>,
    links: &Subscribe<Status>,
) -> Subscribe<Crash> {
    let algorithm = ExcludeOnTimeout::new(host, bounds);
    spawn_as(host, algorithm, links, heartbeat)
}

#[cfg(test)]
mod tests;
