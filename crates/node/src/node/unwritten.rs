//! Accounts for the memory that clients use in this replica: each of them, and all of them together.
//!
//! A returned value is counted as soon as it is there, not when its turn to be written comes: for a client
//! that does not read, that turn never comes. It counts until it has been written to the client's connection,
//! or is dropped. What a client has sent counts while it is kept.
//!
//! When all clients together hold too much, nothing further is begun for those that have not read their
//! replies, and a client that sends more than a little at a time is [refused](Share::try_set).
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::sync::Notify;

struct Total {
    limit: usize,
    bytes: AtomicUsize,
    less: Notify,
}

/// The bytes that all clients hold together. Clones share the count.
#[derive(Clone)]
pub struct Together(Arc<Total>);

impl Together {
    /// An empty account, of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Together(Arc::new(Total {
            limit,
            bytes: AtomicUsize::new(0),
            less: Notify::new(),
        }))
    }

    /// A new share, of 0 bytes.
    pub fn share(&self) -> Share {
        Share {
            together: self.clone(),
            bytes: 0,
        }
    }

    /// The bytes that are held now.
    pub fn held(&self) -> usize {
        self.0.bytes.load(SeqCst)
    }

    fn is_full(&self) -> bool {
        self.held() >= self.0.limit
    }

    fn change(&self, from: usize, to: usize) {
        self.0.bytes.fetch_add(to, SeqCst);
        let before = self.0.bytes.fetch_sub(from, SeqCst);
        if before >= self.0.limit && before.saturating_sub(from) < self.0.limit {
            self.0.less.notify_waiters();
        }
    }
}

/// Counts the bytes that are kept of a client's requests, until it is dropped.
pub struct Share {
    together: Together,
    bytes: usize,
}

impl Share {
    /// Sets the share to so many bytes. Returns `false`, and changes nothing, if that is more than before and
    /// all clients together would hold too much.
    #[must_use]
    pub fn try_set(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && self.together.held().saturating_add(more) > self.together.0.limit {
            return false;
        }
        self.together.change(self.bytes, bytes);
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.together.change(self.bytes, 0);
    }
}

struct Shared {
    /// The number of bytes from which on nothing more is begun for the client.
    limit: usize,
    bytes: AtomicUsize,
    less: Notify,
    together: Together,
}

/// Counts the bytes that were returned to one client and are not yet written. Clones share the count; one of
/// them at a time may wait for room.
#[derive(Clone)]
pub struct Unwritten(Arc<Shared>);

/// Some of the counted bytes, until it is dropped.
pub struct Held {
    account: Unwritten,
    bytes: usize,
}

impl Unwritten {
    /// An empty account of one client, of at most `limit` bytes, which counts in `together`, too.
    pub fn new(limit: usize, together: Together) -> Self {
        Unwritten(Arc::new(Shared {
            limit,
            bytes: AtomicUsize::new(0),
            less: Notify::new(),
            together,
        }))
    }

    /// Counts so many bytes, whether there is room or not.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.bytes.fetch_add(bytes, SeqCst);
        self.0.together.change(0, bytes);
        let account = self.clone();
        Held { account, bytes }
    }

    /// Counts so many bytes if they fit. A value that is longer than the limit fits if it is alone. A client
    /// that holds nothing does not wait for the others.
    pub fn try_reserve(&self, bytes: usize) -> Option<Held> {
        let held = self.0.bytes.load(SeqCst);
        let fits = held.saturating_add(bytes) <= self.0.limit && !self.0.together.is_full();
        (held == 0 || fits).then(|| self.hold(bytes))
    }

    /// Waits until so many bytes fit, and counts them.
    pub async fn reserve(&self, bytes: usize) -> Held {
        loop {
            let others = self.0.together.0.less.notified();
            if let Some(held) = self.try_reserve(bytes) {
                return held;
            }
            // A notification that came between these two lines is remembered.
            tokio::select! {
                () = self.0.less.notified() => {}
                () = others => {}
            }
        }
    }

    /// Waits until this client holds less than its limit, and, unless it holds nothing, all together hold
    /// less than theirs.
    pub async fn room(&self) {
        loop {
            let others = self.0.together.0.less.notified();
            let held = self.0.bytes.load(SeqCst);
            if held == 0 || (held < self.0.limit && !self.0.together.is_full()) {
                return;
            }
            tokio::select! {
                () = self.0.less.notified() => {}
                () = others => {}
            }
        }
    }
}

impl Held {
    /// An account that counts nothing, for a caller that is not slowed by its replies.
    pub fn uncounted() -> Self {
        Unwritten::new(usize::MAX, Together::new(usize::MAX)).hold(0)
    }

    /// Changes the part to so many bytes.
    pub fn set(&mut self, bytes: usize) {
        let account = &self.account.0;
        account.together.change(self.bytes, bytes);
        account.bytes.fetch_add(bytes, SeqCst);
        account.bytes.fetch_sub(self.bytes, SeqCst);
        if bytes < self.bytes {
            account.less.notify_one();
        }
        self.bytes = bytes;
    }

    /// Increases the part by so many bytes.
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
        let unwritten = Unwritten::new(100, Together::new(usize::MAX));
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

    #[test]
    fn while_all_together_hold_too_much_who_has_taken_all_goes_on_alone() {
        let together = Together::new(100);
        let (greedy, modest) = (
            Unwritten::new(1000, together.clone()),
            Unwritten::new(1000, together.clone()),
        );
        let (much, little) = (greedy.hold(95), modest.hold(5));
        assert_eq!(together.held(), 100);
        let mut room = Box::pin(modest.room());
        let mut reserved = Box::pin(modest.reserve(1));
        assert!((&mut room).now_or_never().is_none());
        assert!((&mut reserved).now_or_never().is_none());
        assert!(modest.try_reserve(1).is_none());
        drop(much);
        assert!((&mut room).now_or_never().is_some());
        let reserved = reserved.now_or_never().unwrap();
        assert_eq!(together.held(), 6);
        let much = greedy.hold(200);
        drop((little, reserved));
        assert!(modest.room().now_or_never().is_some());
        drop(much);
        assert_eq!(together.held(), 0);
    }

    #[test]
    fn who_would_keep_too_much_is_refused_and_keeps_what_he_had() {
        let together = Together::new(100);
        let (mut first, mut second) = (together.share(), together.share());
        assert!(first.try_set(60));
        assert!(second.try_set(40));
        assert!(!second.try_set(41));
        assert_eq!(together.held(), 100);
        assert!(first.try_set(59), "less is always good");
        assert!(second.try_set(41));
        drop((first, second));
        assert_eq!(together.held(), 0);
    }
}
