//! Edges: where the process meets the network.
use quorate_core::Time;
use std::task::Context;

/// An object that the protocol thread polls between the turns of the actors, such as a socket.
pub trait Edge: Send {
    /// Does all work that is possible without waiting, and returns whether there was any. Arranges for `cx`
    /// to be woken when there is more. Passes arrivals to addresses, which only mark actors ready.
    fn poll(&mut self, cx: &mut Context<'_>, now: Time) -> bool;

    /// The latest time at which the edge must be polled.
    fn deadline(&self) -> Option<Time> {
        None
    }
}
