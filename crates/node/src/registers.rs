//! `quorate registers`: shared memory of a running cluster, and recorded histories of it.
mod check;
mod load;

use crate::agreements::AgreementOptions;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Shared memory of a running cluster.
#[derive(Args, Debug)]
pub struct Registers {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Prints the value of a register; nothing, if it was never written.
    Read {
        #[command(flatten)]
        how: AgreementOptions,
        /// The register.
        key: String,
    },
    /// Writes a register. Two dashes go before a value that begins with one: `write k -- -5`.
    Write {
        #[command(flatten)]
        how: AgreementOptions,
        /// The register.
        key: String,
        /// The value.
        value: String,
    },
    /// Prints the segments of all replicas as of one moment.
    Snapshot {
        #[command(flatten)]
        how: AgreementOptions,
        /// The value to give to this replica's segment before the scan.
        #[arg(long)]
        update: Option<String>,
    },
    /// Adds to a set that only grows, and prints what is in it: of any two answers one contains the other.
    Join {
        #[command(flatten)]
        how: AgreementOptions,
        /// The elements to add; without any, only print the set.
        elements: Vec<String>,
    },
    /// Reads and writes a store concurrently, and records the history.
    Load(load::Load),
    /// Says whether a recorded history is linearizable.
    Check(check::Check),
}

impl Registers {
    /// Runs the subcommand, and prints its result.
    pub fn run(self) -> Result<()> {
        match self.verb {
            Verb::Read { how, key } => {
                let answer = how.ask("/registers/read", json!({ "register": key }))?;
                if let Some(value) = answer["value"].as_str() {
                    println!("{value}");
                }
                Ok(())
            }
            Verb::Write { how, key, value } => {
                let body = json!({ "register": key, "value": value });
                how.ask("/registers/write", body)?;
                println!("written");
                Ok(())
            }
            Verb::Snapshot { how, update } => {
                let answer = how.ask("/registers/snapshot", json!({ "update": update }))?;
                let segments = answer["segments"].as_array().context("no segments")?;
                for (rank, segment) in (1..).zip(segments) {
                    println!("{}", line(rank, segment));
                }
                Ok(())
            }
            Verb::Join { how, elements } => {
                let answer = how.ask("/registers/join", json!({ "elements": elements }))?;
                let elements = answer["elements"].as_array().context("no elements")?;
                for element in elements.iter().filter_map(Value::as_str) {
                    println!("{element}");
                }
                Ok(())
            }
            Verb::Load(load) => load.run(),
            Verb::Check(check) => check.run(),
        }
    }
}

fn line(rank: usize, segment: &Value) -> String {
    match segment["value"].as_str() {
        Some(value) => format!("p{rank} {} {value}", segment["sequence"]),
        None => format!("p{rank} 0"),
    }
}
