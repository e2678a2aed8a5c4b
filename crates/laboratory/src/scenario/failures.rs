//! The failures of a file: which processes and channels fail in each run, and when.
use super::pattern::quoted;
use quorate_core::{ProcessSet, Time};
use quorate_quorums::{
    Quorums,
    file::{
        BadFile,
        failures::{self, Failures},
    },
};
use quorate_sim::{Crash, World};
use std::fmt;

/// The failures that a file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenFailures {
    file: String,
    failures: Failures,
}

impl GivenFailures {
    /// The failures that `text`, the content of `file`, says (see [`quorate_quorums::file::failures`]).
    ///
    /// # Errors
    /// When it does not have the form, or makes no sense.
    pub fn parse(file: &str, text: &str) -> Result<Self, BadFile> {
        Ok(GivenFailures {
            file: file.to_owned(),
            failures: failures::parse(text)?,
        })
    }

    /// The number of processes.
    pub fn processes(&self) -> usize {
        self.failures.processes.n()
    }

    /// How many processes crash.
    pub fn crashes(&self) -> usize {
        self.failures.crashes.len()
    }

    /// Where operations return with these quorums: in `U_f`, where f is what fails for good. Empty if no quorums are
    /// available then.
    pub fn returning(&self, quorums: &Quorums) -> ProcessSet {
        let residual = self.failures.pattern().residual(&self.failures.processes);
        residual.guaranteed(quorums).unwrap_or_default()
    }

    /// These processes, by the names that the file gives them: `{a, c}`.
    pub fn named(&self, set: ProcessSet) -> String {
        let name = |p: quorate_core::ProcessId| self.failures.names.get(p.index()).cloned();
        let names: Vec<String> = set.iter().filter_map(name).collect();
        format!("{{{}}}", names.join(", "))
    }

    /// Plans them.
    pub(super) fn plan(&self, world: &World) {
        for (p, at) in &self.failures.crashes {
            world.crash(*p, Crash::at(Time::ZERO + *at));
        }
        for failure in &self.failures.channels {
            let (way, begin) = ((failure.from, failure.to), Time::ZERO + failure.at);
            match failure.until {
                Some(until) => world.cut(way, begin, Some(Time::ZERO + until)),
                None => world.disconnect(way, begin),
            }
        }
    }
}

/// The form that a command takes.
impl fmt::Display for GivenFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--failures {}", quoted(&self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{OnQuorums, Refused, Scenario};
    use quorate_sim::testing::p;

    const FIGURE_1: &str = include_str!("../../../../config/quorums/figure-1.toml");
    const EXAMPLE: &str = include_str!("../../../../config/failures/figure-1-f1.toml");

    fn scenario(subject: &str, failures: &str, on_quorums: bool) -> Scenario {
        let mut scenario = Scenario::of(subject.parse().unwrap());
        let failures = GivenFailures::parse("failures.toml", failures).unwrap();
        scenario.processes = failures.processes();
        scenario.failures = Some(failures);
        scenario.requests = 2;
        let quorums = || OnQuorums::parse("figure-1.toml", FIGURE_1, None).unwrap();
        scenario.quorums = on_quorums.then(quorums);
        scenario
    }

    #[test]
    fn liveness_is_judged_where_the_quorum_system_promises_it() {
        for subject in ["by-quorums", "register-by-quorum-access"] {
            let on_figure_1 = scenario(subject, EXAMPLE, true);
            assert_eq!(on_figure_1.promised(), Some("{a, b}".to_owned()));
            for seed in 0..3 {
                let report = on_figure_1.run(seed, false).unwrap().report;
                assert!(report.all_hold(), "{subject}, seed {seed}: {report}");
            }
        }
        // With one more channel that fails, nothing is promised anywhere, and nothing of liveness is judged.
        let more = format!("{EXAMPLE}\n[[failure]]\ndisconnect = [\"a>b\"]\n");
        let nowhere = scenario("by-quorums", &more, true);
        assert_eq!(nowhere.promised(), Some("{}".to_owned()));
        assert!(nowhere.run(0, false).unwrap().report.all_hold());
        // A channel that fails for a while is no failure for good.
        let briefly =
            format!("{EXAMPLE}\n[[failure]]\nat = 30\nuntil = 60\ndisconnect = [\"a>b\"]\n");
        let briefly = scenario("by-quorums", &briefly, true);
        assert_eq!(briefly.promised(), Some("{a, b}".to_owned()));
        assert!(briefly.run(0, false).unwrap().report.all_hold());
    }

    #[test]
    fn without_a_quorum_system_liveness_is_judged_at_the_correct_processes() {
        let crash = "processes = 3\n[[failure]]\nat = 20\ncrash = [\"p3\"]\n";
        let one_crash = scenario("uniform", crash, false);
        assert_eq!(one_crash.promised(), None);
        for seed in 0..10 {
            let result = one_crash.run(seed, true).unwrap();
            assert!(result.report.all_hold(), "seed {seed}: {}", result.report);
            assert!(!result.report.completion.correct.contains(p(3)));
        }
        // Nothing comes from p1: the broadcast does not go round the channels.
        let silent = "processes = 3\n[[failure]]\ndisconnect = [\"p1>p2\", \"p1>p3\"]\n";
        let silent = scenario("eager", silent, false);
        let report = silent.run(1, false).unwrap().report;
        assert!(
            report.violation().is_some_and(|it| it.tag == "RB1"),
            "{report}"
        );
    }

    #[test]
    fn failures_that_the_subject_does_not_survive_are_refused() {
        let two = "processes = 3\n[[failure]]\ncrash = [\"p1\", \"p2\"]\n";
        let refused = scenario("uniform", two, false).validate().unwrap_err();
        assert!(
            matches!(refused, Refused::TooManyCrashes { crashes: 2, .. }),
            "{refused}"
        );
        let mut beside = scenario("uniform", "processes = 3", false);
        beside.faults.crashes = 1;
        assert_eq!(beside.validate().unwrap_err(), Refused::BesideFailures);
        let other = scenario("by-quorums", "processes = 3", true)
            .validate()
            .unwrap_err();
        assert_eq!(
            other,
            Refused::QuorumSize {
                own: 4,
                processes: 3
            }
        );
        let command = scenario("uniform", two, false).command(7);
        assert!(
            command.contains("quorate sim majority-ack --failures 'failures.toml' --seeds 7..8"),
            "{command}"
        );
    }
}
