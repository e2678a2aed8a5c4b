//! Uniform consensus, in many instances, by the quorums that are left when channels fail in one direction.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety), whatever fails.
//! - UC4 termination (liveness), if the quorum system promises it: under a failure pattern f, each process of
//!   `U_f` that proposes decides; unless it hears of none of the next 256 decisions, because earlier ones are
//!   no longer sent.
//!
//! # Assumes
//! Quorums of a generalized quorum system; flooding, so that messages arrive wherever a path leads; view
//! synchronisation; and, from some unknown time on, an unknown bound on the delay of messages.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | `State(view, decided, accepted)` | each → the leader of the view | I am in this view, and have accepted and decided this (1B) |
//! | `Proposal(view, value)` | the leader → all | accept this (2A) |
//! | `Accepted(view, value)` | each → all | I have (2B) |
//! | `Decided(value)` | each, once, and a leader again to a process that lacks it → all | nobody needs to go on |
//!
//! The first is about all instances; the others are about one. The processes lead in turn: view v is led by
//! p1, p2, … pn, p1 …
//!
//! # Cost
//! On channels that do not fail, without flooding: a view costs n−1 messages to enter, and each instance that
//! is decided in it n−1 proposals and n(n−1) acceptances: (n−1)(n+2) for the first; n(n−1) more say that it is
//! decided. All have decided three steps after the leader and a quorum have entered the view, and two after
//! the leader has proposed in a view that they are in already. With flooding, each message is n−1 times as
//! many. Memory: O(n) per undecided instance, of which there are at most 1024; the latest 256 decisions.
//!
//! # Why it holds
//! A leader proposes one value per view and instance, and only after a read quorum has told it what its
//! members accepted in earlier views; nobody accepts anything of a view that it has left. If a write quorum
//! accepted x in view v, every read quorum of a later view has one of its members, which reported it unless
//! it had decided: so x is what the leader of view v+1 proposes, and by induction the leader of every later
//! view. If the member has decided, the leader does not count it, and waits for the decision itself (UC2).
//! Every proposed value is some process's proposal (UC1); a decided instance is retired (UC3). Under f, once
//! views are long enough, a process of `U_f` is heard by the read quorum and the write quorum of f in a view
//! that it leads, and hears all of the write quorum: it decides what it proposes there, or knows the decision
//! (UC4).
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646. Deviations: many
//! instances; a decision is not a phase of a view, and stays; messages of a later view wait for it; decisions
//! are sent, so that processes that have decided need not go on; a process that hears of a later view enters
//! it.
mod message;
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;

pub use message::{Acceptance, Acceptances, Message};
#[cfg(any(test, feature = "mutants"))]
pub use mutant::spawn_mutant;

use bytes::Bytes;
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    flooding::{self, Slot},
    link::{Deliver, To},
    view_synchronizer::{CatchUp, Enter, Views},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Membership, ProcessId, ProcessSet,
    instances::{Entry, Instances},
    message::LAST_NUMBER,
    ports,
    watermark::Watermark,
};
use quorate_quorums::Quorums;
use std::collections::{BTreeMap, VecDeque};

/// Instances this far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 10;
/// The number of latest decisions that are retained.
const DECISIONS: usize = 256;
/// At most this many decisions are repeated at a time.
const REMINDED: usize = 32;

/// The flooding slot of the process's own state.
const STATE: Slot = Slot(0);

/// What flooding retains of an instance.
#[derive(Clone, Copy)]
enum Retained {
    Proposal,
    Accepted,
    Decided,
}

impl Retained {
    fn slot(self, instance: u64) -> Slot {
        Slot(instance.wrapping_mul(3).wrapping_add(1 + self as u64))
    }
}

/// A view, and the value that was proposed or accepted in it.
type Voted = (u64, Bytes);

/// One instance at one process.
#[derive(Default, Debug)]
struct Instance {
    /// What this process proposed.
    own: Option<Bytes>,
    /// The last value that it accepted, and the view.
    accepted: Option<Voted>,
    /// The last view in which this process has proposed as the leader.
    led: u64,
    /// The proposal of a view that this process has not entered yet.
    early: Option<Voted>,
    /// The last value that each process accepted.
    votes: BTreeMap<ProcessId, Voted>,
}

