//! The typed handles: where a user's messages enter a module, and where they come out.
use super::{
    codec::Coding,
    flow::Flow,
    outlet::{Cost, Intake, OVERHEAD},
    window::{Full, Taken},
};
use crate::error::{Error, StreamError};
use bytes::Bytes;
use futures_core::Stream;
use quorate_core::{MessageId, ProcessId};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

/// Broadcasts messages of type `T` through one module of a node. Clones share the module's window.
pub struct Broadcaster<T> {
    flow: Arc<Flow>,
    codec: Coding<T>,
}

crate::debug::opaque!(Broadcaster<T>);

impl<T> Clone for Broadcaster<T> {
    fn clone(&self) -> Self {
        Broadcaster {
            flow: self.flow.clone(),
            codec: self.codec,
        }
    }
}

impl<T> Broadcaster<T> {
    pub(crate) fn new(flow: Arc<Flow>, codec: Coding<T>) -> Self {
        Broadcaster { flow, codec }
    }

    /// Waits for room for one message: in the module's [window](super::Builder::window), and at the peers,
    /// where none of those that are waited for may owe too much.
    ///
    /// A call that is dropped while it waits has taken nothing; callers are let through in the order in
    /// which they came. A permit that is held takes room from others: send soon, or drop it. The length of
    /// the message is not known yet, so that a few permits use the window up: with
    /// [`broadcast`](Broadcaster::broadcast) more are in flight together.
    ///
    /// # Errors
    /// [`NotStarted`](Error::NotStarted), [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked).
    pub async fn reserve(&self) -> Result<Permit<'_, T>, Error> {
        Ok(Permit {
            broadcaster: self,
            room: self.flow.reserve().await?,
        })
    }

    /// Waits for room as [`reserve`](Broadcaster::reserve) does, and broadcasts. That the call has returned
    /// says that the message is on its way, under this identifier, not that it was delivered anywhere.
    ///
    /// Messages of one process are numbered in the order in which these calls are let through.
    /// A call that is dropped while it waits has not broadcast.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable), and as
    /// [`reserve`](Broadcaster::reserve): the message was not broadcast.
    pub async fn broadcast(&self, message: T) -> Result<MessageId, Error> {
        let payload = (self.codec.encode)(&message)?;
        self.flow.request(payload).await
    }

    /// Broadcasts, if there is room now and nobody waits for it.
    ///
    /// # Errors
    /// [`Full`](TryBroadcastError::Full), with the message; and as [`broadcast`](Broadcaster::broadcast).
    pub fn try_broadcast(&self, message: T) -> Result<MessageId, TryBroadcastError<T>> {
        let payload = (self.codec.encode)(&message)?;
        self.flow
            .try_request(payload)?
            .map_err(|Full| TryBroadcastError::Full(message))
    }

    /// Broadcasts, and waits until this process has delivered the message. A call that is dropped
    /// while it waits may have broadcast.
    ///
    /// # Errors
    /// As [`broadcast`](Broadcaster::broadcast); and [`OutcomeUnknown`](Error::OutcomeUnknown) when
    /// the node stops after the message was broadcast and before it is delivered, or when this process
    /// [skips](StreamError::Skipped) it, because it was out of reach for too long.
    pub async fn deliver(&self, message: T) -> Result<MessageId, Error> {
        let payload = (self.codec.encode)(&message)?;
        self.flow.request_and_wait(payload).await
    }

    /// How many own messages are broadcast and not yet delivered here.
    pub fn pending(&self) -> u64 {
        self.flow.pending()
    }
}

/// Room for one message, until it is sent or dropped.
#[must_use = "a permit that is held takes room from others"]
pub struct Permit<'b, T> {
    broadcaster: &'b Broadcaster<T>,
    room: Taken<'b>,
}

