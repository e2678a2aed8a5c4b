//! One replica of the key-value store, between its clients and total order.
//!
//! Commands that arrive while the protocol is busy travel together: they wait in the *outbox*, as
//! parcels, and each parcel is one message. A parcel leaves as soon as the window has room for it,
//! so an idle replica sends at once and a busy one batches by itself. A process's messages are
//! delivered in the order in which they were broadcast, so the oldest parcel under way is always
//! the one that a delivery of our own answers.
use super::view::Standing;
use bytes::Bytes;
use bytes::BytesMut;
use quorate_catalogue::broadcasts::Delivery;
use quorate_core::{Addr, message::Origin};
use quorate_services::kv::{MAXIMUM_BYTES, Reply, Service};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

/// A parcel is closed when it is this long. One command may be longer.
const PARCEL: usize = 256 * 1024;

/// The most bytes of commands that were accepted and are not yet applied: two of the longest.
const ROOM: usize = 2 * MAXIMUM_BYTES;

/// How many deliveries are applied before other tasks of the thread have their turn.
const DELIVERIES: usize = 64;

/// Why commands were turned away. They were not executed and will not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This process does not vote, for this reason.
    NotVoter(String),
    /// Earlier commands wait for a majority, and the deadline passed before there was room.
    NoQuorum,
}

/// Commands on their way: what comes back is a reply for each.
pub type Answer = oneshot::Receiver<Vec<Reply>>;

/// Encoded commands that belong together.
struct Waiting {
    commands: usize,
    answer: oneshot::Sender<Vec<Reply>>,
    /// Held until the commands are applied.
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Parcel {
    payload: BytesMut,
    waiting: Vec<Waiting>,
}

struct UnderWay {
    waiting: Vec<Waiting>,
    _window: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    outbox: VecDeque<Parcel>,
    under_way: VecDeque<UnderWay>,
    service: Service,
}

/// What `/status` and `/metrics` say of the replica.
pub struct Progress {
    /// Messages delivered.
    pub delivered: u64,
    /// The hash of their sequence.
    pub hash: u64,
    /// Commands applied.
    pub applied: u64,
    /// Payloads that were no commands.
    pub undecodable: u64,
    /// Keys in the store.
    pub keys: usize,
    /// Own messages under way.
    pub under_way: usize,
}

struct Shared {
    me: Origin,
    broadcast: Addr<Bytes>,
    state: Mutex<State>,
    posted: Notify,
    room: Arc<Semaphore>,
    window: Arc<Semaphore>,
    standing: watch::Receiver<Standing>,
}

/// The replica. Clones share it.
#[derive(Clone)]
pub struct Replica(Arc<Shared>);

impl Replica {
    /// A replica that sends through `broadcast`, with at most `window` messages under way.
    pub fn new(
        me: Origin,
        broadcast: Addr<Bytes>,
        window: usize,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        Replica(Arc::new(Shared {
            me,
            broadcast,
            state: Mutex::default(),
            posted: Notify::new(),
            room: Arc::new(Semaphore::new(ROOM)),
            window: Arc::new(Semaphore::new(window)),
            standing,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts encoded commands into the total order, behind all that this caller has submitted before.
    /// Waits for room until the deadline. Once accepted they may be executed at any time.
    pub async fn submit(
        &self,
        commands: usize,
        encoded: &[u8],
        deadline: Instant,
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
            _room: room,
        };
        {
            let mut state = self.state();
            let full = |parcel: &Parcel| parcel.payload.len() + encoded.len() > PARCEL;
            if state.outbox.back().is_none_or(full) {
                state.outbox.push_back(Parcel::default());
            }
            if let Some(parcel) = state.outbox.back_mut() {
                parcel.payload.extend_from_slice(encoded);
                parcel.waiting.push(waiting);
            }
        }
        self.0.posted.notify_one();
        Ok(receiver)
    }

    /// Waits until this process may take part.
    async fn voter(&self, deadline: Instant) -> Result<(), Refusal> {
        let mut standing = self.0.standing.clone();
        let known = timeout_at(deadline, standing.wait_for(|s| *s != Standing::Joining)).await;
        match known {
            Ok(Ok(standing)) => match &*standing {
                Standing::Excluded(words) => Err(Refusal::NotVoter(words.clone())),
                Standing::Joining | Standing::Voter => Ok(()),
            },
            Ok(Err(_)) | Err(_) => Err(Refusal::NotVoter(
                "not admitted yet: too few others have met this replica".into(),
            )),
        }
    }

    /// Moves parcels from the outbox into total order, for ever.
    pub async fn send_parcels(&self) {
        loop {
            self.0.posted.notified().await;
            while !self.state().outbox.is_empty() {
                let Ok(window) = self.0.window.clone().acquire_owned().await else {
                    return;
                };
                let mut state = self.state();
                if let Some(Parcel { payload, waiting }) = state.outbox.pop_front() {
                    state.under_way.push_back(UnderWay {
                        waiting,
                        _window: window,
                    });
                    // Under the lock: parcels enter total order in the order of `under_way`.
                    self.0.broadcast.send(payload.freeze());
                }
            }
        }
    }

    /// Applies what total order delivers, until it ends.
    pub async fn apply_deliveries(&self, mut deliveries: mpsc::UnboundedReceiver<Delivery>) {
        let mut batch = Vec::with_capacity(DELIVERIES);
        while deliveries.recv_many(&mut batch, DELIVERIES).await > 0 {
            for delivery in batch.drain(..) {
                self.deliver(&delivery);
            }
            tokio::task::yield_now().await;
        }
    }

    fn deliver(&self, delivery: &Delivery) {
        let own = delivery.origin == self.0.me;
        let mut state = self.state();
        for (id, payload) in delivery.messages() {
            let replies = state.service.deliver(id, payload, own);
            if own && let Some(UnderWay { waiting, .. }) = state.under_way.pop_front() {
                hand_out(replies, waiting);
            }
        }
    }

    /// How far the replica has come.
    pub fn progress(&self) -> Progress {
        let state = self.state();
        let log = state.service.log();
        Progress {
            delivered: log.delivered(),
            hash: log.hash(),
            applied: state.service.applied(),
            undecodable: state.service.undecodable(),
            keys: state.service.store().len(),
            under_way: state.under_way.len() + state.outbox.len(),
        }
    }
}

/// Gives everybody who waits for this message the replies to his commands. Who has given up is
/// not there any more.
fn hand_out(replies: Vec<Reply>, waiting: Vec<Waiting>) {
    let mut replies = replies.into_iter();
    for Waiting {
        commands, answer, ..
    } in waiting
    {
        let _ = answer.send(replies.by_ref().take(commands).collect());
    }
}

#[cfg(test)]
pub(crate) mod tests;
