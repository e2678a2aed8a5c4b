//! A place in a register's line, as its user holds it.
use super::{Returned, State, lock};
use crate::node::unwritten::Held;
use bytes::Bytes;
use quorate_abstractions::register::Outcome;
use std::sync::{Arc, Mutex};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// What became of an operation that has not returned at the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreturned {
    /// It was not begun, and will not be.
    NotBegun,
    /// It is under way.
    UnderWay,
}

/// A place in a register's line. Who drops it leaves, unless the operation has begun; and what was returned
/// is held no longer.
pub struct Place {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) register: Bytes,
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Returned>,
    pub(super) answered: bool,
    pub(super) held: Option<Held>,
}

impl Place {
    /// The outcome, if the operation has returned.
    pub fn try_outcome(&mut self) -> Option<Outcome> {
        let returned = self.answer.try_recv().ok()?;
        Some(self.keep(returned))
    }

    fn keep(&mut self, (outcome, held): Returned) -> Outcome {
        self.answered = true;
        self.held = Some(held);
        outcome
    }

    /// Waits for the outcome until the deadline.
    pub async fn outcome(&mut self, deadline: Instant) -> Result<Outcome, Unreturned> {
        if let Ok(Ok(returned)) = timeout_at(deadline, &mut self.answer).await {
            return Ok(self.keep(returned));
        }
        if lock(&self.state).withdraw(&self.register, self.number) {
            self.answered = true;
            return Err(Unreturned::NotBegun);
        }
        self.try_outcome().ok_or(Unreturned::UnderWay)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.answered {
            let mut state = lock(&self.state);
            if !state.withdraw(&self.register, self.number) {
                state.release(&self.register, self.number);
            }
        }
    }
}
