//! Quorate's host for real processes: the protocol thread, the edges to the network, the node.
//!
//! | module | what it holds |
//! |---|---|
//! | [`host`] | [`TokioHost`](host::TokioHost): makes mailboxes, starts algorithms |
//! | [`thread`] | [`Protocol`](thread::Protocol) and its thread, on which all algorithms of a process run |
//! | [`backlog`] | how far a user is behind, and what the link is told of that |
//! | [`edge`] | what the protocol thread polls between the actors' turns |
//! | [`peers`] | where the peers are: addresses, and names that lead to them |
//! | [`udp`], [`tcp`] | the edges: a fair-loss link over datagrams, or over connections |
//! | [`node`] | the builder, the node, and the typed handles of its modules |
//! | [`choice`] | which algorithm a module is, where there is a choice |
//! | [`error`] | what can go wrong |
//! | [`recorder`] | a bounded trace of what a process does, for diagrams of real runs |
//! | [`faults`] | loss, duplication, delay and cuts to order |
#![warn(missing_debug_implementations)]

pub mod backlog;
mod debug;
pub mod edge;
pub mod error;
mod executor;
pub mod faults;
pub mod host;
pub mod node;
pub mod peers;
mod ready;
pub mod recorder;
mod strangers;
pub mod tcp;
pub mod thread;
mod timers;
mod tracer;
pub mod udp;

pub use error::{Error, MemoryError, ProposeError, StartError, StreamError};
pub use node::{
    Answer, Answers, Broadcaster, Builder, Chunk, Codec, Coded, CompareError, Compared, Crashes,
    Custom, Deliveries, Delivery, Event, Events, Flooder, Gauge, Gauges, Group, Holder,
    Indications, Items, LatticeProposer, LeaderHints, Leadership, Lost, Machine, Members, Messages,
    Node, NodeEvent, NodeEvents, OrderedRegisters, Pending, Permit, Posted, Progress, Proposer,
    QuorumAccess, Reading, RegisterWatch, Registers, Repeater, Repetition, Replicated, Requests,
    Segments, SendPermit, Sender, Source, StateWanted, SubmitError, Suspicions, Term,
    TryBroadcastError, TryRequestError, TrySendError, Uncodable, Unreadable, Versioned, Voter,
    Withdrawal,
};
pub use peers::PeerAddress;
pub use quorate_stacks::quorum_system::{BadQuorumSystem, QuorumSystem, Written};

/// Which algorithm a module is, where there is a choice: each is read from its name, too.
pub mod choice {
    pub use crate::node::{GroupOrder, UnknownOrder};
    pub use quorate_stacks::{
        agreements::{Commit, Consensus, UnknownAgreement},
        broadcasts::{Broadcast, UnknownBroadcast},
        registers::{Registers, UnknownRegisters},
        views::{UnknownViews, Views},
    };
}

#[cfg(test)]
mod tests;
