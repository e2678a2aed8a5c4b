//! A member that lacks something asks for it: batches of a cut that has come, or, where it gets no further,
//! though others have, the state that stands for what it lacks.
use super::{ByLeader, Event, Message, send};
use crate::ordering::Cut;
use quorate_abstractions::link::To;
use quorate_core::{Ctx, ProcessId};
use std::time::Duration;

/// What was accepted or decided, and is not here after this, is asked for,
const BATCHES: Duration = Duration::from_millis(50);
/// …and again ever more slowly, up to this.
const MOST_BATCHES: Duration = Duration::from_secs(2);
/// Who has applied nothing for so long, though others have, asks for the state,
const STATE: Duration = Duration::from_secs(1);
/// …and again ever more slowly, up to this.
const MOST_STATE: Duration = Duration::from_secs(10);
/// Batches of one origin in one answer.
const ANSWER: usize = 64;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Missing {
    /// How many were asked for batches, and how long the next wait is.
    asked: u64,
    patience: Duration,
    /// Whether the wait before asking is on.
    waits: bool,
    /// In which epoch, and after which instance, if the wait before asking for the state is on.
    since: Option<(u64, u64)>,
    /// How often the state was asked for since.
    asked_for_state: u32,
}

impl Missing {
    pub(super) fn nothing() -> Self {
        Missing {
            asked: 0,
            patience: BATCHES,
            waits: false,
            since: None,
            asked_for_state: 0,
        }
    }

    /// Whether a state may be on its way.
    pub(super) fn has_asked_for_state(&self) -> bool {
        self.asked_for_state > 0
    }

    /// Something was applied.
    pub(super) fn upon_progress(&mut self) {
        self.patience = BATCHES;
    }

    /// A state has come.
    pub(super) fn begin_anew(&mut self) {
        self.patience = BATCHES;
        self.since = None;
        self.asked_for_state = 0;
    }
}

impl ByLeader {
    /// Upon batches that are missing: there is a wait for them.
    pub(super) fn upon_missing(&mut self, ctx: &mut Ctx<Self>) {
        if self.missing.waits || !self.is_waiting_for_batches() {
            return;
        }
        self.missing.waits = true;
        let patience = self.missing.patience;
        ctx.after(patience, Event::Ask);
        self.missing.patience = patience.saturating_mul(2).min(MOST_BATCHES);
    }

    /// Batches were missing for a while: the next process is asked for them.
    pub(super) fn upon_ask(&mut self, ctx: &mut Ctx<Self>) {
        self.missing.waits = false;
        if !self.is_waiting_for_batches() {
            return;
        }
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        let Some(p) = others.get(self.missing.asked as usize % others.len().max(1)) else {
            return;
        };
        self.missing.asked += 1;
        let held = self.batches.held();
        send(ctx, To::One(*p), Message::Lacks { held });
    }

    /// Asks everybody at once: what origins sent before they knew of this process will not come by itself.
    pub(super) fn ask_everybody(&self, ctx: &mut Ctx<Self>) {
        let others = To::Some(self.processes.others(self.me.process));
        let held = self.batches.held();
        send(ctx, others, Message::Lacks { held });
    }

    pub(super) fn upon_lacks(&mut self, from: ProcessId, held: &Cut, ctx: &mut Ctx<Self>) {
        for (id, batch) in self.batches.beyond(held, ANSWER) {
            send(ctx, To::One(from), Message::Data { id, batch });
        }
    }

    pub(super) fn is_waiting_for_batches(&self) -> bool {
        let next = self.sequence.next();
        let mut wanted = next.into_iter().chain(self.ballots.reported());
        self.sequence.defers() || wanted.any(|cut| !self.batches.holds_all(cut))
    }

    /// Where nobody has come later, perfect links owe everything to everybody.
    fn is_behind(&self) -> bool {
        let lacks = self.ballots.is_behind() || self.is_waiting_for_batches();
        self.ahead.is_of_later_epoch() || self.epoch.number() > 0 && lacks
    }

    /// Upon news of what others have applied and this process has not: there is a wait for it.
    pub(super) fn upon_behind(&mut self, ctx: &mut Ctx<Self>) {
        if !self.joining.takes_part() || self.missing.since.is_some() || !self.is_behind() {
            return;
        }
        let asked = self.missing.asked_for_state;
        let factor = 1_u32.checked_shl(asked).unwrap_or(u32::MAX);
        let patience = STATE.saturating_mul(factor).min(MOST_STATE);
        self.missing.since = Some((self.epoch.number(), self.sequence.applied()));
        ctx.after(patience, Event::Behind);
    }

    /// The wait is over: if this process has got nowhere, it asks the next one for the state.
    pub(super) fn upon_still_behind(&mut self, ctx: &mut Ctx<Self>) {
        let here = (self.epoch.number(), self.sequence.applied());
        let is_stuck = self.missing.since.take() == Some(here) && self.is_behind();
        if !self.joining.takes_part() {
            return;
        }
        if !is_stuck {
            self.missing.asked_for_state = 0;
            return self.joining.drop_pieces();
        }
        self.missing.asked_for_state = self.missing.asked_for_state.saturating_add(1);
        if !self.joining.has_moved() {
            self.ask_for_state(ctx);
        }
    }
}
