//! One replica of the key-value store, between its clients and the order.
//!
//! Commands that arrive while the protocol is busy travel together: they wait in the *outbox*, as parcels,
//! and each parcel is one command of the replicated machine. A parcel leaves as soon as there is room for it,
//! so an idle replica sends at once and a busy one batches by itself.
mod store;

pub use store::Store;

use super::{outcomes::Server, unwritten::Held, view::View};
use bytes::{Bytes, BytesMut};
use quorate_runtime::node::Replicated;
use quorate_services::{
    kv::{MAXIMUM_BYTES, Reply},
    machine::{self, Answer as Answered},
    once::ProposalResult,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

/// The most bytes of commands that were accepted and are not yet applied: two of the longest.
pub const ROOM: usize = 2 * MAXIMUM_BYTES;

/// A parcel is closed when it is this long. One command may be longer.
const PARCEL: usize = 256 * 1024;

/// Why commands were refused. They were not executed and will not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This process does not vote; the text says why.
    NotVoter(String),
    /// Earlier commands wait for a majority, and the deadline passed before there was room.
    NoQuorum,
}

/// A reply for each of a caller's commands, and the account of their bytes.
pub type Replies = (Vec<Reply>, Held);

/// Receives the replies of commands that are in flight.
pub type Answer = oneshot::Receiver<Replies>;

/// Encoded commands that belong together.
struct Waiting {
    commands: usize,
    answer: oneshot::Sender<Replies>,
    /// Counts the bytes of the replies once these are there.
    held: Held,
    /// Held until the commands are applied.
    _room: OwnedSemaphorePermit,
}

/// Who gets the answer when a message comes back.
enum Recipients {
    /// The callers whose commands the message carries, in the order of these.
    Clients(Vec<Waiting>),
    /// The caller that has proposed.
    Proposer {
        answer: oneshot::Sender<ProposalResult>,
        /// Held until the proposal is delivered.
        _room: OwnedSemaphorePermit,
    },
    /// Nobody: the message is a probe.
    Nobody,
}

struct Parcel {
    payload: BytesMut,
    recipients: Recipients,
    /// When the first command of the parcel was submitted.
    since: Instant,
}

impl Parcel {
    /// The clients whose commands the parcel carries, if `more` bytes of commands still fit.
    fn open(&mut self, more: usize) -> Option<(&mut BytesMut, &mut Vec<Waiting>)> {
        match &mut self.recipients {
            Recipients::Clients(waiting) if self.payload.len() + more <= PARCEL => {
                Some((&mut self.payload, waiting))
            }
            Recipients::Clients(_) | Recipients::Proposer { .. } | Recipients::Nobody => None,
        }
    }
}

/// Marks a submitted parcel as in flight. It is dropped when the parcel has come back or never will.
struct InFlight {
    number: u64,
    since: Instant,
    replica: Arc<Shared>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.replica.state).in_flight.remove(&self.number);
    }
}

#[derive(Default)]
struct State {
    outbox: VecDeque<Parcel>,
    /// The parcels in flight, each with the time at which its first command was submitted.
    in_flight: BTreeMap<u64, Instant>,
    /// The number of parcels that were submitted.
    sent: u64,
}

