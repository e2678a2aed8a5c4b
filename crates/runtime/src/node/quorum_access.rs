//! Quorum access as a module: a state that is updated and read through quorums.
use super::{
    Builder,
    operations::{Begun, Operations, Sharing},
    pending::Progress,
};
use crate::error::{Error, MemoryError, StartError};
use quorate_abstractions::{
    pressure::Wait,
    quorum_access::{Answer, Call, Indication, Request, State},
};
use quorate_core::{Addr, wire::encode};
use quorate_stacks::quorum_system::{QuorumSystem, STORE};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Updates and reads a replicated state `S` through quorums. Clones share the module. Calls of one process
/// may overlap. While no quorum answers, calls wait.
pub struct QuorumAccess<S: State> {
    operations: Arc<Operations<u64, Call<S::Update>, Answer<S>>>,
    called: Arc<AtomicU64>,
}

impl<S: State> Clone for QuorumAccess<S> {
    fn clone(&self) -> Self {
        QuorumAccess {
            operations: self.operations.clone(),
            called: self.called.clone(),
        }
    }
}

impl<S: State> fmt::Debug for QuorumAccess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumAccess").finish_non_exhaustive()
    }
}

impl<S: State> QuorumAccess<S> {
    /// The states of a read quorum, in the order of its processes. Each update whose
    /// [`set`](QuorumAccess::set) had returned before this call is in one of them.
    ///
    /// A call that is dropped while it waits for room has not begun; a call that is dropped later goes on.
    ///
    /// # Errors
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted), [`Stopped`](Error::Stopped),
    /// [`Excluded`](Error::Excluded), [`ReportedCrashed`](Error::ReportedCrashed),
    /// [`Panicked`](Error::Panicked) when the node has ended before the call,
    /// [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while this call waits.
    pub async fn get(&self) -> Result<Vec<S>, MemoryError> {
        let get = self.operations.operate(self.number(), 0, Call::Get);
        match get.await? {
            Answer::Got(states) => Ok(states),
            // Some other code has begun a call that the handle does not know.
            Answer::Set => Err(MemoryError::Busy),
        }
    }

    /// Has a write quorum apply an update.
    ///
    /// # Errors
    /// As [`Failed`](MemoryError::Failed): [`TooLarge`](Error::TooLarge) when all updates of this process
    /// together would make a state longer than 64 KiB. Otherwise as [`get`](QuorumAccess::get). If the node
    /// had ended before the call, nothing was updated; if the outcome is unknown, the update takes effect
    /// once, at any time, or never.
    pub async fn set(&self, update: S::Update) -> Result<(), MemoryError> {
        let size = encode(&update).len();
        let set = Call::Set(update);
        match self.operations.operate(self.number(), size, set).await? {
            Answer::Set => Ok(()),
            // Some other code has begun a call that the handle does not know.
            Answer::Got(_) => Err(MemoryError::Busy),
        }
    }

    /// Counts of this process's calls: waiting, in flight, and returned.
    pub fn progress(&self) -> Progress {
        self.operations.progress()
    }

    /// A new number: each call is an object of its own, so that calls may overlap.
    fn number(&self) -> u64 {
        self.called.fetch_add(1, Relaxed) + 1
    }
}

/// Applies an update to the state that this process's updates make, if a message can carry the result.
fn apply<S: State>(own: &Mutex<S>, update: &S::Update) -> Result<(), MemoryError> {
    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
    let mut next = own.clone();
    next.apply(update);
    let (size, limit) = (encode(&next).len(), STORE);
    if size > limit {
        return Err(Error::TooLarge { size, limit }.into());
    }
    *own = next;
    Ok(())
}

/// Quorum access.
impl Builder {
    /// Declares access, through the quorums of a system, to a replicated state with the initial value
    /// `initial`, which must be the same at every process. [Registers](Builder::registers_over) stand on
    /// such access. Each message carries the state: the state that one process's updates make has 64 KiB at
    /// most, and the whole state at most the sum of these.
    ///
    /// # Errors
    /// As [`registers_over`](Builder::registers_over).
    ///
    /// # Example
    /// ```
    /// # use quorate_core::ProcessId;
    /// # use quorate_runtime::{Node, QuorumSystem};
    /// use quorate_quorums::marks::{Mark, Marks};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let peers = vec![socket.local_addr()?];
    /// let system = QuorumSystem::parse("processes = 1\ncrashes = 0\n")?;
    /// let mut node = Node::builder(me, peers).socket(socket);
    /// // A set of marks; a state of one's own implements `State`.
    /// let marks = node.quorum_access("marks", &system, Marks::default())?;
    /// let node = node.start().await?;
    ///
    /// marks.set(Mark(3)).await?;
    /// assert_eq!(marks.get().await?, [Marks(1 << 3)]);
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn quorum_access<S: State>(
        &mut self,
        name: &str,
        system: &QuorumSystem,
        initial: S,
    ) -> Result<QuorumAccess<S>, StartError> {
        self.check_system(system)?;
        // The state that this process's updates make, which a message must carry.
        let own = Mutex::new(initial.clone());
        let admit = move |_: &u64, call: &Call<S::Update>| match call {
            Call::Get => Ok(()),
            Call::Set(update) => apply(&own, update),
        };
        let operations = Operations::new(self.limits, Sharing::none()).admitting(admit);
        let operations = Arc::new(operations);
        let (told, chosen) = (operations.clone(), system.clone());
        self.module(name, &format!("access:{system}"), move |wiring| {
            let returned = told.clone();
            let up = Addr::new(move |Indication { operation, answer }| {
                returned.returned_on(&operation, answer);
            });
            wiring.pressure(Wait::for_majority(), told.pressure());
            let port = wiring.scope().quorum_access(&chosen, initial, up);
            told.open(port.with(|begun: Begun<u64, Call<S::Update>>| Request {
                operation: begun.object,
                call: begun.action,
            }));
        })?;
        self.handles.agreements.push(operations.clone());
        Ok(QuorumAccess {
            operations,
            called: Arc::default(),
        })
    }
}
