//! The silence that a peer is allowed: mistakes raise it for good, good conduct reduces a part of it.
use quorate_abstractions::eventually_perfect::Timeout;
use quorate_core::Time;
use std::time::Duration;

/// A mistake raises the floor by the first timeout divided by this.
const STEPS: u32 = 20;
/// Good conduct for this many first timeouts halves the excess.
const CALM: u32 = 10;

/// The timeout of a peer, and the time since which the peer has kept to the lower part of it.
#[derive(Debug)]
pub struct Allowance {
    first: Duration,
    timeout: Timeout,
    calm_since: Time,
}

impl Allowance {
    /// The allowance of a peer about which nothing is known: the first timeout.
    pub fn new(first: Duration, now: Time) -> Self {
        Allowance {
            first,
            timeout: Timeout {
                floor: first,
                excess: Duration::ZERO,
            },
            calm_since: now,
        }
    }

    /// Both parts.
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// Whether a silence is longer than allowed.
    pub fn is_exceeded_by(&self, silence: Duration) -> bool {
        silence > self.timeout.total()
    }

    /// A peer that was suspected is heard after all: the floor rises by a step, and the timeout doubles.
    pub fn upon_mistake(&mut self, now: Time) {
        let Timeout { floor, excess } = self.timeout;
        // The step must not be 0.
        let step = (self.first / STEPS).max(Duration::from_nanos(1));
        let floor = floor.saturating_add(step);
        let doubled = floor.saturating_add(excess).saturating_mul(2);
        self.timeout = Timeout {
            floor,
            excess: doubled.saturating_sub(floor),
        };
        self.calm_since = now;
    }

    /// A peer that is not suspected is heard after this silence. A silence above the floor has used the
    /// excess, so that good conduct begins anew; after enough good conduct the excess halves.
    pub fn upon_sign_of_life(&mut self, silence: Duration, now: Time) {
        if silence > self.timeout.floor || self.timeout.excess.is_zero() {
            self.calm_since = now;
            return;
        }
        let calm = self.first.saturating_mul(CALM);
        while !self.timeout.excess.is_zero() && now.since(self.calm_since) >= calm {
            self.timeout.excess /= 2;
            self.calm_since = self.calm_since + calm;
        }
    }
}

