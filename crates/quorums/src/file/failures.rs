//! What fails in one run, and when, in TOML.
//!
//! ```toml
//! processes = ["a", "b", "c", "d"]   # or a number: p1 … pn
//!
//! [[failure]]
//! at = 20                            # milliseconds after the start; 0 if it is left out
//! crash = ["d"]
//! disconnect = ["b>c", "a<>c"]       # for good: what is sent from then on is lost
//!
//! [[failure]]
//! at = 30
//! until = 90                         # the channels carry nothing for a while; what is sent meanwhile waits
//! disconnect = ["c>b"]
//! ```
//!
//! Names and channels are written as in [quorum-system files](super). Every error names the line.
use super::{BadFile, Processes, Reader, form, names};
use crate::system::Pattern;
use quorate_core::{Membership, ProcessId, ProcessSet};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use toml::Spanned;

/// Nothing fails later than this, in milliseconds: a day after the start.
const LATEST: u64 = 24 * 60 * 60 * 1000;

/// One direction of a channel that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelFailure {
    pub from: ProcessId,
    pub to: ProcessId,
    pub at: Duration,
    /// When it works again; `None`: never.
    pub until: Option<Duration>,
}

/// What fails in one run, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failures {
    pub processes: Membership,
    /// The names of p1 … pn.
    pub names: Vec<String>,
    /// The processes that crash.
    pub crashes: BTreeMap<ProcessId, Duration>,
    /// In the order of the file.
    pub channels: Vec<ChannelFailure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    processes: Spanned<Processes>,
    #[serde(default)]
    failure: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: Option<Spanned<u64>>,
    until: Option<Spanned<u64>>,
    #[serde(default)]
    crash: Vec<Spanned<String>>,
    #[serde(default)]
    disconnect: Vec<Spanned<String>>,
}

/// Reads a file.
///
/// # Errors
/// When it does not have the form, or makes no sense: a process is unknown, a time is impossible, something fails twice.
/// The error says in which line.
pub fn parse(text: &str) -> Result<Failures, BadFile> {
    let file: File = toml::from_str(text).map_err(|error| {
        let what = error.message().replace('\n', " ");
        form(text, error.span().unwrap_or_default(), what)
    })?;
    let place = file.processes.span();
    let at_processes = |error: BadFile| form(text, place.clone(), error.to_string());
    let names = names(file.processes.into_inner()).map_err(at_processes)?;
    let processes = Membership::of_size(names.len());
    let processes = processes.map_err(|error| form(text, place.clone(), error.to_string()))?;
    let reader = Reader { names, processes };
    let mut failures = Failures {
        processes,
        names: Vec::new(),
        crashes: BTreeMap::new(),
        channels: Vec::new(),
    };
    for written in file.failure {
        failures.add(written, &reader, text)?;
    }
    failures.names = reader.names;
    Ok(failures)
}

impl Failures {
    fn add(
        &mut self,
        written: Spanned<Written>,
        reader: &Reader,
        text: &str,
    ) -> Result<(), BadFile> {
        let place = written.span();
        let Written {
            at,
            until,
            crash,
            disconnect,
        } = written.into_inner();
        if crash.is_empty() && disconnect.is_empty() {
            return Err(form(
                text,
                place,
                "nothing fails here: name whom to `crash`, or what to `disconnect`",
            ));
        }
        let begin = at.map_or(Ok(Duration::ZERO), |at| time("at", &at, text))?;
        let end = until
            .as_ref()
            .map(|until| time("until", until, text))
            .transpose()?;
        if let (Some(end), Some(until)) = (end, until) {
            if end <= begin {
                let what = format!("`until` is {}, and must be after `at`", until.as_ref());
                return Err(form(text, until.span(), what));
            }
            if !crash.is_empty() {
                return Err(form(
                    text,
                    until.span(),
                    "a crash is for good: `until` is for channels alone",
                ));
            }
        }
        for name in crash {
            let place = name.span();
            let process = reader.process(name.as_ref());
            let process = process.map_err(|error| form(text, place.clone(), error.to_string()))?;
            if self.crashes.insert(process, begin).is_some() {
                return Err(form(
                    text,
                    place,
                    format!("`{}` crashes twice", name.as_ref()),
                ));
            }
        }
        for channel in disconnect {
            let place = channel.span();
            let ways = reader.channel(channel.as_ref());
            let ways = ways.map_err(|error| form(text, place.clone(), error.to_string()))?;
            for (from, to) in ways {
                let failure = ChannelFailure {
                    from,
                    to,
                    at: begin,
                    until: end,
                };
                if self.channels.iter().any(|other| other.overlaps(&failure)) {
                    let what = format!("`{}` fails while it has failed already", channel.as_ref());
                    return Err(form(text, place, what));
                }
                self.channels.push(failure);
            }
        }
        Ok(())
    }

    /// The processes and channels that fail for good, whenever they do.
    pub fn pattern(&self) -> Pattern {
        let mut disconnect = vec![ProcessSet::EMPTY; self.processes.n()];
        for failure in self.channels.iter().filter(|it| it.until.is_none()) {
            disconnect[failure.from.index()].insert(failure.to);
        }
        Pattern {
            name: "the failures of the file".to_owned(),
            crash: self.crashes.keys().copied().collect(),
            disconnect,
        }
    }
}

impl ChannelFailure {
    /// Whether both are of the same direction of a channel, at a common time.
    fn overlaps(&self, other: &ChannelFailure) -> bool {
        let before =
            |one: &ChannelFailure, two: &ChannelFailure| one.until.is_some_and(|end| end <= two.at);
        (self.from, self.to) == (other.from, other.to)
            && !before(self, other)
            && !before(other, self)
    }
}

fn time(name: &str, milliseconds: &Spanned<u64>, text: &str) -> Result<Duration, BadFile> {
    match *milliseconds.as_ref() {
        late if late > LATEST => {
            let what =
                format!("`{name}` is {late}: later than a day, which is {LATEST} milliseconds");
            Err(form(text, milliseconds.span(), what))
        }
        early => Ok(Duration::from_millis(early)),
    }
}

#[cfg(test)]
mod tests;