impl<T> Permit<'_, T> {
    /// Broadcasts, without waiting.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable), and those of a node that has
    /// ended since: the message was not broadcast.
    pub fn send(self, message: T) -> Result<MessageId, Error> {
        let payload = (self.broadcaster.codec.encode)(&message)?;
        self.broadcaster.flow.request_in(self.room, payload)
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// Why nothing was broadcast at once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TryBroadcastError<T> {
    /// There is no room at the moment. Here is the message.
    #[error("there is no room at the moment")]
    Full(T),
    /// It cannot be broadcast.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A message, delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery<T> {
    /// Whose message it is, and its sequence number.
    pub id: MessageId,
    /// Who broadcast it.
    pub origin: ProcessId,
    pub message: T,
}

/// What goes from the protocol thread to a reader.
pub(crate) enum Told {
    /// Messages.
    Batch(Batch),
    /// The channel to a peer, or from it, has lost some.
    Gap(ProcessId),
    /// Those of an origin before this one, that were not delivered, never will be.
    Skipped(MessageId),
}

/// Consecutive messages of one origin.
pub(crate) struct Batch {
    pub first: MessageId,
    /// The messages.
    pub payloads: Vec<Bytes>,
}

impl Cost for Told {
    fn cost(&self) -> usize {
        match self {
            Told::Batch(batch) => {
                let payloads = batch.payloads.iter();
                payloads.map(|payload| payload.len() + OVERHEAD).sum()
            }
            Told::Gap(_) | Told::Skipped(_) => OVERHEAD,
        }
    }
}

/// What a module delivers, in order: a [`Stream`] that ends when the node stops.
///
/// Deliveries that are not read wait. From half of the builder's limit on the others are slowed, so that a
/// slow reader sees all of them; from all of it on this process is, too. So a reader may answer each message
/// that it reads, in the loop that reads. One that reads nothing at all is waited for as long as the module's
/// [`Wait`](quorate_abstractions::pressure::Wait::reader) says: 10 seconds, or 5 where the algorithm stands
/// on the perfect failure detector. Then, when more than the limit is there, it gets [`StreamError::Lagged`], and
/// the end. A payload that is no `T` gives [`StreamError::Undecodable`]; where messages may be missing for good
/// because the channel to a peer, or from it, has lost what waited in it, there is [`StreamError::Gap`]; and where
/// total order has gone on behind messages that nobody keeps for this process, [`StreamError::Skipped`]. After these
/// the stream goes on, after any other error it ends.
pub struct Deliveries<T> {
    intake: Intake<Told>,
    batch: Option<Unpacked>,
    decode: fn(Bytes) -> Option<T>,
}

crate::debug::opaque!(Deliveries<T>);

/// The batch that is being read.
struct Unpacked {
    next: MessageId,
    payloads: vec::IntoIter<Bytes>,
}

impl<T> Deliveries<T> {
    pub(super) fn new(intake: Intake<Told>, codec: Coding<T>) -> Self {
        Deliveries {
            intake,
            batch: None,
            decode: codec.decode,
        }
    }

    /// The next delivery of the batch at hand.
    fn unpack(&mut self) -> Option<Result<Delivery<T>, StreamError>> {
        let batch = self.batch.as_mut()?;
        let payload = batch.payloads.next()?;
        let id = batch.next;
        batch.next.sequence += 1;
        Some(match (self.decode)(payload) {
            Some(message) => Ok(Delivery {
                id,
                origin: id.origin.process,
                message,
            }),
            None => Err(StreamError::Undecodable { id }),
        })
    }
}

impl<T> Stream for Deliveries<T> {
    type Item = Result<Delivery<T>, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(delivery) = this.unpack() {
                return Poll::Ready(Some(delivery));
            }
            match std::task::ready!(this.intake.poll_next(cx)) {
                Some(Ok(Told::Gap(peer))) => {
                    return Poll::Ready(Some(Err(StreamError::Gap { peer })));
                }
                Some(Ok(Told::Skipped(next))) => {
                    return Poll::Ready(Some(Err(StreamError::Skipped { next })));
                }
                Some(Ok(Told::Batch(Batch { first, payloads }))) => {
                    this.batch = Some(Unpacked {
                        next: first,
                        payloads: payloads.into_iter(),
                    });
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
