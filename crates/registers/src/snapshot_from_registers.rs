//! Atomic snapshot from atomic registers, one per process: a scan reads them all until nothing changes, or
//! borrows the scan of a process that has updated meanwhile.
//!
//! # Promises
//! - SN2 atomicity (safety).
//! - SN1 termination (liveness): wherever operations on the registers return, every operation of a correct
//!   process returns, however many updates are in flight.
//!
//! # Assumes
//! Atomic registers, each with one writer or with many; regular registers do not suffice. Nobody else writes
//! the registers of the segments.
//!
//! # Messages
//! None of its own.
//!
//! # Cost
//! A scan reads 2n registers if nobody updates, at most n(n+1); the reads of n registers are in flight
//! together. An update scans and writes. Over registers by majorities, if nobody else updates: a scan 4n(n−1)
//! messages and 4 steps, an update 4(n+1)(n−1) and 8 (n = 1: none). Memory: two collects while an operation
//! is in flight. A register holds n+1 values.
//!
//! # Why it holds
//! If two collects, one after the other, see the same updates, the segments had these values at the moment
//! between them. If a segment has had two updates since the first collect, the second of them began when the
//! first had ended, hence within the scan, and so is the moment of the scan within that second update. The
//! first update may have scanned long before. So each scan returns the segments as of a moment within it;
//! these moments and the writes of updates are the linearization (SN2). Each further collect sees the first
//! update of some other process, or ends the scan: there are at most n+1 (SN1).
//!
//! # Source
//! Afek, Attiya, Dolev, Gafni, Merritt, Shavit: *Atomic Snapshots of Shared Memory*, 1993, the unbounded
//! algorithm of single writers. Deviations: the second collect of a pair is the first of the next; the
//! numbers of its updates show whether a segment has changed twice, even if one collect sees both changes.
#[cfg(any(test, feature = "mutants"))]
mod mutant;

#[cfg(any(test, feature = "mutants"))]
pub use mutant::spawn_mutant;

use crate::segments::{Held, Vector};
use bytes::Bytes;
use quorate_abstractions::{
    register,
    snapshot::{self, Action, Indication, Refusal, Request, Segment, SnapshotResponse, View},
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, ProcessId,
    message::next_number,
    ports,
    wire::{Wire, encode},
};
use std::collections::BTreeMap;

/// The operation in flight.
struct Pending {
    operation: u64,
    /// The value that an update is to write; `None` in a scan, and in an update that is writing it.
    value: Option<Bytes>,
    /// The result of the first collect.
    first: Option<Vector>,
    /// The result of the last complete collect.
    last: Option<Vector>,
    /// The result of the collect in flight so far.
    collected: Vec<Held>,
}

/// Atomic snapshot from registers.
pub struct SnapshotFromRegisters {
    me: ProcessId,
    processes: Membership,
    /// How many updates this process has begun to write.
    sequence: u64,
    /// How many operations on registers were begun.
    begun: u64,
    pending: Option<Pending>,
    /// The reads in flight, each with the process whose segment it reads.
    reads: BTreeMap<u64, ProcessId>,
    /// The write in flight.
    write: Option<u64>,
}

ports! {
    offers snapshot::Port => Request -> Return;
    uses registers: register::Port => Register;

    /// Starts atomic snapshot over atomic registers.
    pub fn spawn(host) = SnapshotFromRegisters::new(host);
}

impl Algorithm for SnapshotFromRegisters {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Register(register::Indication {
                operation, outcome, ..
            }) => match outcome {
                register::RegisterResponse::Read { value, .. } => {
                    self.upon_read(operation, value, ctx);
                }
                register::RegisterResponse::Written { .. } => self.upon_written(operation, ctx),
                register::RegisterResponse::Refused(_) => self.upon_refused(operation, ctx),
            },
        }
    }
}

/// The name of the register that holds this process's segment.
pub fn register_of(p: ProcessId) -> Bytes {
    Bytes::from(format!("segment {}", p.rank()))
}

