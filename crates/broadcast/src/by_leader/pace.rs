//! How fast batches leave while somebody is given a state that would come too late otherwise.
use quorate_core::Time;
use std::time::Duration;

/// So long after it was asked for, nobody is slowed any more.
const LASTS: Duration = Duration::from_secs(20);
/// Meanwhile so much time lies between two batches of one origin.
const BETWEEN: Duration = Duration::from_millis(20);

/// When batches may leave.
#[derive(Debug, Default)]
pub(super) struct Pace {
    slow_until: Time,
    next: Time,
    /// Whether the wait for the next batch is on.
    waits: bool,
}

impl Pace {
    /// Somebody asks for less.
    pub(super) fn slow(&mut self, now: Time) {
        self.slow_until = now + LASTS;
    }

    /// Whether a batch may leave now.
    pub(super) fn is_free(&self, now: Time) -> bool {
        now >= self.slow_until || now >= self.next
    }

    /// A batch leaves now.
    pub(super) fn upon_batch(&mut self, now: Time) {
        self.next = now + BETWEEN;
    }

    /// How long to wait for the next batch, if a wait is to begin.
    pub(super) fn wait(&mut self) -> Option<Duration> {
        (!std::mem::replace(&mut self.waits, true)).then_some(BETWEEN)
    }

    /// The wait is over.
    pub(super) fn upon_waited(&mut self) {
        self.waits = false;
    }
}
