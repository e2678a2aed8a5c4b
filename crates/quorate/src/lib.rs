//! Reliable distributed programming: the ladder of abstractions as working software.
//!
//! A [`Node`] is one process of a cluster. Modules are declared on its builder, under names, the same
//! on every process; a broadcast gives a [`Broadcaster`](prelude::Broadcaster), which waits for room in a
//! window, and [`Deliveries`](prelude::Deliveries), which is a stream; agreement and shared memory give
//! handles whose calls wait for the outcome. The protocol runs on a thread of
//! its own, over UDP or TCP.
//!
//! # Example
//!
//! ```
//! use quorate::{Node, prelude::*};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct Order {
//!     item: String,
//!     amount: u32,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A cluster of one, to begin with: its addresses, in the order of the processes p1 … pn.
//! let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
//! let peers = vec![socket.local_addr()?];
//! let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
//!
//! // `.udp(address)` or `.tcp(address)` where the port is known.
//! let mut node = Node::builder(me, peers).socket(socket).cluster("shop");
//! // Declared before the start, the same on every process.
//! let (orders, mut delivered) = node.total_order::<Order>("orders")?;
//! let node = node.start().await?;
//!
//! orders.broadcast(Order { item: "tea".into(), amount: 2 }).await?;
//! let delivery = delivered.next().await.ok_or("the node has stopped")??;
//! assert_eq!(delivery.message.item, "tea");
//! assert_eq!(delivery.origin, me);
//!
//! node.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Examples run three of them in one program, each by `cargo run -p quorate --example NAME`:
//!
//! | example | broadcast | shows |
//! |---|---|---|
//! | `three_nodes` | [total order](Builder::total_order) | everybody delivers the same sequence |
//! | `chat` | [causal](Builder::causal) | no answer before its question |
//! | `feed` | [first-in first-out](Builder::first_in_first_out) | each source in its own order |
//! | `counter` | [uniform](Builder::uniform) | what one has counted, everybody counts |
//! | `cart` | [views](Builder::views) | who was cut off learns it, joins again and gets the state |
//! | `roll_call` | [terminating](Builder::terminating) | an answer of everybody, or that it is gone |
//!
//! or share memory, which needs no leader, and no more than a majority:
//!
//! | example | memory | shows |
//! |---|---|---|
//! | `settings` | [registers](Builder::registers_with) | readers see every change, and never go back |
//! | `tally` | [lattice agreement](Builder::lattice_agreement) | a counter that never goes backwards |
//! | `backup` | [snapshot](Builder::snapshot) | all accounts as of one moment, while money moves |
//!
//! [Ordered registers](Builder::ordered_registers) stand on an order, with a leader: they can be compared and set at
//! once, and watched.
//!
//! With [`registers_over`](Builder::registers_over), [`snapshot_over`](Builder::snapshot_over),
//! [`lattice_agreement_over`](Builder::lattice_agreement_over) and
//! [`consensus_over`](Builder::consensus_over) the quorums are those of a [`QuorumSystem`], a file that says what may
//! fail; they go on where channels are cut in one direction for good.
//!
//! What they stand on has handles, too: [quorum access](Builder::quorum_access) and
//! [flooding](Builder::flooding).
//!
//! Below these are messages to one process: [perfect links](Builder::links), [datagrams](Builder::datagrams)
//! and [stubborn links](Builder::stubborn), each with an example in its documentation. Whom the failure
//! detectors suspect and trust a node says itself: [`suspicions`](Node::suspicions),
//! [`leader_hint`](Node::leader_hint), [`crashes`](Node::crashes); and all that it knows of its cluster, at each
//! time and as it happens: [`status`](Node::status), [`events`](Node::events); what each peer owes and how far away it
//! is: [`gauges`](Node::gauges), which the feature `metrics` gives to the program's `metrics` recorder. The log has it, too, by
//! [`tracing`](https://docs.rs/tracing), in a span that names the process and the cluster; at the level `TRACE` and with the
//! target `quorate::modules`, each request to a module and each indication of one, too.
//!
//! Two run three operating-system processes, and kill some: `transfer`, by [atomic
//! commit](Builder::commit), which all banks do or none does; and `bank`, a machine of one's own that is
//! [replicated](mod@replicate), whose processes are killed and started again one after the other.
//!
//! # What is where
//!
//! | module | what it holds |
//! |---|---|
//! | [`node`], [`Error`] | the builder, the node, the handles, and what can go wrong |
//! | [`choice`] | which algorithm a module is, where there is a choice |
//! | [`faults`] | loss, duplication, delay and cuts at a node's edge, switchable while it runs |
//! | [`host`], [`thread`], [`edge`], [`udp`], [`tcp`] | what a node is made of, for those who wire their own |
//! | [`peers`] | where the peers are: addresses, and names that lead to them |
//! | [`recorder`] | a trace of what a node does, for diagrams |
//! | [`core`] | algorithms, hosts, addresses, processes, the codec |
//! | [`abstractions`] | the interfaces, and the properties that they promise |
//! | [`links`], [`detectors`], [`broadcast`], [`consensus`], [`commit`], [`membership`], [`registers`] | the algorithms |
//! | [`quorums`] | quorum systems, their files, and access through them |
//! | [`stacks`] | whole stacks, by their names |
//! | [`services`] | a key-value store as a deterministic state machine |
//! | [`histories`] | recorded histories, and what they satisfy |
//!
//! # Features
//!
//! All layers and both edges are there by default. Who wants less says so, and compiles less:
//!
//! ```toml
//! quorate = { version = "0.1", default-features = false, features = ["links", "udp"] }
//! ```
//!
//! A layer brings its algorithms; with an edge, its handles on a [`Node`], too. Without an edge there is no node, no socket
//! and no Tokio: algorithms for a host of one's own, or for the simulator. Features decide whether something exists, never
//! what it looks like.
//!
//! | feature | brings | and with it |
//! |---|---|---|
//! | `udp`, `tcp` | the edges, and with either [`Node`], its [`Builder`], and [algorithms of one's own](Builder::custom) | |
//! | `links` | messages to one process: [`links`], [`Builder::links`], [`datagrams`](Builder::datagrams), [`stubborn`](Builder::stubborn) | |
//! | `detectors` | whom a node suspects and trusts: [`detectors`], [`Node::suspicions`], [`leader_hint`](Node::leader_hint), [`crashes`](Node::crashes) | |
//! | `broadcast` | [`broadcast`], up to total order, and what stands on it: [replicated machines](Builder::replicated), [ordered registers](Builder::ordered_registers), [leadership](Builder::leadership), [`services`] | `links`, `detectors` |
//! | `agreement` | [`consensus`](Builder::consensus) and [`commit`](Builder::commit) | `broadcast` |
//! | `membership` | [group membership](Builder::membership) and [views](Builder::views) | `broadcast` |
//! | `shared-memory` | [`registers`], [snapshots](Builder::snapshot), [lattice agreement](Builder::lattice_agreement), [`quorums`], [flooding](Builder::flooding), [`histories`]; with `agreement`, [`consensus_over`](Builder::consensus_over) | `links` |
//! | `metrics` | [`Builder::publish_metrics`](node::Builder) (not by default) | |
//!
//! What that costs a program that depends on nothing else, in packages and in seconds of one core, unoptimised:
//!
//! | features | packages | seconds |
//! |---|---|---|
//! | `links`, `udp` | 40 | 33 |
//! | `detectors`, `tcp` | 39 | 30 |
//! | `broadcast`, `udp` | 45 | 52 |
//! | `agreement`, `udp` | 46 | 53 |
//! | `membership`, `udp` | 46 | 57 |
//! | `shared-memory`, `udp` | 50 | 41 |
//! | `links` | 22 | 14 |
//! | `default` | 56 | 74 |
//!
//! Two guides: [a state machine of one's own](mod@replicate), replicated; and [an algorithm of one's
//! own](mod@own_algorithm), from its properties to the simulator and to sockets.
//!
//! Messages and values are of a type that serde writes and reads, and travel as bincode has it; where a module is declared
//! by [`Coded`](node::Coded), by a [codec](node::Codec) of one's own or as bytes. What would not come back is refused where
//! it is sent.
//!
//! A peer may be a [name](PeerAddress) that leads to another address in time: see [`Node::builder`].
//!
//! Frames are not authenticated: bind a loopback address or a private network.
pub use quorate_abstractions as abstractions;
#[cfg(feature = "broadcast")]
pub use quorate_broadcast as broadcast;
#[cfg(feature = "agreement")]
pub use quorate_commit as commit;
#[cfg(feature = "agreement")]
pub use quorate_consensus as consensus;
pub use quorate_core as core;
#[cfg(feature = "detectors")]
pub use quorate_detectors as detectors;
#[cfg(feature = "shared-memory")]
pub use quorate_histories as histories;
#[cfg(feature = "links")]
pub use quorate_links as links;
#[cfg(feature = "membership")]
pub use quorate_membership as membership;
#[cfg(feature = "shared-memory")]
pub use quorate_quorums as quorums;
#[cfg(feature = "shared-memory")]
pub use quorate_registers as registers;
#[cfg(feature = "broadcast")]
pub use quorate_services as services;
#[cfg(any(feature = "broadcast", feature = "shared-memory"))]
pub use quorate_stacks as stacks;