impl SnapshotFromRegisters {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        SnapshotFromRegisters {
            me: host.me(),
            processes: *host.processes(),
            sequence: 0,
            begun: 0,
            pending: None,
            reads: BTreeMap::new(),
            write: None,
        }
    }

    /// Scans and updates begin alike: by collecting. One operation is in flight at a time.
    fn upon_request(&mut self, request: Request, ctx: &mut Ctx<Self>) {
        let Request { operation, action } = request;
        if self.pending.is_some() {
            return end(operation, SnapshotResponse::Refused(Refusal::Busy), ctx);
        }
        let value = match action {
            Action::Update(value) => Some(value),
            Action::Scan => None,
        };
        self.pending = Some(Pending {
            operation,
            value,
            first: None,
            last: None,
            collected: Vec::new(),
        });
        self.collect(ctx);
    }

    /// Reads all segments at once: they are different registers, and need not wait for each other.
    fn collect(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(pending) = &mut self.pending {
            pending.collected = vec![Held::default(); self.processes.n()];
        }
        for p in self.processes.iter() {
            let read = self.operate(p, register::Action::Read, ctx);
            self.reads.insert(read, p);
        }
    }

    fn operate(&mut self, p: ProcessId, action: register::Action, ctx: &mut Ctx<Self>) -> u64 {
        self.begun += 1;
        let operation = self.begun;
        ctx.trigger(Effect::Register(register::Request {
            register: register_of(p),
            operation,
            action,
        }));
        operation
    }

    /// A value that does not decode was not written by the segment's owner, and counts as nothing.
    fn upon_read(&mut self, read: u64, value: Option<Bytes>, ctx: &mut Ctx<Self>) {
        let (Some(p), Some(pending)) = (self.reads.remove(&read), &mut self.pending) else {
            return ctx.count("unknown operation");
        };
        if let (Some(value), Some(slot)) = (value, pending.collected.get_mut(p.index())) {
            match Held::decode(value) {
                Ok(held) => *slot = held,
                Err(_) => ctx.count("undecodable segment"),
            }
        }
        if self.reads.is_empty() {
            self.upon_collected(ctx);
        }
    }

    /// After a complete collect: if it saw the same as the last one, that is the view; otherwise a view may
    /// be borrowed.
    fn upon_collected(&mut self, ctx: &mut Ctx<Self>) {
        let n = self.processes.n();
        let Some(pending) = &mut self.pending else {
            return;
        };
        let collected = Vector::new(std::mem::take(&mut pending.collected));
        let first = pending.first.get_or_insert_with(|| collected.clone());
        let borrowed = collected.borrowed(first, n);
        let last = pending.last.replace(collected.clone());
        let nothing_moved = last.as_ref() == Some(&collected);
        match borrowed {
            _ if nothing_moved => self.upon_scanned(collected.view(n), ctx),
            Some(view) => {
                ctx.count("borrowed views");
                self.upon_scanned(view, ctx);
            }
            None => self.collect(ctx),
        }
    }

    /// A scan returns the view, and an update writes its value, with the view beside it.
    fn upon_scanned(&mut self, view: View, ctx: &mut Ctx<Self>) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let Some(value) = pending.value.take() else {
            let operation = pending.operation;
            self.pending = None;
            return end(operation, SnapshotResponse::Scanned(view), ctx);
        };
        let there = view.get(self.me.index()).map_or(0, |mine| mine.sequence);
        let Some(sequence) = next_number(self.sequence.max(there)) else {
            let operation = pending.operation;
            self.pending = None;
            return end(
                operation,
                SnapshotResponse::Refused(Refusal::Exhausted),
                ctx,
            );
        };
        self.sequence = sequence;
        let segment = Segment { sequence, value };
        let held = encode(&Held { segment, view });
        self.write = Some(self.operate(self.me, register::Action::Write(held), ctx));
    }

    fn upon_written(&mut self, write: u64, ctx: &mut Ctx<Self>) {
        if self.write != Some(write) {
            return ctx.count("unknown operation");
        }
        self.write = None;
        if let Some(pending) = self.pending.take() {
            end(pending.operation, SnapshotResponse::Updated, ctx);
        }
    }
}

impl SnapshotFromRegisters {
    /// A register that takes no more writes refuses the update. Any other refusal means that somebody else
    /// uses the register, and then the operation does not return.
    fn upon_refused(&mut self, write: u64, ctx: &mut Ctx<Self>) {
        ctx.count("refused by a register");
        if self.write.take_if(|pending| *pending == write).is_some()
            && let Some(pending) = self.pending.take()
        {
            let refused = SnapshotResponse::Refused(Refusal::Exhausted);
            end(pending.operation, refused, ctx);
        }
    }
}

fn end(operation: u64, outcome: SnapshotResponse, ctx: &mut Ctx<SnapshotFromRegisters>) {
    ctx.trigger(Effect::Return(Indication { operation, outcome }));
}

#[cfg(test)]
mod tests;
