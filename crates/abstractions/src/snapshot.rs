//! Single-writer atomic snapshot: an array with one segment per process. Each owner updates its segment, and
//! every process can scan all segments at once.
//!
//! - **SN1 termination** (liveness): every operation of a correct process returns, whatever the others do
//!   (wait-freedom).
//! - **SN1-O obstruction-freedom** (liveness), weaker: an operation of a correct process returns if from some time on
//!   no other correct process has one in flight.
//! - **SN2 atomicity** (safety): the operations are linearizable: a scan returns of each segment the
//!   value of the last update before it, and scans are ordered. Operations that never return take effect
//!   once or never.
//!
//! # The contract of the user
//! A process has one operation in flight at a time: another is [refused](Refusal::Busy), without effect.
//! A process numbers its operations, each number once.
use bytes::Bytes;
use quorate_core::{Observation, Observe, message::digest};

/// What is requested, and what is indicated.
pub type Port = (Request, Indication);

/// Requests an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The user's number for the operation.
    pub operation: u64,
    pub action: Action,
}

/// An operation on the snapshot object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write this value to this process's segment.
    Update(Bytes),
    /// Read all segments, as of one moment.
    Scan,
}

/// Indicates what became of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indication {
    pub operation: u64,
    /// How it ended.
    pub outcome: SnapshotResponse,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotResponse {
    /// An update returns.
    Updated,
    /// A scan returns.
    Scanned(View),
    /// The operation was not started, and has no effect.
    Refused(Refusal),
}

/// All segments as of one moment, in the order of the processes p1 … pn.
pub type View = Vec<Segment>;

/// A segment as of one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// How many updates the segment has had.
    pub sequence: u64,
    /// The value; empty before any update.
    pub value: Bytes,
}

/// Why an operation is not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// An operation of this process is in flight.
    #[error("an operation of this process is in flight")]
    Busy,
    /// The segment has had the maximum number of updates.
    #[error("the segment has had as many updates as can be counted")]
    Exhausted,
}

/// What an observation can carry of a view: the number of updates of each segment, one byte per process, for
/// the first eight processes and up to 255 updates.
pub fn packed(view: &[Segment]) -> u64 {
    let byte = |segment: Option<&Segment>| segment.map_or(0, |s| s.sequence.min(255) as u8);
    u64::from_le_bytes(std::array::from_fn(|index| byte(view.get(index))))
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        let observation = match &self.action {
            Action::Update(value) => Observation::request("Update").digest(digest(value)),
            Action::Scan => Observation::request("Scan"),
        };
        observation.instance(self.operation)
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        let observation = match &self.outcome {
            SnapshotResponse::Updated => Observation::indication("UpdateReturn"),
            SnapshotResponse::Scanned(view) => {
                Observation::indication("ScanReturn").digest(packed(view))
            }
            SnapshotResponse::Refused(_) => Observation::indication("Refused"),
        };
        observation.instance(self.operation)
    }
}
