//! Which mutant violates which part of which property, and after how many runs its checker says so.
//!
//! Each mutant runs on the seeds 0, 1, … on ideal layers, under the faults of its entry, until the property is
//! violated that it is said to break, in the part that it is made for, if it is made for one. What else is
//! violated on the way counts, too. A run goes on after a violation, so that each property is judged by
//! itself.
use crate::{
    algorithm::{Algorithm, Clause, Mutant, Property},
    algorithms,
    rounds::{self, Failures},
    scenario::{Layers, Refused, Scenario, Subject},
};
use quorate_core::Membership;
use quorate_rounds::failures::OmissionKind;
use quorate_sim::Verdict;
use std::collections::BTreeMap;

/// A mutant that no checker has found after this many runs counts as not found.
pub(crate) const MOST: u64 = 2000;

/// A part of a property: its place among the parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Part {
    tag: &'static str,
    says: &'static str,
    clause: usize,
}

/// The mutants that violate a part of a property.
#[derive(Clone, Debug)]
pub struct Row {
    /// The property, with all its parts.
    pub property: Property,
    /// `None`: the property has no parts yet.
    pub clause: Option<&'static Clause>,
    /// Mutants, each with its algorithm, and after how many runs each was found to violate this part.
    pub found: Vec<Found>,
}

/// A mutant that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The name of its algorithm.
    pub of: &'static str,
    pub mutant: &'static str,
    /// The number of runs, with the one in which it was found.
    pub runs: u64,
}

/// What the checkers say of the mutants.
#[derive(Clone, Default, Debug)]
pub struct Table {
    properties: Vec<Property>,
    found: BTreeMap<Part, Vec<Found>>,
    /// By mutant: the run of the fixed seeds in which it violated the property that it is said to break.
    shown: BTreeMap<&'static str, u64>,
    /// What is wrong with the table: mutants that are not found, verdicts that are on no part.
    pub trouble: Vec<String>,
}

/// Why a hunt had no success.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{mutant} is not found to violate {breaks} (“{shows}”) in {MOST} runs")]
    NotFound {
        mutant: &'static str,
        breaks: &'static str,
        shows: &'static str,
    },
    #[error("no part of {tag} has the verdict “{text}” on {mutant}")]
    NoPart {
        mutant: &'static str,
        tag: &'static str,
        text: String,
    },
}

/// The parts that a mutant violates, and after how many runs it was found.
struct Hunt {
    mutant: &'static str,
    breaks: &'static str,
    /// Words of the verdict on the part that it is made for.
    shows: &'static str,
    runs: u64,
    seen: BTreeMap<Part, u64>,
    is_over: bool,
}

/// A hunt that has ended: the parts that were violated, each with its first run, and the number of runs.
type Seen = (BTreeMap<Part, u64>, u64);

impl Hunt {
    fn new(mutant: &'static str, breaks: &'static str, shows: Option<&'static str>) -> Self {
        Hunt {
            mutant,
            breaks,
            shows: shows.unwrap_or_default(),
            runs: 0,
            seen: BTreeMap::new(),
            is_over: false,
        }
    }

    /// In this run, the checker has said this of the property.
    fn see(&mut self, property: &Property, text: &str) -> Result<(), Missed> {
        let Property {
            tag, says, clauses, ..
        } = *property;
        let said = property.clause_of(text);
        let clause = clauses.iter().position(|clause| Some(clause) == said);
        let clause = clause.ok_or_else(|| Missed::NoPart {
            mutant: self.mutant,
            tag,
            text: text.to_owned(),
        })?;
        let part = Part { tag, says, clause };
        self.seen.entry(part).or_insert(self.runs);
        self.is_over |= tag == self.breaks && text.contains(self.shows);
        Ok(())
    }

    fn result(self) -> Result<Seen, Missed> {
        if self.is_over {
            return Ok((self.seen, self.runs));
        }
        Err(Missed::NotFound {
            mutant: self.mutant,
            breaks: self.breaks,
            shows: self.shows,
        })
    }
}

fn hunt(algorithm: &'static Algorithm, mutant: &'static Mutant) -> Result<Seen, Missed> {
    let scenario = Scenario {
        layers: Layers::Ideal,
        ..Scenario::of(Subject {
            algorithm,
            mutant: Some(mutant),
        })
    };
    let shows = algorithms::shows(mutant.name);
    let mut hunt = Hunt::new(mutant.name, mutant.breaks, shows);
    while hunt.runs < MOST && !hunt.is_over {
        let report = scenario.run_to_the_end(hunt.runs)?.report;
        hunt.runs += 1;
        for property in algorithm.properties {
            if let Some(Verdict::Violated(violation)) = report.verdict(property.tag) {
                hunt.see(property, &violation.text)?;
            }
        }
    }
    hunt.result()
}

/// The settings in which mutants in rounds run, one after the other: how many processes there are, how many
/// fail, and how.
const IN_ROUNDS: [(usize, usize, Failures); 4] = [
    (3, 1, Failures::Crashes),
    (4, 2, Failures::Crashes),
    (3, 1, Failures::Omissions(OmissionKind::Send)),
    (4, 2, Failures::Omissions(OmissionKind::Send)),
];

