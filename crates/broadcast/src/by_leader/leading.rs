//! What a leader proposes.
use super::{ByLeader, Message, send};
use crate::ordering::{Acceptances, Cut};
use quorate_abstractions::link::To;
use quorate_core::Ctx;

/// After this many instances the leader tells what everybody holds, if the others do not hear it from each
/// other.
const STABLE: u64 = 16;

impl ByLeader {
    /// Upon promises of a majority, and all that they report: this process leads, and proposes what it is obliged to.
    pub(super) fn upon_elected(&mut self, ctx: &mut Ctx<Self>) {
        let Some(obliged) = self.ballots.elected(|cut| self.batches.holds_all(cut)) else {
            return;
        };
        self.candidacy.upon_lead();
        self.ballots.lead(&obliged, Some(&Cut::default()));
        self.sequence.lead(obliged.values());
        self.upon_decided(ctx);
        self.upon_outgoing(ctx);
        self.upon_stable(ctx);
    }

    /// A leader proposes to order next the batches that no proposal orders.
    pub(super) fn upon_unordered(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(instance) = self.ballots.next_instance() {
            let proposed = self.sequence.proposed();
            let mut cut = self.batches.unordered(proposed, self.settings.proposal);
            for newcomer in self.epoch.wanted(proposed) {
                cut.0.insert(newcomer, 0);
            }
            let most = self.ballots.low().saturating_add(self.settings.instances);
            if cut.0.is_empty() || instance > most || proposed.replaces() {
                break;
            }
            self.sequence.propose(&cut);
            self.ballots.propose(instance, cut);
        }
        // In a group of one, what is proposed is decided at once.
        self.upon_decided(ctx);
        self.upon_outgoing(ctx);
    }

    /// Whether acceptances go to the leader alone, which then has to tell what everybody holds.
    pub(super) fn acceptances_go_to_leader(&self) -> bool {
        let wanted = self.settings.acceptances == Acceptances::Fewest;
        wanted && (2..=3).contains(&self.processes.n())
    }

    /// Once everybody has decided enough instances since the leader last told it, the leader tells the others
    /// what all hold, so that they can forget it.
    pub(super) fn upon_stable(&mut self, ctx: &mut Ctx<Self>) {
        if !self.is_more_stable() {
            return;
        }
        let decided = self.ballots.reached_by_all();
        self.stable = decided;
        let message = Message::Stable {
            epoch: self.epoch.number(),
            held: self.batches.held_by_all(),
            decided,
        };
        let others = To::Some(self.processes.others(self.me.process));
        send(ctx, others, message);
    }

    fn is_more_stable(&self) -> bool {
        let decided = self.ballots.reached_by_all();
        let is_much = decided >= self.stable.saturating_add(STABLE);
        is_much && self.ballots.leads() && self.acceptances_go_to_leader()
    }

    /// What the leader says that everybody holds.
    pub(super) fn upon_held_by_all(
        &mut self,
        epoch: u64,
        held: &Cut,
        decided: u64,
        ctx: &mut Ctx<Self>,
    ) {
        if epoch != self.epoch.number() || !self.joining.takes_part() {
            return ctx.count("of another epoch");
        }
        self.batches.learn_held_by_all(held);
        self.ballots.reach_all(decided);
        for origin in held.0.keys() {
            self.batches.forget(*origin);
        }
        self.upon_stable(ctx);
    }
}
