//! A node: one process of a cluster, with the modules that were declared on it.
//!
//! Modules are declared on the [`Builder`], under names, the same on every process of the cluster,
//! before the node starts: the links compare them when two processes meet.
#[cfg(feature = "agreement")]
mod agreement;
#[cfg(feature = "broadcast")]
mod broadcasts;
mod builder;
mod codec;
#[cfg(all(feature = "agreement", feature = "shared-memory"))]
mod consensus_over;
mod custom;
#[cfg(feature = "detectors")]
mod detectors;
mod event;
mod events;
#[cfg(feature = "shared-memory")]
mod flooding;
mod flow;
mod gauges;
#[cfg(feature = "broadcast")]
mod group;
#[cfg(feature = "broadcast")]
mod handles;
#[cfg(feature = "links")]
mod kept;
#[cfg(feature = "links")]
mod late_address;
#[cfg(feature = "shared-memory")]
mod lattice;
#[cfg(feature = "broadcast")]
mod leadership;
#[cfg(feature = "links")]
mod links;
mod lookup;
#[cfg(feature = "membership")]
mod members;
#[cfg(feature = "links")]
mod messages;
#[cfg(feature = "metrics")]
mod metrics;
mod modules;
#[cfg(any(feature = "broadcast", feature = "shared-memory"))]
mod needs;
#[cfg(feature = "shared-memory")]
mod operations;
#[cfg_attr(not(feature = "broadcast"), path = "node/no_order.rs")]
mod order;
#[cfg(feature = "broadcast")]
mod ordered_registers;
mod outlet;
#[cfg(feature = "shared-memory")]
mod pending;
#[cfg(feature = "shared-memory")]
mod quorum_access;
#[cfg(feature = "shared-memory")]
mod quorum_system;
#[cfg(feature = "shared-memory")]
mod registers;
#[cfg(feature = "broadcast")]
mod replicated;
#[cfg(feature = "shared-memory")]
mod segments;
mod sight;
mod snapshot;
mod socket;
#[cfg(feature = "shared-memory")]
mod store;
#[cfg(feature = "links")]
mod stubborn;
#[cfg(feature = "broadcast")]
mod terminating;
#[cfg(feature = "membership")]
mod views;
mod window;
mod wiring;

#[cfg(feature = "agreement")]
pub use agreement::{Proposer, Voter};
pub use builder::Builder;
pub use codec::{Codec, Coded, Raw, Serde, Uncodable};
pub use custom::{Custom, Indications, Requests, TryRequestError};
#[cfg(feature = "detectors")]
pub use detectors::{Crashes, LeaderHints, Suspicions};
pub use event::NodeEvent;
pub use events::NodeEvents;
#[cfg(feature = "shared-memory")]
pub use flooding::{Flooder, Posted};
pub use gauges::Gauges;
#[cfg(feature = "broadcast")]
pub use group::{GroupOrder, UnknownOrder, Unreadable};
#[cfg(feature = "broadcast")]
pub use handles::{Broadcaster, Deliveries, Delivery, Permit, TryBroadcastError};
#[cfg(feature = "shared-memory")]
pub use lattice::LatticeProposer;
#[cfg(feature = "broadcast")]
pub use leadership::{Holder, Leadership, Term};
#[cfg(feature = "membership")]
pub use members::Members;
#[cfg(feature = "links")]
pub use messages::{Messages, SendPermit, Sender, TrySendError};
#[cfg(feature = "broadcast")]
pub use ordered_registers::{CompareError, Compared, OrderedRegisters, RegisterWatch, Versioned};
#[cfg(feature = "shared-memory")]
pub use pending::{Pending, Progress, Withdrawal};
pub use quorate_abstractions::reconfigurable::{Chunks, View};
pub use quorate_links::perfect::Gauge;
#[cfg(feature = "shared-memory")]
pub use quorum_access::QuorumAccess;
#[cfg(feature = "shared-memory")]
pub use registers::{Reading, Registers};
#[cfg(feature = "broadcast")]
pub use replicated::{Alone, Chunk, Items, Machine, Replicated, SubmitError, SubmitPermit};
#[cfg(feature = "shared-memory")]
pub use segments::Segments;
pub use snapshot::{Admission, NodeStatus, Peer, Way};
pub use socket::Socket;
#[cfg(feature = "links")]
pub use stubborn::{Repeater, Repetition};
#[cfg(feature = "broadcast")]
pub use terminating::{Answer, Answers, Content, Source};
#[cfg(feature = "membership")]
pub use views::{Event, Events, Group, Lost, StateWanted};
pub use wiring::Wiring;

use crate::{
    error::Error,
    faults::Faults,
    host::TokioHost,
    peers::PeerAddress,
    recorder::Recorder,
    thread::{Ending, ProtocolThread},
};
use flow::Drain;
use outlet::End;
use quorate_abstractions::Subscribe;
use quorate_core::{Addr, Counters, Host, Incarnation, ProcessId, message::Origin};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long the peers may take to learn that this process leaves, once own messages are delivered,
const FAREWELL: Duration = Duration::from_secs(1);

