//! The handles of one-shot abstractions: one request an instance, and one decision.
use super::{
    Abandon, Builder, Crashes, Wiring,
    codec::{Coded, Coding},
    modules::HEADS,
    needs::wait_for,
    window::{Limits, Taken, Window},
};
use crate::error::{Error, ProposeError, StartError};
use bytes::Bytes;
use quorate_abstractions::{
    atomic_commit::{self, Outcome, Vote},
    consensus,
    perfect::Crash,
    pressure::Room,
};
use quorate_core::{Addr, ProcessSet, watermark::Watermark};
use quorate_stacks::{
    agreements::{Commit, Consensus},
    needs::NeedsPerfect,
    stack,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::{oneshot, watch};

/// The largest distance of an instance above the oldest instance that is undecided here. Instances further
/// ahead are refused: otherwise an algorithm, here or at a process that is behind, would drop their
/// messages.
const AHEAD: u64 = 1 << 15;

/// The requests and decisions so far.
struct Ledger<D> {
    /// The undecided instances in which this process has made its request, each with the bytes that the
    /// request takes of the window.
    requested: BTreeMap<u64, usize>,
    /// By instance, the callers that wait for its decision.
    waiting: BTreeMap<u64, Vec<oneshot::Sender<D>>>,
    /// The latest decisions, which callers may still ask for.
    remembered: BTreeMap<u64, D>,
    /// All decided instances.
    decided: Watermark,
}

/// One module's instances: requests of type `R`, decisions of type `D`.
pub(crate) struct Agreement<R, D> {
    port: OnceLock<Addr<R>>,
    /// How many decisions are remembered.
    memory: usize,
    window: Arc<Window>,
    ledger: Mutex<Ledger<D>>,
}

impl<R: 'static, D: Clone> Agreement<R, D> {
    /// Limits the undecided requests, and remembers as many decisions as the limits allow messages.
    pub fn new(limits: Limits) -> Self {
        Agreement {
            port: OnceLock::new(),
            memory: limits.messages.max(1),
            window: Arc::new(Window::new(limits)),
            ledger: Mutex::new(Ledger {
                requested: BTreeMap::new(),
                waiting: BTreeMap::new(),
                remembered: BTreeMap::new(),
                decided: Watermark::default(),
            }),
        }
    }

    /// The address at which the link says whether it has room.
    pub fn pressure(&self) -> Addr<Room> {
        let window = self.window.clone();
        Addr::new(move |room| window.press(room))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<D>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests go to `port`.
    pub fn open(&self, port: Addr<R>) {
        // The builder that made the agreement sets it once.
        let _ = self.port.set(port);
    }

    /// Waits for room for a request of this many `bytes`, makes the request in the instance unless that is
    /// decided already, and waits for the decision.
    pub async fn request(
        &self,
        instance: u64,
        bytes: usize,
        request: R,
    ) -> Result<D, ProposeError> {
        // A caller that would be refused, or that can be given the decision, need not wait for room.
        if let Some(decision) = self.check(&self.ledger(), instance, true)? {
            return Ok(decision);
        }
        let room = self.window.take(bytes).await?;
        let decided = {
            let mut ledger = self.ledger();
            if let Some(decision) = self.check(&ledger, instance, true)? {
                return Ok(decision);
            }
            self.enter(&mut ledger, instance, (room, bytes), request);
            ledger.wait_for(instance)
        };
        // The sender is dropped without a decision only if nothing will be decided any more here.
        decided.await.map_err(|_| Error::OutcomeUnknown.into())
    }

    /// Whether this process has made its request in an instance that is undecided here.
    pub fn has_requested(&self, instance: u64) -> bool {
        self.ledger().requested.contains_key(&instance)
    }

    /// Waits for the decision of an instance.
    pub async fn decision(&self, instance: u64) -> Result<D, ProposeError> {
        let decided = {
            let mut ledger = self.ledger();
            if let Some(decision) = self.check(&ledger, instance, false)? {
                return Ok(decision);
            }
            ledger.wait_for(instance)
        };
        // The sender is dropped without a decision only if nothing will be decided any more.
        let decided = decided.await;
        decided.map_err(|_| self.window.closed().unwrap_or(Error::Stopped).into())
    }

    /// The decision of an instance, if it is remembered. An error if nobody can wait for the instance, or
    /// if the caller wants to make a request in it and must not.
    fn check(
        &self,
        ledger: &Ledger<D>,
        instance: u64,
        requests: bool,
    ) -> Result<Option<D>, ProposeError> {
        if let Some(decision) = ledger.remembered.get(&instance) {
            return Ok(Some(decision.clone()));
        }
        if let Some(error) = self.window.closed() {
            return Err(error.into());
        }
        if self.port.get().is_none() {
            return Err(Error::NotStarted.into());
        }
        if ledger.decided.contains(instance) {
            return Err(ProposeError::InstanceOver { instance });
        }
        let most = ledger.decided.low().saturating_add(AHEAD);
        if instance > most {
            return Err(ProposeError::InstanceTooFar { instance, most });
        }
        if requests && ledger.requested.contains_key(&instance) {
            return Err(ProposeError::RequestedTwice { instance });
        }
        Ok(None)
    }

    fn enter(
        &self,
        ledger: &mut Ledger<D>,
        instance: u64,
        (room, bytes): (Taken<'_>, usize),
        request: R,
    ) {
        room.keep(bytes);
        ledger.requested.insert(instance, bytes);
        if let Some(port) = self.port.get() {
            port.send(request);
        }
    }

    /// Notes that an instance was decided here.
    pub fn decided(&self, instance: u64, decision: D) {
        let mut ledger = self.ledger();
        if !ledger.decided.insert(instance) {
            return;
        }
        let taken = ledger.requested.remove(&instance);
        let waiters = ledger.waiting.remove(&instance);
        ledger.remembered.insert(instance, decision.clone());
        while ledger.remembered.len() > self.memory {
            ledger.remembered.pop_first();
        }
        drop(ledger);
        if let Some(bytes) = taken {
            self.window.give_back(1, bytes);
        }
        for waiter in waiters.into_iter().flatten() {
            // A waiter that has given up is ignored.
            let _ = waiter.send(decision.clone());
        }
    }
}

impl<D> Ledger<D> {
    fn wait_for(&mut self, instance: u64) -> oneshot::Receiver<D> {
        let (waiter, decided) = oneshot::channel();
        let waiters = self.waiting.entry(instance).or_default();
        // Removes waiters that have given up.
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
        decided
    }
}

impl<R: Send + 'static, D: Clone + Send> Abandon for Agreement<R, D> {
    fn close(&self, error: &Error) {
        // With the lock held: a request that has entered has entered completely.
        let _ledger = self.ledger();
        self.window.close(error);
    }

    fn abandon(&self, error: &Error) {
        self.close(error);
        let waiting = std::mem::take(&mut self.ledger().waiting);
        drop(waiting);
    }
}

/// Proposes values of type `T` to one consensus module of a node. Clones share its instances.
pub struct Proposer<T> {
    agreement: Arc<Agreement<consensus::Propose, Bytes>>,
    limit: usize,
    is_binary: bool,
    codec: Coding<T>,
}

impl<T> Clone for Proposer<T> {
    fn clone(&self) -> Self {
        Proposer {
            agreement: self.agreement.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for Proposer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposer").finish_non_exhaustive()
    }
}

impl<T> Proposer<T> {
    pub(crate) fn new(
        agreement: Arc<Agreement<consensus::Propose, Bytes>>,
        limit: usize,
        is_binary: bool,
        codec: Coding<T>,
    ) -> Self {
        Proposer {
            agreement,
            limit,
            is_binary,
            codec,
        }
    }

    /// Proposes a value in an instance, and waits for the decision: a value that one of the processes has
    /// proposed in this instance. Instances are numbered from 1, and should be used without gaps.
    ///
    /// Waits for room first, as [`Broadcaster::reserve`](super::Broadcaster::reserve) does. A call that is
    /// dropped before it has room has not proposed.
    ///
    /// The latest decisions are remembered, as many as the builder's [window](super::Builder::window) has
    /// messages. In an instance whose decision is remembered nothing is proposed, and the decision is
    /// returned. A call that is dropped while it waits for the decision has proposed.
    ///
    /// # Errors
    /// [`RequestedTwice`](ProposeError::RequestedTwice) when this process has proposed in this undecided
    /// instance before; [`InstanceOver`](ProposeError::InstanceOver) when the instance is decided, and its
    /// decision is forgotten; [`InstanceTooFar`](ProposeError::InstanceTooFar);
    /// [`NotABit`](ProposeError::NotABit), where the algorithm agrees on a bit and the encoded value is not
    /// the byte 0 or 1. [`UndecodableDecision`](ProposeError::UndecodableDecision) when the decision is no
    /// `T`.
    ///
    /// As [`Failed`](ProposeError::Failed): [`TooLarge`](Error::TooLarge),
    /// [`Unencodable`](Error::Unencodable), [`NotStarted`](Error::NotStarted). [`Stopped`](Error::Stopped),
    /// [`Excluded`](Error::Excluded), [`ReportedCrashed`](Error::ReportedCrashed),
    /// [`Panicked`](Error::Panicked) when the node has ended before the proposal: nothing was proposed.
    /// [`OutcomeUnknown`](Error::OutcomeUnknown) when the node ends while this call waits for the decision:
    /// the other processes may still decide the value.
    pub async fn propose(&self, instance: u64, value: &T) -> Result<T, ProposeError> {
        let value = (self.codec.encode)(value)?;
        let (size, limit) = (value.len(), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit }.into());
        }
        if self.is_binary && !matches!(*value, [0 | 1]) {
            return Err(ProposeError::NotABit);
        }
        let proposal = consensus::Propose { instance, value };
        let decision = self.agreement.request(instance, size, proposal).await?;
        self.decode(instance, decision)
    }

    /// Whether this process has proposed in an instance that is undecided here. After a dropped call this
    /// tells whether the call had proposed, or had only waited for room.
    pub fn has_proposed(&self, instance: u64) -> bool {
        self.agreement.has_requested(instance)
    }

    /// Waits for the decision of an instance, without a proposal. If no process proposes, the call waits
    /// until the node ends.
    ///
    /// # Errors
    /// As [`propose`](Proposer::propose), without the errors of the value. When the node ends while this
    /// call waits, the reason of that end.
    pub async fn decision(&self, instance: u64) -> Result<T, ProposeError> {
        let decision = self.agreement.decision(instance).await?;
        self.decode(instance, decision)
    }

    fn decode(&self, instance: u64, decision: Bytes) -> Result<T, ProposeError> {
        let undecodable = ProposeError::UndecodableDecision { instance };
        (self.codec.decode)(decision).ok_or(undecodable)
    }
}

