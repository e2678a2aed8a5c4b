//! Searches every schedule of a small world, depth first by replay, up to equivalence.
use super::{
    budget::OmissionBudget,
    step::{Act, Step, crashed},
};
use crate::{omission::OmissionKind, property::Violation, report::Report, world::World};
use quorate_core::{ProcessId, ProcessSet};
use std::{collections::BTreeSet, fmt};

/// The adversary that tries everything: every order of the steps, and every crash, loss, omission
/// and gap, within bounds.
///
/// The search is stateless: each execution has a new world, which is led along a schedule. Schedules that
/// differ only in the order of neighbouring steps which do not [depend](Step::depends_on) on each other are
/// *equivalent*: every process has the same history in them. Sleep sets (Godefroid) ensure that one schedule
/// of each class is followed to its end, and that no class is missed. A checked property should not
/// distinguish equivalent schedules, and most properties of this crate do not: each is about the behaviour of
/// one process, about effects of one process at another, or about suspicions and crashes. Properties of
/// shared objects do: an operation that ends before another begins comes first, at whatever process; for them
/// there is [`real_time`](Exhaustive::real_time).
///
/// A crash may strike between any two steps, and inside a step before any output but the first (a crash
/// before the first output is a crash before the step). Copies whose sender has crashed may be lost,
/// independently: a perfect link promises nothing for them.
#[derive(Clone, Debug)]
pub struct Exhaustive {
    crashes: usize,
    mortal: Option<ProcessSet>,
    gaps: usize,
    omissions: Option<OmissionBudget>,
    ways: Option<BTreeSet<(ProcessId, ProcessId)>>,
    depth: usize,
    executions: u64,
    deepening: bool,
    reduction: bool,
    real_time: bool,
}

impl Default for Exhaustive {
    fn default() -> Self {
        Exhaustive {
            crashes: 0,
            mortal: None,
            gaps: 0,
            omissions: None,
            ways: None,
            depth: 1_000,
            executions: 1_000_000,
            deepening: false,
            reduction: true,
            real_time: false,
        }
    }
}

/// A schedule that breaks a property.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The property, and how it is broken.
    pub violation: Violation,
    /// The steps that lead there.
    pub schedule: Vec<Step>,
}

/// The result of a search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exploration {
    /// Complete executions: classes of equivalent schedules at whose end liveness was judged.
    pub executions: u64,
    /// Executions given up because all their continuations are followed elsewhere.
    pub blocked: u64,
    /// Executions that reached the bound on their depth, or could not go on though something is still waited
    /// for. The verdict on their liveness is unknown.
    pub truncated: u64,
    /// Different steps taken. Replayed steps are not counted again.
    pub steps: u64,
    /// How many times a world was made.
    pub worlds: u64,
    /// The steps of the longest schedule.
    pub deepest: usize,
    /// Whether every schedule within the allowed faults was followed to its end.
    pub complete: bool,
    /// The first schedule that breaks a property. The search ends with it.
    pub found: Option<Found>,
}

impl Exploration {
    /// For tests: asserts that the search was complete, and that every property holds.
    ///
    /// # Panics
    /// When the search was not complete, or a property does not hold.
    #[track_caller]
    pub fn assert_all_hold(&self) {
        assert!(self.complete && self.found.is_none(), "{self}");
    }
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.complete {
            "all of"
        } else {
            "not all of"
        };
        writeln!(
            f,
            "{end} the schedules: {} executions, {} blocked, {} truncated; \
             {} steps, the deepest {}; {} worlds",
            self.executions, self.blocked, self.truncated, self.steps, self.deepest, self.worlds
        )?;
        if let Some(Found {
            violation,
            schedule,
        }) = &self.found
        {
            writeln!(f, "{violation}")?;
            for step in schedule {
                writeln!(f, "{step}")?;
            }
        }
        Ok(())
    }
}

/// The end of one execution.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The steps that led to it.
    pub schedule: &'a [Step],
    /// The verdicts.
    pub report: &'a Report,
}

