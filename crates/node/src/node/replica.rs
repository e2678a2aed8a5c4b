//! One replica of the key-value store, between its clients and total order.
//!
//! Commands that arrive while the protocol is busy travel together: they wait in the *outbox*, as
//! parcels, and each parcel is one message. A parcel leaves as soon as the window has room for it,
//! so an idle replica sends at once and a busy one batches by itself. A process's messages are
//! delivered in the order in which they were broadcast, so the oldest parcel under way is always
//! the one that a delivery of our own answers.
//!
//! A replica that was started again is given the state that the others had at some point of the order,
//! and takes commands from then on. States are [read and made](states) beside the protocol and the clients,
//! which go on meanwhile.
mod states;

use super::{
    indications::Indications,
    outcomes::Asked,
    stack::ORDER,
    unwritten::Held,
    view::{Standing, View},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    reconfigurable::{Indication, Request, Restore},
    total_order::{Broadcast, Deliver},
};
use quorate_core::{Addr, message::Origin};
use quorate_services::{
    kv::{MAXIMUM_BYTES, Reply},
    machine::{self, Machine},
    once::Outcome,
};
use states::Incoming;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::{Instant, timeout_at},
};
use tracing::info;

/// A parcel is closed when it is this long. One command may be longer.
const PARCEL: usize = 256 * 1024;

/// The most bytes of commands that were accepted and are not yet applied: two of the longest.
const ROOM: usize = 2 * MAXIMUM_BYTES;

/// How many indications are acted upon before other tasks of the thread have their turn.
const INDICATIONS: usize = 64;

/// Why commands were turned away. They were not executed and will not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This process does not vote, for this reason.
    NotVoter(String),
    /// Earlier commands wait for a majority, and the deadline passed before there was room.
    NoQuorum,
}

/// A reply for each of a caller's commands, and what they hold.
pub type Replies = (Vec<Reply>, Held);

/// Commands on their way: what comes back is a reply for each.
pub type Answer = oneshot::Receiver<Replies>;

/// Encoded commands that belong together.
struct Waiting {
    commands: usize,
    answer: oneshot::Sender<Replies>,
    /// Counts the replies once they are there.
    held: Held,
    /// Held until the commands are applied.
    _room: OwnedSemaphorePermit,
}

/// Who is answered when a message comes back.
enum Whom {
    /// Those whose commands it carries, in their order.
    Clients(Vec<Waiting>),
    /// Who has proposed.
    Proposer {
        answer: oneshot::Sender<Outcome>,
        /// Held until the proposal is delivered.
        _room: OwnedSemaphorePermit,
    },
    /// Nobody: it shows that messages come back.
    Nobody,
}

struct Parcel {
    payload: BytesMut,
    whom: Whom,
    /// When the first of it was asked for.
    since: Instant,
}

impl Parcel {
    /// The clients whose commands the parcel carries, if `more` bytes of commands still fit.
    fn open(&mut self, more: usize) -> Option<(&mut BytesMut, &mut Vec<Waiting>)> {
        match &mut self.whom {
            Whom::Clients(waiting) if self.payload.len() + more <= PARCEL => {
                Some((&mut self.payload, waiting))
            }
            Whom::Clients(_) | Whom::Proposer { .. } | Whom::Nobody => None,
        }
    }
}

struct UnderWay {
    /// The how-manieth message of this process it is.
    number: u64,
    whom: Whom,
    since: Instant,
    _window: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    outbox: VecDeque<Parcel>,
    under_way: VecDeque<UnderWay>,
    /// How many messages were sent.
    sent: u64,
    machine: Machine,
}

impl State {
    fn post(&mut self, payload: BytesMut, whom: Whom) {
        let since = Instant::now();
        self.outbox.push_back(Parcel {
            payload,
            whom,
            since,
        });
    }
}

/// What `/status` and `/metrics` say of the replica.
pub struct Progress {
    /// Messages delivered.
    pub delivered: u64,
    /// The hash of their sequence.
    pub hash: u64,
    /// Commands applied.
    pub applied: u64,
    /// Payloads that were nothing that the services know.
    pub undecodable: u64,
    /// Keys in the store.
    pub keys: usize,
    /// One-shot decisions remembered.
    pub decisions: usize,
    /// Own messages under way.
    pub under_way: usize,
    /// Bytes that came of a state that is not whole yet; `None` if none is coming.
    pub incoming: Option<u64>,
}

