//! The phases of the registers: a query asks everybody for its value, an imposition makes everybody hold a
//! value, and each waits for a majority, or for all that have not crashed.
//!
//! An algorithm's [`Rules`] determine how an operation begins, and how it goes on when a query is answered.
//! Its constructor determines whether only one process writes, and which processes a phase waits for.
use crate::{
    exchange::{Effect, Event, send},
    message::{Content, Held, Message},
    operations::{Operation, Operations, Phase},
    replica::Replica,
};
use bytes::Bytes;
use quorate_abstractions::{
    link::{Deliver, Status, To},
    perfect,
    register::{Action, Indication, Refusal, RegisterResponse, Request, Tag},
};
use quorate_core::{Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet, message::next_number};
use std::collections::BTreeMap;

/// How an operation goes on.
pub enum Step {
    /// It asks for everybody's value, and then does this.
    Query(Action),
    /// It returns this value.
    Return(Held),
    /// It returns this value once others hold it, too.
    Impose(Held),
    /// It writes this value with this timestamp; `None` if there are no larger timestamps.
    Write(Option<u64>, Bytes),
    Refuse(Refusal),
}

/// What distinguishes one algorithm from another.
pub trait Rules: Send + 'static {
    /// Whether other processes than the writer impose values: those that they read.
    const READERS_IMPOSE: bool = true;

    /// Handles a request to read or to write, which may be done here now; `own` is what this process holds.
    fn upon_request(&mut self, register: &Bytes, action: Action, own: Held) -> Step;

    /// Handles enough answers to a query: the newest of them, and whether they are all the same. Rules that
    /// never query need not implement this.
    fn upon_answers(&mut self, _action: Action, newest: Held, _agreed: bool) -> Step {
        Step::Return(newest)
    }
}

/// The processes that a phase waits for.
enum Quorum {
    /// Some majority.
    Majority,
    /// All processes that P has not reported. They hold what was imposed: nobody needs to query.
    Correct(ProcessSet),
}

/// Registers under these rules, at one process: a replica of all registers, and the process's own operations.
pub struct Phases<R> {
    rules: R,
    me: ProcessId,
    processes: Membership,
    quorum: Quorum,
    /// The only process that writes; `None` if everybody writes.
    writer: Option<ProcessId>,
    replica: Replica,
    operations: Operations,
}

impl<R: Rules> Algorithm for Phases<R> {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Link(Deliver { from, message }) => self.upon_message(from, message, ctx),
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl<R: Rules> Phases<R> {
    /// Phases at `host` that wait for a majority; everybody writes.
    pub(crate) fn of_majorities(host: &impl Host, rules: R) -> Self {
        Phases {
            rules,
            me: host.me(),
            processes: *host.processes(),
            quorum: Quorum::Majority,
            writer: None,
            replica: Replica::default(),
            operations: Operations::default(),
        }
    }

    /// Phases at `host` that wait for all processes that have not crashed; everybody writes.
    pub(crate) fn of_all(host: &impl Host, rules: R) -> Self {
        Phases {
            quorum: Quorum::Correct(host.processes().set()),
            ..Phases::of_majorities(host, rules)
        }
    }

    /// The same, but only this process writes.
    pub(crate) fn written_by(mut self, writer: ProcessId) -> Self {
        self.writer = Some(writer);
        self
    }

    /// A register has one operation at a time, and only a writer writes.
    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        let Request {
            register,
            operation,
            action,
        } = request;
        let step = match action {
            _ if self.operations.is_busy(&register) => Step::Refuse(Refusal::Busy),
            Action::Write(_) if self.writer.is_some_and(|writer| writer != self.me) => {
                Step::Refuse(Refusal::NotWriter)
            }
            action => {
                let own = self.replica.held(&register);
                self.rules.upon_request(&register, action, own)
            }
        };
        self.proceed(register, operation, step, ctx);
    }

