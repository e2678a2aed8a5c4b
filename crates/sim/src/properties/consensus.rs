//! Uniform consensus, in many instances.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, ProcessId, ProcessSet, watermark::Watermark};
use std::collections::{BTreeMap, BTreeSet};

/// UC1–4 of the modules of this name.
pub fn consensus(processes: &Membership, module: &str) -> Properties {
    [
        Which::Validity,
        Which::Agreement,
        Which::Integrity,
        Which::Termination,
    ]
    .map(|which| {
        Box::new(Consensus {
            which,
            watch: Watch::new(module),
            alive: processes.set(),
            decided: BTreeMap::new(),
            instances: BTreeMap::new(),
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
    decision: Option<u64>,
    deciders: ProcessSet,
}

struct Consensus {
    which: Which,
    watch: Watch,
    alive: ProcessSet,
    /// By process: the instances in which it has decided.
    decided: BTreeMap<ProcessId, Watermark>,
    instances: BTreeMap<u64, Instance>,
    /// Instances in which every live process has decided: nothing of them is needed any more.
    finished: Watermark,
}

impl Consensus {
    /// What is wrong with this decision, if something is.
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
        let decision = *instance.decision.get_or_insert(value);
        let broken = match self.which {
            Which::Validity if !instance.proposed.contains(&value) => Some(format!(
                "{p} decides in instance {number} what nobody proposed there"
            )),
            Which::Agreement if decision != value => Some(format!(
                "{p} decides in instance {number} otherwise than another"
            )),
            _ => None,
        };
        if self.alive.is_subset(instance.deciders) {
            self.instances.remove(&number);
            self.finished.insert(number);
        }
        broken
    }
}

impl Property for Consensus {
    fn tag(&self) -> &'static str {
        match self.which {
            Which::Validity => "UC1",
            Which::Agreement => "UC2",
            Which::Integrity => "UC3",
            Which::Termination => "UC4",
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
        if self.which != Which::Termination {
            return Verdict::Holds;
        }
        let broken = self.instances.iter().find_map(|(number, instance)| {
            let all_propose = completion.correct.is_subset(instance.proposers);
            let undecided = completion.correct.without(instance.deciders);
            let p = undecided.iter().next()?;
            all_propose.then(|| format!("{p} never decides in instance {number}"))
        });
        completion.judge(self.tag(), broken)
    }
}
