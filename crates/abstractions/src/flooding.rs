//! Flooding: messages reach every process that any path of correct channels leads to.
//!
//! Channels may fail in one direction, for good. A message that a process posts travels over the other
//! channels. It stands in a *slot*: the next message posted to the slot replaces it, and a message that is
//! withdrawn is not spread any further. So memory does not grow with the length of a run, although no
//! receiver may be able to acknowledge.
//!
//! - **FLD1 reachability** (liveness): what a correct process posts, and neither replaces nor withdraws,
//!   is delivered by every correct process that it is addressed to and that a path of correct processes
//!   and channels leads to.
//! - **FLD2 order** (safety): of the messages of one process in one slot, each process delivers each at
//!   most once, and no older one after a newer one.
//! - **FLD3 no creation** (safety): what is delivered from p was posted by p.
use crate::link::{Deliver, To};
use quorate_core::{Observation, Observe};

/// The place of a message at its origin, which numbers its slots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u64);

/// What is requested, and what is indicated.
pub type Port<M> = (Request<M>, Deliver<M>);

/// The requests. A delivery is a [`Deliver`], whose `from` is the origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request<M> {
    /// Requests that `message` be delivered to every process named by `to`. It replaces the message in the
    /// slot.
    Post {
        slot: Slot,
        /// The receivers.
        to: To,
        message: M,
    },
    /// Requests that the message in the slot be spread no further.
    Withdraw { slot: Slot },
}

/// A delivery.
pub type Delivery<M> = Deliver<M>;

impl<M: Observe> Observe for Request<M> {
    fn observe(&self) -> Observation {
        match self {
            Request::Post { to, message, .. } => {
                let observation = message.observe();
                match to {
                    To::One(p) => observation.peer(*p),
                    To::Some(_) | To::All => observation,
                }
            }
            Request::Withdraw { slot } => Observation::internal("Withdraw").instance(slot.0),
        }
    }
}