    /// Makes an operation begin, or go on, with this step.
    pub(crate) fn proceed(
        &mut self,
        register: Bytes,
        number: u64,
        step: Step,
        ctx: &mut Ctx<Self>,
    ) {
        let (outcome, imposed) = match step {
            Step::Query(action) => {
                let asks = Content::Read {
                    register: register.clone(),
                };
                return self.ask(register, number, Phase::query(action), asks, ctx);
            }
            Step::Return(held) => (held.read(), None),
            Step::Impose(held) => (held.clone().read(), Some(held)),
            Step::Write(Some(timestamp), value) => {
                let (writer, value) = (Some(self.me), Some(value));
                let tag = Tag { timestamp, writer };
                (RegisterResponse::Written { tag }, Some(Held { tag, value }))
            }
            Step::Write(None, _) => (RegisterResponse::Refused(Refusal::Exhausted), None),
            Step::Refuse(refusal) => (RegisterResponse::Refused(refusal), None),
        };
        if let Some(held) = imposed {
            let asks = Content::Write {
                register: register.clone(),
                held,
            };
            self.ask(register, number, Phase::impose(outcome), asks, ctx);
        } else {
            ctx.trigger(Effect::Indication(Indication {
                register,
                operation: number,
                outcome,
            }));
        }
    }

    /// Begins a phase: everybody is asked, including this process, and the request is kept until the phase
    /// ends.
    fn ask(
        &mut self,
        register: Bytes,
        number: u64,
        phase: Phase,
        asks: Content,
        ctx: &mut Ctx<Self>,
    ) {
        let request = self.operations.begin(Operation {
            register,
            number,
            phase,
            asks: asks.clone(),
        });
        send(To::All, request, asks, ctx);
    }

