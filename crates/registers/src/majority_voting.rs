//! Regular registers that one process writes, by majorities: reads and writes ask a majority.
//!
//! # Promises
//! - ONRR1 termination (liveness): every operation of a correct process returns.
//! - ONRR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written. Not more: of two reads, the later may return the older of two such values, even at one
//!   process.
//!
//! # Assumes
//! Perfect links; a majority of correct processes; no failure detector, and nothing of time. One
//! process, known to all, writes. Over a gap an operation goes on: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | the writer → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → the writer | done |
//! | Read(request, register) | a reader → all | what do you hold of it? |
//! | Value(request, tag, value) | a replica → the reader | this |
//!
//! # Cost
//! 2(n−1) messages and 2 steps an operation; with one process dead 2n−3. Memory: at each replica a tag and
//! a value a register; O(n) an operation under way.
//!
//! # Why it holds
//! A write that has returned is held by a majority, which meets the majority that a later read
//! hears: that finds its tag, or a greater one of a write that has begun (ONRR2). A majority
//! answers each request (ONRR1). Where a stream ends, a request may be lost, or an answer: who
//! sends on the next one asks its receiver again, under the same number and with the same tag, and
//! has the receiver do so (`Resumed`). A replica that is asked twice holds no more than before, and
//! answers; an answer counts once; and what was overwritten meanwhile stays so, since its tag is
//! still the smaller one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.2, “Majority Voting”. Deviations: answers are sets of processes, not counters, and count only while
//! the operation of their request is under way; each request has a number of its own; many registers by
//! name; a write that does not come from the writer is dropped.
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
    register::{Action, Indication, Outcome, Refusal, Request, Tag},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Membership, ProcessId, ProcessSet, message::next_number,
};
use std::collections::BTreeMap;

/// How far an operation has come.
#[derive(Debug)]
enum Phase {
    Reading {
        /// Who has answered.
        answered: ProcessSet,
        /// The newest of the answers.
        newest: Held,
    },
    Writing {
        /// Who has acknowledged.
        stored: ProcessSet,
        /// Which write it is.
        tag: Tag,
    },
}

/// Majority voting.
pub struct MajorityVoting {
    me: ProcessId,
    processes: Membership,
    writer: ProcessId,
    replica: Replica,
    /// The timestamp of the last write of each register, at the writer.
    written: BTreeMap<Bytes, u64>,
    operations: Operations<Phase>,
}

impl Algorithm for MajorityVoting {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Link(Deliver { from, message }) => {
                let request = message.request;
                match message.content {
                    Content::Read { register } => {
                        let held = Content::Value(self.replica.held(&register));
                        answer(from, request, held, ctx);
                    }
                    Content::Value(held) => self.upon_value(from, request, held, ctx),
                    Content::Write { register, held } => {
                        self.upon_write(from, request, &register, &held, ctx);
                    }
                    Content::Acknowledge => self.upon_acknowledge(from, request, ctx),
                    Content::Resumed => ask_again(&self.operations, from, ctx),
                }
            }
            Event::Crash(_) => {}
            Event::Status(status) => upon_status(&self.operations, &status, ctx),
        }
    }
}

impl MajorityVoting {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Self {
        MajorityVoting {
            me: host.me(),
            processes: *host.processes(),
            writer,
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
            Action::Read => self.read(register, operation, ctx),
            Action::Write(_) if self.me != self.writer => ctx.trigger(refuse(Refusal::NotWriter)),
            Action::Write(value) => self.write(register, operation, value, ctx),
        }
    }

    fn read(&mut self, register: Bytes, number: u64, ctx: &mut Ctx<Self>) {
        let phase = Phase::Reading {
            answered: ProcessSet::EMPTY,
            newest: Held::default(),
        };
        let asked = register.clone();
        let request = self.operations.begin(Operation {
            register,
            number,
            phase,
        });
        ask(
            &mut self.operations,
            request,
            Content::Read { register: asked },
            ctx,
        );
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
        let phase = Phase::Writing {
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

    /// An answer counts once, and only while its read is under way. Upon a majority the read returns.
    fn upon_value(&mut self, from: ProcessId, request: u64, held: Held, ctx: &mut Ctx<Self>) {
        if !held.is_possible(&self.processes, Some(self.writer)) {
            return ctx.count("impossible tag");
        }
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Reading { answered, newest } = &mut operation.phase else {
            return ctx.count("answer of another kind");
        };
        answered.insert(from);
        if newest.tag < held.tag {
            *newest = held;
        }
        if answered.len() >= self.processes.majority() {
            let Held { tag, value } = std::mem::take(newest);
            self.end(request, Outcome::Read { tag, value }, ctx);
        }
    }

    /// Everything that the writer writes is acknowledged, also what is older than what is held.
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

    /// Upon acknowledgements of a majority the write returns.
    fn upon_acknowledge(&mut self, from: ProcessId, request: u64, ctx: &mut Ctx<Self>) {
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Writing { stored, tag } = &mut operation.phase else {
            return ctx.count("answer of another kind");
        };
        stored.insert(from);
        if stored.len() >= self.processes.majority() {
            let tag = *tag;
            self.end(request, Outcome::Written { tag }, ctx);
        }
    }

    fn end(&mut self, request: u64, outcome: Outcome, ctx: &mut Ctx<Self>) {
        if let Some(operation) = self.operations.end(request) {
            ctx.trigger(Effect::Indication(operation.ends(outcome)));
        }
    }
}

/// Starts majority voting over perfect links.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    writer: ProcessId,
    up: Addr<Indication>,
) -> Addr<Request> {
    exchange::spawn_as(
        host,
        MajorityVoting::new(host, writer),
        lane,
        status,
        &Addr::nowhere(),
        up,
    )
}

#[cfg(test)]
mod tests;
