//! Timing models as policies: how long messages are in flight, how late timers fire, when processes start.
//!
//! | policy | a message takes | a timer fires | a process starts |
//! |---|---|---|---|
//! | synchronous | at most δ | at most Φ late | within Δ |
//! | eventually synchronous | at most δ from GST on; what was sent before arrives by GST + δ | at most Φ late from GST on; before that by GST + Φ | by GST + Δ |
//! | asynchronous | any finite time | any finite time late | any finite time after the beginning |
//!
//! δ includes the time that the message waits to be handled: an arrived message is handled at once. GST, the
//! global stabilisation time, is unknown to the processes. All durations are of the simulated time: a process
//! measures them by its own [`Clock`](crate::Clock).
//!
//! A policy makes use of its freedom: a quarter of the messages take the longest time that it allows, a
//! quarter no time, the others any time between. Liveness under eventual synchrony is judged from GST: a run in
//! which anything can still happen is not complete before, however quiet it is.
//!
//! The policy takes the place of the latencies of the world's adversary. It has no influence where steps are
//! chosen, whatever the time ([`Pace::Chosen`](crate::Pace::Chosen),
//! [`Pace::Atomic`](crate::Pace::Atomic)): such a run is asynchronous.
use crate::{chance, state::Core, world::World};
use quorate_core::{Random, Time};
use rand::Rng;
use std::time::Duration;

/// The bounds of a synchronous system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// δ: the longest time that a message is in flight.
    pub delay: Duration,
    /// Φ: how late a timer fires at most.
    pub lateness: Duration,
    /// Δ: the time within which all processes start.
    pub start: Duration,
}

/// A timing model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimingPolicy {
    /// The bounds always hold.
    Synchronous(Bounds),
    /// The bounds hold from a time on.
    EventuallySynchronous {
        /// What holds from then on.
        bounds: Bounds,
        /// GST: when they begin to hold.
        gst: Time,
    },
    /// There is no bound.
    Asynchronous,
}

impl TimingPolicy {
    /// When the bounds begin to hold, if they ever do.
    fn gst(self) -> Time {
        match self {
            TimingPolicy::EventuallySynchronous { gst, .. } => gst,
            TimingPolicy::Synchronous(_) | TimingPolicy::Asynchronous => Time::ZERO,
        }
    }

    /// The bounds, if there are any.
    pub fn bounds(self) -> Option<Bounds> {
        match self {
            TimingPolicy::Synchronous(bounds)
            | TimingPolicy::EventuallySynchronous { bounds, .. } => Some(bounds),
            TimingPolicy::Asynchronous => None,
        }
    }

    /// How long something takes that begins at this time, and for which the bound is chosen by `of`.
    fn draw(self, at: Time, of: fn(Bounds) -> Duration, rng: &mut Random) -> Duration {
        let Some(bounds) = self.bounds() else {
            return unbounded(rng);
        };
        // What begins before GST ends within the bound after it.
        let longest = self.gst().since(at) + of(bounds);
        match chance::below(rng, 4) {
            0 => longest,
            1 => Duration::ZERO,
            2 => chance::between(rng, Duration::ZERO, of(bounds)),
            _ => chance::between(rng, Duration::ZERO, longest),
        }
    }
}

/// Half of the durations are below a millisecond, a quarter below two, and so on: any finite one is possible,
/// up to a minute.
fn unbounded(rng: &mut Random) -> Duration {
    let lives = rng.next_u64().trailing_zeros().min(16);
    let range = Duration::from_millis(1 << lives);
    chance::between(rng, Duration::ZERO, range)
}

impl Core {
    /// How long a copy that leaves now is in flight, if a policy says so.
    pub(crate) fn drawn_delay(&mut self) -> Option<Duration> {
        let policy = self.timing?;
        Some(policy.draw(self.now, |bounds| bounds.delay, &mut self.rng))
    }

    /// How late a timer fires that is due at this time.
    pub(crate) fn drawn_lateness(&mut self, due: Time) -> Duration {
        match self.timing {
            Some(policy) => policy.draw(due, |bounds| bounds.lateness, &mut self.rng),
            None => Duration::ZERO,
        }
    }

    /// The last fault, request or indication, or the time from which the bounds hold.
    pub(crate) fn last_change(&self) -> Time {
        let stable = self.timing.map_or(Time::ZERO, TimingPolicy::gst);
        self.changed.max(stable)
    }
}

impl World {
    /// Gives the world this timing model, and lets its processes start as the model allows. Must be called
    /// before the world runs.
    pub fn timing(&self, policy: TimingPolicy) {
        let mut core = self.shared.lock();
        core.timing = Some(policy);
        let starts: Vec<_> = (self.processes())
            .map(|p| {
                let wait = policy.draw(Time::ZERO, |bounds| bounds.start, &mut core.rng);
                (p, Time::ZERO + wait)
            })
            .collect();
        drop(core);
        for (p, at) in starts.into_iter().filter(|(_, at)| *at > Time::ZERO) {
            self.start_at(p, at);
        }
    }
}