impl Exhaustive {
    /// A search of every order of the steps, without crashes.
    pub fn new() -> Self {
        Exhaustive::default()
    }

    /// Allows at most this many crashes.
    #[must_use]
    pub fn crashes(mut self, most: usize) -> Self {
        self.crashes = most;
        self
    }

    /// Only these processes may crash, or omit messages.
    #[must_use]
    pub fn of(mut self, processes: ProcessSet) -> Self {
        self.mortal = Some(processes);
        self
    }

    /// Allows at most this many gaps: the stream from one process to another ends at any moment, and the next
    /// one opens and begins at any moment after that. Messages that have not arrived when the next stream
    /// opens are lost.
    #[must_use]
    pub fn gaps(mut self, most: usize) -> Self {
        self.gaps = most;
        self
    }

    /// Allows at most this many messages of this kind to be omitted, by at most this many processes, beside
    /// those that crash.
    #[must_use]
    pub fn omissions(mut self, kind: OmissionKind, messages: usize, processes: usize) -> Self {
        self.omissions = Some(OmissionBudget {
            kind,
            messages,
            processes,
        });
        self
    }

    /// Allows gaps only in these directions, from and to.
    #[must_use]
    pub fn along(mut self, ways: impl IntoIterator<Item = (ProcessId, ProcessId)>) -> Self {
        self.ways = Some(ways.into_iter().collect());
        self
    }

    /// Gives an execution up after this many steps (1,000 by default).
    #[must_use]
    pub fn depth(mut self, steps: usize) -> Self {
        self.depth = steps;
        self
    }

    /// Gives the search up after this many worlds (a million by default).
    #[must_use]
    pub fn executions(mut self, most: u64) -> Self {
        self.executions = most;
        self
    }

    /// Searches to a depth of one step, then of two, and so on up to the bound, so that the first violation
    /// found has a shortest schedule. Worlds and steps are counted over all depths, the other counts at the
    /// last depth.
    #[must_use]
    pub fn deepening(mut self) -> Self {
        self.deepening = true;
        self
    }

    /// Follows equivalent schedules, too: for properties that distinguish them, and to measure the effect of
    /// the reduction.
    #[must_use]
    pub fn without_reduction(mut self) -> Self {
        self.reduction = false;
        self
    }

    /// Distinguishes schedules in which an operation ends before another begins at another process: a step
    /// that makes a request, and a step with an indication to the application, are not exchanged.
    #[must_use]
    pub fn real_time(mut self) -> Self {
        self.real_time = true;
        self
    }

    /// Searches the schedules of the world that `build` makes, up to the first violation. `build` must make
    /// the same world every time, wired, with its requests planned (one process makes them in that order, at
    /// any time) and its properties given. The world's adversary has no influence.
    pub fn explore(&self, build: impl Fn() -> World) -> Exploration {
        self.search(build, &mut |end| end.report.violation().is_none())
    }

