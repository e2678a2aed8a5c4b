//! Operations on shared objects, as records show them: the common part of the checkers of such objects.
use crate::{
    property::{Completion, Verdict, Watch},
    trace::Record,
};
use quorate_core::{Observation, ProcessId, ProcessSet};
use std::collections::BTreeMap;

/// The names of an operation's request and of its return.
pub(super) type Names = (&'static str, &'static str);

/// The part of an operation that a record shows.
pub(super) enum Shown<T> {
    /// The operation begins. The number is the index of its request in [`Names`].
    Begins(usize),
    Returns(usize, T),
    /// The operation was refused, and had no effect.
    Refused(T),
}

/// The operations of one module in flight, each with the data that a checker remembers of it.
pub(super) struct Operations<T> {
    watch: Watch,
    names: &'static [Names],
    /// The processes at which operations are promised to return.
    returning: ProcessSet,
    pending: BTreeMap<(ProcessId, u64), T>,
}

impl<T> Operations<T> {
    pub(super) fn new(module: &str, names: &'static [Names], returning: ProcessSet) -> Self {
        Operations {
            watch: Watch::new(module),
            names,
            returning,
            pending: BTreeMap::new(),
        }
    }

    /// What the record shows of an operation, whose number is the record's `instance`.
    pub(super) fn see<'r>(
        &mut self,
        record: &'r Record,
    ) -> Option<(ProcessId, u64, &'r Observation, Shown<T>)> {
        let observation = record.kind.request().or(record.kind.indication())?;
        let begins = record.kind.request().is_some();
        let name = |(request, returned): &Names| {
            let label = if begins { request } else { returned };
            observation.label == *label
        };
        let named = self.names.iter().position(name);
        let is_refused = !begins && observation.label == "Refused";
        if (named.is_none() && !is_refused) || !self.watch.sees(record) {
            return None;
        }
        let (p, number) = (record.process, observation.instance.unwrap_or(0));
        let shown = match named {
            Some(name) if begins => Shown::Begins(name),
            Some(name) => Shown::Returns(name, self.pending.remove(&(p, number))?),
            None => Shown::Refused(self.pending.remove(&(p, number))?),
        };
        Some((p, number, observation, shown))
    }

    /// The error if the record shows the return of an operation that is not in flight: it has returned
    /// before, or was never requested.
    pub(super) fn stray(&mut self, record: &Record) -> Option<String> {
        let text = "an operation that is not in flight returns";
        self.is_stray(record).then(|| text.to_owned())
    }

    fn is_stray(&mut self, record: &Record) -> bool {
        let Some(observation) = record.kind.indication() else {
            return false;
        };
        let mut returns = self.names.iter().map(|(_, returned)| *returned);
        let operation = (record.process, observation.instance.unwrap_or(0));
        returns.any(|label| observation.label == label)
            && !self.pending.contains_key(&operation)
            && self.watch.sees(record)
    }

    /// The operation has begun.
    pub(super) fn begin(&mut self, p: ProcessId, number: u64, remembered: T) {
        self.pending.insert((p, number), remembered);
    }

    /// The remembered data of the operations in flight.
    pub(super) fn in_flight(&mut self) -> impl Iterator<Item = &mut T> {
        self.pending.values_mut()
    }

    /// Judges whether all operations of correct processes have returned, where that is promised.
    pub(super) fn termination(&self, tag: &str, completion: &Completion) -> Verdict {
        let promised =
            |p: &ProcessId| completion.correct.contains(*p) && self.returning.contains(*p);
        let mut pending = self.pending.keys();
        let stuck = pending.find(|(p, _)| promised(p));
        let broken = stuck.map(|(p, number)| format!("operation {number} of {p} never returns"));
        completion.judge(tag, broken)
    }

    /// Judges obstruction-freedom: whether no operation of a correct process, where that is promised, is in the end
    /// the only one of correct processes in flight. Operations that keep each other waiting owe nothing.
    pub(super) fn obstruction_freedom(&self, tag: &str, completion: &Completion) -> Verdict {
        let is_of_correct = |(p, _): &&(ProcessId, u64)| completion.correct.contains(*p);
        let mut pending = self.pending.keys().filter(is_of_correct);
        let (first, second) = (pending.next(), pending.next());
        let alone = first.filter(|(p, _)| second.is_none() && self.returning.contains(*p));
        let broken = alone
            .map(|(p, number)| format!("operation {number} of {p} runs alone, and never returns"));
        completion.judge(tag, broken)
    }
}
