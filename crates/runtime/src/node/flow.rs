//! A module's own messages, from the request at a handle to the delivery at this process.
use super::window::{Full, Limits, Taken, Window};
use crate::error::Error;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use quorate_abstractions::pressure::Room;
use quorate_core::{Addr, MessageId, message::Origin};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::{Notify, oneshot};

/// A request that goes through a flow.
pub(crate) trait Payload: 'static {
    /// The bytes that it takes of the window.
    fn length(&self) -> usize;
}

impl Payload for Bytes {
    fn length(&self) -> usize {
        self.len()
    }
}

/// A message that was requested and is not yet delivered here.
struct InFlight {
    bytes: usize,
    /// The caller that waits for the delivery.
    waiter: Option<oneshot::Sender<()>>,
}

/// The requests so far.
#[derive(Default)]
struct Ledger {
    /// How many messages were requested.
    requested: u64,
    /// The latest messages; `None` for one that is delivered. The first of them is not delivered.
    latest: VecDeque<Option<InFlight>>,
    /// The number of messages that are not delivered.
    in_flight: u64,
}

/// The messages of one module, of which its window limits those in flight.
pub(crate) struct Flow<P = Bytes> {
    window: Arc<Window>,
    /// The longest message, in bytes.
    longest: usize,
    port: OnceLock<(Origin, Addr<P>)>,
    ledger: Mutex<Ledger>,
    progress: Notify,
}

impl<P: Payload> Flow<P> {
    /// Messages of at most `longest` bytes each.
    pub fn new(limits: Limits, longest: usize) -> Self {
        Flow {
            window: Arc::new(Window::new(limits)),
            longest,
            port: OnceLock::new(),
            ledger: Mutex::default(),
            progress: Notify::new(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests go to `port`, as messages of `me`.
    pub fn open(&self, me: Origin, port: Addr<P>) {
        // The builder that made the flow sets it once.
        let _ = self.port.set((me, port));
    }

    /// The address at which the link says whether it has room.
    pub fn pressure(&self) -> Addr<Room> {
        let window = self.window.clone();
        Addr::new(move |room| window.press(room))
    }

    /// Waits for room for a message whose length is not known yet.
    #[cfg(feature = "links")]
    pub async fn reserve(&self) -> Result<Taken<'_>, Error> {
        self.check(0)?;
        self.window.take(self.window.share()).await
    }

    /// Waits for room for a message of this many bytes.
    pub async fn room(&self, bytes: usize) -> Result<Taken<'_>, Error> {
        self.check(bytes)?;
        self.window.take(bytes).await
    }

    /// Waits for room, and requests.
    pub async fn request(&self, payload: P) -> Result<MessageId, Error> {
        let room = self.room(payload.length()).await?;
        self.enter(room, payload, None)
    }

    /// Room for a message of this many bytes, if there is any now.
    pub fn try_room(&self, bytes: usize) -> Result<Result<Taken<'_>, Full>, Error> {
        self.check(bytes)?;
        self.window.try_take(bytes)
    }

    /// Requests, if there is room now.
    #[cfg(feature = "links")]
    pub fn try_request(&self, payload: P) -> Result<Result<MessageId, Full>, Error> {
        Ok(match self.try_room(payload.length())? {
            Ok(room) => Ok(self.enter(room, payload, None)?),
            Err(Full) => Err(Full),
        })
    }

    /// Waits for room, requests, and waits for the delivery.
    #[cfg(feature = "broadcast")]
    pub async fn request_and_wait(&self, payload: P) -> Result<MessageId, Error> {
        let room = self.room(payload.length()).await?;
        let (waiter, delivered) = oneshot::channel();
        let id = self.enter(room, payload, Some(waiter))?;
        delivered.await.map_err(|_| Error::OutcomeUnknown)?;
        Ok(id)
    }

    /// Makes a request in the room that was reserved.
    pub fn request_in(&self, room: Taken<'_>, payload: P) -> Result<MessageId, Error> {
        self.check(payload.length())?;
        self.enter(room, payload, None)
    }

    /// Refuses an impossible request before its caller waits for room.
    fn check(&self, size: usize) -> Result<(), Error> {
        if size > self.longest {
            let limit = self.longest;
            return Err(Error::TooLarge { size, limit });
        }
        if self.port.get().is_none() {
            return Err(self.window.closed().unwrap_or(Error::NotStarted));
        }
        Ok(())
    }

