//! How a world moves on: one step at a time, by time or by choice.
use crate::{
    adversary::Pace,
    enabled::Enabled,
    state::{Core, Entry, Life, Shared, Token, What},
};
use quorate_core::{
    Name, Observe, ProcessId, Time, TimerId,
    actor::{Actor, Probe},
    algorithm::Alarm,
};
use std::{cmp::Reverse, time::Duration};

/// When a run is truncated or complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) events: u64,
    pub(crate) until: Option<Time>,
    pub(crate) settle: Duration,
}

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// The run goes on.
    Moved,
    /// Nothing but background activity is left.
    Complete,
    /// A limit is reached, or nothing can happen any more though something is still waited for.
    Truncated,
}

struct Watcher<'a> {
    shared: &'a Shared,
    module: usize,
}

impl Probe for Watcher<'_> {
    fn event(&mut self, _: &Name, event: &dyn Observe) {
        let observation = event.observe();
        self.shared.lock().event(self.module, observation);
    }

    fn effect(&mut self, _: &Name, effect: &dyn Observe) -> bool {
        let observation = effect.observe();
        self.shared.lock().effect(self.module, observation)
    }
}

/// What an actor is to do.
#[derive(Clone, Copy)]
pub(crate) enum Drive {
    Start,
    Handle(usize),
    Fire(TimerId),
    Flush,
}

impl Shared {
    pub(crate) fn drive(&self, module: usize, drive: Drive) {
        let (mut actor, now, pace) = {
            let mut core = self.lock();
            let now = core.shown_to(core.modules[module].process);
            let pace = core.pace;
            core.handled += u64::from(pace != Pace::Chosen);
            let Some(actor) = core.modules[module].actor.take() else {
                return;
            };
            (actor, now, pace)
        };
        let mut watcher = Watcher {
            shared: self,
            module,
        };
        match drive {
            Drive::Start => actor.start(now, &mut watcher),
            Drive::Handle(count) => {
                actor.handle(count, now, &mut watcher);
            }
            Drive::Fire(id) => actor.fire(id, now, &mut watcher),
            Drive::Flush => actor.idle(now, &mut watcher),
        }
        let handled = matches!(drive, Drive::Handle(_) | Drive::Fire(_));
        if handled && pace != Pace::Chosen && self.is_drained(module) {
            actor.idle(now, &mut watcher);
        }
        self.put_back(module, actor, handled);
    }

    /// Whether a live module's mailbox is empty. In a timed run a batch ends there.
    fn is_drained(&self, module: usize) -> bool {
        let mut core = self.lock();
        core.settle();
        let place = &core.modules[module];
        place.pending == 0 && core.life(place.process) != Life::Crashed
    }

    fn put_back(&self, module: usize, mut actor: Box<dyn Actor>, handled: bool) {
        let mut alarms: Vec<Alarm> = Vec::new();
        actor.take_alarms(&mut alarms);
        let mut core = self.lock();
        core.settle();
        core.cause = "";
        let p = core.modules[module].process;
        if core.life(p) == Life::Crashed {
            drop(core);
            // The actor is dropped here, outside the lock, because its route may hold the last address of
            // others.
            drop(actor);
            return;
        }
        core.modules[module].actor = Some(actor);
        for alarm in alarms {
            core.start_timer(module, alarm.at, alarm.id, alarm.background);
        }
        if handled && core.pace == Pace::Chosen && !core.modules[module].unflushed {
            core.modules[module].unflushed = true;
            core.steps.unflushed.push(module);
        }
    }

    /// Starts the actors that were installed since the last step.
    pub(crate) fn start_actors(&self) {
        loop {
            let module = {
                let mut core = self.lock();
                let Some(module) = core.starting.pop_front() else {
                    return;
                };
                if core.life(core.modules[module].process) == Life::Crashed
                    || core.waits_for_start(module)
                {
                    continue;
                }
                module
            };
            self.drive(module, Drive::Start);
        }
    }

