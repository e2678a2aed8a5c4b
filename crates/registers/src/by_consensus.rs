//! (N,N) atomic registers from a sequence of consensus instances: each instance decides which operations come next.
//!
//! # Promises
//! - NNAR2 atomicity (safety).
//! - NNAR1 termination (liveness): every operation of a correct process returns, whatever the others do (wait-freedom),
//!   as long as what is assumed holds.
//!
//! # Assumes
//! Reliable broadcast and uniform consensus, and what they assume; with consensus by a rotating coordinator, ◇P and a
//! majority of correct processes. Any consensus will do in which all correct processes decide once all of them propose.
//! No correct process is more than 2¹⁶ instances, or 2¹⁶ operations of one process, behind another: what lies beyond is
//! refused, for good. A gap may end it, too: an operation whose announcement was lost may come with a decision that
//! orders it, and otherwise never returns.
//!
//! # Messages
//! None of its own over links. `Operation(number, register, read or write)` by reliable broadcast. What is proposed and
//! decided in an instance is a batch of operations, at most one of each process.
//!
//! # Cost
//! One reliable broadcast and one instance of consensus: over eager broadcast and a rotating coordinator (2n+3)(n−1)
//! messages; with the last process dead 2(n−1)² + 3n−5. An operation of p1, who coordinates, returns after 4 steps.
//! Reads and writes cost the same. Memory: the values of all registers; two numbers a process; the operations in flight;
//! decisions that come early.
//!
//! # Why it holds
//! All processes apply the same operations in the same order, that of the instances, and in a batch that of the ranks; a
//! read is one of them, and returns the value at its place. An operation is announced after it is invoked, and returns
//! after it is applied at its own process, so that this order follows real time: it is a linearization (NNAR2). Who
//! proposes in an instance has applied all earlier ones, so that it knows of each process which operation is next; hence
//! every operation in a batch is the next one of its process, and is applied once. If a correct process proposes an
//! operation, every correct process hears of it, too, and proposes in that instance, or has its decision: all decide. An
//! operation of a correct process is the next one of that process at all correct processes from some time on; each of
//! them proposes it in every instance that it then begins, and what is decided was proposed (NNAR1).
//!
//! So a consensus object is at least as strong as a register, and what no register can have, no consensus can: the lower
//! bound on quorums for registers carries over to consensus.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, section 7, which names the
//! reduction; Schneider: *Implementing Fault-Tolerant Services Using the State Machine Approach*, 1990; Herlihy:
//! *Wait-Free Synchronization*, 1991, whose universal construction has processes help each other as they do here.
//! Deviations: many registers by name; a batch an instance.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    register::{self, Action, Indication, Refusal, RegisterResponse, Request, Tag},
    reliable,
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, ProcessId,
    message::{LAST_NUMBER, next_number},
    ports,
    wire::{self, Undecodable, put_number, take_number},
};
use std::collections::{BTreeMap, VecDeque};

/// Of one process, so many operations are in flight at most: others wait.
const IN_FLIGHT: u64 = 1 << 12;

/// Operations this far above the last one of their process that was applied, and decisions this far above the next
/// instance, are refused.
const AHEAD: u64 = 1 << 16;

/// An operation that was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Operation {
    /// The process that makes it.
    origin: ProcessId,
    /// The process's number for it, counted from 1.
    number: u64,
    /// The name of the register.
    register: Bytes,
    action: Action,
}

impl Operation {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_number(self.number, &mut out);
        put_number(self.register.len() as u64, &mut out);
        out.put_slice(&self.register);
        match &self.action {
            Action::Read => out.put_u8(0),
            Action::Write(value) => {
                out.put_u8(1);
                out.put_slice(value);
            }
        }
        out.freeze()
    }

    fn decode(origin: ProcessId, mut bytes: Bytes) -> Result<Self, Undecodable> {
        let number = take_number(&mut bytes)?;
        let length = usize::try_from(take_number(&mut bytes)?).map_err(|_| Undecodable)?;
        if !(1..=LAST_NUMBER).contains(&number) || length > bytes.len() {
            return Err(Undecodable);
        }
        let register = bytes.split_to(length);
        let action = match bytes.try_get_u8().map_err(|_| Undecodable)? {
            0 if bytes.is_empty() => Action::Read,
            1 => Action::Write(bytes),
            _ => return Err(Undecodable),
        };
        Ok(Operation {
            origin,
            number,
            register,
            action,
        })
    }
}

