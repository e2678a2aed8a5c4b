//! Consensus, regular and uniform, in many instances.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, ProcessId, ProcessSet, watermark::Watermark};
use std::collections::{BTreeMap, BTreeSet};

/// UC1–4 of the modules of this name.
pub fn consensus(processes: &Membership, module: &str) -> Properties {
    family(*processes, module, true, None)
}

/// UC1–4 of the modules of this name. Here UC4 says that each process of `returning` that proposes decides,
/// whichever others propose.
pub fn consensus_at(processes: &Membership, module: &str, returning: ProcessSet) -> Properties {
    family(*processes, module, true, Some(returning))
}

/// C1–4 of the modules of this name: agreement binds correct processes only.
pub fn regular_consensus(processes: &Membership, module: &str) -> Properties {
    family(*processes, module, false, None)
}

fn family(
    processes: Membership,
    module: &str,
    uniform: bool,
    returning: Option<ProcessSet>,
) -> Properties {
    [
        Which::Validity,
        Which::Agreement,
        Which::Integrity,
        Which::Termination,
    ]
    .map(|which| {
        Box::new(Consensus {
            which,
            uniform,
            returning,
            watch: Watch::new(module),
            alive: processes.set(),
            decided: BTreeMap::new(),
            instances: BTreeMap::new(),
            disputed: BTreeMap::new(),
            finished: Watermark::default(),
        }) as Box<dyn Property>
    })
    .into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Validity,
    Agreement,
    Integrity,
    Termination,
}

#[derive(Default)]
struct Instance {
    proposed: BTreeSet<u64>,
    proposers: ProcessSet,
    decisions: BTreeMap<ProcessId, u64>,
    deciders: ProcessSet,
}

impl Instance {
    /// Two of these processes that have decided differently.
    fn dispute(&self, among: ProcessSet) -> Option<(ProcessId, ProcessId)> {
        let mut decisions = self.decisions.iter().filter(|(p, _)| among.contains(**p));
        let (p, value) = decisions.next()?;
        let (q, _) = decisions.find(|(_, other)| *other != value)?;
        Some((*p, *q))
    }
}

struct Consensus {
    which: Which,
    uniform: bool,
    /// The processes at which termination is promised, whichever others propose. `None`: at all processes, if
    /// all propose.
    returning: Option<ProcessSet>,
    watch: Watch,
    alive: ProcessSet,
    /// For each process, the instances in which it has decided.
    decided: BTreeMap<ProcessId, Watermark>,
    instances: BTreeMap<u64, Instance>,
    /// Finished instances with different decisions. Whether they break regular agreement depends on which
    /// processes are correct in the end.
    disputed: BTreeMap<u64, Instance>,
    /// Instances in which every live process has decided. Nothing about them is needed any more.
    finished: Watermark,
}

impl Consensus {
    /// The error in this decision, if there is one.
    fn decide(&mut self, p: ProcessId, number: u64, value: u64) -> Option<String> {
        let first = self.decided.entry(p).or_default().insert(number);
        if self.which == Which::Integrity {
            return (!first).then(|| format!("{p} decides twice in instance {number}"));
        }
        if self.finished.contains(number) {
            return None;
        }
        let instance = self.instances.entry(number).or_default();
        instance.deciders.insert(p);
        instance.decisions.insert(p, value);
        let differs = instance.decisions.values().any(|other| *other != value);
        let broken = match self.which {
            Which::Validity if !instance.proposed.contains(&value) => Some(format!(
                "{p} decides in instance {number} what nobody proposed there"
            )),
            Which::Agreement if self.uniform && differs => Some(format!(
                "{p} decides in instance {number} otherwise than another"
            )),
            _ => None,
        };
        if self.alive.is_subset(instance.deciders) {
            let finished = self.instances.remove(&number);
            self.finished.insert(number);
            self.disputed.extend(
                finished
                    .filter(|instance| instance.dispute(self.alive).is_some())
                    .map(|instance| (number, instance)),
            );
        }
        broken
    }
}

impl Property for Consensus {
    fn tag(&self) -> &'static str {
        match (self.which, self.uniform) {
            (Which::Validity, true) => "UC1",
            (Which::Agreement, true) => "UC2",
            (Which::Integrity, true) => "UC3",
            (Which::Termination, true) => "UC4",
            (Which::Validity, false) => "C1",
            (Which::Agreement, false) => "C2",
            (Which::Integrity, false) => "C3",
            (Which::Termination, false) => "C4",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, observation)) = self.watch.request(record, "Propose") {
            let number = observation.instance.unwrap_or(1);
            if !self.finished.contains(number) {
                let instance = self.instances.entry(number).or_default();
                instance.proposed.insert(observation.digest);
                instance.proposers.insert(p);
            }
        } else if let Some((p, observation)) = self.watch.indication(record, "Decide") {
            let number = observation.instance.unwrap_or(1);
            if let Some(text) = self.decide(p, number, observation.digest) {
                return Err(violation(self.tag(), record, text));
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        match self.which {
            Which::Validity | Which::Integrity => Verdict::Holds,
            Which::Agreement if self.uniform => Verdict::Holds,
            Which::Agreement => {
                let mut instances = self.instances.iter().chain(&self.disputed);
                let broken = instances.find_map(|(number, instance)| {
                    let (p, q) = instance.dispute(correct)?;
                    Some(format!(
                        "{p} and {q} decide differently in instance {number}"
                    ))
                });
                // A process that decided differently may still turn out to be faulty, unless the run is over.
                completion.judge(self.tag(), broken)
            }
            Which::Termination => {
                let broken = self.instances.iter().find_map(|(number, instance)| {
                    let owed = match self.returning {
                        Some(returning) => correct
                            .intersection(returning)
                            .intersection(instance.proposers),
                        None if correct.is_subset(instance.proposers) => correct,
                        None => ProcessSet::EMPTY,
                    };
                    let p = owed.without(instance.deciders).iter().next()?;
                    Some(format!("{p} never decides in instance {number}"))
                });
                completion.judge(self.tag(), broken)
            }
        }
    }
}
