//! Every algorithm under every fault that its model allows, for several sizes.
use crate::{
    algorithms,
    failure_models::{FALLS, FailureModel, Fall, Keeps},
    scenario::{Clocks, Faults, Layers, Moment, Omissions, Scenario, Subject},
};
use quorate_sim::OmissionKind;
use std::{collections::BTreeMap, fmt::Write};

/// The numbers of processes.
pub const SIZES: [usize; 3] = [3, 5, 7];

/// A column of the matrix.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fault {
    /// A short name of the faults.
    pub name: &'static str,
    /// The failure model of which the faults are an instance, if they are more than crashes.
    pub model: Option<FailureModel>,
    /// The faults of the scenario.
    pub faults: Faults,
    /// The layers below the stacks.
    pub layers: Layers,
}

/// The columns.
pub const FAULTS: [Fault; 16] = [
    Fault {
        name: "failure-free",
        model: None,
        faults: Faults {
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "one crash",
        model: None,
        faults: Faults {
            moment: Moment::Output,
            ..Faults::ONE_CRASH
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "loss, duplication",
        model: None,
        faults: Faults {
            loss: 0.1,
            duplication: 0.05,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Full,
    },
    Fault {
        name: "one-way cuts",
        model: None,
        faults: Faults {
            cuts: 3,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "pauses, suspicions",
        model: None,
        faults: Faults {
            pauses: 2,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "bandwidth, queue",
        model: None,
        faults: Faults {
            bandwidth: 500_000,
            queue: 32 << 10,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "gaps",
        model: None,
        faults: Faults {
            gaps: 3,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Ideal,
    },
    Fault {
        name: "long cut, small queues",
        model: None,
        faults: Faults {
            long_cuts: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Full,
    },
    Fault {
        name: "late start",
        model: None,
        faults: Faults {
            late: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "restart",
        model: None,
        faults: Faults {
            restarts: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Full,
    },
    Fault {
        name: "slow user",
        model: None,
        faults: Faults {
            slow: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    omission(
        "send omission",
        FailureModel::SendOmission,
        OmissionKind::Send,
    ),
    omission(
        "receive omission",
        FailureModel::ReceiveOmission,
        OmissionKind::Receive,
    ),
    omission(
        "general omission",
        FailureModel::GeneralOmission,
        OmissionKind::General,
    ),
    clocks("clock drift", FailureModel::ClockDrift, DRIFT),
    clocks("clock jumps", FailureModel::ClockJumps, JUMPS),
];

/// On ideal links, which do not send again what is omitted. In a row of n processes as many omit messages as a minority
/// has.
const fn omission(name: &'static str, model: FailureModel, kind: OmissionKind) -> Fault {
    let omissions = Omissions {
        kind,
        processes: 1,
        probability: 0.5,
    };
    Fault {
        name,
        model: Some(model),
        faults: Faults {
            omissions: Some(omissions),
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Ideal,
    }
}

/// Clocks that begin anywhere, and run up to a twentieth too fast or too slowly.
const DRIFT: Clocks = Clocks {
    offset: true,
    drift: 0.05,
    jumps: 0,
};

/// Clocks of which some leap forward.
const JUMPS: Clocks = Clocks {
    jumps: 2,
    ..Clocks::EXACT
};

const fn clocks(name: &'static str, model: FailureModel, clocks: Clocks) -> Fault {
    Fault {
        name,
        model: Some(model),
        faults: Faults {
            clocks,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    }
}

/// A cell of the matrix.
#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    /// Its column, of [`FAULTS`].
    pub column: usize,
    /// What runs.
    pub scenario: Scenario,
}

/// Every cell whose fault is allowed by the algorithm's model and possible on its substrate, row by row.
pub fn cells() -> Vec<Cell> {
    let rows = algorithms::all().flat_map(|algorithm| SIZES.map(|n| (algorithm, n)));
    let cells = rows.flat_map(|(algorithm, processes)| {
        let subject = Subject {
            algorithm,
            mutant: None,
        };
        FAULTS.iter().enumerate().map(move |(column, fault)| {
            let mut faults = fault.faults;
            if let Some(omissions) = &mut faults.omissions {
                omissions.processes = (processes - 1) / 2;
            }
            Cell {
                column,
                scenario: Scenario {
                    layers: fault.layers,
                    faults,
                    processes,
                    ..Scenario::of(subject)
                },
            }
        })
    });
    // A long cut with seven processes shows no more than with five, and takes twice as long.
    let takes_long =
        |cell: &Cell| cell.scenario.faults.long_cuts > 0 && cell.scenario.processes > 5;
    cells
        .filter(|cell| cell.scenario.validate().is_ok() && !takes_long(cell))
        .collect()
}

/// The result of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How many seeds were run.
    pub seeds: u64,
    /// In how many runs a property was violated.
    pub violated: u64,
    /// In how many runs the verdict on some property is unknown.
    pub unknown: u64,
}

/// The matrix, in Markdown: one row per algorithm and size, one column per fault.
#[must_use]
pub fn table(cells: &[Cell], tallies: &[Tally]) -> String {
    let mut rows: Vec<(&Scenario, BTreeMap<usize, Tally>)> = Vec::new();
    for (cell, tally) in cells.iter().zip(tallies) {
        let scenario = &cell.scenario;
        let belongs = |(row, _): &&mut (&Scenario, _)| {
            row.subject == scenario.subject && row.processes == scenario.processes
        };
        match rows.iter_mut().rev().find(belongs) {
            Some((_, columns)) => drop(columns.insert(cell.column, *tally)),
            None => rows.push((scenario, BTreeMap::from([(cell.column, *tally)]))),
        }
    }
    let mut text = heading();
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(FAULTS.len()));
    text.push('\n');
    for (scenario, columns) in rows {
        text.push_str(&beginning(scenario));
        for (column, fault) in FAULTS.iter().enumerate() {
            let _ = write!(
                text,
                " {} |",
                content(scenario, fault, columns.get(&column))
            );
        }
        text.push('\n');
    }
    text
}

/// The line that names the columns.
fn heading() -> String {
    let names = FAULTS.iter().map(|fault| fault.name);
    let names: Vec<_> = names.collect();
    format!("| algorithm | n | {} |", names.join(" | "))
}

/// A table with a column more, after the number of processes: the day on which the rows were run.
#[must_use]
pub fn dated(table: &str, day: &str) -> String {
    let lines = table.lines().enumerate().map(|(number, line)| {
        let cell = match number {
            0 => " run on |".to_owned(),
            1 => "---|".to_owned(),
            _ => format!(" {day} |"),
        };
        let column = line.match_indices('|').nth(2);
        let (before, after) = line.split_at(column.map_or(line.len(), |(at, _)| at + 1));
        format!("{before}{cell}{after}\n")
    });
    lines.collect()
}

/// How the row of an algorithm and a size begins.
fn beginning(scenario: &Scenario) -> String {
    format!("| {} | {} |", scenario.subject, scenario.processes)
}

/// The rows of some cells, each by how it begins, in the matrix' order and each once.
#[must_use]
pub fn rows(cells: &[Cell]) -> Vec<String> {
    let mut rows: Vec<_> = cells.iter().map(|cell| beginning(&cell.scenario)).collect();
    rows.dedup();
    rows
}

/// Why a page is not that of the matrix.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stale {
    /// Its columns are not the matrix' faults.
    #[error("it has other columns")]
    Columns,
    /// A row is missing.
    #[error("it has no row that begins with `{0}`")]
    Row(String),
    /// A row is of an algorithm or a size that is not in the matrix.
    #[error("it has a row more: `{0}`")]
    Old(String),
}

/// The rows of a page, in the matrix' order.
///
/// # Errors
/// When the page has other columns or rows than the matrix.
pub fn page_rows(page: &str) -> Result<Vec<&str>, Stale> {
    let mut lines = page.lines().filter(|line| line.starts_with("| "));
    let names = dated(&heading(), "");
    if lines.next() != Some(names.trim_end()) {
        return Err(Stale::Columns);
    }
    let (found, expected): (Vec<_>, _) = (lines.collect(), rows(&cells()));
    if let Some(old) = found
        .iter()
        .find(|line| !expected.iter().any(|row| line.starts_with(row)))
    {
        return Err(Stale::Old((*old).to_owned()));
    }
    let in_order = expected.into_iter().map(|row| {
        let line = found.iter().find(|line| line.starts_with(&row));
        line.copied().ok_or(Stale::Row(row))
    });
    in_order.collect()
}

/// A dated table of some rows, completed by the other rows of an earlier page.
///
/// # Errors
/// When the earlier page has other columns, or lacks a row that the table lacks, too.
pub fn completed(table: &str, earlier: &str) -> Result<String, Stale> {
    let names = dated(&heading(), "");
    if !earlier.lines().any(|line| line == names.trim_end()) {
        return Err(Stale::Columns);
    }
    let begins = rows(&cells()).into_iter().map(|row| {
        let of = |page: &'_ str| {
            let mut lines = page.lines();
            lines.find(|line| line.starts_with(&row)).map(str::to_owned)
        };
        of(table)
            .or_else(|| of(earlier))
            .ok_or(Stale::Row(row.clone()))
    });
    let lines: Vec<_> = begins.collect::<Result<_, _>>()?;
    let begin: Vec<_> = table.lines().take(2).collect();
    Ok(format!("{}\n{}\n", begin.join("\n"), lines.join("\n")))
}

/// What a cell says: its tally, and in the first row of an algorithm which property is known to fall.
fn content(scenario: &Scenario, fault: &Fault, tally: Option<&Tally>) -> String {
    let algorithm = scenario.subject.algorithm;
    let is_first = scenario.processes == SIZES[0];
    let belongs = |fall: &&Fall| {
        is_first && fall.algorithm == algorithm.name && Some(fall.model) == fault.model
    };
    let falls = FALLS.iter().filter(belongs);
    let falls = falls.map(|fall| format!("falls: {} (seed {})", fall.breaks, fall.seed));
    let is_safety = fault.model.map(|model| algorithm.models.keeps(model)) == Some(Keeps::Safety);
    let tally = tally.map(|tally| {
        let safety = if is_safety { " (safety)" } else { "" };
        format!("{}{safety}", brief(*tally))
    });
    let parts: Vec<_> = tally.into_iter().chain(falls).collect();
    if parts.is_empty() {
        return "–".to_owned();
    }
    parts.join("; ")
}

fn brief(tally: Tally) -> String {
    let Tally {
        seeds,
        violated,
        unknown,
    } = tally;
    match unknown {
        0 => format!("{seeds} / {violated}"),
        _ => format!("{seeds} / {violated}, {unknown} unknown"),
    }
}
