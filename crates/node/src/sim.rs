//! `quorate sim`: a stack against an adversary, seed by seed.
mod models;
pub mod pictures;
mod rounds;

use anyhow::{Context, Result, bail};
use clap::Args;
use pictures::{Caption, Pictures};
use quorate_core::{ProcessId, Time, message::fold};
use quorate_laboratory::{
    algorithms,
    scenario::{
        Cut, GivenFailures, GivenGap, Layers, Moment, OnQuorums, Scenario, SeedResult, Subject,
    },
};
use quorate_sim::{Verdict, Violation};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Runs a stack in the simulator and checks every property.
///
/// Exit status 1 and a replay command if a property is violated.
#[derive(Args, Debug)]
pub struct Sim {
    /// What runs: an algorithm of `quorate algorithms`, with what it stands on; or one of its broken
    /// mutants, to see a violation.
    #[arg(value_parser = parse_stack)]
    stack: Stack,
    /// How many processes there are. By default three; for a mutant, as many as show its violation.
    #[arg(long, value_name = "N")]
    processes: Option<usize>,
    /// The seeds, as FIRST..END, the end not included.
    #[arg(long, default_value = "0..100", value_parser = parse_seeds)]
    seeds: Range<u64>,
    /// How many processes crash, at moments drawn from the seed. By default none; for a mutant, as many as
    /// show its violation.
    #[arg(long, value_name = "K")]
    crash: Option<usize>,
    /// When processes crash. any: at any moment, often an early one, and maybe with copies lost; output:
    /// before one of the outputs of the process, all equally likely. By default any; for a mutant, what shows its
    /// violation.
    #[arg(long, value_parser = parse_moment, value_name = "MOMENT")]
    crash_at: Option<Moment>,
    /// The probability that a fair-loss link loses a copy (full stacks). By default 0; for a mutant, the one
    /// that shows its violation.
    #[arg(long, value_name = "P")]
    loss: Option<f64>,
    /// The probability that a fair-loss link duplicates a copy (full stacks).
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    duplicate: f64,
    /// The probability that a datagram on a fair-loss link is the occasion for a forged, altered, repeated or
    /// misdirected one (full stacks). By default 0; for a mutant, the one that shows its violation.
    #[arg(long, value_name = "P")]
    tamper: Option<f64>,
    /// How many times the channel from one process to another is cut for a while, as drawn from the seed.
    #[arg(long, default_value_t = 0, value_name = "K")]
    cuts: usize,
    /// How many times a process is suspended for a while, as drawn from the seed: it runs nothing, and its timers are
    /// late.
    #[arg(long, default_value_t = 0, value_name = "K")]
    pauses: usize,
    /// An ideal failure detector never errs.
    #[arg(long)]
    accurate: bool,
    /// An ideal failure detector errs all the time, at random, in the first 600 milliseconds.
    #[arg(long, conflicts_with = "accurate")]
    storm: bool,
    /// How many bytes a second each channel carries in one direction (0: no limit), so that messages take
    /// time by their size and wait behind each other.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    bandwidth: u64,
    /// How many bytes wait on each channel at most (0: no limit). On full stacks a message that finds no room
    /// is lost; ideal links wait.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    queue: u64,
    /// How many times the stream from one process to another ends and begins anew, as drawn from the seed
    /// (ideal links): what is in flight is lost, and both ends are told.
    #[arg(long, default_value_t = 0, value_name = "K")]
    gaps: usize,
    /// A gap: 1>2@50 ends the stream from p1 to p2 at 50 milliseconds. May be repeated.
    #[arg(long, value_name = "GAP", value_parser = parse_gap)]
    gap: Vec<GivenGap>,
    /// How many processes start late, at times drawn from the seed.
    #[arg(long, default_value_t = 0, value_name = "K")]
    late: usize,
    /// A late start: 3@500 has p3 start at 500 milliseconds. May be repeated.
    #[arg(long, value_name = "START", value_parser = parse_start)]
    start: Vec<(ProcessId, Time)>,
    /// How many processes crash and start again without their memory, at times drawn from the seed (full
    /// stacks). They rejoin where the stack lets processes rejoin.
    #[arg(long, default_value_t = 0, value_name = "K")]
    restarts: usize,
    /// How many processes have a user that takes 20 milliseconds for each indication.
    #[arg(long, default_value_t = 0, value_name = "K")]
    slow: usize,
    /// How many processes ask to leave their group, at times drawn from the seed. By default none; for a mutant,
    /// as many as show its violation.
    #[arg(long, value_name = "K")]
    leaves: Option<usize>,
    /// How many pairs of processes are cut off from each other for ten seconds, while messages are large and
    /// a peer may owe the link only a little (full stacks).
    #[arg(long, default_value_t = 0, value_name = "K")]
    long_cuts: usize,
    /// A cut: 1>2@50..300 cuts the way from p1 to p2 from 50 to 300 milliseconds; 1-2@50..300 both
    /// ways; without an end (1>2@50..) for ever, and liveness is not judged. May be repeated.
    #[arg(long, value_name = "CUT", value_parser = parse_cut)]
    cut: Vec<Cuts>,
    /// Runs on the quorum system of this file (see `quorate quorums check`). All processes and channels fail
    /// that one of its patterns allows to fail; operations must return where the system says so. The file
    /// gives the number of processes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["processes", "crash"])]
    quorums: Option<PathBuf>,
    /// The failure pattern of that file to run. By default all patterns in turn, seed by seed.
    #[arg(long, value_name = "NAME", requires = "quorums")]
    pattern: Option<String>,
    /// The failures of this file (TOML): which processes crash, which channels fail in one direction, and when. Liveness
    /// is judged at the correct processes; with `--quorums`, where the quorum system promises it with these failures.
    /// The file gives the number of processes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["processes", "crash", "pattern", "restarts"])]
    failures: Option<PathBuf>,
    /// What the stack stands on: ideal links and detectors, the full stack over fair-loss links, or
    /// the full stack for every tenth seed.
    #[arg(long, default_value = "mixed", value_parser = parse_layers)]
    layers: Layers,
    /// How many messages each process broadcasts (or instances it proposes in).
    #[arg(long, default_value_t = 4)]
    requests: u64,
    #[command(flatten)]
    models: models::Models,
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    rounds: rounds::Options,
}

