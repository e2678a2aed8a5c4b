//! `FloodSet`: consensus in f + 1 synchronous rounds.
//!
//! # Promises
//! - **C1** unanimity: if all propose v, nobody decides anything else.
//! - **C2** agreement, and it is uniform: no two processes decide differently, also if they crash later.
//! - **C3** integrity: a process decides at most once, and what somebody proposed.
//! - **C4** termination: every correct process decides at the end of round f + 1.
//!
//! # Assumes
//! The synchronous model: every message arrives in its round, or never. At most f processes crash; n > f.
//! Under send omission and general omission no disagreement of correct processes is known: the filter of what
//! was sent already matters then (C2-E2). Self-delivery is reliable.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | a set of values | each → all | values that the sender has not sent before; skipped when there are none |
//!
//! # Cost
//! f + 1 rounds, always. Nothing fails, f ≥ 1: n(n − 1) messages if all propose the same, 2n(n − 1) if there
//! are two values or more; f = 0: n(n − 1). One process dead from the start: (n − 1)² and 2(n − 1)².
//! Memory: as many values as were proposed, at most n.
//!
//! # Why it holds
//! A value that a process adds first in round r has passed through r distinct processes before, one a round
//! (C2-E1: *first added*, not received). So in one of f + 1 rounds nobody crashes: after it all that are alive
//! have the same set, and it does not grow any more. A value that appears in round f + 1 only would have passed
//! through f + 1 processes, one of which is correct and told everybody.
//!
//! # Source
//! The lecture on consensus and reliable broadcast; Lynch, *Distributed Algorithms*, section 6.2. Deviation: a
//! process that has nothing new sends nothing.
//!
//! # Example
//! ```
//! use quorate_core::{Membership, ProcessSet};
//! use quorate_rounds::{execution::run, failures::Pattern, flood_set::FloodSet};
//!
//! let processes = Membership::of_size(3)?;
//! let p1 = processes.coordinator(1);
//! // p1 proposes 0 and crashes in round 1, having reached nobody.
//! let pattern = Pattern::failure_free().crash(p1, 1, ProcessSet::EMPTY);
//! let execution = run(&processes, &pattern, 2, |p| FloodSet::new(1, p.rank() as u64 - 1));
//! assert_eq!(Vec::from_iter(execution.outputs_of(execution.correct())), [1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use crate::algorithm::RoundAlgorithm;
use quorate_abstractions::link::To;
use quorate_core::ProcessId;
use std::{collections::BTreeSet, fmt::Debug};

/// `FloodSet`, at one process.
#[derive(Clone, Debug)]
pub struct FloodSet<V> {
    /// f + 1.
    last: u64,
    /// V: the values that are known.
    values: BTreeSet<V>,
    sent: BTreeSet<V>,
    decided: bool,
    #[cfg(any(test, feature = "mutants"))]
    mutant: Option<Mutant>,
}

/// A rule that is left out.
#[cfg(any(test, feature = "mutants"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// It decides after f rounds (C2-E3).
    OneRoundLess,
    /// It sends all that it knows in every round (C2-E2).
    SendsAgain,
}

impl<V: Clone + Ord> FloodSet<V> {
    /// Proposes this, where at most `f` processes crash.
    pub fn new(f: usize, proposal: V) -> Self {
        FloodSet {
            last: f as u64 + 1,
            values: BTreeSet::from([proposal]),
            sent: BTreeSet::new(),
            decided: false,
            #[cfg(any(test, feature = "mutants"))]
            mutant: None,
        }
    }

    /// The same, without one of its rules.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        if mutant == Mutant::OneRoundLess {
            self.last -= 1;
        }
        self.mutant = Some(mutant);
        self
    }
}

impl<V: Clone + Ord + Debug> RoundAlgorithm for FloodSet<V> {
    type Message = BTreeSet<V>;
    type Output = V;

    /// V ∖ sent, if that is not empty.
    fn send(&mut self, _: u64) -> Vec<(To, BTreeSet<V>)> {
        let news: BTreeSet<V> = self.values.difference(&self.sent).cloned().collect();
        #[cfg(any(test, feature = "mutants"))]
        let news = match self.mutant {
            Some(Mutant::SendsAgain) => self.values.clone(),
            _ => news,
        };
        self.sent.clone_from(&self.values);
        Vec::from_iter((!news.is_empty()).then_some((To::All, news)))
    }

    /// V grows by what arrives; after round f + 1 the least value of it is decided.
    fn receive(&mut self, round: u64, received: &[(ProcessId, BTreeSet<V>)]) -> Option<V> {
        for (_, values) in received {
            self.values.extend(values.iter().cloned());
        }
        if round < self.last {
            return None;
        }
        self.decided = true;
        self.values.first().cloned()
    }

    fn is_halted(&self) -> bool {
        self.decided
    }
}

#[cfg(test)]
mod tests;
