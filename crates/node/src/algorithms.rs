//! `quorate algorithms`: the entries of the laboratory.
use anyhow::Result;
use clap::Args;
use quorate_laboratory::{algorithm::Algorithm, algorithms, document, rounds};

/// Lists every algorithm: what it implements, assumes, promises and costs; or prints all about one.
#[derive(Args, Debug)]
pub struct Algorithms {
    /// The name of an algorithm, or a part of names or abstractions to search for.
    name: Option<String>,
    /// Lists the mutants instead: in each a rule is changed, or what it indicates. `quorate sim MUTANT` runs one.
    #[arg(long, conflicts_with = "json")]
    mutants: bool,
    /// Machine-readable.
    #[arg(long)]
    json: bool,
}

/// An entry, and where its properties are known to fall.
fn described(algorithm: &Algorithm) -> serde_json::Result<serde_json::Value> {
    let mut entry = serde_json::to_value(algorithm)?;
    let falls = algorithm.falls().map(serde_json::to_value);
    entry["falls"] = falls.collect::<Result<_, _>>()?;
    Ok(entry)
}

impl Algorithms {
    /// Prints the list, or the one algorithm.
    ///
    /// # Errors
    /// When nothing matches.
    pub fn run(&self) -> Result<()> {
        let (chosen, in_rounds) = self.chosen()?;
        if self.json {
            let chosen = chosen.iter().map(|algorithm| described(algorithm));
            let in_rounds = in_rounds.iter().map(serde_json::to_value);
            let all: Vec<_> = chosen.chain(in_rounds).collect::<Result<_, _>>()?;
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        if self.mutants {
            print!("{}", document::mutants(&chosen, &in_rounds));
            return Ok(());
        }
        match (chosen.as_slice(), in_rounds.as_slice()) {
            ([one], []) => print!("{}", document::describe(one)),
            ([], [one]) => print!("{}", rounds::describe(one)),
            ([], _) => print!("{}", rounds::list(&in_rounds)),
            (_, []) => print!("{}", document::list(chosen)),
            (_, _) => {
                print!("{}", document::list(chosen));
                print!("\nin synchronous rounds:\n{}", rounds::list(&in_rounds));
            }
        }
        Ok(())
    }

    fn chosen(&self) -> Result<(Vec<&'static Algorithm>, Vec<rounds::Entry>)> {
        let name = self.name.as_deref().unwrap_or_default();
        if let Some(algorithm) = algorithms::find(name) {
            return Ok((vec![algorithm], Vec::new()));
        }
        let in_rounds = rounds::ENTRIES.iter().copied();
        if let Some(entry) = in_rounds.clone().find(|entry| entry.is_called(name)) {
            return Ok((Vec::new(), vec![entry]));
        }
        let contain = |a: &&Algorithm| a.name.contains(name) || a.abstraction.contains(name);
        let chosen: Vec<_> = algorithms::all().filter(contain).collect();
        let contain = |e: &rounds::Entry| e.name.contains(name) || e.abstraction.contains(name);
        let in_rounds: Vec<_> = in_rounds.filter(contain).collect();
        if chosen.is_empty() && in_rounds.is_empty() {
            let names = algorithms::all().map(|a| a.name);
            let names: Vec<_> = names
                .chain(rounds::ENTRIES.iter().map(|entry| entry.name))
                .collect();
            anyhow::bail!(
                "nothing in the laboratory matches; it has {}",
                names.join(", ")
            );
        }
        Ok((chosen, in_rounds))
    }
}
