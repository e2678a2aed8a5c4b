//! Who can be in the next view, as far as this process knows.
use super::Agreed;
use quorate_abstractions::eventually_perfect::Indication;
use quorate_core::{Incarnation, ProcessId, ProcessSet};
use std::collections::BTreeMap;

/// What is known of those that are members, or want to be.
#[derive(Default)]
pub(super) struct Candidates {
    suspected: ProcessSet,
    /// The latest start of a process that was started again.
    latest: BTreeMap<ProcessId, Incarnation>,
    /// By process: the last view that it asked to follow.
    joiners: BTreeMap<ProcessId, u64>,
    /// By process: the last view that it said it is outside of.
    absent: BTreeMap<ProcessId, u64>,
}

impl Candidates {
    /// The detector suspects a process, or no longer.
    pub(super) fn upon_detector(&mut self, indication: Indication) {
        indication.apply(&mut self.suspected);
    }

    /// Somebody is outside, and asks to be in the view after that one.
    pub(super) fn note_join(&mut self, p: ProcessId, view: u64) {
        let last = self.joiners.entry(p).or_default();
        *last = view.max(*last);
        self.note_absent(p, view);
    }

    /// Somebody is outside of that view.
    pub(super) fn note_absent(&mut self, p: ProcessId, view: u64) {
        let last = self.absent.entry(p).or_default();
        *last = view.max(*last);
    }

    /// Unless it has said that it is outside, it is a member: its latest start is the one that the view has.
    pub(super) fn note_member(&mut self, p: ProcessId) {
        if !self.absent.contains_key(&p) {
            self.latest.remove(&p);
        }
    }

    /// Another start of the process is alive. What the one before has asked for is not this one's.
    pub(super) fn note_start(&mut self, p: ProcessId, start: Incarnation) {
        self.latest.insert(p, start);
        self.joiners.remove(&p);
    }

    /// A view begins: what was said of earlier ones is void.
    pub(super) fn begin(&mut self, view: u64) {
        self.joiners.retain(|_, of| *of >= view);
        self.absent.retain(|_, of| *of >= view);
    }

    pub(super) fn is_suspected(&self, p: ProcessId) -> bool {
        self.suspected.contains(p)
    }

    /// Those whom the view lists, and who are none of its members: another start of the process is there now, or
    /// it was out of reach when the view was decided, and asks to join.
    pub(super) fn outside(&self, agreed: &Agreed) -> ProcessSet {
        let is_outside = |p: &ProcessId| {
            let (latest, start) = (self.latest.get(p), agreed.starts.get(p));
            let says_so = self.absent.get(p) == Some(&agreed.view.id);
            says_so || latest.is_some() && latest != start
        };
        agreed.view.members.iter().filter(is_outside).collect()
    }

    /// Those of the view that can be in the next one as its members.
    pub(super) fn staying(&self, agreed: &Agreed) -> ProcessSet {
        let members = agreed.view.members.without(self.outside(agreed));
        members.without(self.suspected)
    }

    /// Who wants to be in the next view and is not suspected.
    pub(super) fn joining(&self, agreed: &Agreed) -> ProcessSet {
        let now = self.joiners.iter();
        let now = now.filter(|(_, view)| **view == agreed.view.id);
        let now: ProcessSet = now.map(|(p, _)| *p).collect();
        let members = agreed.view.members.without(self.outside(agreed));
        now.without(members).without(self.suspected)
    }

    /// How many are known to have asked.
    #[cfg(test)]
    pub(super) fn joiners(&self) -> usize {
        self.joiners.len()
    }
}
