//! Registers, as clients and operators of this replica use them through its node.
//!
//! Several clients of one replica may use the same register. An operation that comes while another one on the
//! same register is in flight waits in the register's queue; neighbours in the queue that want the same share
//! the next operation, as [the node](quorate_runtime::node::Registers) does it. An operation that still waits
//! at its deadline leaves the queue, and its caller is told that nothing was done. The total size of all
//! waiting operations is bounded.
use super::{
    outcomes::{Outcomes, Server},
    replica::{ROOM, Refusal},
    unwritten::Held,
    view::View,
};
use bytes::Bytes;
use quorate_abstractions::register::Tag;
use quorate_core::message::digest;
use quorate_runtime::{
    MemoryError,
    node::{self, Pending, Withdrawal},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// How many bytes of the room an operation takes, beside its register's name and its value.
const OVERHEAD: usize = 128;

/// The register that is read to see whether operations return.
const PROBED: &[u8] = b"";

/// An operation on a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Read,
    Write(Bytes),
}

/// The result of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// The register was read.
    Read {
        /// Identifies the write that has written the value.
        tag: Tag,
        /// The value that was read; `None` if the register was never written.
        value: Option<Bytes>,
    },
    /// The value was written.
    Written,
}

/// Why nothing was done.
#[derive(Clone, Debug)]
pub enum NotDone {
    /// This process does not take part, or there was no room until the deadline.
    Refused(Refusal),
    /// The operation or its result would be too long, as these words explain.
    TooMuch(String),
    /// The node refuses.
    Failed(MemoryError),
}

/// Why an operation has not returned at the deadline.
#[derive(Clone, Debug)]
pub enum Unreturned {
    /// The operation was not begun, and will not be.
    NotBegun,
    InFlight,
    /// The node refuses.
    Failed(MemoryError),
}

/// What `/status` and `/metrics` say of the registers.
pub struct Progress {
    /// Operations that have returned.
    pub returned: u64,
    /// The number of registers known here.
    pub known: usize,
    /// Registers with an operation in flight.
    pub in_flight: usize,
}

/// The lengths of the values of written registers, by the digests of the registers' names. Clones share them.
#[derive(Clone, Default)]
pub struct Lengths(Arc<Mutex<BTreeMap<u64, (Tag, usize)>>>);

impl Lengths {
    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, (Tag, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the length of a value that was written, here or elsewhere. Only the newest known write of a
    /// register counts.
    pub fn learn(&self, register: &[u8], tag: Tag, length: usize) {
        let mut known = self.known();
        let entry = known.entry(digest(register)).or_insert((tag, length));
        if entry.0 < tag {
            *entry = (tag, length);
        }
    }
}

struct Shared {
    handle: node::Registers<Bytes>,
    lengths: Lengths,
    /// The most bytes that a name and its value may have together.
    longest: usize,
    room: Arc<Semaphore>,
    view: View,
    outcomes: Outcomes,
    /// How many operations have returned to a waiting caller.
    returned: Arc<AtomicU64>,
    probe: Mutex<Option<Pending<()>>>,
}

/// Registers. Clones share them.
#[derive(Clone)]
pub struct Registers(Arc<Shared>);

/// An operation's place in the queue of its register. Dropping it takes the operation out of the queue,
/// unless it has begun, and releases what was returned.
pub struct QueuedOperation {
    pending: Option<Pending<(Done, Held)>>,
    held: Option<Held>,
}

impl Registers {
    /// The registers of a node. A name and its value may have `longest` bytes together.
    pub fn new(
        handle: node::Registers<Bytes>,
        lengths: Lengths,
        longest: usize,
        view: &View,
    ) -> Self {
        Registers(Arc::new(Shared {
            handle,
            lengths,
            longest,
            room: Arc::new(Semaphore::new(ROOM)),
            view: view.clone(),
            outcomes: view.outcomes().clone(),
            returned: Arc::default(),
            probe: Mutex::default(),
        }))
    }

