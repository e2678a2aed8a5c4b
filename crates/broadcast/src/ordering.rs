//! What the algorithms of total order share: how much is in flight, batches of requests, and cuts.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    message::Origin,
    wire::{self, Plain},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Limits on what is in flight at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderSettings {
    /// The number of instances in which a process has proposed and that are not applied yet. At least 1.
    pub instances: u64,
    /// The number of own batches that have not come back to their origin yet; requests beyond them wait, and
    /// travel together. At least 1.
    pub batches: u64,
    /// A batch takes no further message whose payload would make it longer than this many bytes. Must be well
    /// below the longest message of a link.
    pub batch_bytes: usize,
    /// While own batches of at least this many bytes are in flight, no further one leaves: large batches
    /// leave one by one, so that queues to slow peers do not fill at once.
    pub bytes_in_flight: usize,
    /// The most batches of one origin that one instance orders. At least 1.
    pub proposal: u64,
    /// The processes that acceptances go to. Only leader-driven total order uses it.
    pub acceptances: Acceptances,
}

/// The processes that an acceptance goes to, in leader-driven total order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Acceptances {
    /// To everybody: nobody waits for the leader to hear what is decided.
    Everybody,
    /// To the leader alone if nobody else needs it: among up to three processes, a process and the leader are
    /// a majority, so that the same steps take fewer messages. Otherwise to everybody.
    #[default]
    Fewest,
}

impl Default for OrderSettings {
    fn default() -> Self {
        OrderSettings {
            instances: 4,
            batches: 4,
            batch_bytes: 256 * 1024,
            bytes_in_flight: 1024 * 1024,
            proposal: 1024,
            acceptances: Acceptances::default(),
        }
    }
}

/// What consensus agrees on: for each origin, the batch up to which its messages come next.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cut(pub(crate) BTreeMap<Origin, u64>);

impl Plain for Cut {}

impl Cut {
    /// The last batch of the origin that lies below the cut; 0 if none does.
    pub(crate) fn up_to(&self, origin: Origin) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }

    /// The highest batch number of any origin.
    pub(crate) fn highest(&self) -> u64 {
        self.0.values().max().copied().unwrap_or(0)
    }

    /// Whether the cut puts a newcomer in its seat: it names an origin without batches.
    pub(crate) fn replaces(&self) -> bool {
        self.0.values().any(|up_to| *up_to == 0)
    }

    /// Raises this cut to the other, wherever that is higher.
    pub(crate) fn raise(&mut self, other: &Cut) {
        for (origin, up_to) in &other.0 {
            let mine = self.0.entry(*origin).or_default();
            *mine = (*mine).max(*up_to);
        }
    }
}

/// The requests of one process that have not left yet, and its batches that have not come back yet.
#[derive(Debug)]
pub(crate) struct Outgoing {
    batches: u64,
    batch_bytes: usize,
    bytes_in_flight: usize,
    waiting: VecDeque<Bytes>,
    /// The sizes of the batches in flight, oldest first.
    in_flight: VecDeque<usize>,
    /// Own batches up to this one have come back.
    returned: u64,
}

impl Outgoing {
    pub(crate) fn new(settings: &OrderSettings) -> Self {
        Outgoing {
            batches: settings.batches,
            batch_bytes: settings.batch_bytes,
            bytes_in_flight: settings.bytes_in_flight,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            returned: 0,
        }
    }

    pub(crate) fn request(&mut self, payload: Bytes) {
        self.waiting.push_back(payload);
    }

    /// Own batches up to this one have come back.
    pub(crate) fn upon_return(&mut self, batch: u64) {
        let returned = batch.saturating_sub(self.returned) as usize;
        self.in_flight.drain(..self.in_flight.len().min(returned));
        self.returned = self.returned.max(batch);
    }

    /// Whether requests wait and a batch may leave.
    pub(crate) fn is_next_due(&self) -> bool {
        !self.waiting.is_empty() && self.has_room()
    }

    /// The next batch, if requests wait and a batch may leave.
    pub(crate) fn next_batch(&mut self) -> Option<Bytes> {
        if !self.is_next_due() {
            return None;
        }
        let batch = self.batch();
        self.in_flight.push_back(batch.len());
        Some(batch)
    }

    fn has_room(&self) -> bool {
        let bytes: usize = self.in_flight.iter().sum();
        (self.in_flight.len() as u64) < self.batches
            && (self.in_flight.is_empty() || bytes < self.bytes_in_flight)
    }

    /// As many waiting requests as a batch may hold. A large one travels alone: a message that may be sent by
    /// itself must not become longer than the link carries.
    fn batch(&mut self) -> Bytes {
        let mut batch = BytesMut::new();
        while let Some(payload) = self.waiting.front() {
            if !batch.is_empty() && batch.len() + payload.len() > self.batch_bytes {
                break;
            }
            wire::put_batch([payload], &mut batch);
            self.waiting.pop_front();
        }
        batch.freeze()
    }
}

#[cfg(test)]
mod tests;
