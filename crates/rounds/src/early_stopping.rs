//! Terminating reliable broadcast that is over early where few processes fail.
//!
//! # Promises
//! - **TRB1 … TRB4** as in [`terminating`](crate::terminating), also under send omission (C4-E1).
//! - **ES** early stopping: where t ≤ f processes fail, the correct ones deliver by the end of round
//!   min(t + 1, f + 1) and halt by the end of round min(t + 2, f + 1).
//!
//! # Assumes
//! The synchronous model; at most f processes crash, or omit messages that they send; n > f. Self-delivery is
//! reliable: where even messages to oneself may be omitted it fails (C4-E2).
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | ? | each → all | I have nothing to deliver yet, and am alive |
//! | m, or that the sender is faulty | each → all | I have delivered this, or am the sender of m |
//!
//! # Cost
//! Nothing fails, f ≥ 1: 2n(n − 1) messages, delivery in round 1, halt in round 2; f = 0: n(n − 1). The sender
//! dead: f = 1: 2(n − 1)², f ≥ 2: 3(n − 1)², the verdict in round 2. Memory: a set of processes, and the message.
//!
//! # Why it holds
//! In each of k rounds in which a process hears fewer than k silent ones, in some round it heard all that had
//! anything to say: so if nobody told it of m by then nobody knows of it, nor will. What is delivered is sent
//! in the next round, so that all deliver the same one round later at the latest. Silence counts, whether of a
//! crash or of having halted: whoever halts was heard in its last round (C4-E3), so that the set is no failure
//! detector. That the sender answers `?` after its own delivery matters under send omission only (C4-E1).
//!
//! # Source
//! The lecture on consensus and reliable broadcast, early stopping. The set of silent processes has at most f
//! members; where that fails in round f + 1, the second reason to deliver does not count (C4-E6).
use crate::{algorithm::RoundAlgorithm, properties::Delivery};
use quorate_abstractions::link::To;
use quorate_core::{Membership, ProcessId, ProcessSet};
use std::fmt::Debug;

/// Early-stopping terminating broadcast, at one process.
#[derive(Clone, Debug)]
pub struct EarlyStopping<V> {
    f: u64,
    processes: Membership,
    is_sender: bool,
    /// What it says: nothing known yet is `?`.
    value: Option<Delivery<V>>,
    /// Who was silent in some round.
    silent: ProcessSet,
    delivered: bool,
    halted: bool,
    #[cfg(any(test, feature = "mutants"))]
    mutant: Option<Mutant>,
}

/// A rule that is left out.
#[cfg(any(test, feature = "mutants"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// The sender says its message again after its own delivery (C4-E1).
    SenderSaysItAgain,
    /// What was delivered is not passed on.
    Silent,
    /// Without news, it waits for round f + 1.
    StopsLate,
}

impl<V> EarlyStopping<V> {
    /// The broadcast of `sender`, at `me`, where at most `f` processes fail. The sender has the message, if it
    /// broadcasts one.
    pub fn new(
        f: usize,
        processes: &Membership,
        me: ProcessId,
        sender: ProcessId,
        message: Option<V>,
    ) -> Self {
        EarlyStopping {
            f: f as u64,
            processes: *processes,
            is_sender: me == sender,
            value: message.filter(|_| me == sender).map(Delivery::Message),
            silent: ProcessSet::EMPTY,
            delivered: false,
            halted: false,
            #[cfg(any(test, feature = "mutants"))]
            mutant: None,
        }
    }

    /// The same, without one of its rules.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    #[cfg(any(test, feature = "mutants"))]
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl<V: Clone + Ord + Debug> RoundAlgorithm for EarlyStopping<V> {
    type Message = Option<Delivery<V>>;
    type Output = Delivery<V>;

    /// The value, known or not; whoever has delivered before sends it and halts.
    fn send(&mut self, _: u64) -> Vec<(To, Option<Delivery<V>>)> {
        #[cfg(any(test, feature = "mutants"))]
        if self.delivered && self.is(Mutant::Silent) {
            return vec![(To::All, None)];
        }
        vec![(To::All, self.value.clone())]
    }

    fn receive(
        &mut self,
        round: u64,
        received: &[(ProcessId, Option<Delivery<V>>)],
    ) -> Option<Delivery<V>> {
        if self.delivered {
            self.halted = true;
            return None;
        }
        let heard: ProcessSet = received.iter().map(|(from, _)| *from).collect();
        self.silent = self.silent.union(self.processes.set().without(heard));
        let mut known = received.iter().filter_map(|(_, value)| value.as_ref());
        let last = round > self.f;
        let few = (self.silent.len() as u64) < round;
        #[cfg(any(test, feature = "mutants"))]
        let few = few && !self.is(Mutant::StopsLate);
        let delivery = match known.next() {
            Some(value) => value.clone(),
            None if last || few => Delivery::SenderFaulty,
            None => return None,
        };
        self.delivered = true;
        self.halted = last;
        self.value = self.says_next(&delivery);
        Some(delivery)
    }

    fn is_halted(&self) -> bool {
        self.halted
    }
}

impl<V: Clone> EarlyStopping<V> {
    /// What is said in the round after the delivery: by the sender that it has nothing (C4-E1).
    fn says_next(&self, delivery: &Delivery<V>) -> Option<Delivery<V>> {
        #[cfg(any(test, feature = "mutants"))]
        if self.mutant == Some(Mutant::SenderSaysItAgain) {
            return Some(delivery.clone());
        }
        (!self.is_sender).then(|| delivery.clone())
    }
}

#[cfg(test)]
mod tests;
