//! Locks with fencing tokens, and values that they guard, in the order of the group.
//!
//! They stand on a replicated machine, [`quorate_services::locks`], which has no clock. A task of each process
//! looks at the clock and at the failure detector, and proposes by a command of the order that a lock is taken
//! over. So it is the same everywhere who holds a lock at which place of the order.
mod keeper;
mod told;

use super::{
    Builder, Chunk, Items, Machine, NodeStatus, Replicated, SubmitError, Unreadable, View, Wiring,
};
use crate::error::{Error, StartError};
use bytes::Bytes;
use keeper::{Keeper, Left};
use quorate_core::ProcessId;
use quorate_services::locks::{self as service, Command, Item, Refusal, Reply, Status};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use told::{Session, Told};

/// How long locks outlive signs of life. The same on every process. These times decide when somebody proposes to
/// take a lock over, and nothing else: if they are too short, a holder loses its lock without need, and its
/// late writes are refused all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockSettings {
    /// For how long a [`Lock`] may go without renewal; `None`: for ever. A renewal is due after a third of it.
    pub lease: Option<Duration>,
    /// For how long the process through which a request was made may be suspected, or be replaced by another
    /// start, before its requests end.
    pub takeover: Duration,
}

impl Default for LockSettings {
    fn default() -> Self {
        LockSettings {
            lease: Some(Duration::from_secs(10)),
            takeover: Duration::from_secs(10),
        }
    }
}

/// The reason why a lock was not had, or a guarded value was not read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The request for the lock has ended: it was released or taken over.
    #[error("the lock is lost")]
    Lost,
    /// The token is not that of the present holder. Nothing was read or written.
    #[error("the token is not that of the present holder of the lock")]
    Fenced {
        /// The token of the present holder; `None`: nobody holds the lock.
        holder: Option<u64>,
    },
    /// A bound is reached. Nothing was done.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The command was not submitted, or its outcome is unknown.
    #[error(transparent)]
    Failed(#[from] SubmitError),
}

impl From<Error> for LockError {
    fn from(error: Error) -> Self {
        LockError::Failed(error.into())
    }
}

/// The request that holds a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LockHolder {
    pub token: u64,
    /// The name that the request has.
    pub owner: Bytes,
    /// The process through which it was made, or renewed last.
    pub process: ProcessId,
    /// How many requests wait for the lock.
    pub waiting: usize,
}

/// The machine, and whom it tells.
#[derive(Default)]
pub(super) struct Table {
    locks: service::Locks,
    told: Arc<Told>,
}

impl Table {
    fn locks(&self) -> &service::Locks {
        &self.locks
    }
}

impl Machine for Table {
    type Command = Command;
    type Reply = Reply;

    fn apply(&mut self, position: u64, _: ProcessId, command: Command) -> Reply {
        let applied = self.locks.apply(position, &command);
        self.told.tell(&applied.told);
        applied.reply
    }

    fn snapshot(&self) -> View {
        Items::view(self.locks.items())
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        for item in chunk.items::<Item>()? {
            self.locks.restore(item)?;
        }
        Ok(())
    }

    fn take_over(&mut self, before: Self) {
        self.told = before.told;
        self.told.tell_all(&self.locks);
    }
}

struct Shared {
    machine: Replicated<Table>,
    told: Arc<Told>,
    left: mpsc::UnboundedSender<Left>,
    lease: Option<Duration>,
    /// The status of the node, once it has started.
    status: OnceLock<watch::Receiver<NodeStatus>>,
}

impl Shared {
    /// Submits a command that may be applied twice, until its reply is known.
    async fn settle(&self, command: Command) -> Result<Reply, Error> {
        if command.is_too_long() {
            return Ok(Reply::Refused(Refusal::TooLong));
        }
        loop {
            match self.machine.submit(command.clone()).await {
                Ok(reply) => return Ok(reply),
                // The state that was transferred to this process includes the command; or the node has
                // stopped, and then the next try says so.
                Err(SubmitError::OutcomeUnknown) => {}
                Err(SubmitError::NotSubmitted(error)) => return Err(error),
            }
        }
    }
}

