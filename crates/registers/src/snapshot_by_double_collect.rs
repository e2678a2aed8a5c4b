//! Atomic snapshot from atomic registers, one per process, by double collects: a scan reads them all until nothing
//! changes. It is obstruction-free, and not wait-free.
//!
//! # Promises
//! - SN2 atomicity (safety).
//! - SN1-O obstruction-freedom (liveness): wherever operations on the registers return, an operation of a correct
//!   process returns if from some time on no other correct process has one in flight. An update returns whatever the
//!   others do; a scan may wait as long as others update.
//!
//! # Assumes
//! Atomic registers, each with one writer or with many. Nobody else writes the registers of the segments. One
//! incarnation per process: an update counts on from the last one of this start.
//!
//! # Messages
//! None of its own.
//!
//! # Cost
//! A scan reads 2n registers if nobody updates, and n more for each time that it sees an update; the reads of n
//! registers are in flight together. An update writes one. Over registers by majorities: a scan 4n(n−1) messages and
//! 4 steps, an update 4(n−1) and 4 (n = 1: none). Memory: two collects while a scan is in flight.
//!
//! # Why it holds
//! If two collects, one after the other, see the same updates, the segments had these values at the moment between
//! them: that is the moment of the scan, and an update's is that of its write (SN2). If no other correct process has
//! an operation in flight from some time on, nothing changes any more once the writes of those that crashed have ended
//! or never will: two collects after that are the same (SN1-O). Where others update again and again, each pair of
//! collects may differ. [`snapshot_from_registers`](crate::snapshot_from_registers) borrows the scan of an update
//! then, for which each update scans, too.
//!
//! # Source
//! Afek, Attiya, Dolev, Gafni, Merritt, Shavit: *Atomic Snapshots of Shared Memory*, 1993, whose first observation
//! this is; Herlihy, Luchangco, Moir: *Obstruction-Free Synchronization: Double-Ended Queues as an Example*, 2003, for
//! the promise. Deviations: the second collect of a pair is the first of the next.
use crate::{
    segments::{Held, Vector},
    snapshot_from_registers::register_of,
};
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
enum Pending {
    Scan {
        operation: u64,
        /// The result of the last complete collect.
        last: Option<Vector>,
        /// The result of the collect in flight so far.
        collected: Vec<Held>,
        /// The reads in flight, each with the process whose segment it reads.
        reads: BTreeMap<u64, ProcessId>,
    },
    Update {
        operation: u64,
        /// The write in flight.
        write: u64,
    },
}

/// Atomic snapshot by double collects.
pub struct DoubleCollect {
    me: ProcessId,
    processes: Membership,
    /// How many updates this process has begun.
    sequence: u64,
    /// How many operations on registers were begun.
    begun: u64,
    pending: Option<Pending>,
}

ports! {
    offers snapshot::Port => Request -> Return;
    uses registers: register::Port => Register;

    /// Starts atomic snapshot by double collects, over atomic registers.
    pub fn spawn(host) = DoubleCollect::new(host);
}

impl Algorithm for DoubleCollect {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(Request { operation, action }) => match action {
                _ if self.pending.is_some() => {
                    end(operation, SnapshotResponse::Refused(Refusal::Busy), ctx);
                }
                Action::Update(value) => self.upon_update(operation, value, ctx),
                Action::Scan => self.upon_scan(operation, ctx),
            },
            Event::Register(register::Indication {
                operation, outcome, ..
            }) => match outcome {
                register::RegisterResponse::Read { value, .. } => {
                    self.upon_read(operation, value, ctx);
                }
                register::RegisterResponse::Written { .. } => {
                    self.upon_written(operation, SnapshotResponse::Updated, ctx);
                }
                register::RegisterResponse::Refused(_) => self.upon_refused(operation, ctx),
            },
        }
    }
}

impl DoubleCollect {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        DoubleCollect {
            me: host.me(),
            processes: *host.processes(),
            sequence: 0,
            begun: 0,
            pending: None,
        }
    }

    /// An update writes its value, with its number, and looks at nothing.
    fn upon_update(&mut self, operation: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        let Some(sequence) = next_number(self.sequence) else {
            return end(
                operation,
                SnapshotResponse::Refused(Refusal::Exhausted),
                ctx,
            );
        };
        self.sequence = sequence;
        let segment = Segment { sequence, value };
        let view = View::new();
        let held = encode(&Held { segment, view });
        let write = self.operate(self.me, register::Action::Write(held), ctx);
        self.pending = Some(Pending::Update { operation, write });
    }

    fn upon_scan(&mut self, operation: u64, ctx: &mut Ctx<Self>) {
        self.collect(operation, None, ctx);
    }

    /// Reads all segments at once: they are different registers, and need not wait for each other.
    fn collect(&mut self, operation: u64, last: Option<Vector>, ctx: &mut Ctx<Self>) {
        let processes = self.processes;
        let reads = processes
            .iter()
            .map(|p| (self.operate(p, register::Action::Read, ctx), p))
            .collect();
        self.pending = Some(Pending::Scan {
            operation,
            last,
            collected: vec![Held::default(); processes.n()],
            reads,
        });
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
        let Some(Pending::Scan {
            collected, reads, ..
        }) = &mut self.pending
        else {
            return ctx.count("unknown operation");
        };
        let Some(p) = reads.remove(&read) else {
            return ctx.count("unknown operation");
        };
        if let (Some(value), Some(slot)) = (value, collected.get_mut(p.index())) {
            match Held::decode(value) {
                Ok(held) => *slot = held,
                Err(_) => ctx.count("undecodable segment"),
            }
        }
        if reads.is_empty() {
            self.upon_collected(ctx);
        }
    }

    /// After a complete collect: if it saw the same as the last one, that is the view; otherwise there is another.
    fn upon_collected(&mut self, ctx: &mut Ctx<Self>) {
        let Some(Pending::Scan {
            operation,
            last,
            collected,
            ..
        }) = self.pending.take()
        else {
            return;
        };
        let collected = Vector::new(collected);
        if last.as_ref() == Some(&collected) {
            let view = collected.view(self.processes.n());
            return end(operation, SnapshotResponse::Scanned(view), ctx);
        }
        if last.is_some() {
            ctx.count("collects that differ");
        }
        self.collect(operation, Some(collected), ctx);
    }

    fn upon_written(&mut self, written: u64, outcome: SnapshotResponse, ctx: &mut Ctx<Self>) {
        match self.pending {
            Some(Pending::Update { operation, write }) if write == written => {
                self.pending = None;
                end(operation, outcome, ctx);
            }
            _ => ctx.count("unknown operation"),
        }
    }

    /// A register that takes no more writes refuses the update. Any other refusal means that somebody else uses the
    /// register, and then the operation does not return.
    fn upon_refused(&mut self, refused: u64, ctx: &mut Ctx<Self>) {
        ctx.count("refused by a register");
        if matches!(self.pending, Some(Pending::Update { .. })) {
            let outcome = SnapshotResponse::Refused(Refusal::Exhausted);
            self.upon_written(refused, outcome, ctx);
        }
    }
}

fn end(operation: u64, outcome: SnapshotResponse, ctx: &mut Ctx<DoubleCollect>) {
    ctx.trigger(Effect::Return(Indication { operation, outcome }));
}

#[cfg(test)]
mod tests;
