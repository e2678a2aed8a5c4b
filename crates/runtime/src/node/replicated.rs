//! Deterministic state machines that every process of a group keeps: each command of anybody is applied by
//! all of them, in one order.
mod alone;
mod chunk;

pub use alone::Alone;
pub use chunk::{Chunk, Items};

use super::{
    Abandon, Builder, Wiring,
    codec::{Coded, Coding},
    flow::Flow,
    group::{Entry, Sharer, Unreadable},
    modules::HEADS,
    window::Taken,
};
use crate::error::{Error, StartError};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::reconfigurable::View;
use quorate_core::{Host, MessageId, ProcessId, counters::Counter, message::Origin};
use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// What is behind the head of a message: nothing, for who only wants to know that it came back; or a command.
const NOTHING: u8 = 0;
const COMMAND: u8 = 1;

/// A deterministic state machine. Every process starts with an equal one, and applies the same commands in the
/// same order: what `apply` does follows from the machine and its arguments alone. No clock, no randomness, no
/// input, no iteration over what has no order: two replicas would differ.
///
/// Its state is given to who was started again in chunks, which make of a default machine what this one was.
/// For the state as a list of values, which may be long, there is [`Items`].
pub trait Machine: Default + Send + 'static {
    /// What is asked of it.
    type Command: Send + 'static;
    /// What it answers to who has asked.
    type Reply: Send + 'static;

    /// Applies the next command. `position` is its place in the order of the group, which grows, and is the
    /// same at every process; `origin` is who submitted it.
    ///
    /// It is called on a task of the runtime that the node was started in. A panic here stops the node.
    fn apply(&mut self, position: u64, origin: ProcessId, command: Self::Command) -> Self::Reply;

    /// As [`apply`](Machine::apply), where nobody waits for the reply: a machine whose replies take long to
    /// make need not make this one. What becomes of the machine must be the same.
    fn apply_unanswered(&mut self, position: u64, origin: ProcessId, command: Self::Command) {
        drop(self.apply(position, origin, command));
    }

    /// The state as it is now, which does not change any more: it is read later, chunk by chunk, while further
    /// commands are applied. Chunks have at most 1 MiB; a state with a longer one is not given.
    fn snapshot(&self) -> View;

    /// Takes in the next chunk of what [`snapshot`](Machine::snapshot) gave, in their order: the first one
    /// into a default machine.
    ///
    /// # Errors
    /// When it is no such chunk: then this process stops.
    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable>;

    /// All chunks were taken in.
    ///
    /// # Errors
    /// When something is missing: then this process stops.
    fn restored(&mut self) -> Result<(), Unreadable> {
        Ok(())
    }

    /// This machine, which was restored, takes the place of the one `before`: here it takes over what is no
    /// part of the state, such as those who watch it.
    fn take_over(&mut self, before: Self) {
        drop(before);
    }
}

/// Why there is no reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The command was not submitted, and will not be applied.
    #[error("not submitted: {0}")]
    NotSubmitted(#[from] Error),
    /// The command was submitted, and may or may not be applied: the node has stopped, or this process was
    /// given a state that stands for it.
    #[error("outcome unknown: the command may or may not be applied")]
    OutcomeUnknown,
}

/// Who waits for a message to come back.
enum Waiter<M: Machine> {
    /// It wants the reply to its command.
    Reply(Box<dyn FnOnce(M::Reply) + Send>),
    /// It wants to look at the machine as it is then.
    Look(Box<dyn FnOnce(&M) + Send>),
}

/// What the handle and the replica share.
struct Shared<M: Machine> {
    flow: Arc<Flow>,
    codec: Coding<M::Command>,
    waiters: Mutex<BTreeMap<u64, Waiter<M>>>,
    machine: Mutex<M>,
}

impl<M: Machine> Shared<M> {
    fn new(flow: Flow, codec: Coding<M::Command>, machine: M) -> Self {
        Shared {
            flow: Arc::new(flow),
            codec,
            waiters: Mutex::default(),
            machine: Mutex::new(machine),
        }
    }

