//! How many key agreements others may cause.
use quorate_core::Time;
use std::time::Duration;

/// Permits that come back at a constant rate, up to a limit.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    a_second: u32,
    /// In nanoseconds of waiting.
    saved: u64,
    last: Time,
}

const SECOND: u64 = Duration::from_secs(1).as_nanos() as u64;

impl Budget {
    /// So many a second, and at most so many at once.
    pub fn new(a_second: u32) -> Budget {
        Budget {
            a_second,
            saved: SECOND,
            last: Time::ZERO,
        }
    }

    /// Takes a permit, if there is one.
    pub fn take(&mut self, now: Time) -> bool {
        let passed = u64::try_from(now.since(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        self.saved = self.saved.saturating_add(passed).min(SECOND);
        let price = SECOND / u64::from(self.a_second.max(1));
        if self.a_second == 0 || self.saved < price {
            return false;
        }
        self.saved -= price;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_at_once_and_in_the_long_run() {
        let mut budget = Budget::new(10);
        let mut at_once = 0;
        while budget.take(Time::ZERO) {
            at_once += 1;
        }
        assert_eq!(at_once, 10);
        let taken = (1..=10_000_u64).filter(|ms| budget.take(Time::from_nanos(ms * 1_000_000)));
        assert_eq!(taken.count(), 100);
        assert!(!Budget::new(0).take(Time::ZERO));
    }
}
