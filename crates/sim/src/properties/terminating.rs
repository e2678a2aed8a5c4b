//! Terminating reliable broadcast, its agreement uniform or not.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, Observation, ProcessId, ProcessSet};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
};

/// TRB1–4 of the modules of this name. TRB3 includes that a source's instances are delivered one after the
/// other, and that the report that it is faulty comes last and not before its crash.
pub fn terminating(processes: &Membership, module: &str) -> Properties {
    family(*processes, module, true)
}

/// TRB1–4, where agreement binds correct processes only.
pub fn regular_terminating(processes: &Membership, module: &str) -> Properties {
    family(*processes, module, false)
}

fn family(processes: Membership, module: &str, uniform: bool) -> Properties {
    [
        Which::Validity,
        Which::Agreement,
        Which::Integrity,
        Which::Termination,
    ]
    .map(|which| {
        Box::new(Terminating {
            which,
            uniform,
            watch: Watch::new(module),
            alive: processes.set(),
            crashed: ProcessSet::EMPTY,
            requests: BTreeMap::new(),
            progress: BTreeMap::new(),
            instances: BTreeMap::new(),
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

/// The content that a process delivers in an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A message whose content has this digest.
    Message(u64),
    SenderFaulty,
}

/// A source's requests.
#[derive(Default)]
struct Requests {
    /// How many requests there were.
    count: u64,
    /// The contents of the last requests, as far as some live process may still deliver them.
    digests: VecDeque<u64>,
}

impl Requests {
    /// The content of the message of this number.
    fn content(&self, number: u64) -> Option<u64> {
        let forgotten = self.count - self.digests.len() as u64;
        let index = number.checked_sub(forgotten + 1)?;
        self.digests.get(usize::try_from(index).ok()?).copied()
    }

    /// Forgets the contents up to this number.
    fn forget(&mut self, number: u64) {
        while self.count - (self.digests.len() as u64) < number
            && self.digests.pop_front().is_some()
        {}
    }
}

/// How far a process has got with a source's messages.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// The number up to which it has delivered messages.
    messages: u64,
    /// Whether it has delivered the report that the source is faulty.
    over: bool,
}

struct Terminating {
    which: Which,
    uniform: bool,
    watch: Watch,
    alive: ProcessSet,
    crashed: ProcessSet,
    requests: BTreeMap<ProcessId, Requests>,
    /// The progress by process and source.
    progress: BTreeMap<(ProcessId, ProcessId), Progress>,
    /// For each source and number, the delivered content by process, until all live processes have delivered
    /// the same.
    instances: BTreeMap<(ProcessId, u64), BTreeMap<ProcessId, Content>>,
}

impl Terminating {
    fn progress(&self, by: ProcessId, source: ProcessId) -> Progress {
        let progress = self.progress.get(&(by, source));
        progress.copied().unwrap_or_default()
    }

    /// The error in this delivery, if there is one.
    fn deliver(
        &mut self,
        by: ProcessId,
        instance: (ProcessId, u64),
        outcome: Content,
    ) -> Option<String> {
        match self.which {
            Which::Agreement => self.disagreement(by, instance, outcome),
            Which::Integrity => self.forgery(by, instance, outcome),
            Which::Validity | Which::Termination => {
                self.advance(by, instance, outcome);
                None
            }
        }
    }

    fn advance(&mut self, by: ProcessId, (source, number): (ProcessId, u64), outcome: Content) {
        let progress = self.progress.entry((by, source)).or_default();
        match outcome {
            Content::Message(_) => progress.messages = progress.messages.max(number),
            Content::SenderFaulty => progress.over = true,
        }
    }

    fn disagreement(
        &mut self,
        by: ProcessId,
        (source, number): (ProcessId, u64),
        outcome: Content,
    ) -> Option<String> {
        let delivered = self.instances.entry((source, number)).or_default();
        delivered.insert(by, outcome);
        let other = delivered.iter().find(|(_, theirs)| **theirs != outcome);
        if let Some((q, _)) = other {
            return self.uniform.then(|| {
                format!("{by} delivers otherwise than {q} in instance {number} of {source}")
            });
        }
        if self.alive.iter().all(|q| delivered.contains_key(&q)) {
            self.instances.remove(&(source, number));
        }
        None
    }

    fn forgery(
        &mut self,
        by: ProcessId,
        (source, number): (ProcessId, u64),
        outcome: Content,
    ) -> Option<String> {
        let Progress { messages, over } = self.progress(by, source);
        let out_of_turn = match number.cmp(&(messages + 1)) {
            _ if over => Some("after the report that it is faulty".to_owned()),
            Ordering::Less => Some("again".to_owned()),
            Ordering::Greater => Some(format!("and not yet in {}", messages + 1)),
            Ordering::Equal => None,
        };
        if let Some(how) = out_of_turn {
            return Some(format!(
                "{by} delivers in instance {number} of {source} {how}"
            ));
        }
        let requests = self.requests.get(&source);
        let genuine = match outcome {
            Content::SenderFaulty => self.crashed.contains(source),
            Content::Message(content) => requests.and_then(|r| r.content(number)) == Some(content),
        };
        if !genuine {
            return Some(match outcome {
                Content::SenderFaulty => {
                    format!("{by} delivers that {source} is faulty, which has not crashed")
                }
                Content::Message(_) => format!(
                    "{by} delivers in instance {number} what {source} did not broadcast there"
                ),
            });
        }
        self.advance(by, (source, number), outcome);
        self.forget(source);
        None
    }

    /// Forgets the contents that every live process has delivered.
    fn forget(&mut self, source: ProcessId) {
        let progress = self.alive.iter().map(|q| self.progress(q, source));
        let waiting = progress.filter(|progress| !progress.over);
        let low = waiting.map(|progress| progress.messages).min();
        if let Some(requests) = self.requests.get_mut(&source) {
            requests.forget(low.unwrap_or(requests.count));
        }
    }

    /// Two correct processes that have delivered differently.
    fn dispute(&self, correct: ProcessSet) -> Option<String> {
        self.instances.iter().find_map(|((source, number), by)| {
            let mut correct = by.iter().filter(|(p, _)| correct.contains(**p));
            let (p, outcome) = correct.next()?;
            let (q, _) = correct.find(|(_, other)| *other != outcome)?;
            Some(format!(
                "{p} and {q} deliver differently in instance {number} of {source}"
            ))
        })
    }

    /// A message of a correct source that the source, or another correct process, does not deliver.
    fn invalid(&self, correct: ProcessSet) -> Option<String> {
        let mut requests = self.requests.iter().filter(|(p, _)| correct.contains(**p));
        requests.find_map(|(p, requests)| {
            let next = |q| self.progress(q, *p).messages + 1;
            let owed = |q: &ProcessId| next(*q) <= requests.count;
            if owed(p) {
                return Some(format!("{p} never delivers its own message {}", next(*p)));
            }
            let q = correct.iter().find(owed)?;
            Some(format!("{q} never delivers message {} of {p}", next(q)))
        })
    }

    /// A correct process that waits for ever for a source that broadcast or crashed.
    fn stuck(&self, processes: ProcessSet, correct: ProcessSet) -> Option<String> {
        let mut sources = processes.iter();
        sources.find_map(|source| {
            let count = self.requests.get(&source).map_or(0, |r| r.count);
            let owed = |progress: Progress| {
                !progress.over && (self.crashed.contains(source) || progress.messages < count)
            };
            let q = correct.iter().find(|q| owed(self.progress(*q, source)))?;
            let number = self.progress(q, source).messages + 1;
            let crashed = if self.crashed.contains(source) {
                ", which has crashed"
            } else {
                ""
            };
            Some(format!(
                "{q} never delivers in instance {number} of {source}{crashed}"
            ))
        })
    }
}

impl Property for Terminating {
    fn tag(&self) -> &'static str {
        match self.which {
            Which::Validity => "TRB1",
            Which::Agreement => "TRB2",
            Which::Integrity => "TRB3",
            Which::Termination => "TRB4",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
            self.crashed.insert(record.process);
        } else if let Some((p, observation)) = self.watch.request(record, "Broadcast") {
            let requests = self.requests.entry(p).or_default();
            requests.count += 1;
            match self.which {
                Which::Integrity => requests.digests.push_back(observation.digest),
                Which::Validity | Which::Agreement | Which::Termination => {}
            }
        } else if let Some((p, instance, outcome)) = self.delivery(record)
            && let Some(text) = self.deliver(p, instance, outcome)
        {
            return Err(violation(self.tag(), record, text));
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        let broken = match self.which {
            Which::Integrity => return Verdict::Holds,
            Which::Agreement if self.uniform => return Verdict::Holds,
            // A process that delivered differently may still turn out to be faulty, unless the run is over.
            Which::Agreement => self.dispute(correct),
            Which::Validity => self.invalid(correct),
            Which::Termination => self.stuck(self.alive.union(self.crashed), correct),
        };
        completion.judge(self.tag(), broken)
    }
}

impl Terminating {
    /// The delivery that the record shows, if it shows one: process, instance and content.
    fn delivery(&mut self, record: &Record) -> Option<(ProcessId, (ProcessId, u64), Content)> {
        let observation = *record.kind.indication()?;
        let outcome = outcome(&observation)?;
        self.watch.sees(record).then_some(())?;
        let instance = (observation.peer?, observation.instance?);
        Some((record.process, instance, outcome))
    }
}

fn outcome(observation: &Observation) -> Option<Content> {
    match observation.label {
        "Deliver" => Some(Content::Message(observation.digest)),
        "SenderFaulty" => Some(Content::SenderFaulty),
        _ => None,
    }
}
