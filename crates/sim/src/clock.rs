//! Clocks: each process reads its own, a function of the simulated time.
//!
//! A clock starts at its *offset*, runs faster or slower than time by its *drift* ρ (it shows 1 + ρ seconds
//! more after a second), and leaps forward at its *jumps*. It never goes backward, as `Context::now` promises.
//! The timers of a process are set, and fire, by its clock: after a jump all those that it leaps over are due
//! at once. Without anything given, a clock shows the simulated time.
//!
//! A *suspended* process is a [paused](World::pause) one: it takes no steps, its clock goes on, and so it
//! sees its clock jump, and its timers fire late. A jump of the clock without a pause is what a process sees
//! whose clock was set, or which was suspended where nobody had sent it anything meanwhile.
//!
//! Traces, properties and histories use the simulated time, which no process sees.
use crate::{state::Core, world::World};
use quorate_core::{ProcessId, Time};
use std::time::Duration;

/// The unit of the drift: parts of a second per 10⁹ seconds.
const BILLION: i128 = 1_000_000_000;
/// The slowest clock: a thousandth of the speed of time.
const SLOWEST: i64 = -999_000_000;
/// The fastest clock: a thousand times the speed of time.
const FASTEST: i64 = 999_000_000_000;

/// The clock of one process.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Clock {
    offset: Duration,
    /// In parts per 10⁹, so that a run is the same on every machine.
    drift: i64,
    /// When it leaps, and how far, in the order of time.
    jumps: Vec<(Time, Duration)>,
}

impl Clock {
    /// A clock that shows the simulated time.
    pub fn new() -> Self {
        Clock::default()
    }

    /// Shows this at the beginning of the run.
    #[must_use]
    pub fn offset(mut self, offset: Duration) -> Self {
        self.offset = offset;
        self
    }

    /// Shows 1 + `rho` seconds more after each second; `rho` may be negative, down to −0.999.
    #[must_use]
    pub fn drift(mut self, rho: f64) -> Self {
        self.drift = ((rho * 1e9).round() as i64).clamp(SLOWEST, FASTEST);
        self
    }

    /// Leaps forward by this much at this simulated time.
    #[must_use]
    pub fn jump(mut self, at: Time, by: Duration) -> Self {
        let place = self.jumps.partition_point(|(earlier, _)| *earlier <= at);
        self.jumps.insert(place, (at, by));
        self
    }

    /// What it shows at this simulated time.
    pub fn shows(&self, time: Time) -> Time {
        let jumps = self.jumps.iter().take_while(|(at, _)| *at <= time);
        let ahead: Duration = jumps.fold(self.offset, |sum, (_, by)| sum.saturating_add(*by));
        let run = i128::from(time.as_nanos()) * self.rate() / BILLION;
        Time::from_nanos(u64::try_from(run).unwrap_or(u64::MAX)) + ahead
    }

    /// The first simulated time at which it shows at least this.
    pub fn reaches(&self, shown: Time) -> Time {
        let mut ahead = self.offset;
        let mut earliest = Time::ZERO;
        for (at, by) in &self.jumps {
            let reached = self.runs_to(shown.since(Time::ZERO + ahead)).max(earliest);
            if reached < *at {
                return reached;
            }
            (earliest, ahead) = (*at, ahead.saturating_add(*by));
        }
        self.runs_to(shown.since(Time::ZERO + ahead)).max(earliest)
    }

    /// When a clock without offset and jumps shows at least this.
    fn runs_to(&self, shown: Duration) -> Time {
        let parts = shown.as_nanos().cast_signed() * BILLION;
        let time = (parts + self.rate() - 1) / self.rate();
        Time::from_nanos(u64::try_from(time).unwrap_or(u64::MAX))
    }

    fn rate(&self) -> i128 {
        BILLION + i128::from(self.drift)
    }
}

impl Core {
    /// What the clock of `p` shows now.
    pub(crate) fn shown_to(&self, p: ProcessId) -> Time {
        self.processes[p.index()].clock.shows(self.now)
    }
}

impl World {
    /// Gives `p` this clock. Must be called before the world runs: timers that were set before keep their
    /// time.
    pub fn clock(&self, p: ProcessId, clock: Clock) {
        self.shared.lock().processes[p.index()].clock = clock;
    }

    /// What the clock of `p` shows now.
    pub fn shown_to(&self, p: ProcessId) -> Time {
        self.shared.lock().shown_to(p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos(milliseconds * 1_000_000)
    }

    fn clocks() -> Vec<Clock> {
        let jumping = |clock: Clock| {
            let (soon, late) = (Duration::from_millis(7), Duration::from_secs(2));
            clock.jump(at(50), late).jump(at(20), soon)
        };
        let plain = [-0.999, -0.3, -1e-9, 0.0, 1e-9, 0.01, 3.0].map(|rho| {
            let clock = Clock::new().drift(rho);
            [clock.clone(), clock.offset(Duration::from_millis(333))]
        });
        let plain = plain.into_iter().flatten();
        plain
            .flat_map(|clock| [clock.clone(), jumping(clock)])
            .collect()
    }

    #[test]
    fn a_clock_without_faults_shows_the_time() {
        for time in [at(0), at(1), Time::from_nanos(u64::MAX)] {
            assert_eq!(Clock::new().shows(time), time);
            assert_eq!(Clock::new().reaches(time), time);
        }
    }

    #[test]
    fn offset_drift_and_jumps_add_up() {
        let clock = Clock::new().offset(Duration::from_secs(1)).drift(0.5);
        let clock = clock.jump(at(100), Duration::from_millis(40));
        assert_eq!(clock.shows(at(0)), at(1000));
        assert_eq!(clock.shows(at(98)), at(1147));
        assert_eq!(clock.shows(at(100)), at(1190));
        assert_eq!(Clock::new().drift(-0.5).shows(at(100)), at(50));
    }

    /// A timer fires when its time is reached, and not a nanosecond later.
    #[test]
    fn a_time_is_reached_at_the_first_moment_that_shows_it() {
        for clock in clocks() {
            for shown in (0..4000).map(|k| Time::from_nanos(k * 1_234_567)) {
                let reached = clock.reaches(shown);
                assert!(clock.shows(reached) >= shown, "{clock:?} {shown}");
                if let Some(before) = reached.as_nanos().checked_sub(1) {
                    let before = Time::from_nanos(before);
                    assert!(clock.shows(before) < shown, "{clock:?} {shown}");
                }
            }
        }
    }

    #[test]
    fn no_clock_goes_backward() {
        for clock in clocks() {
            let mut last = Time::ZERO;
            for time in (0..4000).map(|k| Time::from_nanos(k * 51_234)) {
                assert!(clock.shows(time) >= last, "{clock:?} {time}");
                last = clock.shows(time);
            }
        }
    }
}