struct Shared {
    me: Origin,
    order: Addr<Request>,
    state: Mutex<State>,
    /// The state that this process is being given. Never locked together with `state`.
    incoming: Mutex<Option<Incoming>>,
    posted: Notify,
    room: Arc<Semaphore>,
    window: Arc<Semaphore>,
    view: View,
    standing: watch::Receiver<Standing>,
}

/// The replica. Clones share it.
#[derive(Clone)]
pub struct Replica(Arc<Shared>);

impl Replica {
    /// A replica that sends through `order`, with at most `window` messages under way. When it may do
    /// so, `view` knows; and what it learns of the configuration, it tells `view`.
    pub fn new(me: Origin, order: Addr<Request>, window: usize, view: View) -> Self {
        Replica(Arc::new(Shared {
            me,
            order,
            state: Mutex::default(),
            incoming: Mutex::default(),
            posted: Notify::new(),
            room: Arc::new(Semaphore::new(ROOM)),
            window: Arc::new(Semaphore::new(window)),
            standing: view.standing(),
            view,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts encoded commands into the total order, behind all that this caller has submitted before.
    /// Waits for room until the deadline. Once accepted they may be executed at any time. What they return
    /// is counted as `held`.
    pub async fn submit(
        &self,
        commands: usize,
        encoded: &[u8],
        deadline: Instant,
        held: Held,
    ) -> Result<Answer, Refusal> {
        self.voter(deadline).await?;
        // Every command has room for itself alone at least: the server refuses longer ones.
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
                let whom = Whom::Clients(vec![waiting]);
                state.post(payload, whom);
            }
        }
        self.0.posted.notify_one();
        Ok(receiver)
    }

    /// Proposes a value in a one-shot instance: what comes back is what was decided. Waits for room
    /// until the deadline.
    pub async fn propose(
        &self,
        instance: u64,
        value: &[u8],
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Outcome>, Refusal> {
        self.voter(deadline).await?;
        let bytes = value.len().clamp(1, ROOM) as u32;
        let room = timeout_at(deadline, self.0.room.clone().acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            return Err(Refusal::NoQuorum);
        };
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            // A decision is final: it needs no order any more.
            if let Some(outcome) = state.machine.decisions().outcome(instance) {
                let _ = answer.send(outcome);
                return Ok(receiver);
            }
            let payload = BytesMut::from(machine::proposal(instance, value));
            let whom = Whom::Proposer {
                answer,
                _room: room,
            };
            state.post(payload, whom);
        }
        self.0.posted.notify_one();
        Ok(receiver)
    }

    /// Waits until this process may take part.
    pub async fn voter(&self, deadline: Instant) -> Result<(), Refusal> {
        let voter = super::view::voter(&self.0.standing, deadline).await;
        voter.map_err(Refusal::NotVoter)
    }

    /// Moves parcels from the outbox into total order, for ever.
    pub async fn send_parcels(&self) {
        loop {
            self.0.posted.notified().await;
            while !self.state().outbox.is_empty() {
                self.0.view.rooms().room_for(ORDER).await;
                let Ok(window) = self.0.window.clone().acquire_owned().await else {
                    return;
                };
                let mut state = self.state();
                if let Some(parcel) = state.outbox.pop_front() {
                    state.sent += 1;
                    let number = state.sent;
                    state.under_way.push_back(UnderWay {
                        number,
                        whom: parcel.whom,
                        since: parcel.since,
                        _window: window,
                    });
                    // Under the lock: parcels enter total order in the order of `under_way`.
                    let payload = parcel.payload.freeze();
                    self.0.order.send(Request::Broadcast(Broadcast { payload }));
                }
            }
        }
    }

    /// Acts upon what total order indicates, until it ends.
    pub async fn follow(&self, mut indications: Indications) {
        let mut batch = Vec::with_capacity(INDICATIONS);
        while indications.recv_many(&mut batch, INDICATIONS).await > 0 {
            for indication in batch.drain(..) {
                self.upon(indication);
            }
            tokio::task::yield_now().await;
        }
    }

    fn upon(&self, indication: Indication) {
        match indication {
            Indication::Deliver(delivery) => self.upon_deliver(&delivery),
            Indication::Configuration(configuration) => {
                self.0.view.upon_configuration(configuration);
            }
            Indication::StateWanted { ticket } => self.upon_state_wanted(ticket),
            Indication::Restore(restore) => self.upon_restore(restore),
        }
    }

    fn upon_deliver(&self, delivery: &Deliver) {
        let own = delivery.origin == self.0.me;
        let mut state = self.state();
        for (id, payload) in delivery.messages() {
            let answer = state.machine.deliver(id, payload, own);
            if own && let Some(UnderWay { whom, since, .. }) = state.under_way.pop_front() {
                self.0.view.outcomes().upon_return(since.elapsed());
                hand_out(answer, whom);
            }
        }
    }

    /// The state as of all that was delivered here before: indications are acted upon in their order.
    fn upon_state_wanted(&self, ticket: u64) {
        let view = self.state().machine.view();
        info!("another replica is given the state");
        let view = states::outgoing(view);
        self.0.order.send(Request::State { ticket, view });
    }

    /// A state comes in chunks. Until it is whole this replica's state is what it was.
    fn upon_restore(&self, restore: Restore) {
        let mut incoming = self.incoming();
        match restore {
            Restore::Begin => *incoming = Some(Incoming::default()),
            Restore::Abandoned => *incoming = None,
            Restore::Chunk(chunk) => {
                if let Some(incoming) = &mut *incoming {
                    incoming.push(&chunk);
                }
            }
            Restore::Whole => {
                let whole = incoming.take();
                drop(incoming);
                if let Some(whole) = whole {
                    self.upon_whole_state(whole);
                }
            }
        }
    }

    /// This process goes on from this state, as a newcomer, or because it was too far behind. What it
    /// had under way, and the state stands for, is done: its outcome cannot be known here any more.
    fn upon_whole_state(&self, incoming: Incoming) {
        let bytes = incoming.bytes();
        match incoming.finish() {
            Ok(machine) => {
                let delivered = machine.log().delivered();
                let mut state = self.state();
                let done = machine.delivered_of(self.0.me);
                while state.under_way.front().is_some_and(|u| u.number <= done) {
                    state.under_way.pop_front();
                }
                let before = std::mem::replace(&mut state.machine, machine);
                drop(state);
                states::forget(before);
                info!(bytes, delivered, "caught up: got the state");
                self.0.view.upon_caught_up();
            }
            Err(error) => self.0.view.upon_unreadable_state(&error.to_string()),
        }
    }

    fn incoming(&self) -> MutexGuard<'_, Option<Incoming>> {
        let incoming = self.0.incoming.lock();
        incoming.unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the replica has come.
    pub fn progress(&self) -> Progress {
        let incoming = self.incoming().as_ref().map(Incoming::bytes);
        let state = self.state();
        let machine = &state.machine;
        let log = machine.log();
        Progress {
            delivered: log.delivered(),
            hash: log.hash(),
            applied: machine.kv().applied(),
            undecodable: machine.undecodable(),
            keys: machine.kv().store().len(),
            decisions: machine.decisions().len(),
            under_way: state.under_way.len() + state.outbox.len(),
            incoming,
        }
    }
}

impl Asked for Replica {
    fn oldest(&self) -> Option<Duration> {
        let state = self.state();
        let under_way = state.under_way.front().map(|message| message.since);
        let oldest = under_way.or_else(|| state.outbox.front().map(|parcel| parcel.since));
        oldest.map(|since| since.elapsed())
    }

    /// A message without commands.
    fn probe(&self) {
        self.state().post(machine::commands(), Whom::Nobody);
        self.0.posted.notify_one();
    }
}

/// Gives everybody who waits for this message what it came to: clients the replies to their commands.
/// Who has given up is not there any more.
fn hand_out(answer: machine::Answer, whom: Whom) {
    match (answer, whom) {
        (machine::Answer::Replies(replies), Whom::Clients(waiting)) => {
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
        (machine::Answer::Outcome(outcome), Whom::Proposer { answer, .. }) => {
            let _ = answer.send(outcome);
        }
        // What this process sent is what it gets back: own messages decode. Whoever waits is told by
        // the end of his channel.
        (
            machine::Answer::Replies(_) | machine::Answer::Outcome(_) | machine::Answer::Nothing,
            Whom::Clients(_) | Whom::Proposer { .. } | Whom::Nobody,
        ) => {}
    }
}

/// How many bytes of values a reply holds.
fn length(reply: &Reply) -> usize {
    match reply {
        Reply::Value(value) => value.len(),
        Reply::Values(values) => values.iter().flatten().map(Bytes::len).sum(),
        Reply::Ok | Reply::Nil | Reply::Integer(_) | Reply::Error(_) => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests;
