//! How fast batches leave while a process is given a state that would otherwise come too late.
use quorate_core::Time;
use std::time::Duration;

/// Origins are slowed for this long after the last request to be slower.
const LASTS: Duration = Duration::from_secs(20);
/// Meanwhile at least this much time lies between two batches of one origin.
const BETWEEN: Duration = Duration::from_millis(20);
/// After a batch of this many bytes the next one waits for a second, after others in proportion: the process
/// that gives the state can keep what leaves in half a minute.
const BYTES: u32 = 2 << 20;

/// The time at which batches may leave.
#[derive(Debug, Default)]
pub(super) struct Pace {
    slow_until: Time,
    next: Time,
    /// Whether the timer for the next batch runs.
    waits: bool,
}

impl Pace {
    /// A process asks for fewer batches.
    pub(super) fn slow(&mut self, now: Time) {
        self.slow_until = now + LASTS;
    }

    /// Whether a batch may leave now.
    pub(super) fn is_free(&self, now: Time) -> bool {
        now >= self.slow_until || now >= self.next
    }

    /// A batch of this many bytes leaves now.
    pub(super) fn upon_batch(&mut self, bytes: usize, now: Time) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let share = Duration::from_secs(1).saturating_mul(bytes) / BYTES;
        self.next = now + share.max(BETWEEN);
    }

    /// How long to wait for the next batch, if a timer is to be started.
    pub(super) fn wait(&mut self, now: Time) -> Option<Duration> {
        let until = self.next.min(self.slow_until);
        (!std::mem::replace(&mut self.waits, true)).then_some(until - now)
    }

    /// The timer has fired.
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
