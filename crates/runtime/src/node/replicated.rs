//! Deterministic state machines that every process of a group keeps: all processes apply the commands of
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

/// The first byte of a message without a command. Its sender only wants to know when the message comes back
/// in the order.
const NOTHING: u8 = 0;
const COMMAND: u8 = 1;

/// A deterministic state machine. Every process starts with an equal one, and applies the same commands in
/// the same order. What `apply` does must follow from the machine and its arguments alone. It must not use
/// a clock, randomness, input, or iteration over an unordered collection: otherwise two replicas would
/// differ.
///
/// A process that was started again is given the state in chunks, which turn a default machine into an
/// equal one. For a state that is a list of values, which may be long, use [`Items`].
pub trait Machine: Default + Send + 'static {
    /// The commands that the machine applies.
    type Command: Send + 'static;
    /// The answer to a command, for the process that submitted it.
    type Reply: Send + 'static;

    /// Applies the next command. `position` is the command's place in the order of the group, which grows,
    /// and is the same at every process. `origin` is the process that submitted the command.
    ///
    /// This function runs on a task of the runtime in which the node was started. A panic here stops the
    /// node.
    fn apply(&mut self, position: u64, origin: ProcessId, command: Self::Command) -> Self::Reply;

    /// Like [`apply`](Machine::apply), for a command to whose reply nobody waits. A machine whose replies
    /// are costly can skip the reply here. The change of the machine must be the same.
    fn apply_unanswered(&mut self, position: u64, origin: ProcessId, command: Self::Command) {
        drop(self.apply(position, origin, command));
    }

    /// A view of the present state that does not change any more: it is read later, chunk by chunk, while
    /// further commands are applied. A chunk has at most 1 MiB; a state with a longer chunk is not
    /// transferred.
    fn snapshot(&self) -> View;

    /// Takes in the next chunk of the view that [`snapshot`](Machine::snapshot) gave. The chunks come in
    /// order; the first is taken into a default machine.
    ///
    /// # Errors
    /// When this is not such a chunk. Then this process stops.
    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable>;

    /// Called after the last chunk was taken in.
    ///
    /// # Errors
    /// When something is missing. Then this process stops.
    fn restored(&mut self) -> Result<(), Unreadable> {
        Ok(())
    }

    /// Called on this machine, after it was restored, when it replaces the machine `before`. It takes over
    /// what is no part of the state, such as the watchers of the machine.
    fn take_over(&mut self, before: Self) {
        drop(before);
    }
}

/// The reason why there is no reply to a command.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The command was not submitted, and will not be applied.
    #[error("not submitted: {0}")]
    NotSubmitted(#[from] Error),
    /// The command was submitted, and it is unknown whether it is applied: the node has stopped, or this
    /// process was given a state that may include it.
    #[error("outcome unknown: the command may or may not be applied")]
    OutcomeUnknown,
}

/// The handler of a caller that waits for a message to come back in the order.
enum Waiter<M: Machine> {
    /// The caller wants the reply to its command.
    Reply(Box<dyn FnOnce(M::Reply) + Send>),
    /// The caller wants to look at the machine at this point of the order.
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

    /// Encodes a command as a message.
    fn encode(&self, command: &M::Command) -> Result<Bytes, Error> {
        let encoded = (self.codec.encode)(command)?;
        let mut body = BytesMut::with_capacity(encoded.len() + 1);
        body.extend_from_slice(&[COMMAND]);
        body.extend_from_slice(&encoded);
        Ok(body.freeze())
    }

    /// Sends a message in the room that was taken. The waiter is called when the message has come back in
    /// the order.
    fn send(&self, room: Taken<'_>, body: Bytes, waiter: Waiter<M>) -> Result<(), Error> {
        // The lock is held while sending: the message may come back before its waiter is inserted.
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
    /// Submits a command, and waits until it is applied here. Then it is, or will be, applied everywhere,
    /// at the same place of the order. First it waits for room, as a broadcast does; on a process that was
    /// started again it also waits until this process has the state.
    ///
    /// Commands of one process are applied in the order in which these calls get their room. A call that is
    /// dropped while it waits for room has submitted nothing. After that the command may be applied even if
    /// the call is dropped.
    ///
    /// # Errors
    /// See [`SubmitError`]: it says whether the command was submitted.
    pub async fn submit(&self, command: M::Command) -> Result<M::Reply, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let then = move |reply| {
            // The caller may have given up: then nobody receives the reply.
            let _ = answer.send(reply);
        };
        self.submit_then(command, then).await?;
        answered.await.map_err(|_| SubmitError::OutcomeUnknown)
    }

