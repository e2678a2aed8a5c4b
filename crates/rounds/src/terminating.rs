//! Terminating reliable broadcast for benign failures, in f + 1 synchronous rounds.
//!
//! # Promises
//! - **TRB1** validity: if the sender is correct and broadcasts m, every correct process delivers m.
//! - **TRB2** agreement: no two correct processes deliver differently. It is not uniform for f ≥ 2 (C3-E2).
//! - **TRB3** integrity: a process delivers at most once; a message only if the sender broadcast it.
//! - **TRB4** termination: every correct process delivers by the end of round f + 1: the message, or that the
//!   sender is faulty, which is no message.
//!
//! # Assumes
//! The synchronous model; at most f processes crash, n > f. Self-delivery is reliable (C3-E1).
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | m | sender → all, in round 1 | the broadcast |
//! | m | whoever delivers it in round k ≤ f → all, in round k + 1 | the relay; then it halts |
//!
//! # Cost
//! f ≥ 1: n(n − 1) messages, f = 0: n − 1; delivery in round 1, halt in round 2. The sender dead: none, and the
//! verdict in round f + 1. Another process dead: (n − 1)². Memory: the message.
//!
//! # Why it holds
//! Who delivers in round k ≤ f tells everybody in round k + 1; if it is correct all hear it. A message that
//! first reaches a correct process in round f + 1 has passed through f + 1 processes, one of which is correct
//! and told all in an earlier round. So either all correct processes deliver m, or none hears of it.
//!
//! # Source
//! The lecture on consensus and reliable broadcast, terminating reliable broadcast for benign failures.
//!
//! # Example
//! ```
//! use quorate_core::Membership;
//! use quorate_rounds::{execution::run, failures::Pattern, terminating::Terminating};
//!
//! let processes = Membership::of_size(4)?;
//! let p1 = processes.coordinator(1);
//! let start = |p| Terminating::new(1, p, p1, (p == p1).then_some("m"));
//! let execution = run(&processes, &Pattern::failure_free(), 2, start);
//! assert_eq!((execution.sent(), execution.outputs.len()), (4 * 3, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use crate::{algorithm::RoundAlgorithm, properties::Delivery};
use quorate_abstractions::link::To;
use quorate_core::ProcessId;
use std::fmt::Debug;

/// Terminating broadcast, at one process.
#[derive(Clone, Debug)]
pub struct Terminating<V> {
    f: u64,
    is_sender: bool,
    /// What is sent in the next round: the sender's message in round 1, a relay later.
    next: Option<V>,
    delivered: bool,
    halted: bool,
}

impl<V> Terminating<V> {
    /// The broadcast of `sender`, at `me`, where at most `f` processes crash. The sender has the message, if
    /// it broadcasts one.
    pub fn new(f: usize, me: ProcessId, sender: ProcessId, message: Option<V>) -> Self {
        Terminating {
            f: f as u64,
            is_sender: me == sender,
            next: message.filter(|_| me == sender),
            delivered: false,
            halted: false,
        }
    }
}

impl<V: Clone + Ord + Debug> RoundAlgorithm for Terminating<V> {
    type Message = V;
    type Output = Delivery<V>;

    /// The broadcast, or the relay.
    fn send(&mut self, _: u64) -> Vec<(To, V)> {
        Vec::from_iter(self.next.take().map(|message| (To::All, message)))
    }

    /// The first message is delivered, and relayed if a round is left; after round f + 1 without one the sender
    /// is faulty.
    fn receive(&mut self, round: u64, received: &[(ProcessId, V)]) -> Option<Delivery<V>> {
        if self.delivered {
            self.halted = true;
            return None;
        }
        let last = round > self.f;
        if let Some((_, message)) = received.first() {
            self.delivered = true;
            self.halted = last;
            self.next = (!last && !self.is_sender).then(|| message.clone());
            return Some(Delivery::Message(message.clone()));
        }
        self.halted = last;
        last.then_some(Delivery::SenderFaulty)
    }

    fn is_halted(&self) -> bool {
        self.halted
    }
}

#[cfg(test)]
mod tests;
