//! An algorithm joined to its mailbox and its routes. Hosts drive nothing else.
use crate::{
    algorithm::{Alarm, Algorithm, Context, TimerId},
    counters::Counters,
    mailbox::Mailbox,
    name::Name,
    observe::Observe,
    time::Time,
};
use std::collections::VecDeque;

/// Watches what an actor does, and may stop its process between any two effects.
pub trait Probe {
    /// The actor is about to handle this event.
    fn event(&mut self, actor: &Name, event: &dyn Observe);
    /// The actor is about to release this effect. Returns `false` if the process has crashed just before it.
    fn effect(&mut self, actor: &Name, effect: &dyn Observe) -> bool;
}

/// The probe that sees nothing: what real processes run with.
pub struct Unwatched;

impl Probe for Unwatched {
    fn event(&mut self, _: &Name, _: &dyn Observe) {}
    fn effect(&mut self, _: &Name, _: &dyn Observe) -> bool {
        true
    }
}

/// An actor whose event and effect types are erased.
pub trait Actor: Send {
    /// The module's name.
    fn name(&self) -> &Name;
    /// Lets in the events that wait in the mailbox because another thread sent them, or because they wait
    /// behind such an event.
    fn let_in(&mut self);
    /// Lets the algorithm start.
    fn start(&mut self, now: Time, probe: &mut dyn Probe);
    /// Handles at most `limit` of the waiting events, and returns how many it handled. Does not call `idle`.
    fn handle(&mut self, limit: usize, now: Time, probe: &mut dyn Probe) -> usize;
    /// Handles all events that wait now. Does not call `idle`.
    fn handle_waiting(&mut self, now: Time, probe: &mut dyn Probe);
    /// Handles all events that wait now, as one batch, and then lets the algorithm flush.
    fn handle_batch(&mut self, now: Time, probe: &mut dyn Probe);
    /// Ends a batch: lets the algorithm flush what it coalesced.
    fn idle(&mut self, now: Time, probe: &mut dyn Probe);
    /// Handles the event of the timer `id`, if it was not cancelled. Does not call `idle`.
    fn fire(&mut self, id: TimerId, now: Time, probe: &mut dyn Probe);
    /// Whether the timer `id` is still to fire.
    fn is_waiting(&self, id: TimerId) -> bool;
    /// Moves the timers that were started since the last call to `alarms`.
    fn take_alarms(&mut self, alarms: &mut Vec<Alarm>);
}

/// Joins an algorithm to its mailbox and its routes.
pub fn join<A: Algorithm>(
    name: Name,
    seed: u64,
    counters: Counters,
    mailbox: Mailbox<A::Event>,
    algorithm: A,
    route: impl FnMut(A::Effect) + Send + 'static,
) -> Box<dyn Actor> {
    Box::new(Joined {
        algorithm,
        mailbox,
        route,
        context: Context::new(name.clone(), seed, counters),
        batch: VecDeque::new(),
        effects: Vec::new(),
        name,
    })
}

struct Joined<A: Algorithm, R> {
    algorithm: A,
    mailbox: Mailbox<A::Event>,
    route: R,
    context: Context<A::Event, A::Effect>,
    batch: VecDeque<A::Event>,
    effects: Vec<A::Effect>,
    name: Name,
}

impl<A: Algorithm, R: FnMut(A::Effect) + Send> Joined<A, R> {
    fn upon(&mut self, event: A::Event, probe: &mut dyn Probe) {
        probe.event(&self.name, &event);
        self.algorithm.upon(event, &mut self.context);
        self.release(probe);
    }

    /// Releases the effects of one handler, in order.
    fn release(&mut self, probe: &mut dyn Probe) {
        self.context.take_effects(&mut self.effects);
        for effect in self.effects.drain(..) {
            if !probe.effect(&self.name, &effect) {
                break;
            }
            (self.route)(effect);
        }
    }
}

impl<A: Algorithm, R: FnMut(A::Effect) + Send> Actor for Joined<A, R> {
    fn name(&self) -> &Name {
        &self.name
    }

    fn let_in(&mut self) {
        self.mailbox.let_in();
    }

    fn start(&mut self, now: Time, probe: &mut dyn Probe) {
        self.context.set_now(now);
        self.algorithm.upon_start(&mut self.context);
        self.release(probe);
    }

    fn handle(&mut self, limit: usize, now: Time, probe: &mut dyn Probe) -> usize {
        self.context.set_now(now);
        for handled in 0..limit {
            let Some(event) = self.mailbox.take() else {
                return handled;
            };
            self.upon(event, probe);
        }
        limit
    }

    fn handle_waiting(&mut self, now: Time, probe: &mut dyn Probe) {
        self.context.set_now(now);
        let mut batch = std::mem::take(&mut self.batch);
        self.mailbox.take_all(&mut batch);
        for event in batch.drain(..) {
            self.upon(event, probe);
        }
        self.batch = batch;
    }

    fn handle_batch(&mut self, now: Time, probe: &mut dyn Probe) {
        self.handle_waiting(now, probe);
        self.idle(now, probe);
    }

    fn idle(&mut self, now: Time, probe: &mut dyn Probe) {
        self.context.set_now(now);
        self.algorithm.upon_idle(&mut self.context);
        self.release(probe);
    }

    fn fire(&mut self, id: TimerId, now: Time, probe: &mut dyn Probe) {
        self.context.set_now(now);
        if let Some(event) = self.context.take_due(id) {
            self.upon(event, probe);
        }
    }

    fn is_waiting(&self, id: TimerId) -> bool {
        self.context.is_waiting(id)
    }

    fn take_alarms(&mut self, alarms: &mut Vec<Alarm>) {
        alarms.extend(self.context.take_alarms());
    }
}
