//! A machine without a node: for tests of what stands on a replicated one.
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

/// The order of a machine that is kept by this process alone, without a node or a network: commands that are
/// submitted wait in it until they are told to be applied. So what stands on a replicated machine is tested
/// when commands take long, or are not applied at all.
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
    /// How many messages were applied, of this process and of others, and how many of this process.
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
    /// Such a machine of the process `me`, and the handle of it, which has at most so many commands in flight.
    pub fn typed(me: Origin, machine: M, window: usize) -> (Replicated<M>, Self) {
        Self::of(me, machine, Coding::by::<Serde>(), window)
    }
}

impl<M: Machine<Command = Bytes>> Alone<M> {
    /// As [`typed`](Alone::typed), of a machine whose commands are bytes.
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
            // Once the order is gone nothing is applied.
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

    /// Waits for the next command that is submitted, or look that is asked for, and applies it.
    pub async fn apply_next(&mut self) {
        // The handle's end of the channel is as old as the machine.
        if let Some(body) = self.submitted.recv().await {
            self.own += 1;
            let sequence = self.own;
            self.deliver(self.me, sequence, body);
        }
    }

    /// Applies a command of another process.
    ///
    /// # Errors
    /// When it cannot be encoded.
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

    /// How many commands and looks wait.
    pub fn waiting(&self) -> usize {
        self.submitted.len()
    }

    /// The machine's state, as another process would be given it.
    pub fn snapshot(&self) -> View {
        self.replica.shared.machine().snapshot()
    }

    /// Gives the machine a state, as if this process had been far behind: it stands for so many of the commands
    /// that were submitted here, whose outcomes stay unknown.
    ///
    /// # Errors
    /// When the machine cannot read it: the state is what it was.
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

    /// Ends it, as a node that stops does: nothing further is applied, and whoever waits is told.
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