    fn waiters(&self) -> MutexGuard<'_, BTreeMap<u64, Waiter<M>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self) -> MutexGuard<'_, M> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command as it travels.
    fn encode(&self, command: &M::Command) -> Result<Bytes, Error> {
        let encoded = (self.codec.encode)(command)?;
        let mut body = BytesMut::with_capacity(encoded.len() + 1);
        body.extend_from_slice(&[COMMAND]);
        body.extend_from_slice(&encoded);
        Ok(body.freeze())
    }

    /// Sends in the room that was taken; the waiter is told when the message has come back.
    fn send(&self, room: Taken<'_>, body: Bytes, waiter: Waiter<M>) -> Result<(), Error> {
        // Under the lock: the message may be back before its waiter is here.
        let mut waiters = self.waiters();
        let id = self.flow.request_in(room, body)?;
        waiters.insert(id.sequence, waiter);
        Ok(())
    }
}

impl<M: Machine> Abandon for Shared<M> {
    fn close(&self, error: &Error) {
        self.flow.close(error);
    }

    fn abandon(&self, error: &Error) {
        self.flow.abandon(error);
        let waiters = mem::take(&mut *self.waiters());
        drop(waiters);
    }
}

/// Submits commands to a replicated machine, and looks at it. Clones share a window.
pub struct Replicated<M: Machine> {
    shared: Arc<Shared<M>>,
}

impl<M: Machine> Clone for Replicated<M> {
    fn clone(&self) -> Self {
        Replicated {
            shared: self.shared.clone(),
        }
    }
}

impl<M: Machine> fmt::Debug for Replicated<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated").finish_non_exhaustive()
    }
}

impl<M: Machine> Replicated<M> {
    /// Submits a command, and waits until it is applied here: then it is, or will be, applied everywhere, in the
    /// same place of the order. Waits for room first, as a broadcast does; on a process that was started again,
    /// until it has the state.
    ///
    /// Commands of one process are applied in the order in which these calls are let through. A call that is
    /// dropped while it waits for room has submitted nothing; later, the command may be applied.
    ///
    /// # Errors
    /// See [`SubmitError`]: whether the command was submitted.
    pub async fn submit(&self, command: M::Command) -> Result<M::Reply, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let then = move |reply| {
            // Who has given up is not there any more.
            let _ = answer.send(reply);
        };
        self.submit_then(command, then).await?;
        answered.await.map_err(|_| SubmitError::OutcomeUnknown)
    }

    /// As [`submit`](Replicated::submit), without waiting for the reply: `then` is called with it, on the task
    /// that applies commands, which waits for it. So commands can follow each other without a task for each.
    ///
    /// Where the outcome stays unknown here, `then` is dropped without being called.
    ///
    /// # Errors
    /// The command was not submitted, and will not be applied.
    pub async fn submit_then(
        &self,
        command: M::Command,
        then: impl FnOnce(M::Reply) + Send + 'static,
    ) -> Result<(), Error> {
        let body = self.shared.encode(&command)?;
        let room = self.shared.flow.room(body.len()).await?;
        self.shared.send(room, body, Waiter::Reply(Box::new(then)))
    }

    /// Waits for room for one command, whose length is not known yet: who makes a command of what has come in
    /// meanwhile waits first. A call that is dropped has taken nothing.
    ///
    /// # Errors
    /// Those of a node that has stopped, or may not take part.
    pub async fn reserve(&self) -> Result<SubmitPermit<'_, M>, Error> {
        let room = self.shared.flow.reserve().await?;
        let shared = &self.shared;
        Ok(SubmitPermit { shared, room })
    }

    /// Looks at the machine at a moment between the call and its return: whatever had been replied to anybody
    /// before the call is in it. So the machine's answers are as if there were only one.
    ///
    /// It costs what a command costs. `look` is called on the task that applies commands, which waits for it.
    ///
    /// # Errors
    /// Those of a node that has stopped, or may not take part.
    pub async fn query<R: Send + 'static>(
        &self,
        look: impl FnOnce(&M) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let look = Arc::new(Mutex::new(Some(look)));
        loop {
            let (answer, answered) = oneshot::channel();
            let mine = look.clone();
            let waiter = Waiter::Look(Box::new(move |machine: &M| {
                let look = mine.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(look) = look {
                    // Who has given up is not there any more.
                    let _ = answer.send(look(machine));
                }
            }));
            let body = Bytes::from_static(&[NOTHING]);
            let room = self.shared.flow.room(body.len()).await?;
            self.shared.send(room, body, waiter)?;
            if let Ok(result) = answered.await {
                return Ok(result);
            }
            // A state stands for the message: it is asked again, unless the node has stopped.
        }
    }

    /// Looks at the machine as it is here at the moment, without asking anybody: it may lack what others have
    /// been replied already. For numbers, and for what never changes any more.
    ///
    /// Commands wait while `look` is running. It must not be called by a `look`, or by the machine.
    pub fn peek<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.shared.machine())
    }

    /// How many own commands are submitted and not applied here.
    pub fn pending(&self) -> u64 {
        self.shared.flow.pending()
    }
}

