//! What happens to a node in its cluster, as a stream.
use super::{Node, NodeEvent, NodeStatus};
use futures_core::{Stream, stream::BoxStream};
use futures_util::stream::{self, StreamExt};
use quorate_core::ProcessId;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::{Span, debug, error, info, warn};

/// The most events that wait for a slow reader.
pub(super) const WAITING: usize = 256;

/// What an excluded process was before.
fn history(now: &NodeStatus) -> &'static str {
    if now.took_part {
        "was given up by others"
    } else if now.started_again {
        "was started again, and is not taken in"
    } else {
        "restarted without its memory, or shares its id with another"
    }
}

impl NodeEvent {
    /// Writes the event to the log, in the span of the node. `now` is the status after the event.
    pub(super) fn log(&self, now: &NodeStatus, span: &Span) {
        span.in_scope(|| match self {
            NodeEvent::Admitted if now.started_again => {
                info!("this process is in its place again: it votes and serves");
            }
            NodeEvent::Admitted => {
                info!("enough others have met this process: it votes and serves");
            }
            NodeEvent::Newcomer { by, known } => {
                info!(%by, %known, "an earlier incarnation held this seat: waiting to take its place");
            }
            NodeEvent::CaughtUp { bytes, position } => {
                info!(bytes, position, "caught up: got the state");
            }
            NodeEvent::StateGiven => info!("another replica is given the state"),
            NodeEvent::Unreadable => error!(
                "this replica cannot read the state that it was given, and may not vote or serve"
            ),
            NodeEvent::Excluded { by, reason } => {
                let history = history(now);
                error!(%by, "this replica {history}, and may not vote or serve: {reason}");
            }
            NodeEvent::Seats { epoch, newcomers } => {
                info!(number = epoch, ?newcomers, "epoch");
            }
            NodeEvent::Crashed { process } => warn!(%process, "crashed"),
            NodeEvent::Leaving { process } => info!(%process, "about to stop"),
            NodeEvent::LeavingNoLonger { process } if now.suspected.contains(*process) => {
                info!(%process, "gone, as it said");
            }
            NodeEvent::LeavingNoLonger { process } => info!(%process, "about to stop no longer"),
            NodeEvent::CutOff { process } => warn!(%process, "cut off from a majority"),
            NodeEvent::CutOffNoLonger { process } => info!(%process, "cut off no longer"),
            NodeEvent::Elected { leader } => info!(%leader, "trusted to lead"),
            NodeEvent::Slowed { module, by } => {
                debug!(module, by = %by.by, owed = by.owed, "slowed");
            }
            NodeEvent::SlowedNoLonger { module } => debug!(module, "slowed no longer"),
            NodeEvent::Omission {
                module,
                from,
                instance,
                round,
            } => {
                warn!(module, %from, instance, round, "a message came after the end of its round");
            }
            NodeEvent::TooLong { lane, bytes, limit } => {
                error!(lane, bytes, limit, "a message is too long, and was sent to nobody");
            }
            // This event is for a reader of the stream only: nothing has happened to the node.
            NodeEvent::Missed { .. } => {}
            NodeEvent::Connected { .. }
            | NodeEvent::Located { .. }
            | NodeEvent::NotLocated { .. }
            | NodeEvent::Proven { .. }
            | NodeEvent::NotListed { .. }
            | NodeEvent::Refused { .. }
            | NodeEvent::Replaced { .. }
            | NodeEvent::StreamEnded { .. }
            | NodeEvent::StreamBegun { .. }
            | NodeEvent::Gap { .. }
            | NodeEvent::Suspected { .. }
            | NodeEvent::Restored { .. } => self.log_peer(now),
        });
    }

