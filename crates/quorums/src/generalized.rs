//! Generalized quorum access: although processes crash and channels fail in one direction, calls return
//! wherever that is possible at all.
//!
//! # Promises
//! - QAF1 validity, QAF2 real-time ordering (safety).
//! - QAF3 termination (liveness): under a failure pattern f of the system, a call returns at every process of
//!   `U_f`: the strongly connected component that holds the write quorums that f leaves strongly connected,
//!   and reachable from a read quorum. Elsewhere a call may block for ever: the counters `calls` and `calls
//!   that returned` show it.
//!
//! # Assumes
//! Flooding; a generalized quorum system: every read quorum meets every write quorum, and under each pattern
//! some write quorum is available, and reachable from some read quorum. A read quorum need not be reachable,
//! nor need its members reach each other: they push their states without being asked. Over fair-loss channels
//! a changed state replaces the one before: a pushed state has to arrive, with repetitions, in the time that
//! its length takes at [`rate`](AccessSettings::rate).
//!
//! # Messages
//! - `SetRequest(call, oldest, update)`, to all: apply this. `SetResponse(call, clock)`, back.
//! - `ClockRequest(call, oldest)`, to all: what is your clock? `ClockResponse(call, clock)`, back.
//! - `State(clock, state)`, to all, in the next period when it has changed; otherwise `Clock(clock, since)`,
//!   which says that the state is still the one pushed at `since`.
//!
//! # Cost
//! On perfect links without flooding: 2(n−1) messages a call, and n(n−1) a period for the states. With
//! flooding, n(n−1) for each post (a request, each of its n responses, each state), if no two are passed on
//! together; in lock step, 3n(n−1) a call (n = 2: 5), and 2n(n−1) a period. 2 steps, and the wait until a
//! read quorum has pushed states that reach the cut-off: with clocks that follow time, a set waits for a
//! period and a step per edge of the longest path, and a get often not at all; with counters, the wait is as
//! long as they lag behind each other. Memory: the states of all processes; of each process, the calls that
//! it may still wait for.
//!
//! # Why it holds
//! A replica applies an update once, and then raises its clock, so that a state pushed with the clock of its
//! response, or a higher one, has the update. A set returns when it knows a write quorum's clocks, and that a
//! read quorum's have reached their maximum. A get that begins later asks a write quorum for its clocks. A
//! member of it was in that read quorum, so that the cut-off is not below the set's; and one of the states of
//! a later read quorum that have reached the cut-off comes from the set's write quorum, and has the update
//! (QAF2). That is why a set waits for a read quorum, and a get begins with a write quorum. A state pushed
//! before the call is as good, if its clock suffices, and a state that has not changed since it was pushed
//! counts as pushed at any later clock. Raising a clock at any other time does no harm: it only makes earlier
//! pushes count for less. With clocks that follow time, and each other, nobody waits for a process whose
//! clock lags behind. A replica that has not seen a request when its call is over never applies the update.
//! QAF1 allows this: the write quorum, and all whose states are returned later on its behalf, have the
//! update.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, figure 3.
//! Deviations: flooding makes channels transitive, which the paper assumes; clocks follow time, unless set
//! otherwise; calls of one process may overlap, and requests say which is the oldest, so that responses can
//! be forgotten; a state is pushed when it has changed, and the clock alone otherwise.
mod caller;
mod message;
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;
mod pushing;
mod settings;

pub use message::Message;
pub use settings::{AccessSettings, Clocks};

use crate::{Quorums, flooding::SLOTS};
use caller::{Caller, Seen};
use pushing::Pushing;
use quorate_abstractions::{
    flooding::{self, Slot},
    link::{Deliver, To},
    quorum_access::{self, Answer, Call, Indication, Request, State, observe_request},
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet, Time, message::LAST_NUMBER, ports,
};
use std::collections::{BTreeMap, VecDeque};

/// The slot of the pushed state and clock; others are used once.
const STATE: Slot = Slot(0);
const CLOCK: Slot = Slot(1);

