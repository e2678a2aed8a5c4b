//! Regular registers that one process writes, by majorities: reads and writes ask a majority.
//!
//! # Promises
//! - ONRR1 termination (liveness): every operation of a correct process returns.
//! - ONRR2 validity (safety): a read returns the last value written before it, or one that is being written.
//!   Nothing stronger: of two reads, even at one process, the later may return the older of two such values. So it is
//!   not atomic for a single reader either, unlike read-one write-all.
//!
//! # Assumes
//! Perfect links; a majority of correct processes; no failure detector, and nothing of time. One process,
//! known to all, writes. A gap does not stop an operation: its last request is asked again.
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
//! 2(n−1) messages and 2 steps per operation; with one process dead 2n−3. Memory: at each replica a tag and a
//! value per register; O(n) per operation in flight.
//!
//! # Why it holds
//! A write that has returned is held by a majority, which meets the majority that a later read hears: the
//! read finds its tag, or a greater one of a write that has begun (ONRR2). A majority answers each request
//! (ONRR1). When a stream ends, a request or an answer may be lost: the sender on the next stream asks its
//! receiver again, under the same number and with the same tag, and tells it to ask again, too (`Resumed`). A
//! replica that is asked twice holds no more than before, and answers; an answer counts once; and a value
//! that was overwritten meanwhile stays overwritten, since its tag is still the smaller one.
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
    /// At the writer: the timestamp of the last write of each register.
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

    /// A read asks for the replicas' values; a write makes them hold its value, with the next timestamp.
    fn upon_request(&mut self, register: &Bytes, action: Action, _: Held) -> Step {
        match action {
            Action::Read => Step::Query(action),
            Action::Write(value) => Step::Write(self.written.next(register), value),
        }
    }

    /// When a majority has answered, the read returns the newest value.
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
