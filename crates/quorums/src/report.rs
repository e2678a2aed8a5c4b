//! The findings about a fail-prone system, in words.
use crate::{
    decision::{Answer, Certificate, Kind, Witness, decide},
    family::{Family, Quorums},
    file::Described,
    system::{Choice, FailProneSystem, Flaw},
};
use quorate_core::ProcessSet;
use std::fmt::Write;

/// Lists longer than this are cut off.
const LONGEST: usize = 40;

/// The findings about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Some lines of text.
    pub text: String,
    /// Whether the quorums of the file are valid or, if it gives none, whether there are any. `None`: the
    /// budget is spent.
    pub holds: Option<bool>,
    /// The quorums, by pattern, if there are any.
    pub witness: Option<Witness>,
}

/// Verifies the quorums of the file, or searches for some, trying at most `budget` choices.
pub fn report(described: &Described, budget: u64) -> Report {
    let system = &described.system;
    let mut text = heading(described);
    if let Some(quorums) = &described.quorums {
        return match given(system, quorums) {
            Ok(witness) => {
                text.push_str("The quorums of the file are a generalized quorum system.\n\n");
                table(&mut text, system, &witness);
                Report {
                    text,
                    holds: Some(true),
                    witness: Some(witness),
                }
            }
            Err(flaw) => {
                let _ = writeln!(
                    text,
                    "The quorums of the file are no generalized quorum system: {}.",
                    flaw_in_words(system, &flaw)
                );
                Report {
                    text,
                    holds: Some(false),
                    witness: None,
                }
            }
        };
    }
    match decide(system, Kind::Generalized, budget) {
        Answer::Exists(witness) => {
            let uniqueness = match witness.is_unique {
                Some(true) => ", and only one, up to which read quorums are left larger",
                Some(false) => "; it is not the only one",
                None => "; whether it is the only one, the budget did not tell",
            };
            let _ = writeln!(text, "There is a generalized quorum system{uniqueness}.\n");
            table(&mut text, system, &witness);
            families(&mut text, system, &witness);
            let both_ways = match decide(system, Kind::StronglyConnected, budget) {
                Answer::Exists(_) => "there are some",
                Answer::Impossible(_) => "there are none",
                Answer::Unknown => "the budget did not tell",
            };
            let _ = writeln!(
                text,
                "Read and write quorums that reach each other, as requests and answers need: {both_ways}."
            );
            Report {
                text,
                holds: Some(true),
                witness: Some(witness),
            }
        }
        Answer::Impossible(certificate) => {
            impossibility(&mut text, system, &certificate);
            Report {
                text,
                holds: Some(false),
                witness: None,
            }
        }
        Answer::Unknown => {
            text.push_str("Unknown: the budget is spent, and neither quorums nor a contradiction are found.\n");
            Report {
                text,
                holds: None,
                witness: None,
            }
        }
    }
}

fn heading(described: &Described) -> String {
    let system = &described.system;
    let mut text = format!(
        "{} processes {}, {} {}.\n",
        system.processes.n(),
        system.named(system.processes.set()),
        system.patterns.len(),
        if system.patterns.len() == 1 {
            "pattern"
        } else {
            "patterns"
        }
    );
    for note in &described.notes {
        let _ = writeln!(text, "Note: {note}.");
    }
    text
}

/// The guaranteed processes and the quorums, by pattern, for quorums that the file gives.
fn given(system: &FailProneSystem, quorums: &Quorums) -> Result<Witness, Flaw> {
    let guaranteed = system.verify(quorums)?;
    let residuals = system.residuals();
    let chosen = guaranteed.iter().zip(&residuals);
    let choices: Vec<Choice> = chosen
        .map(|(component, residual)| Choice {
            write: *component,
            read: residual.reaching(*component),
        })
        .collect();
    let within = |family: &Family, set: ProcessSet| family.within(set).unwrap_or(set);
    Ok(Witness {
        writes: choices
            .iter()
            .map(|choice| within(&quorums.writes, choice.write))
            .collect(),
        reads: choices
            .iter()
            .map(|choice| within(&quorums.reads, choice.read))
            .collect(),
        choices,
        is_unique: None,
    })
}

