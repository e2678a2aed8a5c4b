//! (N,N) atomic registers by quorum access: a read gets the newest value and writes it back, a write sets its
//! value with the next tag.
//!
//! # Promises
//! - NNAR2 atomicity (safety).
//! - NNAR1 termination (liveness): wherever calls of the quorum access below return; over generalized quorum
//!   access, at every process of `U_f`.
//!
//! # Assumes
//! Quorum access.
//!
//! # Messages
//! None of its own.
//!
//! # Cost
//! Two calls of quorum access an operation: over classical access 4(n−1) messages and 4 steps (n = 1:
//! none). Memory: at each replica, the newest value of every register; here, the operations in flight. A
//! call carries all registers: they are meant to be few, or small.
//!
//! # Why it holds
//! A write has a larger tag than every operation that returned before it began, since its get has some state
//! with the value of that operation (QAF2), and a set replaces a value only by one with a larger tag, so that
//! the largest stays. A read returns the value with the largest tag that it has seen, and returns only when
//! that value is set, so that reads that begin later see no smaller one. Tags are unique: a process has one
//! operation at a time on a register, and never abandons and restarts it, so that its next tag is larger than
//! its last. Ordering operations by tags, reads after their writes, is therefore a linearization; a write
//! that did not return takes effect if some read returned it.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, section 5, after
//! Lynch, Shvartsman. Deviations: many registers, an operation at a time on each.
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;
mod state;

pub use state::{Registers, Update};

use bytes::Bytes;
use quorate_abstractions::{
    quorum_access::{self, Answer, Call, observe_request},
    register::{self, Action, Indication, Refusal, RegisterResponse, Request, Tag},
};
use quorate_core::{Algorithm, Ctx, Host, ProcessId, message::next_number, ports};
use std::collections::BTreeMap;

/// The phase of an operation.
enum Phase {
    /// A read waits for its get.
    Reads,
    /// A write of this value waits for its get.
    Writes(Bytes),
    /// The operation waits for its set, and then returns this.
    Sets(RegisterResponse),
}

/// An operation in flight.
struct Pending {
    register: Bytes,
    operation: u64,
    phase: Phase,
}

/// Registers by quorum access.
pub struct ByQuorumAccess {
    me: ProcessId,
    /// The number of calls of quorum access made so far.
    calls: u64,
    /// The operations in flight, by the call that each waits for.
    pending: BTreeMap<u64, Pending>,
    /// The registers with an operation in flight, and its call.
    busy: BTreeMap<Bytes, u64>,
}

ports! {
    offers register::Port => Request -> Return;
    uses access: quorum_access::Port<Registers> => Access, observed observe_request::<Registers>;

    /// Starts the registers over quorum access.
    pub fn spawn(host) = ByQuorumAccess::new(host);
}

impl Algorithm for ByQuorumAccess {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Access(quorum_access::Indication { operation, answer }) => match answer {
                Answer::Got(states) => self.upon_got(operation, &states, ctx),
                Answer::Set => self.upon_set(operation, ctx),
            },
        }
    }
}

impl ByQuorumAccess {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        ByQuorumAccess {
            me: host.me(),
            calls: 0,
            pending: BTreeMap::new(),
            busy: BTreeMap::new(),
        }
    }

    /// An operation begins with a get, unless one on the same register is in flight.
    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        let Request {
            register,
            operation,
            action,
        } = request;
        if self.busy.contains_key(&register) {
            let outcome = RegisterResponse::Refused(Refusal::Busy);
            return ctx.trigger(Effect::Return(Indication {
                register,
                operation,
                outcome,
            }));
        }
        let phase = match action {
            Action::Read => Phase::Reads,
            Action::Write(value) => Phase::Writes(value),
        };
        let pending = Pending {
            register,
            operation,
            phase,
        };
        self.call(pending, Call::Get, ctx);
    }

    fn call(&mut self, pending: Pending, call: Call<Update>, ctx: &mut Ctx<Self>) {
        self.calls += 1;
        let operation = self.calls;
        self.busy.insert(pending.register.clone(), operation);
        self.pending.insert(operation, pending);
        ctx.trigger(Effect::Access(quorum_access::Request { operation, call }));
    }

    /// The state with the largest tag counts: a read sets its value again, a write sets its own with the next
    /// tag.
    fn upon_got(&mut self, call: u64, states: &[Registers], ctx: &mut Ctx<Self>) {
        let Some(mut pending) = self.pending.remove(&call) else {
            return ctx.count("unknown call");
        };
        let values = states.iter().map(|state| state.get(&pending.register));
        let newest = values.max_by_key(|(tag, _)| *tag);
        let (tag, value) = newest.unwrap_or((Tag::INITIAL, None));
        let (tag, value, outcome) = match pending.phase {
            Phase::Reads => (tag, value.clone(), RegisterResponse::Read { tag, value }),
            Phase::Writes(value) => {
                let Some(timestamp) = next_number(tag.timestamp) else {
                    pending.phase = Phase::Sets(RegisterResponse::Refused(Refusal::Exhausted));
                    return self.end(pending, ctx);
                };
                let writer = Some(self.me);
                let tag = Tag { timestamp, writer };
                (tag, Some(value), RegisterResponse::Written { tag })
            }
            Phase::Sets(_) => return ctx.count("unknown call"),
        };
        let register = pending.register.clone();
        pending.phase = Phase::Sets(outcome);
        let update = Update {
            register,
            tag,
            value,
        };
        self.call(pending, Call::Set(update), ctx);
    }

    fn upon_set(&mut self, call: u64, ctx: &mut Ctx<Self>) {
        match self.pending.remove(&call) {
            Some(pending) => self.end(pending, ctx),
            None => ctx.count("unknown call"),
        }
    }

    fn end(&mut self, pending: Pending, ctx: &mut Ctx<Self>) {
        let Pending {
            register,
            operation,
            phase,
        } = pending;
        self.busy.remove(&register);
        if let Phase::Sets(outcome) = phase {
            ctx.trigger(Effect::Return(Indication {
                register,
                operation,
                outcome,
            }));
        }
    }
}

#[cfg(test)]
mod tests;
