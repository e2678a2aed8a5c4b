//! `quorate algorithms`: the entries of the laboratory.
use anyhow::Result;
use clap::Args;
use quorate_laboratory::{algorithm::Algorithm, algorithms, document};

/// Lists every algorithm: what it implements, assumes, promises and costs; or prints all about one.
#[derive(Args, Debug)]
pub struct Algorithms {
    /// The name of an algorithm, or a part of names or abstractions to search for.
    name: Option<String>,
    /// Machine-readable.
    #[arg(long)]
    json: bool,
}

impl Algorithms {
    /// Prints the list, or the one algorithm.
    ///
    /// # Errors
    /// When nothing matches.
    pub fn run(&self) -> Result<()> {
        let chosen = self.chosen()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&chosen)?);
        } else if let [one] = chosen.as_slice() {
            print!("{}", document::describe(one));
        } else {
            print!("{}", document::list(chosen));
        }
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<&'static Algorithm>> {
        let name = self.name.as_deref().unwrap_or_default();
        if let Some(algorithm) = algorithms::find(name) {
            return Ok(vec![algorithm]);
        }
        let contain = |a: &&Algorithm| a.name.contains(name) || a.abstraction.contains(name);
        let chosen: Vec<_> = algorithms::all().filter(contain).collect();
        if chosen.is_empty() {
            let names: Vec<_> = algorithms::all().map(|a| a.name).collect();
            anyhow::bail!(
                "nothing in the laboratory matches; it has {}",
                names.join(", ")
            );
        }
        Ok(chosen)
    }
}
