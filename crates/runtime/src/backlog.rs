//! Measures how much a user has not read yet of what the protocol thread gave it, and tells the link when
//! the user is behind.
//!
//! The user is behind when more than half of the limit waits, until less than a quarter is left: the link
//! is told, so that the other processes send less. The user may also send answers to what it reads. Its own
//! sending is held up for a while when the limit is reached, and again with each further half of the limit.
//! If the user cannot be cut off, its sending is held up from three quarters of the limit on, and at the
//! limit the link takes nothing more from the peers.
use quorate_abstractions::pressure::Backlog;
use quorate_core::Addr;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

/// While a user is behind, the link is told at most once in this time that the user goes on reading.
const SAID_AGAIN: Duration = Duration::from_millis(200);

/// The reaction when the limit is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtTheLimit {
    /// The user is cut off, if it has read nothing for this time.
    CutOff(Duration),
    /// The link takes nothing more from the peers.
    TakeNothing,
}

/// Measures the bytes that wait for one user.
pub struct Meter {
    limit: usize,
    held: AtomicUsize,
    /// Whether the link was told that the user is behind. Changed only while `told` is locked.
    behind: AtomicBool,
    /// If more bytes than this wait, the user's own sending is held up. Changed only while `told` is
    /// locked.
    own: AtomicUsize,
    /// The link to tell; `None` if there is none yet, or if nobody reads any more.
    told: Mutex<Option<Reporting>>,
}

struct Reporting {
    link: Addr<Backlog>,
    at_the_limit: AtTheLimit,
    /// The time at which the user fell behind, or was last reported as reading.
    at: Instant,
    /// The last report to the link.
    said: Backlog,
}

impl Reporting {
    fn say(&mut self, backlog: Backlog) {
        self.at = Instant::now();
        self.said = backlog;
        self.link.send(backlog);
    }
}

impl Meter {
    /// A meter on which nothing waits, and that tells no link.
    pub fn new(limit: usize) -> Self {
        Meter {
            limit,
            held: AtomicUsize::new(0),
            behind: AtomicBool::new(false),
            own: AtomicUsize::new(limit),
            told: Mutex::default(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Option<Reporting>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `link` is told when the user is behind.
    pub fn open(&self, link: Addr<Backlog>, at_the_limit: AtTheLimit) {
        let mut told = self.told();
        self.own.store(self.first(at_the_limit), Relaxed);
        *told = Some(Reporting {
            link,
            at_the_limit,
            at: Instant::now(),
            said: Backlog::Open,
        });
    }

    /// The number of bytes from which on the user's sending is held up for the first time.
    fn first(&self, at_the_limit: AtTheLimit) -> usize {
        match at_the_limit {
            AtTheLimit::CutOff(_) => self.limit,
            AtTheLimit::TakeNothing => self.limit / 4 * 3,
        }
    }

    /// The most bytes that wait for a user that reads nothing.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether an item of this size fits within the limit.
    pub fn has_room(&self, size: usize) -> bool {
        self.held.load(Relaxed).saturating_add(size) <= self.limit
    }

    /// An item of this size is to wait for the user; `false` if the user must be cut off instead.
    pub fn grow(&self, size: usize) -> bool {
        let held = self.held.fetch_add(size, Relaxed) + size;
        if held <= self.limit / 2 {
            return true;
        }
        let over = held > self.limit;
        if self.behind.load(Relaxed) && !over && held <= self.own.load(Relaxed) {
            return true;
        }
        let mut told = self.told();
        let Some(told) = &mut *told else {
            return !over;
        };
        // The user may have read everything before the lock was taken.
        let held = self.held.load(Acquire);
        if held > self.limit / 2 && told.said == Backlog::Open {
            self.behind.store(true, Release);
            told.say(Backlog::Full);
        }
        if held > self.own.load(Relaxed) && told.said != Backlog::Stuck {
            self.own.store(held.saturating_add(self.limit / 2), Relaxed);
            // The user has read nothing since, so the time in `at` stays.
            told.said = Backlog::Over;
            told.link.send(Backlog::Over);
        }
        match told.at_the_limit {
            AtTheLimit::CutOff(timeout) => held <= self.limit || told.at.elapsed() < timeout,
            AtTheLimit::TakeNothing => {
                if held > self.limit && told.said != Backlog::Stuck {
                    told.say(Backlog::Stuck);
                }
                true
            }
        }
    }

    /// The user has taken an item of this size.
    pub fn shrink(&self, size: usize) {
        self.held.fetch_sub(size, Release);
        if !self.behind.load(Acquire) {
            return;
        }
        let mut told = self.told();
        let Some(told) = &mut *told else {
            return;
        };
        let held = self.held.load(Acquire);
        if held < self.limit / 4 {
            self.behind.store(false, Release);
            self.own.store(self.first(told.at_the_limit), Relaxed);
            told.say(Backlog::Open);
        } else if told.said == Backlog::Stuck {
            if held <= self.limit / 2 {
                told.say(Backlog::Full);
            }
        } else if told.at.elapsed() >= SAID_AGAIN {
            told.say(Backlog::Full);
        }
    }

    /// Nobody reads any more.
    pub fn end(&self) {
        if let Some(mut told) = self.told().take()
            && self.behind.swap(false, Release)
        {
            told.say(Backlog::Open);
        }
    }
}

#[cfg(test)]
mod tests;