    /// If nobody queries, queries and their answers are unknown messages.
    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        let Message { request, content } = message;
        match (content, &self.quorum) {
            (Content::Read { .. } | Content::Value(_), Quorum::Correct(_)) => {
                ctx.count("unknown message");
            }
            (Content::Read { register }, Quorum::Majority) => {
                let held = self.replica.held(&register);
                send(To::One(from), request, Content::Value(held), ctx);
            }
            (Content::Value(held), Quorum::Majority) => self.upon_value(from, request, held, ctx),
            (Content::Write { register, held }, _) => {
                self.upon_write(from, request, &register, &held, ctx);
            }
            (Content::Acknowledge, _) => self.upon_acknowledge(from, request, ctx),
            (Content::Resumed, _) => self.ask_again(from, ctx),
        }
    }

    /// Acknowledges every value that can have been written, even one that is older than the value held.
    fn upon_write(
        &mut self,
        from: ProcessId,
        request: u64,
        register: &Bytes,
        held: &Held,
        ctx: &mut Ctx<Self>,
    ) {
        let may_impose = R::READERS_IMPOSE || self.writer == Some(from);
        if !may_impose || !held.is_possible(&self.processes, self.writer) {
            return ctx.count(if R::READERS_IMPOSE {
                "impossible tag"
            } else {
                "not from the writer"
            });
        }
        self.replica.adopt(register, held);
        send(To::One(from), request, Content::Acknowledge, ctx);
    }

    /// An answer counts once, and only while its operation queries. Upon a majority the operation goes on.
    fn upon_value(&mut self, from: ProcessId, request: u64, held: Held, ctx: &mut Ctx<Self>) {
        if !held.is_possible(&self.processes, self.writer) {
            return ctx.count("impossible tag");
        }
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Querying {
            answered,
            newest,
            agreed,
            ..
        } = &mut operation.phase
        else {
            return ctx.count("answer of another kind");
        };
        // A process that is asked again may answer with something newer. With a single writer, the newer
        // answer is taken. With many writers, it matters whether the first answers agree, which a second
        // answer must not change.
        if !answered.insert(from) && self.writer.is_none() {
            return;
        }
        *agreed &= answered.len() == 1 || newest.tag == held.tag;
        if newest.tag < held.tag {
            *newest = held;
        }
        let answered = *answered;
        if self.is_enough(answered) {
            self.upon_answers(request, ctx);
        }
    }

    fn upon_answers(&mut self, request: u64, ctx: &mut Ctx<Self>) {
        if let Some(Operation {
            register,
            number,
            phase:
                Phase::Querying {
                    action,
                    newest,
                    agreed,
                    ..
                },
            ..
        }) = self.operations.end(request)
        {
            let step = self.rules.upon_answers(action, newest, agreed);
            self.proceed(register, number, step, ctx);
        }
    }

    /// An acknowledgement counts once, and only while its operation imposes something.
    fn upon_acknowledge(&mut self, from: ProcessId, request: u64, ctx: &mut Ctx<Self>) {
        match self.operations.of(request).map(|o| &mut o.phase) {
            Some(Phase::Imposing { stored, .. }) => drop(stored.insert(from)),
            Some(Phase::Querying { .. }) => return ctx.count("answer of another kind"),
            None => return,
        }
        self.return_if_stored(request, ctx);
    }

    /// A crash affects every operation, including those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        if let Quorum::Correct(correct) = &mut self.quorum {
            correct.remove(p);
            for request in self.operations.requests() {
                self.return_if_stored(request, ctx);
            }
        }
    }

    /// After enough acknowledgements the operation returns.
    fn return_if_stored(&mut self, request: u64, ctx: &mut Ctx<Self>) {
        if let Some(operation) = self.operations.of(request)
            && let Phase::Imposing { stored, outcome } = &operation.phase
        {
            let (stored, outcome) = (*stored, outcome.clone());
            if self.is_enough(stored) {
                self.end(request, outcome, ctx);
            }
        }
    }

    /// The operation returns this outcome.
    pub(crate) fn end(&mut self, request: u64, outcome: RegisterResponse, ctx: &mut Ctx<Self>) {
        if let Some(operation) = self.operations.end(request) {
            ctx.trigger(Effect::Indication(operation.ends(outcome)));
        }
    }

    /// Whether the phase need not wait for any other process than these.
    fn is_enough(&self, answered: ProcessSet) -> bool {
        match self.quorum {
            Quorum::Majority => answered.len() >= self.processes.majority(),
            Quorum::Correct(correct) => correct.is_subset(answered),
        }
    }

    /// When a stream begins anew, asks its receiver again for all that is still open, and tells it to ask
    /// again itself, because answers of this process, which this process does not remember, may be lost.
    fn upon_status(&mut self, status: &Status, ctx: &mut Ctx<Self>) {
        if let Status::Begun { peer } = *status {
            send(To::One(peer), 0, Content::Resumed, ctx);
            self.ask_again(peer, ctx);
        }
    }

    /// Asks a process again for all that is still open, under the same numbers and with the same tags. A
    /// process that is asked twice holds no more than before, and answers.
    fn ask_again(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        for (request, content) in self.operations.asked() {
            send(To::One(peer), request, content, ctx);
        }
    }
}

/// The last timestamps of an only writer, by register.
#[derive(Default)]
pub(crate) struct Timestamps(BTreeMap<Bytes, u64>);

impl Timestamps {
    /// The timestamp of the next write of the register; `None` if there is no larger one.
    pub(crate) fn next(&mut self, register: &Bytes) -> Option<u64> {
        let last = self.0.entry(register.clone()).or_default();
        *last = next_number(*last)?;
        Some(*last)
    }
}

/// For tests of wrong rules.
#[cfg(test)]
impl<R: Rules> Phases<R> {
    pub(crate) fn rules(&mut self) -> &mut R {
        &mut self.rules
    }

    pub(crate) fn processes(&self) -> Membership {
        self.processes
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(crate) fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    pub(crate) fn writer(&mut self) -> &mut Option<ProcessId> {
        &mut self.writer
    }

    /// The processes that have not crashed; tests may change the set.
    pub(crate) fn correct(&mut self) -> &mut ProcessSet {
        match &mut self.quorum {
            Quorum::Correct(correct) => correct,
            Quorum::Majority => panic!("of majorities"),
        }
    }
}

/// For tests of timestamps that are used up.
#[cfg(test)]
impl Timestamps {
    pub(crate) fn use_up(&mut self, register: Bytes) {
        self.0.insert(register, u64::MAX);
    }
}

#[cfg(test)]
mod tests;
