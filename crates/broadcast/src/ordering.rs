//! What the algorithms of total order share: how much is in flight, batches of requests, and cuts.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    message::Origin,
    wire::{self, Plain},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How much is in flight at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderSettings {
    /// Instances in which a process has proposed and that are not applied yet. At least 1.
    pub instances: u64,
    /// Own batches that have not come back to their origin yet; requests beyond them wait, and travel
    /// together. At least 1.
    pub batches: u64,
    /// A batch takes no further message whose payload would make it longer than this many bytes. Well
    /// below what a link carries.
    pub batch_bytes: usize,
    /// Once own batches in flight have this many bytes, no further one leaves: what is large goes one
    /// by one, so that queues to slow peers do not fill at once.
    pub bytes_in_flight: usize,
    /// Batches of one origin that one instance orders, at most. At least 1.
    pub proposal: u64,
    /// To whom acceptances go; of concern to the leader-driven one only.
    pub acceptances: Acceptances,
}

/// To whom an acceptance goes, where a leader drives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Acceptances {
    /// To everybody: nobody waits for the leader to hear what is decided.
    Everybody,
    /// To the leader alone where nobody else needs it: of up to three processes the leader's and one's
    /// own are a majority, so that the same steps take fewer messages. Otherwise to everybody.
    #[default]
    WhoNeedsThem,
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

/// For each origin, the batch up to which its messages come next: what is agreed on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cut(pub(crate) BTreeMap<Origin, u64>);

impl Plain for Cut {}

impl Cut {
    /// The last batch of the origin that lies below the cut; 0 if none does.
    pub(crate) fn up_to(&self, origin: Origin) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }

    /// The last batch of whichever origin.
    pub(crate) fn highest(&self) -> u64 {
        self.0.values().max().copied().unwrap_or(0)
    }

    /// Whether it puts a newcomer in its seat: an origin without batches.
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

/// The requests of one process that have not left yet, and its batches that have not returned yet.
#[derive(Debug)]
pub(crate) struct Outgoing {
    batches: u64,
    batch_bytes: usize,
    bytes_in_flight: usize,
    waiting: VecDeque<Bytes>,
    /// The sizes of the batches in flight, oldest first.
    in_flight: VecDeque<usize>,
    /// Up to this own batch they have returned.
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

    /// Own batches up to this one have returned.
    pub(crate) fn upon_return(&mut self, batch: u64) {
        let returned = batch.saturating_sub(self.returned) as usize;
        self.in_flight.drain(..self.in_flight.len().min(returned));
        self.returned = self.returned.max(batch);
    }

    /// Whether there are requests, and room for a batch.
    pub(crate) fn is_next_due(&self) -> bool {
        !self.waiting.is_empty() && self.has_room()
    }

    /// The next batch, upon requests and room for one.
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

    /// The requests that wait, as many as a batch may hold. A large one travels alone: whatever may
    /// be sent by itself must not grow beyond what the link carries.
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
