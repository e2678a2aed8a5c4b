//! The handle on a real process: it makes mailboxes and starts algorithms.
use crate::ready;
use futures_util::task::AtomicWaker;
use quorate_core::{
    Algorithm, Counters, Host, Incarnation, Mailbox, Membership, Name, Observe, ProcessId,
    actor::{self, Actor},
    mailbox::Schedule,
    message::{digest, fold},
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// The process that a host runs, and the seed of its randomness.
#[derive(Clone, Debug)]
pub struct Identity {
    pub me: ProcessId,
    /// The incarnation of this process: it identifies this start.
    pub incarnation: Incarnation,
    /// Π.
    pub processes: Membership,
    /// The seed of all randomness of the process.
    pub seed: u64,
}

impl Identity {
    /// The process `me` of `processes`, as a new incarnation with fresh randomness.
    ///
    /// The incarnation is made of the wall clock's microseconds and randomness. It only has to differ from
    /// all others.
    pub fn fresh(me: ProcessId, processes: Membership) -> Self {
        Identity {
            me,
            incarnation: fresh_incarnation(),
            processes,
            seed: rand::random(),
        }
    }
}

/// Wall-clock microseconds, shifted, and randomness.
pub(crate) fn fresh_incarnation() -> Incarnation {
    let microseconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as u64);
    Incarnation((microseconds << 12) | u64::from(rand::random::<u16>() >> 4))
}

/// The work that other threads leave for the protocol thread.
#[derive(Default)]
pub(crate) struct Outside {
    /// Mailboxes that became non-empty.
    pub ready: Vec<usize>,
    /// Algorithms to start, each with its mailbox's number.
    pub actors: Vec<(usize, Box<dyn Actor>)>,
    /// The protocol thread will not take anything from here any more.
    pub closed: bool,
}

impl Outside {
    /// Whether other threads have left no work.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.actors.is_empty()
    }
}

/// The state that all handles on one process share with its protocol thread.
pub(crate) struct Shared {
    /// A number that differs from that of every other host of this operating-system process.
    pub id: u64,
    pub identity: Identity,
    pub counters: Counters,
    mailboxes: AtomicUsize,
    outside: Mutex<Outside>,
    /// The protocol thread sleeps, or is about to sleep: a thread that leaves work must wake it.
    parked: AtomicBool,
    pub waker: AtomicWaker,
    stopping: AtomicBool,
}

impl Shared {
    fn new(identity: Identity) -> Self {
        static HOSTS: AtomicU64 = AtomicU64::new(1);
        Shared {
            id: HOSTS.fetch_add(1, Relaxed),
            identity,
            counters: Counters::default(),
            mailboxes: AtomicUsize::new(0),
            outside: Mutex::default(),
            parked: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// What other threads have left for the protocol thread.
    pub fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the protocol thread, if it sleeps.
    pub fn wake(&self) {
        if self.parked.swap(false, AcqRel) {
            self.waker.wake();
        }
    }

    /// Announces that the protocol thread is about to sleep; `false` if it must not sleep because there is
    /// work. (The lock orders this with the push by another thread, so that one of the two sees the other.)
    pub fn park(&self) -> bool {
        self.parked.store(true, Release);
        let nothing = self.outside().is_empty() && !self.is_stopping();
        if !nothing {
            self.parked.store(false, Release);
        }
        nothing
    }

    /// The protocol thread is awake.
    pub fn unpark(&self) {
        self.parked.store(false, Release);
    }

    /// The protocol thread ends after its present turn.
    pub fn stop(&self) {
        self.stopping.store(true, Release);
        // The lock is taken for the same reason as in `park`.
        drop(self.outside());
        self.wake();
    }

    /// Whether the protocol thread was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Acquire)
    }
}

impl Schedule for Shared {
    fn is_inside(&self) -> bool {
        ready::is_at(self.id)
    }

    fn posted(&self, index: usize, is_news: bool) {
        if ready::mark(self.id, index) || !is_news {
            return;
        }
        let mut outside = self.outside();
        if !outside.closed {
            outside.ready.push(index);
        }
        drop(outside);
        self.wake();
    }
}

/// The host of a real process: its algorithms run on one thread, its *protocol thread*.
///
/// If several algorithms have something in their mailboxes, the one whose mailbox was made *last* runs
/// first, and handles everything that waits there. When all mailboxes are empty, the algorithms that ran
/// become idle, in the same order, until one of them makes another algorithm ready. Only then are messages
/// from other threads let in, each in its place among the other messages to the same mailbox. So no load
/// from outside can keep lower layers from running.
///
/// Clones are handles on the same process, usable from every thread. An algorithm may be started
/// before or after the protocol thread runs.
#[derive(Clone)]
pub struct TokioHost {
    pub(crate) shared: Arc<Shared>,
    path: Name,
}

impl TokioHost {
    pub(crate) fn new(identity: Identity) -> Self {
        TokioHost {
            shared: Arc::new(Shared::new(identity)),
            path: Name::root(),
        }
    }

    /// Whether the process has stopped, or is about to.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }
}

impl Host for TokioHost {
    fn me(&self) -> ProcessId {
        self.shared.identity.me
    }

    fn incarnation(&self) -> Incarnation {
        self.shared.identity.incarnation
    }

    fn processes(&self) -> &Membership {
        &self.shared.identity.processes
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    fn path(&self) -> &Name {
        &self.path
    }

    fn at(&self, segment: &str) -> Self {
        TokioHost {
            shared: self.shared.clone(),
            path: self.path.at(segment),
        }
    }

    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E> {
        let index = self.shared.mailboxes.fetch_add(1, Relaxed);
        Mailbox::new(index, self.shared.clone())
    }

    fn start<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    ) {
        let index = mailbox.index();
        let path = digest(self.path.as_str().as_bytes());
        let seed = fold(fold(self.shared.identity.seed, path), index as u64);
        let counters = self.shared.counters.clone();
        let actor = actor::join(self.path.clone(), seed, counters, mailbox, algorithm, route);
        let mut outside = self.shared.outside();
        if outside.closed {
            // The lock is released first: values that the algorithm holds may send when they are dropped.
            drop(outside);
            drop(actor);
            return;
        }
        outside.actors.push((index, actor));
        drop(outside);
        self.shared.wake();
    }
}
