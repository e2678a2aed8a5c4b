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
#[cfg(feature = "sealed")]
mod keys;
#[cfg(feature = "links")]
mod late_address;
#[cfg(feature = "shared-memory")]
mod lattice;
#[cfg(feature = "broadcast")]
mod leadership;
#[cfg(feature = "links")]
mod links;
#[cfg(feature = "broadcast")]
mod locks;
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
#[cfg(feature = "rounds")]
mod rounds;
#[cfg(feature = "shared-memory")]
mod segments;
mod sight;
mod socket;
mod status;
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
#[cfg(feature = "sealed")]
pub use keys::{BadKeys, KeyRing, PreparedKeys};
#[cfg(feature = "shared-memory")]
pub use lattice::LatticeProposer;
#[cfg(feature = "broadcast")]
pub use leadership::{Holder, Leadership, Term};
#[cfg(feature = "broadcast")]
pub use locks::{Claim, Lock, LockError, LockHolder, LockSettings, Locks};
#[cfg(feature = "membership")]
pub use members::{Members, MembersEvent};
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
#[cfg(feature = "rounds")]
pub use rounds::{InRound, RoundBroadcaster, RoundProposer};
#[cfg(feature = "shared-memory")]
pub use segments::Segments;
pub use socket::Socket;
pub use status::{Admission, ChannelState, NodeStatus, Peer, Protection};
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

/// How long a shutdown waits for the peers to learn that this process leaves. The wait begins when the own
/// messages are delivered.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a shutdown waits, after that, for the peers to acknowledge what they were sent.
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
    machines: Vec<Arc<dyn Abandon>>,
    /// The flows that stand on the group's order. They are among `flows`, too.
    ordered_flows: Vec<Arc<dyn Drain>>,
    ordered_outlets: Vec<Arc<dyn End>>,
    /// The reason why the node has stopped by itself, if it has.
    failure: Arc<OnceLock<Error>>,
}

impl Handles {
    /// Ends all handles: nothing will be broadcast, delivered or decided any more. Readers get `last` as
    /// their last item.
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

    /// This process was started again: the modules that do not stand on the group's order go on without it,
    /// and their handles end.
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

    /// Makes all handles refuse further requests.
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

/// The state that the node's owner and its supervisor share.
struct Inner {
    thread: ProtocolThread,
    /// Answers when the others know that this process leaves.
    leave: Subscribe<()>,
    /// Answers when the peers have acknowledged everything.
    drained: Subscribe<()>,
    gauges: Subscribe<Vec<Gauge>>,
    handles: Handles,
    drain: Duration,
}

impl Inner {
    /// Refuses further requests, and waits until the own messages are delivered, at most for the drain
    /// time. Then says that this process leaves, waits shortly until the peers know it and have
    /// acknowledged everything, and stops.
    async fn shut_down(&self) -> Result<(), Error> {
        for flow in &self.handles.flows {
            flow.close(&Error::Stopped);
        }
        // Proposals and operations in flight are not waited for: their instances may stay undecided.
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
            // The next leader need not be waited for: a majority stays.
            let _ = timeout(FAREWELL, answer(&self.leave)).await;
            // A peer that has just stopped will never acknowledge what it was sent.
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

/// Waits for an answer from the protocol thread; `None` when that thread has ended.
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
    #[cfg(feature = "sealed")]
    keys: Option<KeyRing>,
    cancellation: CancellationToken,
}

impl Node {
    /// A node for the process `me` of the cluster whose processes p1 … pn are at these addresses, or wherever
    /// these names lead, the own one included.
    ///
    /// The list has the addresses that the others use. The address at which this process listens is set by
    /// [`udp`](Builder::udp), [`tcp`](Builder::tcp) or [`socket`](Builder::socket), and may differ: a
    /// container listens at `0.0.0.0:7100`, and the others talk to `replica1:7100`. The own entry of the
    /// list is only counted.
    ///
    /// Names are looked up by tasks of the runtime in which the node starts. A name that cannot be resolved
    /// yet is no error: it is looked up again. While a peer is silent, its name is looked up again every
    /// few seconds, so that a peer that comes back at another address is found. [`status`](Node::status)
    /// has the present address of each peer.
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

    /// The incarnation of this process: it identifies this start.
    pub fn incarnation(&self) -> Incarnation {
        self.host().incarnation()
    }

    /// The process and its incarnation, by which its messages are identified.
    pub fn origin(&self) -> Origin {
        Origin {
            process: self.me(),
            incarnation: self.incarnation(),
        }
    }

    /// A description of the algorithms of the node's modules, and of the version of the
    /// [application](Builder::application). Processes compare it when they meet.
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

    /// Waits until this process takes part. That is when enough others have met it
    /// ([`AdmissionRule::RestartSafe`]); or, if it was started again, when it has its seat and the state of
    /// the others.
    ///
    /// [`AdmissionRule::RestartSafe`]: quorate_links::perfect::AdmissionRule::RestartSafe
    ///
    /// # Errors
    /// [`Excluded`](Error::Excluded) or [`UnreadableState`](Error::UnreadableState) when this process will
    /// never take part, [`Stopped`](Error::Stopped) when the node has stopped. [`Refused`](Error::Refused)
    /// while so many others cannot talk to this process, because programs, modules or clusters differ, that
    /// too few are left. This last error is not final: a later call succeeds once those others run the
    /// right program and have been met. Right after their start a call may still fail.
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

    /// Counts of messages and other events, by module and by reason.
    pub fn counters(&self) -> &Counters {
        self.host().counters()
    }

    /// The switches that inject faults at the node's edge.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The recorded trace of the node, if its builder was told to keep a [trace](Builder::trace).
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The host, on which further algorithms can be started on the protocol thread. Such algorithms get no
    /// lanes: a module that talks to peers must be declared on the builder.
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

    /// Refuses further messages, and waits until the own messages are delivered here, at most for the
    /// builder's drain time. Then it tells the peers that this process leaves, so that nobody waits for it,
    /// and so that a leader's work passes to another process, if a majority stays. It waits at most one
    /// second until the peers know that, and at most another second until they have acknowledged what they
    /// were sent; then it stops. It does not wait for proposals, votes and operations on shared memory that
    /// are in flight. Once this function was called the node stops, even if the call is dropped before its
    /// end.
    ///
    /// # Errors
    /// [`NotDrained`](Error::NotDrained) when own messages were not delivered in time,
    /// [`Panicked`](Error::Panicked), [`ReportedCrashed`](Error::ReportedCrashed) when it had stopped
    /// by itself before.
    pub async fn shutdown(&self) -> Result<(), Error> {
        // A task does it, so that the shutdown is finished even if this call is dropped.
        let inner = self.inner.clone();
        let shut_down = tokio::spawn(async move { inner.shut_down().await });
        shut_down.await.unwrap_or(Err(Error::Stopped))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Further requests are refused, although the thread may still be about to stop.
        self.inner.handles.close();
        self.inner.thread.stop();
    }
}
