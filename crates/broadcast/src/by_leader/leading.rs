//! What a leader proposes.
use super::{ByLeader, Message, send, stream::Stream};
use crate::ordering::{Acceptances, Cut};
use quorate_abstractions::link::To;
use quorate_core::{Ctx, message::Origin};

/// After so many instances the leader says what everybody holds, where the others do not hear it.
const STABLE: u64 = 16;

impl ByLeader {
    pub(super) fn upon_elected(&mut self) {
        let Some(obliged) = self.ballots.elected(|cut| self.holds_all(cut)) else {
            return;
        };
        self.candidacy.upon_lead();
        self.ballots.lead(&obliged, Some(&Cut::default()));
        self.proposed = Cut::default();
        for cut in obliged.values().chain(self.decisions.values()) {
            self.proposed.raise(cut);
        }
    }

    /// Upon batches that no proposal orders: a leader proposes that they come next.
    pub(super) fn upon_unordered(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(instance) = self.ballots.next_instance() {
            let mut cut = self.unordered();
            for newcomer in self.newcomers.wanted(&self.proposed) {
                cut.0.insert(newcomer, 0);
            }
            let most = self
                .ballots
                .low()
                .saturating_add(self.configuration.instances);
            if cut.0.is_empty() || instance > most || self.proposed.replaces() {
                break;
            }
            self.proposed.raise(&cut);
            self.ballots.propose(instance, cut);
        }
        self.upon_progress(ctx);
    }

    /// What has come without a gap and lies beyond what is ordered or proposed already.
    fn unordered(&self) -> Cut {
        let next = |(origin, stream): (&Origin, &Stream)| {
            let known = self.proposed.up_to(*origin).max(stream.ordered);
            let most = known.saturating_add(self.configuration.proposal);
            let up_to = stream.contiguous.min(most);
            (up_to > known).then_some((*origin, up_to))
        };
        Cut(self.streams.iter().filter_map(next).collect())
    }

    /// Whether acceptances go to the leader alone, who then has to say what everybody holds.
    pub(super) fn is_sparing(&self) -> bool {
        let wanted = self.configuration.acceptances == Acceptances::WhoNeedsThem;
        wanted && (2..=3).contains(&self.processes.n())
    }

    /// Upon enough instances that everybody has decided since it was said last: the others forget what
    /// only the leader knows to be held by all.
    pub(super) fn upon_stable(&mut self, ctx: &mut Ctx<Self>) {
        let decided = self.ballots.reached_by_all();
        let is_much = decided >= self.stable.saturating_add(STABLE);
        if !is_much || !self.ballots.leads() || !self.is_sparing() {
            return;
        }
        self.stable = decided;
        let held_by_all = |origin: &Origin| {
            let others = self.holds.iter().filter(|(p, _)| **p != self.me.process);
            let others = others.filter(|(p, _)| **p != origin.process);
            others.map(|(_, cut)| cut.up_to(*origin)).min()
        };
        let held = self.streams.iter().filter_map(|(origin, stream)| {
            let held = held_by_all(origin)
                .unwrap_or(u64::MAX)
                .min(stream.contiguous);
            (held > 0).then_some((*origin, held))
        });
        let message = Message::Stable {
            configuration: self.newcomers.configuration(),
            held: Cut(held.collect()),
            decided,
        };
        let others = To::Some(self.processes.others(self.me.process));
        send(ctx, others, message);
    }

    /// What the leader says that everybody holds.
    pub(super) fn upon_held_by_all(
        &mut self,
        configuration: u64,
        held: &Cut,
        decided: u64,
        ctx: &mut Ctx<Self>,
    ) {
        if configuration != self.newcomers.configuration() || !self.newcomers.takes_part() {
            return ctx.count("of another configuration");
        }
        for p in self.processes.iter() {
            self.learn_holder(p, held);
        }
        self.ballots.reach_all(decided);
        for origin in held.0.keys() {
            self.forget(*origin, ctx);
        }
    }
}
