//! The state behind a schedule's steps: planned calls, copies in flight, due timers.
use super::step::{Act, Passage, Step};
use crate::{
    adversary::{Pace, Transmission, UNIT},
    engine::{Drive, Limits, Progress},
    fault::{Lose, When},
    gap::{Turn, Way},
    network::Packet,
    omission::OmissionKind,
    state::{Account, Action, Core, Life, Shared, Token, What},
    trace::Loss,
    world::World,
};
use quorate_core::{ProcessId, Time, TimerId};
use std::{cmp::Reverse, collections::BTreeMap};

type Call = Box<dyn FnOnce() + Send>;

/// A planned call that a process may make whenever the schedule says so.
struct Offer {
    at: Time,
    process: ProcessId,
    account: Account,
    call: Call,
}

impl Offer {
    fn act(&self) -> Act {
        let p = self.process;
        match self.account {
            Account::Request => Act::Request(p),
            Account::Report(of) => Act::Report { of, to: p },
            Account::Suspect(of) => Act::Suspect { of, by: p },
            Account::Restore(of) => Act::Restore { of, by: p },
        }
    }

    /// Whether the two calls must be made in the order in which they were planned.
    fn is_in_line_with(&self, other: &Offer) -> bool {
        let line = |account: Account| match account {
            Account::Request => (0, None),
            Account::Report(of) => (1, Some(of)),
            Account::Suspect(of) | Account::Restore(of) => (2, Some(of)),
        };
        self.process == other.process && line(self.account) == line(other.account)
    }
}

/// The state of a scheduled world.
pub(crate) struct Stage {
    /// In the order of their times, and then of their planning.
    offers: Vec<Offer>,
    /// The numbers of the timers that are running.
    timers: BTreeMap<(usize, TimerId), u32>,
    /// How many timers each process has started.
    started: Vec<u32>,
    /// How many steps were taken.
    taken: u32,
}

impl Stage {
    pub(crate) fn new(n: usize) -> Self {
        Stage {
            offers: Vec::new(),
            timers: BTreeMap::new(),
            started: vec![0; n],
            taken: 0,
        }
    }

    pub(crate) fn offer(&mut self, at: Time, process: ProcessId, account: Account, call: Call) {
        let place = self.offers.partition_point(|offer| offer.at <= at);
        self.offers.insert(
            place,
            Offer {
                at,
                process,
                account,
                call,
            },
        );
    }

    /// Withdraws the planned calls of a process. Returns how many there were.
    pub(crate) fn withdraw(&mut self, p: ProcessId) -> usize {
        self.withdraw_if(|offer| offer.process == p)
    }

    fn withdraw_if(&mut self, is_withdrawn: impl Fn(&Offer) -> bool) -> usize {
        let before = self.offers.len();
        self.offers.retain(|offer| !is_withdrawn(offer));
        before - self.offers.len()
    }

    pub(crate) fn timer(&mut self, p: ProcessId, module: usize, id: TimerId) {
        let started = &mut self.started[p.index()];
        *started += 1;
        self.timers.insert((module, id), *started);
    }

    /// The planned calls that no earlier call in their line precedes.
    fn heads(&self) -> impl Iterator<Item = &Offer> {
        let offers = self.offers.iter().enumerate();
        let is_head = |(index, offer): &(usize, &Offer)| {
            let mut before = self.offers[..*index].iter();
            !before.any(|other| other.is_in_line_with(offer))
        };
        offers.filter(is_head).map(|(_, offer)| offer)
    }
}

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    /// How many outputs the reaction had.
    pub(crate) outputs: u64,
    /// Whether the application got an indication.
    pub(crate) tells: bool,
    /// Whether the crash that was to strike inside it did.
    pub(crate) struck: bool,
}

/// The packet, timer or call that a step is about.
enum Target {
    Packet(usize, u64),
    Lost(usize),
    Omitted(usize, ProcessId),
    Timer(usize, TimerId),
    Call(Call),
    Crash(ProcessId),
    End(Way),
    Turn(Way, Turn),
    Advance(Time),
}

impl Core {
    /// The time that a trace records now. In a scheduled world each step takes one unit, so that a diagram
    /// has lines; algorithms see only `now`.
    pub(crate) fn stamp(&self) -> Time {
        self.now + UNIT * self.stage.taken
    }

    fn is_running(&self, p: ProcessId) -> bool {
        self.life(p) == Life::Running
    }

