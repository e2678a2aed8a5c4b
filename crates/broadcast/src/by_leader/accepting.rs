//! A proposal is accepted only once everything up to its cut is here.
use super::ByLeader;
use crate::ordering::Cut;
use quorate_consensus::ballots::{self, Acceptance};
use quorate_core::{Ctx, ProcessId};

impl ByLeader {
    /// Accepts proposals whose batches have all come, even if others have decided them. Refuses those that a
    /// higher promise has outdated meanwhile.
    pub(super) fn upon_held(&mut self, ctx: &mut Ctx<Self>) {
        let due = self.sequence.deferred().take_due(
            |acceptance| self.ballots.is_outdated(acceptance),
            |origin| self.batches.contiguous(origin),
            |cut| self.batches.lack(cut),
        );
        if due.is_empty() {
            return;
        }
        for (from, acceptance, decided) in due {
            self.accept(from, acceptance, decided, ctx);
        }
        self.upon_ballots_heard(ctx);
    }

    /// Accepts a proposal only once everything up to its cut is here. The sender of a proposal or an
    /// acceptance holds all of that itself.
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
                self.batches.learn_holder(from, &acceptance.value);
                let lack = self.batches.lack(&acceptance.value);
                match lack.filter(|_| !self.ballots.is_outdated(&acceptance)) {
                    None => self.accept(from, acceptance, decided, ctx),
                    Some(lack) => {
                        if !self.sequence.defer(from, acceptance, decided, lack) {
                            ctx.count("instance too far ahead");
                        }
                    }
                }
            }
            ballots::Message::Accepted {
                acceptance,
                decided,
            } => {
                self.batches.learn_holder(from, &acceptance.value);
                let message = ballots::Message::Accepted {
                    acceptance,
                    decided,
                };
                self.hand_over(from, message, ctx);
            }
            ballots::Message::Prepare { .. }
            | ballots::Message::Promise { .. }
            | ballots::Message::Nack { .. }
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

    fn hand_over(&mut self, from: ProcessId, message: ballots::Message<Cut>, ctx: &mut Ctx<Self>) {
        if let Some(reason) = self.ballots.upon(from, message) {
            ctx.count(reason);
        }
    }
}