/// The setting of this run, counted from 0, and its seed.
fn in_rounds(run: u64) -> (usize, usize, Failures, u64) {
    let seeds = MOST / IN_ROUNDS.len() as u64;
    let (setting, seed) = ((run / seeds) as usize, run % seeds);
    let (n, f, failures) = IN_ROUNDS[setting % IN_ROUNDS.len()];
    (n, f, failures, seed)
}

/// One of the runs, counted from 0, in which mutants in rounds are hunted, of a mutant or of the algorithm itself.
///
/// # Errors
/// When there cannot be so many processes.
pub fn run_in_rounds(subject: rounds::Subject, run: u64) -> Result<rounds::Judged, Refused> {
    let (n, f, failures, seed) = in_rounds(run);
    let scenario = rounds::Scenario {
        subject,
        processes: Membership::of_size(n)?,
        f,
        rounds: None,
        failures,
    };
    Ok(scenario.run(seed))
}

fn hunt_in_rounds(
    entry: &'static rounds::Entry,
    mutant: &'static rounds::Mutant,
) -> Result<Seen, Missed> {
    let mut hunt = Hunt::new(mutant.name, mutant.breaks, rounds::shows(mutant.name));
    while hunt.runs < MOST && !hunt.is_over {
        let mutant = Some(mutant);
        let judged = run_in_rounds(rounds::Subject { entry, mutant }, hunt.runs)?;
        hunt.runs += 1;
        for broken in judged.broken {
            let mut properties = entry.properties.iter();
            if let Some(property) = properties.find(|it| it.tag == broken.property) {
                hunt.see(property, &broken.how)?;
            }
        }
    }
    hunt.result()
}

impl Table {
    /// The table of all mutants, which run for it.
    pub fn of_all_mutants() -> Self {
        let mut table = Table::default();
        let promised = algorithms::all().flat_map(|algorithm| algorithm.properties);
        let in_rounds = rounds::ENTRIES.iter().flat_map(|entry| entry.properties);
        for property in promised.chain(in_rounds) {
            if !table.properties.contains(property) {
                table.properties.push(*property);
            }
            let has_no_words = |clause: &Clause| clause.verdict.is_empty();
            if property.clauses.len() > 1 && property.clauses.iter().any(has_no_words) {
                let tag = property.tag;
                let trouble = format!("a part of {tag} takes every verdict for its own");
                table.trouble.push(trouble);
            }
        }
        for (algorithm, mutant) in algorithms::mutants() {
            table.add(algorithm.name, mutant.name, hunt(algorithm, mutant));
        }
        for (entry, mutant) in rounds::mutants() {
            table.add(entry.name, mutant.name, hunt_in_rounds(entry, mutant));
        }
        table
    }

    fn add(&mut self, of: &'static str, mutant: &'static str, result: Result<Seen, Missed>) {
        match result {
            Ok((seen, runs)) => {
                self.shown.insert(mutant, runs);
                for (part, runs) in seen {
                    let found = Found { of, mutant, runs };
                    self.found.entry(part).or_default().push(found);
                }
            }
            Err(missed) => self.trouble.push(missed.to_string()),
        }
    }

    /// In which run, counted from 1, this mutant violated the property that it is said to break.
    pub fn shown(&self, mutant: &str) -> Option<u64> {
        self.shown.get(mutant).copied()
    }

    /// The command that runs it, if the mutant was found.
    pub fn command(&self, mutant: &str) -> Option<String> {
        let seed = self.shown(mutant)? - 1;
        let is_of_rounds = rounds::mutants().any(|(_, it)| it.name == mutant);
        if !is_of_rounds {
            let processes = match algorithms::processes_of(mutant) {
                3 => String::new(),
                others => format!(" --processes {others}"),
            };
            let seeds = format!("--seeds {seed}..{}", seed + 1);
            return Some(format!(
                "quorate sim {mutant}{processes} --layers ideal {seeds}"
            ));
        }
        let (n, f, failures, seed) = in_rounds(seed);
        let omission = match failures {
            Failures::Crashes => "",
            Failures::Omissions(_) => " --omission send",
        };
        let seeds = format!("--seeds {seed}..{}", seed + 1);
        Some(format!(
            "quorate sim {mutant} --processes {n} --crash {f}{omission} {seeds}"
        ))
    }

    /// One row for each part of each property, and one for each property without parts.
    pub fn rows(&self) -> Vec<Row> {
        let rows = self.properties.iter().flat_map(|property| {
            let Property { tag, says, .. } = *property;
            let parts = property
                .clauses
                .iter()
                .enumerate()
                .map(move |(clause, it)| {
                    let found = self.found.get(&Part { tag, says, clause });
                    Row {
                        property: *property,
                        clause: Some(it),
                        found: found.cloned().unwrap_or_default(),
                    }
                });
            let mut rows: Vec<_> = parts.collect();
            if rows.is_empty() {
                rows.push(Row {
                    property: *property,
                    clause: None,
                    found: Vec::new(),
                });
            }
            rows
        });
        rows.collect()
    }
}
