//! How fast batches leave while somebody is given a state that would come too late otherwise.
use quorate_core::Time;
use std::time::Duration;

/// So long after it was asked for last, nobody is slowed any more.
const LASTS: Duration = Duration::from_secs(20);
/// Meanwhile so much time lies between two batches of one origin,
const BETWEEN: Duration = Duration::from_millis(20);
/// …and a second for so many bytes: what leaves in half a minute is kept by whoever gives the state.
const BYTES: u32 = 2 << 20;

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

    /// A batch of so many bytes leaves now.
    pub(super) fn upon_batch(&mut self, bytes: usize, now: Time) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let share = Duration::from_secs(1).saturating_mul(bytes) / BYTES;
        self.next = now + share.max(BETWEEN);
    }

    /// How long to wait for the next batch, if a wait is to begin.
    pub(super) fn wait(&mut self, now: Time) -> Option<Duration> {
        let until = self.next.min(self.slow_until);
        (!std::mem::replace(&mut self.waits, true)).then_some(until - now)
    }

    /// The wait is over.
    pub(super) fn upon_waited(&mut self) {
        self.waits = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn nobody_is_slowed_unless_somebody_asks_for_it_and_not_for_long() {
        let mut pace = Pace::default();
        pace.upon_batch(1 << 30, at(0));
        assert!(pace.is_free(at(0)));
        pace.slow(at(0));
        assert!(!pace.is_free(at(19_999)) && pace.is_free(at(20_000)));
    }

    #[test]
    fn few_batches_leave_in_a_second_and_few_bytes() {
        let mut pace = Pace::default();
        pace.slow(at(0));
        let (mut batches, mut bytes) = (0, 0);
        for now in 0..10_000 {
            if pace.is_free(at(now)) {
                pace.upon_batch(100, at(now));
                batches += 1;
            }
        }
        assert_eq!(batches, 500);
        for now in 10_000..20_000 {
            if pace.is_free(at(now)) {
                pace.upon_batch(1 << 20, at(now));
                bytes += 1 << 20;
            }
        }
        assert_eq!(bytes, 20 << 20);
    }

    #[test]
    fn there_is_one_wait_at_a_time_until_the_next_batch_or_the_end_of_all_this() {
        let mut pace = Pace::default();
        pace.slow(at(0));
        pace.upon_batch(2 << 20, at(0));
        assert_eq!(pace.wait(at(100)), Some(Duration::from_millis(900)));
        assert_eq!(pace.wait(at(100)), None);
        pace.upon_waited();
        pace.upon_batch(8 << 20, at(19_000));
        assert_eq!(pace.wait(at(19_000)), Some(Duration::from_secs(1)));
    }
}
