//! Regular registers that one process writes, with the perfect failure detector: a read returns the own
//! copy, a write changes the copies of all that have not crashed.
//!
//! # Promises
//! - ONRR1 termination (liveness): every operation of a correct process returns.
//! - ONRR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written. Not more: of two readers, the later may return the older of two such values.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. One process, known to
//! all, writes. Over a gap an operation goes on: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | the writer → all | hold this |
//! | Acknowledge(request) | a replica → the writer | done |
//!
//! # Cost
//! A read nothing. A write 2(n−1) messages and 2 steps; with one reader dead 2n−3 messages, and max(2, D)
//! steps. Memory: at each replica a tag and a value a register; O(n) a write under way.
//!
//! # Why it holds
//! Before a write returns, everybody that has not crashed has the value, so that a read that begins
//! later returns it or a newer one (ONRR2). P reports who never acknowledges, and nobody else
//! (ONRR1). Where a stream ends, a request may be lost, or an answer: who sends on the next one
//! asks its receiver again, under the same number and with the same tag, and has the receiver do so
//! (`Resumed`). A replica that is asked twice holds no more than before, and answers; an answer
//! counts once; and what was overwritten meanwhile stays so, since its tag is still the smaller
//! one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.2, “Read-One Write-All”. Deviations: writes have tags and their requests numbers, which
//! acknowledgements carry; the rule to return holds only while a write is under way, and is looked at
//! when a crash is reported, too; many registers by name; a write from anybody else is dropped.
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
use std::collections::BTreeMap;

/// A write under way.
#[derive(Debug)]
struct Writing {
    /// Who has acknowledged.
    stored: ProcessSet,
    tag: Tag,
}

/// Read-one write-all.
pub struct ReadOneWriteAll {
    me: ProcessId,
    processes: Membership,
    writer: ProcessId,
    /// Who has not crashed, as far as P has told.
    correct: ProcessSet,
    replica: Replica,
    /// The timestamp of the last write of each register, at the writer.
    written: BTreeMap<Bytes, u64>,
    operations: Operations<Writing>,
}

impl Algorithm for ReadOneWriteAll {
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

impl ReadOneWriteAll {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Self {
        ReadOneWriteAll {
            me: host.me(),
            processes: *host.processes(),
            writer,
            correct: host.processes().set(),
            replica: Replica::default(),
            written: BTreeMap::new(),
            operations: Operations::default(),
        }
    }

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
        match action {
            Action::Read => {
                let Held { tag, value } = self.replica.held(&register);
                let outcome = Outcome::Read { tag, value };
                ctx.trigger(Effect::Indication(Indication {
                    register,
                    operation,
                    outcome,
                }));
            }
            Action::Write(_) if self.me != self.writer => ctx.trigger(refuse(Refusal::NotWriter)),
            Action::Write(value) => self.write(register, operation, value, ctx),
        }
    }

    fn write(&mut self, register: Bytes, number: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        let timestamp = self.written.entry(register.clone()).or_default();
        let Some(next) = next_number(*timestamp) else {
            let exhausted = refused(register, number, Refusal::Exhausted);
            return ctx.trigger(Effect::Indication(exhausted));
        };
        *timestamp = next;
        let tag = Tag {
            timestamp: next,
            writer: Some(self.me),
        };
        let phase = Writing {
            stored: ProcessSet::EMPTY,
            tag,
        };
        let written = register.clone();
        let request = self.operations.begin(Operation {
            register,
            number,
            phase,
        });
        let (register, value) = (written, Some(value));
        let held = Held { tag, value };
        ask(
            &mut self.operations,
            request,
            Content::Write { register, held },
            ctx,
        );
    }

    fn upon_write(
        &mut self,
        from: ProcessId,
        request: u64,
        register: &Bytes,
        held: &Held,
        ctx: &mut Ctx<Self>,
    ) {
        if from != self.writer || !held.is_possible(&self.processes, Some(self.writer)) {
            return ctx.count("not from the writer");
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

    /// A crash concerns every write, also those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.correct.remove(p);
        for request in self.operations.requests() {
            self.upon_all_have_it(request, ctx);
        }
    }

    /// Upon acknowledgements of all that have not crashed the write returns.
    fn upon_all_have_it(&mut self, request: u64, ctx: &mut Ctx<Self>) {
        let correct = self.correct;
        let all_have_it = |o: &mut Operation<Writing>| correct.is_subset(o.phase.stored);
        if !self.operations.of(request).is_some_and(all_have_it) {
            return;
        }
        if let Some(operation) = self.operations.end(request) {
            let tag = operation.phase.tag;
            ctx.trigger(Effect::Indication(operation.ends(Outcome::Written { tag })));
        }
    }
}

/// Starts read-one write-all over perfect links and P.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    detector: &Subscribe<perfect::Crash>,
    writer: ProcessId,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ReadOneWriteAll::new(host, writer);
    exchange::spawn_as(host, algorithm, lane, status, detector, up)
}

#[cfg(test)]
mod tests;
