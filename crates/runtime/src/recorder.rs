//! A bounded trace of what a process does, for diagrams of real runs.
//!
//! A recorder watches the algorithms of a process as a simulated world does, and the messages in the lanes
//! of its link. It keeps the last records, and forgets the oldest ones. Transmissions are numbered by lane
//! and receiver: the link is first-in first-out in a lane between two incarnations, so that the k-th
//! transmission from one process to another in a lane is the k-th that the other receives.
use crate::host::Identity;
use bytes::Bytes;
use quorate_abstractions::{lanes::Tap, link::To};
use quorate_core::{
    Membership, Name, Observation, Observe, ProcessId, ProcessSet, actor::Probe, message::digest,
    observe::Role,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Modules with so many events that they would hide all others: only their indications are kept.
const BELOW: [&str; 3] = ["link", "detector", "leader"];

/// The kind of a recorded event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A module handled an event.
    Event(Observation),
    /// A module triggered an effect.
    Effect(Observation),
    /// A transmission left in a lane.
    Send {
        to: ProcessId,
        /// Its sequence number among the transmissions to that process in that lane, counted from 1.
        number: u64,
        /// The label of the effect that caused it.
        label: &'static str,
        /// A digest of the message.
        digest: u64,
    },
    /// A transmission arrived in a lane.
    Receive {
        from: ProcessId,
        /// Its sequence number among the transmissions from that process in that lane, counted from 1.
        number: u64,
        /// A digest of the message.
        digest: u64,
    },
}

/// One recorded event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The time of the event by this machine's clock, since the Unix epoch.
    pub at: Duration,
    /// The module, or the lane, of the event.
    pub name: Name,
    pub what: EventKind,
}

/// The contents of a recorder.
#[derive(Clone, Default, Debug)]
pub struct Recording {
    /// The last records, oldest first.
    pub records: Vec<Recorded>,
    /// The number of older records that were forgotten.
    pub forgotten: u64,
}

struct State {
    records: VecDeque<Recorded>,
    capacity: usize,
    forgotten: u64,
    /// The label of the effect that is being triggered.
    cause: &'static str,
    sent: BTreeMap<(Name, ProcessId), u64>,
    received: BTreeMap<(Name, ProcessId), u64>,
}

/// Records what one process does. Clones share the records.
#[derive(Clone)]
pub struct Recorder {
    me: ProcessId,
    processes: Membership,
    begun: Instant,
    epoch: Duration,
    state: Arc<Mutex<State>>,
}

impl Recorder {
    pub(crate) fn new(identity: Identity, capacity: usize) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Recorder {
            me: identity.me,
            processes: identity.processes,
            begun: Instant::now(),
            epoch: epoch.unwrap_or_default(),
            state: Arc::new(Mutex::new(State {
                records: VecDeque::new(),
                capacity,
                forgotten: 0,
                cause: "",
                sent: BTreeMap::new(),
                received: BTreeMap::new(),
            })),
        }
    }

    /// The present contents.
    pub fn recording(&self) -> Recording {
        let state = self.state();
        Recording {
            records: state.records.iter().cloned().collect(),
            forgotten: state.forgotten,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: &Name, what: EventKind) {
        let at = self.epoch + self.begun.elapsed();
        let name = name.clone();
        self.state().push(Recorded { at, name, what });
    }
}

impl State {
    fn push(&mut self, record: Recorded) {
        if self.records.len() >= self.capacity {
            self.forgotten += 1;
            self.records.pop_front();
        }
        if self.capacity > 0 {
            self.records.push_back(record);
        }
    }
}

/// Whether a diagram could use this observation of a module.
fn is_kept(module: &Name, observation: &Observation) -> bool {
    let is_below = BELOW.contains(&module.as_str());
    let carries = module.as_str() == "link" && observation.label == "Deliver";
    !carries && (!is_below || observation.role == Role::Indication)
}

impl Probe for Recorder {
    fn event(&mut self, actor: &Name, event: &dyn Observe) {
        let observation = event.observe();
        if is_kept(actor, &observation) {
            self.add(actor, EventKind::Event(observation));
        }
    }

    fn effect(&mut self, actor: &Name, effect: &dyn Observe) -> bool {
        let observation = effect.observe();
        self.state().cause = observation.label;
        if is_kept(actor, &observation) {
            self.add(actor, EventKind::Effect(observation));
        }
        true
    }
}

impl Tap for Recorder {
    fn sent(&self, lane: &Name, to: To, message: &Bytes) {
        let mut receivers = match to {
            To::One(p) => ProcessSet::from_iter([p]),
            To::Some(set) => set,
            To::All => self.processes.set(),
        };
        receivers.remove(self.me);
        let digest = digest(message);
        for to in receivers.iter() {
            let (number, label) = {
                let mut state = self.state();
                let number = state.sent.entry((lane.clone(), to)).or_default();
                *number += 1;
                (*number, state.cause)
            };
            let send = EventKind::Send {
                to,
                number,
                label,
                digest,
            };
            self.add(lane, send);
        }
    }

    fn received(&self, lane: &Name, from: ProcessId, message: &Bytes) {
        if from == self.me {
            return;
        }
        let number = {
            let mut state = self.state();
            let number = state.received.entry((lane.clone(), from)).or_default();
            *number += 1;
            *number
        };
        let digest = digest(message);
        let receive = EventKind::Receive {
            from,
            number,
            digest,
        };
        self.add(lane, receive);
    }
}

#[cfg(test)]
mod tests;