/// What runs: over an asynchronous network, or in synchronous rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Stack {
    Events(Subject),
    Rounds(rounds::Chosen),
}

fn parse_stack(name: &str) -> Result<Stack> {
    match name.parse() {
        Ok(chosen) => Ok(Stack::Rounds(chosen)),
        Err(_) => Ok(Stack::Events(name.parse()?)),
    }
}

/// The cut directions that one `--cut` names.
#[derive(Clone, Debug)]
struct Cuts(Vec<Cut>);

fn parse_seeds(text: &str) -> Result<Range<u64>> {
    let (first, end) = text
        .split_once("..")
        .context("seeds are given as FIRST..END")?;
    let seeds = first.parse()?..end.parse()?;
    if seeds.is_empty() {
        bail!("{text} is an empty range of seeds");
    }
    Ok(seeds)
}

fn parse_layers(text: &str) -> Result<Layers> {
    Ok(match text {
        "ideal" => Layers::Ideal,
        "full" => Layers::Full,
        "mixed" => Layers::Mixed,
        _ => bail!("layers are ideal, full or mixed"),
    })
}

fn parse_moment(text: &str) -> Result<Moment> {
    Ok(match text {
        "any" => Moment::Any,
        "output" => Moment::Output,
        _ => bail!("a process crashes at any moment or before an output"),
    })
}

fn parse_cut(text: &str) -> Result<Cuts> {
    let syntax = "a cut is given as FROM>TO@BEGIN..END or ONE-OTHER@BEGIN..END, in milliseconds";
    let (way, times) = text.split_once('@').context(syntax)?;
    let (begin, end) = times.split_once("..").context(syntax)?;
    let at = |text: &str| parse_time(text, syntax);
    let process = |text: &str| parse_process(text, syntax);
    let begin = at(begin)?;
    let end = if end.is_empty() { None } else { Some(at(end)?) };
    let cut = |from, to| Cut {
        from,
        to,
        begin,
        end,
    };
    if let Some((from, to)) = way.split_once('>') {
        return Ok(Cuts(vec![cut(process(from)?, process(to)?)]));
    }
    let (one, other) = way.split_once('-').context(syntax)?;
    let (one, other) = (process(one)?, process(other)?);
    Ok(Cuts(vec![cut(one, other), cut(other, one)]))
}

