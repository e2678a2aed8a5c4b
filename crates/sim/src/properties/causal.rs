//! Causal order, and the collection of the causal past.
use super::{
    Properties,
    broadcast::family,
    delivered::{Delivered, messages},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, MessageId, Observation, ProcessId, ProcessSet};
use std::collections::{BTreeMap, VecDeque};

/// CRB1–5 of the modules of this name: the uniform form if `uniform`, else the regular one.
pub fn causal(processes: &Membership, module: &str, uniform: bool) -> Properties {
    let mut properties = family("CRB", *processes, module, uniform);
    properties.push(Box::new(CausalOrder {
        watch: Watch::new(module),
        alive: processes.set(),
        delivered: vec![vec![0; processes.n()]; processes.n()],
        requests: vec![(0, VecDeque::new()); processes.n()],
    }));
    properties
}

/// GC1 and GC2 of the modules of this name, whose causal past is collected. `GC1` (safety): an entry
/// leaves the past only if every process whose crash was not reported here has delivered it. `GC2`
/// (liveness): in the end the past of every correct process is empty.
///
/// Such a module has an internal effect `Collect` whenever an entry leaves its past; its message is the
/// entry's, and its digest is how many entries are left. It handles the detector's reports as events `Crash`.
pub fn collected_past(processes: &Membership, module: &str) -> Properties {
    let everybody = processes.set();
    vec![
        Box::new(CollectedAfterDelivery {
            watch: Watch::new(module),
            unreported: processes.iter().map(|p| (p, everybody)).collect(),
            delivered: Delivered::default(),
        }),
        Box::new(EmptyPast {
            watch: Watch::new(module),
            requested: BTreeMap::new(),
            delivered: Delivered::default(),
            collected: Delivered::default(),
            left: BTreeMap::new(),
        }),
    ]
}

/// No process delivers a message before all messages that precede it.
///
/// A request records its direct predecessors: the messages that the requester has delivered, and its own
/// earlier requests. A delivery is checked only against the direct predecessors of its message, because
/// theirs were checked when they were delivered at the same process: so all chains are covered.
///
/// Counts represent sets. The k-th request of a process has its first k − 1 requests among its predecessors;
/// so, up to the first violation, the messages that a process has delivered of an origin have no gap.
struct CausalOrder {
    watch: Watch,
    alive: ProcessSet,
    /// For each process and origin, how many of the origin's messages the process has delivered.
    delivered: Vec<Vec<u64>>,
    /// For each origin, the predecessors of those requests that some live process may still deliver, and how
    /// many requests came before them.
    requests: Vec<(u64, VecDeque<Vec<u64>>)>,
}

impl CausalOrder {
    fn request(&mut self, p: ProcessId) {
        let mut predecessors = self.delivered[p.index()].clone();
        let (before, requests) = &mut self.requests[p.index()];
        predecessors[p.index()] = *before + requests.len() as u64;
        requests.push_back(predecessors);
    }

    /// A message that was never requested, or is delivered again, violates another property.
    fn deliver(&mut self, p: ProcessId, id: MessageId) -> Result<(), String> {
        let origin = id.origin.process;
        let (Some(delivered), Some((before, requests))) = (
            self.delivered.get_mut(p.index()),
            self.requests.get_mut(origin.index()),
        ) else {
            return Ok(());
        };
        let index = id.sequence.checked_sub(*before + 1);
        let Some(predecessors) = index.and_then(|index| requests.get(index as usize)) else {
            return Ok(());
        };
        if id.sequence <= delivered[origin.index()] {
            return Ok(());
        }
        let counts = delivered.iter().zip(predecessors);
        let missing = counts.enumerate().find(|(_, (mine, needed))| mine < needed);
        if let Some((rank, (mine, _))) = missing.map(|(index, pair)| (index + 1, pair)) {
            let predecessor = mine + 1;
            let why = if rank == origin.rank() {
                "which came before".to_owned()
            } else {
                format!("which {origin} had delivered before")
            };
            return Err(format!(
                "{p} delivers {id} before p{rank}.{predecessor}, {why}"
            ));
        }
        delivered[origin.index()] = id.sequence;
        self.trim(origin);
        Ok(())
    }

