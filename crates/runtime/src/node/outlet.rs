//! What the protocol thread tells a reader, who may be slow.
use crate::error::Error;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// What a payload costs a slow reader beside its own length.
pub(super) const OVERHEAD: usize = 64;

/// What waits for a reader.
pub(super) trait Cost {
    /// How many bytes it counts for.
    fn cost(&self) -> usize;
}

enum Parcel<I> {
    Item(I),
    /// The end, and why.
    End(Error),
}

/// The protocol thread's end of a stream.
pub(super) struct Outlet<I> {
    parcels: Arc<Mutex<Option<mpsc::UnboundedSender<Parcel<I>>>>>,
    held: Arc<AtomicUsize>,
    limit: usize,
}

impl<I> Clone for Outlet<I> {
    fn clone(&self) -> Self {
        Outlet {
            parcels: self.parcels.clone(),
            held: self.held.clone(),
            limit: self.limit,
        }
    }
}

/// The reader's end of a stream.
pub(super) struct Intake<I> {
    parcels: mpsc::UnboundedReceiver<Parcel<I>>,
    held: Arc<AtomicUsize>,
}

impl<I: Cost + Send> Outlet<I> {
    /// An outlet for which items of at most `limit` bytes wait, and what they are taken from.
    pub fn new(limit: usize) -> (Self, Intake<I>) {
        let (sender, parcels) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let outlet = Outlet {
            parcels: Arc::new(Mutex::new(Some(sender))),
            held: held.clone(),
            limit,
        };
        (outlet, Intake { parcels, held })
    }

    /// Hands an item to the reader, unless it lags.
    pub fn tell(&self, item: I) {
        let cost = item.cost();
        if self.held.fetch_add(cost, Relaxed) + cost > self.limit {
            self.end(Some(Error::Lagged { limit: self.limit }));
            return;
        }
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        let parcel = Parcel::Item(item);
        if parcels.as_ref().is_some_and(|to| to.send(parcel).is_err()) {
            // The reader is gone.
            *parcels = None;
        }
    }
}

/// What the builder keeps of each, whatever its items.
pub(super) trait End: Send + Sync {
    /// Ends the stream, with an error or without.
    fn end(&self, error: Option<Error>);
}

impl<I: Send> End for Outlet<I> {
    fn end(&self, error: Option<Error>) {
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = parcels.take()
            && let Some(error) = error
        {
            // A reader that is gone does not mind.
            let _ = to.send(Parcel::End(error));
        }
    }
}

impl<I: Cost> Intake<I> {
    /// The next item; after an error comes the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<I, Error>>> {
        self.parcels.poll_recv(cx).map(|parcel| {
            Some(match parcel? {
                Parcel::Item(item) => {
                    self.held.fetch_sub(item.cost(), Relaxed);
                    Ok(item)
                }
                Parcel::End(error) => Err(error),
            })
        })
    }
}
