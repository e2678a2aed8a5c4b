//! Non-blocking atomic commit, in many instances.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, Observation, ProcessId, ProcessSet, watermark::Watermark};
use std::collections::BTreeMap;

/// NBAC1–5 of the modules of this name.
pub fn atomic_commit(processes: &Membership, module: &str) -> Properties {
    terminating(processes, module, Which::Termination)
}

/// NBAC1, 3, 4 and 5 of the modules of this name, and in place of NBAC2 its part NBAC2-C, termination with a
/// coordinator, which is p1.
pub fn blocking_commit(processes: &Membership, module: &str) -> Properties {
    terminating(processes, module, Which::TerminationWithCoordinator)
}

fn terminating(processes: &Membership, module: &str, termination: Which) -> Properties {
    [
        Which::Agreement,
        termination,
        Which::CommitValidity,
        Which::AbortValidity,
        Which::Integrity,
    ]
    .map(|which| one(*processes, module, which))
    .into()
}

fn one(processes: Membership, module: &str, which: Which) -> Box<dyn Property> {
    Box::new(AtomicCommit {
        which,
        watch: Watch::new(module),
        coordinator: processes.coordinator(1),
        all: processes.set(),
        alive: processes.set(),
        decided: BTreeMap::new(),
        instances: BTreeMap::new(),
        finished: Watermark::default(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Agreement,
    Termination,
    TerminationWithCoordinator,
    CommitValidity,
    AbortValidity,
    Integrity,
}

#[derive(Default)]
struct Instance {
    yes: ProcessSet,
    no: ProcessSet,
    committed: ProcessSet,
    aborted: ProcessSet,
}

impl Instance {
    fn voters(&self) -> ProcessSet {
        self.yes.union(self.no)
    }

    fn deciders(&self) -> ProcessSet {
        self.committed.union(self.aborted)
    }
}

struct AtomicCommit {
    which: Which,
    watch: Watch,
    coordinator: ProcessId,
    all: ProcessSet,
    alive: ProcessSet,
    /// For each process, the instances in which it has decided.
    decided: BTreeMap<ProcessId, Watermark>,
    instances: BTreeMap<u64, Instance>,
    /// Instances in which every live process has decided. Nothing about them is needed any more.
    finished: Watermark,
}

/// Whether the vote is yes, or the decision commit.
fn is_positive(observation: &Observation) -> bool {
    observation.digest == 1
}

impl AtomicCommit {
    /// The first vote of a process counts.
    fn vote(&mut self, p: ProcessId, number: u64, yes: bool) {
        if self.finished.contains(number) {
            return;
        }
        let instance = self.instances.entry(number).or_default();
        if instance.voters().contains(p) {
            return;
        }
        if yes {
            instance.yes.insert(p);
        } else {
            instance.no.insert(p);
        }
    }

    /// The error in this decision, if there is one.
    fn decide(&mut self, p: ProcessId, number: u64, commit: bool) -> Option<String> {
        let first = self.decided.entry(p).or_default().insert(number);
        if self.which == Which::Integrity {
            return (!first).then(|| format!("{p} decides twice in instance {number}"));
        }
        if self.finished.contains(number) {
            return None;
        }
        let nobody_crashed = self.alive == self.all;
        let instance = self.instances.entry(number).or_default();
        if commit {
            instance.committed.insert(p);
        } else {
            instance.aborted.insert(p);
        }
        let broken = match self.which {
            Which::Agreement if !instance.committed.is_empty() && !instance.aborted.is_empty() => {
                Some("otherwise than another")
            }
            Which::CommitValidity if commit && instance.yes != self.all => {
                Some("to commit, and not everybody voted yes")
            }
            Which::AbortValidity if !commit && instance.no.is_empty() && nobody_crashed => {
                Some("to abort, and nobody voted no or had crashed")
            }
            _ => None,
        };
        if self.alive.is_subset(instance.deciders()) {
            self.instances.remove(&number);
            self.finished.insert(number);
        }
        broken.map(|what| format!("{p} decides in instance {number} {what}"))
    }
}

impl Property for AtomicCommit {
    fn tag(&self) -> &'static str {
        match self.which {
            Which::Agreement => "NBAC1",
            Which::Termination => "NBAC2",
            Which::TerminationWithCoordinator => "NBAC2-C",
            Which::CommitValidity => "NBAC3",
            Which::AbortValidity => "NBAC4",
            Which::Integrity => "NBAC5",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, observation)) = self.watch.request(record, "Propose") {
            let number = observation.instance.unwrap_or(1);
            self.vote(p, number, is_positive(observation));
        } else if let Some((p, observation)) = self.watch.indication(record, "Decide") {
            let number = observation.instance.unwrap_or(1);
            if let Some(text) = self.decide(p, number, is_positive(observation)) {
                return Err(violation(self.tag(), record, text));
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        match self.which {
            Which::Termination => {}
            Which::TerminationWithCoordinator if completion.correct.contains(self.coordinator) => {}
            Which::TerminationWithCoordinator
            | Which::Agreement
            | Which::CommitValidity
            | Which::AbortValidity
            | Which::Integrity => return Verdict::Holds,
        }
        let broken = self.instances.iter().find_map(|(number, instance)| {
            let all_vote = completion.correct.is_subset(instance.voters());
            let undecided = completion.correct.without(instance.deciders());
            let p = undecided.iter().next()?;
            all_vote.then(|| format!("{p} never decides in instance {number}"))
        });
        completion.judge(self.tag(), broken)
    }
}
