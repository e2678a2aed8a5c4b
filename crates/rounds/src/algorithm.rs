//! What an algorithm of rounds is.
use quorate_abstractions::link::To;
use quorate_core::ProcessId;
use std::fmt::Debug;

/// An algorithm at one process. Rounds are counted from 1.
///
/// A handler is pure: what it does follows from its state and its arguments alone. What a process sends to
/// itself always arrives (errata C3-E1 and C4-E2).
pub trait RoundAlgorithm {
    /// What processes send to each other.
    type Message: Clone + Ord + Debug;
    /// What the user is told.
    type Output: Clone + Ord + Debug;

    /// The messages of this round; none if there is nothing to say. [`To::All`] means oneself, too.
    fn send(&mut self, round: u64) -> Vec<(To, Self::Message)>;

    /// Takes what arrived in this round, by sender in rank order, and computes.
    fn receive(
        &mut self,
        round: u64,
        received: &[(ProcessId, Self::Message)],
    ) -> Option<Self::Output>;

    /// Whether it sends and receives no more.
    fn is_halted(&self) -> bool;
}