/// What a process reported when it entered a view.
#[derive(Debug)]
struct State {
    view: u64,
    decided: Watermark,
    accepted: BTreeMap<u64, Voted>,
}

/// Consensus by quorums.
pub struct ByQuorums {
    processes: Membership,
    me: ProcessId,
    quorums: Quorums,
    /// Whether a process leads a view.
    leads: fn(&Membership, u64, ProcessId) -> bool,
    /// The present view; 0 before the first.
    view: u64,
    /// The latest view that any process is known to have entered.
    heard: u64,
    instances: Instances<Instance>,
    /// The retained decisions, in the order of deciding.
    retained: VecDeque<(u64, Bytes)>,
    /// The state of each process in the latest view that it is known to have entered.
    states: BTreeMap<ProcessId, State>,
}

ports! {
    offers consensus::Port => Propose -> Decide;
    watches entered: Enter => Enter;
    asks catch_up: CatchUp => CatchUp;
    uses flooding: flooding::Port<Message> => Flooding;
}

impl Algorithm for ByQuorums {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, value, ctx),
            Event::Enter(Enter { view }) => self.upon_enter(view, ctx),
            Event::Flooding(Deliver { from, message }) => match message {
                Message::State {
                    view,
                    decided,
                    decided_above,
                    accepted,
                } => {
                    let decided = watermark(decided, decided_above);
                    self.upon_state(from, view, decided, accepted.0, ctx);
                }
                Message::Proposal { proposal } => self.upon_proposal(from, proposal, ctx),
                Message::Accepted { acceptance } => self.upon_accepted(from, acceptance, ctx),
                Message::Decided { instance, value } => self.decide(instance, value, ctx),
            },
        }
    }
}