    /// Like [`submit`](Replicated::submit), but does not wait for the reply: `then` is called with it, on
    /// the task that applies commands, which waits until `then` returns. So commands can follow each other
    /// without a task for each.
    ///
    /// If the outcome stays unknown here, `then` is dropped and never called.
    ///
    /// # Errors
    /// When the command was not submitted. It will not be applied.
    pub async fn submit_then(
        &self,
        command: M::Command,
        then: impl FnOnce(M::Reply) + Send + 'static,
    ) -> Result<(), Error> {
        let body = self.shared.encode(&command)?;
        let room = self.shared.flow.room(body.len()).await?;
        self.shared.send(room, body, Waiter::Reply(Box::new(then)))
    }

    /// Waits for room for one command of unknown length. Use it if the command depends on data that arrives
    /// during the wait. A call that is dropped has taken no room.
    ///
    /// # Errors
    /// When the node has stopped or this process may not take part.
    pub async fn reserve(&self) -> Result<SubmitPermit<'_, M>, Error> {
        let room = self.shared.flow.reserve().await?;
        let shared = &self.shared;
        Ok(SubmitPermit { shared, room })
    }

    /// Looks at the machine at a moment between the call and its return. Every command to which anybody had
    /// a reply before the call has been applied by then. So queries are linearizable: the answers are as if
    /// there were only one machine.
    ///
    /// A query costs as much as a command. `look` is called on the task that applies commands, which waits
    /// until it returns.
    ///
    /// # Errors
    /// When the node has stopped or this process may not take part.
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
                    // The caller may have given up: then nobody receives the answer.
                    let _ = answer.send(look(machine));
                }
            }));
            let body = Bytes::from_static(&[NOTHING]);
            let room = self.shared.flow.room(body.len()).await?;
            self.shared.send(room, body, waiter)?;
            if let Ok(result) = answered.await {
                return Ok(result);
            }
            // A state that was transferred includes the message: the machine is asked again, unless the
            // node has stopped.
        }
    }

    /// Looks at the local machine as it is now, without asking other processes. It may lack commands to
    /// which other processes already have replies. Use it for statistics, and for values that never change
    /// any more.
    ///
    /// Commands wait while `look` is running. Neither a `look` nor the machine may call this function.
    pub fn peek<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.shared.machine())
    }

    /// The number of own commands that are submitted and not yet applied here.
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
    /// Submits a command, without waiting. `then` is called as in [`Replicated::submit_then`].
    ///
    /// # Errors
    /// When the command was not submitted. It will not be applied.
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

/// The machine of this process.
struct Replica<M: Machine> {
    /// The machine that is being built from the chunks of a state that arrives.
    coming: Option<M>,
    shared: Arc<Shared<M>>,
    undecodable: Counter,
}

/// The body belongs to no machine.
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
                // `then` may look at the machine, so the lock is released first.
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

    /// The state includes own commands: they are applied, and their replies can never be known here.
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
    /// Declares a replicated state machine. `machine` is its initial value at every process.
    ///
    /// A process that was killed, or whose program has ended, takes part again when it is started again at
    /// its address, or under its name: the others put it into its seat, and give it the state. So nothing
    /// is lost as long as, at any time, a majority of the processes is alive *and has the state*, and
    /// processes may be restarted one after the other. Commands that are not in the memory of a majority
    /// are lost: nothing is written to a disk.
    ///
    /// All machines and plain total orders of a node share one order, which decides which process holds
    /// each seat. A plain [total order](Builder::total_order) keeps no state: a process that was started
    /// again, or was far behind, continues where the others are, and is told which messages it
    /// [skips](crate::StreamError::Skipped). [Primary views](Builder::views) share the order, too, and the
    /// process can join them again. For the node's other modules a restart is the crash of the first start:
    /// they go on without that process, and the handles of its second start return
    /// [`StartedAgain`](Error::StartedAgain).
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

    /// Like [`replicated`](Builder::replicated). `beside` wires something else with the machine.
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
            // There is a group: this module makes the builder create one.
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
