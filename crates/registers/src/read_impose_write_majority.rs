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
//! at each replica a tag and a value a register; O(n) an operation in flight.
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
    /// Of the last write of each register, at the writer.
    written: Timestamps,
}

impl ReadImposeWriteMajority {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Phases<Self> {
        Phases::of_majorities(host, ReadImposeWriteMajority::default()).written_by(writer)
    }
}

impl Rules for ReadImposeWriteMajority {
    /// A read asks what is held; a write has its value held, with the next timestamp.
    fn upon_request(&mut self, register: &Bytes, action: Action, _: Held) -> Step {
        match action {
            Action::Read => Step::Query(action),
            Action::Write(value) => Step::Write(self.written.next(register), value),
        }
    }

    /// Upon answers of a majority the read imposes the newest.
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
