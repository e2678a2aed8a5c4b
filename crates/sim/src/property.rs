//! Properties as incremental observers: safety at every step, liveness at completion.
use crate::trace::Record;
use quorate_core::{Name, Observation, ProcessId, ProcessSet, Time};
use std::fmt;

/// A property was broken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{tag} is violated at {time}: {text}")]
pub struct Violation {
    /// The property's textbook tag.
    pub tag: String,
    /// When it was found.
    pub time: Time,
    /// What is wrong, in words.
    pub text: String,
}

/// What a property says of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Holds,
    /// It does not.
    Violated(Violation),
    /// The run does not tell: it was truncated, or the environment broke the property's assumption.
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

/// How a run ended, for the judgement of liveness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    pub time: Time,
    /// The processes that never crashed.
    pub correct: ProcessSet,
    /// Whether faults are over and nothing but background activity is left.
    pub complete: bool,
    /// Whether, at the end, some link was cut or some process paused: the links were not perfect,
    /// and liveness cannot be judged.
    pub severed: bool,
}

impl Completion {
    /// The verdict on a liveness property: `broken` says in words what is missing, if something is.
    /// Of a truncated run it is never known that something good will not still happen, or stay.
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
    /// By module number: whether it is watched, as far as looked up.
    known: Vec<Option<bool>>,
}

impl Watch {
    /// The modules of that path, or whose last segment it is.
    pub fn new(name: &str) -> Self {
        Watch {
            name: Name::from(name),
            known: Vec::new(),
        }
    }

    /// Whether the record is of a watched module.
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

    /// The request with this label that the record shows, and who made it.
    pub fn request<'r>(
        &mut self,
        record: &'r Record,
        label: &str,
    ) -> Option<(ProcessId, &'r Observation)> {
        let observation = record.kind.request().filter(|o| o.label == label)?;
        self.sees(record).then_some((record.process, observation))
    }

    /// The indication with this label that the record shows, and whose it is.
    pub fn indication<'r>(
        &mut self,
        record: &'r Record,
        label: &str,
    ) -> Option<(ProcessId, &'r Observation)> {
        let observation = record.kind.indication().filter(|o| o.label == label)?;
        self.sees(record).then_some((record.process, observation))
    }
}
