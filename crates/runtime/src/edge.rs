//! Edges: where the process meets the network.
use quorate_core::Time;
use std::task::Context;

/// Something that the protocol thread polls between the turns of the actors: a socket.
pub trait Edge: Send {
    /// Does what can be done without waiting, and says whether there was anything; arranges for
    /// `cx` to be woken when there is more. Hands what arrives to addresses, which only mark actors
    /// ready.
    fn poll(&mut self, cx: &mut Context<'_>, now: Time) -> bool;

    /// When the edge wants to be polled at the latest.
    fn deadline(&self) -> Option<Time> {
        None
    }
}
