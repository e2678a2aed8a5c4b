//! What the protocol thread tells a reader, who may be slow.
//!
//! What is on its way when a reader falls behind still comes, beyond the limit if need be: a reader that
//! goes on is not cut off. One that has read nothing for as long as others wait for it is, at the limit.
use crate::{
    backlog::{AtTheLimit, Meter},
    error::{Error, StreamError},
};
use quorate_abstractions::pressure::Backlog;
use quorate_core::Addr;
use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
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
    End(StreamError),
}

/// The protocol thread's end of a stream.
pub(super) struct Outlet<I> {
    parcels: Arc<Mutex<Option<mpsc::UnboundedSender<Parcel<I>>>>>,
    meter: Arc<Meter>,
}

impl<I> Clone for Outlet<I> {
    fn clone(&self) -> Self {
        Outlet {
            parcels: self.parcels.clone(),
            meter: self.meter.clone(),
        }
    }
}

/// The reader's end of a stream.
pub(super) struct Intake<I> {
    parcels: mpsc::UnboundedReceiver<Parcel<I>>,
    meter: Arc<Meter>,
}

impl<I: Cost + Send> Outlet<I> {
    /// An outlet for which items of at most `limit` bytes wait, and what they are taken from.
    pub fn new(limit: usize) -> (Self, Intake<I>) {
        let (sender, parcels) = mpsc::unbounded_channel();
        let meter = Arc::new(Meter::new(limit));
        let outlet = Outlet {
            parcels: Arc::new(Mutex::new(Some(sender))),
            meter: meter.clone(),
        };
        (outlet, Intake { parcels, meter })
    }

    /// From now on `link` is told when the reader is behind, and the reader has so much time (`timeout`) to count
    /// on.
    pub fn open(&self, link: Addr<Backlog>, timeout: Duration) {
        self.meter.open(link, AtTheLimit::CutOff(timeout));
    }

    /// Hands an item to the reader, if it fits into what may wait for him.
    #[cfg(feature = "links")]
    pub fn offer(&self, item: I) -> bool {
        let fits = self.meter.has_room(item.cost());
        if fits {
            self.tell(item);
        }
        fits
    }

    /// Hands an item to the reader, unless it lags.
    pub fn tell(&self, item: I) {
        // Whoever has no reader has nobody to tell.
        let _ = self.hand(item);
    }

    /// As [`tell`](Outlet::tell). Says whether there is a reader, who has it now.
    pub fn hand(&self, item: I) -> bool {
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = &*parcels else {
            return false;
        };
        if !self.meter.grow(item.cost()) {
            drop(parcels);
            let limit = self.meter.limit();
            self.close(Some(StreamError::Lagged { limit }));
            false
        } else if to.send(Parcel::Item(item)).is_err() {
            // The reader is gone.
            *parcels = None;
            false
        } else {
            true
        }
    }
}

/// What the builder keeps of each, whatever its items.
pub(super) trait End: Send + Sync {
    /// Ends the stream, with the reason of the node's end or without one.
    fn end(&self, error: Option<Error>);
}

impl<I: Send> End for Outlet<I> {
    fn end(&self, error: Option<Error>) {
        self.close(error.map(StreamError::Ended));
    }
}

impl<I> Outlet<I> {
    /// Ends the stream, with an error or without.
    fn close(&self, error: Option<StreamError>) {
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = parcels.take()
            && let Some(error) = error
        {
            // A reader that is gone does not mind.
            let _ = to.send(Parcel::End(error));
        }
        drop(parcels);
        self.meter.end();
    }
}

impl<I: Cost> Intake<I> {
    /// The next of the items that are here, if one is.
    #[cfg(feature = "membership")]
    pub fn take(&mut self) -> Option<I> {
        loop {
            match self.parcels.try_recv().ok()? {
                Parcel::Item(item) => {
                    self.meter.shrink(item.cost());
                    return Some(item);
                }
                Parcel::End(_) => {}
            }
        }
    }

    /// The next item; after an error comes the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<I, StreamError>>> {
        self.parcels.poll_recv(cx).map(|parcel| {
            Some(match parcel? {
                Parcel::Item(item) => {
                    self.meter.shrink(item.cost());
                    Ok(item)
                }
                Parcel::End(error) => Err(error),
            })
        })
    }
}

impl<I> Drop for Intake<I> {
    fn drop(&mut self) {
        self.meter.end();
    }
}

#[cfg(test)]
mod tests;
