//! Leaving a group: GMP5 and GMP6 of group membership, VS11 and VS12 of view synchrony.
use super::{
    Properties,
    group_membership::{Joins, view},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, Observation, ProcessId, ProcessSet};
use std::collections::BTreeMap;

/// The two properties, under these tags.
///
/// With joins, a process that asks while it is outside, and has not asked to join, has not asked; one that asks while
/// it joins, or before its first view, is to leave once it has a view; whoever is excluded need not be told anything
/// more; and a process leaves only if its view has a majority without it.
pub(super) fn leaving(
    tags: [&'static str; 2],
    processes: &Membership,
    module: &str,
    joins: Joins,
) -> Properties {
    let property = |(which, tag)| {
        Box::new(Leaving {
            which,
            tag,
            joins,
            majority: processes.majority(),
            watch: Watch::new(module),
            alive: processes.set(),
            asked: BTreeMap::new(),
            excluded: ProcessSet::EMPTY,
            left: BTreeMap::new(),
            rejoining: ProcessSet::EMPTY,
            broadcasts: BTreeMap::new(),
            present: BTreeMap::new(),
            known: BTreeMap::new(),
        }) as Box<dyn Property>
    };
    let all = [Which::Leaving, Which::NoReturn];
    all.into_iter().zip(tags).map(property).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Who asks to leave is told, and leaves the views of the others.
    Leaving,
    /// Who is told has asked, and installs no view any more.
    NoReturn,
}

/// The broadcasts of a process: how many it was asked for, and how many it has delivered itself.
#[derive(Clone, Copy, Default)]
struct Broadcasts {
    requested: u64,
    delivered: u64,
}

struct Leaving {
    which: Which,
    tag: &'static str,
    joins: Joins,
    majority: usize,
    watch: Watch,
    alive: ProcessSet,
    /// The processes that have asked to leave, each with the number of broadcasts that it had been asked for.
    asked: BTreeMap<ProcessId, u64>,
    /// The processes that were told that they are excluded, and have installed no view since.
    excluded: ProcessSet,
    /// The processes that were told that they have left, and have installed no view since: the view without
    /// them.
    left: BTreeMap<ProcessId, u64>,
    /// The processes that are excluded or have left, and have asked to join since.
    rejoining: ProcessSet,
    broadcasts: BTreeMap<ProcessId, Broadcasts>,
    /// The last view of each process.
    present: BTreeMap<ProcessId, (u64, ProcessSet)>,
    /// The members of each view that some live process may still install, or be told of.
    known: BTreeMap<u64, ProcessSet>,
}

impl Leaving {
    /// What happens at a process that lives, in words if it breaks the property of who is told.
    fn happens(&mut self, p: ProcessId, observation: &Observation) -> Option<String> {
        match observation.label {
            "Excluded" => {
                self.excluded.insert(p);
                self.rejoining.remove(p);
                self.asked.remove(&p);
                None
            }
            "Left" => self.leave(p, observation.instance.unwrap_or(0)),
            "View" => self.install(p, view(observation)),
            "Deliver" => {
                let origin = observation.message.map(|id| id.origin.process);
                if origin == Some(p) {
                    self.broadcasts.entry(p).or_default().delivered += 1;
                }
                None
            }
            _ => None,
        }
    }

    fn is_outside(&self, p: ProcessId) -> bool {
        self.excluded.contains(p) || self.left.contains_key(&p)
    }

    fn ask(&mut self, p: ProcessId) {
        if !self.is_outside(p) || self.rejoining.contains(p) {
            let requested = self.broadcasts.get(&p).map_or(0, |it| it.requested);
            self.asked.entry(p).or_insert(requested);
        }
    }

    /// A process that is outside asks to be a member again: an earlier wish to leave is over.
    fn join(&mut self, p: ProcessId) {
        let is_first = self.is_outside(p) && !self.rejoining.contains(p);
        if self.joins == Joins::Allowed && is_first {
            self.asked.remove(&p);
            self.rejoining.insert(p);
        }
    }

    fn leave(&mut self, p: ProcessId, id: u64) -> Option<String> {
        self.left.insert(p, id);
        self.rejoining.remove(p);
        let Some(requested) = self.asked.get(&p) else {
            return Some(format!("{p} is told that it has left, and did not ask"));
        };
        let delivered = self.broadcasts.get(&p).map_or(0, |it| it.delivered);
        if delivered < *requested {
            return Some(format!(
                "{p} is told that it has left, and has not delivered {p}.{}, its own",
                delivered + 1
            ));
        }
        self.misinformed(p)
    }

    fn install(&mut self, p: ProcessId, (id, members): (u64, ProcessSet)) -> Option<String> {
        self.excluded.remove(p);
        let has_left = self.left.remove(&p).is_some();
        self.present.insert(p, (id, members));
        self.known.insert(id, members);
        self.trim();
        let has_asked = self.rejoining.contains(p);
        self.rejoining.remove(p);
        if has_left && !has_asked {
            return Some(format!("{p} installs {id} after it has left"));
        }
        self.left.keys().find_map(|p| self.misinformed(*p))
    }

    /// The error if this process was told of a view without it that has it.
    fn misinformed(&self, p: ProcessId) -> Option<String> {
        let id = self.left.get(&p)?;
        let members = self.known.get(id)?;
        members
            .contains(p)
            .then(|| format!("{p} is told that it has left in {id}, which has it as a member"))
    }

    /// Forgets the views that every live process has passed that has not left.
    fn trim(&mut self) {
        let is_in = |p: &ProcessId| !self.is_outside(*p);
        let last = |p| self.present.get(&p).map(|(id, _)| *id);
        let passed = self.alive.iter().filter(is_in).map(last).min().flatten();
        self.known.retain(|id, _| Some(*id) >= passed);
    }

    /// A correct process that has asked, has a view, and is not told, though enough others would remain.
    fn untold(&self, correct: ProcessSet) -> Option<String> {
        let asked = self.asked.keys().filter(|p| correct.contains(**p));
        let mut waiting = asked.filter(|p| !self.is_outside(**p));
        let may_leave = |p: &&ProcessId| {
            let members = self.present.get(p).map_or(0, |(_, members)| members.len());
            self.joins == Joins::Never || members > self.majority
        };
        let p = waiting.find(may_leave)?;
        Some(format!("{p} asked to leave, and is never told"))
    }

    /// A correct process that has left, and another in whose view it is.
    fn ghost(&self, correct: ProcessSet) -> Option<String> {
        let is_in = |p: &ProcessId| !self.is_outside(*p);
        let gone: ProcessSet = self.left.keys().copied().collect();
        correct.iter().filter(is_in).find_map(|q| {
            let (_, members) = self.present.get(&q)?;
            let mut ghosts = members.iter().filter(|p| gone.contains(*p));
            let p = ghosts.find(|p| correct.contains(*p))?;
            Some(format!("{p} asked to leave, and stays in the view of {q}"))
        })
    }

    fn crash(&mut self, p: ProcessId) {
        self.alive.remove(p);
        self.asked.remove(&p);
        self.broadcasts.remove(&p);
        self.left.remove(&p);
        self.excluded.remove(p);
        self.rejoining.remove(p);
        self.present.remove(&p);
    }
}

impl Property for Leaving {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let p = record.process;
        let mut broken = None;
        if record.kind == Kind::Crash {
            self.crash(p);
        } else if self.watch.request(record, "Leave").is_some() {
            self.ask(p);
        } else if self.watch.request(record, "Broadcast").is_some() {
            self.broadcasts.entry(p).or_default().requested += 1;
        } else if self.watch.request(record, "Join").is_some() {
            self.join(p);
        } else {
            for label in ["View", "Left", "Excluded", "Deliver"] {
                if let Some((p, observation)) = self.watch.indication(record, label) {
                    broken = self.happens(p, observation);
                }
            }
        }
        match broken {
            Some(text) if self.which == Which::NoReturn => Err(violation(self.tag, record, text)),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        match self.which {
            Which::Leaving => {
                let broken = self.untold(correct).or_else(|| self.ghost(correct));
                completion.judge(self.tag, broken)
            }
            Which::NoReturn => Verdict::Holds,
        }
    }
}
