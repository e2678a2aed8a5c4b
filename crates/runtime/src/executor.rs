//! The work of the protocol thread: ready actors, timers, edges.
use crate::{
    edge::Edge,
    host::Shared,
    ready::{self, Numbers},
    recorder::Recorder,
    timers::Timers,
    tracer::{self, Both, Tracer},
};
use quorate_core::{
    Time,
    actor::{Actor, Probe, Unwatched},
    algorithm::Alarm,
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::{task::coop, time::Sleep};
use tracing::Span;

/// The number of batches between two readings of the clock.
const BATCHES_A_TIME: usize = 32;
/// The number of batches after which edges and timers get their turn even if some actor is still ready.
const BATCHES_A_TURN: usize = 4096;
/// The number of turns after which Tokio gets its own: only Tokio learns that a socket has become readable.
const TURNS: usize = 8;

/// The reason why the executor gave the thread back.
enum Control {
    Yield,
    Stop,
}

/// The actors of one process, driven one batch after the other.
pub(crate) struct Executor {
    shared: Arc<Shared>,
    actors: Vec<Option<Box<dyn Actor>>>,
    /// Actors of this host that are ready, while another host has the thread.
    ready: Numbers,
    /// Actors that have worked since they were last idle.
    worked: Numbers,
    edges: Vec<Box<dyn Edge>>,
    timers: Timers,
    alarms: Vec<Alarm>,
    begun: Instant,
    now: Time,
    /// The one Tokio timer, and when it fires.
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Time>,
    /// The actor that is running, for the report of a panic.
    running: Option<usize>,
    recorder: Option<Recorder>,
    tracer: Tracer,
}

impl Executor {
    /// The executor of the actors that `shared` knows, which wakes at `timers`.
    pub fn new(
        shared: Arc<Shared>,
        edges: Vec<Box<dyn Edge>>,
        recorder: Option<Recorder>,
        span: Span,
    ) -> Self {
        Executor {
            shared,
            actors: Vec::new(),
            ready: Numbers::default(),
            worked: Numbers::default(),
            edges,
            timers: Timers::default(),
            alarms: Vec::new(),
            begun: Instant::now(),
            now: Time::ZERO,
            sleep: None,
            armed: None,
            running: None,
            recorder,
            tracer: Tracer::new(span),
        }
    }

    /// The module that was running when the executor panicked.
    pub fn running(&self) -> Option<String> {
        let actor = self.actors.get(self.running?)?.as_ref()?;
        Some(actor.name().to_string())
    }

    /// Runs until the host is stopped.
    pub async fn run(&mut self) {
        loop {
            // Tokio's cooperative budget is switched off: this loop counts turns itself.
            let turns = coop::unconstrained(poll_fn(|cx| self.poll(cx)));
            match turns.await {
                Control::Yield => tokio::task::yield_now().await,
                Control::Stop => break,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Control> {
        ready::enter(self.shared.id, &mut self.ready);
        let outcome = self.take_turns(cx);
        ready::leave(&mut self.ready);
        outcome
    }

    fn take_turns(&mut self, cx: &mut Context<'_>) -> Poll<Control> {
        self.shared.unpark();
        for _ in 0..TURNS {
            if self.shared.is_stopping() {
                return Poll::Ready(Control::Stop);
            }
            self.read_clock();
            let mut progress = self.poll_edges(cx);
            progress |= self.fire_timers();
            progress |= self.run_ready();
            progress |= self.take_from_outside();
            if !progress && self.may_park(cx) {
                return Poll::Pending;
            }
        }
        Poll::Ready(Control::Yield)
    }

    fn read_clock(&mut self) {
        self.now = Time::from_nanos(self.begun.elapsed().as_nanos() as u64);
    }

    fn poll_edges(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        for edge in &mut self.edges {
            progress |= edge.poll(cx, self.now);
        }
        progress
    }

    /// Fires the timers that are due. Timers that are started meanwhile wait for the next turn, even if
    /// they are due at once: otherwise a timer that starts itself again would keep the thread for ever.
    fn fire_timers(&mut self) -> bool {
        let mut progress = false;
        let started = self.timers.started();
        while let Some((index, id)) = self.timers.take_due(self.now, started) {
            progress = true;
            self.drive(index, |actor, now, probe| actor.fire(id, now, probe));
            self.worked.insert(index);
        }
        progress
    }

    /// Lets actors work until none is ready, and then makes those that worked idle, one after the other. So
    /// if an actor sends to itself, the answer comes before any output of both leaves, and leaves with it.
    fn run_ready(&mut self) -> bool {
        for batch in 0..BATCHES_A_TURN {
            if batch % BATCHES_A_TIME == BATCHES_A_TIME - 1 {
                self.read_clock();
            }
            if let Some(index) = ready::take_highest() {
                self.worked.insert(index);
                self.drive(index, |actor, now, probe| actor.handle_waiting(now, probe));
            } else if let Some(index) = self.worked.take_highest() {
                self.drive(index, |actor, now, probe| actor.idle(now, probe));
            } else {
                return batch > 0;
            }
        }
        // Some actor is always ready: the coalesced messages are sent all the same.
        while let Some(index) = self.worked.take_highest() {
            self.drive(index, |actor, now, probe| actor.idle(now, probe));
        }
        true
    }

    /// Lets an actor work, and notes the timers that it started. An actor that has not been started yet is
    /// marked ready when it is started.
    fn drive(&mut self, index: usize, work: impl FnOnce(&mut dyn Actor, Time, &mut dyn Probe)) {
        let Some(Some(actor)) = self.actors.get_mut(index) else {
            return;
        };
        self.running = Some(index);
        let tracer = tracer::is_wanted().then_some(&mut self.tracer);
        match (&mut self.recorder, tracer) {
            (None, None) => work(actor.as_mut(), self.now, &mut Unwatched),
            (Some(recorder), None) => work(actor.as_mut(), self.now, recorder),
            (None, Some(tracer)) => work(actor.as_mut(), self.now, tracer),
            (Some(recorder), Some(tracer)) => {
                work(actor.as_mut(), self.now, &mut Both(recorder, tracer));
            }
        }
        self.running = None;
        actor.take_alarms(&mut self.alarms);
        if self.alarms.is_empty() {
            return;
        }
        for alarm in self.alarms.drain(..) {
            self.timers.push(alarm.at, index, alarm.id);
        }
        if self.timers.wants_sweep() {
            let actors = &self.actors;
            self.timers.sweep(|index, id| {
                let actor = actors.get(index).and_then(Option::as_ref);
                actor.is_some_and(|actor| actor.is_waiting(id))
            });
        }
    }

    fn take_from_outside(&mut self) -> bool {
        let (ready, actors) = {
            let mut outside = self.shared.outside();
            if outside.is_empty() {
                return false;
            }
            (
                std::mem::take(&mut outside.ready),
                std::mem::take(&mut outside.actors),
            )
        };
        for (index, actor) in actors {
            if index >= self.actors.len() {
                self.actors.resize_with(index + 1, || None);
            }
            self.actors[index] = Some(actor);
            self.let_in(index);
            self.drive(index, |actor, now, probe| actor.start(now, probe));
            ready::mark(self.shared.id, index);
        }
        for index in ready {
            self.let_in(index);
            ready::mark(self.shared.id, index);
        }
        true
    }

    /// Lets in messages from other threads. They wait until the actors that worked have been idle: so a
    /// user that sends as soon as a module has answered does not keep links and edges from their turn.
    fn let_in(&mut self, index: usize) {
        if let Some(Some(actor)) = self.actors.get_mut(index) {
            actor.let_in();
        }
    }

    /// Arms the timer and announces the sleep; `false` if there is work to do.
    fn may_park(&mut self, cx: &mut Context<'_>) -> bool {
        let edges = self.edges.iter().filter_map(|edge| edge.deadline()).min();
        let earliest = self.timers.next().into_iter().chain(edges).min();
        if let Some(at) = earliest
            && !self.arm(at, cx)
        {
            return false;
        }
        self.shared.waker.register(cx.waker());
        self.shared.park()
    }

    /// Makes the Tokio timer fire at `at` or earlier; `false` if that time has come.
    fn arm(&mut self, at: Time, cx: &mut Context<'_>) -> bool {
        if self
            .armed
            .is_none_or(|armed| at < armed || armed <= self.now)
        {
            let deadline = self.begun + at.since(Time::ZERO);
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            sleep.as_mut().reset(deadline.into());
            self.armed = Some(at);
        }
        let Some(sleep) = &mut self.sleep else {
            return true;
        };
        if sleep.as_mut().poll(cx).is_pending() {
            return true;
        }
        self.armed = None;
        false
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let left = {
            let mut outside = self.shared.outside();
            outside.closed = true;
            std::mem::take(&mut outside.actors)
        };
        drop(left);
        // After a panic the thread still belongs to this host.
        ready::leave(&mut self.ready);
        self.actors.clear();
    }
}
