//! A machine without a node, for tests of code that stands on a replicated machine.
use super::{
    super::{
        Abandon,
        codec::{Coding, Raw, Serde},
        flow::Flow,
        group::{Entry, Sharer, Unreadable},
        window::Limits,
    },
    Machine, Replica, Replicated, Shared,
};
use crate::error::Error;
use bytes::Bytes;
use quorate_abstractions::reconfigurable::View;
use quorate_core::{Addr, Counters, MessageId, message::Origin};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc};
use tokio::sync::mpsc;

/// The order of a machine that this process keeps alone, without a node or a network: submitted commands
/// wait in it until the test applies them. So tests can show how code on top of a replicated machine
/// behaves while commands take long or are not applied at all.
///
/// ```
/// # use quorate_runtime::node::{Alone, Chunk, Items, Machine, Unreadable, View};
/// # use quorate_core::{Incarnation, ProcessId, message::Origin};
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl Machine for Counter {
///     type Command = u64;
///     type Reply = u64;
///
///     fn apply(&mut self, _position: u64, _origin: ProcessId, by: u64) -> u64 {
///         self.0 += by;
///         self.0
///     }
///
///     fn snapshot(&self) -> View {
///         Items::view([self.0])
///     }
///
///     fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
///         self.0 = chunk.items()?.pop().unwrap_or_default();
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let me = Origin {
///     process: ProcessId::from_rank(1).ok_or("ranks begin at 1")?,
///     incarnation: Incarnation(1),
/// };
/// let (counter, mut order) = Alone::typed(me, Counter::default(), 16);
/// let reply = tokio::spawn({
///     let counter = counter.clone();
///     async move { counter.submit(3).await }
/// });
/// order.apply_next().await;
/// assert_eq!(reply.await??, 3);
/// # Ok(())
/// # }
/// ```
pub struct Alone<M: Machine> {
    me: Origin,
    replica: Replica<M>,
    submitted: mpsc::UnboundedReceiver<Bytes>,
    /// The number of messages that were applied, and how many of them are this process's own.
    position: u64,
    own: u64,
}

impl<M: Machine> fmt::Debug for Alone<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alone")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Alone<M>
where
    M::Command: Serialize + DeserializeOwned,
{
    /// A machine of the process `me`, with a handle that has at most `window` commands in flight.
    pub fn typed(me: Origin, machine: M, window: usize) -> (Replicated<M>, Self) {
        Self::of(me, machine, Coding::by::<Serde>(), window)
    }
}

impl<M: Machine<Command = Bytes>> Alone<M> {
    /// Like [`typed`](Alone::typed), for a machine whose commands are bytes.
    pub fn bytes(me: Origin, machine: M, window: usize) -> (Replicated<M>, Self) {
        Self::of(me, machine, Coding::by::<Raw>(), window)
    }
}

impl<M: Machine> Alone<M> {
    fn of(
        me: Origin,
        machine: M,
        codec: Coding<M::Command>,
        window: usize,
    ) -> (Replicated<M>, Self) {
        let limits = Limits {
            messages: window,
            bytes: usize::MAX,
        };
        let shared = Arc::new(Shared::new(Flow::new(limits, usize::MAX), codec, machine));
        let (port, submitted) = mpsc::unbounded_channel();
        let port = Addr::new(move |body| {
            // If the order is dropped, nothing is applied any more.
            let _ = port.send(body);
        });
        shared.flow.open(me, port);
        let replica = Replica {
            coming: None,
            shared: shared.clone(),
            undecodable: Counters::default().counter(&"alone".into(), "undecodable"),
        };
        let alone = Alone {
            me,
            replica,
            submitted,
            position: 0,
            own: 0,
        };
        (Replicated { shared }, alone)
    }

    /// Waits for the next submitted command or look, and applies it.
    pub async fn apply_next(&mut self) {
        // The machine holds the handle's end of the channel, so the channel stays open.
        if let Some(body) = self.submitted.recv().await {
            self.own += 1;
            let sequence = self.own;
            self.deliver(self.me, sequence, body);
        }
    }

    /// Applies a command of another process.
    ///
    /// # Errors
    /// When the command cannot be encoded.
    pub fn apply_of(
        &mut self,
        origin: Origin,
        sequence: u64,
        command: &M::Command,
    ) -> Result<(), Error> {
        let body = self.replica.shared.encode(command)?;
        self.deliver(origin, sequence, body);
        Ok(())
    }

    /// The number of commands and looks that wait.
    pub fn waiting(&self) -> usize {
        self.submitted.len()
    }

    /// The machine's state, as it would be transferred to another process.
    pub fn snapshot(&self) -> View {
        self.replica.shared.machine().snapshot()
    }

    /// Gives the machine a state, as if this process had been far behind. The state includes `own` of the
    /// commands that were submitted here; their outcomes stay unknown.
    ///
    /// # Errors
    /// When the machine cannot read the state. Then it keeps its old state.
    pub fn restore(&mut self, mut state: View, own: u64) -> Result<(), Unreadable> {
        self.replica.begin();
        while let Some(chunk) = state.next_chunk() {
            self.replica.chunk(chunk)?;
        }
        while self.own < own && self.submitted.try_recv().is_ok() {
            self.own += 1;
        }
        let last = MessageId {
            origin: self.me,
            sequence: self.own,
        };
        self.replica.whole(&[last], self.me)
    }

    /// Stops the order as if the node had stopped: nothing more is applied, and callers that wait get an
    /// error.
    pub fn stop(self) {
        self.replica.shared.abandon(&Error::Stopped);
    }

    fn deliver(&mut self, origin: Origin, sequence: u64, body: Bytes) {
        self.position += 1;
        self.replica.deliver(Entry {
            position: self.position,
            id: MessageId { origin, sequence },
            is_own: origin == self.me,
            body,
        });
    }
}