    /// Takes one step.
    pub(crate) fn step(&self, limits: &Limits) -> Progress {
        if !self.lock().starting.is_empty() {
            self.begin();
        }
        if self.lock().handled >= limits.events {
            return Progress::Truncated;
        }
        let pace = self.lock().pace;
        match pace {
            Pace::Timed => {
                if self.run_token() {
                    return Progress::Moved;
                }
                self.pass_time(limits)
            }
            Pace::Chosen => self.run_choice(limits),
            Pace::Atomic => self.run_oldest(limits),
        }
    }

    /// Faults planned for this moment strike before the processes start.
    pub(crate) fn begin(&self) {
        loop {
            let call = {
                let mut core = self.lock();
                let now = core.now;
                let is_fault = core
                    .agenda
                    .peek()
                    .is_some_and(|Reverse(entry)| entry.at <= now && entry.is_fault());
                if !is_fault {
                    break;
                }
                let Some(Reverse(entry)) = core.agenda.pop() else {
                    break;
                };
                match entry.what {
                    What::Action(action) => core.act(action),
                    What::Packet(..) | What::Timer(..) => None,
                }
            };
            if let Some(call) = call {
                call();
            }
        }
        self.start_actors();
    }

    /// In a timed run: handles the oldest event of the processes now. Returns `false` if there is none.
    pub(crate) fn run_token(&self) -> bool {
        let token = {
            let mut core = self.lock();
            let Some(token) = core.ready.pop_front() else {
                return false;
            };
            let Some(p) = core.owner(token) else {
                return true;
            };
            match core.life(p) {
                Life::Crashed => return true,
                Life::Paused => {
                    core.processes[p.index()].held.push_back(token);
                    return true;
                }
                Life::Running => {}
            }
            if let Token::Event(module) = token {
                let mut count = 1;
                while matches!(core.ready.front(), Some(Token::Event(next)) if *next == module) {
                    core.ready.pop_front();
                    count += 1;
                }
                core.modules[module].pending -= count;
                drop(core);
                self.drive(module, Drive::Handle(count));
                return true;
            }
            token
        };
        match token {
            Token::Event(_) => {}
            Token::Timer(module, id) => self.drive(module, Drive::Fire(id)),
            Token::Arrive(slot, birth) => self.deliver(slot, birth),
            Token::Turn(way, turn) => self.turn(way, turn),
        }
        true
    }

    /// In a timed run: goes to the next moment at which something is planned, and lets all of it happen.
    fn pass_time(&self, limits: &Limits) -> Progress {
        let at = {
            let mut core = self.lock();
            match core.look_ahead(limits) {
                Ok(at) => {
                    core.now = at;
                    at
                }
                Err(progress) => return progress,
            }
        };
        self.happen(at);
        Progress::Moved
    }

    /// Carries out everything planned for times up to `at`.
    pub(crate) fn happen(&self, at: Time) {
        loop {
            let mut core = self.lock();
            let Some(entry) = core.due(at) else {
                return;
            };
            match entry.what {
                What::Action(action) => {
                    core.handled += 1;
                    let call = core.act(action);
                    drop(core);
                    if let Some(call) = call {
                        call();
                    }
                }
                What::Packet(slot, birth) => {
                    core.handled += 1;
                    let delivery = core.arrive(slot, birth);
                    drop(core);
                    if let Some(delivery) = delivery {
                        delivery.complete();
                    }
                }
                What::Timer(module, id) => core.timer_is_due(module, id),
            }
        }
    }

    /// In a run by choice: the adversary chooses the next step.
    fn run_choice(&self, limits: &Limits) -> Progress {
        let step = match self.lock().choose(limits) {
            Ok(step) => step,
            Err(progress) => return progress,
        };
        match step {
            Chosen::Drive(module, drive) => self.drive(module, drive),
            Chosen::Deliver(slot, birth) => self.deliver(slot, birth),
            Chosen::Advance(at) => self.happen(at),
        }
        Progress::Moved
    }
}

