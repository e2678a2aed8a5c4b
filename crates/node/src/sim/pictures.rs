//! The pictures that `quorate sim` draws of one run.
use anyhow::{Context, Result, ensure};
use clap::Args;
use quorate_laboratory::scenario::{Layers, SeedResult};
use quorate_sim::{Diagram, ShiViz, Svg, Verdict};
use std::{fs, io::Write};

/// Stands for the standard output.
const STANDARD_OUTPUT: &str = "-";

/// Which pictures to draw, of the first violation, or else of the first seed.
#[derive(Args, Clone, Default, Debug)]
pub struct Pictures {
    /// Draws the space-time diagram as text, of the first violation, or else of the first seed.
    #[arg(long)]
    pub diagram: bool,
    /// Draws the same run's diagram as SVG into a file (`-`: the standard output, and the verdicts
    /// go to the standard error).
    #[arg(long, value_name = "FILE")]
    pub svg: Option<String>,
    /// Writes the same run's log for ShiViz, with vector clocks (`-`: likewise).
    #[arg(long, value_name = "FILE")]
    pub shiviz: Option<String>,
}

/// The run that a picture shows.
pub struct Caption<'a> {
    pub title: String,
    pub seed: u64,
    pub processes: usize,
    pub outcome: &'a SeedResult,
}

impl Pictures {
    /// Checks that the wanted pictures do not exclude each other.
    pub fn validate(&self) -> Result<()> {
        let streams = [&self.svg, &self.shiviz].into_iter().flatten();
        let streams = streams.filter(|path| *path == STANDARD_OUTPUT).count();
        ensure!(
            streams < 2,
            "the standard output takes one of --svg and --shiviz"
        );
        Ok(())
    }

    pub fn are_wanted(&self) -> bool {
        self.diagram || self.svg.is_some() || self.shiviz.is_some()
    }

    /// Prints words to the output that no picture is written to.
    pub fn say(&self, words: &str) {
        let takes_output = |path: &Option<String>| path.as_deref() == Some(STANDARD_OUTPUT);
        if takes_output(&self.svg) || takes_output(&self.shiviz) {
            eprintln!("{words}");
        } else {
            println!("{words}");
        }
    }

    pub fn draw(&self, caption: &Caption<'_>) -> Result<()> {
        let (trace, n) = (&caption.outcome.trace, caption.processes);
        let layers = caption.outcome.layers;
        if self.diagram {
            let text = Diagram::default().draw(trace, n);
            self.say(&format!(
                "\nseed {}, on {layers} layers:\n{text}",
                caption.seed
            ));
        }
        if let Some(path) = &self.svg {
            let mut svg = Svg::default()
                .title(&caption.title)
                .note(format!("On {layers} layers. {}", verdicts(caption.outcome)));
            if caption.outcome.layers == Layers::Full {
                svg = svg.note(
                    "The datagrams below the links are not shown: `--layers ideal` has arrows.",
                );
            }
            if let Some(violation) = caption.outcome.report.violation() {
                svg = svg.note(violation.to_string());
            }
            save(path, &svg.draw(trace, n))?;
        }
        if let Some(path) = &self.shiviz {
            save(path, &ShiViz::default().write(trace, n))?;
        }
        Ok(())
    }
}

/// The properties, grouped by verdict, in one line.
fn verdicts(outcome: &SeedResult) -> String {
    let of = |wanted: fn(&Verdict) -> bool| {
        let verdicts = outcome.report.verdicts.iter();
        let tags = verdicts.filter(|(_, verdict)| wanted(verdict));
        tags.map(|(tag, _)| tag.as_str()).collect::<Vec<_>>()
    };
    let kinds = [
        ("Hold", of(|v| matches!(v, Verdict::Holds))),
        ("Violated", of(|v| matches!(v, Verdict::Violated(_)))),
        ("Unknown", of(|v| matches!(v, Verdict::Unknown))),
    ];
    let lines = kinds.iter().filter(|(_, tags)| !tags.is_empty());
    let lines: Vec<_> = lines
        .map(|(kind, tags)| format!("{kind}: {}.", tags.join(", ")))
        .collect();
    lines.join(" ")
}

/// Writes a file, or to the standard output.
pub fn save(path: &str, text: &str) -> Result<()> {
    if path == STANDARD_OUTPUT {
        let written = std::io::stdout().write_all(text.as_bytes());
        return written.context("cannot write to the standard output");
    }
    fs::write(path, text).with_context(|| format!("cannot write {path}"))
}
