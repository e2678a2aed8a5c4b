//! Atomic registers that every process writes and reads, with the perfect failure detector: what a read
//! returns and what a write writes is imposed on all that have not crashed.
//!
//! # Promises
//! - NNAR1 termination (liveness): every operation of a correct process returns.
//! - NNAR2 atomicity (safety): the operations are linearizable.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. Over a gap an
//! operation goes on: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | who operates → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → who asked | done |
//!
//! # Cost
//! 2(n−1) messages and 2 steps an operation; with one process dead 2n−3 messages, and max(2, D) steps.
//! Memory: at each replica a tag and a value a register; O(n) an operation under way.
//!
//! # Why it holds
//! Before an operation returns, everybody that has not crashed holds its tag or a greater one, who
//! operates next included: so the own copy has the tag that a write must exceed, and a read returns
//! nothing older (NNAR2). P reports who never acknowledges, and nobody else (NNAR1). Where a stream
//! ends, a request may be lost, or an answer: who sends on the next one asks its receiver again,
//! under the same number and with the same tag, and has the receiver do so (`Resumed`). A replica
//! that is asked twice holds no more than before, and answers; an answer counts once; and what was
//! overwritten meanwhile stays so, since its tag is still the smaller one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.4, “Read-Impose Write-Consult-All”. Deviations: requests have numbers, which their acknowledgements
//! carry; reports count at operations that begin later; many registers by name; what nobody can have
//! written is dropped.
use crate::{
    exchange::{self, Effect, Event, answer, ask, ask_again, upon_status},
    message::{Content, Held, Message},
    operations::{Operation, Operations, refused},
    replica::Replica,
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    link::{self, Deliver},
    perfect,
    register::{Action, Indication, Outcome, Refusal, Request, Tag},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Membership, ProcessId, ProcessSet, message::next_number,
};

/// An operation that imposes something.
#[derive(Debug)]
struct Imposing {
    /// Who has acknowledged.
    stored: ProcessSet,
    /// How it ends.
    outcome: Outcome,
}

/// Read-impose write-consult-all.
pub struct ReadImposeWriteConsultAll {
    me: ProcessId,
    processes: Membership,
    /// Who alone writes; `None`: everybody.
    only: Option<ProcessId>,
    /// Who has not crashed, as far as P has told.
    correct: ProcessSet,
    replica: Replica,
    operations: Operations<Imposing>,
}

impl Algorithm for ReadImposeWriteConsultAll {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Link(Deliver { from, message }) => {
                let request = message.request;
                match message.content {
                    Content::Write { register, held } => {
                        self.upon_write(from, request, &register, &held, ctx);
                    }
                    Content::Acknowledge => self.upon_acknowledge(from, request, ctx),
                    Content::Resumed => ask_again(&self.operations, from, ctx),
                    Content::Read { .. } | Content::Value(_) => ctx.count("unknown message"),
                }
            }
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Status(status) => upon_status(&self.operations, &status, ctx),
        }
    }
}

impl ReadImposeWriteConsultAll {
    /// The algorithm at `host`, where everybody writes.
    pub fn new(host: &impl Host) -> Self {
        ReadImposeWriteConsultAll {
            me: host.me(),
            processes: *host.processes(),
            only: None,
            correct: host.processes().set(),
            replica: Replica::default(),
            operations: Operations::default(),
        }
    }

    /// …where only this process writes.
    pub(crate) fn written_by(mut self, writer: ProcessId) -> Self {
        self.only = Some(writer);
        self
    }

    /// A read imposes what this process holds, a write what comes after it.
    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        let Request {
            register,
            operation,
            action,
        } = request;
        let refuse = |refusal| Effect::Indication(refused(register.clone(), operation, refusal));
        if self.operations.is_busy(&register) {
            return ctx.trigger(refuse(Refusal::Busy));
        }
        let held = self.replica.held(&register);
        match action {
            Action::Read => {
                let Held { tag, value } = held.clone();
                self.impose(register, operation, held, Outcome::Read { tag, value }, ctx);
            }
            Action::Write(_) if self.only.is_some_and(|only| only != self.me) => {
                ctx.trigger(refuse(Refusal::NotWriter));
            }
            Action::Write(value) => match next_number(held.tag.timestamp) {
                Some(timestamp) => {
                    let writer = Some(self.me);
                    let (tag, value) = (Tag { timestamp, writer }, Some(value));
                    let held = Held { tag, value };
                    self.impose(register, operation, held, Outcome::Written { tag }, ctx);
                }
                None => ctx.trigger(refuse(Refusal::Exhausted)),
            },
        }
    }

    fn impose(
        &mut self,
        register: Bytes,
        number: u64,
        held: Held,
        outcome: Outcome,
        ctx: &mut Ctx<Self>,
    ) {
        let imposed = register.clone();
        let phase = Imposing {
            stored: ProcessSet::EMPTY,
            outcome,
        };
        let request = self.operations.begin(Operation {
            register,
            number,
            phase,
        });
        let register = imposed;
        ask(
            &mut self.operations,
            request,
            Content::Write { register, held },
            ctx,
        );
    }

    /// Everything is acknowledged, also what is older than what is held.
    fn upon_write(
        &mut self,
        from: ProcessId,
        request: u64,
        register: &Bytes,
        held: &Held,
        ctx: &mut Ctx<Self>,
    ) {
        if !held.is_possible(&self.processes, self.only) {
            return ctx.count("impossible tag");
        }
        self.replica.adopt(register, held);
        answer(from, request, Content::Acknowledge, ctx);
    }

    fn upon_acknowledge(&mut self, from: ProcessId, request: u64, ctx: &mut Ctx<Self>) {
        if let Some(operation) = self.operations.of(request) {
            operation.phase.stored.insert(from);
        }
        self.upon_all_have_it(request, ctx);
    }

    /// A crash concerns every operation, also those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.correct.remove(p);
        for request in self.operations.requests() {
            self.upon_all_have_it(request, ctx);
        }
    }

    /// Upon acknowledgements of all that have not crashed the operation returns.
    fn upon_all_have_it(&mut self, request: u64, ctx: &mut Ctx<Self>) {
        let correct = self.correct;
        let all_have_it = |o: &mut Operation<Imposing>| correct.is_subset(o.phase.stored);
        if !self.operations.of(request).is_some_and(all_have_it) {
            return;
        }
        if let Some(operation) = self.operations.end(request) {
            let outcome = operation.phase.outcome.clone();
            ctx.trigger(Effect::Indication(operation.ends(outcome)));
        }
    }
}

/// For tests of rules that are wrong.
#[cfg(test)]
impl ReadImposeWriteConsultAll {
    /// Nobody has crashed after all.
    pub(crate) fn restore(&mut self, all: ProcessSet) {
        self.correct = all;
    }

    /// The request of some operation under way.
    pub(crate) fn under_way(&self) -> Option<u64> {
        self.operations.requests().first().copied()
    }
}

/// Starts read-impose write-consult-all over perfect links and P.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ReadImposeWriteConsultAll::new(host);
    exchange::spawn_as(host, algorithm, lane, status, detector, up)
}

#[cfg(test)]
mod tests;