    /// The ordinary steps that are enabled, the oldest first.
    pub(crate) fn enabled(&mut self, limits: &Limits) -> Vec<Step> {
        let mut enabled: Vec<Step> = Vec::new();
        let heads = self.stage.heads().filter(|o| self.is_running(o.process));
        enabled.extend(heads.map(|offer| Step::from(offer.act())));
        let mut flying: Vec<_> = (self.passages())
            .filter(|(_, copy)| self.is_running(copy.to))
            .collect();
        flying.sort_unstable_by_key(|(birth, _)| *birth);
        let arrivals = flying.iter().map(|(_, copy)| Act::Deliver(*copy));
        enabled.extend(arrivals.map(Step::from));
        let due = self.due_timers().map(|(p, k, _)| Act::Fire(p, k));
        enabled.extend(due.map(Step::from));
        let turns = self
            .turns()
            .filter(|(way, turn)| self.is_running(turn.told(*way).0));
        enabled.extend(turns.map(|((from, to), turn)| {
            Step::from(match turn {
                Turn::Open => Act::Gap { from, to },
                Turn::Begin => Act::Begin { from, to },
            })
        }));
        if self.look_ahead(limits).is_ok() {
            enabled.push(Act::Advance.into());
        }
        enabled
    }

    /// The losses that are enabled: those of copies in flight whose sender has crashed.
    pub(crate) fn losable(&self) -> impl Iterator<Item = Step> {
        let orphaned = |copy: &Passage| self.life(copy.from) == Life::Crashed;
        let copies = self.passages().map(|(_, copy)| copy);
        copies
            .filter(orphaned)
            .map(|copy| Step::from(Act::Lose(copy)))
    }

    /// The omissions of this kind that are enabled: those of copies in flight.
    pub(crate) fn omittable(&self, kind: OmissionKind) -> impl Iterator<Item = Step> {
        let copies = self.passages().map(|(_, copy)| copy);
        copies.flat_map(move |copy| {
            let sender = kind.is_of_sender().then_some(copy.from);
            let receiver = kind.is_of_receiver().then_some(copy.to);
            let omitters = sender.into_iter().chain(receiver);
            omitters.map(move |by| Step::from(Act::Omit { copy, by }))
        })
    }

    /// The stream ends that are enabled.
    pub(crate) fn endable(&self) -> impl Iterator<Item = Step> {
        let ranks = 1..=self.processes.len();
        let processes = move || ranks.clone().filter_map(ProcessId::from_rank);
        let ways = processes().flat_map(move |from| processes().map(move |to| (from, to)));
        let endable = ways.filter(|(from, _)| self.is_running(*from));
        endable
            .filter(|way| self.can_end(*way))
            .map(|(from, to)| Step::from(Act::End { from, to }))
    }

    /// The copies in flight, with their births.
    fn passages(&self) -> impl Iterator<Item = (u64, Passage)> {
        let slots = self.steps.flying.iter();
        let packets = slots.filter_map(|slot| self.network.packet(*slot));
        packets.map(|packet| (packet.birth, packet.passage()))
    }

    fn due_timers(&self) -> impl Iterator<Item = (ProcessId, u32, (usize, TimerId))> {
        self.steps.due.iter().filter_map(|(module, id)| {
            let place = &self.modules[*module];
            let waits = place.actor.as_ref().is_some_and(|a| a.is_waiting(*id));
            let number = self.stage.timers.get(&(*module, *id))?;
            waits.then_some((place.process, *number, (*module, *id)))
        })
    }

