//! `quorate sim` for algorithms of synchronous rounds.
use super::{Sim, models::Omitted};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use quorate_core::Membership;
use quorate_laboratory::rounds::{Failures, Judged, Scenario, Subject, Unknown};
use quorate_rounds::failures::OmissionKind;
use std::{collections::BTreeSet, fmt::Write, fs, str::FromStr};

/// How an algorithm of synchronous rounds runs. `--crash` is f, the number of failures that it is made for.
#[derive(Args, Clone, Default, Debug)]
#[command(next_help_heading = "Synchronous rounds")]
pub struct Options {
    /// After how many rounds the algorithm decides, if not after f + 1.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: Option<u64>,
    /// Runs every pattern of crashes, with all proposals of 0 and 1, instead of seeds.
    #[arg(long, conflicts_with = "omission")]
    exhaustive: bool,
}

impl Options {
    /// Nothing of this is given.
    ///
    /// # Errors
    /// When something is, for an algorithm that does not run in rounds.
    pub fn ensure_none(&self) -> Result<()> {
        ensure!(
            self.rounds.is_none() && !self.exhaustive,
            "--rounds and --exhaustive are for algorithms of synchronous rounds (`quorate algorithms`)"
        );
        Ok(())
    }
}

/// The algorithm that was chosen.
#[derive(Clone, Copy, Debug)]
pub struct Chosen(Subject);

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl FromStr for Chosen {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        name.parse().map(Chosen)
    }
}

/// Nothing is given that has no meaning in rounds: what is ignored would look as if it had been survived.
fn ensure_of_rounds(sim: &Sim) -> Result<()> {
    let given = [
        ("--loss", sim.loss.is_some()),
        ("--duplicate", sim.duplicate > 0.0),
        ("--tamper", sim.tamper.is_some()),
        ("--cuts", sim.cuts > 0),
        ("--cut", !sim.cut.is_empty()),
        ("--pauses", sim.pauses > 0),
        ("--accurate", sim.accurate),
        ("--storm", sim.storm),
        ("--bandwidth", sim.bandwidth > 0),
        ("--queue", sim.queue > 0),
        ("--gaps", sim.gaps > 0),
        ("--gap", !sim.gap.is_empty()),
        ("--late", sim.late > 0),
        ("--start", !sim.start.is_empty()),
        ("--restarts", sim.restarts > 0),
        ("--slow", sim.slow > 0),
        ("--leaves", sim.leaves.is_some()),
        ("--long-cuts", sim.long_cuts > 0),
        ("--quorums", sim.quorums.is_some()),
        ("--failures", sim.failures.is_some()),
        ("--shiviz", sim.pictures.shiviz.is_some()),
    ];
    let mut given = given.into_iter().chain(sim.models.beside_rounds());
    let given = given.find(|(_, is_given)| *is_given);
    given.map_or(Ok(()), |(option, _)| {
        bail!("{option} has no meaning for an algorithm of synchronous rounds")
    })
}

/// How many processes there are: three, unless it is said.
fn processes(sim: &Sim) -> usize {
    sim.processes.unwrap_or(3)
}

/// All patterns of a larger system do not fit into the memory.
const MOST_EXHAUSTIVE: usize = 5;

/// Runs the seeds, or every pattern.
///
/// # Errors
/// When a property is violated, or the options make no sense.
pub fn run(sim: &Sim, Chosen(subject): Chosen) -> Result<()> {
    ensure_of_rounds(sim)?;
    let options = &sim.rounds;
    let processes = Membership::of_size(processes(sim))?;
    let f = sim
        .crash
        .unwrap_or_else(|| processes.n().saturating_sub(1).min(1));
    ensure!(f < processes.n(), "f must be below the number of processes");
    let failures = match sim.models.omission {
        None => Failures::Crashes,
        Some(Omitted::Send) => Failures::Omissions(OmissionKind::Send),
        Some(Omitted::Receive) => Failures::Omissions(OmissionKind::Receive),
        Some(Omitted::General) => Failures::Omissions(OmissionKind::General),
    };
    let scenario = Scenario {
        subject,
        processes,
        f,
        rounds: options.rounds,
        failures,
    };
    let (runs, violated, first, shown) = if options.exhaustive {
        ensure!(
            processes.n() <= MOST_EXHAUSTIVE && f <= 2,
            "every pattern: at most {MOST_EXHAUSTIVE} processes and 2 crashes"
        );
        let (runs, first) = scenario.exhaust();
        (runs, u64::from(first.is_some()), None, first)
    } else {
        let broken = |seed: &u64| !scenario.run(*seed).broken.is_empty();
        let violated: Vec<u64> = sim.seeds.clone().filter(broken).collect();
        let first = violated.first().copied();
        let shown = scenario.run(first.unwrap_or(sim.seeds.start));
        let runs = sim.seeds.end - sim.seeds.start;
        (runs, violated.len() as u64, first, Some(shown))
    };
    let properties = subject.entry.properties.iter().map(|property| property.tag);
    let tags: Vec<_> = properties.collect();
    let broken = shown.iter().flat_map(|shown| &shown.broken);
    let broken: BTreeSet<_> = broken.map(|broken| broken.property).collect();
    let what = if violated == 0 {
        format!("{} hold", tags.join(" "))
    } else {
        let broken: Vec<_> = broken.into_iter().collect();
        format!("{} violated, of {}", broken.join(" "), tags.join(" "))
    };
    let n = processes.n();
    sim.pictures
        .say(&format!("{subject}: {what}; {runs} runs, n = {n}, f = {f}"));
    if let Some(shown) = &shown {
        draw(sim, shown)?;
    }
    let Some(shown) = shown.filter(|_| violated > 0) else {
        return Ok(());
    };
    for broken in &shown.broken {
        sim.pictures.say(&format!("broken: {broken}"));
    }
    if let Some(seed) = first {
        sim.pictures
            .say(&format!("replay: {}", replay(sim, subject, f, seed)));
        bail!("{violated} of {runs} runs violate a property");
    }
    bail!("a pattern of crashes violates a property")
}

/// The picture of the first violation, or else of the first seed.
fn draw(sim: &Sim, shown: &Judged) -> Result<()> {
    if sim.pictures.diagram || !shown.broken.is_empty() {
        sim.pictures.say(shown.grid.to_string().trim_end());
    }
    match sim.pictures.svg.as_deref() {
        Some("-") => print!("{}", shown.grid.svg()),
        Some(path) => fs::write(path, shown.grid.svg())?,
        None => {}
    }
    Ok(())
}

/// The command that shows this seed again.
fn replay(sim: &Sim, subject: Subject, f: usize, seed: u64) -> String {
    let processes = processes(sim);
    let mut command = format!("quorate sim {subject} --processes {processes} --crash {f}");
    if let Some(rounds) = sim.rounds.rounds {
        let _ = write!(command, " --rounds {rounds}");
    }
    if let Some(value) = sim
        .models
        .omission
        .and_then(|omission| omission.to_possible_value())
    {
        let _ = write!(command, " --omission {}", value.get_name());
    }
    let end = seed + 1;
    format!("{command} --seeds {seed}..{end} --diagram")
}
