//! The exchange of one round, which is not consensus: kept as the baseline that breaks.
//!
//! # Promises
//! Consensus (C1 … C4) while nothing fails. Not C2 once one process crashes: two that heard different
//! processes decide different values.
//!
//! # Assumes
//! The synchronous model; f = 0.
//!
//! # Messages
//! The own proposal, to everybody, in round 1.
//!
//! # Cost
//! One round, n(n − 1) messages. Memory: none beyond the round.
//!
//! # Why it breaks
//! Three processes propose 0, 1, 1, and p1 crashes after it has reached p2 only: p2 decides 0, p3 decides 1.
//!
//! # Source
//! The lecture on consensus and reliable broadcast, the naive algorithm.
use crate::algorithm::RoundAlgorithm;
use quorate_abstractions::link::To;
use quorate_core::ProcessId;
use std::fmt::Debug;

/// One exchange, at one process.
#[derive(Clone, Debug)]
pub struct OneRound<V> {
    proposal: V,
    decided: bool,
}

impl<V> OneRound<V> {
    /// Proposes this.
    pub fn new(proposal: V) -> Self {
        OneRound {
            proposal,
            decided: false,
        }
    }
}

impl<V: Clone + Ord + Debug> RoundAlgorithm for OneRound<V> {
    type Message = V;
    type Output = V;

    fn send(&mut self, _: u64) -> Vec<(To, V)> {
        vec![(To::All, self.proposal.clone())]
    }

    fn receive(&mut self, _: u64, received: &[(ProcessId, V)]) -> Option<V> {
        self.decided = true;
        let values = received.iter().map(|(_, value)| value);
        values.min().cloned()
    }

    fn is_halted(&self) -> bool {
        self.decided
    }
}

#[cfg(test)]
mod tests;