#[cfg(all(feature = "node", feature = "links"))]
pub use quorate_runtime::TrySendError;
#[cfg(feature = "tcp")]
pub use quorate_runtime::tcp;
#[cfg(feature = "udp")]
pub use quorate_runtime::udp;
#[cfg(all(feature = "node", feature = "shared-memory"))]
pub use quorate_runtime::{BadQuorumSystem, QuorumSystem};
#[cfg(feature = "node")]
pub use quorate_runtime::{
    Builder, Error, MemoryError, Node, NodeEvent, PeerAddress, ProposeError, StartError,
    StreamError, TryRequestError, choice, edge, error, faults, host, node, peers, recorder, thread,
};
#[cfg(all(feature = "node", feature = "broadcast"))]
pub use quorate_runtime::{CompareError, SubmitError, TryBroadcastError};

#[doc = include_str!("../docs/replicate.md")]
pub mod replicate {}

// Its blocks are one program, which a test compares with the example `barrier`.
#[cfg_attr(not(doctest), doc = include_str!("../docs/own-algorithm.md"))]
#[cfg_attr(doctest, doc = "Write your own algorithm.")]
pub mod own_algorithm {}

/// What most programs use.
pub mod prelude {
    #[cfg(feature = "node")]
    pub use futures_util::StreamExt;
    pub use quorate_abstractions::{
        atomic_commit::{Outcome, Vote},
        lattice::{LastWriter, Lattice, Maxima, Union},
    };
    pub use quorate_core::{MessageId, ProcessId, ProcessSet};
    #[cfg(all(feature = "node", feature = "broadcast"))]
    pub use quorate_runtime::{
        Answer, Answers, Broadcaster, Chunk, CompareError, Compared, Deliveries, Delivery, Holder,
        Items, Leadership, Machine, OrderedRegisters, Permit, RegisterWatch, Replicated, Source,
        SubmitError, Term, TryBroadcastError, Unreadable, Versioned, node::View,
    };
    #[cfg(feature = "node")]
    pub use quorate_runtime::{
        Builder, Codec, Coded, Custom, Error, Gauge, Gauges, Indications, MemoryError, Node,
        NodeEvent, PeerAddress, ProposeError, Requests, StartError, StreamError, TryRequestError,
        Uncodable,
    };
    #[cfg(all(feature = "node", feature = "detectors"))]
    pub use quorate_runtime::{Crashes, LeaderHints, Suspicions};
    #[cfg(all(feature = "node", feature = "membership"))]
    pub use quorate_runtime::{Event, Events, Group, Lost, Members, StateWanted};
    #[cfg(all(feature = "node", feature = "shared-memory"))]
    pub use quorate_runtime::{
        Flooder, LatticeProposer, Pending, Posted, QuorumAccess, QuorumSystem, Reading, Registers,
        Segments, Withdrawal,
    };
    #[cfg(all(feature = "node", feature = "links"))]
    pub use quorate_runtime::{Messages, Repeater, Repetition, SendPermit, Sender, TrySendError};
    #[cfg(all(feature = "node", feature = "agreement"))]
    pub use quorate_runtime::{Proposer, Voter};
}
