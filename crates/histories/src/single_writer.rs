//! Regular and atomic registers that one process writes: writes are numbered, and a read returns the value of
//! one of them.
//!
//! # Cost
//! O(k log k) for k operations.
use crate::history::{Action, Operation};
use std::collections::BTreeMap;

/// How a history violates the rules of a single-writer register.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// The history does not have a single writer that writes one value after the other, each value once.
    #[error("{0}: a single writer writes one value after the other, each once")]
    Writers(String),
    /// A read returns a value that is neither that of the last write before it nor that of a write that
    /// overlaps it.
    #[error("{0}: neither the last value written before it, nor one whose write overlaps it")]
    NotRegular(String),
    /// A read returns an older value than a read that ended before it began.
    #[error("{later}: older than what was read before it: {earlier}")]
    NotOrdered {
        /// The read that ended first.
        earlier: String,
        /// The read that returns the older value.
        later: String,
    },
}

/// A read that has returned, with the number of the write that it returns: 0 means no write.
struct Read<'o, V> {
    write: usize,
    operation: &'o Operation<V>,
}

/// The writes in their order, and the reads.
struct Sorted<'o, V> {
    writes: Vec<&'o Operation<V>>,
    reads: Vec<Read<'o, V>>,
}

fn sort<V: Ord + std::fmt::Debug>(operations: &[Operation<V>]) -> Result<Sorted<'_, V>, Violation> {
    let mut writes: Vec<_> = operations.iter().filter(|o| o.is_write()).collect();
    writes.sort_by_key(|write| write.invoked);
    for pair in writes.windows(2) {
        let in_order = pair[0].returned.is_some_and(|end| end <= pair[1].invoked);
        if !in_order || pair[0].process != pair[1].process {
            return Err(Violation::Writers(pair[1].to_string()));
        }
    }
    let mut numbers = BTreeMap::new();
    for (number, write) in (1..).zip(&writes) {
        if let Action::Write(value) = &write.action
            && numbers.insert(value, number).is_some()
        {
            return Err(Violation::Writers(write.to_string()));
        }
    }
    let mut reads = Vec::new();
    for operation in operations {
        let value = match &operation.action {
            Action::Read(value) if operation.returned.is_some() => value,
            Action::Read(_) | Action::Write(_) => continue,
        };
        let write = match value {
            None => Some(0),
            Some(value) => numbers.get(value).copied(),
        };
        let write = write.ok_or_else(|| Violation::NotRegular(operation.to_string()))?;
        reads.push(Read { write, operation });
    }
    Ok(Sorted { writes, reads })
}

/// Whether the operations on one register are possible for a regular register.
///
/// # Errors
/// When they are not; the error says why.
pub fn check_regular<V: Ord + std::fmt::Debug>(
    operations: &[Operation<V>],
) -> Result<(), Violation> {
    regular(&sort(operations)?)
}

fn regular<V: Ord + std::fmt::Debug>(sorted: &Sorted<'_, V>) -> Result<(), Violation> {
    let writes = &sorted.writes;
    for Read { write, operation } in &sorted.reads {
        // Writes end in their order: how many had ended before the read began, and how many had begun before
        // it ended.
        let ended = writes.partition_point(|write| write.is_before(operation));
        let end = operation.returned.unwrap_or(u64::MAX);
        let begun = writes.partition_point(|write| write.invoked <= end);
        if *write < ended || *write > begun {
            return Err(Violation::NotRegular(operation.to_string()));
        }
    }
    Ok(())
}

/// Whether the operations on one register are possible for an atomic register: regular, and reads ordered.
///
/// # Errors
/// When they are not; the error says why.
pub fn check_atomic<V: Ord + std::fmt::Debug>(
    operations: &[Operation<V>],
) -> Result<(), Violation> {
    let sorted = sort(operations)?;
    regular(&sorted)?;
    ordered(&sorted)
}

/// Whether no read returns an older value than a read that ended before it began. Other errors are ignored.
///
/// # Errors
/// When a read does, or the history does not have a single writer.
pub fn check_ordered<V: Ord + std::fmt::Debug>(
    operations: &[Operation<V>],
) -> Result<(), Violation> {
    ordered(&sort(operations)?)
}