/// Locks by name, in the order of the group. Clones do the same. A lock exists while somebody asks for it.
///
/// Whoever holds a lock has a *token*: the place of its request in the order, the same number that is the
/// [fence](super::Term::fence) of a term. Of two holders of a lock the later one has the larger token. A holder
/// that stalls may learn too late that it has lost the lock: so whatever it writes to must compare tokens. The
/// values that stand beside the locks do, on reads and writes: see [`Lock::write`]. A resource of one's own has
/// to be told of a token before its holder relies on what it reads there.
#[derive(Clone)]
pub struct Locks(Arc<Shared>);

crate::debug::opaque!(Locks);

impl Locks {
    /// Waits for a lock, in the order of the requests.
    ///
    /// Cancel safe: a call that is dropped gives its place up, or the lock back, shortly after.
    ///
    /// # Errors
    /// [`Lost`](LockError::Lost) when the request has ended while it waited: this process was suspected for too
    /// long. [`Refused`](LockError::Refused) when the name is too long, or too many requests stand, of all processes or
    /// of this one while it is cut off.
    /// [`Failed`](LockError::Failed) when the node has not started, has stopped, or may not take part.
    pub async fn lock(&self, name: impl AsRef<[u8]>) -> Result<Lock, LockError> {
        let mut claim = self.own_claim(name.as_ref(), true).await?;
        if let Some(claim) = &mut claim {
            claim.held().await?;
        }
        claim.map(Lock::guard).ok_or(LockError::Lost)
    }

    /// Takes a lock if nobody holds it at the place of this request in the order; `None` if somebody does.
    ///
    /// Cancel safe, as [`lock`](Locks::lock) is.
    ///
    /// # Errors
    /// As [`lock`](Locks::lock).
    pub async fn try_lock(&self, name: impl AsRef<[u8]>) -> Result<Option<Lock>, LockError> {
        let claim = self.own_claim(name.as_ref(), false).await?;
        Ok(claim.map(Lock::guard))
    }

    async fn own_claim(&self, name: &[u8], waits: bool) -> Result<Option<Claim>, LockError> {
        let session = self.0.told.enter()?;
        let server = session.server;
        let (process, start) = (server.process, server.incarnation);
        let owner = format!("{process}/{start}/{}", server.session);
        let lease = self.0.lease;
        self.ask(session, name, owner.as_bytes(), lease, waits)
            .await
    }

    /// Asks for a lock in somebody's name, for instance for a client of this process. The claim is not renewed
    /// by itself. `None` if the lock is held and `waits` is false.
    ///
    /// The request is identified by the lock and the owner. While it stands, another call for the same, here or
    /// at another process, takes it over with its token and its place in the queue, and the claim before it ends.
    /// So a client that has lost its connection asks again at another process. Choose a fresh name for each
    /// request that is not meant to be the same.
    ///
    /// Cancel safe: a call that is dropped has made no request, or the request ends shortly after.
    ///
    /// # Errors
    /// As [`lock`](Locks::lock).
    pub async fn claim(
        &self,
        name: impl AsRef<[u8]>,
        owner: impl AsRef<[u8]>,
        lease: Option<Duration>,
        waits: bool,
    ) -> Result<Option<Claim>, LockError> {
        let session = self.0.told.enter()?;
        let (name, owner) = (name.as_ref(), owner.as_ref());
        self.ask(session, name, owner, lease, waits).await
    }

    async fn ask(
        &self,
        session: Session,
        name: &[u8],
        owner: &[u8],
        lease: Option<Duration>,
        waits: bool,
    ) -> Result<Option<Claim>, LockError> {
        let mut claim = self.unmade(session, name);
        let command = Command::Acquire {
            lock: name.to_vec(),
            owner: owner.to_vec(),
            lease: lease.map_or(0, milliseconds),
            waits,
            server: claim.session.server,
        };
        match self.0.settle(command).await? {
            Reply::Queued { token, .. } => {
                claim.token = token;
                Ok(Some(claim))
            }
            reply => {
                claim.stands = false;
                match reply {
                    Reply::Busy { .. } => Ok(None),
                    Reply::Refused(refusal) => Err(LockError::Refused(refusal)),
                    _ => Err(LockError::Lost),
                }
            }
        }
    }

