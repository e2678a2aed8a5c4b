//! Atomic registers that one process writes, by majorities: a read imposes what it returns.
//!
//! # Promises
//! - ONAR1 termination (liveness): every operation of a correct process returns.
//! - ONAR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written.
//! - ONAR3 ordering (safety): no read returns an older value than a read that returned before it began.
//!
//! # Assumes
//! Perfect links; a majority of correct processes; no failure detector, and nothing of time. One process,
//! known to all, writes. A gap does not stop an operation: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | the operating process → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → the process that asked | done |
//! | Read(request, register) | a reader → all | what do you hold of it? |
//! | Value(request, tag, value) | a replica → the reader | this |
//!
//! # Cost
//! A write 2(n−1) messages and 2 steps, a read 4(n−1) and 4; with one process dead 2n−3 and 4n−6. Memory: at
//! each replica a tag and a value per register; O(n) per operation in flight.
//!
//! # Why it holds
//! As in majority voting a read finds the last value written before it or a newer one (ONAR2). Before it
//! returns, a majority holds that value or a newer one, which every later read finds (ONAR3). A majority
//! answers each request (ONAR1). When a stream ends, a request or an answer may be lost: the sender on the
//! next stream asks its receiver again, under the same number and with the same tag, and tells it to ask
//! again, too (`Resumed`). A replica that is asked twice holds no more than before, and answers; an answer
//! counts once; and a value that was overwritten meanwhile stays overwritten, since its tag is still the
//! smaller one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.3, “Read-Impose Write-Majority”. Deviations: answers are sets of processes, and count only in the phase
//! that they answer: each request of each phase has a number of its own; many registers by name; a value that
//! nobody can have written is dropped. A read need not impose a value that a majority agrees on; this
//! algorithm does not use that (see [`multi_writer`](crate::multi_writer)).
use crate::{
    exchange,
    message::{Held, Message},
    phases::{Phases, Rules, Step, Timestamps},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, link,
    register::{Action, Indication, Request},
};
use quorate_core::{Addr, Host, Layer, ProcessId};

/// Read-impose write-majority.
#[derive(Default)]
pub struct ReadImposeWriteMajority {
    /// At the writer: the timestamp of the last write of each register.
    written: Timestamps,
}

impl ReadImposeWriteMajority {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Phases<Self> {
        Phases::of_majorities(host, ReadImposeWriteMajority::default()).written_by(writer)
    }
}

impl Rules for ReadImposeWriteMajority {
    /// A read asks for the replicas' values; a write makes them hold its value, with the next timestamp.
    fn upon_request(&mut self, register: &Bytes, action: Action, _: Held) -> Step {
        match action {
            Action::Read => Step::Query(action),
            Action::Write(value) => Step::Write(self.written.next(register), value),
        }
    }

    /// When a majority has answered, the read imposes the newest value.
    fn upon_answers(&mut self, _: Action, newest: Held, _: bool) -> Step {
        Step::Impose(newest)
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