    /// Logs an event that concerns a peer.
    fn log_peer(&self, now: &NodeStatus) {
        let name = |peer: &ProcessId| now.peers.get(peer.index()).map(|it| it.name.to_string());
        match self {
            NodeEvent::Located { peer, address } => {
                info!(%peer, name = name(peer), %address, "found");
            }
            NodeEvent::NotLocated { peer, reason } => {
                warn!(%peer, name = name(peer), "its name leads nowhere yet: {reason}");
            }
            NodeEvent::Proven { peer, identity } => info!(%peer, %identity, "has proven who it is"),
            NodeEvent::NotListed { peer, identity } => {
                warn!(%peer, %identity, "its identity is no longer listed: the session has ended");
            }
            NodeEvent::Connected { peer, incarnation } => info!(%peer, %incarnation, "connected"),
            NodeEvent::Refused { peer, reason } => warn!(%peer, "refused: {reason}"),
            NodeEvent::Replaced {
                peer,
                known,
                newcomer,
            } => {
                warn!(%peer, %known, %newcomer, "restarted without its memory: it may not vote");
            }
            NodeEvent::StreamEnded { peer } => {
                warn!(%peer, "the stream to it has ended: it owed too much for too long");
            }
            NodeEvent::StreamBegun { peer } => info!(%peer, "a stream to it has begun anew"),
            NodeEvent::Gap { peer } => warn!(%peer, "some of what it sent is missing here"),
            NodeEvent::Suspected { peer } if now.leaving.contains(*peer) => {
                info!(%peer, "not waited for: it is about to stop");
            }
            NodeEvent::Suspected { peer } => warn!(%peer, "suspected"),
            NodeEvent::Restored { peer } => info!(%peer, "suspected no longer"),
            _ => {}
        }
    }
}

/// An event, and the status after it.
#[derive(Clone, Debug)]
pub(super) struct EventAndStatus {
    pub event: NodeEvent,
    pub now: Arc<NodeStatus>,
}

/// The changes of a node and of its cluster, in order: a [`Stream`] that ends when the node stops.
///
/// The stream begins with the [status](NodeEvents::now) at that time, and reports each change of it. Some
/// changes are only in the status: the lengths of timeouts, the bytes of an incoming state, which processes
/// have met this one, and repeated failures of lookups. The last 256 events wait for their reader; a slower
/// reader is told how many events it has [missed](NodeEvent::Missed). Nothing waits for a reader.
///
/// # Example
/// ```
/// # use futures::StreamExt;
/// # use quorate_core::ProcessId;
/// # use quorate_runtime::{Node, NodeEvent, node::Admission};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
/// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # let peers = vec![socket.local_addr()?];
/// let node = Node::builder(me, peers).socket(socket).start().await?;
/// let mut events = node.events();
/// let mut admission = events.now().admission.clone();
/// while admission != Admission::Admitted {
///     match events.next().await.ok_or("the node has stopped")? {
///         NodeEvent::Excluded { by, reason } => return Err(format!("{by}: {reason}").into()),
///         event => println!("{event:?}"),
///     }
///     admission = events.now().admission.clone();
/// }
/// # node.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct NodeEvents {
    told: BoxStream<'static, EventAndStatus>,
    now: Arc<NodeStatus>,
}

impl NodeEvents {
    /// The events of this receiver; `None` if the node has stopped. `now` is the status before them.
    pub(super) fn new(
        receiver: Option<broadcast::Receiver<EventAndStatus>>,
        now: Arc<NodeStatus>,
    ) -> Self {
        let told = stream::unfold((receiver, now.clone()), |(receiver, now)| async move {
            let mut receiver = receiver?;
            let told = match receiver.recv().await {
                Ok(told) => told,
                Err(RecvError::Lagged(count)) => EventAndStatus {
                    event: NodeEvent::Missed { count },
                    now,
                },
                Err(RecvError::Closed) => return None,
            };
            let now = told.now.clone();
            Some((told, (Some(receiver), now)))
        });
        NodeEvents {
            told: Box::pin(told),
            now,
        }
    }

    /// The status of the cluster right after the event that was read last; before the first event, the
    /// status when the stream began. After [missed](NodeEvent::Missed) events it stays the same until the
    /// next event is read.
    pub fn now(&self) -> &NodeStatus {
        &self.now
    }
}

impl Stream for NodeEvents {
    type Item = NodeEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        let this = self.get_mut();
        let told = std::task::ready!(this.told.poll_next_unpin(cx));
        Poll::Ready(told.map(|told| {
            this.now = told.now;
            told.event
        }))
    }
}

impl fmt::Debug for NodeEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeEvents").finish_non_exhaustive()
    }
}

impl Node {
    /// The changes of this node and of its cluster, from now on.
    pub fn events(&self) -> NodeEvents {
        self.seen.events()
    }
}

#[cfg(test)]
mod tests;