    /// Serves the request with this token from now on, wherever it was made, and renews it; `None` if it has
    /// ended. The claim before it ends. So a client that holds a lock goes on at another process.
    ///
    /// Cancel safe: a request that a dropped call has taken over ends shortly after.
    ///
    /// # Errors
    /// [`Failed`](LockError::Failed) when the node has not started, has stopped, or may not take part.
    pub async fn attach(
        &self,
        name: impl AsRef<[u8]>,
        token: u64,
    ) -> Result<Option<Claim>, LockError> {
        let session = self.0.told.enter()?;
        let mut claim = self.unmade(session, name.as_ref());
        claim.token = token;
        let attach = Command::Attach {
            lock: claim.lock.clone(),
            token,
            server: claim.session.server,
        };
        claim.stands = self.0.settle(attach).await? == Reply::Found(true);
        Ok(Some(claim).filter(|claim| claim.stands))
    }

    /// A claim whose command has not been submitted. If it is dropped meanwhile, it ends.
    fn unmade(&self, session: Session, name: &[u8]) -> Claim {
        Claim {
            locks: self.clone(),
            lock: name.to_vec(),
            token: 0,
            session,
            stands: true,
        }
    }

    /// Ends the request with this token, whoever made it; `false` if there is none.
    ///
    /// A call that is dropped may have ended it.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn release(&self, name: impl AsRef<[u8]>, token: u64) -> Result<bool, SubmitError> {
        let lock = name.as_ref().to_vec();
        let command = Command::Release { lock, token };
        if command.is_too_long() {
            return Ok(false);
        }
        let reply = self.0.machine.submit(command).await?;
        Ok(reply == Reply::Found(true))
    }

    /// The holder of a lock at a moment between the call and its return; `None` if there is none. It may have
    /// changed since. A call costs as much as a command.
    ///
    /// # Errors
    /// When the node has not started, has stopped, or may not take part.
    pub async fn holder(&self, name: impl AsRef<[u8]>) -> Result<Option<LockHolder>, Error> {
        let name = name.as_ref().to_vec();
        let look = move |table: &Table| {
            let holder = table.locks.holder(&name)?;
            Some(LockHolder {
                token: holder.token,
                owner: Bytes::copy_from_slice(&holder.owner),
                process: holder.server.process,
                waiting: table.locks.waiting(&name),
            })
        };
        self.0.machine.query(look).await
    }

    /// Reads a value that a lock guards, with a token.
    ///
    /// # Errors
    /// As [`Lock::read`].
    pub async fn read(
        &self,
        name: impl AsRef<[u8]>,
        token: u64,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Bytes>, LockError> {
        let (lock, key) = (name.as_ref().to_vec(), key.as_ref().to_vec());
        match self.0.settle(Command::Read { lock, token, key }).await? {
            Reply::Value(value) => Ok(value),
            other => Err(refused(other)),
        }
    }

    /// Writes a value that a lock guards, with a token; `None` removes it.
    ///
    /// # Errors
    /// As [`Lock::write`].
    pub async fn write(
        &self,
        name: impl AsRef<[u8]>,
        token: u64,
        key: impl AsRef<[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), LockError> {
        let command = Command::Write {
            lock: name.as_ref().to_vec(),
            token,
            key: key.as_ref().to_vec(),
            value: value.map(<[u8]>::to_vec),
        };
        if command.is_too_long() {
            return Err(LockError::Refused(Refusal::TooLong));
        }
        match self.0.machine.submit(command).await? {
            Reply::Written => Ok(()),
            other => Err(refused(other)),
        }
    }
}

/// What a caller is told whose value was not read or written.
fn refused(reply: Reply) -> LockError {
    match reply {
        Reply::Fenced { holder } => LockError::Fenced { holder },
        Reply::Refused(refusal) => LockError::Refused(refusal),
        _ => LockError::Lost,
    }
}

/// A lease as it travels: at least a millisecond.
fn milliseconds(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A request for a lock, in somebody's name. When it is dropped, the request ends shortly after, unless another
/// claim has taken it over.
pub struct Claim {
    locks: Locks,
    lock: Vec<u8>,
    token: u64,
    session: Session,
    /// Whether the request stands, as far as replies have said.
    stands: bool,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("lock", &String::from_utf8_lossy(&self.lock))
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.stands && *self.session.status.borrow() != Some(Status::Ended) {
            let (lock, server) = (std::mem::take(&mut self.lock), self.session.server);
            self.locks.0.told.leaves();
            // It fails after the node has stopped; then the others end the request.
            let _ = self.locks.0.left.send(Left { lock, server });
        }
    }
}

impl Claim {
    /// The place of the request in the order.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Leaves the request as it is: it ends as if this process had crashed, unless its owner goes on at another
    /// process before that.
    pub fn leave(mut self) {
        self.stands = false;
    }

    /// Whether it holds the lock, as far as this process knows.
    pub fn is_held(&self) -> bool {
        *self.session.status.borrow() == Some(Status::Held)
    }

    /// Whether the request has ended, as far as this process knows.
    pub fn has_ended(&self) -> bool {
        *self.session.status.borrow() == Some(Status::Ended)
    }

    /// Waits until it holds the lock.
    ///
    /// Cancel safe: it keeps its place in the queue.
    ///
    /// # Errors
    /// [`Lost`](LockError::Lost) when the request has ended. [`Failed`](LockError::Failed) when the node has
    /// stopped or may not take part.
    pub async fn held(&mut self) -> Result<(), LockError> {
        let told = self.locks.0.told.clone();
        let decided = |now: &Option<Status>| matches!(now, Some(Status::Held | Status::Ended));
        let status = tokio::select! {
            status = self.session.status.wait_for(decided) => status.ok().and_then(|now| *now),
            () = told.stopped().cancelled() => return Err(told.error().into()),
        };
        match status {
            Some(Status::Held) => Ok(()),
            Some(Status::Waiting | Status::Ended) | None => Err(LockError::Lost),
        }
    }

    /// Renews the request; `false` if it has ended, or another claim has taken it over.
    ///
    /// # Errors
    /// When the node has stopped or this process may not take part.
    pub async fn renew(&self) -> Result<bool, Error> {
        let reply = self.locks.0.settle(self.renewal()).await?;
        Ok(reply == Reply::Found(true))
    }

    fn renewal(&self) -> Command {
        Command::Renew {
            lock: self.lock.clone(),
            token: self.token,
            server: self.session.server,
        }
    }
}

/// A lock that this process holds. It is renewed until it is dropped; then it is given back, shortly after.
///
/// Of what this process does under the lock, only what is fenced is safe: a process that is paused or cut off
/// learns too late that it has lost the lock. So every recipient of its writes must compare tokens, as
/// [`write`](Lock::write) does.
#[derive(Debug)]
pub struct Lock {
    claim: Claim,
    lost: CancellationToken,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.lost.cancel();
    }
}

