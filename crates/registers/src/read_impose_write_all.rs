//! Atomic registers that one process writes, with the perfect failure detector: a read imposes what it
//! returns on all that have not crashed.
//!
//! # Promises
//! - ONAR1 termination (liveness): every operation of a correct process returns.
//! - ONAR2 validity (safety): a read returns the last value written before it, or one that is being
//!   written.
//! - ONAR3 ordering (safety): no read returns an older value than a read that returned before it began.
//!
//! # Assumes
//! Perfect links, and the perfect failure detector P; any number of crashes. One process, known to
//! all, writes. Over a gap an operation goes on: its last request is asked again.
//!
//! # Messages
//! Those of [`read_impose_write_consult_all`](crate::read_impose_write_consult_all).
//!
//! # Cost
//! 2(n−1) messages and 2 steps an operation; with one process dead 2n−3 messages, and max(2, D) steps.
//! Memory: at each replica a tag and a value a register; O(n) an operation in flight.
//!
//! # Why it holds
//! It is [`read_impose_write_consult_all`](crate::read_impose_write_consult_all) where one process
//! writes: that the own copy of the writer holds its last timestamp is all that is special here.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 4.3, “Read-Impose Write-All”. Deviations: those of the other; that what comes from another writer is
//! refused and dropped.
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