    /// Puts an operation in its register's queue, behind all that this caller has put there before. Waits for
    /// room until the deadline. What it returns is counted as `held`.
    pub async fn submit(
        &self,
        register: Bytes,
        action: Action,
        deadline: Instant,
        mut held: Held,
    ) -> Result<QueuedOperation, NotDone> {
        let voter = self.0.view.voter(deadline).await;
        voter.map_err(|words| NotDone::Refused(Refusal::NotVoter(words)))?;
        let value = match &action {
            Action::Read => 0,
            Action::Write(value) => value.len(),
        };
        let (length, longest) = (register.len() + value, self.0.longest);
        if length > longest {
            return Err(NotDone::TooMuch(format!(
                "key and value have {length} bytes together, but a register takes at most {longest}"
            )));
        }
        let bytes = (length + OVERHEAD).min(ROOM) as u32;
        let room = timeout_at(deadline, self.0.room.clone().acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            return Err(NotDone::Refused(Refusal::NoQuorum));
        };
        let (outcomes, returned) = (self.0.outcomes.clone(), self.0.returned.clone());
        let pending = match &action {
            Action::Read => {
                let (lengths, name) = (self.0.lengths.clone(), register.clone());
                self.0.handle.read_then(&register, move |reading| {
                    outcomes.upon_return(reading.lasted);
                    returned.fetch_add(1, Relaxed);
                    let (tag, value) = (reading.tag, reading.value);
                    let length = value.as_ref().map_or(0, Bytes::len);
                    if value.is_some() {
                        lengths.learn(&name, tag, length);
                    }
                    held.set(length);
                    drop(room);
                    (Done::Read { tag, value }, held)
                })
            }
            Action::Write(value) => self.0.handle.write_then(&register, value, move |lasted| {
                outcomes.upon_return(lasted);
                returned.fetch_add(1, Relaxed);
                held.set(0);
                drop(room);
                (Done::Written, held)
            }),
        };
        Ok(QueuedOperation {
            pending: Some(pending.map_err(NotDone::Failed)?),
            held: None,
        })
    }

    /// The length of a register's value, as far as it is known here.
    pub fn length(&self, register: &[u8]) -> usize {
        let known = self.0.lengths.known();
        known
            .get(&digest(register))
            .map_or(0, |(_, length)| *length)
    }

    /// The counts for `/status` and `/metrics`.
    pub fn progress(&self) -> Progress {
        Progress {
            returned: self.0.returned.load(Relaxed),
            known: self.0.lengths.known().len(),
            in_flight: self.0.handle.progress().in_flight,
        }
    }
}

impl QueuedOperation {
    /// The outcome, if the operation has returned.
    pub fn try_outcome(&mut self) -> Option<Result<Done, MemoryError>> {
        let returned = self.pending.as_mut()?.try_outcome()?;
        self.pending = None;
        Some(returned.map(|returned| self.keep(returned)))
    }

    fn keep(&mut self, (done, held): (Done, Held)) -> Done {
        self.held = Some(held);
        done
    }

    /// Waits for the outcome until the deadline.
    pub async fn outcome(&mut self, deadline: Instant) -> Result<Done, Unreturned> {
        let Some(mut pending) = self.pending.take() else {
            return Err(Unreturned::InFlight);
        };
        let returned = match timeout_at(deadline, &mut pending).await {
            Ok(returned) => returned,
            Err(_) => match pending.withdraw() {
                Withdrawal::NotBegun => return Err(Unreturned::NotBegun),
                Withdrawal::InFlight(_) => return Err(Unreturned::InFlight),
                Withdrawal::Returned(returned) => returned,
            },
        };
        let returned = returned.map_err(Unreturned::Failed)?;
        Ok(self.keep(returned))
    }
}

impl Server for Registers {
    fn oldest(&self) -> Option<Duration> {
        self.0.handle.progress().oldest
    }

    /// Reads a register without waiting for the result.
    fn probe(&self) {
        let outcomes = self.0.outcomes.clone();
        let probe = self.0.handle.read_then(PROBED, move |reading| {
            outcomes.upon_return(reading.lasted);
        });
        // The operation is kept, so that it stays in its queue. If it was refused, that is no success.
        *self.0.probe.lock().unwrap_or_else(PoisonError::into_inner) = probe.ok();
    }
}

#[cfg(test)]
pub(crate) mod tests;
