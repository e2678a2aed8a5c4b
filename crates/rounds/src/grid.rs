//! An execution as a picture: a row a process, a column a round. In rounds all messages of a round leave and
//! arrive together, so that a grid says more than slanted arrows.
use crate::execution::Execution;
use quorate_core::ProcessId;
use std::fmt::{self, Debug, Display, Write};

/// A grid of one execution, as text ([`Display`]) or as a picture ([`Grid::svg`]).
pub struct Grid {
    title: String,
    rounds: u64,
    rows: Vec<Row>,
}

struct Row {
    process: ProcessId,
    cells: Vec<Cell>,
}

/// One process in one round.
#[derive(Default)]
struct Cell {
    /// What it sends, if anything.
    says: Option<String>,
    /// The others to whom that does not arrive, of all to whom it is sent.
    misses: Vec<ProcessId>,
    output: Option<String>,
    /// It crashes in this round.
    crashes: bool,
    /// It has crashed or halted before.
    gone: bool,
}

impl Grid {
    /// The grid of an execution, under this title.
    pub fn new<M: Debug, O: Debug>(title: &str, execution: &Execution<M, O>) -> Self {
        let cell = |p: ProcessId, round: u64| {
            let sent = execution.transmissions.iter();
            let sent: Vec<_> = sent.filter(|t| t.from == p && t.round == round).collect();
            let crash = execution.pattern.crashes.get(&p);
            let outputs = execution.outputs.get(&p).into_iter().flatten();
            let mut output = outputs.filter(|(at, _)| *at == round);
            let halted = execution
                .halted
                .get(&p)
                .is_some_and(|halted| *halted < round);
            let lost = sent
                .iter()
                .filter(|t| !execution.pattern.arrives(round, p, t.to));
            let mut misses: Vec<ProcessId> = lost.map(|t| t.to).collect();
            misses.dedup();
            Cell {
                says: sent.first().map(|t| format!("{:?}", t.message)),
                misses,
                output: output.next().map(|(_, output)| format!("{output:?}")),
                crashes: crash.is_some_and(|crash| crash.round == round),
                gone: halted || crash.is_some_and(|crash| crash.round < round),
            }
        };
        let rows = execution.processes.iter().map(|process| Row {
            process,
            cells: (1..=execution.rounds)
                .map(|round| cell(process, round))
                .collect(),
        });
        Grid {
            title: title.to_owned(),
            rounds: execution.rounds,
            rows: rows.collect(),
        }
    }

    /// The picture, as SVG.
    pub fn svg(&self) -> String {
        let width = LEFT + WIDTH * self.rounds as usize + MARGIN;
        let height = TOP + HEIGHT * self.rows.len() + MARGIN;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\">\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" \
             fill=\"#fff\"/>\n<text class=\"title\" x=\"{MARGIN}\" y=\"24\">{}</text>\n",
            escaped(&self.title)
        );
        for round in 1..=self.rounds as usize {
            let x = LEFT + WIDTH * (round - 1) + MARGIN;
            let _ = writeln!(
                text,
                "<text class=\"head\" x=\"{x}\" y=\"50\">round {round}</text>"
            );
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = TOP + HEIGHT * index;
            let middle = y + HEIGHT / 2;
            let p = row.process;
            let _ = writeln!(
                text,
                "<text class=\"head\" x=\"{MARGIN}\" y=\"{middle}\">{p}</text>"
            );
            for (round, cell) in row.cells.iter().enumerate() {
                cell.draw(&mut text, LEFT + WIDTH * round, y);
            }
        }
        text.push_str("</svg>\n");
        text
    }
}

const WIDTH: usize = 240;
const HEIGHT: usize = 64;
const LEFT: usize = 50;
const TOP: usize = 60;
const MARGIN: usize = 12;
const STYLE: &str = "text{font-family:sans-serif;font-size:12px}.title{font-size:15px;font-weight:bold}\
.head{font-weight:bold}.alive{fill:#fff;stroke:#222}.crashes{fill:#f6d5d5;stroke:#c22}\
.gone{fill:#eee;stroke:#bbb}.lost{fill:#c22}.output{fill:#1665c0;font-weight:bold}";

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

impl Cell {
    /// What is written into it: what is said, to whom that does not arrive, and what is told to the user.
    fn lines(&self) -> [(&'static str, Option<String>); 3] {
        let misses: Vec<_> = self.misses.iter().map(ToString::to_string).collect();
        let misses = (!misses.is_empty()).then(|| format!("not to {}", misses.join(", ")));
        [
            ("says", self.says.clone()),
            ("lost", misses),
            (
                "output",
                self.output.as_ref().map(|output| format!("→ {output}")),
            ),
        ]
    }

    fn draw(&self, text: &mut String, x: usize, y: usize) {
        let class = match (self.crashes, self.gone) {
            (true, _) => "crashes",
            (false, true) => "gone",
            (false, false) => "alive",
        };
        let (width, height) = (WIDTH - 6, HEIGHT - 6);
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        );
        let told = self
            .lines()
            .into_iter()
            .filter_map(|(class, line)| Some((class, line?)));
        for (row, (class, line)) in told.enumerate() {
            let (x, y) = (x + 6, y + 16 + 18 * row);
            let line = escaped(&line);
            let _ = writeln!(
                text,
                "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{line}</text>"
            );
        }
    }
}

/// A line a process and round in which something happens.
impl Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for round in 0..self.rounds as usize {
            writeln!(f, "  round {}", round + 1)?;
            for row in &self.rows {
                let cell = &row.cells[round];
                let told = cell.lines().into_iter().filter_map(|(_, line)| line);
                let mut told: Vec<String> = told.collect();
                if cell.crashes {
                    told.insert(told.len().min(1), "crashes".to_owned());
                }
                if !told.is_empty() {
                    writeln!(f, "    {}: {}", row.process, told.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
