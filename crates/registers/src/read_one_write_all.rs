//! Regular registers that one process writes, with the perfect failure detector: a read returns the own
//! copy, a write changes the copies of all that have not crashed.
//!
//! # Promises
//! - ONRR1 termination (liveness): every operation of a correct process returns.
//! - ONRR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written. Not more: of two readers, the later may return the older of two such values.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. One process, known to
//! all, writes. Over a gap an operation goes on: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | the writer → all | hold this |
//! | Acknowledge(request) | a replica → the writer | done |
//!
//! # Cost
//! A read nothing. A write 2(n−1) messages and 2 steps; with one reader dead 2n−3 messages, and max(2, D)
//! steps. Memory: at each replica a tag and a value a register; O(n) a write in flight.
//!
//! # Why it holds
//! Before a write returns, everybody that has not crashed has the value, so that a read that begins
//! later returns it or a newer one (ONRR2). P reports who never acknowledges, and nobody else
//! (ONRR1). Where a stream ends, a request may be lost, or an answer: who sends on the next one
//! asks its receiver again, under the same number and with the same tag, and has the receiver do so
//! (`Resumed`). A replica that is asked twice holds no more than before, and answers; an answer
//! counts once; and what was overwritten meanwhile stays so, since its tag is still the smaller
//! one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.2, “Read-One Write-All”. Deviations: writes have tags and their requests numbers, which
//! acknowledgements carry; the rule to return holds only while a write is in flight, and is looked at
//! when a crash is reported, too; many registers by name; a write from anybody else is dropped.
use crate::{
    exchange,
    message::{Held, Message},
    phases::{Phases, Rules, Step, Timestamps},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, link, perfect,
    register::{Action, Indication, Request},
};
use quorate_core::{Addr, Host, Layer, ProcessId};

/// Read-one write-all.
#[derive(Default)]
pub struct ReadOneWriteAll {
    /// Of the last write of each register, at the writer.
    written: Timestamps,
}

impl ReadOneWriteAll {
    /// The algorithm at `host`, where `writer` writes all registers.
    pub fn new(host: &impl Host, writer: ProcessId) -> Phases<Self> {
        Phases::of_all(host, ReadOneWriteAll::default()).written_by(writer)
    }
}

impl Rules for ReadOneWriteAll {
    const READERS_IMPOSE: bool = false;

    /// A read returns what this process holds; a write has its value held, with the next timestamp.
    fn upon_request(&mut self, register: &Bytes, action: Action, own: Held) -> Step {
        match action {
            Action::Read => Step::Return(own),
            Action::Write(value) => Step::Write(self.written.next(register), value),
        }
    }
}

/// Starts read-one write-all over perfect links and P.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    detector: &Subscribe<perfect::Crash>,
    writer: ProcessId,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ReadOneWriteAll::new(host, writer);
    exchange::spawn_as(host, algorithm, lane, status, detector, up)
}

#[cfg(test)]
mod tests;