impl ByQuorums {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host, quorums: Quorums) -> Self {
        ByQuorums {
            processes: *host.processes(),
            me: host.me(),
            quorums,
            leads: |processes, view, p| processes.coordinator(view) == p,
            view: 0,
            heard: 0,
            instances: Instances::new(INSTANCES_AHEAD),
            retained: VecDeque::new(),
            states: BTreeMap::new(),
        }
    }

    /// The first proposal of this process counts.
    fn upon_propose(&mut self, number: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if let Some(instance) = self.mention(number, ctx) {
            instance.own.get_or_insert(value);
            self.lead(number, ctx);
        }
    }

    /// When a view begins, this process sends its state to the leader, and accepts proposals that came early.
    fn upon_enter(&mut self, view: u64, ctx: &mut Ctx<Self>) {
        if view <= self.view {
            return;
        }
        self.view = view;
        self.heard = self.heard.max(view);
        let leaders = self.processes.iter();
        let leaders: ProcessSet = leaders
            .filter(|p| (self.leads)(&self.processes, view, *p))
            .collect();
        let mut accepted = Vec::new();
        for number in self.instances.numbers() {
            let instance = self.instances.get(number).and_then(|i| i.accepted.clone());
            accepted.extend(instance.map(|(view, value)| Acceptance {
                instance: number,
                view,
                value,
            }));
        }
        let state = Message::State {
            view,
            decided: self.instances.retired().low(),
            decided_above: self.instances.retired().ranges().collect(),
            accepted: Acceptances(accepted),
        };
        post(STATE, To::Some(leaders), state, ctx);
        for number in self.instances.numbers() {
            self.accept(number, ctx);
            self.lead(number, ctx);
        }
    }

    /// The latest state of each process is kept, even of a view that this process has not entered yet.
    fn upon_state(
        &mut self,
        from: ProcessId,
        view: u64,
        decided: Watermark,
        accepted: Vec<Acceptance>,
        ctx: &mut Ctx<Self>,
    ) {
        if view > LAST_NUMBER || accepted.iter().any(|a| a.view > LAST_NUMBER) {
            return ctx.count("view out of range");
        }
        self.catch_up(view, ctx);
        if self
            .states
            .get(&from)
            .is_some_and(|known| known.view >= view)
        {
            return;
        }
        self.remind(&decided, ctx);
        let mentioned: Vec<u64> = accepted.iter().map(|a| a.instance).collect();
        let accepted = accepted.into_iter();
        let state = State {
            view,
            decided,
            accepted: accepted.map(|a| (a.instance, (a.view, a.value))).collect(),
        };
        self.states.insert(from, state);
        for number in mentioned {
            self.mention(number, ctx);
        }
        for number in self.instances.numbers() {
            self.lead(number, ctx);
        }
    }

    /// Repeats decisions that a process lacks: it may not have been able to take them when they were sent.
    fn remind(&self, decided: &Watermark, ctx: &mut Ctx<Self>) {
        let lacking = self.retained.iter();
        let lacking = lacking.filter(|(number, _)| !decided.contains(*number));
        for (instance, value) in lacking.take(REMINDED) {
            say_decided(*instance, value.clone(), ctx);
        }
    }

    /// Once this leader has the states of a read quorum in its view, it proposes the value accepted in the
    /// latest view or, if there is none, its own.
    fn lead(&mut self, number: u64, ctx: &mut Ctx<Self>) {
        let view = self.view;
        if !(self.leads)(&self.processes, view, self.me) {
            return;
        }
        let here = |state: &State| state.view == view && !state.decided.contains(number);
        let here: Vec<(ProcessId, &State)> = self
            .states
            .iter()
            .filter(|(_, state)| here(state))
            .map(|(p, state)| (*p, state))
            .collect();
        let present: ProcessSet = here.iter().map(|(p, _)| *p).collect();
        if self.quorums.reads.within(present).is_none() {
            return;
        }
        let accepted = here
            .iter()
            .filter_map(|(_, state)| state.accepted.get(&number));
        let latest = accepted.max_by_key(|(view, _)| *view);
        let latest = latest.map(|(_, value)| value.clone());
        let Some(instance) = self.instances.get(number) else {
            return;
        };
        if instance.led >= view {
            return;
        }
        let Some(value) = latest.or_else(|| instance.own.clone()) else {
            return;
        };
        instance.led = view;
        let proposal = Acceptance {
            instance: number,
            view,
            value,
        };
        let message = Message::Proposal { proposal };
        post(Retained::Proposal.slot(number), To::All, message, ctx);
    }

    /// Proposals of views that were left are not accepted; those of a later view wait for it.
    fn upon_proposal(&mut self, from: ProcessId, proposal: Acceptance, ctx: &mut Ctx<Self>) {
        let Acceptance {
            instance: number,
            view,
            value,
        } = proposal;
        if view > LAST_NUMBER {
            return ctx.count("view out of range");
        }
        if !(self.leads)(&self.processes, view, from) {
            return ctx.count("not the leader");
        }
        self.catch_up(view, ctx);
        let current = self.view;
        let Some(instance) = self.mention(number, ctx) else {
            return;
        };
        let known = instance.early.as_ref().map_or(0, |(view, _)| *view);
        if view >= current && view > known {
            instance.early = Some((view, value));
            self.accept(number, ctx);
        }
    }

    /// The first proposal of the present view is accepted.
    fn accept(&mut self, number: u64, ctx: &mut Ctx<Self>) {
        let current = self.view;
        let Some(instance) = self.instances.get(number) else {
            return;
        };
        let is_present = |(view, _): &mut Voted| *view == current;
        let Some((view, value)) = instance.early.take_if(is_present) else {
            return;
        };
        if instance.accepted.as_ref().is_some_and(|(v, _)| *v >= view) {
            return;
        }
        instance.accepted = Some((view, value.clone()));
        let acceptance = Acceptance {
            instance: number,
            view,
            value,
        };
        let message = Message::Accepted { acceptance };
        post(Retained::Accepted.slot(number), To::All, message, ctx);
    }

    /// When a write quorum has accepted in one view, whichever view that is, decides.
    fn upon_accepted(&mut self, from: ProcessId, acceptance: Acceptance, ctx: &mut Ctx<Self>) {
        let (number, view, value) = (acceptance.instance, acceptance.view, acceptance.value);
        if view > LAST_NUMBER {
            return ctx.count("view out of range");
        }
        self.catch_up(view, ctx);
        let Some(instance) = self.mention(number, ctx) else {
            return;
        };
        let known = instance.votes.get(&from).map_or(0, |(view, _)| *view);
        if view <= known {
            return;
        }
        instance.votes.insert(from, (view, value.clone()));
        let same = instance.votes.iter().filter(|(_, (v, _))| *v == view);
        let accepted: ProcessSet = same.map(|(p, _)| *p).collect();
        if self.quorums.writes.within(accepted).is_some() {
            self.decide(number, value, ctx);
        }
    }

    /// A process that learns of a decision sends it to all, once, and is done with the instance.
    fn decide(&mut self, number: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if self.mention(number, ctx).is_none() {
            return;
        }
        self.instances.retire(number);
        for place in [Retained::Proposal, Retained::Accepted] {
            withdraw(place.slot(number), ctx);
        }
        say_decided(number, value.clone(), ctx);
        self.retained.push_back((number, value.clone()));
        if self.retained.len() > DECISIONS
            && let Some((oldest, _)) = self.retained.pop_front()
        {
            withdraw(Retained::Decided.slot(oldest), ctx);
        }
        ctx.trigger(Effect::Decide(Decide {
            instance: number,
            value,
        }));
    }

    /// A process was heard in this view: if it is a later one, this process enters it, too. So processes that
    /// started apart do not stay apart for long.
    fn catch_up(&mut self, view: u64, ctx: &mut Ctx<Self>) {
        if view > self.heard {
            self.heard = view;
            ctx.trigger(Effect::CatchUp(CatchUp { view }));
        }
    }

    /// Returns the instance, which is created at its first mention; `None` if it was decided.
    fn mention(&mut self, number: u64, ctx: &mut Ctx<Self>) -> Option<&mut Instance> {
        match self.instances.at(number, Instance::default) {
            Entry::Live(instance) => Some(instance),
            Entry::Retired => None,
            Entry::TooFar => {
                ctx.count("instance too far ahead");
                None
            }
        }
    }
}