/// A batch, as it is proposed: each operation after the rank of its process.
fn encode_batch<'o>(batch: impl IntoIterator<Item = &'o Operation>) -> Bytes {
    let entry = |operation: &Operation| {
        let mut out = BytesMut::new();
        put_number(operation.origin.rank() as u64, &mut out);
        out.put_slice(&operation.encode());
        out.freeze()
    };
    let entries: Vec<Bytes> = batch.into_iter().map(entry).collect();
    let mut out = BytesMut::new();
    wire::put_batch(&entries, &mut out);
    out.freeze()
}

fn decode_batch(bytes: Bytes, processes: &Membership) -> Result<Vec<Operation>, Undecodable> {
    let operation = |mut entry: Bytes| {
        let rank = usize::try_from(take_number(&mut entry)?).map_err(|_| Undecodable)?;
        let origin = ProcessId::from_rank(rank).filter(|p| processes.contains(*p));
        Operation::decode(origin.ok_or(Undecodable)?, entry)
    };
    wire::take_batch(bytes)?
        .into_iter()
        .map(operation)
        .collect()
}

/// What a process knows of the operations of one process.
#[derive(Default)]
struct Announced {
    /// The number of the last one that was applied.
    applied: u64,
    /// Those that were announced, and are not applied yet.
    open: BTreeMap<u64, Operation>,
}

impl Announced {
    /// The operation that comes next, if it was announced here.
    fn next(&self) -> Option<&Operation> {
        self.open.get(&(self.applied + 1))
    }
}

/// Registers by consensus.
pub struct ByConsensus {
    me: ProcessId,
    processes: Membership,
    /// The registers that were written.
    values: BTreeMap<Bytes, (Tag, Bytes)>,
    announced: BTreeMap<ProcessId, Announced>,
    /// The instance that decides what comes next.
    next: u64,
    /// Whether this process has proposed in that instance.
    proposed: bool,
    /// Batches of later instances.
    decisions: BTreeMap<u64, Vec<Operation>>,
    /// The number of this process's last operation that was announced.
    begun: u64,
    /// The user's numbers for this process's announced operations.
    mine: BTreeMap<u64, u64>,
    /// This process's operations in flight, by register.
    busy: BTreeMap<Bytes, u64>,
    /// Requests that wait until others have ended.
    waiting: VecDeque<Request>,
}

ports! {
    offers register::Port => Request -> Return;
    uses reliable: reliable::Port => Reliable;
    uses consensus: consensus::Port => Decide / Propose;

    /// Starts the registers over reliable broadcast and uniform consensus.
    pub fn spawn(host) = ByConsensus::new(host);
}

impl Algorithm for ByConsensus {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Reliable(delivery) => self.upon_announced(delivery, ctx),
            Event::Decide(decision) => self.upon_decide(decision, ctx),
        }
    }
}

impl ByConsensus {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let processes = *host.processes();
        let nothing = processes.iter().map(|p| (p, Announced::default()));
        ByConsensus {
            me: host.me(),
            processes,
            values: BTreeMap::new(),
            announced: nothing.collect(),
            next: 1,
            proposed: false,
            decisions: BTreeMap::new(),
            begun: 0,
            mine: BTreeMap::new(),
            busy: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// An operation is announced to everybody, unless one on the same register is in flight.
    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        let Request {
            register,
            operation,
            ..
        } = &request;
        if self.busy.contains_key(register) {
            let (register, operation) = (register.clone(), *operation);
            let outcome = RegisterResponse::Refused(Refusal::Busy);
            return ctx.trigger(Effect::Return(Indication {
                register,
                operation,
                outcome,
            }));
        }
        self.busy.insert(register.clone(), *operation);
        self.waiting.push_back(request);
        self.upon_room(ctx);
    }

    /// While not too many are in flight, announces the operations that wait.
    fn upon_room(&mut self, ctx: &mut Ctx<Self>) {
        while (self.mine.len() as u64) < IN_FLIGHT
            && let Some(request) = self.waiting.pop_front()
        {
            let Request {
                register,
                operation,
                action,
            } = request;
            let Some(number) = next_number(self.begun) else {
                self.end(
                    register,
                    operation,
                    RegisterResponse::Refused(Refusal::Exhausted),
                    ctx,
                );
                continue;
            };
            self.begun = number;
            self.mine.insert(number, operation);
            let announced = Operation {
                origin: self.me,
                number,
                register,
                action,
            };
            let payload = announced.encode();
            ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
        }
    }