    /// Takes the target of the step from where it waits; `None` if the step is not enabled.
    fn target(&mut self, act: Act, limits: &Limits) -> Option<Target> {
        match act {
            Act::Deliver(copy) | Act::Lose(copy) => {
                let is_lost = matches!(act, Act::Lose(_));
                if is_lost && self.life(copy.from) != Life::Crashed || !self.is_running(copy.to) {
                    return None;
                }
                let slot = self.take_flying(copy)?;
                Some(if is_lost {
                    Target::Lost(slot)
                } else {
                    Target::Packet(slot, self.birth(slot))
                })
            }
            Act::Omit { copy, by } => self.take_flying(copy).map(|slot| Target::Omitted(slot, by)),
            Act::Request(p)
            | Act::Report { to: p, .. }
            | Act::Suspect { by: p, .. }
            | Act::Restore { by: p, .. } => {
                let is_enabled = self.is_running(p) && self.stage.heads().any(|o| o.act() == act);
                let mut offers = self.stage.offers.iter();
                let place = offers.position(|o| o.act() == act).filter(|_| is_enabled)?;
                self.actions -= 1;
                Some(Target::Call(self.stage.offers.remove(place).call))
            }
            Act::Fire(p, number) => {
                let is_it = |(q, k, _): &(ProcessId, u32, _)| (*q, *k) == (p, number);
                let (module, id) = self.due_timers().find(is_it)?.2;
                self.steps.due.retain(|due| *due != (module, id));
                self.stage.timers.remove(&(module, id));
                Some(Target::Timer(module, id))
            }
            Act::Advance => self.look_ahead(limits).ok().map(Target::Advance),
            Act::Crash(p) => (self.life(p) != Life::Crashed).then_some(Target::Crash(p)),
            Act::End { from, to } => {
                let is_enabled = self.is_running(from) && self.can_end((from, to));
                is_enabled.then_some(Target::End((from, to)))
            }
            Act::Gap { from, to } => self.turn_target((from, to), Turn::Open),
            Act::Begin { from, to } => self.turn_target((from, to), Turn::Begin),
        }
    }

    /// Takes the slot of a copy from those in flight.
    fn take_flying(&mut self, copy: Passage) -> Option<usize> {
        let network = &self.network;
        let is_it = |slot: &usize| network.packet(*slot).map(Packet::passage) == Some(copy);
        let place = self.steps.flying.iter().position(is_it)?;
        Some(self.steps.flying.swap_remove(place))
    }

    fn turn_target(&self, way: Way, turn: Turn) -> Option<Target> {
        let is_running = self.is_running(turn.told(way).0);
        let mut turns = self.turns().filter(|_| is_running);
        let is_enabled = turns.any(|enabled| enabled == (way, turn));
        is_enabled.then_some(Target::Turn(way, turn))
    }

    fn lose_orphan(&mut self, slot: usize) {
        if let Some(copy) = self.take_away(slot) {
            self.lose(copy, Loss::Crash);
        }
    }

    fn omit_flying(&mut self, slot: usize, by: ProcessId) {
        if let Some(copy) = self.take_away(slot) {
            self.omit(by, copy);
        }
    }

    /// A copy in flight will not arrive.
    fn take_away(&mut self, slot: usize) -> Option<Transmission> {
        let packet = self.network.packet(slot)?;
        let (copy, foreground) = (packet.copy, packet.foreground());
        self.count_out(foreground, copy.to);
        self.network.remove(slot);
        Some(copy)
    }
}

impl Shared {
    /// Runs the reaction to its end: mailboxes are drained first-in first-out.
    fn react(&self, limits: &Limits) {
        self.start_actors();
        while self.handled() < limits.events && self.run_token() {}
    }

    fn handled(&self) -> u64 {
        self.lock().handled
    }

    /// In a scheduled world: starts all modules.
    pub(crate) fn set_stage(&self, limits: &Limits) {
        let is_unstarted = !self.lock().starting.is_empty();
        if is_unstarted {
            self.begin();
        }
        self.react(limits);
    }

    /// Takes this step; `None` if it is not enabled.
    pub(crate) fn take_step(&self, step: Step, limits: &Limits) -> Option<Taken> {
        let (target, reacting, before, doom) = {
            let mut core = self.lock();
            let target = core.target(step.act, limits)?;
            core.stage.taken += 1;
            core.handled += 1;
            let reacting = step.act.process();
            let before = reacting.map_or((0, 0), |p| {
                let process = &core.processes[p.index()];
                (process.outputs, process.told)
            });
            let doom = reacting.and_then(|p| core.processes[p.index()].doom);
            if let (Some(p), Some(k)) = (reacting, step.crash_before) {
                let crash = (When::BeforeOutput(before.0 + k), Lose::Nothing);
                core.processes[p.index()].doom = Some(crash);
            }
            (target, reacting, before, doom)
        };
        self.reach(target);
        self.react(limits);
        let mut core = self.lock();
        let Some(p) = reacting else {
            return Some(Taken::default());
        };
        let struck = step.crash_before.is_some() && core.life(p) == Life::Crashed;
        let process = &mut core.processes[p.index()];
        process.doom = doom;
        let outputs = process.outputs - before.0;
        let tells = process.told > before.1;
        Some(Taken {
            outputs,
            tells,
            struck,
        })
    }

