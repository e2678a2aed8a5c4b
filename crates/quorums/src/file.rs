//! Quorum systems in TOML.
//!
//! ```toml
//! processes = ["a", "b", "c", "d"]   # or a number: p1 … pn
//!
//! [[pattern]]                        # what may fail in one run
//! name = "f1"
//! crash = ["d"]
//! correct = ["a<>b", "c>a"]          # all other channels may disconnect; or `disconnect = […]`
//!
//! [quorums]                          # may be left out: then they are found, if there are any
//! reads = [["a", "c"], ["b", "d"]]   # sets, or how many processes are enough: reads = 3
//! writes = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "a"]]
//! ```
//!
//! A channel is written `a>b`; `a<>b` stands for both directions. Channels of processes that may crash need
//! not be named. `crashes = 2` beside `processes` stands for one pattern for each pair of processes. With
//! `weights = [3, 1, 1]` in `[quorums]`, numbers are weights.
pub mod failures;

use crate::{
    family::{Family, Quorums},
    system::{FailProneSystem, Pattern, WEIGHED},
};
use quorate_core::{Membership, ProcessId, ProcessSet};
use serde::Deserialize;
use std::{collections::BTreeSet, ops::Range};

/// `crashes` may stand for at most this many patterns.
const MOST_PATTERNS: usize = 20_000;

/// The contents of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// The failures that may occur.
    pub system: FailProneSystem,
    /// The quorums, if the file gives them.
    pub quorums: Option<Quorums>,
    /// Remarks on statements in the file that are redundant.
    pub notes: Vec<String>,
}

