//! The limits of one module's messages in flight: their number and their bytes. Nothing is let through
//! while the link has no room.
//!
//! Callers are let through one at a time, in the order in which they came, so that long messages are not
//! overtaken by short ones for ever.
use crate::error::Error;
use quorate_abstractions::pressure::Room;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The most that a module of a process may have in flight. One message is always let through, whatever its
/// length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// The most messages.
    pub messages: usize,
    /// The most bytes of all messages together.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            messages: 1024,
            bytes: 4 << 20,
        }
    }
}

/// Of what part of the byte limit a permit for a message of unknown length takes: so many can be held.
#[cfg(feature = "links")]
const PERMITS: usize = 8;

struct State {
    messages: usize,
    bytes: usize,
    room: Room,
    /// The reason why nothing is let through any more.
    closed: Option<Error>,
}

/// The room of one module's messages.
pub(crate) struct Window {
    limits: Limits,
    state: Mutex<State>,
    /// The queue of callers: the holder of the lock has its turn.
    turn: tokio::sync::Mutex<()>,
    /// Wakes the caller that has its turn.
    progress: Notify,
}

/// Room that was taken. Dropping it gives the room back.
#[must_use]
pub(crate) struct Taken<'w> {
    window: &'w Window,
    bytes: usize,
}

/// There is no room at the moment.
pub(crate) struct Full;

impl Window {
    /// An empty window with these limits.
    pub fn new(limits: Limits) -> Self {
        Window {
            limits: Limits {
                messages: limits.messages.max(1),
                bytes: limits.bytes.max(1),
            },
            state: Mutex::new(State {
                messages: 0,
                bytes: 0,
                room: Room::Open,
                closed: None,
            }),
            turn: tokio::sync::Mutex::new(()),
            progress: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is taken for a message whose length is not known yet.
    #[cfg(feature = "links")]
    pub fn share(&self) -> usize {
        self.limits.bytes.div_ceil(PERMITS)
    }

    /// Waits for room for a message of this many bytes. A caller that stops waiting has taken nothing.
    pub async fn take(&self, bytes: usize) -> Result<Taken<'_>, Error> {
        let _turn = self.turn.lock().await;
        loop {
            if self.enter(bytes)? {
                return Ok(self.taken(bytes));
            }
            // A notification that comes between these two lines is remembered.
            self.progress.notified().await;
        }
    }

    /// Takes room for a message of this many bytes, if there is any and no other caller waits for room.
    pub fn try_take(&self, bytes: usize) -> Result<Result<Taken<'_>, Full>, Error> {
        let Ok(_turn) = self.turn.try_lock() else {
            return match &self.state().closed {
                Some(error) => Err(error.clone()),
                None => Ok(Err(Full)),
            };
        };
        let entered = self.enter(bytes)?;
        Ok(if entered {
            Ok(self.taken(bytes))
        } else {
            Err(Full)
        })
    }

    fn enter(&self, bytes: usize) -> Result<bool, Error> {
        let mut state = self.state();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        let fits = state.messages == 0
            || state.messages < self.limits.messages
                && state.bytes.saturating_add(bytes) <= self.limits.bytes;
        if !fits || state.room != Room::Open {
            return Ok(false);
        }
        state.messages += 1;
        state.bytes += bytes;
        Ok(true)
    }

    fn taken(&self, bytes: usize) -> Taken<'_> {
        Taken {
            window: self,
            bytes,
        }
    }

    /// Gives back the room that was taken by this many messages with this many bytes together.
    pub fn give_back(&self, messages: usize, bytes: usize) {
        let mut state = self.state();
        state.messages = state.messages.saturating_sub(messages);
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.progress.notify_one();
    }

    /// The link has room for the module, or has none.
    pub fn press(&self, room: Room) {
        self.state().room = room;
        self.progress.notify_one();
    }

    /// Lets no caller through any more; callers that wait are refused.
    pub fn close(&self, error: &Error) {
        let mut state = self.state();
        if state.closed.is_none() {
            state.closed = Some(error.clone());
        }
        drop(state);
        self.progress.notify_one();
    }

    /// The reason why no caller is let through any more.
    pub fn closed(&self) -> Option<Error> {
        self.state().closed.clone()
    }
}

impl Taken<'_> {
    /// The room is not given back on drop: its user [gives it back](Window::give_back) later. `bytes` is
    /// the actual length of the message.
    pub fn keep(self, bytes: usize) {
        let mut state = self.window.state();
        state.bytes = state.bytes.saturating_add(bytes) - self.bytes;
        drop(state);
        if bytes < self.bytes {
            self.window.progress.notify_one();
        }
        std::mem::forget(self);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.window.give_back(1, self.bytes);
    }
}

#[cfg(test)]
mod tests;