fn flaw_in_words(system: &FailProneSystem, flaw: &Flaw) -> String {
    match flaw {
        Flaw::Disjoint { read, write } => format!(
            "the read quorum {} and the write quorum {} have nobody in common",
            system.named(*read),
            system.named(*write)
        ),
        Flaw::Unavailable { pattern } => format!(
            "under {} no write quorum is left whose members reach each other and are reached from a read \
             quorum",
            system.patterns[*pattern].name
        ),
    }
}

fn table(text: &mut String, system: &FailProneSystem, witness: &Witness) {
    let mut rows = vec![
        [
            "pattern",
            "write quorum W",
            "read quorum R",
            "largest R",
            "operations return in U",
        ]
        .map(str::to_owned),
    ];
    for (index, pattern) in system.patterns.iter().enumerate().take(LONGEST) {
        let choice = witness.choices[index];
        rows.push([
            pattern.name.clone(),
            system.named(witness.writes[index]),
            system.named(witness.reads[index]),
            system.named(choice.read),
            system.named(choice.write),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..5).filter_map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    if system.patterns.len() > LONGEST {
        let _ = writeln!(text, "… and {} more", system.patterns.len() - LONGEST);
    }
    text.push('\n');
}

fn families(text: &mut String, system: &FailProneSystem, witness: &Witness) {
    let quorums = witness.quorums();
    for (name, family) in [("read", &quorums.reads), ("write", &quorums.writes)] {
        let Family::Sets(sets) = family else { continue };
        let named: Vec<String> = sets
            .iter()
            .take(LONGEST)
            .map(|set| system.named(*set))
            .collect();
        let more = sets.len().saturating_sub(LONGEST);
        let more = (more > 0).then(|| format!(" … and {more} more"));
        let _ = writeln!(
            text,
            "{name} quorums: {}{}",
            named.join(" "),
            more.unwrap_or_default()
        );
    }
    text.push('\n');
}

fn impossibility(text: &mut String, system: &FailProneSystem, certificate: &Certificate) {
    let names: Vec<&str> = certificate
        .patterns
        .iter()
        .map(|index| system.patterns[*index].name.as_str())
        .collect();
    let residuals = system.residuals();
    let options: Vec<Vec<Choice>> = certificate
        .patterns
        .iter()
        .map(|index| residuals[*index].choices())
        .collect();
    if let ([name], true) = (names.as_slice(), options.iter().any(Vec::is_empty)) {
        let _ = writeln!(
            text,
            "Impossible: there is no generalized quorum system. Under {name} everybody may crash."
        );
        return;
    }
    let _ = writeln!(
        text,
        "Impossible: there is no generalized quorum system. {} {} cannot be served together.\n",
        if names.len() == 2 {
            "These two patterns"
        } else {
            "These patterns"
        },
        names.join(", ")
    );
    text.push_str("Each leaves these to write to (W), and no more than these to read from (R):\n");
    for (name, options) in names.iter().zip(&options) {
        let listed: Vec<String> = options
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                format!(
                    "({}) W {} R {}",
                    index + 1,
                    system.named(choice.write),
                    system.named(choice.read)
                )
            })
            .collect();
        let _ = writeln!(text, "  {name}: {}", listed.join("  "));
    }
    text.push_str("A read quorum and a write quorum have nobody in common in:\n");
    for (one, f) in options.iter().enumerate() {
        for (other, g) in options.iter().enumerate().skip(one + 1) {
            let missing = missing(f, g);
            if !missing.is_empty() {
                let _ = writeln!(
                    text,
                    "  {} with {}: {}",
                    names[one],
                    names[other],
                    missing.join(", ")
                );
            }
        }
    }
    text.push_str("However one is chosen for each, some two of them miss each other so.\n");
}

/// The choices that do not meet each other, numbered in the order of the list.
fn missing(f: &[Choice], g: &[Choice]) -> Vec<String> {
    let mut missing = Vec::new();
    for (i, one) in f.iter().enumerate() {
        for (j, other) in g.iter().enumerate() {
            if one.read.is_disjoint(other.write) || other.read.is_disjoint(one.write) {
                missing.push(format!("({})({})", i + 1, j + 1));
            }
        }
    }
    missing
}
