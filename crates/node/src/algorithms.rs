//! `quorate algorithms`: the catalogue.
use anyhow::Result;
use clap::Args;
use quorate_catalogue::algorithms::{ALGORITHMS, Algorithm, Kind};
use std::fmt::Write;

/// Lists every algorithm: what it implements, assumes, promises and costs.
#[derive(Args, Debug)]
pub struct Algorithms {
    /// Only algorithms whose name or abstraction contains this.
    filter: Option<String>,
    /// Machine-readable.
    #[arg(long)]
    json: bool,
}

impl Algorithms {
    /// Prints the list.
    pub fn run(&self) -> Result<()> {
        let matches = |a: &&Algorithm| {
            let filter = self.filter.as_deref().unwrap_or_default();
            a.name.contains(filter) || a.abstraction.contains(filter)
        };
        let chosen: Vec<&Algorithm> = ALGORITHMS.iter().filter(matches).collect();
        if chosen.is_empty() {
            let names: Vec<_> = ALGORITHMS.iter().map(|a| a.name).collect();
            anyhow::bail!(
                "nothing in the catalogue matches; it has {}",
                names.join(", ")
            );
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&chosen)?);
            return Ok(());
        }
        for algorithm in chosen {
            println!("{}", describe(algorithm)?);
        }
        Ok(())
    }
}

fn describe(algorithm: &Algorithm) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "{} — {}", algorithm.name, algorithm.abstraction)?;
    writeln!(
        text,
        "  model     {}; survives {}",
        algorithm.model, algorithm.bound
    )?;
    writeln!(text, "  over      {}", algorithm.over.join(", "))?;
    if let Some(cost) = algorithm.cost {
        writeln!(
            text,
            "  cost      {} messages, {} steps",
            cost.messages, cost.steps
        )?;
    }
    if algorithm.rate != "none" {
        writeln!(text, "  rate      {}", algorithm.rate)?;
    }
    writeln!(text, "  memory    {}", algorithm.memory)?;
    writeln!(text, "  source    {}", algorithm.source)?;
    for property in algorithm.properties {
        let kind = match property.kind {
            Kind::Safety => "safety",
            Kind::Liveness => "liveness",
        };
        writeln!(text, "  {:<9} {} ({kind})", property.tag, property.says)?;
    }
    Ok(text)
}
