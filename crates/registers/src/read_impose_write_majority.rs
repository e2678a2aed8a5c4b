//! Atomic registers that one process writes, by majorities: a read imposes what it returns.
//!
//! # Promises
//! - ONAR1 termination (liveness): every operation of a correct process returns.
//! - ONAR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written.
//! - ONAR3 ordering (safety): no read returns an older value than a read that returned before it began.
//!
//! # Assumes
//! Perfect links; a majority of correct processes; no failure detector, and nothing of time. One
//! process, known to all, writes. Over a gap an operation goes on: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | who operates → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → who asked | done |
//! | Read(request, register) | a reader → all | what do you hold of it? |
//! | Value(request, tag, value) | a replica → the reader | this |
//!
//! # Cost
//! A write 2(n−1) messages and 2 steps, a read 4(n−1) and 4; with one process dead 2n−3 and 4n−6. Memory:
//! at each replica a tag and a value a register; O(n) an operation under way.
//!
//! # Why it holds
//! As in majority voting a read finds the last value written before it or a newer one (ONAR2).
//! Before it returns, a majority holds that value or a newer one, which every later read finds
//! (ONAR3). A majority answers each request (ONAR1). Where a stream ends, a request may be lost, or
//! an answer: who sends on the next one asks its receiver again, under the same number and with the
//! same tag, and has the receiver do so (`Resumed`). A replica that is asked twice holds no more
//! than before, and answers; an answer counts once; and what was overwritten meanwhile stays so,
//! since its tag is still the smaller one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.3, “Read-Impose Write-Majority”. Deviations: answers are sets of processes, and count only in the
//! phase that they answer: each request of each phase has a number of its own; many registers by name;
//! what nobody can have written is dropped. That a read need not impose what a majority agrees on is not
//! made use of here (see [`multi_writer`](crate::multi_writer)).
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
    /// A read collects answers.
    Collecting {
        /// Who has answered.
        answered: ProcessSet,
        /// The newest of the answers.
        newest: Held,
    },
    /// A read imposes what it returns then, a write what it writes.
    Storing {
        /// Who has acknowledged.
        stored: ProcessSet,
        /// How it ends.
        outcome: Outcome,
    },
}

/// Read-impose write-majority.
pub struct ReadImposeWriteMajority {
    me: ProcessId,
    processes: Membership,
    writer: ProcessId,
    replica: Replica,
    /// The timestamp of the last write of each register, at the writer.
    written: BTreeMap<Bytes, u64>,
    operations: Operations<Phase>,
}

impl Algorithm for ReadImposeWriteMajority {
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

impl ReadImposeWriteMajority {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Self {
        ReadImposeWriteMajority {
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
        let phase = Phase::Collecting {
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
        let phase = Phase::Storing {
            stored: ProcessSet::EMPTY,
            outcome: Outcome::Written { tag },
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

    /// An answer counts once, and only while its read collects. Upon a majority the read imposes the
    /// newest.
    fn upon_value(&mut self, from: ProcessId, request: u64, held: Held, ctx: &mut Ctx<Self>) {
        if !held.is_possible(&self.processes, Some(self.writer)) {
            return ctx.count("impossible tag");
        }
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Collecting { answered, newest } = &mut operation.phase else {
            return ctx.count("answer of another kind");
        };
        answered.insert(from);
        if newest.tag < held.tag {
            *newest = held;
        }
        if answered.len() < self.processes.majority() {
            return;
        }
        let held = std::mem::take(newest);
        let Held { tag, value } = held.clone();
        let phase = Phase::Storing {
            stored: ProcessSet::EMPTY,
            outcome: Outcome::Read { tag, value },
        };
        if let Some((request, register)) = self.operations.go_on(request, phase) {
            ask(
                &mut self.operations,
                request,
                Content::Write { register, held },
                ctx,
            );
        }
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
        if !held.is_possible(&self.processes, Some(self.writer)) {
            return ctx.count("impossible tag");
        }
        self.replica.adopt(register, held);
        answer(from, request, Content::Acknowledge, ctx);
    }

    /// Upon acknowledgements of a majority the operation returns.
    fn upon_acknowledge(&mut self, from: ProcessId, request: u64, ctx: &mut Ctx<Self>) {
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Storing { stored, outcome } = &mut operation.phase else {
            return ctx.count("answer of another kind");
        };
        stored.insert(from);
        if stored.len() >= self.processes.majority() {
            let outcome = outcome.clone();
            self.end(request, outcome, ctx);
        }
    }

    fn end(&mut self, request: u64, outcome: Outcome, ctx: &mut Ctx<Self>) {
        if let Some(operation) = self.operations.end(request) {
            ctx.trigger(Effect::Indication(operation.ends(outcome)));
        }
    }
}

/// Starts read-impose write-majority over perfect links.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    writer: ProcessId,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ReadImposeWriteMajority::new(host, writer);
    exchange::spawn_as(host, algorithm, lane, status, &Addr::nowhere(), up)
}

#[cfg(test)]
mod tests;
