//! Registers, between those who use them and the algorithm.
//!
//! A register is sequential at a process, and several clients of one replica may use the same: who comes
//! while an operation on it is under way stands in line. When the operation returns, those at the front of
//! the line who want the same (to read, or to write) share the next one.
//!
//! # Why it is linearizable
//! Whoever shares an operation came before it began, and is answered after it has returned. Reads return
//! what it has read. Of writes, the operation writes the value of the last; the others take effect
//! immediately before it, in their order, where nobody sees them. All of this is between their beginnings
//! and their ends. If the operation never takes effect, none of them has.
//!
//! # What is given up, and what is not
//! An operation that is under way is never abandoned, and never begun again: its register is busy until it
//! returns. Who stands in line at his deadline leaves it, and is told that nothing was done. Bounded is
//! what all of them together ask for ([`ROOM`]).
//!
//! # How long the store may be
//! Where messages carry all of it, a write is taken if the store, as this process knows it, has room for
//! what it adds to its register, and to what earlier writes that have not returned will add. What other
//! processes write at the same time is not known here yet: n processes overshoot to n times the limit at
//! most, since each knows what it has written itself.
mod place;

use super::{
    outcomes::{Asked, Outcomes},
    replica::Refusal,
    unwritten::Held,
    view::{Standing, View},
};
use bytes::Bytes;
pub use place::{Place, Unreturned};
use quorate_abstractions::register::{Action, Indication, Outcome, Request, Tag};
use quorate_core::{Addr, message::digest};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::{Instant, timeout_at},
};

/// The most bytes of operations that were accepted and have not returned.
const ROOM: usize = 2 * quorate_services::kv::MAXIMUM_BYTES;

/// What an operation takes of it beside its register's name and its value.
const OVERHEAD: usize = 128;

/// The register that is read to see whether operations return.
const PROBED: &[u8] = b"";

/// What an entry of a store takes beside its name and its value, at most.
const ENTRY: usize = 32;

/// How much may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest name and value together.
    pub entry: usize,
    /// The longest store, where each message carries all of it.
    pub store: Option<usize>,
}

/// What an operation returned, and what it holds.
type Returned = (Outcome, Held);

/// Whoever waits for an operation.
struct Waiting {
    number: u64,
    action: Action,
    /// `None` of a probe.
    answer: Option<(oneshot::Sender<Returned>, Held)>,
    /// Held until the operation returns.
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    fn is_write(&self) -> bool {
        matches!(self.action, Action::Write(_))
    }

    /// How long the value is that is to be written; 0 of a read.
    fn length(&self) -> usize {
        match &self.action {
            Action::Read => 0,
            Action::Write(value) => value.len(),
        }
    }
}

/// A register that is in use.
#[derive(Default)]
struct Line {
    /// Who shares the operation under way; nobody, for a moment only.
    served: Vec<Waiting>,
    /// The operation under way.
    operation: u64,
    /// When it began.
    begun: Option<Instant>,
    waiting: VecDeque<Waiting>,
    /// What its writes may add to the store.
    coming: usize,
}

impl Line {
    /// How long the longest value is that is to be written.
    fn longest(&self) -> Option<usize> {
        let all = self.served.iter().chain(&self.waiting);
        all.filter(|w| w.is_write()).map(Waiting::length).max()
    }
}

/// What is known of a register that was written: by which write, and how long name and value are.
#[derive(Clone, Copy)]
struct Entry {
    tag: Tag,
    length: usize,
}

#[derive(Default)]
struct State {
    /// How many operations were accepted, and how many were begun.
    accepted: u64,
    begun: u64,
    returned: u64,
    lines: BTreeMap<Bytes, Line>,
    /// The registers that were written, by the digests of their names.
    known: BTreeMap<u64, Entry>,
    /// How long these are together.
    stored: usize,
    /// What writes that have not returned may add to that.
    coming: usize,
    /// Whether that matters: messages carry the store.
    carried: bool,
    requests: Option<Addr<Request>>,
    /// Who is told that something came back.
    outcomes: Option<Outcomes>,
}

/// What `/status` and `/metrics` say of the registers.
pub struct Progress {
    /// Operations that have returned.
    pub returned: u64,
    /// Registers known here.
    pub known: usize,
    /// Registers with an operation under way.
    pub under_way: usize,
}

/// What is known of the registers of the cluster: told by the wiring below them.
#[derive(Clone)]
pub struct Known(Arc<Mutex<State>>);

