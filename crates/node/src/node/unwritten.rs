//! What a client was returned and has not been written.
//!
//! A value is counted by whoever returns it, when it is there: not when its turn to be written comes, which
//! it never does for a client that does not read. It counts until it is on its way, or is dropped.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::sync::Notify;

struct Shared {
    /// With so many bytes, nothing more is begun for the client.
    limit: usize,
    bytes: AtomicUsize,
    less: Notify,
}

/// One client's account. Clones share it; one of them at a time may wait for room.
#[derive(Clone)]
pub struct Unwritten(Arc<Shared>);

/// A part of what is counted, until it is dropped.
pub struct Held {
    account: Unwritten,
    bytes: usize,
}

impl Unwritten {
    /// Nothing is held of the client that may be returned so much.
    pub fn new(limit: usize) -> Self {
        Unwritten(Arc::new(Shared {
            limit,
            bytes: AtomicUsize::new(0),
            less: Notify::new(),
        }))
    }

    /// Counts so many bytes, whether there is room or not.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.bytes.fetch_add(bytes, SeqCst);
        let account = self.clone();
        Held { account, bytes }
    }

    /// Counts so many bytes if they fit: a part that is longer than the limit fits alone.
    pub fn try_reserve(&self, bytes: usize) -> Option<Held> {
        let held = self.0.bytes.load(SeqCst);
        (held == 0 || held.saturating_add(bytes) <= self.0.limit).then(|| self.hold(bytes))
    }

    /// Waits until so many bytes fit, and counts them.
    pub async fn reserve(&self, bytes: usize) -> Held {
        loop {
            if let Some(held) = self.try_reserve(bytes) {
                return held;
            }
            // What came between these two lines is remembered.
            self.0.less.notified().await;
        }
    }

    /// Waits until less than the limit is held.
    pub async fn room(&self) {
        while self.0.bytes.load(SeqCst) >= self.0.limit {
            self.0.less.notified().await;
        }
    }
}

impl Held {
    /// For somebody who is not slowed by what he is returned.
    pub fn uncounted() -> Self {
        Unwritten::new(usize::MAX).hold(0)
    }

    /// From now on it is so many bytes.
    pub fn set(&mut self, bytes: usize) {
        self.account.0.bytes.fetch_add(bytes, SeqCst);
        self.account.0.bytes.fetch_sub(self.bytes, SeqCst);
        if bytes < self.bytes {
            self.account.0.less.notify_one();
        }
        self.bytes = bytes;
    }

    /// It is so many bytes more.
    pub fn add(&mut self, bytes: usize) {
        self.set(self.bytes.saturating_add(bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn what_is_held_leaves_no_room_until_it_is_given_back() {
        let unwritten = Unwritten::new(100);
        let mut first = unwritten.hold(0);
        assert!(unwritten.room().now_or_never().is_some());
        first.set(150);
        let mut room = Box::pin(unwritten.room());
        assert!((&mut room).now_or_never().is_none());
        let second = unwritten.hold(50);
        first.set(60);
        assert!((&mut room).now_or_never().is_none(), "110 are held");
        drop(first);
        assert!((&mut room).now_or_never().is_some());
        assert!(unwritten.try_reserve(51).is_none());
        let third = unwritten.try_reserve(50);
        assert!(third.is_some());
        drop((second, third));
        assert!(unwritten.try_reserve(1000).is_some(), "alone");
    }
}
