//! Atomic snapshot by quorum access to all segments at once: an operation gets the segments and makes a write
//! quorum hold them, until a read quorum returns nothing new.
//!
//! # Promises
//! - SN2 atomicity (safety).
//! - SN1 termination (liveness): wherever calls of the quorum access below return, however many updates are
//!   in flight.
//!
//! # Assumes
//! Quorum access.
//!
//! # Messages
//! None of its own.
//!
//! # Cost
//! If nobody else updates, a scan makes three calls of quorum access, an update four; at most 2n+1 and 2n+2.
//! Over classical access 6(n−1) messages and 6 steps, and 8(n−1) and 8 (n = 1: none). Memory: at each
//! replica, and at a process while its operation is in flight, all segments, each with n+1 values.
//!
//! # Why it holds
//! A scan gets, then sets what it got and gets again, until a get returns nothing that was not set before it.
//! Take two scans that end so, with the last sets S1, S2 and the last gets G1, G2. If S1 returned before G2
//! was requested, G2 returned what S1 set, and the first scan is at most the second (QAF2). If not, G2 was
//! requested before S1 returned, hence before G1 was. If G1 were requested before S2 returned, it would be
//! before G2; so S2 returned before G1 was requested, and the second scan is at most the first. So scans are
//! ordered. The last get is requested after every update that the scan returns: it also returns all updates
//! that had returned before those were requested, and those that had returned before the scan began (SN2). A
//! single get and set does not suffice: two scans may each see one of two concurrent updates. Take an update
//! that is the second of its process since the scan's first get. It began when the first of them had ended,
//! which the first get did not see, hence within the scan: its own scan is as good as this one. Each further
//! round sees the first update of some other process, or ends the scan (SN1).
//!
//! # Source
//! The loop is that of Delporte-Gallet, Fauconnier, Rajsbaum, Raynal: *Implementing Snapshot Objects on
//! Top of Crash-Prone Asynchronous Message-Passing Systems*, 2016; borrowing is that of Afek and others,
//! 1993. Deviations: any quorum access, whose read quorums need not meet each other.
use crate::segments::{Held, Vector};
use bytes::Bytes;
use quorate_abstractions::{
    quorum_access::{self, Answer, Call, observe_request},
    snapshot::{self, Action, Indication, Refusal, Request, Segment, SnapshotResponse, View},
};
use quorate_core::{Algorithm, Ctx, Host, Membership, ProcessId, message::next_number, ports};

/// What the operation in flight waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// For the states of a read quorum.
    Gets,
    /// For a write quorum to hold what was got.
    Sets,
    /// For a write quorum to hold the update.
    Updates,
}

/// The operation in flight.
struct Pending {
    operation: u64,
    /// The value that an update is to set; `None` in a scan, and in an update that is setting it.
    value: Option<Bytes>,
    phase: Phase,
    /// The result of the first get.
    first: Option<Vector>,
    /// The last vector that was set.
    set: Option<Vector>,
}

/// Atomic snapshot by quorum access.
pub struct SnapshotByQuorumAccess {
    me: ProcessId,
    processes: Membership,
    /// How many updates this process has begun to set.
    sequence: u64,
    /// The number of calls made so far; the last one may be in flight.
    calls: u64,
    pending: Option<Pending>,
}

ports! {
    offers snapshot::Port => Request -> Return;
    uses access: quorum_access::Port<Vector> => Access, observed observe_request::<Vector>;

    /// Starts atomic snapshot over quorum access.
    pub fn spawn(host) = SnapshotByQuorumAccess::new(host);
}

impl Algorithm for SnapshotByQuorumAccess {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Access(quorum_access::Indication { operation, answer }) => {
                if operation != self.calls {
                    return ctx.count("unknown call");
                }
                match answer {
                    Answer::Got(states) => self.upon_got(&states, ctx),
                    Answer::Set => self.upon_set(ctx),
                }
            }
        }
    }
}

impl SnapshotByQuorumAccess {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        SnapshotByQuorumAccess {
            me: host.me(),
            processes: *host.processes(),
            sequence: 0,
            calls: 0,
            pending: None,
        }
    }

    /// Scans and updates begin alike: with a get. One operation is in flight at a time.
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
            phase: Phase::Gets,
            first: None,
            set: None,
        });
        self.call(Phase::Gets, Call::Get, ctx);
    }

    fn call(&mut self, phase: Phase, call: Call<Vector>, ctx: &mut Ctx<Self>) {
        if let Some(pending) = &mut self.pending {
            pending.phase = phase;
        }
        self.calls += 1;
        let operation = self.calls;
        ctx.trigger(Effect::Access(quorum_access::Request { operation, call }));
    }

    /// After a get: if it returns nothing beyond what was set before, that is the view; otherwise a view may
    /// be borrowed; otherwise the result is set.
    fn upon_got(&mut self, states: &[Vector], ctx: &mut Ctx<Self>) {
        let n = self.processes.n();
        let Some(pending) = &mut self.pending else {
            return ctx.count("unknown call");
        };
        let mut got = pending.set.clone().unwrap_or_default();
        for state in states {
            got.join(state);
        }
        let first = pending.first.get_or_insert_with(|| got.clone());
        let borrowed = got.borrowed(first, n);
        let set = pending.set.replace(got.clone());
        let nothing_moved = set.is_some_and(|set| got.is_at_most(&set));
        match borrowed {
            _ if nothing_moved => self.upon_scanned(got.view(n), ctx),
            Some(view) => {
                ctx.count("borrowed views");
                self.upon_scanned(view, ctx);
            }
            None => self.call(Phase::Sets, Call::Set(got), ctx),
        }
    }

    /// A scan returns the view, and an update sets its value, with the view beside it.
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
        let update = Vector::of(self.me.index(), Held { segment, view });
        self.call(Phase::Updates, Call::Set(update), ctx);
    }

    /// After a set of what was got, gets again; after the set of an update, the update returns.
    fn upon_set(&mut self, ctx: &mut Ctx<Self>) {
        match self.pending.as_ref().map(|pending| pending.phase) {
            Some(Phase::Sets) => self.call(Phase::Gets, Call::Get, ctx),
            Some(Phase::Updates) => {
                if let Some(pending) = self.pending.take() {
                    end(pending.operation, SnapshotResponse::Updated, ctx);
                }
            }
            Some(Phase::Gets) | None => ctx.count("unknown call"),
        }
    }
}

fn end(operation: u64, outcome: SnapshotResponse, ctx: &mut Ctx<SnapshotByQuorumAccess>) {
    ctx.trigger(Effect::Return(Indication { operation, outcome }));
}

#[cfg(test)]
mod tests;