/// The number of slots left for requests, and for responses to the requests of all processes.
const FREE: usize = SLOTS - 2;

/// No process has a clock beyond this.
const LATEST: u64 = LAST_NUMBER;

/// A call of this process that is in flight.
struct Pending {
    /// The user's number for the call.
    operation: u64,
    is_get: bool,
    /// The flooding slot of its request.
    slot: Slot,
    /// The clocks in the responses, by process.
    clocks: BTreeMap<ProcessId, u64>,
    /// The clock that a read quorum has to reach; set once a write quorum has answered.
    cutoff: Option<u64>,
}

/// Generalized quorum access.
pub struct Generalized<S: State> {
    processes: Membership,
    settings: AccessSettings,
    quorums: Quorums,
    state: S,
    clock: u64,
    /// The newest state of each process, and its clock.
    latest: BTreeMap<ProcessId, (u64, S)>,
    /// How many calls this process has begun.
    begun: u64,
    pending: BTreeMap<u64, Pending>,
    /// Requests that begin when others have ended.
    waiting: VecDeque<Request<S::Update>>,
    callers: BTreeMap<ProcessId, Caller>,
    /// The last slot that was used.
    slots: u64,
    pushing: Pushing,
}

ports! {
    for<S: State>;
    offers quorum_access::Port<S> => Request -> Return, observed observe_request::<S>;
    uses flooding: flooding::Port<Message<S>> => Flooding;
    timer Timer;

    /// Starts generalized quorum access over flooding.
    pub fn spawn(host, settings: AccessSettings, quorums: Quorums, initial: S) =
        Generalized::new(host, settings, quorums, initial);
}

impl<S: State> Algorithm for Generalized<S> {
    type Event = Event<S>;
    type Effect = Effect<S>;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        ctx.after_in_background(self.settings.period, Event::Timer);
    }

    fn upon(&mut self, event: Event<S>, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Flooding(Deliver { from, message }) => match message {
                Message::SetRequest {
                    call,
                    oldest,
                    update,
                } => {
                    self.upon_set_request(from, call, oldest, &update, ctx);
                }
                Message::ClockRequest { call, oldest } => {
                    self.upon_clock_request(from, call, oldest, ctx);
                }
                Message::SetResponse { call, clock } => {
                    self.upon_response(from, (call, false), clock, ctx);
                }
                Message::ClockResponse { call, clock } => {
                    self.upon_response(from, (call, true), clock, ctx);
                }
                Message::State { clock, state } => self.upon_state(from, clock, state, ctx),
                Message::Clock { clock, since } => self.upon_clock(from, clock, since, ctx),
            },
            Event::Timer => self.upon_timer(ctx),
        }
    }
}

impl<S: State> Generalized<S> {
    /// The algorithm at `host`, with this initial state.
    pub fn new(host: &impl Host, settings: AccessSettings, quorums: Quorums, initial: S) -> Self {
        Generalized {
            processes: *host.processes(),
            settings,
            quorums,
            state: initial,
            clock: 0,
            latest: BTreeMap::new(),
            begun: 0,
            pending: BTreeMap::new(),
            waiting: VecDeque::new(),
            callers: BTreeMap::new(),
            slots: CLOCK.0,
            pushing: Pushing::default(),
        }
    }

    /// The width of the window from a process's oldest call in flight to its newest: replicas remember the
    /// calls within it. A process has a slot for each request in its own window, and one for each response in
    /// the windows of all n, so that n + 1 windows and the pushed state and clock always fit.
    fn most(&self) -> usize {
        (FREE / (self.processes.n() + 1)).max(1)
    }

    /// Raises the clock, at least to the time.
    fn raise(&mut self, now: Time) {
        self.clock += 1;
        if let Clocks::Timed { epoch } = self.settings.clocks {
            let time = epoch.saturating_add(now.as_nanos() / 1000);
            self.clock = self.clock.max(time.min(LATEST));
        }
    }