    fn enter(
        &self,
        room: Taken<'_>,
        payload: P,
        waiter: Option<oneshot::Sender<()>>,
    ) -> Result<MessageId, Error> {
        let Some((origin, port)) = self.port.get() else {
            return Err(Error::NotStarted);
        };
        let mut ledger = self.ledger();
        if let Some(error) = self.window.closed() {
            return Err(error);
        }
        let bytes = payload.length();
        ledger.requested += 1;
        ledger.in_flight += 1;
        ledger.latest.push_back(Some(InFlight { bytes, waiter }));
        room.keep(bytes);
        let sequence = ledger.requested;
        // The lock is held, so that requests enter in the order of their numbers.
        port.send(payload);
        Ok(MessageId {
            origin: *origin,
            sequence,
        })
    }

    /// This process delivered `count` of its own messages, from the number `first` on.
    pub fn delivered(&self, first: u64, count: u64) {
        self.settle(first, first.saturating_add(count), true);
    }

    /// This number of the oldest messages is finished.
    pub fn settled(&self, count: u64) {
        let first = {
            let ledger = self.ledger();
            ledger.requested + 1 - ledger.latest.len() as u64
        };
        self.delivered(first, count);
    }

    /// This process will never deliver its own messages before the number `next` that are not yet
    /// delivered: a caller that waits for one of them learns that the outcome is unknown.
    pub fn skipped(&self, next: u64) {
        self.settle(0, next, false);
    }

    /// Removes the messages from the number `first` up to, but not including, `end`.
    fn settle(&self, first: u64, end: u64, are_delivered: bool) {
        let mut ledger = self.ledger();
        let begin = ledger.requested + 1 - ledger.latest.len() as u64;
        let (mut bytes, mut messages) = (0, 0);
        let mut told = Vec::new();
        for number in first.max(begin)..end.min(ledger.requested + 1) {
            let place = ledger.latest.get_mut((number - begin) as usize);
            if let Some(delivered) = place.and_then(Option::take) {
                bytes += delivered.bytes;
                messages += 1;
                told.extend(delivered.waiter.filter(|_| are_delivered));
            }
        }
        ledger.in_flight -= messages;
        while matches!(ledger.latest.front(), Some(None)) {
            ledger.latest.pop_front();
        }
        let drained = ledger.in_flight == 0;
        drop(ledger);
        self.window.give_back(messages as usize, bytes);
        for waiter in told {
            // A waiter that has given up is ignored.
            let _ = waiter.send(());
        }
        if drained {
            self.progress.notify_waiters();
        }
    }

    /// Refuses further requests, and those that wait for room.
    pub fn close(&self, error: &Error) {
        // With the lock held: a request that has entered has entered completely.
        let _ledger = self.ledger();
        self.window.close(error);
    }

    /// Nothing will be delivered any more: callers that wait learn that the outcome is unknown.
    pub fn abandon(&self, error: &Error) {
        self.close(error);
        self.skipped(u64::MAX);
    }

    /// How many own messages are in flight.
    pub fn pending(&self) -> u64 {
        self.ledger().in_flight
    }

    /// Waits, after [`close`](Flow::close), until all requested messages are delivered.
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

/// The functions by which a node ends a flow, whatever its requests are.
pub(super) trait Drain: Send + Sync {
    /// See [`Flow::close`].
    fn close(&self, error: &Error);
    /// See [`Flow::abandon`].
    fn abandon(&self, error: &Error);
    /// See [`Flow::pending`].
    fn pending(&self) -> u64;
    /// See [`Flow::drained`].
    fn drained(&self) -> BoxFuture<'_, ()>;
}

impl<P: Payload> Drain for Flow<P> {
    fn close(&self, error: &Error) {
        Flow::close(self, error);
    }

    fn abandon(&self, error: &Error) {
        Flow::abandon(self, error);
    }

    fn pending(&self) -> u64 {
        Flow::pending(self)
    }

    fn drained(&self) -> BoxFuture<'_, ()> {
        Box::pin(Flow::drained(self))
    }
}

#[cfg(test)]
mod tests;