    fn reach(&self, target: Target) {
        match target {
            Target::Lost(slot) => self.lock().lose_orphan(slot),
            Target::Omitted(slot, by) => self.lock().omit_flying(slot, by),
            Target::Crash(p) => self.lock().crash(p, Lose::Nothing),
            Target::Packet(slot, birth) => self.deliver(slot, birth),
            Target::Timer(module, id) => self.drive(module, Drive::Fire(id)),
            Target::Call(call) => call(),
            Target::End(way) => self.end_stream(way),
            Target::Turn(way, turn) => self.turn(way, turn),
            Target::Advance(at) => {
                self.lock().now = at;
                self.happen(at);
            }
        }
    }

    /// In a scheduled world without a driver: takes the oldest step.
    pub(crate) fn run_oldest(&self, limits: &Limits) -> Progress {
        self.set_stage(limits);
        let (oldest, ahead) = {
            let mut core = self.lock();
            let oldest = core.enabled(limits).first().copied();
            (oldest, core.look_ahead(limits))
        };
        match (ahead, oldest) {
            (Err(Progress::Complete), _) => Progress::Complete,
            (_, None) => Progress::Truncated,
            (_, Some(step)) => match self.take_step(step, limits) {
                Some(_) => Progress::Moved,
                None => Progress::Truncated,
            },
        }
    }
}

/// Methods by which a schedule drives the world.
impl World {
    /// From now on the world moves by schedule, whatever its adversary says.
    pub(crate) fn on_stage(self) -> Self {
        let mut core = self.shared.lock();
        core.network.close();
        if core.pace != Pace::Atomic {
            core.pace = Pace::Atomic;
            let agenda = std::mem::take(&mut core.agenda).into_sorted_vec();
            for Reverse(entry) in agenda.into_iter().rev() {
                match entry.what {
                    What::Action(Action::Call(p, account, call)) => {
                        core.stage.offer(entry.at, p, account, call);
                    }
                    _ => core.agenda.push(Reverse(entry)),
                }
            }
            for module in std::mem::take(&mut core.steps.ready) {
                let pending = core.modules[module].pending;
                let tokens = std::iter::repeat_n(Token::Event(module), pending);
                core.ready.extend(tokens);
            }
        }
        drop(core);
        self.shared.set_stage(&self.limits);
        self
    }

    pub(crate) fn enabled(&self) -> Vec<Step> {
        self.shared.lock().enabled(&self.limits)
    }

    pub(crate) fn losable(&self) -> Vec<Step> {
        self.shared.lock().losable().collect()
    }

    pub(crate) fn omittable(&self, kind: OmissionKind) -> Vec<Step> {
        self.shared.lock().omittable(kind).collect()
    }

    pub(crate) fn endable(&self) -> Vec<Step> {
        self.shared.lock().endable().collect()
    }

    /// Whether `p` has not crashed, or has started again since.
    pub fn is_alive(&self, p: ProcessId) -> bool {
        self.shared.lock().life(p) != Life::Crashed
    }

    /// Whether nothing but background activity is left.
    pub(crate) fn is_complete(&self) -> bool {
        self.shared.lock().look_ahead(&self.limits) == Err(Progress::Complete)
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.shared.lock().violated
    }

    /// Whether the bound on the length of a run is not reached yet.
    pub(crate) fn has_time(&self) -> bool {
        self.shared.handled() < self.limits.events
    }

    /// Gives up the requests that are still planned.
    pub(crate) fn withdraw_requests(&self) {
        let mut core = self.shared.lock();
        core.actions -= core
            .stage
            .withdraw_if(|offer| offer.account == Account::Request);
    }

    /// The label of the effect that sent the copy that the step is about.
    pub(crate) fn label_of(&self, step: Step) -> &'static str {
        let (Act::Deliver(copy) | Act::Lose(copy) | Act::Omit { copy, .. }) = step.act else {
            return "";
        };
        let core = self.shared.lock();
        let slots = core.steps.flying.iter();
        let mut packets = slots.filter_map(|slot| core.network.packet(*slot));
        let packet = packets.find(|packet| packet.passage() == copy);
        packet.map_or("", |packet| packet.label)
    }

    pub(crate) fn take_step(&self, step: Step) -> Option<Taken> {
        self.shared.take_step(step, &self.limits)
    }
}
