//! Reliable distributed programming: the textbook's ladder of abstractions as working software.
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
//! Each of these examples runs three nodes in one program; run it with `cargo run -p quorate --example
//! NAME`:
//!
//! | example | broadcast | shows |
//! |---|---|---|
//! | `three_nodes` | [total order](Builder::total_order) | all processes deliver the same sequence |
//! | `chat` | [causal](Builder::causal) | no answer comes before its question |
//! | `feed` | [first-in first-out](Builder::first_in_first_out) | the messages of each source come in its order |
//! | `counter` | [uniform](Builder::uniform) | what one process has counted, all processes count |
//! | `cart` | [views](Builder::views) | a process that was cut off is told so, joins again and gets the state |
//! | `roll_call` | [terminating](Builder::terminating) | each process gives an answer, or all learn that it has crashed |
//!
//! Others share memory, which needs no leader, and only a majority of the processes:
//!
//! | example | memory | shows |
//! |---|---|---|
//! | `settings` | [registers](Builder::registers_with) | readers see every change, and never an older value again |
//! | `tally` | [lattice agreement](Builder::lattice_agreement) | a counter that never goes backwards |
//! | `backup` | [snapshot](Builder::snapshot) | all accounts as of one moment, while money is transferred |
//!
//! [Ordered registers](Builder::ordered_registers) stand on a total order, which has a leader: they can be
//! compared and set in one step, and watched.
//!
//! [Locks](mod@locks) stand on it, too. Each has a token, by which whatever the lock protects refuses a holder that
//! comes too late: the example `fence` shows one that stalls.
//! In a system whose delays are bounded, processes can run in synchronous rounds:
//! [consensus](Builder::consensus_in_rounds) after f + 1 of them, and
//! [terminating broadcast](Builder::terminating_in_rounds) that stops early. The example `motion` runs four
//! nodes, and shows what happens if the messages of one come after the end of their round.
//!
//! With [`registers_over`](Builder::registers_over), [`snapshot_over`](Builder::snapshot_over),
//! [`lattice_agreement_over`](Builder::lattice_agreement_over) and
//! [`consensus_over`](Builder::consensus_over) the quorums are those of a [`QuorumSystem`], a file that
//! describes the possible failures. These modules also work where channels are cut in one direction for
//! good.
//!
//! The layers below them have handles, too: [quorum access](Builder::quorum_access) and
//! [flooding](Builder::flooding).
//!
//! Below these are messages to one process: [perfect links](Builder::links),
//! [datagrams](Builder::datagrams) and [stubborn links](Builder::stubborn), each with an example in its
//! documentation. A node also shows the output of its failure detectors: [`suspicions`](Node::suspicions),
//! [`leader_hint`](Node::leader_hint), [`crashes`](Node::crashes). Everything that it knows of its cluster
//! is in its [`status`](Node::status), and each change is one of its [`events`](Node::events). Its
//! [`gauges`](Node::gauges) show how many bytes each peer has not acknowledged, and the round-trip time;
//! the feature `metrics` publishes them to the program's `metrics` recorder. The same information is logged
//! by [`tracing`](https://docs.rs/tracing), in a span that names the process and the cluster. At the level
//! `TRACE` and with the target `quorate::modules`, the log also has each request to a module and each of
//! its indications.
//!
//! Two examples run three operating-system processes, and kill some. `transfer` uses [atomic
//! commit](Builder::commit): either all banks do a transfer or none does. `bank` is a user's own machine
//! that is [replicated](mod@replicate); its processes are killed and started again one after the other.
//!
//! # What is where
//!
//! | module | what it holds |
//! |---|---|
//! | [`node`], [`Error`] | the builder, the node, the handles, and their errors |
//! | [`choice`] | the algorithms that a user can choose for a module |
//! | [`faults`] | loss, duplication, delay and cuts at a node's edge, which can be switched on and off |
//! | [`host`], [`thread`], [`edge`], [`udp`], [`tcp`] | the parts of a node, for users that wire their own |
//! | [`peers`] | the addresses of the peers: fixed ones, or names that are looked up |
//! | [`recorder`] | a trace of a node's activity, for diagrams |
//! | [`sealed`] | secrets and identities, and the layer that seals links with them |
//! | [`core`] | algorithms, hosts, addresses, processes, the codec |
//! | [`abstractions`] | the interfaces of the abstractions, and their promised properties |
//! | [`links`], [`detectors`], [`broadcast`], [`consensus`], [`commit`], [`membership`], [`registers`], [`rounds`] | the algorithms |
//! | [`quorums`] | quorum systems, their files, and access through them |
//! | [`stacks`] | whole stacks, by their names |
//! | [`services`] | a key-value store as a deterministic state machine |
//! | [`histories`] | recorded histories, and checkers of them |
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
//! | `broadcast` | [`broadcast`], up to total order, and what stands on it: [replicated machines](Builder::replicated), [ordered registers](Builder::ordered_registers), [leadership](Builder::leadership), [locks](Builder::locks), [`services`] | `links`, `detectors` |
//! | `agreement` | [`consensus`](Builder::consensus) and [`commit`](Builder::commit) | `broadcast` |
//! | `membership` | [group membership](Builder::membership) and [views](Builder::views) | `broadcast` |
//! | `rounds` | [consensus](Builder::consensus_in_rounds) and [terminating broadcast](Builder::terminating_in_rounds) in synchronous rounds: [`rounds`] | `agreement` |
//! | `shared-memory` | [`registers`], [snapshots](Builder::snapshot), [lattice agreement](Builder::lattice_agreement), [`quorums`], [flooding](Builder::flooding), [`histories`]; with `agreement`, [`consensus_over`](Builder::consensus_over) | `links` |
//! | `sealed` | [keys](sealed), [`Builder::sealed`], [`Node::renew_keys`] | |
//! | `metrics` | [`Builder::publish_metrics`](node::Builder) (not by default) | |
//!
//! What that costs a program that depends on nothing else, in packages and in seconds of one core, unoptimised:
//!
//! | features | packages | seconds |
//! |---|---|---|
//! | `links`, `udp` | 40 | 24 |
//! | `detectors`, `tcp` | 39 | 24 |
//! | `broadcast`, `udp` | 45 | 30 |
//! | `agreement`, `udp` | 46 | 30 |
//! | `membership`, `udp` | 46 | 34 |
//! | `shared-memory`, `udp` | 50 | 28 |
//! | `links` | 22 | 12 |
//! | `links`, `sealed`, `udp` | 75 | 36 |
//! | `default` | 92 | 50 |
//!
//! Three guides: [a state machine of one's own](mod@replicate), replicated; [locks](mod@locks), and what they do not
//! promise; and [an algorithm of one's own](mod@own_algorithm), from its properties to the simulator and to sockets.
//!
//! Messages and values are of types that serde can write and read, and are encoded by bincode. A module
//! that is declared with [`Coded`](node::Coded) encodes them with another [codec](node::Codec), or sends
//! plain bytes. A value that could not be decoded again is refused where it is sent.
//!
//! A peer may be given by a [name](PeerAddress), whose address may change: see [`Node::builder`].
//!
//! Links are [sealed](Builder::sealed) with the keys of the members, so that nobody else can speak for a member or read what
//! members send. Without keys only a loopback address can be bound, unless a program says
//! [`insecure`](Builder::insecure). What is promised against whom is in the project's `docs/security.md`.
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
#[cfg(feature = "rounds")]
pub use quorate_rounds as rounds;
#[cfg(feature = "sealed")]
pub use quorate_sealed as sealed;
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
pub use quorate_runtime::{CompareError, LockError, SubmitError, TryBroadcastError};

