//! Total order, in its strong form and two weaker ones, and first-in first-out order.
use super::{Properties, broadcast::family, delivered::messages, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, MessageId, ProcessId, ProcessSet, message::Origin};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// TOB1–5 (uniform) and FRB5 of the modules of this name.
pub fn total_order(processes: &Membership, module: &str) -> Properties {
    let mut properties = family("TOB", *processes, module, true);
    properties.push(Box::new(Prefix {
        watch: Watch::new(module),
        alive: processes.set(),
        positions: processes.iter().map(|p| (p, 0)).collect(),
        before: 0,
        sequence: VecDeque::new(),
    }));
    properties.push(first_in_first_out_order(module));
    properties
}

/// FRB5 of the modules of this name: messages of one origin are delivered in the order in which they
/// were broadcast, none left out.
pub fn first_in_first_out_order(module: &str) -> Box<dyn Property> {
    Box::new(FirstInFirstOut {
        watch: Watch::new(module),
        last: BTreeMap::new(),
    })
}

/// The two weaker forms of total order: `TOB5-A` (who deliver the same two messages deliver them in
/// the same order) and `TOB5-B` (who deliver the same message have delivered the same before it). They
/// separate broken algorithms, and read whole sequences at the end of a run. With `uniform`, those of
/// crashed processes too.
pub fn weak_total_order(module: &str, uniform: bool) -> Properties {
    [false, true]
        .map(|prefixes| {
            Box::new(Weak {
                prefixes,
                uniform,
                watch: Watch::new(module),
                sequences: BTreeMap::new(),
            }) as Box<dyn Property>
        })
        .into()
}

/// Of any two processes' delivery sequences, one is a prefix of the other.
struct Prefix {
    watch: Watch,
    alive: ProcessSet,
    /// How many messages each process has delivered.
    positions: BTreeMap<ProcessId, u64>,
    /// The longest sequence, without the first `before` messages, which every live process has
    /// delivered: what a process delivers is compared once, so nothing of them is needed any more.
    sequence: VecDeque<MessageId>,
    before: u64,
}

impl Prefix {
    fn deliver(&mut self, p: ProcessId, id: MessageId) -> Result<(), String> {
        let position = self.positions.entry(p).or_default();
        let index = (*position - self.before) as usize;
        match self.sequence.get(index) {
            Some(expected) if *expected != id => {
                let place = *position + 1;
                return Err(format!(
                    "{p} delivers {id} as number {place}, another {expected}"
                ));
            }
            Some(_) => {}
            None => self.sequence.push_back(id),
        }
        *position += 1;
        if index == 0 {
            self.trim();
        }
        Ok(())
    }

    fn trim(&mut self) {
        let positions = self.positions.iter();
        let alive = positions.filter(|(p, _)| self.alive.contains(**p));
        let low = alive.map(|(_, position)| *position).min();
        while self.before < low.unwrap_or(0) {
            self.sequence.pop_front();
            self.before += 1;
        }
    }
}

impl Property for Prefix {
    fn tag(&self) -> &'static str {
        "TOB5"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                let delivered = self.deliver(p, id);
                delivered.map_err(|text| violation("TOB5", record, text))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

struct FirstInFirstOut {
    watch: Watch,
    last: BTreeMap<(ProcessId, Origin), u64>,
}

impl Property for FirstInFirstOut {
    fn tag(&self) -> &'static str {
        "FRB5"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, observation)) = self.watch.indication(record, "Deliver")
            && let Some(id) = observation.message
        {
            let last = self.last.entry((p, id.origin)).or_default();
            if id.sequence != *last + 1 {
                let text = format!("{p} delivers {id} after number {last} of that origin");
                return Err(violation("FRB5", record, text));
            }
            *last += observation.count;
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

struct Weak {
    prefixes: bool,
    uniform: bool,
    watch: Watch,
    sequences: BTreeMap<ProcessId, Vec<MessageId>>,
}

impl Weak {
    /// What is wrong between two sequences, if something is.
    fn compare(&self, one: &[MessageId], other: &[MessageId]) -> Option<String> {
        let (first, second): (BTreeSet<_>, BTreeSet<_>) =
            (one.iter().collect(), other.iter().collect());
        if self.prefixes {
            let (mut before, mut common) = (BTreeSet::new(), None);
            for id in one {
                if second.contains(id) {
                    common = Some((*id, before.clone()));
                }
                before.insert(*id);
            }
            // The last common message decides: what lies before an earlier one lies before it too,
            // or the form A is broken, which B implies.
            let (last, mine) = common?;
            let theirs: BTreeSet<_> = other.iter().copied().take_while(|id| *id != last).collect();
            let missing = mine.symmetric_difference(&theirs).next()?;
            return Some(format!(
                "of two who deliver {last}, one delivers {missing} before it"
            ));
        }
        let mine = one.iter().filter(|id| second.contains(id));
        let theirs = other.iter().filter(|id| first.contains(id));
        let (a, b) = mine.zip(theirs).find(|(a, b)| a != b)?;
        Some(format!("{a} and {b} are delivered in either order"))
    }
}

impl Property for Weak {
    fn tag(&self) -> &'static str {
        if self.prefixes { "TOB5-B" } else { "TOB5-A" }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            self.sequences
                .entry(p)
                .or_default()
                .extend(messages(observation));
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let counts = |p: &ProcessId| self.uniform || completion.correct.contains(*p);
        for (p, one) in self.sequences.iter().filter(|(p, _)| counts(p)) {
            for (q, other) in self.sequences.iter().filter(|(q, _)| counts(q)) {
                if let Some(text) = self.compare(one, other) {
                    return Verdict::Violated(Violation {
                        tag: self.tag().to_owned(),
                        time: completion.time,
                        text: format!("{p}, {q}: {text}"),
                    });
                }
            }
        }
        Verdict::Holds
    }
}
