//! A member that lacks something asks for it. It asks for the batches of a cut that has come; for decisions,
//! too, if it makes no progress although others do; and finally, if nobody keeps what it lacks, for the state
//! that covers it.
//!
//! At most one request is open to each process. A request is over once all of its answer has come, or once a
//! stream between the two processes has begun anew, because the request or the answer may have been lost. So
//! a process that was cut off finds at most one request from each other process when it is back, and an
//! answer is short, so that stale requests cost little. An answer contains nothing that the answering process
//! has already sent on a stream that has not ended.
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

/// After this time, batches of an accepted or decided cut that are not here are asked for.
const BATCHES: Duration = Duration::from_millis(50);
/// The wait before asking again grows up to this.
const MOST_BATCHES: Duration = Duration::from_secs(2);
/// A process that has applied nothing for this time, though others have, asks for more.
const STUCK: Duration = Duration::from_secs(1);
/// The wait before asking again grows up to this.
const MOST_STUCK: Duration = Duration::from_secs(10);
/// After this many attempts without progress, a process whose user keeps states asks for a state, even if
/// nobody has said that it no longer keeps what is missing.
const UNANSWERED: u32 = 2;
/// The highest number of parts of an answer.
const PARTS: u64 = 1 << 16;
/// After this many states in a row that came too late, the others are slowed before the next one.
const LATE: u32 = 2;

/// A request, and the parts of its answer that have come.
#[derive(Debug)]
struct Request {
    number: u64,
    here: BTreeSet<u64>,
    /// The last instance whose decision was applied when the request was sent.
    applied: u64,
}

/// The requests for what is missing here.
#[derive(Debug)]
pub(super) struct Missing {
    /// The number of requests so far.
    number: u64,
    open: BTreeMap<ProcessId, Request>,
    /// Processes that have to send again what was dropped here.
    again: ProcessSet,
    /// How many processes were asked for batches in turn.
    asked: usize,
    backoff: Duration,
    /// The timer before asking, and when it fires.
    wait: Option<(TimerId, Time)>,
    /// The timer for progress, if it runs, and the epoch and the instance after which it began.
    since: Option<(TimerId, (u64, u64))>,
    /// How often in a row this process has made no progress.
    stuck: u32,
    /// Whether some process no longer keeps what is missing.
    short: bool,
    /// Whether a state was asked for and may still come.
    asks_for_state: bool,
    /// How many states have come since this process last caught up with the others.
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

    /// Whether a state was asked for and may still come.
    pub(super) fn has_asked_for_state(&self) -> bool {
        self.asks_for_state
    }

    /// Something was applied.
    pub(super) fn upon_applied(&mut self) {
        self.backoff = BATCHES;
        self.short = false;
    }

    /// A state has come. Returns the timer for progress, which is over: if there were two, each would void
    /// what is asked for when the other fires.
    pub(super) fn upon_state(&mut self) -> Option<TimerId> {
        self.backoff = BATCHES;
        self.stuck = 0;
        self.short = false;
        self.asks_for_state = false;
        self.states = self.states.saturating_add(1);
        self.since.take().map(|(timer, _)| timer)
    }

    /// Something that had come was dropped: all processes have to send it again.
    pub(super) fn note_dropped(&mut self, processes: &Membership) {
        self.again = processes.set();
    }

    /// The request to this process may be lost, or its answer.
    pub(super) fn cancel(&mut self, p: ProcessId) {
        self.open.remove(&p);
    }

    /// A request to a process, unless one is already open to it.
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

    /// A part of an answer has come. If the answer is complete, returns the instance up to which decisions
    /// were applied when it was asked for.
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
    /// When batches are missing, a timer runs. A wait that grew long while nobody answered is cut short once
    /// something was applied.
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
        self.missing.wait = Some((ctx.after(backoff, Event::AskAgain), at));
        self.missing.backoff = backoff.saturating_mul(2).min(MOST_BATCHES);
    }

    /// Batches have been missing for a while: asks the next process for them.
    pub(super) fn upon_ask_again(&mut self, ctx: &mut Ctx<Self>) {
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

    /// Asks this process, unless a request is open to it. Returns whether it asked.
    fn ask(&mut self, p: ProcessId, decided: Option<u64>, ctx: &mut Ctx<Self>) -> bool {
        let point = (self.sequence.applied(), decided);
        let request = self.missing.request(p, self.batches.held(), point);
        let Some(message) = request else {
            return false;
        };
        send(ctx, To::One(p), message);
        true
    }

    /// Asks everybody at once: batches that origins sent before they knew this process will not come by
    /// themselves.
    pub(super) fn ask_everybody(&mut self, ctx: &mut Ctx<Self>) {
        let decided = Some(self.ballots.low());
        for p in self.processes.others(self.me.process).iter() {
            self.ask(p, decided, ctx);
        }
    }

    /// A process that asks always gets an answer, whatever is here.
    pub(super) fn upon_lacks(
        &mut self,
        from: ProcessId,
        request: u64,
        held: &Cut,
        (decided, again): (Option<u64>, bool),
        ctx: &mut Ctx<Self>,
    ) {
        self.state_sender.upon_asked(from);
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

    /// A part of an answer has come.
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
            // The process was answered: its next request waits no longer than the first.
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

    /// The last batch of an origin that something here waits for.
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

    /// When others have applied what this process has not, a timer runs.
    pub(super) fn upon_behind(&mut self, ctx: &mut Ctx<Self>) {
        if !self.joining.takes_part() || self.missing.since.is_some() || !self.is_behind() {
            return;
        }
        let factor = 1_u32.checked_shl(self.missing.stuck).unwrap_or(u32::MAX);
        let backoff = STUCK.saturating_mul(factor).min(MOST_STUCK);
        let here = (self.epoch.number(), self.sequence.applied());
        self.missing.since = Some((ctx.after(backoff, Event::StillBehind), here));
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
