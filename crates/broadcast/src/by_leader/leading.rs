//! What a leader proposes.
use super::{ByLeader, stream::Stream};
use crate::ordering::Cut;
use quorate_core::{Ctx, message::Origin};

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
}
