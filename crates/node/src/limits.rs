//! `quorate limits`: what cannot be had, as runs.
use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use quorate_limits::{
    lower_bound::{self, Events, Families},
    rounds, two_servers,
};
use std::{fs, path::PathBuf};

/// Shows an impossibility result as runs, and says which property breaks.
///
/// Exit status 0 only if exactly what the result states has broken.
#[derive(Args, Debug)]
pub struct Limits {
    #[command(subcommand)]
    limit: Limit,
    /// Draws the run into this file.
    #[arg(long, global = true, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Limit {
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
        let shown = match &self.limit {
            Limit::Rounds => show_rounds()?,
            Limit::TwoServers { servers } => show_two_servers(usize::from(*servers))?,
            Limit::LowerBound => show_lower_bound()?,
        };
        println!("{}", shown.text.trim_end());
        if let Some(path) = &self.svg {
            fs::write(path, &shown.svg)?;
        }
        if !shown.unexpected.is_empty() {
            bail!(
                "not what the result states: {}",
                shown.unexpected.join("; ")
            );
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(limit: Limit) -> Result<()> {
        Limits { limit, svg: None }.run()
    }

    #[test]
    fn each_limit_shows_what_it_states() {
        run(Limit::Rounds).unwrap();
        for servers in [2, 3, 4] {
            run(Limit::TwoServers { servers }).unwrap();
        }
        run(Limit::LowerBound).unwrap();
    }

    #[test]
    fn a_picture_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rounds.svg");
        let svg = Some(path.clone());
        let limit = Limit::Rounds;
        Limits { limit, svg }.run().unwrap();
        assert!(fs::read_to_string(path).unwrap().starts_with("<svg"));
    }
}