fn ordered<V: Ord + std::fmt::Debug>(sorted: &Sorted<'_, V>) -> Result<(), Violation> {
    let mut by_end: Vec<&Read<'_, V>> = sorted.reads.iter().collect();
    by_end.sort_by_key(|read| read.operation.returned);
    let mut by_begin: Vec<&Read<'_, V>> = sorted.reads.iter().collect();
    by_begin.sort_by_key(|read| read.operation.invoked);
    let mut ended = by_end.into_iter().peekable();
    let mut newest: Option<&Read<'_, V>> = None;
    for read in by_begin {
        while let Some(earlier) = ended.next_if(|e| e.operation.is_before(read.operation)) {
            if newest.is_none_or(|newest| newest.write < earlier.write) {
                newest = Some(earlier);
            }
        }
        if let Some(newest) = newest.filter(|newest| newest.write > read.write) {
            return Err(Violation::NotOrdered {
                earlier: newest.operation.to_string(),
                later: read.operation.to_string(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linearizable;
    use proptest::prelude::*;

    fn write(value: u64, invoked: u64, returned: Option<u64>) -> Operation<u64> {
        Operation {
            process: 1,
            action: Action::Write(value),
            invoked,
            returned,
            tag: None,
        }
    }

    fn read(process: u64, value: Option<u64>, invoked: u64, returned: u64) -> Operation<u64> {
        Operation {
            process,
            action: Action::Read(value),
            invoked,
            returned: Some(returned),
            tag: None,
        }
    }

    #[test]
    fn a_read_may_return_the_last_value_or_one_that_is_being_written() {
        let writes = [write(1, 0, Some(2)), write(2, 5, None)];
        for (value, begin, good) in [
            (Some(1), 3, true),
            (None, 3, false),
            (None, 1, true),
            (Some(2), 4, true),
            (Some(2), 90, true),
            (Some(1), 90, true),
            (Some(3), 90, false),
        ] {
            let mut operations = writes.to_vec();
            operations.push(read(2, value, begin, begin + 2));
            let checked = check_regular(&operations);
            assert_eq!(checked.is_ok(), good, "{value:?} at {begin}: {checked:?}");
        }
    }

    #[test]
    fn a_new_value_and_then_the_old_one_is_regular_and_not_atomic() {
        let operations = [
            write(1, 0, Some(9)),
            read(2, Some(1), 1, 2),
            read(3, None, 3, 4),
        ];
        assert_eq!(check_regular(&operations), Ok(()));
        assert!(matches!(
            check_atomic(&operations),
            Err(Violation::NotOrdered { .. })
        ));
    }

    #[test]
    fn a_value_from_the_future_and_a_second_writer_are_refused() {
        let future = [read(2, Some(1), 0, 1), write(1, 2, Some(3))];
        assert!(matches!(
            check_regular(&future),
            Err(Violation::NotRegular(_))
        ));
        let overlapping = [write(1, 0, Some(5)), write(2, 3, Some(6))];
        assert!(matches!(
            check_regular(&overlapping),
            Err(Violation::Writers(_))
        ));
        let again = [write(1, 0, Some(1)), write(1, 3, Some(6))];
        assert!(check_regular(&again).is_err());
    }

    /// Histories with one write after the other, and reads of any value at any time.
    fn histories() -> impl Strategy<Value = Vec<Operation<u64>>> {
        let writes = (0..4_u64, any::<bool>());
        let reads = prop::collection::vec((0..5_u64, 0..40_u64, 0..12_u64), 0..6);
        (writes, reads).prop_map(|((count, last_pends), reads)| {
            let mut operations: Vec<_> = (1..=count)
                .map(|number| {
                    let pends = last_pends && number == count;
                    write(number, number * 8, (!pends).then_some(number * 8 + 5))
                })
                .collect();
            for (process, (value, begin, length)) in (2..).zip(reads) {
                let value = (value > 0).then_some(value);
                operations.push(read(process, value, begin, begin + length));
            }
            operations
        })
    }

    proptest! {
        /// With one writer, atomic is the same as linearizable.
        #[test]
        fn atomic_is_linearizable(operations in histories()) {
            let atomic = check_atomic(&operations).is_ok();
            let linearizable = linearizable::check_register(&operations).is_ok();
            prop_assert_eq!(atomic, linearizable);
        }
    }
}