impl Lock {
    /// The lock of a claim that holds it. A task renews it.
    fn guard(claim: Claim) -> Self {
        let lost = CancellationToken::new();
        let (shared, told) = (claim.locks.0.clone(), claim.locks.0.told.clone());
        let (renewal, mut status) = (claim.renewal(), claim.session.status.clone());
        let token = lost.clone();
        tokio::spawn(async move {
            let node = shared.status.get().cloned();
            tokio::select! {
                // On an error the claim is gone.
                _ = status.wait_for(|now| *now == Some(Status::Ended)) => {}
                () = cut_off(node) => {}
                () = renew(&shared, renewal) => {}
                () = told.stopped().cancelled() => {}
                () = token.cancelled() => {}
            }
            token.cancel();
        });
        Lock { claim, lost }
    }

    /// The number to be sent with every request that the lock protects: the place of the request for the lock
    /// in the order. It is larger than the tokens of all holders before.
    pub fn token(&self) -> u64 {
        self.claim.token
    }

    /// A token that is cancelled when this process learns that the lock is lost: it was taken over or released;
    /// it could not be renewed for as long as its lease; this process is cut off from a majority; or the node has
    /// stopped or may not take part.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Gives the lock back, and waits until the next one can have it.
    ///
    /// A call that is dropped may have given the lock back; if not, that is done shortly after.
    ///
    /// # Errors
    /// [`Lost`](LockError::Lost) when the lock had been lost before. [`Failed`](LockError::Failed) when it is
    /// not known whether it was.
    pub async fn unlock(self) -> Result<(), LockError> {
        let Claim {
            locks, lock, token, ..
        } = &self.claim;
        if locks.release(lock, *token).await? {
            Ok(())
        } else {
            Err(LockError::Lost)
        }
    }

