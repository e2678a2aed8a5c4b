//! `quorate sim`: a stack against an adversary, seed by seed.
pub mod pictures;

use anyhow::{Context, Result, bail};
use clap::Args;
use pictures::{Caption, Pictures};
use quorate_catalogue::scenario::{Cut, Layers, Outcome, Scenario, Subject};
use quorate_core::{ProcessId, Time, message::fold};
use quorate_sim::{Verdict, Violation};
use std::{
    collections::BTreeMap,
    ops::Range,
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
    /// What runs: reliable, uniform, consensus, total-order, or broken-uniform (a twin with a spoiled
    /// rule, to see a violation).
    stack: Subject,
    /// How many processes there are.
    #[arg(long, default_value_t = 3)]
    processes: usize,
    /// The seeds, as FIRST..END, the end not included.
    #[arg(long, default_value = "0..100", value_parser = parse_seeds)]
    seeds: Range<u64>,
    /// How many processes crash, at moments drawn from the seed.
    #[arg(long, default_value_t = 0, value_name = "K")]
    crash: usize,
    /// The probability that a fair-loss link loses a copy (full stacks).
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    loss: f64,
    /// The probability that a fair-loss link duplicates a copy (full stacks).
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    duplicate: f64,
    /// A cut: 1>2@50..300 cuts the way from p1 to p2 from 50 to 300 milliseconds; 1-2@50..300 both
    /// ways; without an end (1>2@50..) for ever, and liveness is not judged. May be repeated.
    #[arg(long, value_name = "CUT", value_parser = parse_cut)]
    cut: Vec<Cuts>,
    /// What the stack stands on: ideal links and detectors, the full stack over fair-loss links, or
    /// the full stack for every tenth seed.
    #[arg(long, default_value = "mixed", value_parser = parse_layers)]
    layers: Layers,
    /// How many messages each process broadcasts (or instances it proposes in).
    #[arg(long, default_value_t = 4)]
    requests: u64,
    #[command(flatten)]
    pictures: Pictures,
}

/// The directions of one `--cut`.
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

fn layers_name(layers: Layers) -> &'static str {
    match layers {
        Layers::Ideal => "ideal",
        Layers::Full => "full",
        Layers::Mixed => "mixed",
    }
}

fn parse_cut(text: &str) -> Result<Cuts> {
    let syntax = "a cut is given as FROM>TO@BEGIN..END or ONE-OTHER@BEGIN..END, in milliseconds";
    let (way, times) = text.split_once('@').context(syntax)?;
    let (begin, end) = times.split_once("..").context(syntax)?;
    let at = |text: &str| -> Result<Time> {
        Ok(Time::ZERO + Duration::from_millis(text.parse().context(syntax)?))
    };
    let process = |text: &str| -> Result<ProcessId> {
        ProcessId::from_rank(text.trim_start_matches('p').parse().context(syntax)?).context(syntax)
    };
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

/// What many seeds came to.
#[derive(Default)]
struct Tally {
    /// By tag, in the order of the properties: held, violated, unknown.
    verdicts: Vec<(String, [u64; 3])>,
    runs: BTreeMap<&'static str, u64>,
    messages: u64,
    datagrams: u64,
    truncated: u64,
    /// Independent of the order in which seeds end.
    hash: u64,
    violation: Option<(u64, Violation)>,
    violated: u64,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
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
        *self.runs.entry(layers_name(outcome.layers)).or_default() += 1;
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
            .map(|(layers, count)| match *layers {
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
        let scenario = self.scenario();
        scenario.validate()?;
        self.pictures.validate()?;
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
                    self.stack, self.processes
                ),
                seed: interesting,
                processes: self.processes,
                outcome: &outcome,
            })?;
        }
        let Some((seed, violation)) = tally.violation else {
            if tally.truncated > 0 {
                bail!(
                    "{} runs never came to rest: liveness is unknown",
                    tally.truncated
                );
            }
            return Ok(());
        };
        let replay = self.replay(seed);
        self.pictures
            .say(&format!("\nseed {seed}: {violation}\nreplay: {replay}"));
        bail!(
            "{} of {} seeds violate a property",
            tally.violated,
            self.seeds.end - self.seeds.start
        )
    }

    fn scenario(&self) -> Scenario {
        Scenario {
            subject: self.stack,
            layers: self.layers,
            processes: self.processes,
            crashes: self.crash,
            loss: self.loss,
            duplication: self.duplicate,
            cuts: self.cut.iter().flat_map(|cuts| cuts.0.clone()).collect(),
            requests: self.requests,
        }
    }

    /// The command that runs this seed again, and draws it.
    fn replay(&self, seed: u64) -> String {
        let mut words = vec![
            format!("quorate sim {} --processes {}", self.stack, self.processes),
            format!("--seeds {seed}..{} --crash {}", seed + 1, self.crash),
            format!(
                "--requests {} --layers {}",
                self.requests,
                layers_name(self.layers.of(seed))
            ),
        ];
        if self.loss > 0.0 {
            words.push(format!("--loss {}", self.loss));
        }
        if self.duplicate > 0.0 {
            words.push(format!("--duplicate {}", self.duplicate));
        }
        for cut in self.scenario().cuts {
            let milliseconds = |time: Time| time.as_nanos() / 1_000_000;
            let end = cut
                .end
                .map_or(String::new(), |end| milliseconds(end).to_string());
            let (from, to) = (cut.from.rank(), cut.to.rank());
            words.push(format!(
                "--cut '{from}>{to}@{}..{end}'",
                milliseconds(cut.begin)
            ));
        }
        words.push("--diagram".to_owned());
        words.join(" ")
    }
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
mod tests {
    use super::*;

    fn sim(stack: Subject, crash: usize) -> Sim {
        Sim {
            stack,
            processes: 3,
            seeds: 0..200,
            crash,
            loss: 0.0,
            duplicate: 0.0,
            cut: Vec::new(),
            layers: Layers::Ideal,
            requests: 4,
            pictures: Pictures::default(),
        }
    }

    #[test]
    fn a_violation_is_an_error_and_a_sound_algorithm_is_not() {
        assert!(sim(Subject::Uniform, 1).run().is_ok());
        assert!(sim(Subject::UniformOnOneAck, 1).run().is_err());
        assert!(
            sim(Subject::Uniform, 2).run().is_err(),
            "a majority must live"
        );
    }

    #[test]
    fn the_order_of_seeds_does_not_matter() {
        let scenario = sim(Subject::TotalOrder, 1).scenario();
        let hash = || run_all(&scenario, &(0..20)).unwrap().hash;
        assert_eq!(hash(), hash());
    }

    #[test]
    fn cuts_are_read_and_written_back() {
        let Cuts(both) = parse_cut("1-p2@50..300").unwrap();
        assert_eq!(both.len(), 2);
        let mut sim = sim(Subject::Uniform, 0);
        sim.cut = vec![parse_cut("1>3@50..").unwrap()];
        assert!(sim.replay(7).contains("--seeds 7..8"));
        assert!(sim.replay(7).contains("--cut '1>3@50..'"));
        for bad in ["", "1>2", "1>2@x..3", "12@1..2", "0>1@1..2"] {
            assert!(parse_cut(bad).is_err(), "{bad}");
        }
        assert!(parse_seeds("5..5").is_err());
    }
}
