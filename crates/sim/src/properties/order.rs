//! Total order, in its strong form (uniform and regular) and two weaker ones, and first-in first-out
//! order.
use super::{
    Properties,
    broadcast::family,
    delivered::{Delivered, messages},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, MessageId, ProcessId, ProcessSet, message::Origin};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// TOB1–5 (uniform) and FRB5 of the modules of this name.
pub fn total_order(processes: &Membership, module: &str) -> Properties {
    let mut properties = family("TOB", *processes, module, true);
    properties.push(Box::new(Prefix {
        watch: Watch::new(module),
        alive: processes.set(),
        positions: processes.iter().map(|p| (p, 0)).collect(),
        before: 0,
        sequence: VecDeque::new(),
    }));
    properties.push(first_in_first_out_order(module));
    properties
}

/// TOB1–5 (regular) of the modules of this name: TOB4 and TOB5 bind correct processes only.
pub fn regular_total_order(processes: &Membership, module: &str) -> Properties {
    let mut properties = family("TOB", *processes, module, false);
    properties.push(Box::new(RegularPrefix::new(processes, module)));
    properties
}

/// FRB5 of the modules of this name: messages of one origin are delivered in the order in which they were
/// broadcast, and none is left out.
pub fn first_in_first_out_order(module: &str) -> Box<dyn Property> {
    Box::new(FirstInFirstOut {
        watch: Watch::new(module),
        last: BTreeMap::new(),
    })
}

/// The two weaker forms of total order: `TOB5-A` (processes that deliver the same two messages deliver them
/// in the same order) and `TOB5-B` (processes that deliver the same message have delivered the same messages
/// before it); with `uniform`, of crashed processes too. `TOB5` implies B, and B implies A. A second delivery of a
/// message, which TOB2 is about, does not count here.
///
/// They compare the sequences at the end of a run, from the first message on that the live processes have not all
/// delivered in one order.
pub fn weak_total_order(processes: &Membership, module: &str, uniform: bool) -> Properties {
    [Form::A, Form::B]
        .map(|form| {
            Box::new(Weak {
                form,
                uniform,
                watch: Watch::new(module),
                alive: processes.set(),
                delivered: Delivered::default(),
                sequences: processes.iter().map(|p| (p, Once::default())).collect(),
            }) as Box<dyn Property>
        })
        .into()
}

/// Of any two processes' delivery sequences, one is a prefix of the other.
struct Prefix {
    watch: Watch,
    alive: ProcessSet,
    /// How many messages each process has delivered.
    positions: BTreeMap<ProcessId, u64>,
    /// The longest sequence, without the first `before` messages, which every live process has delivered.
    /// Each delivery is compared once, so those messages are not needed any more.
    sequence: VecDeque<MessageId>,
    before: u64,
}

impl Prefix {
    fn deliver(&mut self, p: ProcessId, id: MessageId) -> Result<(), String> {
        let position = self.positions.entry(p).or_default();
        let index = (*position - self.before) as usize;
        match self.sequence.get(index) {
            Some(expected) if *expected != id => {
                let place = *position + 1;
                return Err(format!(
                    "{p} delivers {id} as number {place}, another {expected}"
                ));
            }
            Some(_) => {}
            None => self.sequence.push_back(id),
        }
        *position += 1;
        if index == 0 {
            self.trim();
        }
        Ok(())
    }

    fn trim(&mut self) {
        let positions = self.positions.iter();
        let alive = positions.filter(|(p, _)| self.alive.contains(**p));
        let low = alive.map(|(_, position)| *position).min();
        while self.before < low.unwrap_or(0) {
            self.sequence.pop_front();
            self.before += 1;
        }
    }
}

impl Property for Prefix {
    fn tag(&self) -> &'static str {
        "TOB5"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                let delivered = self.deliver(p, id);
                delivered.map_err(|text| violation("TOB5", record, text))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// The messages that one process has delivered, without those that are not needed for comparisons any more.
#[derive(Default)]
struct Sequence {
    /// How many messages the process has delivered.
    position: u64,
    /// How many of them were forgotten, from the beginning.
    before: u64,
    rest: VecDeque<MessageId>,
}

impl Sequence {
    /// The message that the process delivered after `position` others, if it is remembered.
    fn get(&self, position: u64) -> Option<MessageId> {
        let index = position.checked_sub(self.before)?;
        self.rest.get(usize::try_from(index).ok()?).copied()
    }

