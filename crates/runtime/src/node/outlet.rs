//! The stream from the protocol thread to a reader, which may be slow.
//!
//! Items that are in flight when a reader falls behind still come, beyond the limit if necessary: a reader
//! that goes on reading is not cut off. A reader that has read nothing during its timeout is cut off at the
//! limit.
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

/// The cost of a payload to a slow reader in addition to its length, in bytes.
pub(super) const OVERHEAD: usize = 64;

/// An item that waits for a reader.
pub(super) trait Cost {
    /// The bytes that it takes of the backlog.
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
    /// An outlet for which items of at most `limit` bytes wait, and the intake from which they are read.
    pub fn new(limit: usize) -> (Self, Intake<I>) {
        let (sender, parcels) = mpsc::unbounded_channel();
        let meter = Arc::new(Meter::new(limit));
        let outlet = Outlet {
            parcels: Arc::new(Mutex::new(Some(sender))),
            meter: meter.clone(),
        };
        (outlet, Intake { parcels, meter })
    }

    /// From now on `link` is told when the reader is behind. A reader that reads nothing is cut off after
    /// `timeout`.
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

    /// Gives an item to the reader, unless the reader lags.
    pub fn tell(&self, item: I) {
        // If there is no reader, the item is dropped.
        let _ = self.hand(item);
    }

    /// Like [`tell`](Outlet::tell). Returns whether there is a reader, which has the item now.
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

/// The function by which the builder ends outlets, whatever their items.
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
            // A reader that is gone is ignored.
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

    /// The next item. After an error the stream ends.
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