    /// An operation that was not applied yet is to be proposed.
    fn upon_announced(&mut self, delivery: reliable::Deliver, ctx: &mut Ctx<Self>) {
        let origin = delivery.id.origin.process;
        let Ok(operation) = Operation::decode(origin, delivery.payload) else {
            return ctx.count("undecodable operation");
        };
        let Some(announced) = self.announced.get_mut(&origin) else {
            return ctx.count("unknown process");
        };
        // A decision may have come before the announcement.
        if operation.number <= announced.applied {
            return;
        }
        if operation.number - announced.applied > AHEAD {
            return ctx.count("operation too far ahead");
        }
        announced.open.entry(operation.number).or_insert(operation);
        self.upon_open(ctx);
    }

    /// Upon operations that can come next: proposes them in the next instance, once. Of each process there is at most
    /// one, so that processes that operate much do not keep others waiting.
    fn upon_open(&mut self, ctx: &mut Ctx<Self>) {
        let batch: Vec<_> = self
            .announced
            .values()
            .filter_map(Announced::next)
            .collect();
        if self.proposed || batch.is_empty() {
            return;
        }
        self.proposed = true;
        let (instance, value) = (self.next, encode_batch(batch));
        ctx.trigger(Effect::Propose(Propose { instance, value }));
    }

    /// A decision waits for its turn. It counts also where this process has not proposed.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        let Decide { instance, value } = decision;
        if instance < self.next {
            return ctx.count("repeated decision");
        }
        if instance - self.next > AHEAD {
            return ctx.count("decision too far ahead");
        }
        let Ok(batch) = decode_batch(value, &self.processes) else {
            return ctx.count("undecodable decision");
        };
        self.decisions.entry(instance).or_insert(batch);
        self.upon_decided(ctx);
    }

    /// Applies what was decided, in the order of the instances, and goes on to the next one.
    fn upon_decided(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(batch) = self.decisions.remove(&self.next) {
            for operation in batch {
                self.apply(operation, ctx);
            }
            self.next += 1;
            self.proposed = false;
        }
        self.upon_room(ctx);
        self.upon_open(ctx);
    }

    /// Applies an operation, if it is the next one of its process; its own process returns.
    fn apply(&mut self, operation: Operation, ctx: &mut Ctx<Self>) {
        let Operation {
            origin,
            number,
            register,
            action,
        } = operation;
        let Some(announced) = self.announced.get_mut(&origin) else {
            return ctx.count("unknown process");
        };
        if number != announced.applied + 1 {
            return ctx.count("operation out of turn");
        }
        announced.applied = number;
        announced.open.remove(&number);
        let outcome = self.outcome(origin, &register, action);
        if origin == self.me
            && let Some(operation) = self.mine.remove(&number)
        {
            self.end(register, operation, outcome, ctx);
        }
    }

    /// What the operation does, and returns: the same at every process.
    fn outcome(&mut self, origin: ProcessId, register: &Bytes, action: Action) -> RegisterResponse {
        let (tag, value) = match self.values.get(register) {
            Some((tag, value)) => (*tag, Some(value.clone())),
            None => (Tag::INITIAL, None),
        };
        let value = match action {
            Action::Read => return RegisterResponse::Read { tag, value },
            Action::Write(value) => value,
        };
        let Some(timestamp) = next_number(tag.timestamp) else {
            return RegisterResponse::Refused(Refusal::Exhausted);
        };
        let tag = Tag {
            timestamp,
            writer: Some(origin),
        };
        // In a buffer of its own: the batch that it arrived in may be large.
        let value = Bytes::copy_from_slice(&value);
        let register = Bytes::copy_from_slice(register);
        self.values.insert(register, (tag, value));
        RegisterResponse::Written { tag }
    }

    fn end(
        &mut self,
        register: Bytes,
        operation: u64,
        outcome: RegisterResponse,
        ctx: &mut Ctx<Self>,
    ) {
        self.busy.remove(&register);
        ctx.trigger(Effect::Return(Indication {
            register,
            operation,
            outcome,
        }));
    }
}

#[cfg(test)]
mod tests;
