//! The output of a node's failure detectors: as watches, which have the present value, and as streams of
//! changes.
//!
//! A stream tells how what its reader knows differs from what is so now. So nothing waits for a slow reader,
//! however long a node runs: what came and went while he did not read he is not told.
use super::Node;
use crate::error::Error;
use futures_core::{Stream, stream::BoxStream};
use futures_util::stream::{self, StreamExt};
use quorate_abstractions::{
    eventually_perfect::Indication,
    perfect::{Crash, NeedsPerfect},
};
use quorate_core::{ProcessId, ProcessSet};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::watch;

/// The output of the failure detectors.
///
/// # Example
/// ```
/// # use futures::StreamExt;
/// # use quorate_core::ProcessId;
/// # use quorate_runtime::Node;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
/// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # let peers = vec![socket.local_addr()?];
/// let node = Node::builder(me, peers).socket(socket).start().await?;
/// assert!(node.suspected().borrow().is_empty());
///
/// // A cluster of one trusts its only process, once that is admitted.
/// let mut leaders = node.leader_hints();
/// while leaders.next().await.ok_or("the node has stopped")? != Some(me) {}
/// assert_eq!(*node.leader_hint().borrow(), Some(me));
/// # node.shutdown().await?;
/// # Ok(())
/// # }
/// ```
impl Node {
    /// The processes that the eventually perfect failure detector ◇P suspects at present: they may have
    /// crashed, or are cut off from a majority. A suspected process may be alive. A process never suspects
    /// itself.
    pub fn suspected(&self) -> watch::Receiver<ProcessSet> {
        self.seen.suspected.clone()
    }

    /// The changes of [`suspected`](Node::suspected), beginning with the processes that are suspected now:
    /// a stream that ends when the node stops.
    pub fn suspicions(&self) -> Suspicions {
        let changes = |known: &ProcessSet, now: &ProcessSet| {
            let suspected = now.without(*known).iter().map(Indication::Suspect);
            let restored = known.without(*now).iter().map(Indication::Restore);
            suspected.chain(restored).collect()
        };
        Suspicions(changes_of(self.suspected(), ProcessSet::EMPTY, changes))
    }

    /// The process that the eventual leader detector Ω trusts at present; `None` while this process is not
    /// admitted, or is excluded.
    ///
    /// The leader is a hint, and no lock. For some time different processes may trust different leaders, or
    /// one that has crashed, and a leader may learn late of its successor. An action that only one process
    /// may do at a time needs a total order, and a place in it.
    pub fn leader_hint(&self) -> watch::Receiver<Option<ProcessId>> {
        self.seen.trusted.clone()
    }

    /// The changes of [`leader_hint`](Node::leader_hint), beginning with the present one: a stream that
    /// ends when the node stops.
    pub fn leader_hints(&self) -> LeaderHints {
        let mut trusted = self.leader_hint();
        let first = *trusted.borrow_and_update();
        let changes = |known: &Option<ProcessId>, now: &Option<ProcessId>| {
            Vec::from_iter((known != now).then_some(*now))
        };
        let later = changes_of(trusted, first, changes);
        LeaderHints(Box::pin(stream::iter([first]).chain(later)))
    }

    /// The crashes that the perfect failure detector P reports, beginning with those of the past, each
    /// process once: a stream that ends when the node stops. If the system is not synchronous after all, P
    /// may report a process that is alive. That process stops when it learns of the report
    /// ([`ReportedCrashed`](Error::ReportedCrashed)).
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](super::Builder::assume_synchronous).
    pub fn crashes(&self) -> Result<Crashes, Error> {
        let crashed = self.seen.crashed.clone().ok_or(NeedsPerfect("crashes"))?;
        Ok(Crashes::of(crashed))
    }
}

impl Crashes {
    pub(super) fn of(crashed: watch::Receiver<ProcessSet>) -> Self {
        let changes =
            |known: &ProcessSet, now: &ProcessSet| now.without(*known).iter().map(Crash).collect();
        Crashes(changes_of(crashed, ProcessSet::EMPTY, changes))
    }
}

/// The differences between the watched value and the known one, again and again.
fn changes_of<S, E>(
    watch: watch::Receiver<S>,
    known: S,
    changes: fn(&S, &S) -> Vec<E>,
) -> BoxStream<'static, E>
where
    S: Copy + Send + Sync + 'static,
    E: Send + 'static,
{
    let next = move |(mut watch, known): (watch::Receiver<S>, S)| async move {
        loop {
            let now = *watch.borrow_and_update();
            let news = changes(&known, &now);
            if !news.is_empty() {
                return Some((stream::iter(news), (watch, now)));
            }
            // On an error nothing will change any more.
            watch.changed().await.ok()?;
        }
    };
    Box::pin(stream::unfold((watch, known), next).flatten())
}

/// A stream of suspicions and restorations, which [`Indication::apply`] turns into a set: see [`Node::suspicions`].
pub struct Suspicions(BoxStream<'static, Indication>);

/// A stream of the processes that are trusted to lead: see [`Node::leader_hints`].
pub struct LeaderHints(BoxStream<'static, Option<ProcessId>>);

/// A stream of crashes: see [`Node::crashes`].
pub struct Crashes(BoxStream<'static, Crash>);

impl Stream for Suspicions {
    type Item = Indication;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Indication>> {
        self.get_mut().0.poll_next_unpin(cx)
    }
}

impl Stream for LeaderHints {
    type Item = Option<ProcessId>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Option<ProcessId>>> {
        self.get_mut().0.poll_next_unpin(cx)
    }
}

impl Stream for Crashes {
    type Item = Crash;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Crash>> {
        self.get_mut().0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Suspicions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspicions").finish_non_exhaustive()
    }
}

impl fmt::Debug for LeaderHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderHints").finish_non_exhaustive()
    }
}

impl fmt::Debug for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crashes").finish_non_exhaustive()
    }
}
