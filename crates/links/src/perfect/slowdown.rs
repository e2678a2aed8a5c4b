//! How long stragglers may slow a module for which a majority is enough: for at most a tenth of the time, and
//! a quarter of a second in a row.
//!
//! Time that is not used is saved, up to that bound. So a peer that falls behind now and then is waited for
//! until it has caught up. A peer that cannot keep up at all costs the others little, and is given a state in
//! the end.
use quorate_core::Time;
use std::time::Duration;

/// The divisor of the time that is saved: one part in this many.
const SHARE: u32 = 10;
/// The most time that is saved: the longest wait for a straggler in a row.
const MOST: Duration = Duration::from_millis(250);
/// A wait does not begin with less saved time than this.
const LEAST: Duration = Duration::from_millis(50);

/// How long peers may still slow a module.
pub struct SlowdownBudget {
    left: Duration,
    at: Time,
    /// Whether it is being used.
    is_used: bool,
}

impl Default for SlowdownBudget {
    /// The full budget.
    fn default() -> Self {
        SlowdownBudget {
            left: MOST,
            at: Time::ZERO,
            is_used: false,
        }
    }
}

impl SlowdownBudget {
    /// Whether to wait now for stragglers; `straggles` says whether there are any.
    pub fn waits(&mut self, straggles: bool, now: Time) -> bool {
        let passed = now - self.at;
        self.at = now;
        self.left = if self.is_used {
            self.left.saturating_sub(passed)
        } else {
            MOST.min(self.left.saturating_add(passed / SHARE))
        };
        let least = if self.is_used { Duration::ZERO } else { LEAST };
        self.is_used = straggles && self.left > least;
        self.is_used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_lasts_a_quarter_of_a_second_and_comes_back_ten_times_as_slowly() {
        let mut budget = SlowdownBudget::default();
        assert!(budget.waits(true, at(0)));
        assert!(budget.waits(true, at(249)));
        assert!(!budget.waits(true, at(250)));
        assert!(!budget.waits(true, at(750)), "fifty are not enough");
        assert!(budget.waits(true, at(760)), "fifty-one are");
        assert!(budget.waits(true, at(810)));
        assert!(!budget.waits(true, at(811)));
    }

    #[test]
    fn what_is_not_needed_is_saved_up_to_a_bound() {
        let mut budget = SlowdownBudget::default();
        assert!(budget.waits(true, at(0)));
        assert!(!budget.waits(false, at(100)));
        assert!(!budget.waits(false, at(100_000)));
        assert!(budget.waits(true, at(100_001)));
        assert!(budget.waits(true, at(100_250)));
        assert!(!budget.waits(true, at(100_251)));
    }
}