#[cfg(test)]
impl Allowance {
    /// Sets the timeout, all of it as floor: for mutants.
    pub fn set(&mut self, floor: Duration) {
        self.timeout = Timeout {
            floor,
            excess: Duration::ZERO,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F0: Duration = Duration::from_millis(500);
    const EPSILON: Duration = Duration::from_millis(25);
    const INTERVAL: Duration = Duration::from_millis(100);

    /// The two rules, or a mutant's versions of them.
    #[derive(Clone, Copy)]
    struct Rules {
        mistake: fn(&mut Allowance, Time),
        sign_of_life: fn(&mut Allowance, Duration, Time),
    }

    const CORRECT: Rules = Rules {
        mistake: Allowance::upon_mistake,
        sign_of_life: Allowance::upon_sign_of_life,
    };

    const NEVER_HALVES: Rules = Rules {
        sign_of_life: |_, _, _| {},
        ..CORRECT
    };

    const TAKES_THE_FLOOR_BACK: Rules = Rules {
        mistake: |allowance, now| {
            allowance.upon_mistake(now);
            let total = allowance.timeout.total();
            allowance.timeout.floor = allowance.first;
            allowance.timeout.excess = total.saturating_sub(allowance.first);
        },
        ..CORRECT
    };

    /// A peer that is heard each interval until `end`, except for these silences, each given with the time at
    /// which it begins. Returns the number of mistakes, and the timeout that they left.
    fn live(
        silences: impl IntoIterator<Item = (Duration, Duration)>,
        end: Duration,
        rules: Rules,
    ) -> (usize, Timeout) {
        let mut allowance = Allowance::new(F0, Time::ZERO);
        let mut mistakes = 0;
        let mut last = Time::ZERO;
        let mut hear = |silence: Duration| {
            last = last + silence;
            if allowance.is_exceeded_by(silence) {
                mistakes += 1;
                (rules.mistake)(&mut allowance, last);
            } else {
                (rules.sign_of_life)(&mut allowance, silence, last);
            }
            last.since(Time::ZERO)
        };
        let mut now = Duration::ZERO;
        for (begin, silence) in silences {
            while now < begin {
                now = hear(INTERVAL.min(begin.saturating_sub(now)));
            }
            now = hear(silence);
        }
        while now < end {
            now = hear(INTERVAL);
        }
        (mistakes, allowance.timeout())
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Silences of this length, one a minute, until they cause no more mistakes.
    fn every_minute(silence: Duration, rules: Rules) -> (usize, Timeout) {
        let silences = (1..400).map(|i| (seconds(60 * i), silence));
        live(silences, seconds(60 * 400), rules)
    }

    #[test]
    fn a_mistake_raises_the_floor_by_a_twentieth_and_doubles_the_timeout() {
        let mut allowance = Allowance::new(F0, Time::ZERO);
        allowance.upon_mistake(Time::ZERO);
        let Timeout { floor, .. } = allowance.timeout();
        assert_eq!(floor, F0 + EPSILON);
        assert_eq!(allowance.timeout().total(), 2 * (F0 + EPSILON));
        allowance.upon_mistake(Time::ZERO);
        let floor = F0 + 2 * EPSILON;
        let excess = floor + 2 * (F0 + EPSILON);
        assert_eq!(allowance.timeout(), Timeout { floor, excess });
    }

    #[test]
    fn sixty_one_mistakes_lift_the_floor_above_two_seconds() {
        let two = seconds(2);
        let (mistakes, timeout) = every_minute(two, CORRECT);
        assert_eq!((mistakes, timeout.floor), (60, two), "2 s are allowed now");
        let longer = two + Duration::from_nanos(1);
        let (mistakes, timeout) = every_minute(longer, CORRECT);
        assert_eq!((mistakes, timeout.floor), (61, two + EPSILON));
        let (mistakes, _) = every_minute(seconds(1), CORRECT);
        assert_eq!(mistakes, 20);
        let (mistakes, _) = every_minute(seconds(5), CORRECT);
        assert_eq!(mistakes, 180);
    }

    #[test]
    fn a_floor_that_is_taken_back_makes_mistakes_for_ever() {
        let (mistakes, _) = every_minute(seconds(2), TAKES_THE_FLOOR_BACK);
        assert_eq!(mistakes, 399);
    }

    /// Ten pauses of 1 to 10 s, one every 15 s, and a minute of health.
    fn ten_pauses(rules: Rules) -> (usize, Timeout) {
        let pauses = (1..=10).map(|i| (seconds(15 * i), seconds(i)));
        live(pauses, seconds(150 + 10 + 60), rules)
    }

    #[test]
    fn ten_pauses_and_a_minute_of_health_leave_one_and_a_half_times_the_first_timeout() {
        let (mistakes, timeout) = ten_pauses(CORRECT);
        assert_eq!((mistakes, timeout.floor), (10, F0 + F0 / 2));
        assert!(timeout.excess < F0 / 100, "{timeout:?}");
        let (_, timeout) = ten_pauses(NEVER_HALVES);
        assert!(timeout.total() > 20 * F0, "{timeout:?}");
    }

    #[test]
    fn a_mistake_a_day_for_three_years_is_all_in_the_floor() {
        let mut allowance = Allowance::new(F0, Time::ZERO);
        let day = seconds(24 * 60 * 60);
        let days = 3 * 365;
        for i in 1..=days {
            let now = Time::ZERO + day * i;
            allowance.upon_sign_of_life(INTERVAL, now);
            allowance.upon_mistake(now);
        }
        allowance.upon_sign_of_life(INTERVAL, Time::ZERO + day * (days + 1));
        let floor = F0 + days * EPSILON;
        let excess = Duration::ZERO;
        assert_eq!(allowance.timeout(), Timeout { floor, excess });
        assert_eq!(floor.as_millis() / F0.as_millis(), 55);
    }

    #[test]
    fn a_silence_above_the_floor_shows_that_the_excess_is_needed() {
        let after = |silence| {
            let silences = [(seconds(1), seconds(1)), (seconds(5), silence)];
            let (mistakes, timeout) = live(silences, seconds(8), CORRECT);
            assert_eq!(mistakes, 1);
            timeout.excess
        };
        assert_eq!(after(Duration::from_millis(525)), after(INTERVAL));
        assert_eq!(after(Duration::from_millis(526)), 2 * after(INTERVAL));
    }

    #[test]
    fn a_timeout_grows_to_the_end_of_time_and_no_further() {
        let mut allowance = Allowance::new(Duration::MAX / 2, Time::ZERO);
        for _ in 0..100 {
            allowance.upon_mistake(Time::ZERO);
        }
        assert_eq!(allowance.timeout().total(), Duration::MAX);
        let mut least = Allowance::new(Duration::from_nanos(1), Time::ZERO);
        least.upon_mistake(Time::ZERO);
        assert_eq!(least.timeout().floor, Duration::from_nanos(2));
    }
}
