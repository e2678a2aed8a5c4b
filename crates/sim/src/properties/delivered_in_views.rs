//! What processes have delivered in their views: VS6 and VS9.
use super::{delivered::Delivered, group_membership::view, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{
    Membership, Observation, ProcessId, ProcessSet,
    message::{Origin, fold},
};
use std::collections::{BTreeMap, BTreeSet};

/// What a correct process that stays in the group broadcasts, every correct process that stays delivers in
/// the same view: the origin itself, the others in a view that has ended, and the others in the last view.
pub(super) fn validity(
    tag: &'static str,
    processes: &Membership,
    module: &str,
) -> Box<dyn Property> {
    Box::new(Validity {
        tag,
        watch: Watch::new(module),
        requested: BTreeMap::new(),
        delivered: Delivered::default(),
        excluded: ProcessSet::EMPTY,
        in_views: InViews::new(processes, module),
        conflicts: BTreeMap::new(),
    })
}

/// What one process has delivered in a view, all have delivered there that pass from it to a later one, and
/// all that join with a state of it; and in the end, the correct processes that are still in it.
pub(super) fn agreement(
    tag: &'static str,
    processes: &Membership,
    module: &str,
) -> Box<dyn Property> {
    Box::new(Agreement {
        tag,
        in_views: InViews::new(processes, module),
    })
}

/// For each origin, how many of its messages were delivered, and the sum of their digests. Sets of the same
/// messages have equal sums, whatever the order of delivery.
type Sums = BTreeMap<Origin, (u64, u64)>;

fn add(sums: &mut Sums, origin: Origin, (count, digest): (u64, u64)) {
    let (known, sum) = sums.entry(origin).or_default();
    *known += count;
    *sum = sum.wrapping_add(digest);
}

/// An origin of which the two have delivered different messages, and the two counts.
fn difference(mine: &Sums, theirs: &Sums) -> Option<(ProcessId, u64, u64)> {
    let mut origins = mine.keys().chain(theirs.keys());
    let origin = origins.find(|origin| mine.get(origin) != theirs.get(origin))?;
    let count = |sums: &Sums| sums.get(origin).map_or(0, |(count, _)| *count);
    Some((origin.process, count(mine), count(theirs)))
}

/// The part of these sums that is about messages of `p`.
fn of(p: ProcessId, sums: &Sums) -> Sums {
    let of_p = sums.iter().filter(|(origin, _)| origin.process == p);
    of_p.map(|(origin, sum)| (*origin, *sum)).collect()
}

/// A process that joins: the states that may be the one that it has got, each with its view, and what it has
/// delivered since then.
struct Joining {
    states: Vec<(u64, Sums)>,
    since: Sums,
}

/// The messages that each process has delivered in its present view, and those that it had delivered in an
/// earlier one that another live process may still be in.
struct InViews {
    watch: Watch,
    /// The live processes that were in no view yet, and were not told that they are outside.
    unborn: ProcessSet,
    /// The live processes that were told that they are outside or have left, and have installed no view since.
    outside: ProcessSet,
    /// For each process, its last view, and what it has delivered there. A process that is outside is not in
    /// any.
    present: BTreeMap<ProcessId, (u64, Sums)>,
    /// For each view, what the processes had delivered there that have left it for a later one, or have left the
    /// group.
    left: BTreeMap<u64, BTreeMap<ProcessId, Sums>>,
    /// For each digest of a state that a member has given: the views, and what it had delivered there.
    states: BTreeMap<u64, Vec<(u64, Sums)>>,
    /// The digests of states that were given and are forgotten.
    forgotten: BTreeSet<u64>,
    joining: BTreeMap<ProcessId, Joining>,
}

/// While a process is outside, this many views before the last one are remembered for it.
const KEPT: u64 = 64;

/// What a record says about the views.
enum Step {
    /// The process has left this view for a later one.
    Left(ProcessId, u64),
    /// The process has joined in the view after this one.
    Joined(ProcessId, u64),
    /// The process goes on from a state that no member has given.
    StrangeState(ProcessId),
}

impl InViews {
    fn new(processes: &Membership, module: &str) -> Self {
        InViews {
            watch: Watch::new(module),
            unborn: processes.set(),
            outside: ProcessSet::EMPTY,
            present: BTreeMap::new(),
            left: BTreeMap::new(),
            states: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            joining: BTreeMap::new(),
        }
    }

    fn observe(&mut self, record: &Record) -> Option<Step> {
        let p = record.process;
        if record.kind == Kind::Crash {
            self.leave(p);
            self.outside.remove(p);
            self.trim();
        } else if let Some((_, observation)) = self.watch.request(record, "State") {
            self.give(p, observation);
        } else if let Some((_, observation)) = self.watch.indication(record, "View") {
            return self.install(p, view(observation).0);
        } else if let Some((_, observation)) = self.watch.indication(record, "State") {
            return self.take(p, observation.digest);
        } else if let Some((_, observation)) = self.watch.indication(record, "Deliver") {
            self.deliver(p, observation);
        } else if self.watch.indication(record, "Excluded").is_some() {
            self.leave(p);
            self.outside.insert(p);
        } else if self.watch.indication(record, "Left").is_some() {
            return self.leave_group(p);
        }
        None
    }

    /// The process has left the group: its last view has ended for it.
    fn leave_group(&mut self, p: ProcessId) -> Option<Step> {
        let last = self.present.get(&p).cloned();
        self.leave(p);
        self.outside.insert(p);
        let (view, sums) = last?;
        self.left.entry(view).or_default().insert(p, sums);
        Some(Step::Left(p, view))
    }

    /// The process is outside, or has crashed.
    fn leave(&mut self, p: ProcessId) {
        self.unborn.remove(p);
        self.present.remove(&p);
        self.joining.remove(&p);
    }

    fn deliver(&mut self, p: ProcessId, observation: &Observation) {
        let joining = self.joining.get_mut(&p).map(|joining| &mut joining.since);
        let sums = joining.or_else(|| self.present.get_mut(&p).map(|(_, sums)| sums));
        if let (Some(sums), Some(id)) = (sums, observation.message) {
            add(sums, id.origin, (1, fold(1, id.sequence)));
        }
    }

    /// A member gives its state to processes that want to be in the view after its own.
    fn give(&mut self, p: ProcessId, observation: &Observation) {
        if let Some((present, sums)) = self.present.get(&p)
            && observation.instance == Some(*present)
        {
            let states = self.states.entry(observation.digest).or_default();
            states.push((*present, sums.clone()));
        }
    }

    /// A process that joins goes on from this state.
    fn take(&mut self, p: ProcessId, digest: u64) -> Option<Step> {
        let states = self.states.get(&digest).cloned().unwrap_or_default();
        let is_strange = states.is_empty() && !self.forgotten.contains(&digest);
        self.present.remove(&p);
        let since = Sums::new();
        self.joining.insert(p, Joining { states, since });
        is_strange.then_some(Step::StrangeState(p))
    }

    fn install(&mut self, p: ProcessId, id: u64) -> Option<Step> {
        self.unborn.remove(p);
        self.outside.remove(p);
        let joined = self.joining.remove(&p);
        let has_joined = joined.is_some();
        let before = match joined {
            Some(joining) => self.covered(joining, id),
            None => self.present.get(&p).cloned(),
        };
        self.present.insert(p, (id, Sums::new()));
        let Some((view, sums)) = before else {
            self.trim();
            return None;
        };
        self.left.entry(view).or_default().insert(p, sums);
        Some(if has_joined {
            Step::Joined(p, view)
        } else {
            Step::Left(p, view)
        })
    }

    /// What a process that joins in this view knows of the one before: its state, and what it has delivered
    /// since. Several states may look alike; then the one counts that agrees with the others. If none does, each of
    /// them disagrees.
    fn covered(&self, joining: Joining, id: u64) -> Option<(u64, Sums)> {
        let view = id.checked_sub(1)?;
        let states = joining.states.into_iter().filter(|(of, _)| *of == view);
        let covered: BTreeSet<Sums> = states
            .map(|(_, mut sums)| {
                for (origin, sum) in &joining.since {
                    add(&mut sums, *origin, *sum);
                }
                sums
            })
            .collect();
        let others = self.left.get(&view).and_then(|left| left.values().next());
        let agreeing = others.filter(|sums| covered.contains(*sums)).cloned();
        let is_certain = covered.len() == 1 || others.is_some();
        let first = covered.into_iter().next().filter(|_| is_certain);
        agreeing.or(first).map(|sums| (view, sums))
    }

    /// Forgets the views that every live process has left.
    fn trim(&mut self) {
        let views = || self.present.values().map(|(view, _)| *view);
        let (Some(first), Some(last)) = (views().min(), views().max()) else {
            return;
        };
        let is_awaited = !self.unborn.union(self.outside).is_empty();
        let oldest = if is_awaited {
            first.min(last.saturating_sub(KEPT))
        } else {
            first
        };
        self.left.retain(|view, _| *view >= oldest);
        for (digest, states) in &mut self.states {
            states.retain(|(view, _)| *view >= oldest);
            if states.is_empty() {
                self.forgotten.insert(*digest);
            }
        }
        self.states.retain(|_, states| !states.is_empty());
    }

    /// What these processes have delivered in the views that one of them is still in: those that are in it,
    /// and those that have left it for a later one.
    fn in_last_views(&self, among: ProcessSet) -> Vec<(u64, Vec<(ProcessId, &Sums)>)> {
        let present = || self.present.iter().filter(|(p, _)| among.contains(**p));
        let mut views: Vec<u64> = present().map(|(_, (view, _))| *view).collect();
        views.sort_unstable();
        views.dedup();
        let of_view = |view: u64| {
            let still = present().filter(move |(_, (of, _))| *of == view);
            let still = still.map(|(p, (_, sums))| (*p, sums));
            let left = self.left.get(&view).into_iter().flatten();
            let left = left.map(|(p, sums)| (*p, sums));
            let all = still.chain(left).filter(|(p, _)| among.contains(*p));
            (view, all.collect())
        };
        views.into_iter().map(of_view).collect()
    }
}

struct Validity {
    tag: &'static str,
    watch: Watch,
    requested: BTreeMap<ProcessId, u64>,
    delivered: Delivered,
    excluded: ProcessSet,
    in_views: InViews,
    /// A process, and another that lacks one of its messages of a view that both have left. Whether that
    /// breaks the property depends on which processes are correct in the end.
    conflicts: BTreeMap<(ProcessId, ProcessId), String>,
}

impl Validity {
    /// The process has left this view: compares it with those that have left it before.
    fn compare(&mut self, p: ProcessId, view: u64) {
        let left = self.in_views.left.get(&view);
        let Some((left, mine)) = left.and_then(|left| Some((left, left.get(&p)?))) else {
            return;
        };
        for (q, theirs) in left.iter().filter(|(q, _)| **q != p) {
            for (origin, at_origin, other, at_other) in
                [(p, mine, *q, theirs), (*q, theirs, p, mine)]
            {
                let differ = difference(&of(origin, at_origin), &of(origin, at_other));
                if let Some((_, own, others)) = differ {
                    let text = format!(
                        "{origin} delivered {own} messages of its own in {view}, which has ended, \
                         {other} {others}, or others than these"
                    );
                    self.conflicts.entry((origin, other)).or_insert(text);
                }
            }
        }
    }

    /// A correct member that does not deliver a message of its own.
    fn undelivered(&self, members: ProcessSet) -> Option<String> {
        members.iter().find_map(|p| {
            let requested = self.requested.get(&p).copied().unwrap_or(0);
            let low = self.delivered.low_of(p, p);
            let next = low + 1;
            (low < requested).then(|| format!("{p} never delivers {p}.{next}, its own"))
        })
    }

    /// A correct process that lacks a message of another in the last view of one of them.
    fn lacking(&self, correct: ProcessSet) -> Option<String> {
        let views = self.in_views.in_last_views(correct);
        views.iter().find_map(|(view, all)| {
            all.iter().find_map(|(p, own)| {
                let own = of(*p, own);
                all.iter().find_map(|(q, theirs)| {
                    let (_, own, others) = difference(&own, &of(*p, theirs))?;
                    Some(format!(
                        "in the end {p} has delivered {own} messages of its own in {view}, {q} \
                         {others}, or others than these"
                    ))
                })
            })
        })
    }
}

impl Property for Validity {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            let crashed = record.process;
            self.conflicts
                .retain(|(p, q), _| *p != crashed && *q != crashed);
        } else if let Some((p, _)) = self.watch.request(record, "Broadcast") {
            *self.requested.entry(p).or_default() += 1;
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver")
            && let Some(id) = observation.message
        {
            self.delivered.insert(p, id);
        } else if let Some((p, _)) = self.watch.indication(record, "Excluded") {
            self.excluded.insert(p);
        } else if let Some((p, _)) = self.watch.indication(record, "Left") {
            self.excluded.insert(p);
        } else if let Some((p, _)) = self.watch.indication(record, "View") {
            self.excluded.remove(p);
        }
        match self.in_views.observe(record) {
            Some(Step::Left(p, view)) => {
                self.compare(p, view);
                self.in_views.trim();
            }
            Some(Step::Joined(..)) => self.in_views.trim(),
            Some(Step::StrangeState(_)) | None => {}
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        let ended = || {
            let mut conflicts = self.conflicts.iter();
            let both = |((p, q), _): &(&(ProcessId, ProcessId), &String)| {
                correct.contains(*p) && correct.contains(*q)
            };
            conflicts.find(both).map(|(_, text)| text.clone())
        };
        let broken = self.undelivered(correct.without(self.excluded));
        let broken = broken.or_else(ended).or_else(|| self.lacking(correct));
        completion.judge(self.tag, broken)
    }
}

struct Agreement {
    tag: &'static str,
    in_views: InViews,
}

impl Agreement {
    /// The difference between this process, which has left the view, and another that has left it before.
    fn disagreement(&self, p: ProcessId, view: u64) -> Option<(ProcessId, u64, ProcessId, u64)> {
        let left = self.in_views.left.get(&view)?;
        let mine = left.get(&p)?;
        let (q, theirs) = left.iter().find(|(q, _)| **q != p)?;
        let (origin, mine, theirs) = difference(mine, theirs)?;
        Some((origin, mine, *q, theirs))
    }
}

impl Property for Agreement {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let broken = match self.in_views.observe(record) {
            None => None,
            Some(Step::StrangeState(p)) => {
                Some(format!("{p} joins with a state that no member has given"))
            }
            Some(Step::Left(p, view)) => self.disagreement(p, view).map(|found| {
                let (origin, mine, q, theirs) = found;
                format!(
                    "{p} delivered {mine} messages of {origin} in {view}, which it has left, {q} \
                     {theirs}, or others than these"
                )
            }),
            Some(Step::Joined(p, view)) => self.disagreement(p, view).map(|found| {
                let (origin, mine, q, theirs) = found;
                format!(
                    "{p} joins, and knows of {mine} messages of {origin} in {view}, {q} of {theirs}, or \
                     of others than these"
                )
            }),
        };
        self.in_views.trim();
        broken.map_or(Ok(()), |text| Err(violation(self.tag, record, text)))
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let views = self.in_views.in_last_views(completion.correct);
        let broken = views.iter().find_map(|(view, all)| {
            let (p, mine) = all.first()?;
            all.iter().find_map(|(q, theirs)| {
                let (origin, mine, theirs) = difference(mine, theirs)?;
                Some(format!(
                    "in the end {p} has delivered {mine} messages of {origin} in {view}, {q} {theirs}, \
                     or others than these"
                ))
            })
        });
        completion.judge(self.tag, broken)
    }
}
