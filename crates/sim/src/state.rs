//! The state of a world, behind one lock.
//!
//! Algorithms run outside the lock: an actor is taken out of its place, driven, and put back. When it reaches
//! something through addresses (mailboxes, links, the application), the state is locked for a moment.
use crate::{
    adversary::{Adversary, Pace, Transmission},
    clock::Clock,
    enabled::Steps,
    fault::{Lose, When},
    gap::{Keep, Turn, Way},
    network::{Cargo, Network},
    omission::Omissions,
    property::{Property, Violation},
    schedule::stage::Stage,
    timing::TimingPolicy,
    trace::{Kind, ModuleNumber, Record, Trace},
};
use quorate_core::{
    Counters, Incarnation, Membership, Name, Observation, ProcessId, Random, Time, TimerId,
    actor::Actor, mailbox::Schedule, observe::Role,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Something that a process is to do now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    /// A module handles the oldest event of its mailbox.
    Event(usize),
    /// A timer fires.
    Timer(usize, TimerId),
    /// A packet, named by slot and birth, arrives.
    Arrive(usize, u64),
    /// The process is told of a gap.
    Turn(Way, Turn),
}

/// Something that the world does to a process at a time.
pub(crate) enum Action {
    Crash(ProcessId, Lose),
    Pause(ProcessId),
    Resume(ProcessId),
    Cut(ProcessId, ProcessId),
    Disconnect(ProcessId, ProcessId),
    Heal(ProcessId, ProcessId),
    Gap(Way, Keep),
    Start(ProcessId),
    Echo(Transmission, &'static str, Cargo),
    Turn(Way, Turn),
    Call(ProcessId, Account, Box<dyn FnOnce() + Send>),
}

/// The reason of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Account {
    Request,
    /// An oracle reports a crash.
    Report(ProcessId),
    /// An oracle begins a false suspicion.
    Suspect(ProcessId),
    /// An oracle ends a false suspicion.
    Restore(ProcessId),
}

pub(crate) enum What {
    Action(Action),
    Packet(usize, u64),
    Timer(usize, TimerId),
}

/// An entry that waits for its time. At the same time, faults go first, and then the entry that was made
/// first.
pub(crate) struct Entry {
    pub(crate) at: Time,
    pub(crate) sequence: u64,
    pub(crate) what: What,
}

impl Entry {
    pub(crate) fn is_fault(&self) -> bool {
        matches!(&self.what, What::Action(action) if !matches!(action, Action::Call(..)))
    }

    fn key(&self) -> (Time, bool, u64) {
        (self.at, !self.is_fault(), self.sequence)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Whether a process takes steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Running,
    Paused,
    Crashed,
}

pub(crate) struct Process {
    pub(crate) incarnation: Incarnation,
    pub(crate) counters: Counters,
    pub(crate) clock: Clock,
    pub(crate) life: Life,
    pub(crate) outputs: u64,
    /// How many outputs went to the application.
    pub(crate) told: u64,
    pub(crate) effects: u64,
    /// The crash that waits for an output or an effect.
    pub(crate) doom: Option<(When, Lose)>,
    /// The events that it will handle once it is resumed.
    pub(crate) held: VecDeque<Token>,
    /// Foreground packets in flight to it.
    pub(crate) inbound: usize,
    /// Whether it is still to start for the first time.
    pub(crate) is_unborn: bool,
    /// Its modules that wait for that start.
    pub(crate) unstarted: VecDeque<usize>,
    /// How many times it has started again.
    pub(crate) starts: u64,
    /// How long its application takes for an indication, if it is slow.
    pub(crate) user_pace: Option<Duration>,
    /// When its slow application will have taken in all indications so far.
    pub(crate) user_free: Time,
}

/// How often, and when, a module gave an indication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    pub label: &'static str,
    /// How many indications; one that covers several messages counts that many.
    pub count: u64,
    pub first: Time,
    pub last: Time,
}

pub(crate) struct Module {
    pub(crate) process: ProcessId,
    pub(crate) start: u64,
    pub(crate) name: Name,
    pub(crate) installed: bool,
    /// `None` while the actor is being driven.
    pub(crate) actor: Option<Box<dyn Actor>>,
    /// How many events its mailbox holds.
    pub(crate) pending: usize,
    /// Whether it has handled an event since it last was idle (when the pace is by choice).
    pub(crate) unflushed: bool,
    pub(crate) tallies: Vec<Tally>,
}

/// Called when a process has crashed.
pub(crate) type CrashWatcher = Box<dyn FnMut(&mut Core, ProcessId) + Send>;

pub(crate) struct Observer {
    pub(crate) property: Box<dyn Property>,
    pub(crate) violation: Option<Violation>,
}

/// The module or lane that a record belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    World,
    Module(usize),
    /// A number of the network's table of lanes.
    Lane(usize),
}

