//! The world: processes, their channels, their faults, and the requests to them.
use crate::{
    adversary::Adversary,
    channel::{Channel, Echo},
    diagram::Diagram,
    engine::{Limits, Progress},
    fault::{Crash, When},
    gap::Gap,
    host::SimHost,
    property::{Completion, Property},
    report::{Counts, Report},
    state::{Account, Action, Core, Life, Observer, Shared, Tally, What},
    tampering::{Tamperer, Tampering},
    trace::Trace,
};
use quorate_core::{
    Addr, Counters, Incarnation, Membership, Name, Observe, ProcessId, ProcessSet, Random, Time,
    message::fold, process::BadMembership,
};
use rand::SeedableRng;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A simulated world of n processes: one thread, virtual time, one seed.
///
/// The same seed, adversary and wiring give the same run, bit for bit. See the crate's documentation
/// for an example.
pub struct World {
    pub(crate) shared: Arc<Shared>,
    membership: Membership,
    seed: u64,
    pub(crate) limits: Limits,
    pub(crate) stop_at_violation: bool,
}

impl World {
    /// A world of `n` processes in which `adversary` decides what the model leaves open.
    ///
    /// # Errors
    /// When there is no membership of `n` processes.
    pub fn new(
        n: usize,
        seed: u64,
        adversary: impl Adversary + 'static,
    ) -> Result<Self, BadMembership> {
        let membership = Membership::of_size(n)?;
        let rng = Random::seed_from_u64(seed);
        let core = Core::new(membership, rng, Box::new(adversary));
        Ok(World {
            shared: Arc::new(Shared::new(core)),
            membership,
            seed,
            limits: Limits {
                events: 20_000_000,
                until: None,
                settle: Duration::ZERO,
            },
            stop_at_violation: true,
        })
    }

    /// Keeps the records of the trace, for diagrams and tests. Memory grows with the run.
    #[must_use]
    pub fn keep_trace(self) -> Self {
        self.shared.lock().trace = Trace::keeping(true);
        self
    }

    /// Truncates a run after this many steps (20 million by default).
    #[must_use]
    pub fn maximum_events(mut self, events: u64) -> Self {
        self.limits.events = events;
        self
    }

    /// Truncates a run at this time.
    #[must_use]
    pub fn maximum_time(mut self, until: Time) -> Self {
        self.limits.until = Some(until);
        self
    }

    /// A run counts as complete only once there was no fault, request or indication for this time (zero by
    /// default). A run over fair-loss links, where an operation may depend on a single retransmission, needs
    /// more than the longest retransmission timeout.
    #[must_use]
    pub fn settle(mut self, bound: Duration) -> Self {
        self.limits.settle = bound;
        self
    }

    /// Goes on after a violation, to the end of the run.
    #[must_use]
    pub fn go_on_after_violation(mut self) -> Self {
        self.stop_at_violation = false;
        self
    }

    /// Bounds what the adversary may do to fair-loss links: at most `losses` copies in a row are lost between
    /// two processes (16 by default), and a copy arrives at most `arrivals` times (4).
    #[must_use]
    pub fn fair_loss_bounds(self, losses: u32, arrivals: u32) -> Self {
        let mut core = self.shared.lock();
        core.network.loss_bound = losses;
        core.network.duplicate_bound = arrivals.max(1);
        drop(core);
        self
    }

    /// Π.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// p1 … pn.
    pub fn processes(&self) -> impl Iterator<Item = ProcessId> + use<> {
        self.membership.iter()
    }

    /// Sets the incarnation of `p` (its rank by default). Hosts made later have it.
    pub fn set_incarnation(&mut self, p: ProcessId, incarnation: Incarnation) {
        self.shared.lock().processes[p.index()].incarnation = incarnation;
    }

    /// The present incarnation of `p`.
    pub fn incarnation(&self, p: ProcessId) -> Incarnation {
        self.shared.lock().processes[p.index()].incarnation
    }