/// Votes in one atomic-commit module of a node. Clones share its instances.
#[derive(Clone)]
pub struct Voter(Arc<Agreement<atomic_commit::Propose, Outcome>>);

impl fmt::Debug for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voter").finish_non_exhaustive()
    }
}

impl Voter {
    pub(crate) fn new(agreement: Arc<Agreement<atomic_commit::Propose, Outcome>>) -> Self {
        Voter(agreement)
    }

    /// Votes in an instance, and waits for the outcome. Instances are numbered from 1, and should be
    /// used without gaps. Waits for room first, as [`Broadcaster::reserve`](super::Broadcaster::reserve)
    /// does: a call that is dropped before it has room has not voted.
    ///
    /// The latest outcomes are remembered, as many as the builder's [window](super::Builder::window) has
    /// messages. In an instance whose outcome is remembered this process does not vote, and the outcome is
    /// returned. A call that is dropped while it waits for the outcome has voted.
    ///
    /// # Errors
    /// [`RequestedTwice`](ProposeError::RequestedTwice) when this process has voted in this undecided
    /// instance before; [`InstanceOver`](ProposeError::InstanceOver) when the instance is decided, and its
    /// outcome is forgotten; [`InstanceTooFar`](ProposeError::InstanceTooFar).
    ///
    /// As [`Failed`](ProposeError::Failed): [`NotStarted`](Error::NotStarted). [`Stopped`](Error::Stopped),
    /// [`Excluded`](Error::Excluded), [`ReportedCrashed`](Error::ReportedCrashed),
    /// [`Panicked`](Error::Panicked) when the node has ended before the vote: this process has not voted.
    /// [`OutcomeUnknown`](Error::OutcomeUnknown) when the node ends while this call waits for the outcome:
    /// the other processes may still decide either way.
    pub async fn vote(&self, instance: u64, vote: Vote) -> Result<Outcome, ProposeError> {
        let request = atomic_commit::Propose { instance, vote };
        self.0.request(instance, 0, request).await
    }

