//! The processes that can be in the next view, as far as this process knows.
use super::Agreed;
use quorate_abstractions::eventually_perfect::Indication;
use quorate_core::{Incarnation, ProcessId, ProcessSet};
use std::collections::BTreeMap;

/// What is known of the members, and of the processes that want to be members.
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

    /// A process is outside, and asks to be in the view after this one.
    pub(super) fn note_join(&mut self, p: ProcessId, view: u64) {
        let last = self.joiners.entry(p).or_default();
        *last = view.max(*last);
        self.note_absent(p, view);
    }

    /// A process is outside of this view.
    pub(super) fn note_absent(&mut self, p: ProcessId, view: u64) {
        let last = self.absent.entry(p).or_default();
        *last = view.max(*last);
    }

    /// Notes that the latest start is the one that the view has, unless the process has said that it is outside.
    pub(super) fn note_member(&mut self, p: ProcessId) {
        if !self.absent.contains_key(&p) {
            self.latest.remove(&p);
        }
    }

    /// Another start of the process is alive. Requests of the earlier start do not count.
    pub(super) fn note_start(&mut self, p: ProcessId, start: Incarnation) {
        self.latest.insert(p, start);
        self.joiners.remove(&p);
    }

    /// A view begins: requests and reports of earlier views no longer count.
    pub(super) fn begin(&mut self, view: u64) {
        self.joiners.retain(|_, of| *of >= view);
        self.absent.retain(|_, of| *of >= view);
    }

    pub(super) fn is_suspected(&self, p: ProcessId) -> bool {
        self.suspected.contains(p)
    }

    /// The processes that the view lists and that are not members: another start is there now, or the process was
    /// out of reach when the view was decided, and asks to join.
    pub(super) fn outside(&self, agreed: &Agreed) -> ProcessSet {
        let is_outside = |p: &ProcessId| {
            let (latest, start) = (self.latest.get(p), agreed.starts.get(p));
            let says_so = self.absent.get(p) == Some(&agreed.view.id);
            says_so || latest.is_some() && latest != start
        };
        agreed.view.members.iter().filter(is_outside).collect()
    }

    /// The members of the view that can be in the next one.
    pub(super) fn staying(&self, agreed: &Agreed) -> ProcessSet {
        let members = agreed.view.members.without(self.outside(agreed));
        members.without(self.suspected)
    }

    /// The processes that want to be in the next view and are not suspected.
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
