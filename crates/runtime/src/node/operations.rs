//! The operations on one module of shared memory: at most one under way on each of its objects.
//!
//! An operation that has begun is never abandoned: whoever gives up waiting for it leaves its object
//! busy until it returns.
use super::{
    agreement::Abandon,
    window::{Limits, Taken, Window},
};
use crate::error::Error;
use quorate_abstractions::pressure::Room;
use quorate_core::Addr;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::oneshot;

/// An operation, as it goes through the door.
pub(crate) struct Begun<K, A> {
    /// The object that it is on.
    pub object: K,
    /// Its number: each once.
    pub operation: u64,
    /// What is to be done.
    pub action: A,
}

/// Whoever waits for an operation.
struct UnderWay<O> {
    operation: u64,
    answer: oneshot::Sender<O>,
    /// What it takes of the window until it returns.
    bytes: usize,
}

struct Ledger<K, O> {
    /// How many operations were begun.
    begun: u64,
    under_way: BTreeMap<K, UnderWay<O>>,
}

/// One module's operations: actions of type `A` on objects named by a `K`, with outcomes of type `O`.
pub(crate) struct Operations<K: 'static, A: 'static, O> {
    door: OnceLock<Addr<Begun<K, A>>>,
    window: Arc<Window>,
    ledger: Mutex<Ledger<K, O>>,
}

impl<K: Ord + Clone, A, O> Operations<K, A, O> {
    /// No more operations under way than the limits allow.
    pub fn new(limits: Limits) -> Self {
        Operations {
            door: OnceLock::new(),
            window: Arc::new(Window::new(limits)),
            ledger: Mutex::new(Ledger {
                begun: 0,
                under_way: BTreeMap::new(),
            }),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<K, O>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on operations go to `door`.
    pub fn open(&self, door: Addr<Begun<K, A>>) {
        // Wired once, by the builder that made the operations.
        let _ = self.door.set(door);
    }

    /// Where the link says whether it has room.
    pub fn pressure(&self) -> Addr<Room> {
        let window = self.window.clone();
        Addr::new(move |room| window.press(room))
    }

    /// Waits for room for an action of so many `bytes`, does what it says on an object, unless an operation
    /// is under way there, and waits until this has returned. `action` is asked at the moment at which the
    /// operation begins; if it fails, nothing has begun.
    pub async fn operate(
        &self,
        object: K,
        bytes: usize,
        action: impl FnOnce() -> Result<A, Error>,
    ) -> Result<O, Error> {
        // Who would be refused does not wait for room.
        self.check(&self.ledger(), &object)?;
        let room = self.window.take(bytes).await?;
        let outcome = self.begin(object, action, room, bytes)?;
        // Only when nothing will return any more.
        outcome.await.map_err(|_| Error::OutcomeUnknown)
    }

    fn check(&self, ledger: &Ledger<K, O>, object: &K) -> Result<&Addr<Begun<K, A>>, Error> {
        if let Some(error) = self.window.closed() {
            return Err(error);
        }
        if ledger.under_way.contains_key(object) {
            return Err(Error::Busy);
        }
        self.door.get().ok_or(Error::NotStarted)
    }

    fn begin(
        &self,
        object: K,
        action: impl FnOnce() -> Result<A, Error>,
        room: Taken<'_>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<O>, Error> {
        let mut ledger = self.ledger();
        let door = self.check(&ledger, &object)?;
        let action = action()?;
        room.keep(bytes);
        ledger.begun += 1;
        let operation = ledger.begun;
        let (answer, outcome) = oneshot::channel();
        let under_way = UnderWay {
            operation,
            answer,
            bytes,
        };
        ledger.under_way.insert(object.clone(), under_way);
        door.send(Begun {
            object,
            operation,
            action,
        });
        Ok(outcome)
    }

    /// The operation on an object has returned, of which there is never another one.
    pub fn returned_on(&self, object: &K, outcome: O) {
        let under_way = self.ledger().under_way.get(object).map(|it| it.operation);
        if let Some(operation) = under_way {
            self.returned(object, operation, outcome);
        }
    }

    /// An operation has returned.
    pub fn returned(&self, object: &K, operation: u64, outcome: O) {
        let mut ledger = self.ledger();
        let is_it = |under_way: &UnderWay<O>| under_way.operation == operation;
        if !ledger.under_way.get(object).is_some_and(is_it) {
            return;
        }
        let ended = ledger.under_way.remove(object);
        drop(ledger);
        if let Some(UnderWay { answer, bytes, .. }) = ended {
            self.window.give_back(1, bytes);
            // One that has given up does not mind.
            let _ = answer.send(outcome);
        }
    }
}

impl<K, A, O> Abandon for Operations<K, A, O>
where
    K: Ord + Clone + Send + 'static,
    A: Send + 'static,
    O: Send,
{
    fn close(&self, error: &Error) {
        // Under the lock: what begins has begun before.
        let _ledger = self.ledger();
        self.window.close(error);
    }

    fn abandon(&self, error: &Error) {
        self.close(error);
        let under_way = std::mem::take(&mut self.ledger().under_way);
        drop(under_way);
    }
}

#[cfg(test)]
mod tests;
