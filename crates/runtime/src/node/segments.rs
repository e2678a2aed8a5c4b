//! The handle of an atomic snapshot: an array with one segment for each process, which is read at one
//! moment.
use super::{
    Builder, Wiring,
    codec::{Coded, Coding},
    modules::HEADS,
    operations::{Begun, Operations, Sharing},
    pending::Progress,
};
use crate::{
    error::{Error, MemoryError, StartError},
    host::TokioHost,
};
use quorate_abstractions::{
    link::Links,
    pressure::Wait,
    snapshot::{Action, Indication, Request, Segment, SnapshotResponse},
};
use quorate_core::{Addr, Host, ProcessId};
use quorate_links::perfect::PerfectLinks;
use quorate_registers::{multi_writer, snapshot_from_registers};
use std::{fmt, sync::Arc};

/// What [`Wiring::snapshot`] is made of, top down.
pub(super) const SNAPSHOT: &str = "snapshot:from-registers register:multi-writer-majority";

/// What a segment's length and the number of its updates take in a message, at most.
pub(super) const SEGMENT: usize = 20;

/// The longest value of a segment, in bytes. A message carries one segment of each process, and the own one
/// twice.
pub(super) fn longest_segment(builder: &Builder) -> usize {
    let room = builder.link.maximum_message.saturating_sub(HEADS);
    (room / (builder.processes() + 1)).saturating_sub(SEGMENT)
}

/// Updates this process's segment of an atomic snapshot, which holds a value of type `T`, and scans the
/// segments of all processes as of one moment. Clones share the module.
///
/// This process has one operation in flight at a time: others wait in a queue, in the order of the calls.
/// Operations of the same kind that are next to each other in the queue share the next operation: all scans
/// return what it has seen, and of several updates the last one's value is given, as if it had overwritten
/// the others at once. A call that is dropped while it waits in the queue has not begun, and never will. A
/// call that is dropped while it is in flight goes on, and the queue continues when it has returned. While
/// there is no majority, operations wait for it.
pub struct Segments<T> {
    operations: Arc<Operations<(), Action, SnapshotResponse>>,
    limit: usize,
    codec: Coding<T>,
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
    pub(super) fn new(
        operations: Arc<Operations<(), Action, SnapshotResponse>>,
        limit: usize,
        codec: Coding<T>,
    ) -> Self {
        Segments {
            operations,
            limit,
            codec,
        }
    }

    /// Gives this process's segment a value. Scans that begin after this call has returned see this value,
    /// or a later one.
    ///
    /// # Errors
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted);
    /// [`TooLarge`](Error::TooLarge): a message carries the values of all processes, so that a value has at
    /// most the limit of messages divided by n+1; [`Unencodable`](Error::Unencodable).
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before the update began: there was no update. [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends
    /// while the update is in flight: the update takes effect once, at any time, or never.
    pub async fn update(&self, value: &T) -> Result<(), MemoryError> {
        let value = (self.codec.encode)(value)?;
        let (size, limit) = (value.len(), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit }.into());
        }
        let update = self.operations.operate((), size, Action::Update(value));
        match update.await? {
            SnapshotResponse::Updated => Ok(()),
            // Some other code has begun an operation that the handle does not know.
            SnapshotResponse::Scanned(_) | SnapshotResponse::Refused(_) => Err(MemoryError::Busy),
        }
    }

    /// The values of all segments, in the order of the processes p1 … pn, as of one moment between the call
    /// and its return; `None` for a segment without an update. All scans of all processes are ordered: of
    /// two scans, one has the same value as the other, or a newer one, in every segment.
    ///
    /// # Errors
    /// [`UndecodableSegment`](MemoryError::UndecodableSegment) when a value is no `T`. Otherwise as
    /// [`update`](Segments::update), without the errors of values.
    pub async fn scan(&self) -> Result<Vec<Option<T>>, MemoryError> {
        let segments = self.scan_numbered().await?;
        Ok(segments.into_iter().map(|(_, value)| value).collect())
    }

    /// Like [`scan`](Segments::scan), with the number of updates that each segment has had. Updates that
    /// share an operation count as one.
    ///
    /// # Errors
    /// As [`scan`](Segments::scan).
    pub async fn scan_numbered(&self) -> Result<Vec<(u64, Option<T>)>, MemoryError> {
        match self.operations.operate((), 0, Action::Scan).await? {
            SnapshotResponse::Scanned(view) => {
                let segments = view.into_iter().enumerate();
                segments.map(|it| decode(self.codec, it)).collect()
            }
            // Some other code has begun an operation that the handle does not know.
            SnapshotResponse::Updated | SnapshotResponse::Refused(_) => Err(MemoryError::Busy),
        }
    }

    /// Counts of this process's operations: waiting, in flight, and returned.
    pub fn progress(&self) -> Progress {
        self.operations.progress()
    }
}

fn decode<T>(
    codec: Coding<T>,
    (index, segment): (usize, Segment),
) -> Result<(u64, Option<T>), MemoryError> {
    let Segment { sequence, value } = segment;
    if sequence == 0 {
        return Ok((0, None));
    }
    let value = (codec.decode)(value);
    // A view has at most as many segments as there are processes.
    let of = ProcessId::from_rank(index + 1);
    let undecodable = || match of {
        Some(of) => MemoryError::UndecodableSegment { of },
        None => Error::Unencodable.into(),
    };
    Ok((sequence, Some(value.ok_or_else(undecodable)?)))
}

/// Atomic snapshots.
impl Wiring {
    /// Starts an atomic snapshot here, over registers of its own.
    pub fn snapshot(&self, up: Addr<Indication>) -> Addr<Request> {
        snapshot(&self.host, &self.links, up)
    }
}

/// An atomic snapshot over registers by majorities.
pub(super) fn snapshot(
    host: &TokioHost,
    links: &PerfectLinks<TokioHost>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let (at, lane) = (host.at("registers"), links.at("registers").lane());
    let status = links.status();
    let below = move |up| multi_writer::spawn(&at, lane, &status, up);
    snapshot_from_registers::spawn(host, below, up)
}

/// Atomic snapshots.
impl Builder {
    /// Declares an atomic snapshot: an array with one segment of type `T` for each process. The owner of a
    /// segment updates it, and every process scans all segments at one moment. Its operations are
    /// linearizable. It stands on atomic registers by majorities, and needs no leader and no failure
    /// detector: operations return as long as a majority is alive.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn snapshot<T>(&mut self, name: impl Into<Coded<T>>) -> Result<Segments<T>, StartError> {
        self.snapshot_of(name.into())
    }

    fn snapshot_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
    ) -> Result<Segments<T>, StartError> {
        let operations = Arc::new(Operations::new(self.limits, Sharing::of_a_kind()));
        let told = operations.clone();
        self.module(&name, &codec.of(&name, SNAPSHOT), move |wiring| {
            let returned = told.clone();
            wiring.pressure(Wait::for_majority(), told.pressure());
            let port = wiring.snapshot(Addr::new(move |indication: Indication| {
                let Indication { operation, outcome } = indication;
                returned.returned(&(), operation, outcome);
            }));
            told.open(port.with(|begun: Begun<(), Action>| Request {
                operation: begun.operation,
                action: begun.action,
            }));
        })?;
        self.handles.agreements.push(operations.clone());
        Ok(Segments::new(operations, longest_segment(self), codec))
    }
}
