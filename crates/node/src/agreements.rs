//! `quorate propose` and `quorate commit`: agreement among the replicas of a running cluster.
use crate::{credentials::ForOperators, http, status};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

/// How much longer than the replica the command waits.
const GRACE: Duration = Duration::from_secs(2);

/// Proposes a value, and prints the one that was decided: the same at every replica.
#[derive(Args, Debug)]
pub struct Propose {
    #[command(flatten)]
    how: AgreementOptions,
    /// Which instance, counted from 1. Each decides once.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    instance: u64,
    /// The value that this replica proposes.
    value: String,
}

/// Votes for this replica, and prints the outcome: commit, if all replicas vote yes, or abort.
#[derive(Args, Debug)]
pub struct Commit {
    #[command(flatten)]
    how: AgreementOptions,
    /// Which instance, counted from 1. Each is decided once.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    instance: u64,
    /// The vote of this replica.
    vote: Vote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Vote {
    /// It can commit.
    Yes,
    /// It cannot.
    No,
}

impl Commit {
    /// Votes, and prints the outcome.
    pub fn run(self) -> Result<()> {
        let vote = match self.vote {
            Vote::Yes => "yes",
            Vote::No => "no",
        };
        let body = json!({ "instance": self.instance, "vote": vote });
        println!("{}", self.how.decide("/commit", body)?);
        Ok(())
    }
}

/// Where to ask, and for how long.
#[derive(Args, Debug)]
pub struct AgreementOptions {
    /// The replica's admin address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = status::ADMIN, env = "QUORATE_ADMIN")]
    admin: SocketAddr,
    #[command(flatten)]
    door: ForOperators,
    /// How long to wait for the decision, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000)]
    timeout_ms: u64,
}

impl AgreementOptions {
    /// Sends the request; gives the answer.
    pub fn ask(&self, path: &str, mut body: Value) -> Result<Value> {
        body["timeout_ms"] = json!(self.timeout_ms);
        let admin = status::reachable(self.admin);
        let limit = Duration::from_millis(self.timeout_ms).saturating_add(GRACE);
        let server = self.door.server(admin)?;
        let (code, answer) = http::ask_within(server, "POST", path, &body.to_string(), limit)?;
        if code != 200 {
            bail!("{admin} answered {code}: {}", answer.trim());
        }
        Ok(serde_json::from_str(&answer)?)
    }

    /// Sends the request; gives the answer's field `decided`.
    fn decide(&self, path: &str, body: Value) -> Result<String> {
        let answer = self.ask(path, body)?;
        let decided = answer["decided"].as_str().context("no decision")?;
        Ok(decided.to_owned())
    }
}

impl Propose {
    /// Proposes, and prints what was decided.
    pub fn run(self) -> Result<()> {
        let body = json!({ "instance": self.instance, "value": self.value });
        println!("{}", self.how.decide("/propose", body)?);
        Ok(())
    }
}
