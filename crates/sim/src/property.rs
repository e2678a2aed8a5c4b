//! Properties as incremental observers: safety at every step, liveness at completion.
use crate::trace::Record;
use quorate_core::{Name, Observation, ProcessId, ProcessSet, Time};
use std::fmt;

/// The violation of a property.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{tag} is violated at {time}: {text}")]
pub struct Violation {
    /// The property's textbook tag.
    pub tag: String,
    /// When it was found.
    pub time: Time,
    /// The error, in words.
    pub text: String,
}

/// A property's verdict on a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Holds,
    /// The property does not hold.
    Violated(Violation),
    /// The run does not show it: it was truncated, or the environment broke the property's assumption.
    Unknown,
}

impl Verdict {
    /// Whether the property was broken.
    pub fn is_violated(&self) -> bool {
        matches!(self, Verdict::Violated(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds => f.write_str("holds"),
            Verdict::Violated(violation) => violation.fmt(f),
            Verdict::Unknown => f.write_str("unknown"),
        }
    }
}

/// The end of a run, for the judgement of liveness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    pub time: Time,
    /// The processes that never crashed, and never omitted a message.
    pub correct: ProcessSet,
    /// Whether faults are over and only background activity is left.
    pub complete: bool,
    /// Whether, at the end, some link was cut or some process paused. Then the links were not perfect, and
    /// liveness cannot be judged.
    pub severed: bool,
}

impl Completion {
    /// The verdict on a liveness property: `broken` says in words what is missing, if anything. In a
    /// truncated run something good may still happen, or cease, so that the verdict is unknown.
    pub fn judge(&self, tag: &str, broken: Option<String>) -> Verdict {
        match broken {
            _ if !self.complete || self.severed => Verdict::Unknown,
            None => Verdict::Holds,
            Some(text) => Verdict::Violated(Violation {
                tag: tag.to_owned(),
                time: self.time,
                text,
            }),
        }
    }
}

/// A property that watches a run.
pub trait Property: Send {
    /// The textbook tag, such as `URB4`.
    fn tag(&self) -> &str;

    /// Sees one record.
    ///
    /// # Errors
    /// When the record breaks the property.
    fn observe(&mut self, record: &Record) -> Result<(), Violation>;

    /// Judges the run at its end.
    fn finish(&mut self, completion: &Completion) -> Verdict;
}

/// Selects the module that a property watches: by its full path or its last segment.
#[derive(Clone, Debug)]
pub struct Watch {
    name: Name,
    /// For each module number, whether the module is watched, if that was looked up.
    known: Vec<Option<bool>>,
}

impl Watch {
    /// Watches the modules whose full path or last segment is `name`.
    pub fn new(name: &str) -> Self {
        Watch {
            name: Name::from(name),
            known: Vec::new(),
        }
    }

    /// Whether the record is from a watched module.
    pub fn sees(&mut self, record: &Record) -> bool {
        let Some(module) = record.module else {
            return false;
        };
        if self.known.len() <= module.0 {
            self.known.resize(module.0 + 1, None);
        }
        *self.known[module.0].get_or_insert_with(|| {
            record.name == self.name || record.name.last() == self.name.as_str()
        })
    }

    /// The request with this label that the record shows, and the process that made it.
    pub fn request<'r>(
        &mut self,
        record: &'r Record,
        label: &str,
    ) -> Option<(ProcessId, &'r Observation)> {
        let observation = record.kind.request().filter(|o| o.label == label)?;
        self.sees(record).then_some((record.process, observation))
    }

    /// The indication with this label that the record shows, and its process.
    pub fn indication<'r>(
        &mut self,
        record: &'r Record,
        label: &str,
    ) -> Option<(ProcessId, &'r Observation)> {
        let observation = record.kind.indication().filter(|o| o.label == label)?;
        self.sees(record).then_some((record.process, observation))
    }
}
