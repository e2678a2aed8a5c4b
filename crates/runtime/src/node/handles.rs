//! The typed handles: where a user's messages enter a module, and where they come out.
use super::flow::Flow;
use crate::error::Error;
use bytes::Bytes;
use futures::Stream;
use quorate_core::{
    MessageId, ProcessId,
    message::Origin,
    wire::{decode_value, encode_value},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    vec,
};
use tokio::sync::mpsc;

/// How messages of a type become payloads and back.
pub(crate) struct Codec<T> {
    encode: fn(T) -> Result<Bytes, Error>,
    pub decode: fn(Bytes) -> Option<T>,
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Codec<T> {}

impl<T: Serialize + DeserializeOwned> Codec<T> {
    pub fn typed() -> Self {
        Codec {
            encode: |message| encode_value(&message).map_err(|_| Error::Unencodable),
            decode: |payload| decode_value(&payload).ok(),
        }
    }
}

impl Codec<Bytes> {
    pub fn raw() -> Self {
        Codec {
            encode: Ok,
            decode: Some,
        }
    }
}

/// Broadcasts messages of type `T` through one module of a node. Clones share the module's window.
pub struct Broadcaster<T> {
    flow: Arc<Flow>,
    codec: Codec<T>,
}

impl<T> Clone for Broadcaster<T> {
    fn clone(&self) -> Self {
        Broadcaster {
            flow: self.flow.clone(),
            codec: self.codec,
        }
    }
}

impl<T> Broadcaster<T> {
    pub(crate) fn new(flow: Arc<Flow>, codec: Codec<T>) -> Self {
        Broadcaster { flow, codec }
    }

    /// Waits for room in the window, and broadcasts. That the call has returned says that the
    /// message is on its way, not that it was delivered anywhere.
    ///
    /// Messages of one process are numbered in the order in which these calls are let through.
    /// A call that is dropped while it waits has not broadcast.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable),
    /// [`NotStarted`](Error::NotStarted), [`Stopped`](Error::Stopped),
    /// [`Excluded`](Error::Excluded), [`Panicked`](Error::Panicked): the message was not broadcast.
    pub async fn broadcast(&self, message: T) -> Result<(), Error> {
        let payload = (self.codec.encode)(message)?;
        self.flow.request(payload).await
    }

    /// Broadcasts, and waits until this process has delivered the message. A call that is dropped
    /// while it waits may have broadcast.
    ///
    /// # Errors
    /// As [`broadcast`](Broadcaster::broadcast); and [`OutcomeUnknown`](Error::OutcomeUnknown) when
    /// the node stops after the message was broadcast and before it is delivered.
    pub async fn deliver(&self, message: T) -> Result<MessageId, Error> {
        let payload = (self.codec.encode)(message)?;
        self.flow.request_and_wait(payload).await
    }

    /// How many own messages are broadcast and not yet delivered here.
    pub fn pending(&self) -> u64 {
        self.flow.pending()
    }
}

/// A message, delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery<T> {
    /// Whose how-manieth message it is.
    pub id: MessageId,
    /// Who broadcast it.
    pub origin: ProcessId,
    /// The message.
    pub message: T,
}

/// What goes from the protocol thread to a reader: one such for a batch.
enum Parcel {
    /// Consecutive messages of one origin.
    Batch(Origin, u64, Vec<Bytes>),
    /// The end, and why.
    End(Error),
}

/// What a payload costs a slow reader beside its own length.
const OVERHEAD: usize = 64;

fn cost(payloads: &[Bytes]) -> usize {
    payloads
        .iter()
        .map(|payload| payload.len() + OVERHEAD)
        .sum()
}

/// The protocol thread's end of a delivery stream.
#[derive(Clone)]
pub(crate) struct Outlet {
    parcels: Arc<Mutex<Option<mpsc::UnboundedSender<Parcel>>>>,
    held: Arc<AtomicUsize>,
    limit: usize,
}

impl Outlet {
    /// An outlet for which at most `limit` bytes of deliveries wait, and the stream it feeds.
    pub fn new<T>(limit: usize, codec: Codec<T>) -> (Self, Deliveries<T>) {
        let (sender, parcels) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let outlet = Outlet {
            parcels: Arc::new(Mutex::new(Some(sender))),
            held: held.clone(),
            limit,
        };
        let deliveries = Deliveries {
            parcels,
            held,
            batch: None,
            decode: codec.decode,
        };
        (outlet, deliveries)
    }

    /// Hands a batch to the reader, unless it lags.
    pub fn deliver(&self, origin: Origin, first: u64, payloads: Vec<Bytes>) {
        let cost = cost(&payloads);
        if self.held.fetch_add(cost, Relaxed) + cost > self.limit {
            self.end(Some(Error::Lagged { limit: self.limit }));
            return;
        }
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        let parcel = Parcel::Batch(origin, first, payloads);
        if parcels.as_ref().is_some_and(|to| to.send(parcel).is_err()) {
            // The reader is gone.
            *parcels = None;
        }
    }

    /// Ends the stream, with an error or without.
    pub fn end(&self, error: Option<Error>) {
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = parcels.take()
            && let Some(error) = error
        {
            let _ = to.send(Parcel::End(error));
        }
    }
}

/// What a module delivers, in order: a [`Stream`] that ends when the node stops.
///
/// Deliveries that are not read wait, up to the builder's limit. A reader that lags further behind
/// gets [`Error::Lagged`], and the end. A payload that is no `T` gives [`Error::Undecodable`], and
/// the stream goes on. After any other error it ends.
pub struct Deliveries<T> {
    parcels: mpsc::UnboundedReceiver<Parcel>,
    held: Arc<AtomicUsize>,
    batch: Option<Batch>,
    decode: fn(Bytes) -> Option<T>,
}

/// The batch that is being read.
struct Batch {
    next: MessageId,
    payloads: vec::IntoIter<Bytes>,
}

impl<T> Deliveries<T> {
    /// The next delivery of the batch at hand.
    fn unpack(&mut self) -> Option<Result<Delivery<T>, Error>> {
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
            None => Err(Error::Undecodable { id }),
        })
    }
}

impl<T> Stream for Deliveries<T> {
    type Item = Result<Delivery<T>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(delivery) = this.unpack() {
                return Poll::Ready(Some(delivery));
            }
            match std::task::ready!(this.parcels.poll_recv(cx)) {
                Some(Parcel::Batch(origin, first, payloads)) => {
                    this.held.fetch_sub(cost(&payloads), Relaxed);
                    this.batch = Some(Batch {
                        next: MessageId {
                            origin,
                            sequence: first,
                        },
                        payloads: payloads.into_iter(),
                    });
                }
                Some(Parcel::End(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