    fn forget(&mut self, low: u64) {
        while self.before < low && self.rest.pop_front().is_some() {
            self.before += 1;
        }
    }
}

/// Of any two correct processes' delivery sequences, one is a prefix of the other. Only at the end of a run
/// is it known which processes are correct. Until then two processes that have delivered differently are
/// remembered as a conflict, and not compared any further.
pub(super) struct RegularPrefix {
    watch: Watch,
    /// The sequence of each live process.
    sequences: BTreeMap<ProcessId, Sequence>,
    /// Two live processes, the lower rank first, and the difference between them.
    conflicts: BTreeMap<(ProcessId, ProcessId), String>,
}

impl RegularPrefix {
    pub(super) fn new(processes: &Membership, module: &str) -> Self {
        RegularPrefix {
            watch: Watch::new(module),
            sequences: processes.iter().map(|p| (p, Sequence::default())).collect(),
            conflicts: BTreeMap::new(),
        }
    }

    pub(super) fn deliver(&mut self, p: ProcessId, id: MessageId) {
        let Some(sequence) = self.sequences.get_mut(&p) else {
            return;
        };
        let position = sequence.position;
        sequence.position += 1;
        sequence.rest.push_back(id);
        for (q, other) in self.sequences.iter().filter(|(q, _)| **q != p) {
            if let Some(expected) = other.get(position)
                && expected != id
            {
                let place = position + 1;
                let text = format!("{p} delivers {id} as number {place}, {q} {expected}");
                self.conflicts.entry(pair(p, *q)).or_insert(text);
            }
        }
        self.trim();
    }

    pub(super) fn crash(&mut self, p: ProcessId) {
        self.sequences.remove(&p);
        self.conflicts
            .retain(|(one, other), _| *one != p && *other != p);
        self.trim();
    }

    /// How many deliveries are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let sequences = self.sequences.values();
        sequences.map(|sequence| sequence.rest.len()).sum()
    }

    /// Forgets the messages of a process that all processes still to be compared with it have delivered, too.
    fn trim(&mut self) {
        let positions: Vec<_> = self
            .sequences
            .iter()
            .map(|(q, s)| (*q, s.position))
            .collect();
        for (p, sequence) in &mut self.sequences {
            let compared = positions
                .iter()
                .filter(|(q, _)| q != p && !self.conflicts.contains_key(&pair(*p, *q)));
            let low = compared.map(|(_, position)| *position).min();
            sequence.forget(low.unwrap_or(u64::MAX));
        }
    }
}

fn pair(p: ProcessId, q: ProcessId) -> (ProcessId, ProcessId) {
    (p.min(q), p.max(q))
}

impl Property for RegularPrefix {
    fn tag(&self) -> &'static str {
        "TOB5"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.crash(record.process);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                self.deliver(p, id);
            }
        }
        Ok(())
    }

    /// In a truncated run, two processes that differ may still crash.
    fn finish(&mut self, completion: &Completion) -> Verdict {
        match self.conflicts.values().next() {
            None => Verdict::Holds,
            Some(_) if !completion.complete => Verdict::Unknown,
            Some(text) => Verdict::Violated(Violation {
                tag: "TOB5".to_owned(),
                time: completion.time,
                text: text.clone(),
            }),
        }
    }
}

struct FirstInFirstOut {
    watch: Watch,
    last: BTreeMap<(ProcessId, Origin), u64>,
}

impl Property for FirstInFirstOut {
    fn tag(&self) -> &'static str {
        "FRB5"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, observation)) = self.watch.indication(record, "Deliver")
            && let Some(id) = observation.message
        {
            let last = self.last.entry((p, id.origin)).or_default();
            if id.sequence != *last + 1 {
                let text = format!("{p} delivers {id} after number {last} of that origin");
                return Err(violation("FRB5", record, text));
            }
            *last += observation.count;
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    A,
    B,
}

struct Weak {
    form: Form,
    uniform: bool,
    watch: Watch,
    alive: ProcessSet,
    /// Everything that was delivered.
    delivered: Delivered,
    /// What is remembered of the sequence of each process. Those that have crashed are compared only if they
    /// count, and as long as they have delivered something that is remembered.
    sequences: BTreeMap<ProcessId, Once>,
}