fn parse_gap(text: &str) -> Result<GivenGap> {
    let syntax = "a gap is given as FROM>TO@TIME, in milliseconds";
    let (way, at) = text.split_once('@').context(syntax)?;
    let (from, to) = way.split_once('>').context(syntax)?;
    let (from, to) = (parse_process(from, syntax)?, parse_process(to, syntax)?);
    let at = parse_time(at, syntax)?;
    Ok(GivenGap { from, to, at })
}

fn parse_start(text: &str) -> Result<(ProcessId, Time)> {
    let syntax = "a start is given as PROCESS@TIME, in milliseconds";
    let (p, at) = text.split_once('@').context(syntax)?;
    Ok((parse_process(p, syntax)?, parse_time(at, syntax)?))
}

fn parse_process(text: &str, syntax: &'static str) -> Result<ProcessId> {
    let rank = text.trim_start_matches('p').parse().context(syntax)?;
    ProcessId::from_rank(rank).context(syntax)
}

fn parse_time(text: &str, syntax: &'static str) -> Result<Time> {
    Ok(Time::ZERO + Duration::from_millis(text.parse().context(syntax)?))
}

/// The results of many seeds.
#[derive(Default)]
struct Tally {
    /// For each property, by its tag: how many seeds held, violated it, or left it unknown.
    verdicts: Vec<(String, [u64; 3])>,
    runs: BTreeMap<String, u64>,
    messages: u64,
    datagrams: u64,
    truncated: u64,
    /// Independent of the order in which seeds end.
    hash: u64,
    violation: Option<(u64, Violation)>,
    violated: u64,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: &SeedResult) {
        let report = &outcome.report;
        for (place, (tag, verdict)) in report.verdicts.iter().enumerate() {
            if self.verdicts.len() <= place {
                self.verdicts.push((tag.clone(), [0; 3]));
            }
            let column = match verdict {
                Verdict::Holds => 0,
                Verdict::Violated(_) => 1,
                Verdict::Unknown => 2,
            };
            self.verdicts[place].1[column] += 1;
        }
        *self.runs.entry(outcome.layers.to_string()).or_default() += 1;
        self.messages += report.counts.messages;
        self.datagrams += report.counts.datagrams;
        self.truncated += u64::from(!report.completion.complete);
        self.hash = self.hash.wrapping_add(fold(seed, report.hash));
        if let Some(violation) = report.violation() {
            self.violated += 1;
            if self
                .violation
                .as_ref()
                .is_none_or(|(first, _)| seed < *first)
            {
                self.violation = Some((seed, violation.clone()));
            }
        }
    }

    /// Whether the verdict on some property is unknown in some run.
    fn is_unknown(&self) -> bool {
        self.verdicts
            .iter()
            .any(|(_, [_, _, unknown])| *unknown > 0)
    }

    fn table(&self, elapsed: Duration) -> String {
        let mut lines = vec![format!(
            "{:<10} {:>8} {:>9} {:>8}",
            "property", "holds", "violated", "unknown"
        )];
        for (tag, [holds, violated, unknown]) in &self.verdicts {
            lines.push(format!("{tag:<10} {holds:>8} {violated:>9} {unknown:>8}"));
        }
        let runs: Vec<_> = self
            .runs
            .iter()
            .map(|(layers, count)| match layers.as_str() {
                "full" => format!("{count} on the full stack over fair-loss links"),
                _ => format!("{count} on ideal links and detectors"),
            })
            .collect();
        let count: u64 = self.runs.values().sum();
        lines.push(format!(
            "{count} seeds: {} ({:.1} s)",
            runs.join(", "),
            elapsed.as_secs_f64()
        ));
        lines.push(format!(
            "{} messages over ideal links, {} datagrams, {} truncated runs, hash of all traces {:016x}",
            self.messages, self.datagrams, self.truncated, self.hash
        ));
        lines.join("\n")
    }
}

impl Sim {
    /// Runs the seeds, on all processors.
    ///
    /// # Errors
    /// When a property is violated, or the scenario makes no sense.
    pub fn run(&self) -> Result<()> {
        match self.stack {
            Stack::Rounds(chosen) => rounds::run(self, chosen),
            Stack::Events(subject) => self.run_events(subject),
        }
    }

