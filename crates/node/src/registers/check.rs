//! `quorate registers check`: whether a recorded history is linearizable.
use anyhow::{Context, Result, bail};
use clap::Args;
use quorate_histories::{History, Operation, linearizable, text};
use std::path::PathBuf;

/// Says whether a recorded history is linearizable; exits with 1 if not.
#[derive(Args, Debug)]
pub struct Check {
    /// The history, in the text format of docs/histories.md.
    file: PathBuf,
}

impl Check {
    /// Prints the verdict. An error if the history is not linearizable, or cannot be read.
    pub fn run(self) -> Result<()> {
        let name = self.file.display();
        let text = std::fs::read_to_string(&self.file);
        let text = text.with_context(|| format!("cannot read {name}"))?;
        let history = text::parse(&text).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        verdict(&named(history))
    }
}

/// The same history, with names and values that people can read.
fn named(history: text::Recorded) -> History<String, String> {
    let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut named = History::default();
    for (register, operations) in history.registers() {
        for operation in operations {
            let action = match &operation.action {
                quorate_histories::Action::Read(value) => {
                    quorate_histories::Action::Read(value.as_deref().map(word))
                }
                quorate_histories::Action::Write(value) => {
                    quorate_histories::Action::Write(word(value))
                }
            };
            let operation = Operation {
                process: operation.process,
                action,
                invoked: operation.invoked,
                returned: operation.returned,
                tag: operation.tag,
            };
            named.push(word(register), operation);
        }
    }
    named
}

/// Prints what is found.
pub fn verdict(history: &History<String, String>) -> Result<()> {
    let (operations, registers) = (history.len(), history.registers().count());
    match linearizable::check(history) {
        Ok(()) => {
            println!("linearizable: {operations} operations on {registers} registers");
            Ok(())
        }
        Err(violation) => bail!("not linearizable: {violation}"),
    }
}
