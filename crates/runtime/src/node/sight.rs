//! The one place for all that a node learns of its cluster, and reports of it.
use super::{
    NodeStatus,
    event::NodeEvent,
    events::{EventAndStatus, NodeEvents, WAITING},
};
use quorate_core::{Counters, ProcessId, ProcessSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};
use tracing::{Span, debug};

/// The protocol thread, and the task that acts upon the group's order, report here all news of the cluster.
/// Everything that a node tells its user about the cluster goes through here.
pub(super) struct Sight {
    /// Locked while a change is reported, so that all outputs report the changes in one order.
    turn: Mutex<()>,
    /// The last status that was reported, for readers that begin to listen.
    latest: Arc<Mutex<Arc<NodeStatus>>>,
    events: broadcast::Sender<EventAndStatus>,
    /// Names the node in the log.
    span: Span,
    status: watch::Sender<NodeStatus>,
    suspected: watch::Sender<ProcessSet>,
    trusted: watch::Sender<Option<ProcessId>>,
    crashed: watch::Sender<ProcessSet>,
}

/// The target by which the log's filter selects counts.
const COUNTS: &str = "quorate::counts";

/// Logs, in this span, the counts of dropped, refused, repeated or sent items: at the first, and whenever a
/// count has doubled.
pub(super) fn log_counts(counters: &Counters, span: &Span) {
    let span = span.clone();
    // These are the node's own counters: nobody else watches them.
    let _ = counters.watch(move |module, reason, count| {
        span.in_scope(|| debug!(target: COUNTS, %module, count, "{reason}"));
    });
}

/// Where it can be read.
#[cfg_attr(not(feature = "detectors"), expect(dead_code, reason = "nobody asks"))]
pub(super) struct Seen {
    latest: Arc<Mutex<Arc<NodeStatus>>>,
    events: broadcast::WeakSender<EventAndStatus>,
    pub status: watch::Receiver<NodeStatus>,
    pub suspected: watch::Receiver<ProcessSet>,
    pub trusted: watch::Receiver<Option<ProcessId>>,
    /// `None` if the system is not assumed to be synchronous.
    pub crashed: Option<watch::Receiver<ProcessSet>>,
}

impl Sight {
    /// The span in which the node's events are logged.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The status, and every change of it.
    #[cfg(feature = "broadcast")]
    pub fn watch(&self) -> watch::Receiver<NodeStatus> {
        self.status.subscribe()
    }

    /// Begins with this status, in this cluster. `has_perfect` says whether there is a perfect failure
    /// detector.
    pub fn new(snapshot: NodeStatus, cluster: &str, has_perfect: bool) -> (Self, Seen) {
        let latest = Arc::new(Mutex::new(Arc::new(snapshot.clone())));
        let events = broadcast::Sender::new(WAITING);
        // The span has the highest level: if the log's filter accepts any of the events, it accepts their
        // span, too.
        let span = tracing::error_span!("node", cluster, process = %snapshot.me);
        let (suspected, now_suspected) = watch::channel(snapshot.suspected);
        let (trusted, now_trusted) = watch::channel(snapshot.leader);
        let (crashed, now_crashed) = watch::channel(snapshot.crashed);
        let (status, now) = watch::channel(snapshot);
        let seen = Seen {
            latest: latest.clone(),
            events: events.downgrade(),
            status: now,
            suspected: now_suspected,
            trusted: now_trusted,
            crashed: has_perfect.then_some(now_crashed),
        };
        let sight = Sight {
            turn: Mutex::default(),
            latest,
            events,
            span,
            status,
            suspected,
            trusted,
            crashed,
        };
        (sight, seen)
    }

    /// Applies a change; `change` returns the events that follow from it. The log, the watches and the
    /// readers of events are told. When a reader gets an event, the watches already have its effect.
    pub fn change(&self, change: impl FnOnce(&mut NodeStatus) -> Vec<NodeEvent>) {
        let _turn = lock(&self.turn);
        let mut events = Vec::new();
        self.status.send_modify(|now| events = change(now));
        let now = Arc::new(self.status.borrow().clone());
        for event in &events {
            event.log(&now, &self.span);
        }
        publish(&self.suspected, now.suspected);
        publish(&self.trusted, now.leader);
        publish(&self.crashed, now.crashed);
        // A reader that begins to listen meanwhile gets either all events of this change, or none of them.
        let mut latest = lock(&self.latest);
        for event in events {
            let now = now.clone();
            // There may be no listener.
            let _ = self.events.send(EventAndStatus { event, now });
        }
        *latest = now;
    }
}

impl Seen {
    /// The events from now on.
    pub fn events(&self) -> NodeEvents {
        let latest = lock(&self.latest);
        let receiver = self.events.upgrade().map(|events| events.subscribe());
        NodeEvents::new(receiver, latest.clone())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn publish<T: PartialEq>(watch: &watch::Sender<T>, value: T) {
    watch.send_if_modified(|known| {
        let is_new = *known != value;
        *known = value;
        is_new
    });
}
