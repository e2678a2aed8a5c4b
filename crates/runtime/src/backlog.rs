//! How far a user is behind what the protocol thread has told him, and what the link is told of that.
//!
//! From half of the limit on the user is behind, until a quarter is left: the link is told, so that the
//! others send less. The user himself may answer what he reads, in turn: he is held up from the limit on, for a
//! while, and again with each half of the limit that comes on top. Where he cannot be cut off, he is held up
//! from three quarters on, and from the limit on the link takes nothing more from the peers.
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

/// A user that is behind is said to go on once in so long a time.
const SAID_AGAIN: Duration = Duration::from_millis(200);

/// What happens at the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtTheLimit {
    /// The user is cut off, if he has read nothing for so long.
    CutOff(Duration),
    /// The link takes nothing more.
    TakeNothing,
}

/// Measures what waits for one user.
pub struct Meter {
    limit: usize,
    held: AtomicUsize,
    /// Whether the link was told that the user is behind. Changed under the lock below.
    behind: AtomicBool,
    /// With more than this the user is held up himself. Changed under the lock below.
    own: AtomicUsize,
    /// Whom to tell; `None`: nobody, or nobody reads.
    told: Mutex<Option<Told>>,
}

struct Told {
    link: Addr<Backlog>,
    at_the_limit: AtTheLimit,
    /// When the user fell behind, or was said to go on.
    at: Instant,
    /// What was said last.
    said: Backlog,
}

impl Told {
    fn say(&mut self, backlog: Backlog) {
        self.at = Instant::now();
        self.said = backlog;
        self.link.send(backlog);
    }
}

impl Meter {
    /// Nothing waits; nobody is told.
    pub fn new(limit: usize) -> Self {
        Meter {
            limit,
            held: AtomicUsize::new(0),
            behind: AtomicBool::new(false),
            own: AtomicUsize::new(limit),
            told: Mutex::default(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `link` is told when the user is behind.
    pub fn open(&self, link: Addr<Backlog>, at_the_limit: AtTheLimit) {
        let mut told = self.told();
        self.own.store(self.first(at_the_limit), Relaxed);
        *told = Some(Told {
            link,
            at_the_limit,
            at: Instant::now(),
            said: Backlog::Open,
        });
    }

    /// From where on a user that was not held up yet is.
    fn first(&self, at_the_limit: AtTheLimit) -> usize {
        match at_the_limit {
            AtTheLimit::CutOff(_) => self.limit,
            AtTheLimit::TakeNothing => self.limit / 4 * 3,
        }
    }

    /// The most that waits for a user who reads nothing.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether something of this size may wait for the user, too, within the limit.
    pub fn has_room(&self, size: usize) -> bool {
        self.held.load(Relaxed).saturating_add(size) <= self.limit
    }

    /// Something of this size is to wait for the user. `false`: he is to be cut off instead.
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
        // The user may have read it all before the lock was there.
        let held = self.held.load(Acquire);
        if held > self.limit / 2 && told.said == Backlog::Open {
            self.behind.store(true, Release);
            told.say(Backlog::Full);
        }
        if held > self.own.load(Relaxed) && told.said != Backlog::Stuck {
            self.own.store(held.saturating_add(self.limit / 2), Relaxed);
            // Nothing was read: the time runs on.
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

    /// The user has taken something of this size.
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
