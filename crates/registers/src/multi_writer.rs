//! Atomic registers that every process writes and reads, by majorities.
//!
//! # Promises
//! - NNAR1 termination (liveness): every operation of a correct process returns.
//! - NNAR2 atomicity (safety): the operations are linearizable.
//!
//! # Assumes
//! Perfect links; a majority of correct processes; no failure detector, and nothing of time. A gap does not
//! stop an operation: its last request is asked again.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Read(request, register) | the operating process → all | what do you hold of it? |
//! | Value(request, tag, value) | a replica → the process that asked | this |
//! | Write(request, register, tag, value) | the operating process → all | hold this, unless you hold something newer |
//! | Acknowledge(request) | a replica → the process that asked | done |
//!
//! # Cost
//! A write 4(n−1) messages and 4 steps; a read 2(n−1) and 2 if the first majority to answer holds the same
//! value, otherwise 4(n−1) and 4. With one process dead 4n−6, and 2n−3 or 4n−6. Memory: at each replica a tag
//! and a value per register; O(n) per operation in flight, and its request.
//!
//! # Why it holds
//! Any two majorities meet. Before an operation with a tag returns, a majority holds that tag or a greater
//! one: a write has stored it, a read has found or stored it. An operation that begins later therefore finds
//! that tag or a greater one: a read returns no older value, and a write takes a greater tag. No two writes
//! have the same tag: the timestamps of one process's writes grow, since its last write is held by a
//! majority, and the writer tells those of different processes apart. So the order of operations by tag, a
//! write before the reads that return it, respects real time (NNAR2). A majority answers each request,
//! whoever else has crashed (NNAR1). When a stream ends, a request or an answer may be lost: the sender on
//! the next stream asks its receiver again, under the same number and with the same tag, and tells it to ask
//! again, too (`Resumed`). A replica that is asked twice holds no more than before, and answers; an answer
//! counts once; and a value that was overwritten meanwhile stays overwritten, since its tag is still the
//! smaller one.
//!
//! # Source
//! Attiya, Bar-Noy, Dolev: *Sharing Memory Robustly in Message-Passing Systems*, 1995; for many writers
//! Lynch and Shvartsman, 1997. Deviations: many registers by name in one module, whose operations do not
//! wait for each other; each request to the replicas has a number of its own, and answers are sets of
//! processes; a read that finds a majority agreed does not write back.
use crate::{
    exchange,
    message::{Held, Message},
    phases::{Phases, Rules, Step},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, link,
    register::{Action, Indication, Request},
};
use quorate_core::{Addr, Host, Layer, message::next_number};

/// Registers of many writers, by majorities.
pub struct MultiWriter;

impl MultiWriter {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Phases<Self> {
        Phases::of_majorities(host, MultiWriter)
    }
}

impl Rules for MultiWriter {
    /// A read and a write begin alike: they ask for the replicas' values.
    fn upon_request(&mut self, _: &Bytes, action: Action, _: Held) -> Step {
        Step::Query(action)
    }

    /// When a majority has answered, a write takes a greater tag; a read returns, if the answers are the
    /// same, or writes back the newest.
    fn upon_answers(&mut self, action: Action, newest: Held, agreed: bool) -> Step {
        match action {
            Action::Write(value) => Step::Write(next_number(newest.tag.timestamp), value),
            Action::Read if agreed => Step::Return(newest),
            Action::Read => Step::Impose(newest),
        }
    }
}

/// Starts registers of many writers over perfect links.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    up: Addr<Indication>,
) -> Addr<Request> {
    exchange::spawn_as(
        host,
        MultiWriter::new(host),
        lane,
        status,
        &Addr::nowhere(),
        up,
    )
}

#[cfg(test)]
mod tests;
