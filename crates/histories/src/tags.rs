//! Checks the order of the writes as reported by an implementation against real time.
//!
//! If each operation that returned carries the tag of the write that it was or read, linearizability need not
//! be searched: it suffices that tags follow real time, and that each value that was read was written with
//! its tag, by a write that had begun. The converse does not hold: an implementation whose tags are wrong may
//! still be linearizable.
//!
//! # Cost
//! O(k log k) for k operations.
use crate::history::{Action, Operation, Tag};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut},
    fmt::Debug,
};

/// Why the tags are wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// An operation has a smaller tag than one before it, or a write does not have a greater one.
    #[error(
        "{later} has the tag {tag:?}, which does not follow {before:?} of an operation before it"
    )]
    Order {
        /// The operation that began later.
        later: String,
        tag: Tag,
        /// The greatest tag before it.
        before: Tag,
    },
    /// Two writes have the same tag.
    #[error("{0}: two writes have the same tag")]
    SameTag(String),
    /// A read returns another value than the one written with its tag.
    #[error("{0}: another value was written with its tag")]
    OtherValue(String),
}

/// Whether the tags of the operations on one register follow real time, each belongs to one write, and reads
/// return the value that was written with their tag. A write that never returned has the tag with which its
/// value is read, if it is read. Operations that returned without a tag are ignored.
///
/// # Errors
/// When they do not; the error says why.
pub fn check<V: Ord + Debug>(operations: &[Operation<V>]) -> Result<(), Violation> {
    let done: Vec<_> = operations
        .iter()
        .filter_map(|o| Some((o, o.tag?)))
        .filter(|(o, _)| o.returned.is_some())
        .collect();
    values(operations, &done)?;
    order(&done)
}

fn values<V: Ord + Debug>(
    operations: &[Operation<V>],
    done: &[(&Operation<V>, Tag)],
) -> Result<(), Violation> {
    let mut written = BTreeMap::new();
    for (operation, tag) in done {
        if let Action::Write(value) = &operation.action
            && written.insert(*tag, value).is_some()
        {
            return Err(Violation::SameTag(operation.to_string()));
        }
    }
    let mut open = open_writes(operations);
    // In the order of their ends, so that of the reads with one tag the first comes first.
    let mut reads = done.to_vec();
    reads.sort_by_key(|(operation, _)| operation.returned);
    for (operation, tag) in reads {
        let Action::Read(value) = &operation.action else {
            continue;
        };
        let fits = match (value, written.get(&tag)) {
            (None, _) => tag == Tag::default(),
            (Some(_), _) if tag == Tag::default() => false,
            (Some(value), Some(known)) => *known == value,
            // A write that never returned takes effect with this tag, if one had begun by now.
            (Some(value), None) => {
                let begun = open.get_mut(value).and_then(BinaryHeap::peek_mut);
                let begun = begun.filter(|begun| Some(begun.0) <= operation.returned);
                begun.map(PeekMut::pop).is_some_and(|_| {
                    written.insert(tag, value);
                    true
                })
            }
        };
        if !fits {
            return Err(Violation::OtherValue(operation.to_string()));
        }
    }
    Ok(())
}

/// For each value, the times at which its writes began that have not returned, or have no tag.
fn open_writes<V: Ord>(operations: &[Operation<V>]) -> BTreeMap<&V, BinaryHeap<Reverse<u64>>> {
    let mut open: BTreeMap<&V, BinaryHeap<Reverse<u64>>> = BTreeMap::new();
    for operation in operations {
        if let Action::Write(value) = &operation.action
            && (operation.returned.is_none() || operation.tag.is_none())
        {
            let begun = Reverse(operation.invoked);
            open.entry(value).or_default().push(begun);
        }
    }
    open
}