    /// Handles a clock from a message. A clock that no process can have is ignored.
    fn hears(&mut self, clock: u64, ctx: &mut Ctx<Self>) -> bool {
        if clock > LATEST {
            ctx.count("clock out of range");
            return false;
        }
        if matches!(self.settings.clocks, Clocks::Timed { .. }) {
            self.clock = self.clock.max(clock);
        }
        true
    }

    /// Posts in a slot that was not used before.
    fn post(&mut self, to: To, message: Message<S>, ctx: &mut Ctx<Self>) -> Slot {
        self.slots += 1;
        let slot = Slot(self.slots);
        ctx.trigger(Effect::Flooding(flooding::Request::Post {
            slot,
            to,
            message,
        }));
        slot
    }

    /// Each period, pushes the clock and the state, which are read together.
    fn upon_timer(&mut self, ctx: &mut Ctx<Self>) {
        self.raise(ctx.now());
        let rate = self.settings.rate;
        let next = self.pushing.next(self.clock, &self.state, ctx.now(), rate);
        if let Some(message) = next {
            let slot = match message {
                Message::State { .. } => STATE,
                _ => CLOCK,
            };
            let to = To::All;
            ctx.trigger(Effect::Flooding(flooding::Request::Post {
                slot,
                to,
                message,
            }));
        }
        ctx.after_in_background(self.settings.period, Event::Timer);
    }

    fn upon_request(&mut self, request: Request<S::Update>, ctx: &mut Ctx<Self>) {
        ctx.count("calls");
        self.waiting.push_back(request);
        self.begin_waiting(ctx);
    }

    /// Begins waiting calls, as far as the window allows. A call that has ended counts while an older one is
    /// in flight: replicas cannot know that it has ended.
    fn begin_waiting(&mut self, ctx: &mut Ctx<Self>) {
        loop {
            let next = self.begun + 1;
            let oldest = self.pending.first_key_value();
            let oldest = oldest.map_or(next, |(oldest, _)| *oldest);
            if next - oldest >= self.most() as u64 {
                return;
            }
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            self.begin(request, ctx);
        }
    }

    /// A call begins with a question to everybody.
    fn begin(&mut self, request: Request<S::Update>, ctx: &mut Ctx<Self>) {
        self.begun += 1;
        let call = self.begun;
        let oldest = self
            .pending
            .first_key_value()
            .map_or(call, |(oldest, _)| *oldest);
        let (is_get, message) = match request.call {
            Call::Get => (true, Message::ClockRequest { call, oldest }),
            Call::Set(update) => (
                false,
                Message::SetRequest {
                    call,
                    oldest,
                    update,
                },
            ),
        };
        let pending = Pending {
            operation: request.operation,
            is_get,
            slot: self.post(To::All, message, ctx),
            clocks: BTreeMap::new(),
            cutoff: None,
        };
        self.pending.insert(call, pending);
    }

    /// Whether to answer the request: it is seen for the first time, and its caller still waits.
    fn is_first(&mut self, from: ProcessId, call: u64, oldest: u64, ctx: &mut Ctx<Self>) -> bool {
        if call.max(oldest) > LAST_NUMBER {
            ctx.count("call out of range");
            return false;
        }
        let most = self.most();
        let caller = self.callers.entry(from).or_default();
        for slot in caller.forget_below(oldest.min(call)) {
            ctx.trigger(Effect::Flooding(flooding::Request::Withdraw { slot }));
        }
        let seen = caller.see(call, most);
        if seen == Seen::TooMany {
            ctx.count("too many calls");
        }
        seen == Seen::First
    }

    fn answer(&mut self, from: ProcessId, call: u64, message: Message<S>, ctx: &mut Ctx<Self>) {
        let slot = self.post(To::One(from), message, ctx);
        let caller = self.callers.entry(from).or_default();
        caller.answered.insert(call, slot);
    }

