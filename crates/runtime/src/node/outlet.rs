//! What the protocol thread tells a reader, who may be slow.
//!
//! From half of the limit on the reader is behind, until a quarter is left: the link is told, so that
//! everybody sends less. What was on its way then still comes, beyond the limit if need be: a reader that
//! goes on is not cut off. One that has read nothing for as long as others wait for it is, at the limit.
use crate::error::Error;
use quorate_abstractions::pressure::Backlog;
use quorate_core::Addr;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// What a payload costs a slow reader beside its own length.
pub(super) const OVERHEAD: usize = 64;

/// A reader that is behind is said to go on once in so long a time.
const SAID_AGAIN: Duration = Duration::from_millis(200);

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

/// How far a reader is behind.
struct Lag {
    limit: usize,
    held: AtomicUsize,
    /// Whether the link was told that the reader is behind. Changed under the lock below.
    behind: AtomicBool,
    /// To whom it is told; `None`: to nobody, or nobody reads.
    told: Mutex<Option<Told>>,
}

struct Told {
    link: Addr<Backlog>,
    /// How long the reader may read nothing.
    patience: Duration,
    /// When it fell behind, or was said to go on.
    at: Instant,
}

impl Lag {
    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something waits for the reader.
    fn grown(&self) {
        if self.held.load(Relaxed) <= self.limit / 2 || self.behind.load(Relaxed) {
            return;
        }
        let mut told = self.told();
        // The reader may have read it all before the lock was there.
        if let Some(told) = &mut *told
            && self.held.load(Acquire) > self.limit / 2
        {
            self.behind.store(true, Release);
            told.at = Instant::now();
            told.link.send(Backlog::Full);
        }
    }

    /// Something was read.
    fn shrunk(&self, cost: usize) {
        self.held.fetch_sub(cost, Release);
        if !self.behind.load(Acquire) {
            return;
        }
        let mut told = self.told();
        let Some(told) = &mut *told else {
            return;
        };
        if self.held.load(Acquire) < self.limit / 4 {
            self.behind.store(false, Release);
            told.link.send(Backlog::Open);
        } else if told.at.elapsed() >= SAID_AGAIN {
            told.at = Instant::now();
            told.link.send(Backlog::Full);
        }
    }

    /// Whether a reader for whom more than the limit waits is waited for: it has read something lately.
    fn goes_on(&self) -> bool {
        self.grown();
        let told = self.told();
        told.as_ref()
            .is_some_and(|told| told.at.elapsed() < told.patience)
    }

    /// Nobody reads any more.
    fn end(&self) {
        if let Some(told) = self.told().take()
            && self.behind.swap(false, Release)
        {
            told.link.send(Backlog::Open);
        }
    }
}

/// The protocol thread's end of a stream.
pub(super) struct Outlet<I> {
    parcels: Arc<Mutex<Option<mpsc::UnboundedSender<Parcel<I>>>>>,
    lag: Arc<Lag>,
}

impl<I> Clone for Outlet<I> {
    fn clone(&self) -> Self {
        Outlet {
            parcels: self.parcels.clone(),
            lag: self.lag.clone(),
        }
    }
}

/// The reader's end of a stream.
pub(super) struct Intake<I> {
    parcels: mpsc::UnboundedReceiver<Parcel<I>>,
    lag: Arc<Lag>,
}

impl<I: Cost + Send> Outlet<I> {
    /// An outlet for which items of at most `limit` bytes wait, and what they are taken from.
    pub fn new(limit: usize) -> (Self, Intake<I>) {
        let (sender, parcels) = mpsc::unbounded_channel();
        let lag = Arc::new(Lag {
            limit,
            held: AtomicUsize::new(0),
            behind: AtomicBool::new(false),
            told: Mutex::default(),
        });
        let outlet = Outlet {
            parcels: Arc::new(Mutex::new(Some(sender))),
            lag: lag.clone(),
        };
        (outlet, Intake { parcels, lag })
    }

    /// From now on `link` is told when the reader is behind, and the reader has so much `patience` to count
    /// on.
    pub fn open(&self, link: Addr<Backlog>, patience: Duration) {
        let at = Instant::now();
        *self.lag.told() = Some(Told { link, patience, at });
    }

    /// Hands an item to the reader, unless it lags.
    pub fn tell(&self, item: I) {
        let limit = self.lag.limit;
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = &*parcels else {
            return;
        };
        let cost = item.cost();
        if self.lag.held.fetch_add(cost, Relaxed) + cost > limit && !self.lag.goes_on() {
            drop(parcels);
            self.end(Some(Error::Lagged { limit }));
            return;
        }
        if to.send(Parcel::Item(item)).is_err() {
            // The reader is gone.
            *parcels = None;
            return;
        }
        drop(parcels);
        self.lag.grown();
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
        drop(parcels);
        self.lag.end();
    }
}

impl<I: Cost> Intake<I> {
    /// The next item; after an error comes the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<I, Error>>> {
        self.parcels.poll_recv(cx).map(|parcel| {
            Some(match parcel? {
                Parcel::Item(item) => {
                    self.lag.shrunk(item.cost());
                    Ok(item)
                }
                Parcel::End(error) => Err(error),
            })
        })
    }
}

impl<I> Drop for Intake<I> {
    fn drop(&mut self) {
        self.lag.end();
    }
}

#[cfg(test)]
mod tests;