    /// Whether this process has voted in an instance that is undecided here. After a dropped call this
    /// tells whether the call had voted, or had only waited for room.
    pub fn has_voted(&self, instance: u64) -> bool {
        self.0.has_requested(instance)
    }

    /// Waits for the outcome of an instance, without a vote.
    ///
    /// # Errors
    /// As [`vote`](Voter::vote). When the node ends while this call waits, the reason of that end.
    pub async fn outcome(&self, instance: u64) -> Result<Outcome, ProposeError> {
        self.0.decision(instance).await
    }
}

/// Consensus and atomic commit.
impl Wiring {
    /// Starts a consensus by its name here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn consensus(
        &self,
        consensus: Consensus,
        up: Addr<consensus::Decide>,
    ) -> Result<Addr<consensus::Propose>, NeedsPerfect> {
        consensus.spawn(&self.host, &self.below(), up)
    }

    /// Starts an atomic commit by its name here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn commit(
        &self,
        commit: Commit,
        up: Addr<atomic_commit::Decide>,
    ) -> Result<Addr<atomic_commit::Propose>, NeedsPerfect> {
        commit.spawn(&self.host, &self.below(), up)
    }
}

/// Consensus and atomic commit.
impl Builder {
    /// Declares a consensus, chosen by its name, on values of type `T`, in as many instances as are used: see
    /// [`Consensus`], which is read from its name, too.
    ///
    /// # Errors
    /// When it needs the perfect failure detector and the system is
    /// not [assumed to be synchronous](Builder::assume_synchronous), or when the name is used already.
    pub fn consensus<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        consensus: Consensus,
    ) -> Result<Proposer<T>, StartError> {
        let Coded { name, codec } = name.into();
        self.check_detector(consensus.needs(), consensus.name())?;
        let agreement = Arc::new(Agreement::new(self.limits));
        let decided = agreement.clone();
        let algorithms = codec.of(&name, consensus.algorithms());
        self.fallible_module(&name, &algorithms, move |wiring| {
            let told = decided.clone();
            let up = Addr::new(move |consensus::Decide { instance, value }| {
                told.decided(instance, value);
            });
            // Decisions are read by whoever waits for them.
            wiring.pressure(wait_for(consensus.needs()), decided.pressure());
            decided.open(wiring.consensus(consensus, up)?);
            Ok(())
        })?;
        self.handles.agreements.push(agreement.clone());
        let limit = self.link.maximum_message.saturating_sub(HEADS);
        Ok(Proposer::new(
            agreement,
            limit,
            consensus.is_binary(),
            codec,
        ))
    }

    /// Declares an atomic commit, chosen by its name, in as many instances as are used: see [`Commit`], which is read from
    /// its name, too.
    ///
    /// # Errors
    /// When it needs the perfect failure detector and the system is
    /// not [assumed to be synchronous](Builder::assume_synchronous), or when the name is used already.
    pub fn commit(&mut self, name: &str, commit: Commit) -> Result<Voter, StartError> {
        self.check_detector(commit.needs(), commit.name())?;
        let agreement = Arc::new(Agreement::new(self.limits));
        let decided = agreement.clone();
        self.fallible_module(name, commit.algorithms(), move |wiring| {
            let told = decided.clone();
            let up = Addr::new(move |atomic_commit::Decide { instance, outcome }| {
                told.decided(instance, outcome);
            });
            // Decisions are read by whoever waits for them.
            wiring.pressure(wait_for(commit.needs()), decided.pressure());
            decided.open(wiring.commit(commit, up)?);
            Ok(())
        })?;
        self.handles.agreements.push(agreement.clone());
        Ok(Voter::new(agreement))
    }
}

/// P, derived.
impl Builder {
    /// Declares the perfect failure detector as it follows from non-blocking atomic commit: the two processes of each
    /// pair vote yes once a second, and if they abort, one has crashed. It stands on P itself, so that
    /// [`crashes`](super::Node::crashes) are there sooner: it shows that the one is as hard as the other.
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](Builder::assume_synchronous), or when the name is used
    /// already.
    pub fn crashes_from_commit(&mut self, name: &str) -> Result<Crashes, StartError> {
        if self.synchrony.is_none() {
            return Err(NeedsPerfect("crashes").into());
        }
        let (crashed, seen) = watch::channel(ProcessSet::EMPTY);
        self.module(name, stack::FROM_COMMIT, move |wiring| {
            if let Some(perfect) = &wiring.perfect {
                let reports = stack::from_commit(&wiring.host, &wiring.links, perfect);
                reports.send(Addr::new(move |Crash(process)| {
                    crashed.send_modify(|crashed| {
                        crashed.insert(process);
                    });
                }));
            }
        })?;
        Ok(Crashes::of(seen))
    }
}

#[cfg(test)]
mod tests;
