//! The typed handles of broadcasts: the user's messages go into a module by one, and deliveries come out by
//! the other.
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

    /// Waits for room for one message: room in the module's [window](super::Builder::window), and room at
    /// the peers. A peer that the module waits for must not have too many bytes that it has not
    /// acknowledged.
    ///
    /// A call that is dropped while it waits has taken no room. Callers are let through in the order in
    /// which they came. A permit takes room from others while it is held: send soon, or drop it. Since the
    /// length of the message is not known yet, a few permits use up the window: with
    /// [`broadcast`](Broadcaster::broadcast) more messages can be in flight together.
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

    /// Waits for room as [`reserve`](Broadcaster::reserve) does, and broadcasts. When the call returns, the
    /// message is in flight with this identifier, and need not have been delivered anywhere.
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

    /// Broadcasts, if there is room now and no other caller waits for room.
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
    /// As [`broadcast`](Broadcaster::broadcast). Also [`OutcomeUnknown`](Error::OutcomeUnknown) when the
    /// node stops after the message was broadcast and before it is delivered, or when this process
    /// [skips](StreamError::Skipped) it, because it was out of reach for too long.
    pub async fn deliver(&self, message: T) -> Result<MessageId, Error> {
        let payload = (self.codec.encode)(&message)?;
        self.flow.request_and_wait(payload).await
    }

    /// The number of own messages that are broadcast and not yet delivered here.
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
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable), and the errors of a node that
    /// has ended since the permit was given: the message was not broadcast.
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

/// The reason why a message was not broadcast at once.
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
    /// The start of the process that broadcast it, and its sequence number.
    pub id: MessageId,
    /// The process that broadcast it.
    pub origin: ProcessId,
    pub message: T,
}

/// An item that the protocol thread passes to a reader.
pub(crate) enum ReaderItem {
    /// Messages.
    Batch(Batch),
    /// The channel to this peer, or from it, has lost messages.
    Gap(ProcessId),
    /// The messages of this origin before this one that were not delivered never will be.
    Skipped(MessageId),
}

/// Consecutive messages of one origin.
pub(crate) struct Batch {
    pub first: MessageId,
    /// The messages.
    pub payloads: Vec<Bytes>,
}

impl Cost for ReaderItem {
    fn cost(&self) -> usize {
        match self {
            ReaderItem::Batch(batch) => {
                let payloads = batch.payloads.iter();
                payloads.map(|payload| payload.len() + OVERHEAD).sum()
            }
            ReaderItem::Gap(_) | ReaderItem::Skipped(_) => OVERHEAD,
        }
    }
}

/// What a module delivers, in order: a [`Stream`] that ends when the node stops.
///
/// Deliveries that are not read wait. From half of the builder's limit on, the other processes are slowed,
/// so that a slow reader can see all messages; from the limit on, this process is slowed, too. A reader may
/// broadcast an answer to each message in its reading loop. A reader that reads nothing at all is waited
/// for as long as the module's [`Wait`](quorate_abstractions::pressure::Wait::reader) says: 10 seconds, or
/// 5 if the algorithm stands on the perfect failure detector. If more than the limit waits for it after
/// that, it gets [`StreamError::Lagged`], and the stream ends. The stream gives
/// [`StreamError::Undecodable`] for a payload that is no `T`; [`StreamError::Gap`] if messages may be
/// missing for good because the channel to a peer, or from it, has lost them; and [`StreamError::Skipped`]
/// if total order goes on after messages that nobody keeps for this process. After these errors the stream
/// goes on, after any other error it ends.
pub struct Deliveries<T> {
    intake: Intake<ReaderItem>,
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
    pub(super) fn new(intake: Intake<ReaderItem>, codec: Coding<T>) -> Self {
        Deliveries {
            intake,
            batch: None,
            decode: codec.decode,
        }
    }

    /// The next delivery of the present batch.
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
                Some(Ok(ReaderItem::Gap(peer))) => {
                    return Poll::Ready(Some(Err(StreamError::Gap { peer })));
                }
                Some(Ok(ReaderItem::Skipped(next))) => {
                    return Poll::Ready(Some(Err(StreamError::Skipped { next })));
                }
                Some(Ok(ReaderItem::Batch(Batch { first, payloads }))) => {
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
