//! The world: processes, what connects them, what befalls them, and what is asked of them.
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

    /// Keeps the records of the trace: for diagrams and tests. Memory grows with the run.
    #[must_use]
    pub fn keep_trace(self) -> Self {
        self.shared.lock().trace = Trace::keeping(true);
        self
    }

    /// Gives a run up, as truncated, after this many steps (20 million unless told otherwise).
    #[must_use]
    pub fn maximum_events(mut self, events: u64) -> Self {
        self.limits.events = events;
        self
    }

    /// Gives a run up, as truncated, at this time.
    #[must_use]
    pub fn maximum_time(mut self, until: Time) -> Self {
        self.limits.until = Some(until);
        self
    }

    /// A run counts as complete only once there was no fault, request or indication for so long
    /// (zero unless told otherwise). What runs over fair-loss links, where a retransmission may be
    /// all that is left of an operation, needs more than its longest retransmission timeout.
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

    /// Bounds what the adversary may do to fair-loss links: at most `losses` copies in a row are lost
    /// between two processes (16 unless told otherwise), and a copy arrives at most `arrivals` times
    /// (4).
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

    /// Says which start of `p` this is (its rank unless told otherwise). Hosts made later know it.
    pub fn set_incarnation(&mut self, p: ProcessId, incarnation: Incarnation) {
        self.shared.lock().processes[p.index()].incarnation = incarnation;
    }

    /// Which start of `p` this is.
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
        }
    }

    /// The counters of `p`.
    pub fn counters(&self, p: ProcessId) -> Counters {
        self.shared.lock().processes[p.index()].counters.clone()
    }

    /// The application of `p`: what is sent here leaves the process, which may crash just before.
    pub fn application<T: Observe + Send + 'static>(&self, p: ProcessId) -> Addr<T> {
        self.application_with(p, |_, _| {})
    }

    /// The application of `p`, which does this with every indication and its time: collects it, or
    /// makes the next request.
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

    /// Does this on behalf of `p` at this time, unless `p` has crashed by then.
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

    /// Has `p` crash. Of several crashes before an output or an effect, the last given counts.
    pub fn crash(&self, p: ProcessId, crash: Crash) {
        match crash.when {
            When::At(time) => self.plan(time, Action::Crash(p, crash.lose)),
            when => self.shared.lock().processes[p.index()].doom = Some((when, crash.lose)),
        }
    }

    /// Stops `p` for a while: it takes no steps, and what reaches it waits. Without an end, no
    /// verdict on liveness is given.
    pub fn pause(&self, p: ProcessId, from: Time, to: Option<Time>) {
        self.plan(from, Action::Pause(p));
        if let Some(to) = to {
            self.plan(to, Action::Resume(p));
        }
    }

    /// Cuts the way from one process to another (that direction alone) for a while. Fair-loss links
    /// lose what they carry meanwhile, perfect links deliver it afterwards. Without an end, no verdict
    /// on liveness is given.
    pub fn cut(&self, way: (ProcessId, ProcessId), from: Time, to: Option<Time>) {
        self.plan(from, Action::Cut(way.0, way.1));
        if let Some(to) = to {
            self.plan(to, Action::Heal(way.0, way.1));
        }
    }

    /// Ends the stream of the perfect links from one process to another (that direction alone), and begins
    /// the next one: what is in flight is lost, but for what the gap [keeps](Gap::keeping), and both ends
    /// are told by the [status](quorate_abstractions::link::Status) of their links. Heartbeats and fair-loss
    /// links know no streams.
    pub fn gap(&self, way: (ProcessId, ProcessId), gap: Gap) {
        self.plan(gap.at, Action::Gap(way, gap.keep));
    }

    /// Has these processes crash, and these channels, from and to, disconnect for good, from this time on.
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

    /// Disconnects the way from one process to another (that direction alone) for good: all that is
    /// in flight there then, or sent later, is lost, also over perfect links. This is a fault of the
    /// model of unreliable channels: liveness is judged, of properties that say where it is promised.
    pub fn disconnect(&self, way: (ProcessId, ProcessId), from: Time) {
        self.plan(from, Action::Disconnect(way.0, way.1));
    }

    /// Cuts every way between `side` and the other processes, both directions.
    pub fn partition(&self, side: ProcessSet, from: Time, to: Option<Time>) {
        for p in side.iter() {
            for q in self.membership.set().without(side).iter() {
                self.cut((p, q), from, to);
                self.cut((q, p), from, to);
            }
        }
    }

    /// Gives the way from one process to another this channel, from now on.
    pub fn channel(&self, way: (ProcessId, ProcessId), channel: Channel) {
        self.shared.lock().set_channel(way, channel);
    }

    /// Gives every way between two processes a channel like this one, from now on.
    pub fn channels(&self, channel: Channel) {
        for p in self.processes() {
            for q in self.membership.others(p).iter() {
                self.channel((p, q), channel);
            }
        }
    }

    /// Has each datagram that is sent on this way in `[from, to)` arrive once more, so much later: maybe
    /// when the start that sent it is long over.
    pub fn echo(&self, way: (ProcessId, ProcessId), from: Time, to: Time, after: Duration) {
        let echo = Echo {
            way,
            from,
            to,
            after,
        };
        self.shared.lock().network.echoes.push(echo);
    }

    /// Has the application of `p` take so long for each indication, one after the other: what it does
    /// upon one it does late.
    pub fn slow_user(&self, p: ProcessId, pace: Duration) {
        self.shared.lock().processes[p.index()].user_pace = Some(pace);
    }

    /// Has a datagram that nobody sent arrive at the fair-loss link of `p`.
    pub fn inject(&self, p: ProcessId, at: Time, bytes: bytes::Bytes) {
        let shared = self.shared.clone();
        self.call(p, at, move || shared.lock().inject(p, bytes));
    }

    /// Has these properties watch the run.
    pub fn check(&self, properties: impl IntoIterator<Item = Box<dyn Property>>) {
        let observers = properties.into_iter().map(|property| Observer {
            property,
            violation: None,
        });
        self.shared.lock().observers.extend(observers);
    }

    /// Runs until nothing but background activity is left, a limit is reached or a property is
    /// violated. More may be asked of the world afterwards, and it run again.
    pub fn run(&mut self) -> Report {
        self.run_while(|_| true)
    }

    /// Runs as long as `go_on` says so, asked before every step. What ends it so is truncated.
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

    /// Runs up to and including this time, if the run is not over before.
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

    /// Copies sent so far, and what became of them.
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

    /// How many outputs `p` has made: the numbers before which it could have crashed.
    pub fn outputs(&self, p: ProcessId) -> u64 {
        self.shared.lock().processes[p.index()].outputs
    }

    /// How many effects `p` has triggered: the numbers before which it could have crashed.
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
    /// Modules, addresses and the world refer to each other in circles, which are opened here.
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
