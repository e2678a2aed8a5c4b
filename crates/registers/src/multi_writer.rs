//! Atomic registers that every process writes and reads, by majorities.
//!
//! # Promises
//! - NNAR1 termination (liveness): every operation of a correct process returns.
//! - NNAR2 atomicity (safety): the operations are linearizable.
//!
//! # Assumes
//! Perfect links; a majority of correct processes; no failure detector, and nothing of time. Over a
//! gap an operation goes on: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Read(request, register) | who operates → all | what do you hold of it? |
//! | Value(request, tag, value) | a replica → who asked | this |
//! | Write(request, register, tag, value) | who operates → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → who asked | done |
//!
//! # Cost
//! A write 4(n−1) messages and 4 steps; a read 2(n−1) and 2 if the first majority to answer holds the same,
//! else 4(n−1) and 4. With one process dead 4n−6, and 2n−3 or 4n−6. Memory: at each replica a tag and a
//! value a register; O(n) an operation under way, and its request.
//!
//! # Why it holds
//! Any two majorities meet. Before an operation with a tag returns, a majority holds that tag or a
//! greater one: a write has stored it, a read has found or stored it. An operation that begins
//! later therefore finds that tag or a greater one: a read returns no older value, and a write
//! takes a greater tag. Two writes never have the same: the timestamp of one process's own grows,
//! since its last write is held by a majority, and the writer tells those of different processes
//! apart. So operations ordered by tag, a write before the reads that return it, are ordered as in
//! real time (NNAR2). A majority answers each request, whoever else has crashed (NNAR1). Where a
//! stream ends, a request may be lost, or an answer: who sends on the next one asks its receiver
//! again, under the same number and with the same tag, and has the receiver do so (`Resumed`). A
//! replica that is asked twice holds no more than before, and answers; an answer counts once; and
//! what was overwritten meanwhile stays so, since its tag is still the smaller one.
//!
//! # Source
//! Attiya, Bar-Noy, Dolev: *Sharing Memory Robustly in Message-Passing Systems*, 1995; for many writers
//! Lynch and Shvartsman, 1997. Deviations: many registers by name in one module, whose operations do not
//! wait for each other; each request to the replicas has a number of its own, and answers are sets of
//! processes; a read that finds a majority agreed does not write back.
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

/// How far an operation has come.
#[derive(Debug)]
enum Phase {
    /// Asking what is held.
    Collecting {
        /// Who has answered.
        answered: ProcessSet,
        /// The newest of the answers.
        newest: Held,
        /// Whether all answers are the same.
        agreed: bool,
        /// What to write then; `None` of a read.
        writes: Option<Bytes>,
    },
    /// Having the replicas hold something.
    Storing {
        /// Who does.
        stored: ProcessSet,
        /// How the operation ends then.
        outcome: Outcome,
    },
}

/// Registers of many writers, by majorities.
pub struct MultiWriter {
    me: ProcessId,
    processes: Membership,
    replica: Replica,
    operations: Operations<Phase>,
}

impl Algorithm for MultiWriter {
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

impl MultiWriter {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        MultiWriter {
            me: host.me(),
            processes: *host.processes(),
            replica: Replica::default(),
            operations: Operations::default(),
        }
    }

    /// A read and a write begin alike: they ask what is held.
    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        let Request {
            register,
            operation,
            action,
        } = request;
        if self.operations.is_busy(&register) {
            let refused = refused(register, operation, Refusal::Busy);
            return ctx.trigger(Effect::Indication(refused));
        }
        let phase = Phase::Collecting {
            answered: ProcessSet::EMPTY,
            newest: Held::default(),
            agreed: true,
            writes: match action {
                Action::Read => None,
                Action::Write(value) => Some(value),
            },
        };
        let number = operation;
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

    /// An answer counts once, and only if it answers the last request of an operation under way.
    fn upon_value(&mut self, from: ProcessId, request: u64, held: Held, ctx: &mut Ctx<Self>) {
        if !held.is_possible(&self.processes, None) {
            return ctx.count("impossible tag");
        }
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Collecting {
            answered,
            newest,
            agreed,
            ..
        } = &mut operation.phase
        else {
            return ctx.count("answer of another kind");
        };
        if !answered.insert(from) {
            return;
        }
        *agreed &= answered.len() == 1 || newest.tag == held.tag;
        if newest.tag < held.tag {
            *newest = held;
        }
        if answered.len() == self.processes.majority() {
            self.upon_collected(request, ctx);
        }
    }

    /// Upon answers of a majority: a write takes a greater tag; a read returns, if they are the same, or
    /// writes back what is newest.
    fn upon_collected(&mut self, request: u64, ctx: &mut Ctx<Self>) {
        let Some(operation) = self.operations.of(request) else {
            return;
        };
        let Phase::Collecting {
            newest,
            agreed,
            writes,
            ..
        } = &operation.phase
        else {
            return;
        };
        let (newest, agreed) = (newest.clone(), *agreed);
        match writes.clone() {
            Some(value) => match next_number(newest.tag.timestamp) {
                Some(timestamp) => {
                    let writer = Some(self.me);
                    let tag = Tag { timestamp, writer };
                    let value = Some(value);
                    self.store(request, Held { tag, value }, Outcome::Written { tag }, ctx);
                }
                None => self.end(request, Outcome::Refused(Refusal::Exhausted), ctx),
            },
            None if agreed => {
                let Held { tag, value } = newest;
                self.end(request, Outcome::Read { tag, value }, ctx);
            }
            None => {
                let Held { tag, value } = newest.clone();
                self.store(request, newest, Outcome::Read { tag, value }, ctx);
            }
        }
    }

    fn store(&mut self, request: u64, held: Held, outcome: Outcome, ctx: &mut Ctx<Self>) {
        let phase = Phase::Storing {
            stored: ProcessSet::EMPTY,
            outcome,
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
        if !held.is_possible(&self.processes, None) {
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

/// Starts registers of many writers over perfect links.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    up: Addr<Indication>,
) -> Addr<Request> {
    exchange::spawn_as(
        host,
        MultiWriter::new(host),
        lane,
        status,
        &Addr::nowhere(),
        up,
    )
}

#[cfg(test)]
mod tests;
