//! Uniform consensus by quorums that channels which fail in one direction leave, in many instances.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety), whatever fails.
//! - UC4 termination (liveness), where the quorum system promises it: under a failure pattern f, each process
//!   of `U_f` that proposes decides; unless it hears of none of the next 256 decisions, when those before are
//!   no longer said.
//!
//! # Assumes
//! Quorums of a generalized quorum system; flooding, so that messages come wherever a path leads; view
//! synchronisation, and that from some unknown time on messages take no longer than some unknown time.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | `State(view, decided, accepted)` | each → the leader of the view | I am in this view, and have accepted and decided this (1B) |
//! | `Proposal(view, value)` | the leader → all | accept this (2A) |
//! | `Accepted(view, value)` | each → all | I have (2B) |
//! | `Decided(value)` | each, once, and a leader again to who lacks it → all | nobody need go on |
//!
//! The first is about all instances; the others are about one. View v is led by p1, p2, … pn, p1 in turn.
//!
//! # Cost
//! On channels that do not fail, without flooding: a view costs n−1 messages to enter, and each instance that
//! is decided in it n−1 proposals and n(n−1) acceptances: (n−1)(n+2) for the first; n(n−1) more say that it is
//! decided. All have decided three steps after the leader and a quorum have entered the view, and two after
//! the leader has proposed in a view that they are in already. With flooding, each message is n−1 times as
//! many. Memory: O(n) an undecided instance, of which there are at most 1024; the latest 256 decisions.
//!
//! # Why it holds
//! A leader proposes one value a view and instance, and nothing before a read quorum has told it what it
//! accepted in earlier views; nobody accepts anything of a view that it has left. Where a write quorum accepted
//! x in view v, every read quorum of a later view has one of its members, which said so if it had not decided:
//! so that x is what the leader of view v+1 proposes, and of all later ones by induction. If one of the members
//! has decided, the leader does not count it, and waits for the decision itself (UC2). What is proposed is what
//! somebody proposed (UC1); a decided instance is retired (UC3). Under f, once views are long enough, a process
//! of `U_f` is heard by the read quorum and the write quorum of f in a view that it leads, and hears all of the
//! write quorum: it decides what it proposes there, or knows the decision (UC4).
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646. Deviations: many
//! instances; a decision is apart from the phase of a view, and sticky; what is of a later view waits for it;
//! decisions are said, so that processes that have decided need not go on; who hears of a later view enters it.
mod message;
#[cfg(any(test, feature = "mutants"))]
mod mutant;

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

/// Instances so far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 10;
/// So many decisions stand, the latest ones.
const DECISIONS: usize = 256;
/// So many of them are said again at a time.
const REMINDED: usize = 32;

/// Where the own state stands.
const STATE: Slot = Slot(0);

/// What stands of an instance.
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

/// A value, and the view in which it was proposed or accepted.
type Voted = (u64, Bytes);

/// One instance at one process.
#[derive(Default, Debug)]
struct Instance {
    /// What this process proposed.
    own: Option<Bytes>,
    /// What it accepted last.
    accepted: Option<Voted>,
    /// The last view in which it, as leader, has proposed.
    led: u64,
    /// The proposal of a view that this process has not entered yet.
    early: Option<Voted>,
    /// What each process accepted last.
    votes: BTreeMap<ProcessId, Voted>,
}

/// What a process said when it entered a view.
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
    /// Zero before the first.
    view: u64,
    /// The latest view that others have been heard in, or this process has entered.
    heard: u64,
    instances: Instances<Instance>,
    /// The decisions that stand, in the order of deciding.
    retained: VecDeque<(u64, Bytes)>,
    /// The state of each process at the latest view that it is known to have entered.
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

    /// A view begins with what this process knows, for the leader; proposals that came early are accepted.
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

    /// The latest state of each process is kept, also of a view that this process has still to enter.
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

    /// Says again what somebody has not decided: what was said may have come before he could take it.
    fn remind(&self, decided: &Watermark, ctx: &mut Ctx<Self>) {
        let lacking = self.retained.iter();
        let lacking = lacking.filter(|(number, _)| !decided.contains(*number));
        for (instance, value) in lacking.take(REMINDED) {
            say_decided(*instance, value.clone(), ctx);
        }
    }

    /// Upon the states of a read quorum in the view that this process leads: propose what was accepted in the
    /// latest view, or, if nothing was, the own value.
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

    /// Nothing of a view that was left is accepted; what is of a later one waits for it.
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

    /// Upon acceptances of a write quorum in one view, whichever: decide.
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

    /// Who learns of a decision says it to all, once, and is done.
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

    /// Somebody was heard in this view: where it is a later one, this process goes there, too. So processes that
    /// started apart are not apart for long.
    fn catch_up(&mut self, view: u64, ctx: &mut Ctx<Self>) {
        if view > self.heard {
            self.heard = view;
            ctx.trigger(Effect::CatchUp(CatchUp { view }));
        }
    }

    /// The instance, made at its first mention; `None` if it was decided.
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

/// Ranges that do not ascend are no set: what follows them is left out, so that less counts as decided.
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
