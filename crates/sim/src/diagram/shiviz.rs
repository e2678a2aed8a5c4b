//! A trace as a log that ShiViz reads.
//!
//! Each event takes two lines: its process and vector clock, and its text. ShiViz reads the log with the
//! expression that it offers first, `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`.
use super::choice::{Choice, Wishes};
use crate::trace::{Kind, Record, Trace};
use quorate_core::{Observation, observe::Role};
use std::{collections::BTreeMap, fmt::Write};

/// Writes traces as logs with vector clocks.
///
/// Each shown event adds one to its process's own entry of the clock, and the arrival of a copy merges the
/// clock of its sending. Losses and duplications are no process's events.
#[derive(Clone, Default, Debug)]
pub struct ShiViz {
    wishes: Wishes,
}

impl ShiViz {
    /// Shows heartbeats too.
    #[must_use]
    pub fn heartbeats(mut self) -> Self {
        self.wishes.heartbeats = true;
        self
    }

    /// Shows the datagrams of fair-loss links too.
    #[must_use]
    pub fn datagrams(mut self) -> Self {
        self.wishes.datagrams = true;
        self
    }

    /// Shows the requests and indications of all modules, not only of those on top.
    #[must_use]
    pub fn modules(mut self) -> Self {
        self.wishes.modules = true;
        self
    }

    /// Writes the records of a trace at `n` processes.
    pub fn write(&self, trace: &Trace, n: usize) -> String {
        let choice = Choice::of(trace, self.wishes);
        let mut log = Log {
            clocks: vec![vec![0; n]; n],
            causes: vec![None; n],
            sent: BTreeMap::new(),
            out: String::new(),
        };
        for record in trace.records() {
            if record.process.index() >= n {
                continue;
            }
            if let Kind::Effect(observation) = &record.kind
                && observation.role == Role::Internal
            {
                log.causes[record.process.index()] = Some(*observation);
            }
            if choice.shows(record) {
                log.add(record);
            }
        }
        log.out
    }
}

/// A log being written.
struct Log {
    clocks: Vec<Vec<u64>>,
    /// For each process, the effect that causes the next sends.
    causes: Vec<Option<Observation>>,
    /// The clock and the text of each send.
    sent: BTreeMap<u64, (Vec<u64>, String)>,
    out: String,
}

impl Log {
    fn add(&mut self, record: &Record) {
        let words = match &record.kind {
            Kind::Event(o) | Kind::Effect(o) => format!("{} {o}", record.name),
            Kind::Send {
                message, to, label, ..
            } => {
                let words = self.words(record, label);
                self.tick(record);
                let clock = self.clocks[record.process.index()].clone();
                self.sent.insert(*message, (clock, words.clone()));
                return self.write(record, &format!("send {words} to {to}"));
            }
            Kind::Receive {
                message,
                from,
                label,
                ..
            } => {
                let words = self.take_in(record, *message);
                let words = words.unwrap_or_else(|| format!("{} {label}", record.name));
                format!("receive {words} from {from}")
            }
            Kind::Drop { .. } | Kind::Duplicate { .. } => return,
            Kind::Crash => "crash".to_owned(),
            Kind::Pause => "pause".to_owned(),
            Kind::Resume => "resume".to_owned(),
            Kind::Start => "start".to_owned(),
            Kind::Cut { to } => format!("cut off from {to}"),
            Kind::Heal { to } => format!("reaches {to} again"),
            Kind::End { to } => format!("stream to {to} ended"),
            Kind::Gap { from } => format!("gap from {from}"),
            Kind::Begin { to } => format!("stream to {to} begun"),
        };
        self.tick(record);
        self.write(record, &words);
    }

    /// The lane and the content, as text.
    fn words(&self, record: &Record, label: &str) -> String {
        let cause = self.causes[record.process.index()].filter(|cause| cause.label == label);
        match cause {
            Some(cause) => {
                let cause = Observation {
                    peer: None,
                    ..cause
                };
                format!("{} {cause}", record.name)
            }
            None => format!("{} {label}", record.name),
        }
    }

    fn tick(&mut self, record: &Record) {
        let p = record.process.index();
        self.clocks[p][p] += 1;
    }

    /// Merges the clock of a send, and returns its text.
    fn take_in(&mut self, record: &Record, message: u64) -> Option<String> {
        let (sent, words) = self.sent.get(&message)?;
        let clock = &mut self.clocks[record.process.index()];
        for (mine, theirs) in clock.iter_mut().zip(sent) {
            *mine = (*mine).max(*theirs);
        }
        Some(words.clone())
    }

    fn write(&mut self, record: &Record, words: &str) {
        let clock = &self.clocks[record.process.index()];
        let entries: Vec<_> = (1..)
            .zip(clock)
            .filter(|(_, count)| **count > 0)
            .map(|(rank, count)| format!("\"p{rank}\":{count}"))
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            self.out,
            "{} {{{}}}\n{words}",
            record.process,
            entries.join(", ")
        );
    }
}