impl State {
    fn post(&mut self, payload: BytesMut, recipients: Recipients) {
        let since = Instant::now();
        self.outbox.push_back(Parcel {
            payload,
            recipients,
            since,
        });
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `/status` and `/metrics` say of the replica.
pub struct Progress {
    /// Messages delivered.
    pub delivered: u64,
    /// The hash of their sequence.
    pub hash: u64,
    /// Commands applied.
    pub applied: u64,
    /// Payloads that the services could not decode.
    pub undecodable: u64,
    /// Keys in the store.
    pub keys: usize,
    /// One-shot decisions remembered.
    pub decisions: usize,
    /// Own messages in flight.
    pub in_flight: usize,
}

struct Shared {
    store: Replicated<Store>,
    state: Mutex<State>,
    posted: Notify,
    room: Arc<Semaphore>,
    view: View,
}

/// The replica. Clones share it.
#[derive(Clone)]
pub struct Replica(Arc<Shared>);

impl Replica {
    /// The replica of a store. It takes commands while `view` says that this process may take part.
    pub fn new(store: Replicated<Store>, view: View) -> Self {
        Replica(Arc::new(Shared {
            store,
            state: Mutex::default(),
            posted: Notify::new(),
            room: Arc::new(Semaphore::new(ROOM)),
            view,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Puts encoded commands into the total order, behind all that this caller has submitted before. Waits
    /// for room until the deadline. Once accepted, they may be executed at any time. Their replies are
    /// counted in `held`.
    pub async fn submit(
        &self,
        commands: usize,
        encoded: &[u8],
        deadline: Instant,
        held: Held,
    ) -> Result<Answer, Refusal> {
        self.voter(deadline).await?;
        // There is room for any single command: the server refuses longer ones.
        let bytes = encoded.len().clamp(1, ROOM) as u32;
        let room = timeout_at(deadline, self.0.room.clone().acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            return Err(Refusal::NoQuorum);
        };
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting {
            commands,
            answer,
            held,
            _room: room,
        };
        {
            let mut state = self.state();
            let open = state.outbox.back_mut().and_then(|p| p.open(encoded.len()));
            if let Some((payload, clients)) = open {
                payload.extend_from_slice(encoded);
                clients.push(waiting);
            } else {
                let mut payload = machine::commands();
                payload.extend_from_slice(encoded);
                let recipients = Recipients::Clients(vec![waiting]);
                state.post(payload, recipients);
            }
        }
        self.0.posted.notify_one();
        Ok(receiver)
    }

    /// Proposes a value in a one-shot instance. The receiver gets the value that was decided. Waits for room
    /// until the deadline.
    pub async fn propose(
        &self,
        instance: u64,
        value: &[u8],
        deadline: Instant,
    ) -> Result<oneshot::Receiver<ProposalResult>, Refusal> {
        self.voter(deadline).await?;
        let bytes = value.len().clamp(1, ROOM) as u32;
        let room = timeout_at(deadline, self.0.room.clone().acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            return Err(Refusal::NoQuorum);
        };
        let (answer, receiver) = oneshot::channel();
        {
            // A decision is final, so it is returned without another message.
            let decided = self
                .0
                .store
                .peek(|store| store.machine().decisions().outcome(instance));
            if let Some(outcome) = decided {
                let _ = answer.send(outcome);
                return Ok(receiver);
            }
            let mut state = self.state();
            let payload = BytesMut::from(machine::proposal(instance, value));
            let recipients = Recipients::Proposer {
                answer,
                _room: room,
            };
            state.post(payload, recipients);
        }
        self.0.posted.notify_one();
        Ok(receiver)
    }

    /// Why no majority will answer any more, if this replica sees that.
    pub fn lost_memory(&self) -> Option<String> {
        self.0.view.lost_memory()
    }

    /// Waits until this process may take part.
    pub async fn voter(&self, deadline: Instant) -> Result<(), Refusal> {
        let voter = self.0.view.voter(deadline).await;
        voter.map_err(Refusal::NotVoter)
    }

    /// Submits the parcels of the outbox, until the node stops. Then each waiting caller's channel closes,
    /// which tells it.
    pub async fn send_parcels(&self) {
        loop {
            self.0.posted.notified().await;
            while !self.state().outbox.is_empty() {
                // The room is reserved before the parcel is taken, so that commands that come meanwhile
                // travel with it.
                let Ok(permit) = self.0.store.reserve().await else {
                    self.state().outbox.clear();
                    return;
                };
                let Some((payload, recipients, in_flight)) = self.next_parcel() else {
                    break;
                };
                let then = move |answer| {
                    let outcomes = in_flight.replica.view.outcomes();
                    outcomes.upon_return(in_flight.since.elapsed());
                    drop(in_flight);
                    hand_out(answer, recipients);
                };
                // This fails only after the node has stopped. Waiting callers are then told as above.
                let _ = permit.submit_then(&payload, then);
            }
        }
    }

    fn next_parcel(&self) -> Option<(Bytes, Recipients, InFlight)> {
        let mut state = self.state();
        let Parcel {
            payload,
            recipients,
            since,
        } = state.outbox.pop_front()?;
        state.sent += 1;
        let number = state.sent;
        state.in_flight.insert(number, since);
        let replica = self.0.clone();
        let in_flight = InFlight {
            number,
            since,
            replica,
        };
        Some((payload.freeze(), recipients, in_flight))
    }

    /// The counts for `/status` and `/metrics`.
    pub fn progress(&self) -> Progress {
        let in_flight = {
            let state = self.state();
            state.in_flight.len() + state.outbox.len()
        };
        self.0.store.peek(|store| {
            let machine = store.machine();
            let log = machine.log();
            Progress {
                delivered: log.delivered(),
                hash: log.hash(),
                applied: machine.kv().applied(),
                undecodable: machine.undecodable(),
                keys: machine.kv().store().len(),
                decisions: machine.decisions().len(),
                in_flight,
            }
        })
    }
}

impl Server for Replica {
    fn oldest(&self) -> Option<Duration> {
        let state = self.state();
        let in_flight = state.in_flight.values().next().copied();
        let oldest = in_flight.or_else(|| state.outbox.front().map(|parcel| parcel.since));
        oldest.map(|since| since.elapsed())
    }

    /// Submits a message without commands.
    fn probe(&self) {
        self.state().post(machine::commands(), Recipients::Nobody);
        self.0.posted.notify_one();
    }
}

/// Gives the answer to everybody who waits for this message: clients get the replies to their commands.
/// Callers that have given up get nothing.
fn hand_out(answer: Answered, recipients: Recipients) {
    match (answer, recipients) {
        (Answered::Replies(replies), Recipients::Clients(waiting)) => {
            let mut replies = replies.into_iter();
            for Waiting {
                commands,
                answer,
                mut held,
                ..
            } in waiting
            {
                let replies: Vec<_> = replies.by_ref().take(commands).collect();
                held.set(replies.iter().map(length).sum());
                let _ = answer.send((replies, held));
            }
        }
        (Answered::Decision(outcome), Recipients::Proposer { answer, .. }) => {
            let _ = answer.send(outcome);
        }
        // Unreachable: this process's own messages decode. Waiting callers would be told by the end of their
        // channels.
        (
            Answered::Replies(_) | Answered::Decision(_) | Answered::Nothing,
            Recipients::Clients(_) | Recipients::Proposer { .. } | Recipients::Nobody,
        ) => {}
    }
}

/// The number of bytes of values in a reply.
fn length(reply: &Reply) -> usize {
    match reply {
        Reply::Value(value) => value.len(),
        Reply::Values(values) => values.iter().flatten().map(Bytes::len).sum(),
        Reply::Ok | Reply::Nil | Reply::Integer(_) | Reply::Error(_) => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests;
