//! The one place through which all goes that a node learns of its cluster, and tells of it.
use super::{
    NodeStatus,
    event::NodeEvent,
    events::{NodeEvents, Told, WAITING},
};
use quorate_core::{Counters, ProcessId, ProcessSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};
use tracing::{Span, debug};

/// Where the protocol thread, and the task that acts upon the group's order, say what they know of the cluster:
/// all that a node tells of it goes through here.
pub(super) struct Sight {
    /// Held while a change is told, so that all tell them in one order.
    turn: Mutex<()>,
    /// What was told last, for those who begin to listen.
    latest: Arc<Mutex<Arc<NodeStatus>>>,
    events: broadcast::Sender<Told>,
    /// Names the node in the log.
    span: Span,
    status: watch::Sender<NodeStatus>,
    suspected: watch::Sender<ProcessSet>,
    trusted: watch::Sender<Option<ProcessId>>,
    crashed: watch::Sender<ProcessSet>,
}

/// By this the log's filter knows what is counted.
const COUNTS: &str = "quorate::counts";

/// Has the log told, in this span, of what is counted as dropped, refused, repeated or sent: when it begins, and
/// whenever there is twice as much of it.
pub(super) fn log_counts(counters: &Counters, span: &Span) {
    let span = span.clone();
    // A node's own counters: nobody else watches them.
    let _ = counters.watch(move |module, reason, count| {
        span.in_scope(|| debug!(target: COUNTS, %module, count, "{reason}"));
    });
}

/// Where it can be read.
#[cfg_attr(not(feature = "detectors"), expect(dead_code, reason = "nobody asks"))]
pub(super) struct Seen {
    latest: Arc<Mutex<Arc<NodeStatus>>>,
    events: broadcast::WeakSender<Told>,
    pub status: watch::Receiver<NodeStatus>,
    pub suspected: watch::Receiver<ProcessSet>,
    pub trusted: watch::Receiver<Option<ProcessId>>,
    /// `None`: the system is not assumed to be synchronous.
    pub crashed: Option<watch::Receiver<ProcessSet>>,
}

impl Sight {
    /// In which the node's events are told to the log.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// So much is known at first, in this cluster; `has_perfect`: whether there is P.
    pub fn new(snapshot: NodeStatus, cluster: &str, has_perfect: bool) -> (Self, Seen) {
        let latest = Arc::new(Mutex::new(Arc::new(snapshot.clone())));
        let events = broadcast::Sender::new(WAITING);
        // Whatever the log's filter takes of the events, it takes their span, too.
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

    /// Something has changed, and `change` says what has happened by it: the log, the watches and those who
    /// listen to events are told. Whoever reads an event finds what it says in the watches.
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
        // Who begins to listen meanwhile has all of this change behind him, or all of it before him.
        let mut latest = lock(&self.latest);
        for event in events {
            let now = now.clone();
            // Nobody may be listening.
            let _ = self.events.send(Told { event, now });
        }
        *latest = now;
    }
}

impl Seen {
    /// What happens from now on.
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
