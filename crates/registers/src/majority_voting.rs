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
//! a value a register; O(n) an operation in flight.
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
//! the operation of their request is in flight; each request has a number of its own; many registers by
//! name; a write that does not come from the writer is dropped.
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

/// Majority voting.
#[derive(Default)]
pub struct MajorityVoting {
    /// Of the last write of each register, at the writer.
    written: Timestamps,
}

impl MajorityVoting {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Phases<Self> {
        Phases::of_majorities(host, MajorityVoting::default()).written_by(writer)
    }
}

impl Rules for MajorityVoting {
    const READERS_IMPOSE: bool = false;

    /// A read asks what is held; a write has its value held, with the next timestamp.
    fn upon_request(&mut self, register: &Bytes, action: Action, _: Held) -> Step {
        match action {
            Action::Read => Step::Query(action),
            Action::Write(value) => Step::Write(self.written.next(register), value),
        }
    }

    /// Upon answers of a majority the read returns the newest.
    fn upon_answers(&mut self, _: Action, newest: Held, _: bool) -> Step {
        Step::Return(newest)
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