    /// Searches the schedules as [`explore`](Exhaustive::explore) does. `each` is called at the end of every
    /// execution that is complete or breaks a property, and returns whether to go on. If the search
    /// [deepens](Exhaustive::deepening), this happens again at every depth.
    pub fn search(
        &self,
        build: impl Fn() -> World,
        each: &mut dyn FnMut(End<'_>) -> bool,
    ) -> Exploration {
        let mut search = Search {
            bounds: self,
            depth: if self.deepening { 1 } else { self.depth },
            each,
            path: Vec::new(),
            sum: Exploration::default(),
            stopped: false,
        };
        loop {
            let is_through = search.search(&build);
            search.sum.complete = is_through && search.sum.truncated == 0;
            let is_bound = search.sum.deepest >= search.depth && search.depth < self.depth;
            if !is_through || search.sum.complete || !is_bound {
                return search.sum;
            }
            search.deepen();
        }
    }
}

/// A step, and its observed effects.
#[derive(Clone, Copy)]
struct Seen {
    step: Step,
    /// How many outputs the step has.
    outputs: u64,
    /// Whether the step has an indication to the application.
    tells: bool,
}

impl Seen {
    /// Whether one of the steps may begin an operation, and the other end one.
    fn is_in_real_time_with(self, other: Seen) -> bool {
        let begins = |seen: Seen| matches!(seen.step.act, Act::Request(_));
        (begins(self) && other.tells) || (begins(other) && self.tells)
    }
}

/// A state on the path: the steps that can be taken there, and those that must not be repeated.
struct Node {
    choices: Vec<Step>,
    /// The index of the choice that the path follows.
    place: usize,
    /// How many outputs the choice has, and whether it has an indication to the application, once it has been
    /// taken.
    outputs: u64,
    tells: bool,
    /// Steps that were explored before, in this state or on the way to it, and that commute with all steps
    /// since.
    asleep: Vec<Seen>,
}

impl Node {
    /// The choice that the path follows.
    fn seen(&self) -> Seen {
        Seen {
            step: self.choices[self.place],
            outputs: self.outputs,
            tells: self.tells,
        }
    }
}

struct Search<'a> {
    bounds: &'a Exhaustive,
    /// The present bound on the depth.
    depth: usize,
    each: &'a mut dyn FnMut(End<'_>) -> bool,
    path: Vec<Node>,
    sum: Exploration,
    stopped: bool,
}

