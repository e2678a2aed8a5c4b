//! Atomic registers that every process writes and reads, with the perfect failure detector: an operation
//! makes all processes that have not crashed hold the value that it reads or writes.
//!
//! # Promises
//! - NNAR1 termination (liveness): every operation of a correct process returns.
//! - NNAR2 atomicity (safety): the operations are linearizable.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. A gap does not stop an
//! operation: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Write(request, register, tag, value) | the operating process → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → the process that asked | done |
//!
//! # Cost
//! 2(n−1) messages and 2 steps per operation; with one process dead 2n−3 messages, and max(2, D) steps.
//! Memory: at each replica a tag and a value per register; O(n) per operation in flight.
//!
//! # Why it holds
//! Before an operation returns, every process that has not crashed holds its tag or a greater one, including
//! the process that operates next. So a process's own copy has the tag that a write must exceed, and a read
//! returns nothing older (NNAR2). P reports the processes that never acknowledge, and no others (NNAR1). When
//! a stream ends, a request or an answer may be lost: the sender on the next stream asks its receiver again,
//! under the same number and with the same tag, and tells it to ask again, too (`Resumed`). A replica that is
//! asked twice holds no more than before, and answers; an answer counts once; and a value that was
//! overwritten meanwhile stays overwritten, since its tag is still the smaller one.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.4, “Read-Impose Write-Consult-All”. Deviations: requests have numbers, which their acknowledgements
//! carry; reports also count for operations that begin later; many registers by name; a value that nobody can
//! have written is dropped.
use crate::{
    exchange,
    message::{Held, Message},
    phases::{Phases, Rules, Step},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, link, perfect,
    register::{Action, Indication, Request},
};
use quorate_core::{Addr, Host, Layer, message::next_number};

/// Read-impose write-consult-all.
pub struct ReadImposeWriteConsultAll;

impl ReadImposeWriteConsultAll {
    /// The algorithm at `host`, where everybody writes.
    pub fn new(host: &impl Host) -> Phases<Self> {
        Phases::of_all(host, ReadImposeWriteConsultAll)
    }
}

impl Rules for ReadImposeWriteConsultAll {
    /// A read imposes the value that this process holds, a write its own value with the next tag.
    fn upon_request(&mut self, _: &Bytes, action: Action, own: Held) -> Step {
        match action {
            Action::Read => Step::Impose(own),
            Action::Write(value) => Step::Write(next_number(own.tag.timestamp), value),
        }
    }
}

/// Starts read-impose write-consult-all over perfect links and P.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ReadImposeWriteConsultAll::new(host);
    exchange::spawn_as(host, algorithm, lane, status, detector, up)
}

#[cfg(test)]
mod tests;
