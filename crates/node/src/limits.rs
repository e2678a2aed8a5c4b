//! `quorate limits`: what cannot be had, as runs.
use anyhow::{Result, bail, ensure};
use clap::{Args, FromArgMatches, Subcommand};
use quorate_limits::{
    critical_section, flp,
    lower_bound::{self, Events, Families},
    rounds, two_components, two_servers,
    undecided::{self, Rotating, Size, Tossing},
};
use std::{fs, path::PathBuf};

/// Shows an impossibility result as runs, and says which property breaks.
///
/// Exit status 0 only if exactly what the result states has broken. Without a name, lists the results.
#[derive(Args, Debug)]
pub struct Limits {
    #[command(subcommand)]
    limit: Option<Limit>,
    /// Draws the run into this file.
    #[arg(long, global = true, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Limit {
    /// No deterministic protocol decides in every asynchronous run, if one process may crash.
    Flp {
        /// How many stages the run is kept bivalent. In each, the message that has waited longest is delivered.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
        stages: u32,
    },
    /// A fair adversary holds consensus by a rotating coordinator undecided, as long as it likes.
    Undecided {
        /// How many coordinators are suspected just in time, until the adversary stops.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rounds: u32,
        /// How many processes there are.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
        processes: u8,
        /// Every message arrives within so many steps.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
        bound: u32,
        /// The seed of the latencies.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// No lock gives a critical section that is safe and live, if a client may be faulty.
    CriticalSection {
        /// The length of the lease, in milliseconds.
        #[arg(long, default_value_t = 100, value_name = "MS",
              value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
        lease: u64,
    },
    /// Consensus takes f + 1 rounds: one algorithm of f rounds breaks, and no other can do better.
    Rounds,
    /// Two servers, of which one may omit messages, cannot replicate a state machine.
    TwoServers {
        /// How many servers there are, in two groups of the same size. With an odd number, majorities are
        /// run, and nothing must break.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=100))]
        servers: u8,
    },
    /// Without a generalized quorum system there are no shared objects: one that keeps liveness loses safety,
    /// and one that keeps safety loses liveness.
    LowerBound,
    /// Where operations return, paths must lead from everybody to everybody: else lattice agreement loses safety or
    /// liveness.
    TwoComponents,
    /// All of them, one after the other.
    All,
}

/// What a run shows.
struct Shown {
    text: String,
    svg: String,
    /// How it differs from what the result states.
    unexpected: Vec<String>,
}

impl Limits {
    /// Prints the runs.
    ///
    /// # Errors
    /// When something else breaks than what is stated, or nothing does; or when a picture cannot be written.
    pub fn run(&self) -> Result<()> {
        let Some(limit) = &self.limit else {
            ensure!(self.svg.is_none(), "--svg draws one result: name it");
            list();
            return Ok(());
        };
        if let Limit::All = limit {
            ensure!(self.svg.is_none(), "--svg draws one result: name it");
            return run_all();
        }
        let shown = limit.show()?;
        println!("{}", shown.text.trim_end());
        if let Some(path) = &self.svg {
            fs::write(path, &shown.svg)?;
        }
        shown.judge()
    }
}

impl Shown {
    fn judge(&self) -> Result<()> {
        if !self.unexpected.is_empty() {
            bail!("not what the result states: {}", self.unexpected.join("; "));
        }
        Ok(())
    }
}

/// The verbs, with the first line of their help.
fn verbs() -> Vec<(String, String)> {
    let command = Limits::augment_args(clap::Command::new("limits"));
    let verbs = command.get_subcommands();
    let line = |verb: &clap::Command| {
        let about = verb.get_about().map(ToString::to_string);
        (verb.get_name().to_owned(), about.unwrap_or_default())
    };
    verbs.map(line).collect()
}

fn list() {
    for (name, about) in verbs() {
        println!("quorate limits {name:<17} {about}");
    }
}

/// Shows each result with its default options.
fn run_all() -> Result<()> {
    let mut unexpected = Vec::new();
    for (name, _) in verbs().into_iter().filter(|(name, _)| name != "all") {
        println!("=== {name}");
        let command = Limits::augment_args(clap::Command::new("limits").no_binary_name(true));
        let matches = command.try_get_matches_from([&name])?;
        let limit = Limit::from_arg_matches(&matches)?;
        let shown = limit.show()?;
        println!("{}\n", shown.text.trim_end());
        unexpected.extend(shown.unexpected);
    }
    let (text, svg) = (String::new(), String::new());
    Shown {
        text,
        svg,
        unexpected,
    }
    .judge()
}

impl Limit {
    fn show(&self) -> Result<Shown> {
        match self {
            Limit::Flp { stages } => show_flp(*stages as usize),
            Limit::Undecided {
                rounds,
                processes,
                bound,
                seed,
            } => show_undecided(Size {
                processes: usize::from(*processes),
                seed: *seed,
                bound: *bound,
                rounds: u64::from(*rounds),
            }),
            Limit::CriticalSection { lease } => Ok(show_critical_section(*lease)),
            Limit::Rounds => show_rounds(),
            Limit::TwoServers { servers } => show_two_servers(usize::from(*servers)),
            Limit::LowerBound => show_lower_bound(),
            Limit::TwoComponents => show_two_components(),
            Limit::All => bail!("one result at a time"),
        }
    }
}

fn show_flp(stages: usize) -> Result<Shown> {
    let shown = flp::show(stages)?;
    Ok(Shown {
        text: shown.text(),
        svg: shown.svg(),
        unexpected: shown.unexpected(),
    })
}

fn show_undecided(size: Size) -> Result<Shown> {
    let shown = undecided::show(&Rotating, &Tossing, size)?;
    Ok(Shown {
        text: shown.text(),
        svg: shown.svg(),
        unexpected: shown.unexpected(),
    })
}

fn show_critical_section(lease: u64) -> Shown {
    let shown = critical_section::show(lease);
    Shown {
        text: shown.text(),
        svg: shown.svg(),
        unexpected: shown.unexpected(),
    }
}

fn show_rounds() -> Result<Shown> {
    let shown = rounds::show()?;
    Ok(Shown {
        text: shown.text(),
        svg: shown.svg(),
        unexpected: shown.unexpected(),
    })
}

fn show_two_servers(servers: usize) -> Result<Shown> {
    let protocols: &[_] = if servers.is_multiple_of(2) {
        &two_servers::Protocol::ALL
    } else {
        &[two_servers::Protocol::Majority]
    };
    let (mut texts, mut unexpected, mut svg) = (Vec::new(), Vec::new(), String::new());
    for protocol in protocols {
        let shown = two_servers::show(*protocol, servers)?;
        texts.push(shown.text());
        unexpected.extend(shown.unexpected());
        if svg.is_empty() {
            svg = shown.svg();
        }
    }
    ensure!(!texts.is_empty(), "no protocol was run");
    Ok(Shown {
        text: texts.join("\n"),
        svg,
        unexpected,
    })
}

fn show_lower_bound() -> Result<Shown> {
    let (mut texts, mut unexpected, mut svg) = (Vec::new(), Vec::new(), String::new());
    for (families, events, must) in [
        (Families::Inconsistent, Events::Merged, "LA1"),
        (Families::Unavailable, Events::F, "LA4"),
    ] {
        let shown = lower_bound::run(families, events)?;
        texts.push(shown.text());
        let broken = shown.broken().unwrap_or_default();
        if broken != must {
            unexpected.push(format!("`{broken}` breaks, and must be {must}"));
        }
        if svg.is_empty() {
            svg = shown.svg();
        }
    }
    Ok(Shown {
        text: texts.join("\n"),
        svg,
        unexpected,
    })
}

fn show_two_components() -> Result<Shown> {
    let shown = two_components::show()?;
    Ok(Shown {
        text: shown.text(),
        svg: shown.svg(),
        unexpected: shown.unexpected(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs what stands on this command line.
    fn run(line: &str) -> Result<()> {
        let command = Limits::augment_args(clap::Command::new("limits").no_binary_name(true));
        let words = line.split_whitespace();
        let matches = command.try_get_matches_from(words)?;
        Limits::from_arg_matches(&matches)?.run()
    }

    #[test]
    fn each_limit_shows_what_it_states() {
        for line in [
            "",
            "all",
            "flp --stages 3",
            "undecided --processes 5 --bound 1 --rounds 10",
            "critical-section --lease 1",
            "critical-section --lease 86400000",
            "two-servers --servers 3",
            "two-servers --servers 4",
        ] {
            run(line).unwrap_or_else(|error| panic!("`{line}`: {error}"));
        }
    }

    #[test]
    fn a_list_has_a_line_for_each() {
        let verbs = verbs();
        let names: Vec<_> = verbs.iter().map(|(name, _)| &name[..]).collect();
        let expected = [
            "flp",
            "undecided",
            "critical-section",
            "rounds",
            "two-servers",
            "lower-bound",
            "two-components",
            "all",
        ];
        assert_eq!(names, expected);
        assert!(verbs.iter().all(|(_, about)| !about.is_empty()));
    }

    #[test]
    fn what_is_not_as_stated_is_an_error() {
        let (text, svg) = (String::new(), String::new());
        let unexpected = vec!["no horn broke".to_owned()];
        let shown = Shown {
            text,
            svg,
            unexpected,
        };
        let error = shown.judge().unwrap_err().to_string();
        assert_eq!(error, "not what the result states: no horn broke");
    }

    #[test]
    fn a_picture_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "rounds",
            "flp",
            "undecided",
            "critical-section",
            "two-components",
        ] {
            let path = folder.path().join(format!("{name}.svg"));
            run(&format!("{name} --svg {}", path.display())).unwrap();
            assert!(fs::read_to_string(path).unwrap().starts_with("<svg"));
        }
        for line in ["--svg x.svg", "all --svg x.svg"] {
            assert!(run(line).is_err(), "{line}");
        }
    }
}
