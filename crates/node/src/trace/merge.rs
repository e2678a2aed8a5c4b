//! Merges the traces of several processes into one. No copy arrives before it is sent; otherwise the order is
//! that of the clocks.
use super::line::{Head, Line, LineKind, Seen, Side};
use anyhow::{Context, Result, ensure};
use quorate_core::{Name, Observation, ProcessId, Time, observe::Role};
use quorate_sim::{Kind, ModuleNumber, Record};
use std::collections::{BTreeMap, BTreeSet};

/// The most labels that a trace may have. More of them, or longer ones, cannot come from a program.
const MOST_LABELS: usize = 1000;
const LONGEST_LABEL: usize = 64;

/// What one process recorded.
pub struct Recorded {
    pub head: Head,
    /// The records, in order.
    pub lines: Vec<Line>,
}

/// A copy: its sender, its receiver, the lane, and its sequence number.
type CopyKey<'a> = (usize, usize, &'a str, u64);

/// A send that was recorded.
struct Sent<'a> {
    message: u64,
    label: &'a str,
    digest: u64,
    emitted: bool,
}

/// The records of all processes, from the time since which every process remembers, but not before `since`.
///
/// # Errors
/// When the lines are not those of a trace.
pub fn merge(traces: &[Recorded], since: u64) -> Result<Vec<Record>> {
    let remembered = traces.iter().filter(|trace| trace.head.forgotten > 0);
    let since = remembered
        .filter_map(|trace| Some(trace.lines.first()?.at))
        .fold(since, u64::max);
    let mut merger = Merger::new(traces, since);
    while let Some(place) = merger.next() {
        merger.emit(place)?;
    }
    Ok(merger.records)
}

struct Merger<'a> {
    /// The records that are left of each process, with its rank.
    left: Vec<(usize, &'a [Line])>,
    sent: BTreeMap<CopyKey<'a>, Sent<'a>>,
    messages: u64,
    labels: BTreeSet<&'static str>,
    modules: BTreeMap<(usize, &'a str), usize>,
    begun: u64,
    records: Vec<Record>,
}

impl<'a> Merger<'a> {
    fn new(traces: &'a [Recorded], since: u64) -> Self {
        let left: Vec<_> = traces
            .iter()
            .map(|trace| {
                let first = trace.lines.partition_point(|line| line.at < since);
                (trace.head.process, &trace.lines[first..])
            })
            .collect();
        let begun = left.iter().filter_map(|(_, lines)| Some(lines.first()?.at));
        let mut merger = Merger {
            begun: begun.min().unwrap_or(0),
            sent: BTreeMap::new(),
            messages: 0,
            labels: BTreeSet::new(),
            modules: BTreeMap::new(),
            records: Vec::new(),
            left: Vec::new(),
        };
        for (process, lines) in &left {
            for line in *lines {
                merger.note_send(*process, line);
            }
        }
        merger.left = left;
        merger
    }

    fn note_send(&mut self, process: usize, line: &'a Line) {
        if let LineKind::Send {
            to,
            number,
            label,
            digest,
        } = &line.what
        {
            self.messages += 1;
            let sent = Sent {
                message: self.messages,
                label,
                digest: *digest,
                emitted: false,
            };
            self.sent.insert((process, *to, &line.name, *number), sent);
        }
    }

    /// The index of the process whose record comes next: the one with the earliest clock among those that do
    /// not wait for a send. If all wait, the traces contradict each other, and the clocks alone decide.
    fn next(&self) -> Option<usize> {
        let heads = self.left.iter().enumerate();
        let heads = heads.filter_map(|(place, (process, lines))| {
            let line = lines.first()?;
            Some((self.waits(*process, line), line.at, place))
        });
        heads.min().map(|(_, _, place)| place)
    }

    /// Whether this line is the arrival of a copy whose sending has not been merged yet.
    fn waits(&self, process: usize, line: &'a Line) -> bool {
        self.sending(process, line)
            .is_some_and(|sent| !sent.emitted)
    }

    /// The sending of the copy that arrives: the one with the same number, if it carries the same payload.
    fn sending(&self, process: usize, line: &'a Line) -> Option<&Sent<'a>> {
        let LineKind::Receive {
            from,
            number,
            digest,
        } = &line.what
        else {
            return None;
        };
        let sent = self
            .sent
            .get(&(*from, process, line.name.as_str(), *number));
        sent.filter(|sent| sent.digest == *digest)
    }

    fn emit(&mut self, place: usize) -> Result<()> {
        let (process, lines) = self.left[place];
        let Some((line, rest)) = lines.split_first() else {
            return Ok(());
        };
        self.left[place].1 = rest;
        let kind = self.kind(process, line)?;
        let module = kind.observation().is_some().then(|| {
            let count = self.modules.len();
            let number = self.modules.entry((process, &line.name)).or_insert(count);
            ModuleNumber(*number)
        });
        self.records.push(Record {
            index: self.records.len() as u64,
            time: Time::from_nanos(line.at.saturating_sub(self.begun)),
            process: process_of(process)?,
            module,
            name: Name::from(line.name.as_str()),
            kind,
        });
        Ok(())
    }

    fn kind(&mut self, process: usize, line: &'a Line) -> Result<Kind> {
        Ok(match &line.what {
            LineKind::Event(seen) => Kind::Event(self.observation(seen)?),
            LineKind::Effect(seen) => Kind::Effect(self.observation(seen)?),
            LineKind::Send {
                to,
                number,
                label,
                digest,
            } => {
                let label = self.label(label)?;
                let sent = self
                    .sent
                    .get_mut(&(process, *to, line.name.as_str(), *number));
                let message = sent.map_or(0, |sent| {
                    sent.emitted = true;
                    sent.message
                });
                Kind::Send {
                    message,
                    to: process_of(*to)?,
                    label,
                    digest: *digest,
                }
            }
            LineKind::Receive { from, digest, .. } => {
                let known = self.sending(process, line).filter(|sent| sent.emitted);
                let known = known.map(|sent| (sent.message, sent.label));
                let (message, label) = match known {
                    Some((message, label)) => (message, self.label(label)?),
                    // The copy was sent before the first remembered record.
                    None => (0, ""),
                };
                Kind::Receive {
                    message,
                    from: process_of(*from)?,
                    label,
                    digest: *digest,
                }
            }
        })
    }

    fn observation(&mut self, seen: &Seen) -> Result<Observation> {
        let role = match seen.role {
            Side::Request => Role::Request,
            Side::Indication => Role::Indication,
            Side::Internal => Role::Internal,
        };
        let mut observation = Observation::new(role, self.label(&seen.label)?);
        observation.instance = seen.instance;
        observation.message = seen.message;
        observation.count = seen.count;
        observation.peer = seen.peer.map(process_of).transpose()?;
        observation.digest = seen.digest;
        Ok(observation)
    }

    /// A copy of the label that is never freed: the program draws one picture and ends.
    fn label(&mut self, label: &str) -> Result<&'static str> {
        if let Some(known) = self.labels.get(label) {
            return Ok(known);
        }
        let fits = label.len() <= LONGEST_LABEL && self.labels.len() < MOST_LABELS;
        ensure!(fits, "a trace with so many or so long labels is none");
        let kept: &'static str = Box::leak(label.to_owned().into_boxed_str());
        self.labels.insert(kept);
        Ok(kept)
    }
}

fn process_of(rank: usize) -> Result<ProcessId> {
    ProcessId::from_rank(rank).with_context(|| format!("there is no process {rank}"))
}

#[cfg(test)]
mod tests;