#[doc = include_str!("../docs/replicate.md")]
pub mod replicate {}

#[doc = include_str!("../docs/locks.md")]
pub mod locks {}

// The blocks of this page are one program, which a test compares with the example `barrier`.
#[cfg_attr(not(doctest), doc = include_str!("../docs/own-algorithm.md"))]
#[cfg_attr(doctest, doc = "Write your own algorithm.")]
pub mod own_algorithm {}

/// The names that most programs need.
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
        Answer, Answers, Broadcaster, Chunk, Claim, CompareError, Compared, Deliveries, Delivery,
        Holder, Items, Leadership, Lock, LockError, LockHolder, LockSettings, Locks, Machine,
        OrderedRegisters, Permit, RegisterWatch, Replicated, Source, SubmitError, Term,
        TryBroadcastError, Unreadable, Versioned, node::View,
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
    pub use quorate_runtime::{Event, Events, Group, Lost, Members, MembersEvent, StateWanted};
    #[cfg(all(feature = "node", feature = "shared-memory"))]
    pub use quorate_runtime::{
        Flooder, LatticeProposer, Pending, Posted, QuorumAccess, QuorumSystem, Reading, Registers,
        Segments, Withdrawal,
    };
    #[cfg(all(feature = "node", feature = "rounds"))]
    pub use quorate_runtime::{InRound, RoundBroadcaster, RoundProposer};
    #[cfg(all(feature = "node", feature = "links"))]
    pub use quorate_runtime::{Messages, Repeater, Repetition, SendPermit, Sender, TrySendError};
    #[cfg(all(feature = "node", feature = "agreement"))]
    pub use quorate_runtime::{Proposer, Voter};
}
