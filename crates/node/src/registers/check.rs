//! `quorate registers check`: whether a recorded history is linearizable.
use anyhow::{Context, Result, bail};
use clap::Args;
use quorate_histories::{Action, History, Operation, linearizable, tags, text};
use std::{fmt, path::PathBuf};

/// Recorded bytes, with a readable form for errors.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Word(Vec<u8>);

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Says whether a recorded history is linearizable and, if all operations have tags, whether these follow
/// real time; exits with 1 if not.
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
        println!("{}", verdict(&readable(history))?);
        Ok(())
    }
}

/// The same history with readable values. Values that differ stay different.
fn readable(history: text::Recorded) -> History<Word, Word> {
    let word = |bytes: &Vec<u8>| Word(bytes.clone());
    let mut readable = History::default();
    for (register, operations) in history.registers() {
        for operation in operations {
            let action = match &operation.action {
                Action::Read(value) => Action::Read(value.as_ref().map(word)),
                Action::Write(value) => Action::Write(word(value)),
            };
            let operation = Operation {
                process: operation.process,
                action,
                invoked: operation.invoked,
                returned: operation.returned,
                tag: operation.tag,
            };
            readable.push(word(register), operation);
        }
    }
    readable
}

/// The verdict in words.
fn verdict(history: &History<Word, Word>) -> Result<String> {
    let (operations, registers) = (history.len(), history.registers().count());
    if let Err(violation) = linearizable::check(history) {
        bail!("not linearizable: {violation}");
    }
    let mut returned = history
        .registers()
        .flat_map(|(_, operations)| operations)
        .filter(|operation| operation.returned.is_some())
        .peekable();
    let tagged = returned.peek().is_some() && returned.all(|operation| operation.tag.is_some());
    if tagged {
        for (register, operations) in history.registers() {
            if let Err(violation) = tags::check(operations) {
                bail!("linearizable, but the tags of {register:?} are wrong: {violation}");
            }
        }
    }
    let tags = if tagged {
        "; their tags follow real time"
    } else {
        ""
    };
    Ok(format!(
        "linearizable: {operations} operations on {registers} registers{tags}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        let history = text::parse(text).unwrap();
        verdict(&readable(history)).map_err(|error| error.to_string())
    }

    #[test]
    fn bytes_that_look_alike_are_different() {
        let read = |byte: &str| {
            of(&format!(
                "1 p1 invoke write \"x\" \"\\xFE\"\n2 p1 ok write \"x\"\n\
                 3 p2 invoke read \"x\"\n4 p2 ok read \"x\" \"\\x{byte}\"\n"
            ))
        };
        assert_eq!(
            read("FE").unwrap(),
            "linearizable: 2 operations on 1 registers"
        );
        let told = read("FF").unwrap_err();
        assert!(told.starts_with("not linearizable: \"x\""), "{told}");
        assert!(told.contains("\\xff"), "{told}");
    }

    #[test]
    fn tags_are_checked_where_all_have_some() {
        let history = |first: &str, second: &str| {
            of(&format!(
                "1 p1 invoke write \"x\" \"a\"\n2 p1 ok write \"x\" \"a\"{first}\n\
                 3 p2 invoke write \"x\" \"b\"\n4 p2 ok write \"x\" \"b\"{second}\n"
            ))
        };
        let told = history(" 1.1", " 2.2").unwrap();
        assert!(told.ends_with("; their tags follow real time"), "{told}");
        let told = history(" 2.1", " 1.2").unwrap_err();
        assert!(told.contains("the tags of \"x\" are wrong"), "{told}");
        assert!(!history(" 2.1", "").unwrap().contains("tags"));
    }
}
