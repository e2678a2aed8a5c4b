//! Group membership: the views that processes install.
use super::{Properties, leaving::leaving, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, Observation, ProcessId, ProcessSet};
use std::collections::BTreeMap;

/// GMP1–6 of the modules of this name: the views that processes of rank up to 64 install.
pub fn group_membership(processes: &Membership, module: &str) -> Properties {
    let tags = ["GMP1", "GMP2", "GMP3", "GMP4"];
    let mut properties = family(tags, *processes, module, Joins::Never);
    properties.extend(leaving(["GMP5", "GMP6"], processes, module, Joins::Never));
    properties
}

/// Whether processes join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joins {
    Never,
    /// Processes join: a view may have members that the one before lacks, and may lack live processes.
    Allowed,
}

/// The four properties, under these tags.
pub(super) fn family(
    tags: [&'static str; 4],
    processes: Membership,
    module: &str,
    joins: Joins,
) -> Properties {
    let all = [
        Which::Monotonicity,
        Which::Agreement,
        Which::Completeness,
        Which::Accuracy,
    ];
    let property = |(which, tag)| {
        Box::new(Views {
            which,
            tag,
            joins,
            watch: Watch::new(module),
            processes: processes.set(),
            alive: processes.set(),
            crashed: ProcessSet::EMPTY,
            told: ProcessSet::EMPTY,
            leaving: ProcessSet::EMPTY,
            present: BTreeMap::new(),
            known: BTreeMap::new(),
        }) as Box<dyn Property>
    };
    all.into_iter().zip(tags).map(property).collect()
}

/// The identifier and the members of a view that an indication is about.
pub(super) fn view(observation: &Observation) -> (u64, ProcessSet) {
    let members = ProcessSet::of_low_bits(observation.digest);
    (observation.instance.unwrap_or(0), members)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Monotonicity,
    Agreement,
    Completeness,
    Accuracy,
}

struct Views {
    which: Which,
    tag: &'static str,
    watch: Watch,
    processes: ProcessSet,
    alive: ProcessSet,
    joins: Joins,
    crashed: ProcessSet,
    /// The processes that were told that they are excluded or have left, and have installed no view since.
    told: ProcessSet,
    /// The processes that have asked to leave.
    leaving: ProcessSet,
    /// The last view of each process.
    present: BTreeMap<ProcessId, (u64, ProcessSet)>,
    /// The members of each view that some live process may still install.
    known: BTreeMap<u64, ProcessSet>,
}

impl Views {
    /// The error in this view at `p`, if there is one.
    fn install(&mut self, p: ProcessId, id: u64, members: ProcessSet) -> Option<String> {
        let before = self.present.insert(p, (id, members));
        match self.which {
            Which::Monotonicity => {
                let (last, larger) = before?;
                let new = members.without(larger).iter().next();
                match new.filter(|_| self.joins == Joins::Never) {
                    _ if id <= last => Some(format!("{p} installs {id} after {last}")),
                    Some(q) => Some(format!(
                        "{p} installs {id} with {q}, which is not in {last}"
                    )),
                    None => None,
                }
            }
            Which::Agreement => {
                let other = *self.known.entry(id).or_insert(members);
                self.trim();
                let differs = other != members;
                differs.then(|| format!("{p} installs {id} {members:?}, another {other:?}"))
            }
            Which::Accuracy if self.joins == Joins::Allowed => None,
            Which::Accuracy => {
                let missing = self.processes.without(members).without(self.crashed);
                let q = missing.without(self.leaving).iter().next()?;
                Some(format!(
                    "{p} installs {id} without {q}, which lives and did not ask to leave"
                ))
            }
            Which::Completeness => None,
        }
    }

    /// Forgets the views that every live process has passed.
    fn trim(&mut self) {
        let last = |p| self.present.get(&p).map(|(id, _)| *id);
        let passed = self.alive.iter().map(last).min().flatten();
        self.known.retain(|id, _| Some(*id) >= passed);
    }

    /// A correct process that believes itself a member, but is not in the last view.
    fn untold(&self, correct: ProcessSet) -> Option<String> {
        let view = |p| self.present.get(&p).copied();
        let (last, _) = correct.iter().filter_map(view).max_by_key(|(id, _)| *id)?;
        let members = correct.without(self.told);
        let p = members
            .iter()
            .find(|p| view(*p).is_some_and(|(id, _)| id < last))?;
        Some(format!("{p} is not told of {last}"))
    }

    /// A crashed process that is in the last view of a correct one.
    fn ghost(&self, correct: ProcessSet) -> Option<String> {
        correct.without(self.told).iter().find_map(|p| {
            let present = self.present.get(&p);
            let members = present.map_or(self.processes, |(_, members)| *members);
            let mut ghosts = self.crashed.iter().filter(|q| members.contains(*q));
            let q = ghosts.next()?;
            Some(format!("{q} has crashed, and stays in the view of {p}"))
        })
    }
}

impl Property for Views {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.crashed.insert(record.process);
            self.alive.remove(record.process);
        } else if let Some((p, observation)) = self.watch.indication(record, "View") {
            let (id, members) = view(observation);
            self.told.remove(p);
            if let Some(text) = self.install(p, id, members) {
                return Err(violation(self.tag, record, text));
            }
        } else if let Some((p, _)) = self.watch.indication(record, "Excluded") {
            self.told.insert(p);
        } else if let Some((p, _)) = self.watch.indication(record, "Left") {
            self.told.insert(p);
        } else if let Some((p, _)) = self.watch.request(record, "Leave") {
            self.leaving.insert(p);
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        match self.which {
            Which::Completeness => {
                let ghost = self.ghost(completion.correct);
                completion.judge(self.tag, ghost)
            }
            Which::Accuracy if self.joins == Joins::Allowed => {
                completion.judge(self.tag, self.untold(completion.correct))
            }
            Which::Monotonicity | Which::Agreement | Which::Accuracy => Verdict::Holds,
        }
    }
}
