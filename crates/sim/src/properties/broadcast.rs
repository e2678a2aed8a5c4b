//! Best-effort, reliable and uniform broadcast.
use super::{
    Properties,
    delivered::{Delivered, messages},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, MessageId, ProcessId, ProcessSet, message::fold};
use std::collections::{BTreeMap, VecDeque};

/// RB1–4 of the modules of this name.
pub fn reliable(processes: &Membership, module: &str) -> Properties {
    family("RB", *processes, module, false)
}

/// URB1–4 of the modules of this name.
pub fn uniform(processes: &Membership, module: &str) -> Properties {
    family("URB", *processes, module, true)
}

/// The four properties that all reliable broadcasts share, under the tags `{prefix}1` to
/// `{prefix}4`.
pub(super) fn family(
    prefix: &str,
    processes: Membership,
    module: &str,
    uniform: bool,
) -> Properties {
    vec![
        validity(&format!("{prefix}1"), module),
        no_duplication(&format!("{prefix}2"), module),
        no_creation(&format!("{prefix}3"), processes, module),
        Box::new(Agreement {
            tag: format!("{prefix}4"),
            watch: Watch::new(module),
            uniform,
            delivered: Delivered::default(),
        }),
    ]
}

/// A correct process's broadcasts are delivered by every correct process. Checked under this tag.
pub(super) fn validity(tag: &str, module: &str) -> Box<dyn Property> {
    Box::new(Validity {
        tag: tag.to_owned(),
        watch: Watch::new(module),
        requested: BTreeMap::new(),
        delivered: Delivered::default(),
    })
}

/// No process delivers a message twice. Checked under this tag.
pub(super) fn no_duplication(tag: &str, module: &str) -> Box<dyn Property> {
    Box::new(NoDuplication {
        tag: tag.to_owned(),
        watch: Watch::new(module),
        delivered: Delivered::default(),
    })
}

/// Every delivered message was broadcast. Checked under this tag.
pub(super) fn no_creation(tag: &str, processes: Membership, module: &str) -> Box<dyn Property> {
    Box::new(NoCreation {
        tag: tag.to_owned(),
        watch: Watch::new(module),
        alive: processes.set(),
        delivered: Delivered::default(),
        requests: BTreeMap::new(),
    })
}

/// A correct process's broadcasts are delivered by every correct process.
struct Validity {
    tag: String,
    watch: Watch,
    requested: BTreeMap<ProcessId, u64>,
    delivered: Delivered,
}

impl Property for Validity {
    fn tag(&self) -> &str {
        &self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, _)) = self.watch.request(record, "Broadcast") {
            *self.requested.entry(p).or_default() += 1;
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                self.delivered.insert(p, id);
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let broken = self.requested.iter().find_map(|(p, requested)| {
            if !completion.correct.contains(*p) {
                return None;
            }
            let mut correct = completion.correct.iter();
            let q = correct.find(|q| self.delivered.low_of(*q, *p) < *requested)?;
            let next = self.delivered.low_of(q, *p) + 1;
            Some(if q == *p {
                format!("{p} never delivers its own {p}.{next}")
            } else {
                format!("{q} never delivers the broadcast {p}.{next}")
            })
        });
        completion.judge(&self.tag, broken)
    }
}

/// No process delivers a message twice.
struct NoDuplication {
    tag: String,
    watch: Watch,
    delivered: Delivered,
}

