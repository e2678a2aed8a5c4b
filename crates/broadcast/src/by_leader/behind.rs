//! A member that gets no further, though others have: what it lacks was owed to it by processes that have
//! crashed, and who came later has only the state that stands for it.
use super::{ByLeader, Event};
use quorate_core::Ctx;
use std::time::Duration;

/// Who has applied nothing for so long, though others have, asks for the state,
const PATIENCE: Duration = Duration::from_secs(1);
/// …and again ever more slowly, up to this.
const MOST_PATIENCE: Duration = Duration::from_secs(10);

/// How long a member has got no further.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// In which configuration, and after which instance, if the wait before asking is on.
    since: Option<(u64, u64)>,
    /// How often it has asked since.
    asked: u32,
}

impl Behind {
    /// Whether an answer may be on its way.
    pub(super) fn has_asked(&self) -> bool {
        self.asked > 0
    }
}

impl ByLeader {
    /// Where nobody has come later, perfect links owe everything to everybody.
    fn is_behind(&self) -> bool {
        let newcomers = &self.newcomers;
        let lacks = self.ballots.is_behind() || self.is_waiting_for_batches();
        !newcomers.ahead.is_empty() || newcomers.configuration > 0 && lacks
    }

    /// Upon news of what others have applied and this process has not: there is a wait for it.
    pub(super) fn upon_behind(&mut self, ctx: &mut Ctx<Self>) {
        let behind = &self.newcomers.behind;
        if !self.newcomers.takes_part() || behind.since.is_some() || !self.is_behind() {
            return;
        }
        let factor = 1_u32.checked_shl(behind.asked).unwrap_or(u32::MAX);
        let patience = PATIENCE.saturating_mul(factor).min(MOST_PATIENCE);
        self.newcomers.behind.since = Some((self.newcomers.configuration, self.applied));
        ctx.after(patience, Event::Behind);
    }

    /// The wait is over: if this process has got nowhere, it asks the next one for the state.
    pub(super) fn upon_still_behind(&mut self, ctx: &mut Ctx<Self>) {
        let here = (self.newcomers.configuration, self.applied);
        let is_stuck = self.newcomers.behind.since.take() == Some(here) && self.is_behind();
        if !self.newcomers.takes_part() {
            return;
        }
        if !is_stuck {
            self.newcomers.behind.asked = 0;
            return self.newcomers.pieces.clear();
        }
        self.newcomers.behind.asked = self.newcomers.behind.asked.saturating_add(1);
        if !std::mem::take(&mut self.newcomers.flows) {
            self.ask_for_state(ctx);
        }
    }
}