    fn run_events(&self, subject: Subject) -> Result<()> {
        self.rounds.ensure_none()?;
        let scenario = self.scenario(subject)?;
        scenario.validate()?;
        self.pictures.validate()?;
        if let Some(changed) = changed(subject) {
            self.pictures.say(&changed);
        }
        if let Some(promised) = scenario.promised() {
            let words =
                format!("with these failures operations are promised to return at {promised}\n");
            self.pictures.say(&words);
        }
        let begun = Instant::now();
        let tally = run_all(&scenario, &self.seeds)?;
        self.pictures.say(&tally.table(begun.elapsed()));
        let interesting = tally
            .violation
            .as_ref()
            .map_or(self.seeds.start, |(seed, _)| *seed);
        if self.pictures.are_wanted() {
            let outcome = scenario.run(interesting, true)?;
            self.pictures.draw(&Caption {
                title: format!(
                    "{}, {} processes, seed {interesting}",
                    subject, scenario.processes
                ),
                seed: interesting,
                processes: scenario.processes,
                outcome: &outcome,
            })?;
        }
        let Some((seed, violation)) = tally.violation else {
            // Where safety alone is judged, a run may go on for ever.
            if tally.truncated > 0 && tally.is_unknown() {
                bail!(
                    "{} runs never came to rest: liveness is unknown",
                    tally.truncated
                );
            }
            return Ok(());
        };
        let replay = scenario.command(seed);
        self.pictures
            .say(&format!("\nseed {seed}: {violation}\nreplay: {replay}"));
        bail!(
            "{} of {} seeds violate a property",
            tally.violated,
            self.seeds.end - self.seeds.start
        )
    }

    /// The quorum system of the file, if one is given.
    fn on_quorums(&self) -> Result<Option<OnQuorums>> {
        let Some(path) = &self.quorums else {
            return Ok(None);
        };
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {file}"))?;
        let quorums = OnQuorums::parse(&file, &text, self.pattern.as_deref());
        Ok(Some(quorums.with_context(|| file.clone())?))
    }

    /// The failures of the file, if one is given.
    fn given_failures(&self) -> Result<Option<GivenFailures>> {
        let Some(path) = &self.failures else {
            return Ok(None);
        };
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {file}"))?;
        let failures = GivenFailures::parse(&file, &text);
        Ok(Some(failures.with_context(|| file.clone())?))
    }

    fn scenario(&self, subject: Subject) -> Result<Scenario> {
        let mut scenario = Scenario::of(subject);
        scenario.layers = self.layers;
        scenario.quorums = self.on_quorums()?;
        scenario.failures = self.given_failures()?;
        let given = scenario.quorums.as_ref().map(|it| it.system().processes());
        let given = given.or(scenario.failures.as_ref().map(GivenFailures::processes));
        scenario.processes = given.or(self.processes).unwrap_or(scenario.processes);
        scenario.requests = self.requests;
        scenario.cuts = self.cut.iter().flat_map(|cuts| cuts.0.clone()).collect();
        let faults = &mut scenario.faults;
        faults.crashes = match self.failures {
            Some(_) => 0,
            None => self.crash.unwrap_or(faults.crashes),
        };
        faults.moment = self.crash_at.unwrap_or(faults.moment);
        faults.loss = self.loss.unwrap_or(faults.loss);
        faults.duplication = self.duplicate;
        faults.tampering = self.tamper.unwrap_or(faults.tampering);
        faults.cuts = self.cuts;
        faults.pauses = self.pauses;
        faults.accurate |= self.accurate;
        faults.storm |= self.storm;
        faults.bandwidth = self.bandwidth;
        faults.queue = self.queue;
        faults.gaps = self.gaps;
        faults.late = self.late;
        faults.restarts = self.restarts;
        faults.slow = self.slow;
        faults.leaves = self.leaves.unwrap_or(faults.leaves);
        faults.long_cuts = self.long_cuts;
        scenario.gaps.clone_from(&self.gap);
        scenario.starts.clone_from(&self.start);
        self.models.add_to(&mut scenario)?;
        Ok(scenario)
    }
}

/// What is changed in a mutant.
fn changed(subject: Subject) -> Option<String> {
    let mutant = subject.mutant?;
    let erratum = algorithms::erratum(mutant.name);
    let published = erratum.map_or(String::new(), |erratum| format!(" (published: {erratum})"));
    let (of, change, breaks) = (subject.algorithm.name, mutant.change, mutant.breaks);
    Some(format!(
        "a mutant of {of}, to break {breaks}: {change}{published}\n"
    ))
}

fn run_all(scenario: &Scenario, seeds: &Range<u64>) -> Result<Tally> {
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(seeds.start);
    let worker = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let outcome = scenario.run(seed, false)?;
            tally
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(seed, &outcome);
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a simulation panicked")))
        })
    })?;
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests;
