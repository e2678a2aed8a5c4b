//! Decides whether an overtaken packet is lost or only late.
//!
//! A packet is lost once a later transmission has arrived and the packet is older than a round trip plus a
//! reordering window. The window begins with a quarter of the shortest round trip. Each time that a packet
//! was taken for lost and turns out to have been late, the window doubles (once for all packets that were in
//! flight at the same time), up to a round trip. After `FORGETTING` real losses it begins anew.
use std::time::Duration;

/// After this many losses without evidence of reordering the window begins anew.
const FORGETTING: u32 = 16;

/// What is known of the network's reordering.
#[derive(Clone, Debug)]
pub struct Reordering {
    shortest: Option<Duration>,
    latest: Duration,
    /// The window, in quarters of the shortest round trip.
    quarters: u32,
    /// Evidence of reordering among transmissions before this one has already doubled the window.
    seen_before: u64,
    /// How many losses there were since that evidence.
    losses: u32,
}

impl Reordering {
    /// Nothing is known.
    pub fn new() -> Self {
        Reordering {
            shortest: None,
            latest: Duration::ZERO,
            quarters: 1,
            seen_before: 0,
            losses: 0,
        }
    }

    /// A packet that was sent once was acknowledged after `sample`.
    pub fn measure(&mut self, sample: Duration) {
        self.latest = sample;
        self.shortest = Some(
            self.shortest
                .map_or(sample, |shortest| shortest.min(sample)),
        );
    }

    /// The age at which an overtaken packet counts as lost; `smoothed` is the round trip. `None` if no round
    /// trip was measured yet.
    pub fn threshold(&self, smoothed: Option<Duration>) -> Option<Duration> {
        let (shortest, smoothed) = (self.shortest?, smoothed?);
        let window = (shortest / 4).saturating_mul(self.quarters).min(smoothed);
        Some(smoothed.max(self.latest) + window)
    }

    /// Whether an acknowledgement this long after a retransmission is so early that it acknowledges the
    /// original.
    pub fn is_of_original(&self, after: Duration) -> bool {
        self.shortest.is_some_and(|shortest| after < shortest)
    }

    /// The transmission numbered `order` was taken for lost and was late; `next` is the next number.
    pub fn was_late(&mut self, order: u64, next: u64) {
        self.losses = 0;
        if order >= self.seen_before {
            self.seen_before = next;
            self.quarters = self.quarters.saturating_mul(2);
        }
    }

    /// The first of the transmissions in flight together counts as lost.
    pub fn was_lost(&mut self) {
        self.losses += 1;
        if self.losses >= FORGETTING {
            self.losses = 0;
            self.quarters = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_window_grows_with_what_was_late_and_is_bounded_by_a_round_trip() {
        let mut reordering = Reordering::new();
        assert_eq!(reordering.threshold(Some(ms(60))), None);
        reordering.measure(ms(40));
        assert_eq!(reordering.threshold(None), None);
        assert_eq!(reordering.threshold(Some(ms(60))), Some(ms(70)));
        reordering.measure(ms(80));
        assert_eq!(reordering.threshold(Some(ms(60))), Some(ms(90)));
        reordering.was_late(5, 10);
        reordering.was_late(9, 11);
        assert_eq!(
            reordering.threshold(Some(ms(60))),
            Some(ms(100)),
            "the same"
        );
        for order in 10..100 {
            reordering.was_late(order, order + 1);
        }
        assert_eq!(reordering.threshold(Some(ms(60))), Some(ms(140)));
        assert!(reordering.is_of_original(ms(39)) && !reordering.is_of_original(ms(40)));
    }

    #[test]
    fn the_window_begins_anew_after_many_losses_that_were_ones() {
        let mut reordering = Reordering::new();
        reordering.measure(ms(40));
        reordering.was_late(1, 2);
        for _ in 1..FORGETTING {
            reordering.was_lost();
        }
        assert_eq!(reordering.threshold(Some(ms(40))), Some(ms(60)));
        reordering.was_lost();
        assert_eq!(reordering.threshold(Some(ms(40))), Some(ms(50)));
    }
}