/// Ranges that do not ascend are invalid: what follows them is left out, so that fewer instances count as
/// decided.
fn watermark(low: u64, above: Vec<(u64, u64)>) -> Watermark {
    let mut set = Watermark::up_to(low);
    let mut before = low;
    for (first, last) in above {
        let is_sound = first > before && last >= first && last - low <= INSTANCES_AHEAD;
        if !is_sound {
            break;
        }
        (first..=last).for_each(|number| {
            set.insert(number);
        });
        before = last;
    }
    set
}

fn say_decided(instance: u64, value: Bytes, ctx: &mut Ctx<ByQuorums>) {
    let decided = Message::Decided { instance, value };
    post(Retained::Decided.slot(instance), To::All, decided, ctx);
}

fn post(slot: Slot, to: To, message: Message, ctx: &mut Ctx<ByQuorums>) {
    ctx.trigger(Effect::Flooding(flooding::Request::Post {
        slot,
        to,
        message,
    }));
}

fn withdraw(slot: Slot, ctx: &mut Ctx<ByQuorums>) {
    ctx.trigger(Effect::Flooding(flooding::Request::Withdraw { slot }));
}

/// Starts consensus by quorums, over flooding, in the views of the process.
pub fn spawn(
    host: &impl Host,
    quorums: Quorums,
    views: &Views,
    flooding: impl Layer<flooding::Port<Message>>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    start(host, ByQuorums::new(host, quorums), views, flooding, up)
}

fn start(
    host: &impl Host,
    algorithm: impl Algorithm<Event = Event, Effect = Effect>,
    views: &Views,
    flooding: impl Layer<flooding::Port<Message>>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let Views { entered, catch_up } = views;
    spawn_as(host, algorithm, entered, catch_up.clone(), flooding, up)
}

#[cfg(test)]
mod tests;