impl Weak {
    fn deliver(&mut self, p: ProcessId, id: MessageId) {
        if self.delivered.insert(p, id)
            && let Some(sequence) = self.sequences.get_mut(&p)
        {
            sequence.deliver(id);
            self.trim();
        }
    }

    fn crash(&mut self, p: ProcessId) {
        self.alive.remove(p);
        if !self.uniform {
            self.sequences.remove(&p);
        }
        self.trim();
    }

    /// Forgets the first message, while it is the first of every process: it breaks nothing. Who has crashed and
    /// has delivered nothing else has a prefix of what the others have delivered, and is forgotten.
    fn trim(&mut self) {
        while let Some(first) = self.common_first() {
            let alive = self.alive;
            self.sequences
                .retain(|p, sequence| alive.contains(*p) || !sequence.order.is_empty());
            for sequence in self.sequences.values_mut() {
                sequence.forget(first);
            }
        }
    }

    /// The message that is the first of every live process, and of every other that has any.
    fn common_first(&self) -> Option<MessageId> {
        let first = |p| self.sequences.get(&p)?.order.front();
        let common = *first(self.alive.iter().next()?)?;
        let is_common = |(p, sequence): (&ProcessId, &Once)| match sequence.order.front() {
            Some(first) => *first == common,
            None => !self.alive.contains(*p),
        };
        self.sequences.iter().all(is_common).then_some(common)
    }
}

/// The remembered messages that one process has delivered, each once.
#[derive(Default)]
struct Once {
    order: VecDeque<MessageId>,
    set: BTreeSet<MessageId>,
}

impl Once {
    fn deliver(&mut self, id: MessageId) {
        self.set.insert(id);
        self.order.push_back(id);
    }

    /// Forgets this message, which is the first.
    fn forget(&mut self, first: MessageId) {
        self.set.remove(&first);
        self.order.pop_front();
    }

    fn common<'s>(&'s self, other: &'s Once) -> impl DoubleEndedIterator<Item = &'s MessageId> {
        self.order.iter().filter(|id| other.set.contains(id))
    }
}

/// Two messages that the two processes deliver in different orders.
fn inversion(one: &Once, other: &Once) -> Option<String> {
    let (a, b) = one
        .common(other)
        .zip(other.common(one))
        .find(|(a, b)| a != b)?;
    Some(format!("{a} and {b} are delivered in either order"))
}

/// A message that both deliver, but not after the same messages. There is none if and only if the two
/// sequences are the same up to their last common message: then all messages before it are common, and each
/// has the same position.
fn omission(one: &Once, other: &Once) -> Option<String> {
    let last = one.common(other).next_back()?;
    let mine = one.order.iter().take_while(|id| *id != last).chain([last]);
    let theirs = other.order.iter().map(Some).chain(std::iter::repeat(None));
    let (differing, _) = mine.zip(theirs).find(|(a, b)| Some(*a) != *b)?;
    Some(format!(
        "both deliver {last}, but from {differing} on they do not agree on what comes before it"
    ))
}

impl Property for Weak {
    fn tag(&self) -> &'static str {
        match self.form {
            Form::A => "TOB5-A",
            Form::B => "TOB5-B",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.crash(record.process);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            messages(observation).for_each(|id| self.deliver(p, id));
        }
        Ok(())
    }

    /// Only in a complete run is it known which processes are correct.
    fn finish(&mut self, completion: &Completion) -> Verdict {
        let counts = |p: &ProcessId| self.uniform || completion.correct.contains(*p);
        let compare = match self.form {
            Form::A => inversion,
            Form::B => omission,
        };
        let counted = || self.sequences.iter().filter(|(p, _)| counts(p));
        let broken = counted().find_map(|(p, one)| {
            counted().find_map(|(q, other)| Some((p, q, compare(one, other)?)))
        });
        match broken {
            None => Verdict::Holds,
            Some(_) if !self.uniform && !completion.complete => Verdict::Unknown,
            Some((p, q, text)) => Verdict::Violated(Violation {
                tag: self.tag().to_owned(),
                time: completion.time,
                text: format!("{p}, {q}: {text}"),
            }),
        }
    }
}