/// Room for one command, until it is submitted or dropped.
#[must_use = "a permit that is held takes room from others"]
pub struct SubmitPermit<'r, M: Machine> {
    shared: &'r Shared<M>,
    room: Taken<'r>,
}

impl<M: Machine> SubmitPermit<'_, M> {
    /// Submits a command, without waiting. `then` is called as that of [`Replicated::submit_then`].
    ///
    /// # Errors
    /// The command was not submitted, and will not be applied.
    pub fn submit_then(
        self,
        command: &M::Command,
        then: impl FnOnce(M::Reply) + Send + 'static,
    ) -> Result<(), Error> {
        let body = self.shared.encode(command)?;
        self.shared
            .send(self.room, body, Waiter::Reply(Box::new(then)))
    }
}

impl<M: Machine> fmt::Debug for SubmitPermit<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitPermit").finish_non_exhaustive()
    }
}

/// A machine at this process.
struct Replica<M: Machine> {
    /// What is made of a state that comes.
    coming: Option<M>,
    shared: Arc<Shared<M>>,
    undecodable: Counter,
}

/// The body is for no machine.
struct Undecodable;

impl<M: Machine> Replica<M> {
    fn apply(
        &self,
        position: u64,
        origin: ProcessId,
        body: &Bytes,
        waiter: Option<Waiter<M>>,
    ) -> Result<(), Undecodable> {
        let mut machine = self.shared.machine();
        match (body.first(), waiter) {
            (Some(&COMMAND), waiter) => {
                let command = (self.shared.codec.decode)(body.slice(1..)).ok_or(Undecodable)?;
                let Some(Waiter::Reply(then)) = waiter else {
                    machine.apply_unanswered(position, origin, command);
                    return Ok(());
                };
                let reply = machine.apply(position, origin, command);
                // Who is told may want to look at the machine.
                drop(machine);
                then(reply);
            }
            (Some(&NOTHING), Some(Waiter::Look(look))) if body.len() == 1 => look(&machine),
            (Some(&NOTHING), None) if body.len() == 1 => {}
            _ => return Err(Undecodable),
        }
        Ok(())
    }
}

impl<M: Machine> Sharer for Replica<M> {
    fn deliver(&mut self, entry: Entry) {
        let Entry { id, position, .. } = entry;
        let waiters = entry.is_own.then(|| self.shared.waiters());
        let waiter = waiters.and_then(|mut waiters| waiters.remove(&id.sequence));
        let applied = self.apply(position, id.origin.process, &entry.body, waiter);
        if applied.is_err() {
            self.undecodable.add(1);
        }
        if entry.is_own {
            self.shared.flow.delivered(id.sequence, 1);
        }
    }

    fn view(&self) -> Option<View> {
        Some(self.shared.machine().snapshot())
    }

