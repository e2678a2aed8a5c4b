//! The handle of an atomic snapshot: an array with a segment a process, which is read at once.
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

/// The longest value of a segment: messages carry one of each process, and the own one twice.
pub(super) fn longest_segment(builder: &Builder) -> usize {
    let room = builder.link.maximum_message.saturating_sub(HEADS);
    (room / (builder.processes() + 1)).saturating_sub(SEGMENT)
}

/// Updates this process's segment of an atomic snapshot, which holds a value of type `T`, and scans those
/// of all processes, as of one moment. Clones share the module.
///
/// This process has one operation in flight at a time: others wait in line, in the order of the calls. Neighbours
/// in the line who want the same share the next operation: scans return what it has seen, and of updates the last
/// one's value is given, as if the others had been overwritten at once. A call that is dropped while it waits in
/// line has not begun, and never will; one that is dropped while it is in flight goes on, and the line when it has
/// returned. Where there is no majority, operations wait for it.
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

    /// Gives this process's segment a value. Scans that begin after this has returned see it, or a later
    /// one.
    ///
    /// # Errors
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge): a
    /// message carries the values of all processes, and their limit is that of messages by n+1;
    /// [`Unencodable`](Error::Unencodable). [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended before it
    /// began: there was no update. [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while the update is in
    /// flight: it takes effect once, at any time, or never.
    pub async fn update(&self, value: &T) -> Result<(), MemoryError> {
        let value = (self.codec.encode)(value)?;
        let (size, limit) = (value.len(), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit }.into());
        }
        let update = self.operations.operate((), size, Action::Update(value));
        match update.await? {
            SnapshotResponse::Updated => Ok(()),
            // An operation has begun that the handle knows nothing of.
            SnapshotResponse::Scanned(_) | SnapshotResponse::Refused(_) => Err(MemoryError::Busy),
        }
    }

    /// The values of all segments, in the order of the processes p1 … pn, as of one moment between the
    /// call and its return; `None` of those that have had no update. All scans of all processes are
    /// ordered: of two, one has the same as the other, or something newer, in every segment.
    ///
    /// # Errors
    /// [`UndecodableSegment`](MemoryError::UndecodableSegment) when a value is no `T`; and as
    /// [`update`](Segments::update), but for the errors of values.
    pub async fn scan(&self) -> Result<Vec<Option<T>>, MemoryError> {
        let segments = self.scan_numbered().await?;
        Ok(segments.into_iter().map(|(_, value)| value).collect())
    }

    /// As [`scan`](Segments::scan), each value with how many updates its segment has had: of those that have shared
    /// an operation the last one counts.
    ///
    /// # Errors
    /// As [`scan`](Segments::scan).
    pub async fn scan_numbered(&self) -> Result<Vec<(u64, Option<T>)>, MemoryError> {
        match self.operations.operate((), 0, Action::Scan).await? {
            SnapshotResponse::Scanned(view) => {
                let segments = view.into_iter().enumerate();
                segments.map(|it| decode(self.codec, it)).collect()
            }
            // An operation has begun that the handle knows nothing of.
            SnapshotResponse::Updated | SnapshotResponse::Refused(_) => Err(MemoryError::Busy),
        }
    }

    /// How far the operations of this process have come.
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
    // A view has no more segments than there are processes.
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
    /// Declares an atomic snapshot: an array with a segment a process, of values of type `T`, which its
    /// owner updates, and everybody scans at once. Its operations are linearizable. Over atomic registers
    /// by majorities, without a leader or a detector: they return as long as a majority lives.
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
