//! Quorum access functions: a replicated state that is updated and read through quorums.
//!
//! - **QAF1 validity** (safety): each state that a get returns is the result of applying some of the
//!   updates that were requested before, each at most once, in some order.
//! - **QAF2 real-time ordering** (safety): if a set returned before a get was requested, some state that
//!   the get returns includes its update.
//! - **QAF3 termination** (liveness): a call of a correct process returns, at the processes where the
//!   quorum system promises it.
//!
//! Calls of one process may overlap; each is independent of the others. A process numbers its calls, and uses
//! each number once.
use quorate_core::{Observation, Observe, wire::Wire};

/// The replicated state.
pub trait State: Clone + Wire {
    /// An update of the state.
    type Update: Clone + Wire;

    /// Applies an update, and returns whether the state has changed.
    fn apply(&mut self, update: &Self::Update) -> bool;

    /// What an observation can carry of the state.
    fn digest(&self) -> u64;

    /// What an observation can carry of an update.
    fn digest_of(update: &Self::Update) -> u64;
}

/// What is requested, and what is indicated.
pub type Port<S> = (Request<<S as State>::Update>, Indication<S>);

/// Requests a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<U> {
    /// The user's number for the call.
    pub operation: u64,
    pub call: Call<U>,
}

/// The operation of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call<U> {
    /// Read the states of a read quorum.
    Get,
    /// Let a write quorum apply this update.
    Set(U),
}

/// Indicates that a call returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indication<S> {
    /// The call.
    pub operation: u64,
    pub answer: Answer<S>,
}

/// What a call returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<S> {
    /// The result of a get: the states of a read quorum, in the order of the processes.
    Got(Vec<S>),
    /// The end of a set.
    Set,
}

/// What an observation carries of several states whose digests are sets of bits: the union of the digests.
/// Checkers run on such states.
fn union<S: State>(states: &[S]) -> u64 {
    states.iter().fold(0, |all, state| all | state.digest())
}

/// The observation of a request in the module that handles it.
pub fn observe_request<S: State>(request: &Request<S::Update>) -> Observation {
    let observation = match &request.call {
        Call::Get => Observation::request("Get"),
        Call::Set(update) => Observation::request("Set").digest(S::digest_of(update)),
    };
    observation.instance(request.operation)
}

impl<S: State> Observe for Indication<S> {
    fn observe(&self) -> Observation {
        let observation = match &self.answer {
            Answer::Got(states) => Observation::indication("GetReturn")
                .digest(union(states))
                .count(states.len() as u64),
            Answer::Set => Observation::indication("SetReturn"),
        };
        observation.instance(self.operation)
    }
}
