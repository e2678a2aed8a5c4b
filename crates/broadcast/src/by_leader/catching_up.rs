//! A member that lacks something asks for it: batches of a cut that has come; where it gets no further, though
//! others have, decisions too; and in the end, if nobody keeps what it lacks, the state that stands for it.
//!
//! At most one request is open to each process. It is over once all of its answer has come, or once a stream
//! between the two has begun anew, on which it, or the answer, may have been lost. So a process that is cut
//! off finds at most one request of each other when it is back, and an answer is short, so that stale ones
//! cost little. What the asked process has already sent on a stream that has not ended is in no answer.
use super::{ByLeader, Event, Message, send};
use crate::ordering::Cut;
use bytes::Bytes;
use quorate_abstractions::link::To;
use quorate_core::{
    Ctx, Membership, MessageId, ProcessId, ProcessSet, Time, TimerId, message::Origin,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What was accepted or decided, and is not here after this, is asked for,
const BATCHES: Duration = Duration::from_millis(50);
/// …and again ever more slowly, up to this.
const MOST_BATCHES: Duration = Duration::from_secs(2);
/// Who has applied nothing for so long, though others have, asks for more,
const STUCK: Duration = Duration::from_secs(1);
/// …and again ever more slowly, up to this.
const MOST_STUCK: Duration = Duration::from_secs(10);
/// Whose user keeps states, and has got no further so often though nobody said that it does not keep what
/// is missing, asks for a state all the same.
const UNANSWERED: u32 = 2;
/// No answer has more parts.
const PARTS: u64 = 1 << 16;
/// Two states that came too late in a row are enough: before the next one the others are slowed.
const LATE: u32 = 2;

/// A request, and which parts of its answer have come.
#[derive(Debug)]
struct Request {
    number: u64,
    here: BTreeSet<u64>,
    /// Up to which instance decisions were applied when it was sent.
    applied: u64,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Missing {
    /// How many requests there were.
    number: u64,
    open: BTreeMap<ProcessId, Request>,
    /// Who has to send again what was dropped here.
    again: ProcessSet,
    /// How many were asked for batches in turn, and how long the next wait is.
    asked: usize,
    backoff: Duration,
    /// The wait before asking, and when it is over.
    wait: Option<(TimerId, Time)>,
    /// The wait for getting any further, if it is on, and in which epoch, and after which instance, it began.
    since: Option<(TimerId, (u64, u64))>,
    /// How often this process has got no further since.
    stuck: u32,
    /// Whether somebody does not keep what is missing.
    short: bool,
    /// Whether a state may be on its way.
    asks_for_state: bool,
    /// How many states have come since this process was last where the others are.
    states: u32,
}

impl Missing {
    pub(super) fn nothing() -> Self {
        Missing {
            number: 0,
            open: BTreeMap::new(),
            again: ProcessSet::default(),
            asked: 0,
            backoff: BATCHES,
            wait: None,
            since: None,
            stuck: 0,
            short: false,
            asks_for_state: false,
            states: 0,
        }
    }

    /// Whether a state may be on its way.
    pub(super) fn has_asked_for_state(&self) -> bool {
        self.asks_for_state
    }

    /// Something was applied.
    pub(super) fn upon_applied(&mut self) {
        self.backoff = BATCHES;
        self.short = false;
    }

    /// A state has come. Gives back the wait for getting any further, which is over: with two of them, each
    /// would void what is asked for upon the other.
    pub(super) fn upon_state(&mut self) -> Option<TimerId> {
        self.backoff = BATCHES;
        self.stuck = 0;
        self.short = false;
        self.asks_for_state = false;
        self.states = self.states.saturating_add(1);
        self.since.take().map(|(timer, _)| timer)
    }

    /// Something that had come was dropped: it has to be sent again.
    pub(super) fn upon_dropped(&mut self, processes: &Membership) {
        self.again = processes.set();
    }

    /// What was asked of this process may be lost, or its answer.
    pub(super) fn cancel(&mut self, p: ProcessId) {
        self.open.remove(&p);
    }

    /// A request to a process, if none is open to it.
    fn request(
        &mut self,
        p: ProcessId,
        held: Cut,
        (applied, decided): (u64, Option<u64>),
    ) -> Option<Message> {
        if self.open.contains_key(&p) {
            return None;
        }
        self.number += 1;
        let number = self.number;
        let request = Request {
            number,
            here: BTreeSet::new(),
            applied,
        };
        self.open.insert(p, request);
        Some(Message::Lacks {
            request: number,
            held,
            decided,
            again: self.again.remove(p),
        })
    }

    /// A part of an answer has come. If it is all here, gives back up to which instance decisions were
    /// applied when it was asked for.
    fn upon_part(
        &mut self,
        from: ProcessId,
        number: u64,
        (part, parts): (u64, u64),
    ) -> Option<u64> {
        let open = self.open.get_mut(&from).filter(|r| r.number == number);
        let request = open.filter(|_| part < parts && parts <= PARTS)?;
        request.here.insert(part);
        if (request.here.len() as u64) < parts {
            return None;
        }
        self.open.remove(&from).map(|request| request.applied)
    }
}

impl ByLeader {
    /// Upon batches that are missing: there is a wait for them. One that grew long while nobody answered is
    /// cut short once something was applied.
    pub(super) fn upon_missing(&mut self, ctx: &mut Ctx<Self>) {
        let backoff = self.missing.backoff;
        let at = ctx.now() + backoff;
        let is_on = self.missing.wait.is_some_and(|(_, over)| over <= at);
        if is_on || !self.joining.takes_part() || !self.is_waiting_for_batches() {
            return;
        }
        if let Some((timer, _)) = self.missing.wait.take() {
            ctx.cancel(timer);
        }
        self.missing.wait = Some((ctx.after(backoff, Event::Ask), at));
        self.missing.backoff = backoff.saturating_mul(2).min(MOST_BATCHES);
    }

    /// Batches were missing for a while: the next process is asked for them.
    pub(super) fn upon_ask(&mut self, ctx: &mut Ctx<Self>) {
        self.missing.wait = None;
        if self.is_waiting_for_batches() {
            self.ask_next(None, ctx);
        }
        self.upon_missing(ctx);
    }

    /// Asks the next process to which no request is open.
    fn ask_next(&mut self, decided: Option<u64>, ctx: &mut Ctx<Self>) {
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        for _ in 0..others.len() {
            let p = others[self.missing.asked % others.len()];
            self.missing.asked += 1;
            if self.ask(p, decided, ctx) {
                return;
            }
        }
    }

    /// Asks this process, if no request is open to it. Whether it did.
    fn ask(&mut self, p: ProcessId, decided: Option<u64>, ctx: &mut Ctx<Self>) -> bool {
        let point = (self.sequence.applied(), decided);
        let request = self.missing.request(p, self.batches.held(), point);
        let Some(message) = request else {
            return false;
        };
        send(ctx, To::One(p), message);
        true
    }

    /// Asks everybody at once: what origins sent before they knew of this process will not come by itself.
    pub(super) fn ask_everybody(&mut self, ctx: &mut Ctx<Self>) {
        let decided = Some(self.ballots.low());
        for p in self.processes.others(self.me.process).iter() {
            self.ask(p, decided, ctx);
        }
    }

    /// Who asks is answered, whatever is here.
    pub(super) fn upon_lacks(
        &mut self,
        from: ProcessId,
        request: u64,
        held: &Cut,
        (decided, again): (Option<u64>, bool),
        ctx: &mut Ctx<Self>,
    ) {
        self.giving.upon_asked(from);
        let answer = self.batches.answer(from, (request, again), held);
        let takes_part = self.joining.takes_part();
        let keeps = |decided| self.ballots.keeps_beyond(decided);
        let short = takes_part && (answer.short || !decided.is_none_or(keeps));
        let more = answer.more;
        let parts = answer.batches.len().max(1) as u64;
        let mut batches = answer.batches.into_iter();
        for part in 0..parts {
            let message = Message::Found {
                request,
                part: (part, parts),
                more,
                short,
                found: batches.next(),
            };
            send(ctx, To::One(from), message);
        }
        if takes_part && again {
            self.ballots.resume(from);
        } else if takes_part && let Some(decided) = decided {
            self.ballots.inform(from, decided.saturating_add(1));
        }
        self.upon_ballots_said(ctx);
    }

    /// A part of an answer.
    pub(super) fn upon_found(
        &mut self,
        from: ProcessId,
        request: u64,
        part: (u64, u64),
        (more, short): (bool, bool),
        found: Option<(MessageId, Bytes)>,
        ctx: &mut Ctx<Self>,
    ) {
        if let Some((id, batch)) = found {
            // Who is answered asks again as soon as at first.
            self.missing.backoff = BATCHES;
            self.hold(id, batch, ctx);
        }
        if let Some(applied) = self.missing.upon_part(from, request, part) {
            self.missing.short |= short && applied == self.sequence.applied();
            if more && self.is_waiting_for_batches() {
                self.ask(from, None, ctx);
            }
        }
        self.upon_batches_here(ctx);
        self.upon_missing(ctx);
    }

    pub(super) fn is_waiting_for_batches(&self) -> bool {
        let next = self.sequence.next();
        let mut wanted = next.into_iter().chain(self.ballots.reported());
        self.sequence.defers() || wanted.any(|cut| !self.batches.holds_all(cut))
    }

    /// Up to which batch of an origin something waits here.
    pub(super) fn needed(&self, origin: Origin) -> u64 {
        let wanted = self.sequence.next().into_iter();
        let wanted = wanted.chain(self.sequence.first_deferred());
        let wanted = wanted.chain(self.ballots.reported());
        wanted.map(|cut| cut.up_to(origin)).max().unwrap_or(0)
    }

    fn is_behind(&self) -> bool {
        self.ahead.is_beyond(self.epoch.number())
            || self.ballots.is_behind()
            || self.sequence.has_gap()
            || self.is_waiting_for_batches()
    }

    /// Upon news of what others have applied and this process has not: there is a wait for it.
    pub(super) fn upon_behind(&mut self, ctx: &mut Ctx<Self>) {
        if !self.joining.takes_part() || self.missing.since.is_some() || !self.is_behind() {
            return;
        }
        let factor = 1_u32.checked_shl(self.missing.stuck).unwrap_or(u32::MAX);
        let backoff = STUCK.saturating_mul(factor).min(MOST_STUCK);
        let here = (self.epoch.number(), self.sequence.applied());
        self.missing.since = Some((ctx.after(backoff, Event::Behind), here));
    }

    /// The wait is over.
    pub(super) fn upon_still_behind(&mut self, ctx: &mut Ctx<Self>) {
        let here = (self.epoch.number(), self.sequence.applied());
        let is_behind = self.is_behind();
        let since = self.missing.since.take().map(|(_, since)| since);
        if !self.joining.takes_part() {
            return;
        }
        if !is_behind {
            self.missing.states = 0;
        }
        if since == Some(here) && is_behind {
            self.upon_stuck(ctx);
        } else {
            self.missing.stuck = 0;
            self.missing.short = false;
            if !self.joining.has_moved() {
                self.missing.asks_for_state = false;
                self.abandon(ctx);
            }
        }
        self.upon_behind(ctx);
    }

    /// This process has got nowhere: it asks the next one for what it lacks; and if nobody keeps that, or nobody
    /// answers, for the state.
    fn upon_stuck(&mut self, ctx: &mut Ctx<Self>) {
        let is_hopeless =
            self.missing.short || self.user.keeps_state() && self.missing.stuck > UNANSWERED;
        self.missing.stuck = self.missing.stuck.saturating_add(1);
        if is_hopeless || self.ahead.is_beyond(self.epoch.number()) {
            self.ask_for_state_as_member(ctx);
        } else {
            let decided = Some(self.ballots.low());
            self.ask_next(decided, ctx);
        }
    }

    fn ask_for_state_as_member(&mut self, ctx: &mut Ctx<Self>) {
        if self.missing.states >= LATE {
            let others = To::Some(self.processes.others(self.me.process));
            send(ctx, others, Message::Slower);
        }
        if self.joining.has_moved() {
            return;
        }
        self.missing.asks_for_state = true;
        self.ask_for_state(ctx);
    }
}
