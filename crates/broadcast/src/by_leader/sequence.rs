//! The sequence of cuts: those that are proposed, wait for their batches, are decided, and are applied.
use super::deferred::{Lack, Waiting};
use crate::ordering::Cut;
use quorate_consensus::ballots::Acceptance;
use quorate_core::ProcessId;
use std::collections::BTreeMap;

/// Instances that are this far above the applied ones are not waited for.
pub(super) const INSTANCES_AHEAD: u64 = 1 << 16;

/// At most this many decisions wait to be applied: beyond that, the first ones are dropped, and a state has
/// to cover them.
const DECISIONS: usize = 1 << 16;

/// How far the instances have come.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The cut that this leader has proposed in its ballot, or found proposed.
    proposed: Cut,
    /// Proposals that wait for batches.
    deferred: Waiting,
    /// Decisions up to this instance are applied.
    applied: u64,
    /// Decisions that are not applied yet.
    decisions: BTreeMap<u64, Cut>,
}

impl Sequence {
    /// The cut that this leader has proposed.
    pub(super) fn proposed(&self) -> &Cut {
        &self.proposed
    }

    /// This leader proposes the cut.
    pub(super) fn propose(&mut self, cut: &Cut) {
        self.proposed.raise(cut);
    }

    /// This process leads, and is obliged to propose these cuts again.
    pub(super) fn lead<'a>(&mut self, obliged: impl Iterator<Item = &'a Cut>) {
        self.proposed = Cut::default();
        for cut in obliged {
            self.proposed.raise(cut);
        }
        for cut in self.decisions.values() {
            self.proposed.raise(cut);
        }
    }

    /// A proposal has to wait. Returns `false` if it lies too far ahead.
    pub(super) fn defer(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<Cut>,
        decided: u64,
        lack: Lack,
    ) -> bool {
        let instance = acceptance.instance;
        if instance > self.applied.saturating_add(INSTANCES_AHEAD) {
            return false;
        }
        self.deferred.insert((from, acceptance, decided), lack);
        true
    }

    /// The proposals that wait for batches.
    pub(super) fn deferred(&mut self) -> &mut Waiting {
        &mut self.deferred
    }

    /// Whether proposals wait.
    pub(super) fn defers(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// An instance is decided.
    pub(super) fn decide(&mut self, instance: u64, cut: Cut) {
        self.decisions.insert(instance, cut);
        if self.decisions.len() > DECISIONS {
            self.decisions.pop_first();
        }
    }

    /// Whether later decisions are here, but not the one to be applied next.
    pub(super) fn has_gap(&self) -> bool {
        !self.decisions.is_empty() && self.next().is_none()
    }

    /// The waiting proposal of the lowest instance.
    pub(super) fn first_deferred(&self) -> Option<&Cut> {
        self.deferred.first()
    }

    /// Decisions up to this instance are applied.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// The cut to be applied next.
    pub(super) fn next(&self) -> Option<&Cut> {
        self.decisions.get(&(self.applied + 1))
    }

    /// Applies the next cut.
    pub(super) fn apply(&mut self) -> Option<Cut> {
        let cut = self.decisions.remove(&(self.applied + 1))?;
        self.applied += 1;
        Some(cut)
    }

    /// What was proposed or decided in later instances is void.
    pub(super) fn begin_anew(&mut self) {
        self.decisions.clear();
        self.deferred = Waiting::default();
        self.proposed = Cut::default();
    }

    /// A state covers the instances up to this one.
    pub(super) fn skip_to(&mut self, applied: u64) {
        self.applied = applied;
        self.decisions = self.decisions.split_off(&(applied + 1));
        self.deferred.skip_to(applied);
    }
}
