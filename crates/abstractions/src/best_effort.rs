//! Best-effort broadcast.
//!
//! - **BEB1 validity** (liveness): if p and q are correct, q delivers what p broadcasts.
//! - **BEB2 no duplication** (safety). **BEB3 no creation** (safety).
use crate::link;
use quorate_core::{Observation, Observe, ProcessId};

/// What is requested, and what is indicated.
pub type Port<M> = (Broadcast<M>, Deliver<M>);

/// Requests that `message` be delivered to every process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast<M>(pub M);

/// Indicates that `message`, broadcast by `from`, has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver<M> {
    /// The process that broadcast it.
    pub from: ProcessId,
    pub message: M,
}

impl<M: Observe> Observe for Broadcast<M> {
    fn observe(&self) -> Observation {
        self.0.observe()
    }
}

impl<M: Observe> Observe for Deliver<M> {
    fn observe(&self) -> Observation {
        self.message.observe().peer(self.from)
    }
}

/// A lane broadcasts by sending to everybody.
impl<M> From<Broadcast<M>> for link::SendRequest<M> {
    fn from(Broadcast(message): Broadcast<M>) -> Self {
        let to = link::To::All;
        link::SendRequest { to, message }
    }
}

impl<M> From<link::Deliver<M>> for Deliver<M> {
    fn from(link::Deliver { from, message }: link::Deliver<M>) -> Self {
        Deliver { from, message }
    }
}
