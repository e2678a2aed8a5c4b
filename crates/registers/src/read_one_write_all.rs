//! Regular registers that one process writes, with the perfect failure detector: a read returns the process's
//! own copy, a write changes the copies of all processes that have not crashed.
//!
//! # Promises
//! - ONRR1 termination (liveness): every operation of a correct process returns.
//! - ONRR2 validity (safety): a read returns the last value written before it, or one that is being written.
//! - OOAR3 ordering for one reader (safety): of two reads of one process, the later returns no older value. So with a
//!   single reader the register is atomic, a (1,1) atomic register. With two it is not: of two readers, the later may
//!   return the older of two such values.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. One process, known to all,
//! writes. A gap does not stop an operation: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | the writer → all | hold this |
//! | Acknowledge(request) | a replica → the writer | done |
//!
//! # Cost
//! A read nothing. A write 2(n−1) messages and 2 steps; with one reader dead 2n−3 messages, and max(2, D)
//! steps. Memory: at each replica a tag and a value per register; O(n) per write in flight.
//!
//! # Why it holds
//! Before a write returns, every process that has not crashed has the value, so that a read that begins later
//! returns it or a newer one (ONRR2). A process reads its own copy, whose tag never falls (OOAR3); the copies of two
//! processes change at different times. P reports the processes that never acknowledge, and no others (ONRR1).
//! When a stream ends, a request or an answer may be lost: the sender on the next stream asks its receiver
//! again, under the same number and with the same tag, and tells it to ask again, too (`Resumed`). A replica
//! that is asked twice holds no more than before, and answers; an answer counts once; and a value that was
//! overwritten meanwhile stays overwritten, since its tag is still the smaller one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.2, “Read-One Write-All”. Deviations: writes have tags and their requests numbers, which acknowledgements
//! carry; the rule to return applies only while a write is in flight, and is also checked when a crash is
//! reported; many registers by name; a write from another process is dropped.
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
    /// At the writer: the timestamp of the last write of each register.
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

    /// A read returns the value that this process holds; a write makes the replicas hold its value, with the
    /// next timestamp.
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
