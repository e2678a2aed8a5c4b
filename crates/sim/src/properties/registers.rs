//! Registers: regular, atomic with one writer, and atomic with many.
use super::{
    Properties,
    shared::{Names, Operations, Shown},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation},
    trace::Record,
};
use quorate_core::{Observation, ProcessSet};
use quorate_histories::{Action, Operation, Tag, linearizable, single_writer, tags};
use std::collections::{BTreeMap, BTreeSet};

const NAMES: &[Names] = &[("Read", "ReadReturn"), ("Write", "WriteReturn")];
const WRITE: usize = 1;

/// For a register without operations in flight, at most this many operations are kept.
const KEPT: usize = 64;

/// ONRR1–2 of the (1,N) regular registers of the modules of this name. Operations are promised to return at
/// the processes `returning`. For all kinds of registers, validity includes that each operation returns once,
/// and that none returns that was not requested.
pub fn regular_register(module: &str, returning: ProcessSet) -> Properties {
    let one = |tag, what| one(tag, what, module, returning);
    vec![
        one("ONRR1", What::Termination),
        one("ONRR2", What::Regularity),
    ]
}

/// ONAR1–3 of the (1,N) atomic registers of the modules of this name. Operations are promised to return
/// at the processes `returning`.
pub fn atomic_register(module: &str, returning: ProcessSet) -> Properties {
    let one = |tag, what| one(tag, what, module, returning);
    vec![
        one("ONAR1", What::Termination),
        one("ONAR2", What::Regularity),
        one("ONAR3", What::Order),
    ]
}

/// OOAR3 of the (1,N) registers of the modules of this name: for each process that reads, the writes and its own reads
/// are those of a (1,1) atomic register. That is ordering, where a register has one reader; what ONRR1 and ONRR2 say is
/// the rest of it.
pub fn ordered_for_one_reader(module: &str, returning: ProcessSet) -> Properties {
    vec![one("OOAR3", What::OrderAtEach, module, returning)]
}

/// NNAR1–2 of the (N,N) atomic registers of the modules of this name: operations are linearizable, and their
/// tags, if they have any, follow real time. Operations are promised to return at the processes `returning`.
pub fn shared_register(module: &str, returning: ProcessSet) -> Properties {
    let one = |tag, what| one(tag, what, module, returning);
    vec![
        one("NNAR1", What::Termination),
        one("NNAR2", What::Atomicity),
    ]
}

