//! Uniform agreement in views: UVS9.
use super::{delivered::Delivered, group_membership::view};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{Membership, MessageId, ProcessId, ProcessSet, message::Origin};
use std::collections::BTreeMap;

/// What any process has delivered in a view, even one that crashes, every correct process of that view delivers
/// in it. Processes do not join.
///
/// Messages of one origin are known by their numbers: a process that lacks one that somebody has delivered in a
/// view lacks it for good once every live process has left that view.
pub(super) fn uniform_agreement(
    tag: &'static str,
    processes: &Membership,
    module: &str,
) -> Box<dyn Property> {
    Box::new(Uniform {
        tag,
        watch: Watch::new(module),
        present: processes.iter().map(|p| (p, 0)).collect(),
        gone: ProcessSet::EMPTY,
        delivered: Delivered::default(),
        anybody: Delivered::default(),
        highest: BTreeMap::new(),
        conflicts: BTreeMap::new(),
    })
}

/// The process in whose name everybody's deliveries are kept.
const ANYBODY: usize = 1;

struct Uniform {
    tag: &'static str,
    watch: Watch,
    /// The last view of each process that has not crashed.
    present: BTreeMap<ProcessId, u64>,
    /// The processes that have left the group.
    gone: ProcessSet,
    delivered: Delivered,
    /// What some process has delivered, as if one process had.
    anybody: Delivered,
    /// For each view that some live process is still in, and each origin: the highest number of its messages
    /// that somebody has delivered there.
    highest: BTreeMap<u64, BTreeMap<Origin, u64>>,
    /// The processes that lack a message of a view that has ended. Whether that breaks the property depends on
    /// which processes are correct in the end.
    conflicts: BTreeMap<ProcessId, String>,
}

impl Uniform {
    fn deliver(&mut self, p: ProcessId, id: MessageId, here: u64) {
        self.delivered.insert(p, id);
        if let Some(anybody) = ProcessId::from_rank(ANYBODY) {
            self.anybody.insert(anybody, id);
        }
        let origins = self.highest.entry(here).or_default();
        let highest = origins.entry(id.origin).or_default();
        *highest = (*highest).max(id.sequence);
    }

    /// A message that somebody has delivered in this view, and this process of the view has not.
    fn lacks(&self, q: ProcessId, here: u64) -> Option<MessageId> {
        if self.present.get(&q).is_none_or(|last| *last < here) {
            return None;
        }
        let anybody = ProcessId::from_rank(ANYBODY)?;
        let origins = self.highest.get(&here)?;
        origins.iter().find_map(|(origin, highest)| {
            let low = self.delivered.low(ProcessSet::from_iter([q]), *origin);
            let id = |sequence| MessageId {
                origin: *origin,
                sequence,
            };
            let mut unknown = (low + 1..=*highest).map(id);
            unknown
                .find(|id| self.anybody.contains(anybody, *id) && !self.delivered.contains(q, *id))
        })
    }

    /// Judges the views that every live process has left, and forgets them.
    fn trim(&mut self) {
        let staying = self
            .present
            .iter()
            .filter(|(p, _)| !self.gone.contains(**p));
        let first = staying.map(|(_, last)| *last).min().unwrap_or(u64::MAX);
        while let Some(here) = self.highest.keys().next().copied()
            && here < first
        {
            let processes: Vec<_> = self.present.keys().copied().collect();
            for q in processes {
                if let Some(id) = self.lacks(q, here) {
                    let text = format!(
                        "{q} has not delivered {id} in {here}, which has ended, and another process has"
                    );
                    self.conflicts.entry(q).or_insert(text);
                }
            }
            self.highest.remove(&here);
        }
    }
}

impl Property for Uniform {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.present.remove(&record.process);
            self.conflicts.remove(&record.process);
            self.trim();
        } else if let Some((p, observation)) = self.watch.indication(record, "Deliver") {
            if let (Some(id), Some(here)) = (observation.message, observation.instance) {
                self.deliver(p, id, here);
            }
        } else if let Some((p, observation)) = self.watch.indication(record, "View") {
            let (id, _) = view(observation);
            if let Some(last) = self.present.get_mut(&p) {
                *last = (*last).max(id);
            }
            self.trim();
        } else if let Some((p, _)) = self.watch.indication(record, "Left") {
            self.gone.insert(p);
            self.trim();
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        let mut ended = self.conflicts.iter().filter(|(q, _)| correct.contains(**q));
        let broken = ended.next().map(|(_, text)| text.clone()).or_else(|| {
            let views = self.highest.keys();
            views.copied().find_map(|here| {
                correct.iter().find_map(|q| {
                    let id = self.lacks(q, here)?;
                    Some(format!(
                        "in the end {q} has not delivered {id} in {here}, and another process has"
                    ))
                })
            })
        });
        completion.judge(self.tag, broken)
    }
}