    /// The host of `p`, for wiring functions.
    pub fn host(&self, p: ProcessId) -> SimHost {
        let core = self.shared.lock();
        let process = &core.processes[p.index()];
        SimHost {
            shared: self.shared.clone(),
            me: p,
            incarnation: process.incarnation,
            membership: self.membership,
            counters: process.counters.clone(),
            path: Name::root(),
            seed: fold(self.seed, p.rank() as u64),
            alteration: None,
            replacements: Vec::new(),
        }
    }

    /// The counters of `p`.
    pub fn counters(&self, p: ProcessId) -> Counters {
        self.shared.lock().processes[p.index()].counters.clone()
    }

    /// The application of `p`. Indications sent here leave the process, which may crash just before.
    pub fn application<T: Observe + Send + 'static>(&self, p: ProcessId) -> Addr<T> {
        self.application_with(p, |_, _| {})
    }

    /// The application of `p`, which calls this function with every indication and its time, for example to
    /// collect it or to make the next request.
    pub fn application_with<T: Observe + Send + 'static>(
        &self,
        p: ProcessId,
        react: impl FnMut(T, Time) + Send + 'static,
    ) -> Addr<T> {
        let (shared, react) = (self.shared.clone(), Arc::new(Mutex::new(react)));
        Addr::new(move |indication| {
            let (now, late) = {
                let mut core = shared.lock();
                if !core.output(p) {
                    return;
                }
                core.processes[p.index()].told += 1;
                (core.now, core.takes_in(p))
            };
            let Some(at) = late else {
                let mut react = react.lock().unwrap_or_else(PoisonError::into_inner);
                return react(indication, now);
            };
            let react = react.clone();
            let call = Box::new(move || {
                let mut react = react.lock().unwrap_or_else(PoisonError::into_inner);
                react(indication, at);
            });
            let action = Action::Call(p, Account::Request, call);
            shared.lock().enter(at, What::Action(action));
        })
    }

    /// Makes a request of a module of `p` at this time, unless `p` has crashed by then.
    pub fn request<T: Send + 'static>(&self, p: ProcessId, at: Time, to: &Addr<T>, value: T) {
        let to = to.clone();
        self.call(p, at, move || to.send(value));
    }

    /// Calls this on behalf of `p` at this time, unless `p` has crashed by then.
    pub fn call(&self, p: ProcessId, at: Time, act: impl FnOnce() + Send + 'static) {
        let (shared, start) = (self.shared.clone(), self.start_of(p));
        let act = move || {
            let is_over = shared.lock().processes[p.index()].starts != start;
            if !is_over {
                act();
            }
        };
        self.plan(at, Action::Call(p, Account::Request, Box::new(act)));
    }

    /// How many starts of `p` were before this one.
    pub(crate) fn start_of(&self, p: ProcessId) -> u64 {
        self.shared.lock().processes[p.index()].starts
    }

    pub(crate) fn plan(&self, at: Time, action: Action) {
        self.shared.lock().enter(at, What::Action(action));
    }

    /// Lets `p` crash. If several crashes before an output or an effect are given, the last one counts.
    pub fn crash(&self, p: ProcessId, crash: Crash) {
        match crash.when {
            When::At(time) => self.plan(time, Action::Crash(p, crash.lose)),
            when => self.shared.lock().processes[p.index()].doom = Some((when, crash.lose)),
        }
    }

    /// Stops `p` for a while: it takes no steps, and messages to it wait. Its clock goes on, so that its timers
    /// fire late: it is suspended. Without an end, there is no verdict on liveness.
    pub fn pause(&self, p: ProcessId, from: Time, to: Option<Time>) {
        self.plan(from, Action::Pause(p));
        if let Some(to) = to {
            self.plan(to, Action::Resume(p));
        }
    }

    /// Cuts the channel from one process to another (in that direction only) for a while. Fair-loss links
    /// lose their datagrams meanwhile; perfect links deliver their messages afterwards. Without an end, there
    /// is no verdict on liveness.
    pub fn cut(&self, way: (ProcessId, ProcessId), from: Time, to: Option<Time>) {
        self.plan(from, Action::Cut(way.0, way.1));
        if let Some(to) = to {
            self.plan(to, Action::Heal(way.0, way.1));
        }
    }

    /// Ends the stream of the perfect links from one process to another (in that direction only), and begins
    /// the next one. Copies in flight are lost, except those that the gap [keeps](Gap::keeping), and both
    /// ends are told by the [status](quorate_abstractions::link::Status) of their links. Heartbeats and
    /// fair-loss links have no streams.
    pub fn gap(&self, way: (ProcessId, ProcessId), gap: Gap) {
        self.plan(gap.at, Action::Gap(way, gap.keep));
    }

    /// Lets these processes crash, and disconnects these channels, from and to, for good, from this time on.
    pub fn fail(
        &self,
        crashing: ProcessSet,
        channels: impl IntoIterator<Item = (ProcessId, ProcessId)>,
        at: Time,
    ) {
        for p in crashing.iter() {
            self.crash(p, Crash::at(at));
        }
        for channel in channels {
            self.disconnect(channel, at);
        }
    }

    /// Disconnects the channel from one process to another (in that direction only) for good: all messages in
    /// flight there, or sent later, are lost, also over perfect links. This is a fault of the model of
    /// unreliable channels: liveness is still judged, by properties that say where it is promised.
    pub fn disconnect(&self, way: (ProcessId, ProcessId), from: Time) {
        self.plan(from, Action::Disconnect(way.0, way.1));
    }

    /// Cuts every channel between `side` and the other processes, in both directions.
    pub fn partition(&self, side: ProcessSet, from: Time, to: Option<Time>) {
        for p in side.iter() {
            for q in self.membership.set().without(side).iter() {
                self.cut((p, q), from, to);
                self.cut((q, p), from, to);
            }
        }
    }

    /// Sets the properties of the channel from one process to another, from now on.
    pub fn channel(&self, way: (ProcessId, ProcessId), channel: Channel) {
        self.shared.lock().set_channel(way, channel);
    }

    /// Sets the properties of every channel between two processes, from now on.
    pub fn channels(&self, channel: Channel) {
        for p in self.processes() {
            for q in self.membership.others(p).iter() {
                self.channel((p, q), channel);
            }
        }
    }

    /// Lets each datagram that is sent in this direction in `[from, to)` arrive once more, this much later:
    /// perhaps when the start that sent it is long over.
    pub fn echo(&self, way: (ProcessId, ProcessId), from: Time, to: Time, after: Duration) {
        let echo = Echo {
            way,
            from,
            to,
            after,
        };
        self.shared.lock().network.echoes.push(echo);
    }

    /// Lets somebody on the network alter, forge, repeat and misdirect datagrams.
    pub fn tamper(&self, tampering: Tampering) {
        self.shared.lock().network.tamperer = Some(Box::new(Tamperer::new(tampering)));
    }

    /// Lets the application of `p` take this long for each indication, one after the other, so that its
    /// reactions come late.
    pub fn slow_user(&self, p: ProcessId, pace: Duration) {
        self.shared.lock().processes[p.index()].user_pace = Some(pace);
    }

    /// Lets a datagram that no process sent arrive at the fair-loss link of `p`.
    pub fn inject(&self, p: ProcessId, at: Time, bytes: bytes::Bytes) {
        let shared = self.shared.clone();
        self.call(p, at, move || shared.lock().inject(p, bytes));
    }

    /// Checks these properties during the run.
    pub fn check(&self, properties: impl IntoIterator<Item = Box<dyn Property>>) {
        let observers = properties.into_iter().map(|property| Observer {
            property,
            violation: None,
        });
        self.shared.lock().observers.extend(observers);
    }

    /// Runs until only background activity is left, a limit is reached or a property is violated. Afterwards
    /// more requests may be made, and the world may run again.
    pub fn run(&mut self) -> Report {
        self.run_while(|_| true)
    }

    /// Runs as long as `go_on`, called before every step, returns true. A run that ends by it counts as
    /// truncated.
    pub fn run_while(&mut self, mut go_on: impl FnMut(&World) -> bool) -> Report {
        self.shared.lock().network.close();
        let progress = loop {
            if self.stop_at_violation && self.shared.lock().violated {
                break Progress::Truncated;
            }
            if !go_on(self) {
                break Progress::Truncated;
            }
            match self.shared.step(&self.limits) {
                Progress::Moved => {}
                end => break end,
            }
        };
        self.report(progress == Progress::Complete)
    }

    /// Runs up to and including this time, unless the run ends earlier.
    pub fn run_until(&mut self, time: Time) -> Report {
        let before = self.limits.until.replace(time);
        let report = self.run();
        self.limits.until = before;
        report
    }

    pub(crate) fn report(&self, complete: bool) -> Report {
        let mut core = self.shared.lock();
        let correct: ProcessSet = self
            .membership
            .iter()
            .filter(|p| core.life(*p) != Life::Crashed)
            .filter(|p| core.processes[p.index()].starts == 0)
            .filter(|p| !core.omissions.faulty().contains(*p))
            .collect();
        let paused = correct.iter().any(|p| core.life(p) == Life::Paused);
        let cut = correct
            .iter()
            .any(|p| correct.iter().any(|q| core.network.is_severed(p, q)));
        let completion = Completion {
            time: core.stamp(),
            correct,
            complete,
            severed: paused || cut,
        };
        let verdicts = core
            .observers
            .iter_mut()
            .map(|observer| observer.verdict(&completion))
            .collect();
        Report {
            seed: self.seed,
            completion,
            verdicts,
            hash: core.trace.hash(),
            events: core.trace.count(),
            steps: core.handled,
            counts: Counts::of(&core),
        }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.shared.lock().now
    }

    /// Copies sent so far, and their fates.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.shared.lock())
    }

    /// How often, and when, the module of `p` (by full path or last segment) gave an indication with
    /// this label: with the lock-step adversary, its time is a number of steps.
    pub fn tally(&self, p: ProcessId, module: &str, label: &str) -> Option<Tally> {
        let core = self.shared.lock();
        let mut modules = core.modules.iter();
        let module = modules
            .find(|m| m.process == p && (m.name.as_str() == module || m.name.last() == module))?;
        module.tallies.iter().find(|t| t.label == label).copied()
    }

    /// How many outputs `p` has made. It could have crashed before any of them.
    pub fn outputs(&self, p: ProcessId) -> u64 {
        self.shared.lock().processes[p.index()].outputs
    }

    /// How many effects `p` has triggered. It could have crashed before any of them.
    pub fn effects(&self, p: ProcessId) -> u64 {
        self.shared.lock().processes[p.index()].effects
    }

    /// The space-time diagram of the run so far, as text, if the trace is kept.
    pub fn diagram(&self) -> String {
        Diagram::default().draw(&self.shared.lock().trace, self.membership.n())
    }

    /// The trace so far: its hash, and its records if they are kept.
    pub fn trace(&self) -> Trace {
        self.shared.lock().trace.clone()
    }
}

impl Drop for World {
    /// Modules, addresses and the world refer to each other in cycles, which are broken here.
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        let modules = std::mem::take(&mut core.modules);
        let agenda = std::mem::take(&mut core.agenda);
        let ends = std::mem::take(&mut core.network.ends);
        let watchers = std::mem::take(&mut core.watchers);
        drop(core);
        drop((modules, agenda, ends, watchers));
    }
}