fn one(tag: &'static str, what: What, module: &str, returning: ProcessSet) -> Box<dyn Property> {
    Box::new(Registers {
        tag,
        what,
        operations: Operations::new(module, NAMES, returning),
        all: BTreeMap::new(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Termination,
    Regularity,
    Order,
    /// Of the reads of each process by themselves.
    OrderAtEach,
    Atomicity,
}

/// An operation in flight: its register, and the number of the record of its request.
struct Begun {
    register: u64,
    at: u64,
}

struct Registers {
    tag: &'static str,
    what: What,
    operations: Operations<Begun>,
    /// The registers, by the digest of their names.
    all: BTreeMap<u64, Register>,
}

/// The part of a register's history that is kept.
struct Register {
    /// The values that the register may have held before the kept operations.
    before: BTreeSet<Option<u64>>,
    /// The operation with the greatest tag before the kept ones.
    newest: Option<Operation<u64>>,
    /// The operations, by the number of the record of the request.
    operations: BTreeMap<u64, Operation<u64>>,
    pending: usize,
}

impl Default for Register {
    fn default() -> Self {
        Register {
            before: BTreeSet::from([None]),
            newest: None,
            operations: BTreeMap::new(),
            pending: 0,
        }
    }
}

impl Register {
    fn history(&self) -> Vec<Operation<u64>> {
        self.operations.values().cloned().collect()
    }

    /// The error in the history, if there is one.
    fn check(&self, what: What) -> Option<String> {
        let history = self.history();
        match what {
            What::Termination => None,
            What::Regularity => words(single_writer::check_regular(&history)),
            What::Order => words(single_writer::check_ordered(&history)),
            What::OrderAtEach => {
                let readers: BTreeSet<u64> = history.iter().map(|it| it.process).collect();
                let of = |reader: u64| {
                    let seen = history
                        .iter()
                        .filter(|it| it.is_write() || it.process == reader);
                    seen.cloned().collect::<Vec<_>>()
                };
                let mut readers = readers.into_iter();
                readers.find_map(|reader| words(single_writer::check_ordered(&of(reader))))
            }
            What::Atomicity => {
                let tagged: Vec<_> = self.newest.iter().chain(&history).cloned().collect();
                words(tags::check(&tagged)).or_else(|| self.unexplained(&history))
            }
        }
    }

    fn unexplained(&self, history: &[Operation<u64>]) -> Option<String> {
        let stuck = linearizable::check_from(history, &self.before).err()?;
        let operation = &history.get(stuck.operation)?;
        Some(format!(
            "after {} operations nothing explains {operation}",
            stuck.placed
        ))
    }

    /// Forgets operations that no later operation can contradict, once nothing is in flight.
    fn forget(&mut self, what: What) {
        if self.pending > 0 || self.operations.len() < KEPT {
            return;
        }
        let history = self.history();
        match what {
            What::Termination => self.operations.clear(),
            What::Regularity | What::Order | What::OrderAtEach => {
                let mut writes = self.operations.iter().filter(|(_, o)| o.is_write());
                let last = writes.next_back().map(|(at, o)| (*at, o.clone()));
                self.operations = last.into_iter().collect();
            }
            What::Atomicity => {
                self.before = linearizable::states_after(&history, &self.before);
                let tagged = self.newest.take().into_iter().chain(history);
                // Among a write and the reads of its value, the write.
                self.newest = tagged.max_by_key(|o| (o.tag, o.is_write()));
                self.operations.clear();
            }
        }
    }
}

fn words(checked: Result<(), impl std::error::Error>) -> Option<String> {
    checked.err().map(|broken| broken.to_string())
}

/// The tag of a write, as an observation carries it.
fn tag_of(observation: &Observation) -> Option<Tag> {
    let id = observation.message?;
    Some(Tag {
        timestamp: id.sequence,
        writer: id.origin.process.rank() as u64,
    })
}

fn value_of(observation: &Observation) -> Option<u64> {
    (observation.digest != 0).then_some(observation.digest)
}

impl Property for Registers {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let is_validity = matches!(self.what, What::Regularity | What::Atomicity);
        if is_validity && let Some(text) = self.operations.stray(record) {
            return Err(violation(self.tag, record, text));
        }
        let Some((p, number, observation, shown)) = self.operations.see(record) else {
            return Ok(());
        };
        let name = observation.object.unwrap_or(0);
        let register = self.all.entry(name).or_default();
        match shown {
            Shown::Begins(action) => {
                let action = match (action, value_of(observation)) {
                    (WRITE, value) => Action::Write(value.unwrap_or(0)),
                    _ => Action::Read(None),
                };
                let operation = Operation {
                    process: p.rank() as u64,
                    action,
                    invoked: record.index,
                    returned: None,
                    tag: None,
                };
                register.operations.insert(record.index, operation);
                register.pending += 1;
                let (register, at) = (name, record.index);
                self.operations.begin(p, number, Begun { register, at });
                return Ok(());
            }
            Shown::Refused(begun) => {
                let register = self.all.entry(begun.register).or_default();
                register.operations.remove(&begun.at);
                register.pending = register.pending.saturating_sub(1);
                return Ok(());
            }
            Shown::Returns(_, begun) => {
                let register = self.all.entry(begun.register).or_default();
                register.pending = register.pending.saturating_sub(1);
                if let Some(operation) = register.operations.get_mut(&begun.at) {
                    operation.returned = Some(record.index);
                    // There is no tag before the first write.
                    operation.tag = tag_of(observation);
                    if let Action::Read(value) = &mut operation.action {
                        *value = value_of(observation);
                    }
                }
            }
        }
        let register = self.all.entry(name).or_default();
        if let Some(text) = register.check(self.what) {
            return Err(violation(self.tag, record, text));
        }
        register.forget(self.what);
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        match self.what {
            What::Termination => self.operations.termination(self.tag, completion),
            What::Regularity | What::Order | What::OrderAtEach | What::Atomicity => Verdict::Holds,
        }
    }
}
