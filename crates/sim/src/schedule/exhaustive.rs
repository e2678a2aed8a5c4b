//! Every schedule of a small world: depth-first search by replay, without what commutes.
use super::step::{Act, Step, crashed};
use crate::{property::Violation, report::Report, world::World};
use quorate_core::{ProcessId, ProcessSet};
use std::{collections::BTreeSet, fmt};

/// The adversary that tries everything: every order of the steps, and every crash, loss and gap,
/// within bounds.
///
/// The search is stateless: each execution is a world of its own, made afresh and led along a
/// schedule. Schedules that differ only in the order of neighbouring steps which do not
/// [depend](Step::depends_on) on each other are *equivalent*: every process has the same history in
/// them. Sleep sets (Godefroid) see to it that of each class one schedule is followed to its end, and
/// that none is missed. What is checked should not tell equivalent schedules apart, and most properties
/// of this crate do not: each speaks of what one process does, of what one causes at another, or of
/// suspicions and crashes. Those of shared objects do: an operation that ends before another begins comes
/// first, at whatever process; for them there is [`real_time`](Exhaustive::real_time).
///
/// A crash may strike between any two steps, and inside a step before any output but the first (to
/// crash before the first is to crash before the step). Copies whose sender has crashed may be lost,
/// each by itself: a perfect link promises nothing for them.
#[derive(Clone, Debug)]
pub struct Exhaustive {
    crashes: usize,
    mortal: Option<ProcessSet>,
    gaps: usize,
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

/// What a search came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exploration {
    /// Complete executions: classes of equivalent schedules at whose end liveness was judged.
    pub executions: u64,
    /// Executions given up because all that could follow is followed elsewhere.
    pub blocked: u64,
    /// Executions that reached the bound on their depth, or could not go on though something is
    /// still waited for. Their liveness is unknown.
    pub truncated: u64,
    /// Different steps taken, those of replays not counted again.
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
    /// For tests: the search was complete, and every property holds.
    ///
    /// # Panics
    /// When it was not, or one does not.
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
    /// Every order of the steps; no crash.
    pub fn new() -> Self {
        Exhaustive::default()
    }

    /// …and at most so many crashes.
    #[must_use]
    pub fn crashes(mut self, most: usize) -> Self {
        self.crashes = most;
        self
    }

    /// …of these processes only.
    #[must_use]
    pub fn of(mut self, processes: ProcessSet) -> Self {
        self.mortal = Some(processes);
        self
    }

    /// …and at most so many gaps: the stream from one process to another ends, at any moment, and the next
    /// one opens and begins, at any moment after that. What has not arrived when the next one opens is lost.
    #[must_use]
    pub fn gaps(mut self, most: usize) -> Self {
        self.gaps = most;
        self
    }

    /// …on these ways, from and to, only.
    #[must_use]
    pub fn along(mut self, ways: impl IntoIterator<Item = (ProcessId, ProcessId)>) -> Self {
        self.ways = Some(ways.into_iter().collect());
        self
    }

    /// Gives an execution up after this many steps (1,000 unless told otherwise).
    #[must_use]
    pub fn depth(mut self, steps: usize) -> Self {
        self.depth = steps;
        self
    }

    /// Gives the search up after this many worlds (a million unless told otherwise).
    #[must_use]
    pub fn executions(mut self, most: u64) -> Self {
        self.executions = most;
        self
    }

    /// Searches to a depth of one step, then of two, and so on up to the bound: what is found first is
    /// as short as any. Worlds, and steps, are counted over all depths, the rest at the last one.
    #[must_use]
    pub fn deepening(mut self) -> Self {
        self.deepening = true;
        self
    }

    /// Follows equivalent schedules, too: for properties that tell them apart, and to see what the
    /// reduction saves.
    #[must_use]
    pub fn without_reduction(mut self) -> Self {
        self.reduction = false;
        self
    }

    /// Keeps schedules apart in which an operation ends before another begins at another process: a step
    /// that makes a request, and one that tells the application something, are not exchanged.
    #[must_use]
    pub fn real_time(mut self) -> Self {
        self.real_time = true;
        self
    }

    /// Searches the schedules of the world that `build` makes, up to the first violation. `build`
    /// must make the same world every time, wired, with its requests planned (one process makes them
    /// in that order, at any time) and its properties given; what its adversary would do is of no
    /// consequence.
    pub fn explore(&self, build: impl Fn() -> World) -> Exploration {
        self.search(build, &mut |end| end.report.violation().is_none())
    }

    /// Searches the schedules as [`explore`](Exhaustive::explore) does. `each` sees the end of every
    /// execution that is complete or breaks a property, and says whether to go on; of a search that
    /// [deepens](Exhaustive::deepening), at every depth again.
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

/// A step, and what it was seen to do.
#[derive(Clone, Copy)]
struct Seen {
    step: Step,
    /// How many outputs it has.
    outputs: u64,
    /// Whether it tells the application something.
    tells: bool,
}

impl Seen {
    /// Whether the one may begin an operation, and the other end one.
    fn is_in_real_time_with(self, other: Seen) -> bool {
        let begins = |seen: Seen| matches!(seen.step.act, Act::Request(_));
        (begins(self) && other.tells) || (begins(other) && self.tells)
    }
}

/// A state on the path: what can be done there, and what is not to be done again.
struct Node {
    choices: Vec<Step>,
    /// The choice that the path follows.
    place: usize,
    /// How many outputs the choice has, and whether the application is told something, once it has been
    /// taken.
    outputs: u64,
    tells: bool,
    /// What was done before, in this state or on the way to it, and commutes with all since.
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
    /// The bound on the depth, for now.
    depth: usize,
    each: &'a mut dyn FnMut(End<'_>) -> bool,
    path: Vec<Node>,
    sum: Exploration,
    stopped: bool,
}

impl Search<'_> {
    /// Searches to the depth of now; says whether all was tried.
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

    /// Whether the stream that the step ends is among those that may.
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

    /// Follows the path, and goes on from its end as far as there is something to do.
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

    /// Takes the choice at the end of the path for the first time. Now it is known how many outputs
    /// it has, and so before which ones a crash could strike.
    fn take(&mut self, world: &World) {
        let Some(step) = self.path.last().map(|node| node.choices[node.place]) else {
            return;
        };
        let taken = world.take_step(step).unwrap_or_default();
        let outputs = taken.outputs;
        self.sum.steps += 1;
        self.sum.deepest = self.sum.deepest.max(self.path.len());
        // A plain step leaves as many crashes as there were before it.
        let is_plain = step.crashed().is_none();
        let may_strike = is_plain && self.is_mortal(step) && self.crashes_left();
        if let Some(node) = self.path.last_mut() {
            (node.outputs, node.tells) = (outputs, taken.tells);
            let next = node.place + 1;
            let struck = inside(step, outputs).filter(|_| may_strike);
            node.choices.splice(next..next, struck);
        }
    }

    /// Judges the state at the end of the path; says whether the execution ends here.
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

    /// What can be done at the end of the path.
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

    /// Turns to the next thing that is yet to be tried; `false`: there is none.
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