    /// Reads a value that the lock guards. The values of a lock are kept when it is lost or given back.
    ///
    /// # Errors
    /// [`Fenced`](LockError::Fenced) when this lock was lost at the place of the read in the order.
    /// [`Failed`](LockError::Failed) when the node has stopped or may not take part.
    pub async fn read(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, LockError> {
        let Claim {
            locks, lock, token, ..
        } = &self.claim;
        let read = locks.read(lock, *token, key).await;
        self.learn(read)
    }

    /// Writes a value that the lock guards; `None` removes it. A key has at most 256 bytes, a value 256 KiB.
    ///
    /// A call that is dropped may have written.
    ///
    /// # Errors
    /// [`Fenced`](LockError::Fenced) when this lock was lost at the place of the write in the order: nothing
    /// was written. [`Refused`](LockError::Refused) when the key or the value is too long, or the values of all
    /// locks together take too much room. [`Failed`](LockError::Failed) says whether it may have been written.
    pub async fn write(
        &self,
        key: impl AsRef<[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), LockError> {
        let Claim {
            locks, lock, token, ..
        } = &self.claim;
        let written = locks.write(lock, *token, key, value).await;
        self.learn(written)
    }

    /// Whoever is refused has lost the lock.
    fn learn<T>(&self, outcome: Result<T, LockError>) -> Result<T, LockError> {
        if matches!(outcome, Err(LockError::Fenced { .. })) {
            self.lost.cancel();
        }
        outcome
    }
}

/// Returns when this process is known to be cut off from a majority.
async fn cut_off(node: Option<watch::Receiver<NodeStatus>>) {
    if let Some(mut node) = node {
        // On an error the node has stopped.
        let _ = node.wait_for(|now| now.cut_off.contains(now.me)).await;
    }
}

/// Renews a lock each third of its lease. Returns when it has ended, or was not renewed for the whole lease.
async fn renew(shared: &Shared, renewal: Command) {
    let Some(lease) = shared.lease else {
        return std::future::pending().await;
    };
    let mut renewed = Instant::now();
    loop {
        sleep_until(renewed + lease / 3).await;
        let asked = Instant::now();
        match timeout_at(renewed + lease, shared.settle(renewal.clone())).await {
            Ok(Ok(Reply::Found(true))) => renewed = asked,
            Ok(_) | Err(_) => return,
        }
    }
}

impl Builder {
    /// Declares locks with fencing tokens, in the order that they share with the node's [replicated
    /// machines](Builder::replicated). They behave at restarts like those machines; a process that was started
    /// again has lost its locks.
    ///
    /// ```no_run
    /// # async fn transfer(mut builder: quorate_runtime::Builder) -> Result<(), Box<dyn std::error::Error>> {
    /// let locks = builder.locks("locks", quorate_runtime::node::LockSettings::default())?;
    /// let node = builder.start().await?;
    /// let lock = locks.lock("accounts").await?;
    /// tokio::select! {
    ///     // What is written elsewhere carries the token, and is refused there once it is too old.
    ///     done = pay_with(lock.token()) => done,
    ///     () = lock.lost().cancelled() => return Err("lost the lock".into()),
    /// }
    /// // What is written here is refused if the lock is lost.
    /// lock.write("last payment", Some(b"17")).await?;
    /// lock.unlock().await?;
    /// # Ok(())
    /// # }
    /// # async fn pay_with(token: u64) {}
    /// ```
    ///
    /// # Errors
    /// When the name is used already.
    pub fn locks(&mut self, name: &str, settings: LockSettings) -> Result<Locks, StartError> {
        let table = Table::default();
        let told = table.told.clone();
        let (left, leaving) = mpsc::unbounded_channel();
        let place = Arc::new(OnceLock::<Arc<Shared>>::new());
        let (of_start, started) = (place.clone(), told.clone());
        let begin = move |wiring: &Wiring| {
            let Some(shared) = of_start.get() else {
                return;
            };
            started.start(wiring.origin());
            let _ = shared.status.set(wiring.status.clone());
            let keeper = Keeper {
                machine: shared.machine.clone(),
                told: started,
                status: wiring.status.clone(),
                settings,
                left: leaving,
            };
            tokio::spawn(keeper.run());
        };
        let machine = self.replicated_with(name.into(), "locks replicated", table, begin)?;
        self.handles.machines.push(told.clone());
        let shared = Arc::new(Shared {
            machine,
            told,
            left,
            lease: settings.lease,
            status: OnceLock::new(),
        });
        let _ = place.set(shared.clone());
        Ok(Locks(shared))
    }
}