pub(crate) struct Core {
    pub(crate) now: Time,
    pub(crate) rng: Random,
    pub(crate) adversary: Box<dyn Adversary>,
    pub(crate) pace: Pace,
    pub(crate) timing: Option<TimingPolicy>,
    pub(crate) omissions: Omissions,
    pub(crate) processes: Vec<Process>,
    pub(crate) modules: Vec<Module>,
    pub(crate) starting: VecDeque<usize>,
    pub(crate) ready: VecDeque<Token>,
    pub(crate) steps: Steps,
    pub(crate) stage: Stage,
    pub(crate) agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    /// Actions on the agenda.
    pub(crate) actions: usize,
    /// Foreground timers, including some that were cancelled or have fired.
    foreground: BinaryHeap<Reverse<(Time, usize, TimerId)>>,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) observers: Vec<Observer>,
    pub(crate) violated: bool,
    pub(crate) watchers: Vec<CrashWatcher>,
    /// An effect that was triggered but of which nothing has left the process yet.
    loose: Option<(usize, Observation)>,
    /// The label of the effect that is leaving now.
    pub(crate) cause: &'static str,
    /// The last fault, request or indication.
    pub(crate) changed: Time,
    pub(crate) handled: u64,
}

impl Core {
    pub(crate) fn new(membership: Membership, rng: Random, adversary: Box<dyn Adversary>) -> Self {
        let processes = membership.iter().map(|p| Process {
            incarnation: Incarnation(p.rank() as u64),
            counters: Counters::default(),
            clock: Clock::default(),
            life: Life::Running,
            outputs: 0,
            told: 0,
            effects: 0,
            doom: None,
            held: VecDeque::new(),
            inbound: 0,
            is_unborn: false,
            unstarted: VecDeque::new(),
            starts: 0,
            user_pace: None,
            user_free: Time::ZERO,
        });
        Core {
            now: Time::ZERO,
            rng,
            pace: adversary.pace(),
            adversary,
            timing: None,
            omissions: Omissions::new(membership.n()),
            processes: processes.collect(),
            modules: Vec::new(),
            starting: VecDeque::new(),
            ready: VecDeque::new(),
            steps: Steps::default(),
            stage: Stage::new(membership.n()),
            agenda: BinaryHeap::new(),
            entries: 0,
            actions: 0,
            foreground: BinaryHeap::new(),
            network: Network::new(membership.n()),
            trace: Trace::default(),
            observers: Vec::new(),
            violated: false,
            watchers: Vec::new(),
            loose: None,
            cause: "",
            changed: Time::ZERO,
            handled: 0,
        }
    }

    pub(crate) fn life(&self, p: ProcessId) -> Life {
        self.processes[p.index()].life
    }

    pub(crate) fn enter(&mut self, at: Time, what: What) {
        if matches!(what, What::Action(_)) {
            self.actions += 1;
        }
        self.entries += 1;
        let (at, sequence) = (at.max(self.now), self.entries);
        match what {
            What::Action(Action::Call(p, account, call)) if self.pace == Pace::Atomic => {
                self.stage.offer(at, p, account, call);
            }
            what => self.agenda.push(Reverse(Entry { at, sequence, what })),
        }
    }

    /// Makes room for a module whose mailbox is being made.
    pub(crate) fn add_module(&mut self, process: ProcessId, name: Name) -> usize {
        self.modules.push(Module {
            process,
            start: self.processes[process.index()].starts,
            name,
            installed: false,
            actor: None,
            pending: 0,
            unflushed: false,
            tallies: Vec::new(),
        });
        self.modules.len() - 1
    }

    /// Puts an actor in its place; it starts before anything else is handled.
    pub(crate) fn install(&mut self, module: usize, name: Name, actor: Box<dyn Actor>) {
        let place = &mut self.modules[module];
        place.name = name;
        place.actor = Some(actor);
        place.installed = true;
        self.starting.push_back(module);
        let pending = place.pending;
        let runs = self.processes[place.process.index()].life == Life::Running;
        match self.pace {
            Pace::Timed | Pace::Atomic => self
                .ready
                .extend(std::iter::repeat_n(Token::Event(module), pending)),
            Pace::Chosen if pending > 0 && runs => self.steps.ready.push(module),
            Pace::Chosen => {}
        }
    }

    pub(crate) fn posted(&mut self, module: usize) {
        let place = &mut self.modules[module];
        let life = self.processes[place.process.index()].life;
        if life == Life::Crashed {
            return;
        }
        place.pending += 1;
        if !place.installed {
            return;
        }
        match self.pace {
            Pace::Timed | Pace::Atomic => self.ready.push_back(Token::Event(module)),
            Pace::Chosen if place.pending == 1 && life == Life::Running => {
                self.steps.ready.push(module);
            }
            Pace::Chosen => {}
        }
    }

    /// Notes a timer that an algorithm started, which its clock makes due when it shows `shown`.
    pub(crate) fn start_timer(
        &mut self,
        module: usize,
        shown: Time,
        id: TimerId,
        background: bool,
    ) {
        let clock = &self.processes[self.modules[module].process.index()].clock;
        let due = clock.reaches(shown);
        let at = due + self.drawn_lateness(due);
        if !background {
            self.foreground.push(Reverse((at, module, id)));
        }
        if self.pace == Pace::Atomic {
            self.stage.timer(self.modules[module].process, module, id);
        }
        self.enter(at, What::Timer(module, id));
    }