    fn begin(&mut self) {
        self.coming = Some(M::default());
    }

    fn chunk(&mut self, chunk: Bytes) -> Result<(), Unreadable> {
        let coming = self.coming.as_mut().ok_or(Unreadable)?;
        coming.restore(Chunk::of(chunk))
    }

    fn abandoned(&mut self) {
        self.coming = None;
    }

    /// Own commands that the state stands for are applied: what they came to cannot be known here any more.
    fn whole(&mut self, news: &[MessageId], me: Origin) -> Result<(), Unreadable> {
        if let Some(mut coming) = self.coming.take() {
            coming.restored()?;
            let mut machine = self.shared.machine();
            let before = mem::replace(&mut *machine, coming);
            machine.take_over(before);
        }
        let own = news.iter().find(|id| id.origin == me);
        if let Some(last) = own {
            let mut waiters = self.shared.waiters();
            let later = waiters.split_off(&(last.sequence + 1));
            let covered = mem::replace(&mut *waiters, later);
            drop(waiters);
            drop(covered);
            self.shared.flow.skipped(last.sequence + 1);
        }
        Ok(())
    }
}

/// Replicated machines.
impl Builder {
    /// Declares a replicated state machine: `machine` is what every process begins with.
    ///
    /// A process that was killed, or whose program has ended, takes part again when it is started again at its
    /// address, or under its name: the others put it into its seat, and give it the state. So as long as a majority of the
    /// processes lives at any time *and has its state*, nothing is lost, and one after the other may be
    /// restarted. What is not in memory of a majority is lost: nothing is written to a disk.
    ///
    /// All machines and plain total orders of a node share one order, which decides who holds the seats. A
    /// plain [total order](Builder::total_order) keeps no state: a process that was started again, or was far
    /// behind, goes on where the others are, and is told what it [skips](crate::StreamError::Skipped).
    /// [Primary views](Builder::views) share it, too, and are joined again. The node's other
    /// modules take a restart for what it is, the crash of the first start: they go on without that process,
    /// and at the second start their handles say [`StartedAgain`](Error::StartedAgain).
    ///
    /// # Errors
    /// When the name is used already.
    pub fn replicated<M: Machine>(
        &mut self,
        name: impl Into<Coded<M::Command>>,
        machine: M,
    ) -> Result<Replicated<M>, StartError> {
        let coded = name.into();
        let algorithms = coded.codec.of(&coded.name, "replicated");
        self.replicated_with(coded, &algorithms, machine, |_| {})
    }

    /// As [`replicated`](Builder::replicated), with something else to be wired.
    pub(super) fn replicated_with<M: Machine>(
        &mut self,
        Coded { name, codec }: Coded<M::Command>,
        algorithms: &str,
        machine: M,
        beside: impl FnOnce(&Wiring) + Send + 'static,
    ) -> Result<Replicated<M>, StartError> {
        let limit = self.link.maximum_message.saturating_sub(HEADS);
        let flow = Flow::new(self.limits, limit);
        let shared = Arc::new(Shared::new(flow, codec, machine));
        let flow = shared.flow.clone();
        let handle = Replicated {
            shared: shared.clone(),
        };
        let ours = shared.clone();
        self.ordered_module(&name, algorithms, move |wiring| {
            let host = &wiring.host;
            let replica = Replica {
                coming: None,
                shared: ours,
                undecodable: host.counters().counter(host.path(), "undecodable"),
            };
            // There is one: a machine was declared.
            let Some(group) = &wiring.group else {
                return Ok(());
            };
            beside(&wiring);
            wiring.links.pressure(group.wait(), flow.pressure());
            flow.open(wiring.origin(), group.share(Box::new(replica)));
            Ok(())
        })?;
        self.order.stateful += 1;
        self.handles.flows.push(shared.flow.clone());
        self.handles.ordered_flows.push(shared.flow.clone());
        self.handles.machines.push(shared);
        Ok(handle)
    }
}
