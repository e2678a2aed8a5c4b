//! A schedule as text: one step a line.
//!
//! ```text
//! # The origin crashes inside its broadcast, and what it sent to p3 is lost.
//! processes 3
//! request p1 crashing before output 3
//! lose p1>p3 #1           # Data
//! deliver p1>p2 #1
//! expect URB4 violated
//! ```
//!
//! | line | means |
//! |---|---|
//! | `processes 3` | there are three processes |
//! | `request p1` | p1 makes the next of its planned requests |
//! | `deliver p1>p2 #1` | the first copy that p1 sent to p2 arrives |
//! | `lose p1>p2 #1` | it is lost, its sender having crashed |
//! | `omit p1>p2 #1 by p1` | p1, which is faulty, omits to send it (or p2, to receive it) |
//! | `report p1 to p2` | an oracle tells p2 of the crash of p1 |
//! | `suspect p1 by p2`, `restore p1 by p2` | a planned false suspicion begins, ends |
//! | `fire p1 #2` | the second timer that p1 started fires |
//! | `end p1>p2` | the stream from p1 to p2 ends, and p1 is told: what it sends there is lost |
//! | `gap p1>p2` | the next one opens, and p2 is told: what is still in flight there is lost |
//! | `begin p1>p2` | it begins, and p1 is told |
//! | `advance` | time moves on to the next thing that waits for it |
//! | `crash p1` | p1 crashes |
//! | … `crashing before output 2` | after such a step: whose process crashes inside it |
//! | `no more requests` | requests that are still planned are given up |
//! | `stop` | the run ends here; otherwise it goes on to its end, the oldest step first |
//! | `expect all hold`, `expect URB4 violated` (or `holds`, `unknown`) | the verdicts |
//!
//! `#` and a space begin a comment. Comments before the first line form the heading, and a comment behind a
//! step is its note; both are kept, other comments are not.
use super::step::Step;
use crate::{property::Verdict, report::Report};
use std::fmt;

/// A step, and a note for the reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub step: Step,
    /// A note, for example the content that is delivered or lost. It has no effect.
    pub note: String,
}

impl From<Step> for Line {
    fn from(step: Step) -> Self {
        Line {
            step,
            note: String::new(),
        }
    }
}

/// What is expected of a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The property holds.
    Holds,
    Violated,
    /// The run does not show it.
    Unknown,
}

/// What a script expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// Every property holds.
    AllHold,
    /// The verdict on the property with this tag.
    Of(String, Expected),
}

/// An expectation that was not met.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{expectation}` did not come true:\n{verdicts}")]
pub struct Unmet {
    /// What was expected.
    pub expectation: Expectation,
    pub verdicts: String,
}

/// A schedule, written down.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script {
    /// What a reader should know beforehand, one entry per line.
    pub heading: Vec<String>,
    /// How many processes there are, if the script says so.
    pub processes: Option<usize>,
    /// The steps.
    pub lines: Vec<Line>,
    /// Whether planned requests that are not among the steps are given up.
    pub no_more_requests: bool,
    /// Whether the run ends with the last step, complete or not.
    pub stop: bool,
    /// The verdicts that are expected.
    pub expectations: Vec<Expectation>,
}

impl Script {
    /// A script of these steps.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Script {
            lines: steps.into_iter().map(Line::from).collect(),
            ..Script::default()
        }
    }

    /// Its steps.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.lines.iter().map(|line| line.step)
    }

    /// Whether the verdicts are the expected ones.
    ///
    /// # Errors
    /// The first expectation that is not met.
    pub fn judge(&self, report: &Report) -> Result<(), Unmet> {
        let unmet = self.expectations.iter().find(|e| !e.is_met(report));
        unmet.map_or(Ok(()), |expectation| {
            Err(Unmet {
                expectation: expectation.clone(),
                verdicts: report.to_string(),
            })
        })
    }
}

impl Expectation {
    fn is_met(&self, report: &Report) -> bool {
        match self {
            Expectation::AllHold => report.all_hold(),
            Expectation::Of(tag, expected) => matches!(
                (report.verdict(tag), expected),
                (Some(Verdict::Holds), Expected::Holds)
                    | (Some(Verdict::Violated(_)), Expected::Violated)
                    | (Some(Verdict::Unknown), Expected::Unknown)
            ),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectation::AllHold => f.write_str("expect all hold"),
            Expectation::Of(tag, Expected::Holds) => write!(f, "expect {tag} holds"),
            Expectation::Of(tag, Expected::Violated) => write!(f, "expect {tag} violated"),
            Expectation::Of(tag, Expected::Unknown) => write!(f, "expect {tag} unknown"),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.to_string();
        if self.note.is_empty() {
            f.write_str(&step)
        } else {
            write!(f, "{step:<23} # {}", self.note)
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for text in &self.heading {
            writeln!(f, "{}", format!("# {text}").trim_end())?;
        }
        if let Some(n) = self.processes {
            writeln!(f, "processes {n}")?;
        }
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        if self.no_more_requests {
            writeln!(f, "no more requests")?;
        }
        if self.stop {
            writeln!(f, "stop")?;
        }
        for expectation in &self.expectations {
            writeln!(f, "{expectation}")?;
        }
        Ok(())
    }
}