fn order<V: Debug>(done: &[(&Operation<V>, Tag)]) -> Result<(), Violation> {
    let mut by_end = done.to_vec();
    by_end.sort_by_key(|(operation, _)| operation.returned);
    let mut by_begin = done.to_vec();
    by_begin.sort_by_key(|(operation, _)| operation.invoked);
    let mut ended = by_end.into_iter().peekable();
    let mut before = Tag::default();
    for (operation, tag) in by_begin {
        while let Some((_, earlier)) = ended.next_if(|(e, _)| e.is_before(operation)) {
            before = before.max(earlier);
        }
        if tag < before || (operation.is_write() && tag == before) {
            let later = operation.to_string();
            return Err(Violation::Order { later, tag, before });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(timestamp: u64, writer: u64) -> Tag {
        Tag { timestamp, writer }
    }

    fn operation(action: Action<u64>, tag: Tag, invoked: u64, returned: u64) -> Operation<u64> {
        Operation {
            process: 1,
            action,
            invoked,
            returned: Some(returned),
            tag: Some(tag),
        }
    }

    #[test]
    fn tags_follow_real_time() {
        let write = |value, t, begin, end| operation(Action::Write(value), t, begin, end);
        let read = |value, t, begin, end| operation(Action::Read(Some(value)), t, begin, end);
        let good = [
            write(1, tag(1, 1), 0, 1),
            write(2, tag(2, 3), 0, 5),
            read(2, tag(2, 3), 2, 3),
            read(2, tag(2, 3), 6, 7),
        ];
        assert_eq!(check(&good), Ok(()));
        let stale = [good.to_vec(), vec![read(1, tag(1, 1), 4, 5)]].concat();
        assert!(matches!(check(&stale), Err(Violation::Order { .. })));
        let lost = [good.to_vec(), vec![write(3, tag(2, 3), 8, 9)]].concat();
        assert!(matches!(check(&lost), Err(Violation::SameTag(_))));
        let low = [good.to_vec(), vec![write(3, tag(2, 2), 8, 9)]].concat();
        assert!(matches!(check(&low), Err(Violation::Order { .. })));
        let other = [good.to_vec(), vec![read(7, tag(2, 3), 8, 9)]].concat();
        assert!(matches!(check(&other), Err(Violation::OtherValue(_))));
    }

    #[test]
    fn a_value_that_is_read_was_written_or_is_being_written() {
        let open = |value, invoked| Operation {
            returned: None,
            tag: None,
            ..operation(Action::Write(value), tag(0, 0), invoked, 0)
        };
        let read = |value, t, begin, end| operation(Action::Read(Some(value)), t, begin, end);
        let reads = [read(1, tag(5, 1), 2, 3), read(1, tag(5, 1), 4, 5)];
        let after = |writes: &[Operation<u64>]| check(&[writes, &reads].concat());
        assert_eq!(after(&[open(1, 0)]), Ok(()));
        // Written by no operation; by one that began later; by one of another value; with two tags.
        assert!(matches!(after(&[]), Err(Violation::OtherValue(_))));
        assert!(matches!(
            after(&[open(1, 4)]),
            Err(Violation::OtherValue(_))
        ));
        assert!(matches!(
            after(&[open(2, 0)]),
            Err(Violation::OtherValue(_))
        ));
        let twice = [open(1, 0), reads[0].clone(), read(1, tag(6, 1), 4, 5)];
        assert!(matches!(check(&twice), Err(Violation::OtherValue(_))));
        assert_eq!(
            check(&[
                open(1, 0),
                twice.to_vec()[0].clone(),
                reads[0].clone(),
                twice[2].clone()
            ]),
            Ok(())
        );
        assert!(check(&[read(1, tag(0, 0), 0, 1)]).is_err());
    }

    #[test]
    fn what_nobody_has_written_yet_has_the_least_tag() {
        let nothing = |tag| operation(Action::Read(None), tag, 0, 1);
        assert_eq!(check(&[nothing(tag(0, 0))]), Ok(()));
        assert!(check(&[nothing(tag(1, 1))]).is_err());
    }
}
