//! Every algorithm under every fault that its model allows, for several sizes.
use crate::{
    algorithms,
    scenario::{Faults, Layers, Moment, Scenario, Subject},
};
use std::{collections::BTreeMap, fmt::Write};

/// The numbers of processes.
pub const SIZES: [usize; 3] = [3, 5, 7];

/// A column of the matrix.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fault {
    /// A short name of the faults.
    pub name: &'static str,
    /// The faults of the scenario.
    pub faults: Faults,
    /// The layers below the stacks.
    pub layers: Layers,
}

/// The columns.
pub const FAULTS: [Fault; 11] = [
    Fault {
        name: "failure-free",
        faults: Faults {
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "one crash",
        faults: Faults {
            moment: Moment::Output,
            ..Faults::ONE_CRASH
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "loss, duplication",
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
        faults: Faults {
            cuts: 3,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "pauses, suspicions",
        faults: Faults {
            pauses: 2,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "bandwidth, queue",
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
        faults: Faults {
            gaps: 3,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Ideal,
    },
    Fault {
        name: "long cut, small queues",
        faults: Faults {
            long_cuts: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Full,
    },
    Fault {
        name: "late start",
        faults: Faults {
            late: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
    Fault {
        name: "restart",
        faults: Faults {
            restarts: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Full,
    },
    Fault {
        name: "slow user",
        faults: Faults {
            slow: 1,
            accurate: true,
            ..Faults::NONE
        },
        layers: Layers::Mixed,
    },
];

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
        FAULTS.iter().enumerate().map(move |(column, fault)| Cell {
            column,
            scenario: Scenario {
                layers: fault.layers,
                faults: fault.faults,
                processes,
                ..Scenario::of(subject)
            },
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
///
/// # Panics
/// Never: text is written into memory.
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
    let mut text = String::from("| algorithm | n |");
    for fault in &FAULTS {
        let _ = write!(text, " {} |", fault.name);
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(FAULTS.len()));
    text.push('\n');
    for (scenario, columns) in rows {
        let _ = write!(text, "| {} | {} |", scenario.subject, scenario.processes);
        for column in 0..FAULTS.len() {
            let _ = match columns.get(&column) {
                Some(tally) => write!(text, " {} |", brief(*tally)),
                None => write!(text, " – |"),
            };
        }
        text.push('\n');
    }
    text
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
