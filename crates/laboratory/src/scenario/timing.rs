//! The timing model of a scenario, and whether its subject is judged under it.
use super::{Refused, Scenario};
use crate::{
    algorithm::{Detector, Timing},
    failure_models::Keeps,
    wiring,
};
use quorate_detectors::exclude_on_timeout::SynchronyBounds;
use quorate_sim::{TimingPolicy, timing::Bounds};
use std::time::Duration;

/// The bounds of the simulated network where no timing model is given: latencies of up to 40 milliseconds.
const USUAL: Bounds = Bounds {
    delay: Duration::from_millis(40),
    lateness: Duration::ZERO,
    start: Duration::ZERO,
};

impl Scenario {
    /// What the subject keeps under the timing model: its safety alone where it needs bounds that never hold.
    pub(super) fn keeps_in_time(&self) -> Keeps {
        let assumed = self.subject.algorithm.timing;
        match (assumed, self.timing) {
            (_, None | Some(TimingPolicy::Synchronous(_)))
            | (Timing::Asynchronous, Some(_))
            | (Timing::EventuallySynchronous, Some(TimingPolicy::EventuallySynchronous { .. })) => {
                Keeps::Everything
            }
            (Timing::EventuallySynchronous, Some(TimingPolicy::Asynchronous)) => Keeps::Safety,
            (
                Timing::Synchronous,
                Some(TimingPolicy::EventuallySynchronous { .. } | TimingPolicy::Asynchronous),
            ) => Keeps::Nothing,
        }
    }

    /// Checks that the subject is judged under the timing model, and that clocks and bounds are those that it
    /// assumes.
    pub(super) fn validate_timing(&self) -> Result<(), Refused> {
        let (subject, timing) = (self.subject, self.subject.algorithm.timing);
        if self.keeps_in_time() == Keeps::Nothing {
            return Err(Refused::Timing { subject, timing });
        }
        let is_synchronous =
            timing == Timing::Synchronous || subject.algorithm.detector == Detector::Perfect;
        if is_synchronous && !self.is_within_assumed_bounds() {
            return Err(Refused::Bounds(subject));
        }
        Ok(())
    }

    /// Whether P, with the bounds that it has in the laboratory, makes no mistake.
    fn is_within_assumed_bounds(&self) -> bool {
        let drift = self.faults.clocks.drift;
        let bounds = self.timing.and_then(TimingPolicy::bounds).unwrap_or(USUAL);
        let needed = SynchronyBounds::new(wiring::synchronous().interval(), bounds.delay)
            .map(|needed| {
                needed
                    .losses(wiring::LOST_HEARTBEATS)
                    .lateness(bounds.lateness)
            })
            .and_then(|needed| needed.drift(drift));
        needed
            .is_ok_and(|needed| needed.allowed_silence() <= wiring::synchronous().allowed_silence())
            && bounds.start <= wiring::synchronous().interval()
    }
}
