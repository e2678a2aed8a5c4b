//! Flooding: messages that reach whoever can be reached over any path of correct channels.
//!
//! Channels may fail in one direction, for good. What a process posts travels through the others. It
//! stands in a *slot*: what is posted there next takes its place, and what is withdrawn is not spread
//! any further, so that nothing grows with the length of a run although nobody can acknowledge.
//!
//! - **FLD1 reachability** (liveness): what a correct process posts, and neither replaces nor withdraws,
//!   is delivered by every correct process that it is addressed to and that a path of correct processes
//!   and channels leads to.
//! - **FLD2 order** (safety): of the messages of one process in one slot, each process delivers each at
//!   most once, and no older one after a newer one.
//! - **FLD3 no creation** (safety): what is delivered from p was posted by p.
use crate::link::{Deliver, To};
use quorate_core::{Observation, Observe};

/// Where a message stands at its origin, which gives the numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u64);

/// What is requested, and what is indicated.
pub type Port<M> = (Request<M>, Deliver<M>);

/// What is requested. What is delivered is a [`Deliver`], whose `from` is the origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request<M> {
    /// That `message` be delivered to every process named by `to`, in the place of what stood in the slot.
    Post {
        slot: Slot,
        /// The receivers.
        to: To,
        message: M,
    },
    /// That what stands in the slot be spread no further.
    Withdraw { slot: Slot },
}

/// What is delivered.
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
