//! Linearizability of registers that all processes write and read.
//!
//! # What is decided
//! A history is linearizable if there is an order of its operations that respects real time (an
//! operation that ended before another began comes first) and in which each read returns the value of the
//! last write before it. Operations that never returned may have taken effect, or not.
//!
//! # How
//! Registers are independent of each other (linearizability is local), so each is searched by itself. The
//! search takes operations one after the other, always one that began before every remaining operation has
//! ended, and goes back when none fits. It remembers its states (which operations were taken, and the
//! register's value), and does not search a state twice. Three rules keep the search small, and lose nothing:
//! - a read of the register's present value is taken at once, because it changes nothing;
//! - a write that never returned, and whose value no operation read, is left out;
//! - a read that never returned gives no information, and is left out.
//!
//! # Cost
//! Exponential in the number of writes that overlap, at worst; in practice linear in the length. The memory
//! for the states grows with the length of the history of one register.
//!
//! # Source
//! Wing and Gong: *Testing and Verifying Concurrent Objects*, 1993; Lowe: *Testing for Linearizability*,
//! 2017, for the memory of where the search has been.
use crate::history::{Action, History, Operation};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A history that is not linearizable: no order of the operations explains this operation.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{register} is not linearizable: after {placed} operations nothing explains {operation}")]
pub struct Violation {
    pub register: String,
    /// How many operations could be put in an order, at most.
    pub placed: usize,
    /// Of the operations that could not be placed then, the first to end.
    pub operation: String,
}

/// Whether the history of every register is linearizable.
///
/// # Errors
/// When the history of a register is not linearizable; the error says why.
pub fn check<K: Ord + fmt::Debug, V: Ord + Clone + fmt::Debug>(
    history: &History<K, V>,
) -> Result<(), Violation> {
    for (register, operations) in history.registers() {
        check_register(operations).map_err(|stuck| Violation {
            register: format!("{register:?}"),
            placed: stuck.placed,
            operation: operations
                .get(stuck.operation)
                .map_or_else(String::new, ToString::to_string),
        })?;
    }
    Ok(())
}

/// Where the search for an order of one register's operations got stuck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stuck {
    /// How many operations could be put in an order, at most.
    pub placed: usize,
    /// Of the operations that could not be placed then, the index of the first to end.
    pub operation: usize,
}

/// Whether the operations of one register, which is empty in the beginning, are linearizable.
///
/// # Errors
/// When they are not: where the search got stuck.
pub fn check_register<V: Ord + Clone>(operations: &[Operation<V>]) -> Result<(), Stuck> {
    check_from(operations, &BTreeSet::from([None]))
}

/// All values that the register may hold after these operations, if it may hold any of `before` at first. All
/// operations have returned. The result is empty if they are not linearizable.
pub fn states_after<V: Ord + Clone>(
    operations: &[Operation<V>],
    before: &BTreeSet<Option<V>>,
) -> BTreeSet<Option<V>> {
    let mut search = Search::of(operations, before);
    search.run(true);
    let values: Vec<Option<V>> = search.values;
    let ends = search.ends.iter();
    ends.filter_map(|end| values.get(*end).cloned()).collect()
}

/// Whether these operations, some of which may be in flight, are linearizable, if the register may hold any
/// of `before` at first.
///
/// # Errors
/// When they are not: where the search got stuck.
pub fn check_from<V: Ord + Clone>(
    operations: &[Operation<V>],
    before: &BTreeSet<Option<V>>,
) -> Result<(), Stuck> {
    let mut search = Search::of(operations, before);
    search.run(false);
    if search.ends.is_empty() {
        return Err(search.stuck);
    }
    Ok(())
}

/// An operation in the search, with its value as a number.
#[derive(Clone, Copy)]
struct Step {
    /// Its index in the history.
    index: usize,
    invoked: u64,
    /// The end; the maximum if the operation never returned.
    returned: u64,
    writes: bool,
    value: usize,
    /// Whether it must be placed, because it has returned.
    must: bool,
}

/// A state of the search: all steps below `low` are taken, and those in `above`, and the register holds the
/// value of this number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SearchState {
    low: usize,
    above: Vec<usize>,
    holds: usize,
}

impl SearchState {
    fn take(&mut self, step: usize) {
        if let Err(position) = self.above.binary_search(&step) {
            self.above.insert(position, step);
        }
        let steps = self.above.iter().enumerate();
        let contiguous = steps.take_while(|(offset, step)| **step == self.low + offset);
        let contiguous = contiguous.count();
        self.above.drain(..contiguous);
        self.low += contiguous;
    }
}

struct Search<V> {
    /// In the order in which they began.
    steps: Vec<Step>,
    /// For each index, the earliest end of the steps from there on.
    earliest: Vec<u64>,
    /// For each index, how many of the steps from there on must be placed.
    owed: Vec<usize>,
    values: Vec<Option<V>>,
    start: Vec<usize>,
    seen: BTreeSet<SearchState>,
    /// The values that the register may hold at the end.
    ends: BTreeSet<usize>,
    stuck: Stuck,
}