impl Search<'_> {
    /// Searches to the present depth. Returns whether everything was tried.
    fn search(&mut self, build: &impl Fn() -> World) -> bool {
        while self.sum.worlds < self.bounds.executions {
            self.sum.worlds += 1;
            self.descend(&build().on_stage());
            if self.stopped {
                return false;
            }
            if !self.turn() {
                return true;
            }
        }
        false
    }

    /// Starts anew, one step deeper.
    fn deepen(&mut self) {
        self.depth += 1;
        self.sum = Exploration {
            steps: self.sum.steps,
            worlds: self.sum.worlds,
            found: self.sum.found.take(),
            ..Exploration::default()
        };
    }

    fn schedule(&self) -> Vec<Step> {
        let chosen = |node: &Node| node.choices[node.place];
        self.path.iter().map(chosen).collect()
    }

    fn crashes_left(&self) -> bool {
        crashed(&self.schedule()).len() < self.bounds.crashes
    }

    fn gaps_left(&self) -> bool {
        let schedule = self.schedule();
        let ends = schedule
            .iter()
            .filter(|step| matches!(step.act, Act::End { .. }));
        ends.count() < self.bounds.gaps
    }

    /// The omissions that are allowed at the end of the path.
    fn omissions(&self, world: &World) -> Vec<Step> {
        let Some(budget) = self.bounds.omissions else {
            return Vec::new();
        };
        let mortal = self.bounds.mortal;
        let may_fail = |step: &Step| match step.act {
            Act::Omit { by, .. } => mortal.is_none_or(|set| set.contains(by)),
            _ => false,
        };
        let steps = budget.rest(self.schedule().into_iter(), world.omittable(budget.kind));
        steps.filter(may_fail).collect()
    }

    /// Whether a gap is allowed on the stream that the step ends.
    fn is_open(&self, step: Step) -> bool {
        let ways = self.bounds.ways.as_ref();
        ways.is_none_or(
            |ways| matches!(step.act, Act::End { from, to } if ways.contains(&(from, to))),
        )
    }

    fn is_mortal(&self, step: Step) -> bool {
        let mortal = self.bounds.mortal;
        step.act
            .process()
            .is_some_and(|p| mortal.is_none_or(|set| set.contains(p)))
    }

    /// Follows the path, and extends it as long as steps can be taken.
    fn descend(&mut self, world: &World) {
        let replayed = self.path.len().saturating_sub(1);
        for node in &self.path[..replayed] {
            world.take_step(node.choices[node.place]);
        }
        if !self.path.is_empty() {
            self.take(world);
        }
        while !self.stopped && !self.is_over(world) {
            let node = self.arrive(world);
            if node.choices.is_empty() {
                self.sum.blocked += u64::from(!node.asleep.is_empty() && !world.is_complete());
                return;
            }
            self.path.push(node);
            self.take(world);
        }
    }

    /// Takes the choice at the end of the path for the first time. Its number of outputs is known then, and
    /// so the outputs before which a crash could strike.
    fn take(&mut self, world: &World) {
        let Some(step) = self.path.last().map(|node| node.choices[node.place]) else {
            return;
        };
        let taken = world.take_step(step).unwrap_or_default();
        let outputs = taken.outputs;
        self.sum.steps += 1;
        self.sum.deepest = self.sum.deepest.max(self.path.len());
        // A step without a crash leaves as many crashes as there were before it.
        let is_plain = step.crashed().is_none();
        let may_strike = is_plain && self.is_mortal(step) && self.crashes_left();
        if let Some(node) = self.path.last_mut() {
            (node.outputs, node.tells) = (outputs, taken.tells);
            let next = node.place + 1;
            let struck = inside(step, outputs).filter(|_| may_strike);
            node.choices.splice(next..next, struck);
        }
    }

    /// Judges the state at the end of the path. Returns whether the execution ends here.
    fn is_over(&mut self, world: &World) -> bool {
        let is_violated = world.is_violated();
        let is_complete = world.is_complete();
        if is_violated || is_complete {
            let report = world.report(is_complete);
            let schedule = self.schedule();
            self.sum.executions += 1;
            if let (Some(violation), None) = (report.violation(), &self.sum.found) {
                self.sum.found = Some(Found {
                    violation: violation.clone(),
                    schedule: schedule.clone(),
                });
            }
            let end = End {
                schedule: &schedule,
                report: &report,
            };
            self.stopped = !(self.each)(end);
        }
        let is_too_deep = !is_complete && self.path.len() >= self.depth;
        self.sum.truncated += u64::from(is_too_deep && !is_violated);
        is_violated || is_too_deep
    }

    /// Makes the node at the end of the path, with the steps that can be taken there.
    fn arrive(&mut self, world: &World) -> Node {
        let asleep = self.path.last().map_or_else(Vec::new, |node| {
            let (taken, bounds) = (node.seen(), self.bounds);
            let sleeps = |seen: &&Seen| {
                let in_order = bounds.real_time && seen.is_in_real_time_with(taken);
                bounds.reduction && !in_order && !seen.step.depends_on(taken.step)
            };
            node.asleep.iter().filter(sleeps).copied().collect()
        });
        let mut choices = world.enabled();
        let is_stuck = choices.is_empty() && !world.is_complete();
        self.sum.truncated += u64::from(is_stuck);
        choices.extend(world.losable());
        if self.crashes_left() {
            for Seen { step, outputs, .. } in &asleep {
                if step.crashed().is_none() && self.is_mortal(*step) {
                    choices.extend(inside(*step, *outputs));
                }
            }
            let alive = world.processes().filter(|p| world.is_alive(*p));
            let crashes = alive.map(|p| Step::from(Act::Crash(p)));
            choices.extend(crashes.filter(|step| self.is_mortal(*step)));
        }
        choices.extend(self.omissions(world));
        if self.gaps_left() {
            choices.extend(
                world
                    .endable()
                    .into_iter()
                    .filter(|step| self.is_open(*step)),
            );
        }
        choices.retain(|step| asleep.iter().all(|sleeper| sleeper.step != *step));
        Node {
            choices,
            place: 0,
            outputs: 0,
            tells: false,
            asleep,
        }
    }

    /// Turns to the next choice that was not tried yet. Returns `false` if there is none.
    fn turn(&mut self) -> bool {
        while let Some(mut node) = self.path.pop() {
            node.asleep.push(node.seen());
            node.place += 1;
            if node.place < node.choices.len() {
                self.path.push(node);
                return true;
            }
        }
        false
    }
}

/// The same step, cut short by a crash inside it.
fn inside(step: Step, outputs: u64) -> impl Iterator<Item = Step> {
    (2..=outputs).map(move |k| step.crashing_before(k))
}