/// A file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadFile {
    /// It is not TOML, or not of this form.
    #[error("line {line}: {what}")]
    Form {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// It has the form, but makes no sense.
    #[error("{0}")]
    Sense(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    processes: Processes,
    crashes: Option<usize>,
    #[serde(default)]
    pattern: Vec<Written>,
    quorums: Option<WrittenQuorums>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Processes {
    Number(usize),
    Names(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    #[serde(default)]
    crash: Vec<String>,
    disconnect: Option<Vec<String>>,
    correct: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuorums {
    reads: WrittenFamily,
    writes: WrittenFamily,
    weights: Option<Vec<u64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenFamily {
    AtLeast(u64),
    Sets(Vec<Vec<String>>),
}

/// What is wrong at a place in the text.
fn form(text: &str, place: Range<usize>, what: impl Into<String>) -> BadFile {
    let before = text.get(..place.start).unwrap_or_default();
    BadFile::Form {
        line: 1 + before.matches('\n').count(),
        what: what.into(),
    }
}

fn senseless<T>(what: impl Into<String>) -> Result<T, BadFile> {
    Err(BadFile::Sense(what.into()))
}

/// Reads a file.
///
/// # Errors
/// When it does not have the form, or makes no sense; the error says where.
pub fn parse(text: &str) -> Result<Described, BadFile> {
    let file: File = toml::from_str(text).map_err(|error| {
        let what = error.message().replace('\n', " ");
        form(text, error.span().unwrap_or_default(), what)
    })?;
    let names = names(file.processes)?;
    let processes =
        Membership::of_size(names.len()).map_err(|error| BadFile::Sense(error.to_string()))?;
    let reader = Reader { names, processes };
    let mut notes = Vec::new();
    let mut patterns = match file.crashes {
        Some(crashes) => reader.any(crashes)?,
        None => Vec::new(),
    };
    for (index, written) in file.pattern.into_iter().enumerate() {
        patterns.push(reader.pattern(index, written, &mut notes)?);
    }
    if patterns.is_empty() {
        return senseless("there is no pattern: name some, or say how many `crashes` there may be");
    }
    let mut known = BTreeSet::new();
    if let Some(twice) = patterns.iter().find(|p| !known.insert(p.name.clone())) {
        return senseless(format!("two patterns are called `{}`", twice.name));
    }
    let quorums = file
        .quorums
        .map(|quorums| reader.quorums(quorums))
        .transpose()?;
    let system = FailProneSystem {
        processes,
        names: reader.names,
        patterns,
    };
    Ok(Described {
        system,
        quorums,
        notes,
    })
}

fn names(processes: Processes) -> Result<Vec<String>, BadFile> {
    let names = match processes {
        Processes::Number(n) if n <= quorate_core::process::MAXIMUM_PROCESSES => {
            (1..=n).map(|rank| format!("p{rank}")).collect()
        }
        Processes::Number(n) => return senseless(format!("`processes` is {n}: too many")),
        Processes::Names(names) => names,
    };
    let mut known = BTreeSet::new();
    for name in &names {
        let is_word = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || "_-".contains(c));
        if !is_word {
            return senseless(format!(
                "`{name}` is no name of a process: letters, digits, - and _"
            ));
        }
        if !known.insert(name) {
            return senseless(format!("two processes are called `{name}`"));
        }
    }
    Ok(names)
}

struct Reader {
    names: Vec<String>,
    processes: Membership,
}

impl Reader {
    fn process(&self, name: &str) -> Result<ProcessId, BadFile> {
        let index = self.names.iter().position(|known| known == name.trim());
        let process = index.and_then(|index| ProcessId::from_rank(index + 1));
        process.ok_or_else(|| BadFile::Sense(format!("there is no process `{}`", name.trim())))
    }

    fn set(&self, names: &[String]) -> Result<ProcessSet, BadFile> {
        names.iter().map(|name| self.process(name)).collect()
    }

    /// One pattern for each choice of this many processes.
    fn any(&self, crashes: usize) -> Result<Vec<Pattern>, BadFile> {
        let n = self.processes.n();
        if crashes >= n {
            return senseless(format!("`crashes` is {crashes}, of {n} processes"));
        }
        let mut sets = vec![ProcessSet::EMPTY];
        for _ in 0..crashes {
            let larger = sets.iter().flat_map(|set| {
                let highest = set.iter().last().map_or(0, ProcessId::rank);
                let higher = self.processes.iter().filter(move |p| p.rank() > highest);
                higher.map(move |p| set.union(ProcessSet::from_iter([p])))
            });
            // Stops early, because there may be more sets than there is room for.
            sets = larger.take(MOST_PATTERNS + 1).collect();
            if sets.len() > MOST_PATTERNS {
                return senseless(format!(
                    "any {crashes} of {n} are more than {MOST_PATTERNS} patterns"
                ));
            }
        }
        let pattern = |crash: ProcessSet| Pattern {
            name: if crash.is_empty() {
                "nothing fails".into()
            } else {
                let names = crash.iter().filter_map(|p| self.names.get(p.index()));
                names.cloned().collect::<Vec<_>>().join("+") + " crash"
            },
            crash,
            disconnect: vec![ProcessSet::EMPTY; n],
        };
        Ok(sets.into_iter().map(pattern).collect())
    }

    fn pattern(
        &self,
        index: usize,
        written: Written,
        notes: &mut Vec<String>,
    ) -> Result<Pattern, BadFile> {
        let name = written.name.unwrap_or_else(|| format!("f{}", index + 1));
        let within = |error: BadFile| BadFile::Sense(format!("pattern `{name}`: {error}"));
        let crash = self.set(&written.crash).map_err(within)?;
        let alive = self.processes.set().without(crash);
        let (channels, is_correct) = match (written.correct, written.disconnect) {
            (Some(_), Some(_)) => {
                return senseless(format!(
                    "pattern `{name}`: either `correct` or `disconnect`, not both"
                ));
            }
            (Some(correct), None) => (correct, true),
            (None, Some(disconnect)) => (disconnect, false),
            (None, None) => (Vec::new(), false),
        };
        let mut named = vec![ProcessSet::EMPTY; self.processes.n()];
        for channel in &channels {
            for (from, to) in self.channel(channel).map_err(within)? {
                if crash.contains(from) || crash.contains(to) {
                    if is_correct {
                        return senseless(format!(
                            "pattern `{name}`: `{channel}` is a channel of a process that may crash"
                        ));
                    }
                    notes.push(format!(
                        "pattern `{name}`: `{channel}` goes without saying: a process may crash"
                    ));
                    continue;
                }
                named[from.index()].insert(to);
            }
        }
        let disconnect = if is_correct {
            let others = |(p, correct): (ProcessId, &ProcessSet)| {
                let me = ProcessSet::from_iter([p]);
                let is_alive = alive.contains(p);
                let all = if is_alive { alive } else { ProcessSet::EMPTY };
                all.without(me).without(*correct)
            };
            self.processes.iter().zip(&named).map(others).collect()
        } else {
            named
        };
        Ok(Pattern {
            name,
            crash,
            disconnect,
        })
    }

    /// `a>b`, or both directions of `a<>b`.
    fn channel(&self, text: &str) -> Result<Vec<(ProcessId, ProcessId)>, BadFile> {
        let (ends, both) = match text.split_once("<>") {
            Some(ends) => (Some(ends), true),
            None => (text.split_once('>'), false),
        };
        let Some((from, to)) = ends else {
            return senseless(format!("`{text}` is no channel: write `a>b`, or `a<>b`"));
        };
        let (from, to) = (self.process(from)?, self.process(to)?);
        if from == to {
            return senseless(format!(
                "`{text}` is no channel: nobody needs one to himself"
            ));
        }
        let mut channels = vec![(from, to)];
        if both {
            channels.push((to, from));
        }
        Ok(channels)
    }

    fn quorums(&self, written: WrittenQuorums) -> Result<Quorums, BadFile> {
        let n = self.processes.n();
        if let Some(weights) = &written.weights {
            if weights.len() != n {
                return senseless(format!("`weights` are {}, of {n} processes", weights.len()));
            }
            if n > WEIGHED {
                return senseless(format!("weights are for up to {WEIGHED} processes"));
            }
        }
        let family = |name: &str, family: WrittenFamily| match (family, &written.weights) {
            (WrittenFamily::AtLeast(0), _) => senseless(format!("`{name}` is 0: nobody")),
            (WrittenFamily::AtLeast(at_least), Some(weights)) => Ok(Family::Weighted {
                weights: weights.clone(),
                at_least,
            }),
            (WrittenFamily::AtLeast(count), None) => match usize::try_from(count) {
                Ok(count) if count <= n => Ok(Family::AtLeast(count)),
                _ => senseless(format!("`{name}` is {count}, of {n} processes")),
            },
            (WrittenFamily::Sets(sets), _) => {
                let sets: Vec<_> = sets
                    .iter()
                    .map(|set| self.set(set))
                    .collect::<Result<_, _>>()?;
                if sets.is_empty() || sets.iter().any(|set| set.is_empty()) {
                    return senseless(format!("`{name}` has an empty quorum, or none"));
                }
                Ok(Family::Sets(sets))
            }
        };
        Ok(Quorums {
            reads: family("reads", written.reads)?,
            writes: family("writes", written.writes)?,
        })
    }
}

#[cfg(test)]
mod tests;