/// and to acknowledge what they were sent.
const LINKS_DRAIN: Duration = Duration::from_secs(1);

/// What is told when a module may not go on.
pub(crate) trait Abandon: Send + Sync {
    /// Accepts nothing any more.
    fn close(&self, error: &Error);
    /// Nothing will be decided any more: whoever waits is told.
    fn abandon(&self, error: &Error);
}

/// What must be told when the node stops, or may not take part.
#[derive(Clone, Default)]
struct Handles {
    flows: Vec<Arc<dyn Drain>>,
    agreements: Vec<Arc<dyn Abandon>>,
    outlets: Vec<Arc<dyn End>>,
    /// The replicated machines.
    machines: Vec<Arc<dyn Abandon>>,
    /// Those of the above that share an order with them, if there are any.
    ordered_flows: Vec<Arc<dyn Drain>>,
    ordered_outlets: Vec<Arc<dyn End>>,
    /// Why the node has stopped by itself, if it has.
    failure: Arc<OnceLock<Error>>,
}

impl Handles {
    /// Nothing will be broadcast, delivered or decided any more; readers get `last` as their end.
    fn abandon(&self, error: &Error, last: Option<&Error>) {
        for flow in &self.flows {
            flow.abandon(error);
        }
        for agreement in self.agreements.iter().chain(&self.machines) {
            agreement.abandon(error);
        }
        for outlet in &self.outlets {
            outlet.end(last.cloned());
        }
    }

    /// This process was started again: what does not stand on the order goes on without it.
    fn abandon_beside_the_order(&self, error: &Error) {
        let place = |flow: &Arc<dyn Drain>| Arc::as_ptr(flow).cast::<()>();
        let ordered: Vec<_> = self.ordered_flows.iter().map(place).collect();
        for flow in self.flows.iter().filter(|f| !ordered.contains(&place(f))) {
            flow.abandon(error);
        }
        for agreement in &self.agreements {
            agreement.abandon(error);
        }
        let place = |outlet: &Arc<dyn End>| Arc::as_ptr(outlet).cast::<()>();
        let ordered: Vec<_> = self.ordered_outlets.iter().map(place).collect();
        for outlet in self.outlets.iter().filter(|o| !ordered.contains(&place(o))) {
            outlet.end(Some(error.clone()));
        }
    }

    /// Nothing is accepted any more.
    fn close(&self) {
        for flow in &self.flows {
            flow.close(&Error::Stopped);
        }
        for agreement in self.agreements.iter().chain(&self.machines) {
            agreement.close(&Error::Stopped);
        }
    }

    fn pending(&self) -> u64 {
        self.flows.iter().map(|flow| flow.pending()).sum()
    }
}

/// What the node's owner and its supervisor share.
struct Inner {
    thread: ProtocolThread,
    /// Answers when the others know that this process leaves.
    leave: Subscribe<()>,
    /// Answers when the peers have what they are owed.
    drained: Subscribe<()>,
    gauges: Subscribe<Vec<Gauge>>,
    handles: Handles,
    drain: Duration,
}

impl Inner {
    /// Accepts nothing any more, waits until own messages are delivered, at most until the deadline; says that
    /// this process leaves, waits until the peers know it and have what they are owed, not for long, and stops.
    async fn shut_down(&self) -> Result<(), Error> {
        for flow in &self.handles.flows {
            flow.close(&Error::Stopped);
        }
        // Undecided instances may stay so, and operations in flight: they are not waited for.
        for agreement in self.handles.agreements.iter().chain(&self.handles.machines) {
            agreement.close(&Error::Stopped);
        }
        let own = async {
            for flow in &self.handles.flows {
                flow.drained().await;
            }
        };
        let drain = async {
            let _ = timeout(self.drain, own).await;
            // Whoever leads next need not be waited for: a majority stays.
            let _ = timeout(FAREWELL, answer(&self.leave)).await;
            // A peer that has just gone owes its acknowledgements for ever.
            if timeout(LINKS_DRAIN, answer(&self.drained)).await.is_err() {
                tracing::warn!("some peers have not acknowledged everything");
            }
        };
        let ended = tokio::select! {
            () = drain => None,
            ending = self.thread.ended() => Some(ending),
        };
        let pending = self.handles.pending();
        self.thread.stop();
        let ending = match ended {
            Some(ending) => ending,
            None => self.thread.ended().await,
        };
        match ending {
            Ending::Panicked(message) => Err(Error::Panicked(message)),
            Ending::Stopped if let Some(error) = self.handles.failure.get() => Err(error.clone()),
            Ending::Stopped if pending > 0 => Err(Error::NotDrained { pending }),
            Ending::Stopped => Ok(()),
        }
    }
}

/// Waits for an answer from the protocol thread; `None`: it has ended.
async fn answer<T: Send + 'static>(question: &Subscribe<T>) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    question.send(Addr::new(move |told| {
        let mut sender = sender
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            let _ = sender.send(told);
        }
    }));
    answer.await.ok()
}

/// A running node. It stops at once when it is dropped, and in good order by
/// [`shutdown`](Node::shutdown).
pub struct Node {
    inner: Arc<Inner>,
    seen: sight::Seen,
    faults: Faults,
    recorder: Option<Recorder>,
    stack: String,
    address: SocketAddr,
    cancellation: CancellationToken,
}

