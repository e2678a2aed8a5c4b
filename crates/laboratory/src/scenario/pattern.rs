//! The failures of a pattern of a quorum-system file, and where operations then return.
use super::draw::Draw;
use quorate_core::{ProcessSet, Time};
use quorate_quorums::{file, system::Pattern};
use quorate_sim::{Crash, World};
use quorate_stacks::quorum_system::{Access, BadQuorumSystem, QuorumSystem};
use std::{fmt, time::Duration};

/// The period of pushes of a state: longer than a push takes to reach every process, because a run rests when
/// nothing is in flight.
const PUSH: Duration = Duration::from_millis(200);

/// The quorum system of the subject, and its failures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnQuorums {
    file: String,
    system: QuorumSystem,
    /// The patterns: everything in one fails in a run, and operations still return at these processes.
    patterns: Vec<(Pattern, ProcessSet)>,
    /// The only pattern to use; `None`: the patterns in turn, seed by seed.
    chosen: Option<usize>,
}

/// Why a quorum-system file gives no runs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPattern {
    /// The file gives no quorums.
    #[error(transparent)]
    System(#[from] BadQuorumSystem),
    /// Its quorums are not available under each pattern.
    #[error("the quorums do not hold what may fail")]
    NoQuorums,
    /// There is no such pattern.
    #[error("there is no pattern `{name}`: there are {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names of the patterns.
        known: String,
    },
}

impl OnQuorums {
    /// The system that `text`, the content of `file`, describes (see [`QuorumSystem::parse`]), and its
    /// pattern of that name, or all patterns in turn.
    ///
    /// # Errors
    /// When the file gives no quorums, has no patterns, or has none of that name.
    pub fn parse(file: &str, text: &str, pattern: Option<&str>) -> Result<Self, BadPattern> {
        let push = PUSH;
        let system = QuorumSystem::parse(text)?.accessed(Access::Generalized { push });
        let described = file::parse(text).map_err(BadQuorumSystem::from)?.system;
        let returning = described.verify(system.quorums());
        let returning = returning.map_err(|_| BadPattern::NoQuorums)?;
        let patterns: Vec<_> = described.patterns.into_iter().zip(returning).collect();
        let place = |name: &str| {
            let place = patterns
                .iter()
                .position(|(pattern, _)| pattern.name == name);
            place.ok_or_else(|| {
                let known: Vec<_> = patterns.iter().map(|(it, _)| it.name.as_str()).collect();
                BadPattern::Unknown {
                    name: name.to_owned(),
                    known: known.join(", "),
                }
            })
        };
        Ok(OnQuorums {
            file: file.to_owned(),
            chosen: pattern.map(place).transpose()?,
            system,
            patterns,
        })
    }

    /// The quorum system.
    pub fn system(&self) -> &QuorumSystem {
        &self.system
    }

    fn of_seed(&self, seed: u64) -> &(Pattern, ProcessSet) {
        let drawn = (seed % self.patterns.len() as u64) as usize;
        &self.patterns[self.chosen.unwrap_or(drawn)]
    }

    /// Where operations return in the run of this seed.
    pub fn returning(&self, seed: u64) -> ProcessSet {
        self.of_seed(seed).1
    }

    /// Plans all failures of the pattern in the run of this seed: at the beginning, or each at a drawn
    /// moment.
    pub(super) fn plan(&self, world: &World, seed: u64) {
        let mut draw = Draw::new(seed, "pattern");
        let early = draw.below(3) == 0;
        let mut moment = move || if early { Time::ZERO } else { draw.moment() };
        let (pattern, _) = self.of_seed(seed);
        for p in pattern.crash.iter() {
            world.crash(p, Crash::at(moment()));
        }
        for channel in pattern.channels() {
            world.disconnect(channel, moment());
        }
    }
}

/// The form that a command takes.
impl fmt::Display for OnQuorums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--quorums {}", quoted(&self.file))?;
        match self.chosen {
            Some(chosen) => write!(f, " --pattern {}", quoted(&self.patterns[chosen].0.name)),
            None => Ok(()),
        }
    }
}

/// The word, quoted for a shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use quorate_core::Membership;

    const FIGURE_1: &str = include_str!("../../../../config/quorums/figure-1.toml");

    /// How many of four runs violate this property.
    fn violated(subject: &str, tag: &str, quorums: &OnQuorums) -> usize {
        let mut scenario = Scenario::of(subject.parse().unwrap());
        scenario.processes = 4;
        scenario.requests = 2;
        scenario.quorums = Some(quorums.clone());
        let of_seed = |seed: u64| {
            let report = scenario.run(seed, false).unwrap().report;
            assert!(report.completion.complete || report.violation().is_some());
            report.violation().is_some_and(|it| it.tag == tag)
        };
        (0..4).filter(|seed| of_seed(*seed)).count()
    }

    #[test]
    fn a_pattern_takes_something_and_the_access_makes_up_for_it() {
        let figure_1 = OnQuorums::parse("figure-1.toml", FIGURE_1, None).unwrap();
        for (subject, tag) in [("quorum-access-generalized", "QAF3"), ("by-quorums", "UC4")] {
            assert_eq!(violated(subject, tag, &figure_1), 0, "{subject}");
            // At other processes than the system says, not everything returns.
            let mut everywhere = figure_1.clone();
            for (pattern, returning) in &mut everywhere.patterns {
                *returning = Membership::of_size(4).unwrap().set().without(pattern.crash);
            }
            assert!(violated(subject, tag, &everywhere) > 0, "{subject}");
        }
        // Nothing returns at all if request and answer must take the same path.
        let mut classical = figure_1;
        classical.system = classical.system.accessed(Access::Classical);
        assert!(violated("quorum-access-generalized", "QAF3", &classical) > 0);
    }

    #[test]
    fn a_command_says_the_file_and_the_pattern() {
        let all = OnQuorums::parse("a file", FIGURE_1, None).unwrap();
        assert_eq!(all.to_string(), "--quorums 'a file'");
        let own = OnQuorums::parse("one's own", FIGURE_1, None).unwrap();
        assert_eq!(own.to_string(), r"--quorums 'one'\''s own'");
        let f3 = OnQuorums::parse("a file", FIGURE_1, Some("f3")).unwrap();
        assert_eq!(f3.to_string(), "--quorums 'a file' --pattern 'f3'");
        assert_eq!(f3.returning(0), all.returning(2));
        let none = OnQuorums::parse("a file", "processes = 3\n", None);
        assert!(matches!(none, Err(BadPattern::System(_))));
    }
}
