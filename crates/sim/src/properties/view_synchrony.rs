//! View synchrony: views, and the messages delivered in them.
use super::{
    Properties,
    broadcast::{no_creation, no_duplication},
    delivered_in_views,
    group_membership::{self, Joins, view},
    leaving::leaving,
    uniform_in_views, violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{
    Membership, MessageId, Observation, ProcessId, ProcessSet, message::Origin, observe::Role,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// VS1–9, VS11 and VS12 of the modules of this name, where no process joins.
///
/// A request made while its process is blocked is broadcast in the next view, and one for which there is no
/// room may be, too. So the view in which a message was broadcast is known only from its deliveries,
/// including that of its origin, which must agree. It is not before the view that the origin was in when it
/// made the request, or the next one if it was blocked.
pub fn view_synchrony(processes: &Membership, module: &str) -> Properties {
    family(processes, module, Joins::Never)
}

/// The same and UVS9: uniform agreement in each view.
pub fn uniform_view_synchrony(processes: &Membership, module: &str) -> Properties {
    let mut properties = view_synchrony(processes, module);
    let agreement = uniform_in_views::uniform_agreement("UVS9", processes, module);
    properties.push(agreement);
    properties
}

/// VS1–12 of the modules of this name, where processes are excluded and join again.
///
/// The messages that a newcomer is told between its state and its view complete the state: they were
/// broadcast in the view before. Views have increasing identifiers (VS2), and their members need not have
/// been in the view before; in the end each correct process is in the last view, or was told that it is not
/// (VS5).
pub fn view_synchrony_with_joins(processes: &Membership, module: &str) -> Properties {
    let mut properties = family(processes, module, Joins::Allowed);
    let returned: Box<dyn Property> = Box::new(Returned {
        watch: Watch::new(module),
        alive: processes.set(),
        present: BTreeMap::new(),
        passed: BTreeMap::new(),
        outside: BTreeMap::new(),
        restored: ProcessSet::EMPTY,
    });
    // It comes before VS11 and VS12.
    properties.insert(properties.len() - 2, returned);
    properties
}

fn family(processes: &Membership, module: &str, joins: Joins) -> Properties {
    let mut properties: Properties = vec![Box::new(Inclusion {
        watch: Watch::new(module),
        alive: processes.set(),
        present: BTreeMap::new(),
        completing: BTreeMap::new(),
        messages: BTreeMap::new(),
        forgotten: BTreeMap::new(),
        asked: ProcessSet::EMPTY,
        blocked: ProcessSet::EMPTY,
        requests: BTreeMap::new(),
    })];
    let views = ["VS2", "VS3", "VS4", "VS5"];
    properties.extend(group_membership::family(views, *processes, module, joins));
    properties.push(delivered_in_views::validity("VS6", processes, module));
    properties.push(no_duplication("VS7", module));
    properties.push(no_creation("VS8", *processes, module));
    properties.push(delivered_in_views::agreement("VS9", processes, module));
    properties.extend(leaving(["VS11", "VS12"], processes, module, joins));
    properties
}

/// A message is delivered in the view in which it was broadcast, at every process.
struct Inclusion {
    watch: Watch,
    alive: ProcessSet,
    /// The last view of each process.
    present: BTreeMap<ProcessId, u64>,
    /// The processes that have got a state and no view since, and the view in which the messages told since
    /// then were broadcast.
    completing: BTreeMap<ProcessId, Option<u64>>,
    /// The messages that some live process has not delivered: their view, and the processes that have
    /// delivered them.
    messages: BTreeMap<MessageId, (u64, ProcessSet)>,
    /// For each origin, the last forgotten message and its view: earlier messages were not broadcast in a
    /// later view.
    forgotten: BTreeMap<Origin, (u64, u64)>,
    /// The processes that were asked to block, and have installed no view since.
    asked: ProcessSet,
    /// Those of them that have answered, and those that are outside: their requests are for the next view.
    blocked: ProcessSet,
    /// The requests of each process.
    requests: BTreeMap<ProcessId, Requests>,
}

/// The requests of a process.
#[derive(Default)]
struct Requests {
    count: u64,
    /// Numbers of requests, and the first view in which they may be broadcast, and all after them up to the
    /// next number.
    earliest: VecDeque<(u64, u64)>,
}

impl Requests {
    fn push(&mut self, earliest: u64) {
        self.count += 1;
        if self
            .earliest
            .back()
            .is_none_or(|(_, last)| *last < earliest)
        {
            self.earliest.push_back((self.count, earliest));
        }
    }

    /// The first view in which the request of this number may be broadcast.
    fn earliest(&self, number: u64) -> u64 {
        let mut earlier = self.earliest.iter().rev();
        let known = earlier.find(|(first, _)| *first <= number);
        known.map_or(0, |(_, earliest)| *earliest)
    }

    /// Forgets what says nothing about views from this one on.
    fn forget(&mut self, view: u64) {
        while self
            .earliest
            .get(1)
            .is_some_and(|(_, earliest)| *earliest <= view)
        {
            self.earliest.pop_front();
        }
    }
}

impl Inclusion {
    /// A process that has crashed may start again, and then number its requests anew: they are not counted.
    fn request(&mut self, p: ProcessId) {
        if !self.alive.contains(p) {
            return;
        }
        let earliest = match self.present.get(&p) {
            Some(view) => view + u64::from(self.blocked.contains(p)),
            None => 0,
        };
        self.requests.entry(p).or_default().push(earliest);
    }

    /// The error in this delivery, if there is one.
    fn deliver(&mut self, p: ProcessId, id: MessageId, here: u64) -> Option<String> {
        let present = match self.completing.get_mut(&p) {
            Some(view) => Some(*view.get_or_insert(here)),
            None => self.present.get(&p).copied(),
        };
        if present != Some(here) {
            return Some(format!(
                "{p} delivers {id} in {here}, and is in {present:?}"
            ));
        }
        let requests = self.requests.get(&id.origin.process);
        let earliest = requests.map_or(0, |requests| requests.earliest(id.sequence));
        if here < earliest {
            return Some(format!(
                "{p} delivers {id} in {here}, and it was requested for {earliest}"
            ));
        }
        if let Some((last, view)) = self.forgotten.get(&id.origin)
            && id.sequence <= *last
            && here > *view
        {
            return Some(format!(
                "{p} delivers {id} in {here}, another in {view} or before"
            ));
        }
        let (view, by) = self.messages.entry(id).or_insert((here, ProcessSet::EMPTY));
        by.insert(p);
        let (view, by) = (*view, *by);
        if view != here {
            return Some(format!("{p} delivers {id} in {here}, another in {view}"));
        }
        if self.alive.is_subset(by) {
            self.messages.remove(&id);
            let last = self.forgotten.entry(id.origin).or_insert((0, view));
            *last = (*last).max((id.sequence, view));
        }
        None
    }

    /// Forgets the messages of views that every live process has left.
    fn trim(&mut self) {
        let last = |p| self.present.get(&p).copied();
        let Some(passed) = self.alive.iter().map(last).min().flatten() else {
            return;
        };
        for requests in self.requests.values_mut() {
            requests.forget(passed);
        }
        let gone = self.messages.iter().filter(|(_, (view, _))| *view < passed);
        for (id, (view, _)) in gone {
            let last = self.forgotten.entry(id.origin).or_insert((0, *view));
            *last = (*last).max((id.sequence, *view));
        }
        self.messages.retain(|_, (view, _)| *view >= passed);
    }
}

impl Property for Inclusion {
    fn tag(&self) -> &'static str {
        "VS1"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.alive.remove(record.process);
        } else if let Some((p, _)) = self.watch.request(record, "Broadcast") {
            self.request(p);
        } else if self.watch.request(record, "BlockOk").is_some() {
            if self.asked.contains(record.process) {
                self.blocked.insert(record.process);
            }
        } else if let Some((p, _)) = self.watch.indication(record, "Block") {
            self.asked.insert(p);
        } else if let Some((p, _)) = self.watch.indication(record, "Excluded") {
            self.blocked.insert(p);
        } else if let Some((p, _)) = self.watch.indication(record, "Left") {
            self.blocked.insert(p);
        } else if let Some((p, observation)) = self.watch.indication(record, "View") {
            let (id, _) = view(observation);
            self.present.insert(p, id);
            self.asked.remove(p);
            self.blocked.remove(p);
            self.trim();
            if let Some(Some(completed)) = self.completing.remove(&p)
                && completed + 1 != id
            {
                let text = format!("{p} completes its state with {completed}, and installs {id}");
                return Err(violation("VS1", record, text));
            }
        } else if let Some((p, _)) = self.watch.indication(record, "State") {
            self.completing.insert(p, None);
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver")
            && let (Some(id), Some(here)) = (observation.message, observation.instance)
            && let Some(text) = self.deliver(p, id, here)
        {
            return Err(violation("VS1", record, text));
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// The broadcasts of a process that is outside, in its last view.
struct Outside {
    view: u64,
    /// Its own messages that it has delivered there.
    own: BTreeSet<MessageId>,
    /// The messages returned to it as lost, and whether each is lost for certain.
    given: BTreeMap<MessageId, bool>,
    /// Whether it is still being told: it has got no other indication since it learned that it is outside.
    is_told: bool,
    /// Whether it missed the decision about the next view, so that it cannot know.
    missed: bool,
}

/// A process that is outside learns which of its broadcasts were not delivered by those that passed to the
/// next view.
struct Returned {
    watch: Watch,
    alive: ProcessSet,
    /// For each process, its last view, and the messages that it has delivered there.
    present: BTreeMap<ProcessId, (u64, BTreeSet<MessageId>)>,
    /// For each view, the messages that the processes that passed to the next one have delivered in it.
    passed: BTreeMap<u64, BTreeSet<MessageId>>,
    outside: BTreeMap<ProcessId, Outside>,
    /// The processes that go on from a restored state, and have got no other indication since.
    restored: ProcessSet,
}

impl Returned {
    /// This message is returned as lost.
    fn give(&mut self, p: ProcessId, id: MessageId, is_certain: bool) -> Option<String> {
        let Some(outside) = self.outside.get_mut(&p).filter(|it| it.is_told) else {
            return Some(format!(
                "{p} gets back {id}, and did not just learn that it is outside"
            ));
        };
        if !outside.own.contains(&id) {
            return Some(format!("{p} gets back {id}, which it did not deliver"));
        }
        if !is_certain && !outside.missed {
            return Some(format!(
                "{p} gets back {id} as doubtful, and knows what was decided"
            ));
        }
        if outside.given.insert(id, is_certain).is_some() {
            return Some(format!("{p} gets back {id} twice"));
        }
        self.wrong(p)
    }

    /// The error if this process was told that a message is lost which others have.
    fn wrong(&self, p: ProcessId) -> Option<String> {
        let outside = self.outside.get(&p)?;
        let had = self.passed.get(&outside.view)?;
        let mut lost = outside.given.iter().filter(|(_, is_certain)| **is_certain);
        let (id, _) = lost.find(|(id, _)| had.contains(id))?;
        Some(format!("{p} is told that {id} is lost, and others have it"))
    }

    /// The error if this process was not told of a message that others lack.
    fn swallowed(&self, p: ProcessId) -> Option<String> {
        let outside = self.outside.get(&p)?;
        let had = self.passed.get(&outside.view)?;
        let is_known = |id: &&MessageId| outside.given.contains_key(id) || had.contains(id);
        let id = outside.own.iter().find(|id| !is_known(id))?;
        Some(format!("{p} is not told that {id} is lost"))
    }

    fn install(&mut self, p: ProcessId, id: u64) -> Option<String> {
        let swallowed = self.swallowed(p);
        self.outside.remove(&p);
        let before = self.present.insert(p, (id, BTreeSet::new()));
        if let Some((view, delivered)) = before
            && view + 1 == id
        {
            self.passed.entry(view).or_default().extend(delivered);
        }
        let wrong = self.outside.keys().find_map(|p| self.wrong(*p));
        let present = self.alive.iter().filter_map(|p| self.present.get(&p));
        let present = present.map(|(view, _)| *view);
        let oldest = present.chain(self.outside.values().map(|it| it.view)).min();
        self.passed.retain(|view, _| Some(*view) >= oldest);
        swallowed.or(wrong)
    }

    fn leave(&mut self, p: ProcessId) {
        let (view, mut own) = self.present.remove(&p).unwrap_or_default();
        own.retain(|id| id.origin.process == p);
        let missed = self.restored.remove(p);
        let outside = Outside {
            view,
            own,
            given: BTreeMap::new(),
            is_told: true,
            missed,
        };
        self.outside.insert(p, outside);
    }

    fn upon_indication(&mut self, p: ProcessId, observation: &Observation) -> Option<String> {
        match (observation.label, observation.message) {
            ("Lost", Some(id)) => return self.give(p, id, true),
            ("Doubtful", Some(id)) => return self.give(p, id, false),
            ("Excluded", _) => {
                self.leave(p);
                return None;
            }
            ("View", _) => return self.install(p, view(observation).0),
            // It has delivered what the others have, so that nothing comes back.
            ("Left", _) => _ = self.present.remove(&p),
            ("Deliver", Some(id)) => {
                if let Some((_, delivered)) = self.present.get_mut(&p) {
                    delivered.insert(id);
                }
            }
            _ => {}
        }
        if let Some(outside) = self.outside.get_mut(&p) {
            outside.is_told = false;
        }
        None
    }
}

impl Property for Returned {
    fn tag(&self) -> &'static str {
        "VS10"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let p = record.process;
        let text = match &record.kind {
            Kind::Crash => {
                self.alive.remove(p);
                self.outside.remove(&p);
                None
            }
            Kind::Event(observation) if self.watch.sees(record) => {
                if observation.label == "Restored" {
                    self.restored.insert(p);
                } else {
                    self.restored.remove(p);
                }
                None
            }
            Kind::Effect(observation)
                if observation.role == Role::Indication && self.watch.sees(record) =>
            {
                self.upon_indication(p, observation)
            }
            _ => None,
        };
        text.map_or(Ok(()), |text| Err(violation("VS10", record, text)))
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let broken = self.outside.keys().find_map(|p| self.swallowed(*p));
        completion.judge("VS10", broken)
    }
}
