//! Quorate's host for real processes: the protocol thread, the edges to the network, the node.
//!
//! | module | what it holds |
//! |---|---|
//! | [`host`] | [`TokioHost`](host::TokioHost): makes mailboxes, starts algorithms |
//! | [`thread`] | [`Protocol`](thread::Protocol) and its thread, on which all algorithms of a process run |
//! | [`backlog`] | how much a user has not read yet, and when the link is told |
//! | [`edge`] | what the protocol thread polls between the actors' turns |
//! | [`peers`] | where the peers are: addresses, and names that lead to them |
//! | [`udp`], [`tcp`] | the edges: a fair-loss link over datagrams, or over connections |
//! | [`node`] | the builder, the node, and the typed handles of its modules |
//! | [`choice`] | the algorithms that a user can choose for a module |
//! | [`error`] | what can go wrong |
//! | [`recorder`] | a bounded trace of what a process does, for diagrams of real runs |
//! | [`faults`] | loss, duplication, delay and cuts, switched on by the user |
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
#[cfg(feature = "tcp")]
pub mod tcp;
pub mod thread;
mod timers;
mod tracer;
#[cfg(feature = "udp")]
pub mod udp;

pub use error::{Error, MemoryError, ProposeError, StartError, StreamError};
pub use node::{
    Builder, Codec, Coded, Custom, Gauge, Gauges, Indications, Node, NodeEvent, NodeEvents,
    Requests, TryRequestError, Uncodable,
};
pub use peers::PeerAddress;

#[cfg(not(any(feature = "tcp", feature = "udp")))]
compile_error!("a node needs an edge: the feature `udp`, or `tcp`, or both");

#[cfg(feature = "broadcast")]
pub use node::{
    Answer, Answers, Broadcaster, Chunk, Claim, CompareError, Compared, Deliveries, Delivery,
    Holder, Items, Leadership, Lock, LockError, LockHolder, LockSettings, Locks, Machine,
    OrderedRegisters, Permit, RegisterWatch, Replicated, Source, SubmitError, Term,
    TryBroadcastError, Unreadable, Versioned,
};
#[cfg(feature = "detectors")]
pub use node::{Crashes, LeaderHints, Suspicions};
#[cfg(feature = "membership")]
pub use node::{Event, Events, Group, Lost, Members, MembersEvent, StateWanted};
#[cfg(feature = "shared-memory")]
pub use node::{
    Flooder, LatticeProposer, Pending, Posted, Progress, QuorumAccess, Reading, Registers,
    Segments, Withdrawal,
};
#[cfg(feature = "rounds")]
pub use node::{InRound, RoundBroadcaster, RoundProposer};
#[cfg(feature = "links")]
pub use node::{Messages, Repeater, Repetition, SendPermit, Sender, TrySendError};
#[cfg(feature = "agreement")]
pub use node::{Proposer, Voter};
#[cfg(feature = "shared-memory")]
pub use quorate_stacks::quorum_system::{BadQuorumSystem, QuorumSystem, Written};

/// The algorithms that a user can choose for a module. Each can also be parsed from its name.
pub mod choice {
    #[cfg(feature = "broadcast")]
    pub use crate::node::{GroupOrder, UnknownOrder};
    #[cfg(feature = "agreement")]
    pub use quorate_stacks::agreements::{Commit, Consensus, UnknownAgreement};
    #[cfg(feature = "broadcast")]
    pub use quorate_stacks::broadcasts::{Broadcast, UnknownBroadcast};
    #[cfg(feature = "shared-memory")]
    pub use quorate_stacks::registers::{Registers, UnknownRegisters};
    #[cfg(feature = "membership")]
    pub use quorate_stacks::views::{UnknownViews, Views};
}

#[cfg(test)]
mod tests;
