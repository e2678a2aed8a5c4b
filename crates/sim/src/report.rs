//! The result of a run.
use crate::{
    property::{Completion, Verdict, Violation},
    state::{Core, Observer},
};
use quorate_core::Name;
use std::fmt;

/// The copies sent, and their fates. Messages to oneself are not counted; messages to crashed processes are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Copies sent over perfect links.
    pub messages: u64,
    /// The same, by lane.
    pub by_lane: Vec<(Name, u64)>,
    /// Copies sent over perfect and fair-loss links, by process.
    pub by_process: Vec<u64>,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Datagrams sent over fair-loss links.
    pub datagrams: u64,
    /// Copies that were lost.
    pub lost: u64,
    /// Additional arrivals of duplicated copies.
    pub duplicated: u64,
}

impl Counts {
    pub(crate) fn of(core: &Core) -> Self {
        let by_lane: Vec<_> = core
            .network
            .lanes()
            .map(|(name, count)| (name.clone(), count))
            .collect();
        Counts {
            messages: by_lane.iter().map(|(_, count)| count).sum(),
            by_lane,
            by_process: core.network.ends.iter().map(|ends| ends.sent).collect(),
            heartbeats: core.network.beats,
            datagrams: core.network.datagrams,
            lost: core.network.lost,
            duplicated: core.network.duplicated,
        }
    }

    /// Copies sent in the lanes of that path, or below it.
    pub fn below(&self, path: &str) -> u64 {
        let within = |name: &Name| {
            name.as_str()
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let lanes = self.by_lane.iter().filter(|(name, _)| within(name));
        lanes.map(|(_, count)| count).sum()
    }
}

/// The result of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The seed of the world.
    pub seed: u64,
    /// How it ended.
    pub completion: Completion,
    /// The verdict of each property, by tag, in the order in which they were given to the world.
    pub verdicts: Vec<(String, Verdict)>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// How many records the trace has, kept or not.
    pub events: u64,
    /// How many steps the world took.
    pub steps: u64,
    /// Copies sent.
    pub counts: Counts,
}

impl Report {
    /// The verdict on the property with this tag.
    pub fn verdict(&self, tag: &str) -> Option<&Verdict> {
        let mut verdicts = self.verdicts.iter();
        verdicts.find(|(t, _)| t == tag).map(|(_, verdict)| verdict)
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.verdicts.iter().find_map(|(_, verdict)| match verdict {
            Verdict::Violated(violation) => Some(violation),
            Verdict::Holds | Verdict::Unknown => None,
        })
    }

    /// Whether every property certainly holds.
    pub fn all_hold(&self) -> bool {
        let mut verdicts = self.verdicts.iter();
        verdicts.all(|(_, verdict)| *verdict == Verdict::Holds)
    }

    /// For tests: asserts that every property certainly holds.
    ///
    /// # Panics
    /// When one does not.
    #[track_caller]
    pub fn assert_all_hold(&self) {
        assert!(self.all_hold(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.completion.complete {
            "complete"
        } else {
            "truncated"
        };
        writeln!(
            f,
            "seed {}, {end} at {}, {} messages, trace hash {:016x}",
            self.seed, self.completion.time, self.counts.messages, self.hash
        )?;
        for (tag, verdict) in &self.verdicts {
            writeln!(f, "{tag}: {verdict}")?;
        }
        Ok(())
    }
}

impl Observer {
    pub(crate) fn verdict(&mut self, completion: &Completion) -> (String, Verdict) {
        let verdict = match &self.violation {
            Some(violation) => Verdict::Violated(violation.clone()),
            None => self.property.finish(completion),
        };
        (self.property.tag().to_owned(), verdict)
    }
}