impl Known {
    /// These registers were written, here or elsewhere: name, write, and how long the value is.
    pub fn written<'n>(&self, registers: impl IntoIterator<Item = (&'n Bytes, Tag, usize)>) {
        let mut state = lock(&self.0);
        for (register, tag, length) in registers {
            state.learn(register, tag, length);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers. Clones share them.
#[derive(Clone)]
pub struct Registers {
    state: Arc<Mutex<State>>,
    room: Arc<Semaphore>,
    standing: watch::Receiver<Standing>,
    limits: Limits,
}

/// Why nothing was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotDone {
    /// This process does not take part, or there was no room until the deadline.
    Refused(Refusal),
    /// It would be too much, as these words explain.
    TooMuch(String),
}

impl Registers {
    /// The registers that `spawn` starts, given where to indicate, and whom to tell what is known.
    pub fn start<E>(
        view: &View,
        limits: Limits,
        spawn: impl FnOnce(Addr<Indication>, Known) -> Result<Addr<Request>, E>,
    ) -> Result<Self, E> {
        let state = Arc::new(Mutex::new(State {
            carried: limits.store.is_some(),
            outcomes: Some(view.outcomes().clone()),
            ..State::default()
        }));
        let told = state.clone();
        let up = Addr::new(move |indication| upon_return(&told, indication));
        let requests = spawn(up, Known(state.clone()))?;
        lock(&state).requests = Some(requests);
        Ok(Registers {
            state,
            room: Arc::new(Semaphore::new(ROOM)),
            standing: view.standing(),
            limits,
        })
    }

    /// Puts an operation in its register's line, behind all that this caller has put there before. Waits
    /// for room until the deadline. What it returns is counted as `held`.
    pub async fn submit(
        &self,
        register: Bytes,
        action: Action,
        deadline: Instant,
        held: Held,
    ) -> Result<Place, NotDone> {
        let voter = super::view::voter(&self.standing, deadline).await;
        voter.map_err(|words| NotDone::Refused(Refusal::NotVoter(words)))?;
        let value = match &action {
            Action::Read => None,
            Action::Write(value) => Some(value.len()),
        };
        let length = register.len() + value.unwrap_or(0);
        if length > self.limits.entry {
            return Err(NotDone::TooMuch(format!(
                "key and value have {length} bytes together, but a register takes at most {}",
                self.limits.entry
            )));
        }
        let bytes = (length + OVERHEAD).min(ROOM) as u32;
        let room = timeout_at(deadline, self.room.clone().acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            return Err(NotDone::Refused(Refusal::NoQuorum));
        };
        let (answer, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if let (Some(most), Some(value)) = (self.limits.store, value) {
            let added = state.added(&register, value);
            if added > 0 && state.stored + state.coming + added > most {
                return Err(NotDone::TooMuch(format!(
                    "the store is full: with these quorums messages carry all of it, at most {most} bytes"
                )));
            }
        }
        state.accepted += 1;
        let number = state.accepted;
        let line = state.lines.entry(register.clone()).or_default();
        line.waiting.push_back(Waiting {
            number,
            action,
            answer: Some((answer, held)),
            _room: room,
        });
        if line.served.is_empty() {
            state.begin(&register);
        }
        state.recount(&register);
        Ok(Place {
            state: self.state.clone(),
            register,
            number,
            answer: receiver,
            answered: false,
            held: None,
        })
    }

    /// For how long the oldest of the operations under way has been.
    pub fn lasted(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let begun = state.lines.values().filter_map(|line| line.begun).min();
        begun.map(|begun| begun.elapsed())
    }

    /// How long the value of a register is, as far as it is known here.
    pub fn length(&self, register: &Bytes) -> usize {
        let state = lock(&self.state);
        let entry = state.known.get(&digest(register));
        entry.map_or(0, |entry| entry.length.saturating_sub(register.len()))
    }

    /// How far the registers have come.
    pub fn progress(&self) -> Progress {
        let state = lock(&self.state);
        Progress {
            returned: state.returned,
            known: state.known.len(),
            under_way: state.lines.len(),
        }
    }
}

impl State {
    /// Begins the next operation on a register, for those at the front of its line who want the same.
    fn begin(&mut self, register: &Bytes) {
        let Some(line) = self.lines.get_mut(register) else {
            return;
        };
        let Some(first) = line.waiting.pop_front() else {
            self.lines.remove(register);
            return;
        };
        let writes = first.is_write();
        line.served.push(first);
        while let Some(next) = line.waiting.pop_front_if(|next| next.is_write() == writes) {
            line.served.push(next);
        }
        let Some(last) = line.served.last() else {
            return;
        };
        self.begun += 1;
        line.operation = self.begun;
        line.begun = Some(Instant::now());
        let request = Request {
            register: register.clone(),
            operation: self.begun,
            action: last.action.clone(),
        };
        if let Some(requests) = &self.requests {
            requests.send(request);
        }
    }

    /// A register was written: counts, if it is the newest write that is known of it.
    fn learn(&mut self, register: &Bytes, tag: Tag, value: usize) {
        let name = digest(register);
        let length = register.len() + value;
        let before = match self.known.get(&name) {
            Some(known) if known.tag >= tag => return,
            Some(known) => known.length + ENTRY,
            None => 0,
        };
        self.known.insert(name, Entry { tag, length });
        self.stored = self.stored - before + length + ENTRY;
        self.recount(register);
    }

    /// By how much a register gets longer if it is written so, beside what its line adds already.
    fn added(&self, register: &Bytes, value: usize) -> usize {
        let line = self.lines.get(register);
        let coming = line.map_or(0, |line| line.coming);
        self.grown(register, value).saturating_sub(coming)
    }

    /// By how much a register gets longer if it is written so.
    fn grown(&self, register: &Bytes, value: usize) -> usize {
        let known = self.known.get(&digest(register));
        let length = known.map_or(0, |known| known.length + ENTRY);
        (register.len() + value + ENTRY).saturating_sub(length)
    }

    /// What the writes of a line may add to the store: as much as the longest of them.
    fn recount(&mut self, register: &Bytes) {
        if !self.carried {
            return;
        }
        let longest = self.lines.get(register).and_then(Line::longest);
        let coming = longest.map_or(0, |value| self.grown(register, value));
        if let Some(line) = self.lines.get_mut(register) {
            self.coming = self.coming - line.coming + coming;
            line.coming = coming;
        }
    }

    /// Who shares the operation under way has gone: it holds nothing for him.
    fn release(&mut self, register: &Bytes, number: u64) {
        let line = self.lines.get_mut(register);
        let served = line.and_then(|line| line.served.iter_mut().find(|w| w.number == number));
        if let Some((_, held)) = served.and_then(|served| served.answer.as_mut()) {
            held.set(0);
        }
    }

    /// Takes whoever still waits out of the line.
    fn withdraw(&mut self, register: &Bytes, number: u64) -> bool {
        let Some(line) = self.lines.get_mut(register) else {
            return false;
        };
        let place = line.waiting.iter().position(|w| w.number == number);
        if place.and_then(|place| line.waiting.remove(place)).is_none() {
            return false;
        }
        self.recount(register);
        true
    }
}

impl Asked for Registers {
    fn oldest(&self) -> Option<Duration> {
        self.lasted()
    }

    /// Reads a register, which nobody waits for.
    fn probe(&self) {
        let register = Bytes::from_static(PROBED);
        let Ok(room) = self.room.clone().try_acquire_many_owned(OVERHEAD as u32) else {
            return;
        };
        let mut state = lock(&self.state);
        state.accepted += 1;
        let waiting = Waiting {
            number: state.accepted,
            action: Action::Read,
            answer: None,
            _room: room,
        };
        let line = state.lines.entry(register.clone()).or_default();
        line.waiting.push_back(waiting);
        if line.served.is_empty() {
            state.begin(&register);
        }
    }
}

/// An operation has returned: whoever shared it is answered, and the next begins.
fn upon_return(state: &Mutex<State>, indication: Indication) {
    let Indication {
        register,
        operation,
        outcome,
    } = indication;
    let mut state = lock(state);
    let line = state.lines.get_mut(&register);
    let Some(line) = line.filter(|line| line.operation == operation) else {
        return;
    };
    let served = std::mem::take(&mut line.served);
    let lasted = line.begun.map(|begun| begun.elapsed());
    if let (Some(outcomes), Some(lasted)) = (&state.outcomes, lasted) {
        outcomes.upon_return(lasted);
    }
    match &outcome {
        Outcome::Read { tag, value } => {
            if let Some(value) = value {
                state.learn(&register, *tag, value.len());
            }
        }
        Outcome::Written { tag } => {
            let value = served.last().map_or(0, Waiting::length);
            state.learn(&register, *tag, value);
        }
        Outcome::Refused(_) => {}
    }
    for waiting in served {
        if let Some((answer, mut held)) = waiting.answer {
            state.returned += 1;
            held.set(value_of(&outcome).map_or(0, Bytes::len));
            // Who has given up is not there any more.
            let _ = answer.send((outcome.clone(), held));
        }
    }
    state.recount(&register);
    state.begin(&register);
}

/// The value that was read.
fn value_of(outcome: &Outcome) -> Option<&Bytes> {
    match outcome {
        Outcome::Read { value, .. } => value.as_ref(),
        Outcome::Written { .. } | Outcome::Refused(_) => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