impl<V: Ord + Clone> Search<V> {
    fn of(operations: &[Operation<V>], before: &BTreeSet<Option<V>>) -> Self {
        let mut numbers: BTreeMap<Option<V>, usize> = BTreeMap::new();
        let mut values: Vec<Option<V>> = Vec::new();
        let mut number = |value: &Option<V>| {
            *numbers.entry(value.clone()).or_insert_with(|| {
                values.push(value.clone());
                values.len() - 1
            })
        };
        let start = before.iter().map(&mut number).collect();
        let mut read = BTreeSet::new();
        let mut steps = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let (writes, value) = match &operation.action {
                Action::Read(value) => (false, number(value)),
                Action::Write(value) => (true, number(&Some(value.clone()))),
            };
            let must = operation.returned.is_some();
            if !writes && must {
                read.insert(value);
            }
            steps.push(Step {
                index,
                invoked: operation.invoked,
                returned: operation.returned.unwrap_or(u64::MAX),
                writes,
                value,
                must,
            });
        }
        steps.retain(|step| step.must || (step.writes && read.contains(&step.value)));
        steps.sort_by_key(|step| (step.invoked, step.returned));
        let mut earliest = vec![u64::MAX; steps.len() + 1];
        let mut owed = vec![0; steps.len() + 1];
        for (index, step) in steps.iter().enumerate().rev() {
            earliest[index] = earliest[index + 1].min(step.returned);
            owed[index] = owed[index + 1] + usize::from(step.must);
        }
        Search {
            steps,
            earliest,
            owed,
            values,
            start,
            seen: BTreeSet::new(),
            ends: BTreeSet::new(),
            stuck: Stuck {
                placed: 0,
                operation: 0,
            },
        }
    }

    /// Searches until an order is found or, with `all`, finds all orders and so all final values.
    fn run(&mut self, all: bool) {
        let starts = std::mem::take(&mut self.start);
        let mut agenda: Vec<SearchState> = Vec::new();
        for holds in starts {
            self.visit(
                SearchState {
                    low: 0,
                    above: Vec::new(),
                    holds,
                },
                &mut agenda,
            );
        }
        while let Some(place) = agenda.pop() {
            let candidates = self.candidates(&place);
            if candidates.done {
                self.ends.insert(place.holds);
                if !all {
                    return;
                }
            }
            // The last pushed is tried first: the write that ends first.
            for step in candidates.writes.into_iter().rev() {
                let mut next = place.clone();
                next.holds = self.steps[step].value;
                next.take(step);
                self.visit(next, &mut agenda);
            }
        }
    }

    /// Takes the reads that fit, and remembers the state, if it is new.
    fn visit(&mut self, mut place: SearchState, agenda: &mut Vec<SearchState>) {
        while let Some(read) = self.fitting_read(&place) {
            place.take(read);
        }
        if self.seen.contains(&place) {
            return;
        }
        self.note(&place);
        self.seen.insert(place.clone());
        agenda.push(place);
    }

    /// The remaining steps that begin before any remaining step has ended.
    fn open<'s>(&'s self, place: &'s SearchState) -> impl Iterator<Item = usize> + 's {
        let deadline = self.deadline(place);
        let rest = place.low..self.steps.len();
        rest.take_while(move |step| self.steps[*step].invoked <= deadline)
            .filter(|step| place.above.binary_search(step).is_err())
    }

    /// The earliest end of the remaining steps.
    fn deadline(&self, place: &SearchState) -> u64 {
        let Some(last) = place.above.last() else {
            return self.earliest[place.low];
        };
        let between = (place.low..*last).filter(|step| place.above.binary_search(step).is_err());
        let between = between.map(|step| self.steps[step].returned);
        between
            .min()
            .unwrap_or(u64::MAX)
            .min(self.earliest[last + 1])
    }

    fn fitting_read(&self, place: &SearchState) -> Option<usize> {
        self.open(place).find(|step| {
            let step = &self.steps[*step];
            !step.writes && step.value == place.holds
        })
    }

    fn candidates(&self, place: &SearchState) -> Candidates {
        let mut writes: Vec<usize> = self.open(place).filter(|s| self.steps[*s].writes).collect();
        writes.sort_by_key(|step| self.steps[*step].returned);
        let placed = place.above.iter().filter(|step| self.steps[**step].must);
        let done = self.owed[place.low] == placed.count();
        Candidates { done, writes }
    }

    /// Remembers the largest number of placed operations.
    fn note(&mut self, place: &SearchState) {
        let placed = place.low + place.above.len();
        if placed < self.stuck.placed {
            return;
        }
        let open = self.open(place).filter(|step| self.steps[*step].must);
        let first = open.min_by_key(|step| self.steps[*step].returned);
        if let Some(step) = first {
            let operation = self.steps[step].index;
            self.stuck = Stuck { placed, operation };
        }
    }
}

struct Candidates {
    /// Whether everything that has returned is placed.
    done: bool,
    writes: Vec<usize>,
}

#[cfg(test)]
mod tests;