    /// Forgets the requests of an origin that every live process has delivered.
    fn trim(&mut self, origin: ProcessId) {
        let counts = self.alive.iter();
        let counts = counts.map(|p| self.delivered[p.index()][origin.index()]);
        let low = counts.min().unwrap_or(u64::MAX);
        let (before, requests) = &mut self.requests[origin.index()];
        while *before < low && requests.pop_front().is_some() {
            *before += 1;
        }
    }
}

impl Property for CausalOrder {
    fn tag(&self) -> &'static str {
        "CRB5"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, _)) = self.watch.request(record, "Broadcast") {
            self.request(p);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                let delivered = self.deliver(p, id);
                delivered.map_err(|text| violation("CRB5", record, text))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// The message that has just left the past of a watched module, and how many entries are left there.
fn collected(watch: &mut Watch, record: &Record) -> Option<(MessageId, u64)> {
    let Kind::Effect(observation) = &record.kind else {
        return None;
    };
    let id = observation.message.filter(|_| is_collect(observation))?;
    watch.sees(record).then_some((id, observation.digest))
}

fn is_collect(observation: &Observation) -> bool {
    observation.label == "Collect"
}

/// An entry leaves the past only once every process not known to have crashed has delivered it.
struct CollectedAfterDelivery {
    watch: Watch,
    /// For each process, the processes whose crash was not reported to it.
    unreported: BTreeMap<ProcessId, ProcessSet>,
    delivered: Delivered,
}

impl CollectedAfterDelivery {
    fn collect(&self, p: ProcessId, id: MessageId) -> Result<(), String> {
        let mut alive = self
            .unreported
            .get(&p)
            .into_iter()
            .flat_map(|set| set.iter());
        match alive.find(|q| !self.delivered.contains(*q, id)) {
            Some(q) => Err(format!("{p} collects {id}, which {q} has not delivered")),
            None => Ok(()),
        }
    }
}

impl Property for CollectedAfterDelivery {
    fn tag(&self) -> &'static str {
        "GC1"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Kind::Event(observation) = &record.kind
            && observation.label == "Crash"
            && let Some(q) = observation.peer
            && self.watch.sees(record)
        {
            let unreported = self.unreported.get_mut(&record.process);
            unreported.map(|set| set.remove(q));
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                self.delivered.insert(p, id);
            }
        } else if let Some((id, _)) = collected(&mut self.watch, record) {
            let allowed = self.collect(record.process, id);
            allowed.map_err(|text| violation("GC1", record, text))?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// In the end, no message that a correct process has broadcast or delivered is left in its past.
struct EmptyPast {
    watch: Watch,
    requested: BTreeMap<ProcessId, u64>,
    delivered: Delivered,
    collected: Delivered,
    /// How many entries were left after the last collection.
    left: BTreeMap<ProcessId, u64>,
}

impl Property for EmptyPast {
    fn tag(&self) -> &'static str {
        "GC2"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, _)) = self.watch.request(record, "Broadcast") {
            *self.requested.entry(p).or_default() += 1;
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            for id in messages(observation) {
                self.delivered.insert(p, id);
            }
        } else if let Some((id, left)) = collected(&mut self.watch, record) {
            self.collected.insert(record.process, id);
            self.left.insert(record.process, left);
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let broken = completion.correct.iter().find_map(|p| {
            let missing = self.delivered.beyond(&self.collected, p);
            let requested = self.requested.get(&p).copied().unwrap_or(0);
            let own = self.collected.low_of(p, p);
            let left = self.left.get(&p).copied().unwrap_or(0);
            match missing {
                Some(id) => Some(format!("{p} never collects {id}")),
                None if own < requested => Some(format!("{p} never collects {p}.{}", own + 1)),
                None if left > 0 => Some(format!("{left} entries stay in the past of {p}")),
                None => None,
            }
        });
        completion.judge("GC2", broken)
    }
}