impl Node {
    /// A node for the process `me` of the cluster whose processes p1 … pn are at these addresses, or wherever
    /// these names lead, the own one included.
    ///
    /// The list is what the others use. Where this process listens is said by [`udp`](Builder::udp),
    /// [`tcp`](Builder::tcp) or [`socket`](Builder::socket), and may differ: a container listens at `0.0.0.0:7100`,
    /// and the others talk to `replica1:7100`. The own entry is used for nothing but to count.
    ///
    /// Names are looked up by tasks of the runtime in which the node starts. One that leads nowhere yet is no
    /// error: it is asked for again. While a peer is silent, its name is looked up again every few seconds, so that
    /// one that comes back at another address is found. [`status`](Node::status) says where each peer is at present.
    pub fn builder<P>(me: ProcessId, peers: impl IntoIterator<Item = P>) -> Builder
    where
        P: Into<PeerAddress>,
    {
        Builder::new(me, peers.into_iter().map(Into::into).collect())
    }

    /// The process.
    pub fn me(&self) -> ProcessId {
        self.host().me()
    }

    /// This start of it.
    pub fn incarnation(&self) -> Incarnation {
        self.host().incarnation()
    }

    /// The process and its incarnation: what its messages are identified by.
    pub fn origin(&self) -> Origin {
        Origin {
            process: self.me(),
            incarnation: self.incarnation(),
        }
    }

    /// What the node is made of, in the words in which processes compare it when they meet: the algorithms of its
    /// modules, and the version of the [application](Builder::application).
    pub fn stack(&self) -> &str {
        &self.stack
    }

    /// The address that the node's socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the node knows of its cluster, now and at each change.
    pub fn status(&self) -> watch::Receiver<NodeStatus> {
        self.seen.status.clone()
    }

    /// Waits until this process takes part: enough others have met it ([`AdmissionRule::RestartSafe`]); or, where it
    /// was started again, it has its seat and the state of the others.
    ///
    /// [`AdmissionRule::RestartSafe`]: quorate_links::perfect::AdmissionRule::RestartSafe
    ///
    /// # Errors
    /// [`Excluded`](Error::Excluded) or [`UnreadableState`](Error::UnreadableState) when it never will,
    /// [`Stopped`](Error::Stopped) when the node has stopped. [`Refused`](Error::Refused) while so many others
    /// cannot talk to this process, since programs, modules or clusters differ, that too few are left: that is
    /// no end. Once those others run the right program and have been met, a later call succeeds; right after
    /// their start it may fail as before.
    pub async fn admitted(&self) -> Result<(), Error> {
        let mut status = self.status();
        loop {
            let now = status.borrow_and_update().clone();
            match now.admission.clone() {
                Admission::Joining if let Some((by, reason)) = now.kept_out() => {
                    let reason = reason.to_owned();
                    return Err(Error::Refused { by, reason });
                }
                Admission::Joining | Admission::Newcomer => {}
                Admission::Admitted => return Ok(()),
                Admission::Excluded { by, reason } => return Err(Error::Excluded { by, reason }),
                Admission::Unreadable => return Err(Error::UnreadableState),
            }
            status.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    /// Counts of what was sent, received, dropped and why, by module.
    pub fn counters(&self) -> &Counters {
        self.host().counters()
    }

    /// The switches of the faults at the node's edge.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What the node does, if its builder was told to keep a [trace](Builder::trace).
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The host, to start further algorithms on the protocol thread. They get no lanes any more:
    /// what talks to peers is declared on the builder.
    pub fn host(&self) -> &TokioHost {
        self.inner.thread.host()
    }

    /// The token whose cancellation shuts the node down.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancellation
    }

    /// Waits for the end of the node.
    pub async fn ended(&self) -> Ending {
        self.inner.thread.ended().await
    }

    /// Accepts no message any more and waits until own messages are delivered here, at most for the
    /// builder's drain time. Then it says that this process leaves, so that nobody waits for its silence, and a
    /// leader's work goes to another one, if a majority stays; waits, for a second at most, until the peers know
    /// that, and for another until they have acknowledged what they were sent; and stops. Proposals, votes and
    /// operations on shared memory that are in flight are not waited for. Once this was called the node stops,
    /// whether the call is awaited to its end or dropped.
    ///
    /// # Errors
    /// [`NotDrained`](Error::NotDrained) when own messages were not delivered in time,
    /// [`Panicked`](Error::Panicked), [`ReportedCrashed`](Error::ReportedCrashed) when it had stopped
    /// by itself before.
    pub async fn shutdown(&self) -> Result<(), Error> {
        // By a task: a call that is dropped does not leave the node between staying and leaving.
        let inner = self.inner.clone();
        let shut_down = tokio::spawn(async move { inner.shut_down().await });
        shut_down.await.unwrap_or(Err(Error::Stopped))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is called from now on is refused, though the thread may still be about to stop.
        self.inner.handles.close();
        self.inner.thread.stop();
    }
}