    /// The update is applied and the clock raised, before the answer contains the clock.
    fn upon_set_request(
        &mut self,
        from: ProcessId,
        call: u64,
        oldest: u64,
        update: &S::Update,
        ctx: &mut Ctx<Self>,
    ) {
        if self.is_first(from, call, oldest, ctx) {
            if self.state.apply(update) {
                self.pushing.upon_change();
            }
            self.raise(ctx.now());
            let clock = self.clock;
            self.answer(from, call, Message::SetResponse { call, clock }, ctx);
        }
    }

    fn upon_clock_request(&mut self, from: ProcessId, call: u64, oldest: u64, ctx: &mut Ctx<Self>) {
        if self.is_first(from, call, oldest, ctx) {
            let clock = self.clock;
            self.answer(from, call, Message::ClockResponse { call, clock }, ctx);
        }
    }

    /// Once a whole write quorum has answered, the maximum of its clocks is the cut-off.
    fn upon_response(
        &mut self,
        from: ProcessId,
        (call, is_get): (u64, bool),
        clock: u64,
        ctx: &mut Ctx<Self>,
    ) {
        if !self.hears(clock, ctx) {
            return;
        }
        let Some(pending) = self.pending.get_mut(&call) else {
            return;
        };
        if pending.cutoff.is_some() || pending.is_get != is_get {
            return;
        }
        pending.clocks.insert(from, clock);
        let answered = pending.clocks.keys().copied().collect();
        let Some(quorum) = self.quorums.writes.within(answered) else {
            return;
        };
        let of_quorum = pending.clocks.iter().filter(|(p, _)| quorum.contains(**p));
        pending.cutoff = of_quorum.map(|(_, clock)| *clock).max();
        self.upon_reached(call, ctx);
    }

    /// The state with the highest clock counts, because links do not keep order.
    fn upon_state(&mut self, from: ProcessId, clock: u64, state: S, ctx: &mut Ctx<Self>) {
        if !self.hears(clock, ctx) {
            return;
        }
        if self
            .latest
            .get(&from)
            .is_some_and(|(known, _)| *known >= clock)
        {
            return;
        }
        self.latest.insert(from, (clock, state));
        self.upon_pushed(ctx);
    }

    /// A state that has not changed since then is also the state at this clock.
    fn upon_clock(&mut self, from: ProcessId, clock: u64, since: u64, ctx: &mut Ctx<Self>) {
        if !self.hears(clock, ctx) {
            return;
        }
        let known = self.latest.get_mut(&from);
        if let Some((known, _)) = known.filter(|(known, _)| (since..clock).contains(known)) {
            *known = clock;
            self.upon_pushed(ctx);
        }
    }

    fn upon_pushed(&mut self, ctx: &mut Ctx<Self>) {
        let calls: Vec<u64> = self.pending.keys().copied().collect();
        for call in calls {
            self.upon_reached(call, ctx);
        }
    }

    /// When the states of a read quorum have reached the cut-off, the call returns.
    fn upon_reached(&mut self, call: u64, ctx: &mut Ctx<Self>) {
        let Some(pending) = self.pending.get(&call) else {
            return;
        };
        let Some(cutoff) = pending.cutoff else {
            return;
        };
        let reached = self
            .latest
            .iter()
            .filter(|(_, (clock, _))| *clock >= cutoff);
        let reached: ProcessSet = reached.map(|(p, _)| *p).collect();
        let Some(quorum) = self.quorums.reads.within(reached) else {
            return;
        };
        let (operation, slot) = (pending.operation, pending.slot);
        let answer = if pending.is_get {
            let of_quorum = self.latest.iter().filter(|(p, _)| quorum.contains(**p));
            Answer::Got(of_quorum.map(|(_, (_, state))| state.clone()).collect())
        } else {
            Answer::Set
        };
        self.pending.remove(&call);
        ctx.count("calls that returned");
        ctx.trigger(Effect::Flooding(flooding::Request::Withdraw { slot }));
        ctx.trigger(Effect::Return(Indication { operation, answer }));
        self.begin_waiting(ctx);
    }
}

#[cfg(test)]
mod tests;
