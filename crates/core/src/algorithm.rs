//! The shape of an algorithm, and all that it can reach.
use crate::{
    counters::{Counter, Counters},
    name::Name,
    observe::Observe,
    time::Time,
};
use rand::SeedableRng;
use std::{collections::BTreeMap, time::Duration};

/// The generator behind [`Context::rng`]: the same numbers on every machine.
pub type Random = rand::rngs::ChaCha8Rng;

/// A deterministic state machine that reacts to events with effects.
///
/// An event is a request from above, an indication from below, or a timer of its own. An effect is
/// an indication up or a request down. Handlers are atomic, must not block, and must not depend on
/// anything but `self`, the event and the context.
pub trait Algorithm: Send + 'static {
    /// All that the algorithm reacts to.
    type Event: Observe + Send + 'static;
    /// All that the algorithm triggers.
    type Effect: Observe + Send + 'static;

    /// Called once, before any event.
    fn upon_start(&mut self, _ctx: &mut Context<Self::Event, Self::Effect>) {}

    /// Handles one event.
    fn upon(&mut self, event: Self::Event, ctx: &mut Context<Self::Event, Self::Effect>);

    /// Called after each batch of events that the mailbox held. This is the place to flush what was
    /// coalesced.
    fn upon_idle(&mut self, _ctx: &mut Context<Self::Event, Self::Effect>) {}
}

/// Names a timer, so that it can be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(u64);

/// A timer that a host is to fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alarm {
    pub id: TimerId,
    /// The earliest time at which the timer may fire.
    pub at: Time,
    /// Whether the timer is a background timer (a heartbeat, or the retransmission of something that a dead
    /// peer never acknowledges). Background timers do not keep a simulated run open.
    pub background: bool,
}

/// What an algorithm can reach while it handles an event: effects, timers, time, chance, counters.
pub struct Context<E, F> {
    now: Time,
    rng: Random,
    next_timer: u64,
    waiting: BTreeMap<TimerId, E>,
    alarms: Vec<Alarm>,
    effects: Vec<F>,
    module: Name,
    counters: Counters,
    counts: Vec<(&'static str, Counter)>,
}

impl<E, F> Context<E, F> {
    /// Triggers an effect. Effects leave in the order in which they were triggered, after the
    /// handler; a process may crash between any two of them.
    pub fn trigger(&mut self, effect: F) {
        self.effects.push(effect);
    }

    /// Sends this algorithm `event` after `delay`. A simulated run does not end before that.
    pub fn after(&mut self, delay: Duration, event: E) -> TimerId {
        self.start_timer(delay, event, false)
    }

    /// Sends this algorithm `event` after `delay`. A simulated run may end without it.
    pub fn after_in_background(&mut self, delay: Duration, event: E) -> TimerId {
        self.start_timer(delay, event, true)
    }

    fn start_timer(&mut self, delay: Duration, event: E, background: bool) -> TimerId {
        let id = TimerId(self.next_timer);
        self.next_timer += 1;
        self.waiting.insert(id, event);
        self.alarms.push(Alarm {
            id,
            at: self.now + delay,
            background,
        });
        id
    }

    /// Cancels a timer. Has no effect on a timer that has fired or was cancelled.
    pub fn cancel(&mut self, id: TimerId) {
        self.waiting.remove(&id);
    }

    /// The time: monotonic, and virtual in simulation.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The process's own seeded randomness.
    pub fn rng(&mut self) -> &mut Random {
        &mut self.rng
    }

    /// Counts one occurrence of `reason` under the module's name: something dropped or rejected.
    pub fn count(&mut self, reason: &'static str) {
        self.count_many(reason, 1);
    }

    /// Counts `amount` occurrences of `reason`.
    pub fn count_many(&mut self, reason: &'static str, amount: u64) {
        if let Some((_, counter)) = self.counts.iter().find(|(known, _)| *known == reason) {
            counter.add(amount);
            return;
        }
        let counter = self.counters.counter(&self.module, reason);
        counter.add(amount);
        self.counts.push((reason, counter));
    }
}

/// The methods that only hosts call.
impl<E, F> Context<E, F> {
    /// A context for the module `module`, whose randomness follows from `seed`.
    pub fn new(module: Name, seed: u64, counters: Counters) -> Self {
        Context {
            now: Time::ZERO,
            rng: Random::seed_from_u64(seed),
            next_timer: 0,
            waiting: BTreeMap::new(),
            alarms: Vec::new(),
            effects: Vec::new(),
            module,
            counters,
            counts: Vec::new(),
        }
    }

    /// Sets the time that the next handlers see.
    pub fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// Moves the triggered effects to `effects`, which must be empty. Both keep their allocations.
    pub fn take_effects(&mut self, effects: &mut Vec<F>) {
        std::mem::swap(&mut self.effects, effects);
    }

    /// Takes the timers that were started since the last call.
    pub fn take_alarms(&mut self) -> impl Iterator<Item = Alarm> + '_ {
        self.alarms.drain(..)
    }

    /// Takes the event of a timer that is due; `None` if it was cancelled.
    pub fn take_due(&mut self, id: TimerId) -> Option<E> {
        self.waiting.remove(&id)
    }

    /// Whether the timer is still to fire.
    pub fn is_waiting(&self, id: TimerId) -> bool {
        self.waiting.contains_key(&id)
    }
}
