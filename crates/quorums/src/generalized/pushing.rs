//! What a replica pushes each period: its state if it has changed, otherwise only its clock.
use super::Message;
use quorate_abstractions::quorum_access::State;
use quorate_core::{Time, wire::encode};
use std::time::Duration;

/// What was pushed last.
#[derive(Debug)]
pub(super) struct Pushing {
    /// Whether the state has changed since it was last pushed.
    changed: bool,
    /// The clock of the state that was pushed last.
    since: u64,
    /// No other state is pushed before this time.
    not_before: Time,
}

impl Default for Pushing {
    /// Nothing was pushed yet: the first state counts as changed.
    fn default() -> Self {
        Pushing {
            changed: true,
            since: 0,
            not_before: Time::ZERO,
        }
    }
}

impl Pushing {
    /// The state has changed.
    pub(super) fn upon_change(&mut self) {
        self.changed = true;
    }

    /// What to push now; `None` if a changed state has to wait, because the last one is still in flight.
    pub(super) fn next<S: State>(
        &mut self,
        clock: u64,
        state: &S,
        now: Time,
        rate: u64,
    ) -> Option<Message<S>> {
        if !self.changed {
            let since = self.since;
            return Some(Message::Clock { clock, since });
        }
        if now < self.not_before {
            return None;
        }
        let takes = encode(state).len() as f64 / rate.max(1) as f64;
        self.not_before = now + Duration::try_from_secs_f64(takes).unwrap_or(Duration::MAX);
        (self.changed, self.since) = (false, clock);
        let state = state.clone();
        Some(Message::State { clock, state })
    }
}
