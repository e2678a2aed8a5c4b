//! Atomic registers that one process writes, with the perfect failure detector: a read makes all processes
//! that have not crashed hold the value that it returns.
//!
//! # Promises
//! - ONAR1 termination (liveness): every operation of a correct process returns.
//! - ONAR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written.
//! - ONAR3 ordering (safety): no read returns an older value than a read that returned before it began.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. One process, known to all,
//! writes. A gap does not stop an operation: its last request is asked again.
//!
//! # Messages
//! Those of [`read_impose_write_consult_all`](crate::read_impose_write_consult_all).
//!
//! # Cost
//! 2(n−1) messages and 2 steps per operation; with one process dead 2n−3 messages, and max(2, D) steps.
//! Memory: at each replica a tag and a value per register; O(n) per operation in flight.
//!
//! # Why it holds
//! It is [`read_impose_write_consult_all`](crate::read_impose_write_consult_all) with a single writer; the
//! only difference is that the writer's own copy holds its last timestamp.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.3, “Read-Impose Write-All”. Deviations: those of the other algorithm; a request to write at another
//! process is refused, and a value from another writer is dropped.
use crate::{exchange, message::Message, read_impose_write_consult_all::ReadImposeWriteConsultAll};
use quorate_abstractions::{
    Subscribe, link, perfect,
    register::{Indication, Request},
};
use quorate_core::{Addr, Host, Layer, ProcessId};

/// Starts read-impose write-all over perfect links and P.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Port<Message>>,
    status: &Subscribe<link::Status>,
    detector: &Subscribe<perfect::Crash>,
    writer: ProcessId,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ReadImposeWriteConsultAll::new(host).written_by(writer);
    exchange::spawn_as(host, algorithm, lane, status, detector, up)
}

#[cfg(test)]
mod tests;