    /// Whether some process waits for a timer of the foreground.
    fn awaits_timer(&mut self) -> bool {
        while let Some(Reverse((_, module, id))) = self.foreground.peek() {
            let place = &self.modules[*module];
            let alive = self.processes[place.process.index()].life != Life::Crashed;
            if alive && place.actor.as_ref().is_some_and(|a| a.is_waiting(*id)) {
                return true;
            }
            self.foreground.pop();
        }
        false
    }

    /// Whether nothing but background activity is left.
    pub(crate) fn is_quiet(&mut self) -> bool {
        // First of all: it forgets timers that have fired, however busy the world is.
        let awaits_timer = self.awaits_timer();
        self.ready.is_empty()
            && self.steps.ready.is_empty()
            && self.steps.unflushed.is_empty()
            && self.starting.is_empty()
            && self.actions == 0
            && self.network.foreground == 0
            && self.turns().next().is_none()
            && self.processes.iter().all(|p| p.life != Life::Paused)
            && !awaits_timer
    }

    /// An effect of a module is triggered. Returns `false` if its process has crashed, or crashes just here.
    pub(crate) fn effect(&mut self, module: usize, observation: Observation) -> bool {
        self.settle();
        let p = self.modules[module].process;
        let process = &mut self.processes[p.index()];
        if process.life == Life::Crashed {
            return false;
        }
        process.effects += 1;
        if let Some((When::BeforeEffect(k), lose)) = process.doom
            && k == process.effects
        {
            self.crash(p, lose);
            return false;
        }
        self.loose = Some((module, observation));
        true
    }

    /// An output leaves the process. Returns `false` if it has crashed, or crashes just here. In the second
    /// case the present effect never happened, unless some of it has left before.
    pub(crate) fn output(&mut self, p: ProcessId) -> bool {
        let process = &mut self.processes[p.index()];
        if process.life == Life::Crashed {
            return false;
        }
        process.outputs += 1;
        if let Some((When::BeforeOutput(k), lose)) = process.doom
            && k == process.outputs
        {
            self.loose = None;
            self.crash(p, lose);
            return false;
        }
        self.settle();
        true
    }

    /// The present effect has happened.
    pub(crate) fn settle(&mut self) {
        if let Some((module, observation)) = self.loose.take() {
            self.cause = observation.label;
            let p = self.modules[module].process;
            if observation.role == Role::Indication {
                self.tally(module, &observation);
            }
            self.record(Scope::Module(module), p, Kind::Effect(observation));
        }
    }

    fn tally(&mut self, module: usize, observation: &Observation) {
        let now = self.stamp();
        let tallies = &mut self.modules[module].tallies;
        match tallies.iter_mut().find(|t| t.label == observation.label) {
            Some(tally) => {
                tally.count += observation.count;
                tally.last = now;
            }
            None => tallies.push(Tally {
                label: observation.label,
                count: observation.count,
                first: now,
                last: now,
            }),
        }
    }

    pub(crate) fn event(&mut self, module: usize, observation: Observation) {
        self.settle();
        let p = self.modules[module].process;
        if self.life(p) != Life::Crashed {
            self.record(Scope::Module(module), p, Kind::Event(observation));
        }
    }

    /// Records an event: in the hash, for the properties, and in the trace if it is kept.
    pub(crate) fn record(&mut self, scope: Scope, process: ProcessId, kind: Kind) {
        if kind.observation().is_some_and(|o| o.role != Role::Internal) {
            self.changed = self.now;
        }
        let code = match scope {
            Scope::World => 0,
            Scope::Module(module) => 1 + module as u64,
            Scope::Lane(lane) => u64::MAX - lane as u64,
        };
        let code = code.wrapping_mul(256).wrapping_add(process.rank() as u64);
        let time = self.stamp();
        self.trace.fold(time, code, &kind);
        if self.observers.is_empty() && !self.trace.is_kept() {
            return;
        }
        let (module, name) = match scope {
            Scope::World => (None, self.network.world_name.clone()),
            Scope::Module(m) => (Some(ModuleNumber(m)), self.modules[m].name.clone()),
            Scope::Lane(lane) => (None, self.network.lane_name(lane)),
        };
        let record = Record {
            index: self.trace.count() - 1,
            time,
            process,
            module,
            name,
            kind,
        };
        let is_first = module.is_none_or(|m| self.modules[m.0].start == 0);
        for observer in self.observers.iter_mut().filter(|_| is_first) {
            if observer.violation.is_none()
                && let Err(violation) = observer.property.observe(&record)
            {
                observer.violation = Some(violation);
                self.violated = true;
            }
        }
        if self.trace.is_kept() {
            self.trace.push(record);
        }
    }
}

/// A world's state and the lock before it.
pub(crate) struct Shared {
    core: Mutex<Core>,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Self {
        Shared {
            core: Mutex::new(core),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schedule for Shared {
    fn posted(&self, index: usize, _is_news: bool) {
        self.lock().posted(index);
    }
}
