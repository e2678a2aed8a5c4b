//! Uniform total order among processes some of which crash, and come back without their memory.
//!
//! Every slot of Π is held by one *incarnation* at a time. One that is started again is a newcomer: an
//! ordered command puts it in the place of the one before, which from then on is crashed for good, and
//! the newcomer is given the state that the others had at some later point of the order. What it delivers
//! continues from there.
//!
//! - **TOB1 … TOB5, FRB5** as for [total order](crate::total_order), where the correct processes are the
//!   incarnations that never crash, and a newcomer counts as having delivered what its state stands for.
//! - Configurations come at the same point of the order everywhere.
use crate::total_order::{Broadcast, Deliver};
use bytes::Bytes;
use quorate_core::{
    Observation, Observe,
    message::{Origin, digest, fold},
};

/// What is requested.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A broadcast. A newcomer's wait until it has its state.
    Broadcast(Broadcast),
    /// The user's state, as it was when the state was [wanted](Indication::StateWanted) for the
    /// `ticket`.
    State {
        /// For whom.
        ticket: u64,
        /// The state, opaque.
        state: Bytes,
    },
}

/// What is indicated, in one order everywhere but for the states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// Consecutive messages of one origin.
    Deliver(Deliver),
    /// Who holds the slots from now on.
    Configuration(Configuration),
    /// A newcomer wants the state that follows from all that was delivered here so far: the answer is
    /// [`Request::State`] with this ticket.
    StateWanted {
        /// What the answer is told by.
        ticket: u64,
    },
    /// This process's state is this from now on: of a newcomer, before anything else; or of one so far
    /// behind that nobody else can tell it what it lacks. The configuration follows.
    State(Bytes),
}

/// A configuration: who holds the slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// How many replacements there were before: 0 at the beginning.
    pub number: u64,
    /// The newcomers that hold slots now, each with how many held it before, in rank order. The other
    /// slots are held by their first incarnations.
    pub newcomers: Vec<(Origin, u64)>,
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        match self {
            Request::Broadcast(request) => request.observe(),
            Request::State { ticket, state } => Observation::request("State")
                .instance(*ticket)
                .digest(digest(state)),
        }
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        match self {
            Indication::Deliver(indication) => indication.observe(),
            Indication::Configuration(configuration) => configuration.observe(),
            Indication::StateWanted { ticket } => {
                Observation::indication("StateWanted").instance(*ticket)
            }
            Indication::State(state) => Observation::indication("State").digest(digest(state)),
        }
    }
}

impl Observe for Configuration {
    fn observe(&self) -> Observation {
        let content = self.newcomers.iter().fold(0, |hash, (origin, number)| {
            fold(fold(hash, origin.incarnation.0), *number)
        });
        Observation::indication("Configuration")
            .instance(self.number)
            .digest(content)
    }
}
