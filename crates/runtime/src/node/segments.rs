//! The handle of an atomic snapshot: an array with a segment a process, which is read at once.
use super::{
    Builder,
    modules::HEADS,
    operations::{Begun, Operations},
};
use crate::error::Error;
use quorate_abstractions::{
    pressure::Wait,
    snapshot::{Action, Indication, Outcome, Request, Segment},
};
use quorate_core::{Addr, ProcessId, wire::decode_value};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData, sync::Arc};

/// What a segment's length and the number of its updates take in a message, at most.
pub(super) const SEGMENT: usize = 20;

/// The longest value of a segment: messages carry one of each process, and the own one twice.
pub(super) fn longest_segment(builder: &Builder) -> usize {
    let room = builder.link.maximum_message.saturating_sub(HEADS);
    (room / (builder.processes() + 1)).saturating_sub(SEGMENT)
}

/// Updates this process's segment of an atomic snapshot, which holds a value of type `T`, and scans those
/// of all processes, as of one moment. Clones share the module.
///
/// This process has one operation under way at a time: another is refused, as [`Busy`](Error::Busy). A
/// call that is dropped while it waits goes on, and the snapshot is busy until it has returned. Where
/// there is no majority, operations wait for it.
pub struct Segments<T> {
    operations: Arc<Operations<(), Action, Outcome>>,
    limit: usize,
    values: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Segments<T> {
    fn clone(&self) -> Self {
        Segments {
            operations: self.operations.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for Segments<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").finish_non_exhaustive()
    }
}

impl<T> Segments<T> {
    pub(super) fn new(operations: Arc<Operations<(), Action, Outcome>>, limit: usize) -> Self {
        Segments {
            operations,
            limit,
            values: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned> Segments<T> {
    /// Gives this process's segment a value. Scans that begin after this has returned see it, or a later
    /// one.
    ///
    /// # Errors
    /// [`Busy`](Error::Busy) while an operation of this process is under way;
    /// [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge): a message carries the values of
    /// all processes, and their limit is that of messages by n+1; [`Unencodable`](Error::Unencodable).
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before: there was no update. [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while this
    /// waits: the update takes effect once, at any time, or never.
    pub async fn update(&self, value: &T) -> Result<(), Error> {
        let value = super::handles::encode_readable(value)?;
        let (size, limit) = (value.len(), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let update = self
            .operations
            .operate((), size, || Ok(Action::Update(value)));
        match update.await? {
            Outcome::Updated => Ok(()),
            // An operation has begun that the handle knows nothing of.
            Outcome::Scanned(_) | Outcome::Refused(_) => Err(Error::Busy),
        }
    }

    /// The values of all segments, in the order of the processes p1 … pn, as of one moment between the
    /// call and its return; `None` of those that have had no update. All scans of all processes are
    /// ordered: of two, one has the same as the other, or something newer, in every segment.
    ///
    /// # Errors
    /// [`UndecodableSegment`](Error::UndecodableSegment) when a value is no `T`; and as
    /// [`update`](Segments::update), but for the errors of values.
    pub async fn scan(&self) -> Result<Vec<Option<T>>, Error> {
        match self.operations.operate((), 0, || Ok(Action::Scan)).await? {
            Outcome::Scanned(view) => view.iter().enumerate().map(decode).collect(),
            // An operation has begun that the handle knows nothing of.
            Outcome::Updated | Outcome::Refused(_) => Err(Error::Busy),
        }
    }
}

fn decode<T: DeserializeOwned>((index, segment): (usize, &Segment)) -> Result<Option<T>, Error> {
    if segment.sequence == 0 {
        return Ok(None);
    }
    let value = decode_value(&segment.value).map(Some);
    // A view has no more segments than there are processes.
    let of = ProcessId::from_rank(index + 1);
    value.map_err(|_| of.map_or(Error::Unencodable, |of| Error::UndecodableSegment { of }))
}

/// Atomic snapshots.
impl Builder {
    /// Declares an atomic snapshot: an array with a segment a process, of values of type `T`, which its
    /// owner updates, and everybody scans at once. Its operations are linearizable. Over atomic registers
    /// by majorities, without a leader or a detector: they return as long as a majority lives.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn snapshot<T>(&mut self, name: &str) -> Result<Segments<T>, Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let operations = Arc::new(Operations::new(self.limits));
        let told = operations.clone();
        self.module(name, super::wiring::SNAPSHOT, move |wiring| {
            let returned = told.clone();
            wiring.pressure(Wait::for_majority(), told.pressure());
            let door = wiring.snapshot(Addr::new(move |indication: Indication| {
                let Indication { operation, outcome } = indication;
                returned.returned(&(), operation, outcome);
            }));
            told.open(door.with(|begun: Begun<(), Action>| Request {
                operation: begun.operation,
                action: begun.action,
            }));
        })?;
        self.handles.agreements.push(operations.clone());
        Ok(Segments::new(operations, longest_segment(self)))
    }
}
