//! A proposal is accepted only once everything up to its cut is here.
use super::{ByLeader, INSTANCES_AHEAD};
use crate::ordering::Cut;
use quorate_consensus::ballots::{self, Acceptance};
use quorate_core::{Ctx, ProcessId};

impl ByLeader {
    /// Upon proposals that waited for batches which are all here now: accept them, also where others
    /// have decided. Upon a higher promise meanwhile: refuse them.
    pub(super) fn upon_held(&mut self, ctx: &mut Ctx<Self>) {
        let is_due = |(_, acceptance, _): &(ProcessId, Acceptance<Cut>, u64)| {
            self.holds_all(&acceptance.value) || self.ballots.is_outdated(acceptance)
        };
        let due = self.deferred.iter().filter(|(_, waiting)| is_due(waiting));
        let due: Vec<u64> = due.map(|(instance, _)| *instance).collect();
        for instance in due {
            if let Some((from, acceptance, decided)) = self.deferred.remove(&instance) {
                self.accept(from, acceptance, decided, ctx);
            }
        }
    }

    /// A proposal is accepted only once everything up to its cut is here. The sender of a proposal
    /// or an acceptance holds all of that itself.
    pub(super) fn upon_ballots(
        &mut self,
        from: ProcessId,
        message: ballots::Message<Cut>,
        ctx: &mut Ctx<Self>,
    ) {
        match message {
            ballots::Message::Accept {
                acceptance,
                decided,
            } => {
                self.learn_holder(from, &acceptance.value);
                let is_ready =
                    self.holds_all(&acceptance.value) || self.ballots.is_outdated(&acceptance);
                if is_ready {
                    self.accept(from, acceptance, decided, ctx);
                } else {
                    self.defer(from, acceptance, decided, ctx);
                }
            }
            ballots::Message::Accepted {
                acceptance,
                decided,
            } => {
                self.learn_holder(from, &acceptance.value);
                let message = ballots::Message::Accepted {
                    acceptance,
                    decided,
                };
                self.hand_over(from, message, ctx);
            }
            ballots::Message::Prepare { .. }
            | ballots::Message::Promise { .. }
            | ballots::Message::Refuse { .. }
            | ballots::Message::Decided { .. } => self.hand_over(from, message, ctx),
        }
    }

    fn accept(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<Cut>,
        decided: u64,
        ctx: &mut Ctx<Self>,
    ) {
        let message = ballots::Message::Accept {
            acceptance,
            decided,
        };
        self.hand_over(from, message, ctx);
    }

    fn defer(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<Cut>,
        decided: u64,
        ctx: &mut Ctx<Self>,
    ) {
        let instance = acceptance.instance;
        if instance > self.applied.saturating_add(INSTANCES_AHEAD) {
            return ctx.count("instance too far ahead");
        }
        let waiting = self.deferred.get(&instance);
        if waiting.is_none_or(|(_, other, _)| other.ballot < acceptance.ballot) {
            self.deferred.insert(instance, (from, acceptance, decided));
        }
    }

    fn hand_over(&mut self, from: ProcessId, message: ballots::Message<Cut>, ctx: &mut Ctx<Self>) {
        if let Some(reason) = self.ballots.upon(from, message) {
            ctx.count(reason);
        }
    }

    pub(super) fn learn_holder(&mut self, p: ProcessId, cut: &Cut) {
        if let Some(holds) = self.holds.get_mut(&p) {
            holds.raise(cut);
        }
    }
}