enum Chosen {
    Drive(usize, Drive),
    Deliver(usize, u64),
    Advance(Time),
}

impl Core {
    fn owner(&self, token: Token) -> Option<ProcessId> {
        match token {
            Token::Event(module) | Token::Timer(module, _) => Some(self.modules[module].process),
            Token::Arrive(slot, _) => Some(self.network.packet(slot)?.copy.to),
            Token::Turn(way, turn) => Some(turn.told(way).0),
        }
    }

    /// Takes the next entry off the agenda, if its time has come.
    fn due(&mut self, at: Time) -> Option<Entry> {
        self.agenda.peek().filter(|Reverse(next)| next.at <= at)?;
        self.agenda.pop().map(|Reverse(entry)| entry)
    }

    fn timer_is_due(&mut self, module: usize, id: TimerId) {
        let place = &self.modules[module];
        let p = place.process;
        if !place.actor.as_ref().is_some_and(|a| a.is_waiting(id)) {
            return;
        }
        match (self.life(p), self.pace) {
            (Life::Crashed, _) => {}
            (Life::Paused, _) => {
                let token = Token::Timer(module, id);
                self.processes[p.index()].held.push_back(token);
            }
            (Life::Running, Pace::Timed) => self.ready.push_back(Token::Timer(module, id)),
            (Life::Running, Pace::Chosen | Pace::Atomic) => self.steps.due.push((module, id)),
        }
    }

    /// The next moment at which something is planned, or the reason why there is nothing more to do.
    pub(crate) fn look_ahead(&mut self, limits: &Limits) -> Result<Time, Progress> {
        let next = self.agenda.peek().map(|Reverse(entry)| entry.at);
        let settled = self.last_change() + limits.settle;
        let quiet = self.is_quiet();
        match next {
            None if quiet => Err(Progress::Complete),
            None => Err(Progress::Truncated),
            Some(at) if quiet && at > settled => Err(Progress::Complete),
            Some(at) if limits.until.is_some_and(|until| at > until) => Err(Progress::Truncated),
            Some(at) => Ok(at),
        }
    }

    fn choose(&mut self, limits: &Limits) -> Result<Chosen, Progress> {
        let ahead = self.look_ahead(limits);
        if ahead == Err(Progress::Complete) {
            return Err(Progress::Complete);
        }
        let enabled = Enabled {
            steps: &self.steps,
            network: &self.network,
            advance: ahead.is_ok(),
        };
        if enabled.is_empty() {
            return Err(Progress::Truncated);
        }
        let chosen = self.adversary.choose(&enabled, &mut self.rng);
        let index = chosen % enabled.len();
        self.handled += 1;
        Ok(self.take(index, ahead.unwrap_or(self.now)))
    }

    /// Takes the step with this index from those that are enabled (see [`Enabled::get`]).
    fn take(&mut self, mut index: usize, ahead: Time) -> Chosen {
        let steps = &mut self.steps;
        if let Some(&module) = steps.ready.get(index) {
            let place = &mut self.modules[module];
            place.pending -= 1;
            if place.pending == 0 {
                steps.ready.swap_remove(index);
            }
            return Chosen::Drive(module, Drive::Handle(1));
        }
        index -= steps.ready.len();
        if index < steps.unflushed.len() {
            let module = steps.unflushed.swap_remove(index);
            self.modules[module].unflushed = false;
            return Chosen::Drive(module, Drive::Flush);
        }
        index -= steps.unflushed.len();
        if index < steps.flying.len() {
            let slot = steps.flying.swap_remove(index);
            return Chosen::Deliver(slot, self.birth(slot));
        }
        index -= steps.flying.len();
        if index < steps.due.len() {
            let (module, id) = steps.due.swap_remove(index);
            return Chosen::Drive(module, Drive::Fire(id));
        }
        self.now = ahead;
        Chosen::Advance(ahead)
    }
}
