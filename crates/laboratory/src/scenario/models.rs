//! The failure models of a scenario, and what is judged of its subject under them.
use super::{GivenOmission, Refused, Scenario};
use crate::failure_models::{FailureModel, Keeps};
use quorate_core::Membership;

impl Scenario {
    /// Checks that the failure models and the timing model are among those of the subject.
    pub(super) fn validate_models(&self, processes: &Membership) -> Result<(), Refused> {
        let (subject, faults) = (self.subject, &self.faults);
        let probability = faults.omissions.map_or(0.0, |it| it.probability);
        if !(0.0..=1.0).contains(&probability) {
            return Err(Refused::Omission(probability));
        }
        if !(0.0..=0.9).contains(&faults.clocks.drift) {
            return Err(Refused::Drift(faults.clocks.drift));
        }
        let is_strange = |given: &GivenOmission| {
            let (from, to) = (given.copy.from, given.copy.to);
            from == to || !processes.contains(from) || !processes.contains(to)
        };
        if self.omitted.iter().any(is_strange) {
            return Err(Refused::Stranger(self.processes));
        }
        let delays = [
            faults.cuts,
            faults.pauses,
            faults.late,
            faults.restarts,
            faults.long_cuts,
        ];
        let is_delayed = delays.iter().any(|count| *count > 0) || faults.bandwidth > 0;
        let is_given = !self.cuts.is_empty() || !self.starts.is_empty();
        if self.timing.is_some() && (is_delayed || is_given) {
            return Err(Refused::BesideTiming);
        }
        if self.beyond {
            return Ok(());
        }
        let models = subject.algorithm.models;
        let outside = self
            .models()
            .into_iter()
            .find(|model| models.keeps(*model) == Keeps::Nothing);
        match outside {
            Some(model) => Err(Refused::Outside { subject, model }),
            None => self.validate_timing(),
        }
    }

    /// The failure models of which the faults are an instance, beside crashes.
    fn models(&self) -> Vec<FailureModel> {
        let clocks = self.faults.clocks;
        let drift = (clocks.offset || clocks.drift > 0.0).then_some(FailureModel::ClockDrift);
        let jumps = (clocks.jumps > 0).then_some(FailureModel::ClockJumps);
        let omissions = self.omission_kinds().map(FailureModel::from);
        omissions.chain(drift).chain(jumps).collect()
    }

    /// What is checked of the subject's properties under these models.
    pub(super) fn keeps(&self) -> Keeps {
        if self.beyond {
            return Keeps::Everything;
        }
        let models = self.subject.algorithm.models;
        let kept = self.models().into_iter().map(|model| models.keeps(model));
        kept.fold(self.keeps_in_time(), Keeps::min)
    }
}