impl Property for NoDuplication {
    fn tag(&self) -> &str {
        &self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let Some((p, observation)) = self.watch.indication(record, "Deliver") else {
            return Ok(());
        };
        for id in messages(observation) {
            if !self.delivered.insert(p, id) {
                return Err(violation(
                    &self.tag,
                    record,
                    format!("{p} delivers {id} twice"),
                ));
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// Every delivered message was broadcast, by its origin and with that content.
struct NoCreation {
    tag: String,
    watch: Watch,
    alive: ProcessSet,
    delivered: Delivered,
    /// For each process, the digests of the requests that some live process may still deliver, and how many
    /// requests came before them.
    requests: BTreeMap<ProcessId, (u64, VecDeque<u64>)>,
}

impl NoCreation {
    fn expected(&self, first: MessageId, count: u64) -> Option<u64> {
        let (before, digests) = self.requests.get(&first.origin.process)?;
        let start = first.sequence.checked_sub(before + 1)? as usize;
        let end = start.checked_add(usize::try_from(count).ok()?)?;
        if end > digests.len() {
            return None;
        }
        match count {
            1 => digests.get(start).copied(),
            _ => Some(digests.range(start..end).fold(0, |hash, d| fold(hash, *d))),
        }
    }

    /// What is wrong with this delivery, if anything is.
    fn forgery(&self, id: MessageId, count: u64, digest: u64) -> Option<&'static str> {
        let Some(expected) = self.expected(id, count) else {
            return Some("which was not broadcast");
        };
        let is_single = count == 1 && fold(0, expected) == digest;
        let is_genuine = expected == digest || is_single;
        (!is_genuine).then_some("with another content than it was broadcast with")
    }

    /// Forgets the messages that every live process has delivered.
    fn trim(&mut self, id: MessageId) {
        let low = self.delivered.low(self.alive, id.origin);
        if let Some((before, digests)) = self.requests.get_mut(&id.origin.process) {
            while *before < low && digests.pop_front().is_some() {
                *before += 1;
            }
        }
    }
}

impl Property for NoCreation {
    fn tag(&self) -> &str {
        &self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, observation)) = self.watch.request(record, "Broadcast") {
            let (_, digests) = self.requests.entry(p).or_default();
            digests.push_back(observation.digest);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver")
            && let Some(id) = observation.message
        {
            // A second delivery violates another property. Its content may be forgotten already.
            if self.delivered.contains(p, id) {
                return Ok(());
            }
            if let Some(what) = self.forgery(id, observation.count, observation.digest) {
                let text = format!("{p} delivers {id}, {what}");
                return Err(violation(&self.tag, record, text));
            }
            for id in messages(observation) {
                self.delivered.insert(p, id);
            }
            self.trim(id);
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// A message that some process delivers (any process if uniform, else a correct one), every correct process
/// delivers.
struct Agreement {
    tag: String,
    watch: Watch,
    uniform: bool,
    delivered: Delivered,
}

impl Property for Agreement {
    fn tag(&self) -> &str {
        &self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                self.delivered.insert(p, id);
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        let counts = |p| self.uniform || correct.contains(p);
        let missing = self.delivered.missing(counts, correct);
        let broken = missing.map(|(id, p, q)| {
            let crashes = if correct.contains(p) {
                ""
            } else {
                ", and crashes,"
            };
            format!("{p} delivers {id}{crashes} and {q} never does")
        });
        completion.judge(&self.tag, broken)
    }
}

/// BEB1–3 of the modules of this name, which have requests `Broadcast` and indications `Deliver` that
/// name the sender as their peer. Messages are told apart by content, and counted.
pub fn best_effort(module: &str) -> Properties {
    [Which::Validity, Which::NoDuplication, Which::NoCreation]
        .map(|which| {
            Box::new(BestEffort {
                which,
                watch: Watch::new(module),
                broadcast: BTreeMap::new(),
                delivered: BTreeMap::new(),
            }) as Box<dyn Property>
        })
        .into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Validity,
    NoDuplication,
    NoCreation,
}

struct BestEffort {
    which: Which,
    watch: Watch,
    /// How often a process broadcast a content.
    broadcast: BTreeMap<(ProcessId, u64), u64>,
    /// How often a process (first) delivered a content from another.
    delivered: BTreeMap<(ProcessId, ProcessId, u64), u64>,
}

impl Property for BestEffort {
    fn tag(&self) -> &'static str {
        match self.which {
            Which::Validity => "BEB1",
            Which::NoDuplication => "BEB2",
            Which::NoCreation => "BEB3",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, observation)) = self.watch.request(record, "Broadcast") {
            *self.broadcast.entry((p, observation.digest)).or_default() += 1;
        } else if let Some((q, observation)) = self.watch.indication(record, "Deliver")
            && let Some(p) = observation.peer
        {
            let delivered = self
                .delivered
                .entry((q, p, observation.digest))
                .or_default();
            *delivered += 1;
            let broadcast = self.broadcast.get(&(p, observation.digest));
            let broadcast = broadcast.copied().unwrap_or(0);
            let broken = match self.which {
                Which::Validity => false,
                Which::NoDuplication => broadcast > 0 && *delivered > broadcast,
                Which::NoCreation => broadcast == 0,
            };
            if broken {
                let text = format!("{q} delivers from {p} what was broadcast {broadcast} times");
                return Err(violation(self.tag(), record, text));
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        if self.which != Which::Validity {
            return Verdict::Holds;
        }
        let broken = self.broadcast.iter().find_map(|((p, digest), count)| {
            let delivered = |q| self.delivered.get(&(q, *p, *digest)).unwrap_or(&0);
            let mut correct = completion.correct.iter();
            let q = correct.find(|q| delivered(*q) < count)?;
            let correct = completion.correct.contains(*p);
            correct.then(|| {
                if q == *p {
                    format!("{p} never delivers its own broadcast")
                } else {
                    format!("{q} never delivers what {p} broadcast")
                }
            })
        });
        completion.judge(self.tag(), broken)
    }
}
