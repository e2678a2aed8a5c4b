//! The pressure between a handle's requests and this process's own deliveries.
use crate::error::Error;
use bytes::Bytes;
use quorate_core::{Addr, MessageId, message::Origin};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::{Notify, Semaphore, oneshot};

/// What was requested so far.
#[derive(Default)]
struct Ledger {
    requested: u64,
    delivered: u64,
    /// Who waits for the delivery of which request.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    /// Why nothing is accepted any more.
    closed: Option<Error>,
}

/// One module's requests: at most a window of them is under way.
pub(crate) struct Flow {
    window: Semaphore,
    limit: usize,
    door: OnceLock<(Origin, Addr<Bytes>)>,
    ledger: Mutex<Ledger>,
    progress: Notify,
}

impl Flow {
    /// At most `window` messages under way, of at most `limit` bytes each.
    pub fn new(window: usize, limit: usize) -> Self {
        Flow {
            window: Semaphore::new(window.clamp(1, Semaphore::MAX_PERMITS)),
            limit,
            door: OnceLock::new(),
            ledger: Mutex::default(),
            progress: Notify::new(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests go to `door`, as messages of `me`.
    pub fn open(&self, me: Origin, door: Addr<Bytes>) {
        // Wired once, by the builder that made the flow.
        let _ = self.door.set((me, door));
    }

    /// Waits for room in the window, and requests.
    pub async fn request(&self, payload: Bytes) -> Result<(), Error> {
        let room = self.room(&payload).await?;
        self.enter(payload, None)?;
        room.forget();
        Ok(())
    }

    /// Waits for room in the window, requests, and waits for the delivery.
    pub async fn request_and_wait(&self, payload: Bytes) -> Result<MessageId, Error> {
        let room = self.room(&payload).await?;
        let (waiter, delivered) = oneshot::channel();
        let id = self.enter(payload, Some(waiter))?;
        room.forget();
        delivered.await.map_err(|_| Error::OutcomeUnknown)?;
        Ok(id)
    }

    async fn room(&self, payload: &Bytes) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        if payload.len() > self.limit {
            return Err(Error::TooLarge {
                size: payload.len(),
                limit: self.limit,
            });
        }
        if self.door.get().is_none() {
            return Err(self.ledger().closed.clone().unwrap_or(Error::NotStarted));
        }
        // Refused only when the flow is closed.
        match self.window.acquire().await {
            Ok(room) => Ok(room),
            Err(_) => Err(self.ledger().closed.clone().unwrap_or(Error::Stopped)),
        }
    }

    fn enter(
        &self,
        payload: Bytes,
        waiter: Option<oneshot::Sender<()>>,
    ) -> Result<MessageId, Error> {
        let Some((origin, door)) = self.door.get() else {
            return Err(Error::NotStarted);
        };
        let mut ledger = self.ledger();
        if let Some(error) = &ledger.closed {
            return Err(error.clone());
        }
        ledger.requested += 1;
        let number = ledger.requested;
        if let Some(waiter) = waiter {
            ledger.waiting.insert(number, waiter);
        }
        // Under the lock: requests are numbered in the order in which they enter.
        door.send(payload);
        Ok(MessageId {
            origin: *origin,
            sequence: number,
        })
    }

    /// This process delivered `count` of its own messages, from the number `first` on.
    pub fn delivered(&self, first: u64, count: u64) {
        let mut ledger = self.ledger();
        ledger.delivered += count;
        let mut told = Vec::new();
        if !ledger.waiting.is_empty() {
            for number in first..first + count {
                told.extend(ledger.waiting.remove(&number));
            }
        }
        let drained = ledger.closed.is_some() && ledger.delivered >= ledger.requested;
        drop(ledger);
        self.window.add_permits(count as usize);
        for waiter in told {
            // One that has given up does not mind.
            let _ = waiter.send(());
        }
        if drained {
            self.progress.notify_waiters();
        }
    }

    /// Accepts nothing any more; what waits for room is refused.
    pub fn close(&self, error: &Error) {
        let mut ledger = self.ledger();
        if ledger.closed.is_none() {
            ledger.closed = Some(error.clone());
        }
        drop(ledger);
        self.window.close();
    }

    /// Nothing will be delivered any more: whoever waits learns that the outcome is unknown.
    pub fn abandon(&self, error: &Error) {
        self.close(error);
        self.ledger().waiting.clear();
        self.progress.notify_waiters();
    }

    /// How many own messages are under way.
    pub fn pending(&self) -> u64 {
        let ledger = self.ledger();
        ledger.requested.saturating_sub(ledger.delivered)
    }

    /// Waits, after [`close`](Flow::close), until everything requested was delivered.
    pub async fn drained(&self) {
        loop {
            let progress = self.progress.notified();
            if self.pending() == 0 {
                return;
            }
            progress.await;
        }
    }
}
