//! What the users of this process are told of their requests for locks.
use super::LockError;
use crate::{error::Error, node::Abandon};
use quorate_core::message::Origin;
use quorate_services::locks::{Locks, REQUESTS, Refusal, Server, Status};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// The requests that this process serves, by their sessions.
#[derive(Default)]
pub(super) struct Told {
    me: OnceLock<Origin>,
    last: AtomicU64,
    /// `None` while no command of the session was applied.
    sessions: Mutex<BTreeMap<u64, watch::Sender<Option<Status>>>>,
    /// How many sessions are gone whose requests this process has not asked yet to end.
    leaving: AtomicUsize,
    /// Notified when a command was applied.
    applied: Notify,
    stopped: CancellationToken,
    error: OnceLock<Error>,
}

/// A session, until it is dropped.
pub(super) struct Session {
    pub(super) server: Server,
    pub(super) status: watch::Receiver<Option<Status>>,
    told: Arc<Told>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.told.sessions().remove(&self.server.session);
    }
}

impl Told {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u64, watch::Sender<Option<Status>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node starts as this incarnation.
    pub(super) fn start(&self, me: Origin) {
        let _ = self.me.set(me);
    }

    /// A session with a number that none had before.
    ///
    /// # Errors
    /// When the node has not started, has stopped, or may not take part. When this process has as many requests as
    /// all processes may have: it may be cut off, so that none of them ends.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Session, LockError> {
        if let Some(error) = self.error.get() {
            return Err(error.clone().into());
        }
        let me = self.me.get().ok_or(Error::NotStarted)?;
        if self.sessions().len() + self.leaving.load(Relaxed) >= REQUESTS {
            return Err(LockError::Refused(Refusal::TooManyRequests));
        }
        let session = 1 + self.last.fetch_add(1, Relaxed);
        let (sender, status) = watch::channel(None);
        self.sessions().insert(session, sender);
        let server = Server {
            process: me.process,
            incarnation: me.incarnation,
            session,
        };
        let told = self.clone();
        Ok(Session {
            server,
            status,
            told,
        })
    }

    /// The user of a session has gone: its request is to end.
    pub(super) fn leaves(&self) {
        self.leaving.fetch_add(1, Relaxed);
    }

    /// This process has asked that the request of such a session ends.
    pub(super) fn has_left(&self) {
        self.leaving.fetch_sub(1, Relaxed);
    }

    /// The session of this process that a server is.
    fn session(&self, server: Server) -> Option<u64> {
        let me = Origin {
            process: server.process,
            incarnation: server.incarnation,
        };
        (self.me.get() == Some(&me)).then_some(server.session)
    }

    /// Whether a server is a session of this process that is still there.
    pub(super) fn serves(&self, server: Server) -> bool {
        let session = self.session(server);
        session.is_some_and(|session| self.sessions().contains_key(&session))
    }

    /// A command was applied, of which servers have to be told this.
    pub(super) fn tell(&self, news: &[(Server, Status)]) {
        for (server, status) in news {
            let session = self.session(*server);
            let sessions = self.sessions();
            if let Some(sender) = session.and_then(|session| sessions.get(&session)) {
                sender.send_replace(Some(*status));
            }
        }
        self.applied.notify_one();
    }

    /// Another state is there. A request that stood, and is not in it, has ended. One of which nothing was
    /// applied here may be on its way.
    pub(super) fn tell_all(&self, locks: &Locks) {
        let Some(me) = self.me.get() else {
            return;
        };
        for (session, sender) in &*self.sessions() {
            let server = Server {
                process: me.process,
                incarnation: me.incarnation,
                session: *session,
            };
            let found = locks.served(server);
            sender.send_if_modified(|now| {
                let next = found.or(now.map(|_| Status::Ended));
                let is_news = *now != next;
                *now = next;
                is_news
            });
        }
        self.applied.notify_one();
    }

    /// Waits until a command was applied since the last call.
    pub(super) async fn applied(&self) {
        self.applied.notified().await;
    }

    /// Cancelled when the node has stopped, or may not take part.
    pub(super) fn stopped(&self) -> &CancellationToken {
        &self.stopped
    }

    /// The reason, if that is so.
    pub(super) fn error(&self) -> Error {
        self.error.get().cloned().unwrap_or(Error::Stopped)
    }
}

impl Abandon for Told {
    fn close(&self, _: &Error) {}

    fn abandon(&self, error: &Error) {
        let _ = self.error.set(error.clone());
        self.stopped.cancel();
    }
}
