//! The round-trip estimate, and how many bytes may be in flight.
use std::time::Duration;

/// The round-trip estimate of Jacobson and Karels.
#[derive(Clone, Debug)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    /// The lower bound of the timeout.
    lowest: Duration,
    /// The upper bound of the timeout, backoff included.
    highest: Duration,
}

/// The timeout before anything has been measured.
const INITIAL: Duration = Duration::from_millis(100);

impl RoundTrip {
    /// Nothing measured yet; the timeout stays between `lowest` and `highest`.
    pub fn new(lowest: Duration, highest: Duration) -> Self {
        RoundTrip {
            smoothed: None,
            variation: Duration::ZERO,
            lowest,
            highest,
        }
    }

    /// The round trip, smoothed; `None` before anything was measured.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// A packet that was sent once was acknowledged after `sample`.
    pub fn measure(&mut self, sample: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// How long to wait for an acknowledgement, after `backoff` timeouts in a row.
    pub fn timeout(&self, backoff: u32) -> Duration {
        let base = match self.smoothed {
            None => INITIAL,
            Some(smoothed) => smoothed + self.variation * 4,
        };
        let base = base.max(self.lowest);
        base.saturating_mul(1 << backoff.min(16)).min(self.highest)
    }
}

/// How many bytes may be in flight: slow start, then additive increase, multiplicative decrease.
#[derive(Clone, Debug)]
pub struct Congestion {
    window: usize,
    threshold: usize,
    datagram: usize,
    /// The upper bound of the window in bytes. Over a byte stream, which regulates itself, only this bound
    /// counts.
    bound: usize,
    regulated: bool,
    /// The window and the threshold before the last decrease for a loss.
    before: (usize, usize),
    /// Transmissions with lower numbers were in flight at the last decrease. Their loss causes no further
    /// one.
    recovered_at: u64,
}

/// The window at the beginning of slow start, in packets.
const INITIAL_PACKETS: usize = 32;
const LEAST_PACKETS: usize = 2;

impl Congestion {
    /// At most `bound` bytes in flight, in packets of `datagram` bytes. Over a `stream` the window is always
    /// `bound`.
    pub fn new(bound: usize, datagram: usize, stream: bool) -> Self {
        Congestion {
            window: (INITIAL_PACKETS * datagram).min(bound),
            threshold: bound,
            datagram,
            bound: bound.max(LEAST_PACKETS * datagram),
            regulated: !stream,
            before: (0, 0),
            recovered_at: 0,
        }
    }

    /// How many bytes may be in flight.
    pub fn window(&self) -> usize {
        if self.regulated {
            self.window
        } else {
            self.bound
        }
    }

    /// `bytes` have been acknowledged. `limited` says that the window limited the sender.
    pub fn acknowledged(&mut self, bytes: usize, limited: bool) {
        if !limited {
            return;
        }
        let growth = if self.window < self.threshold {
            bytes
        } else {
            (self.datagram * bytes).div_ceil(self.window.max(1))
        };
        self.window = (self.window + growth).min(self.bound);
    }

    /// The transmission numbered `order` was lost; `next` is the number of the next transmission. Returns
    /// whether the window was decreased for it.
    pub fn lost(&mut self, order: u64, next: u64) -> bool {
        if order < self.recovered_at {
            return false;
        }
        self.before = (self.window, self.threshold);
        self.recovered_at = next;
        self.window = (self.window * 7 / 10).max(LEAST_PACKETS * self.datagram);
        self.threshold = self.window;
        true
    }

    /// The packet last taken for lost was only late: the decrease is undone.
    pub fn was_late(&mut self) {
        let (window, threshold) = std::mem::take(&mut self.before);
        self.window = self.window.max(window);
        self.threshold = self.threshold.max(threshold);
    }

    /// Nothing was acknowledged within the timeout.
    pub fn timed_out(&mut self, next: u64) {
        self.recovered_at = next;
        self.before = (0, 0);
        self.threshold = (self.window / 2).max(LEAST_PACKETS * self.datagram);
        self.window = LEAST_PACKETS * self.datagram;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trip_and_backs_off() {
        let ms = Duration::from_millis;
        let mut round_trip = RoundTrip::new(ms(30), ms(2000));
        assert_eq!(round_trip.timeout(0), INITIAL);
        for _ in 0..50 {
            round_trip.measure(ms(50));
        }
        assert!(round_trip.timeout(0) >= ms(50) && round_trip.timeout(0) < ms(60));
        assert_eq!(round_trip.timeout(1), round_trip.timeout(0) * 2);
        assert_eq!(round_trip.timeout(1000), ms(2000));
    }

    #[test]
    fn the_window_reacts_once_to_what_was_lost_together() {
        let mut congestion = Congestion::new(1 << 20, 1000, false);
        let before = congestion.window();
        congestion.lost(5, 10);
        let after = congestion.window();
        assert!(after < before);
        congestion.lost(9, 11);
        assert_eq!(congestion.window(), after, "the same loss twice");
        congestion.lost(10, 12);
        assert!(congestion.window() < after);
        for order in 12..100 {
            congestion.lost(order, order + 1);
        }
        assert_eq!(congestion.window(), LEAST_PACKETS * 1000, "it never closes");
    }

    #[test]
    fn a_decrease_for_what_was_only_late_is_taken_back_once() {
        let mut congestion = Congestion::new(1 << 20, 1000, false);
        let before = congestion.window();
        assert!(congestion.lost(5, 10));
        congestion.was_late();
        assert_eq!(congestion.window(), before);
        assert!(congestion.lost(10, 20) && !congestion.lost(11, 20));
        congestion.timed_out(30);
        congestion.was_late();
        assert_eq!(
            congestion.window(),
            LEAST_PACKETS * 1000,
            "a timeout is no reordering"
        );
    }

    #[test]
    fn a_stream_has_no_congestion_window() {
        let mut congestion = Congestion::new(1 << 20, 1000, true);
        congestion.timed_out(7);
        assert_eq!(congestion.window(), 1 << 20);
    }
}
