//! An operation that was invoked and has not returned, as its caller holds it.
use crate::error::{Error, MemoryError};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// An operation's place in the queue of its object.
pub(super) trait Leave: Send + Sync {
    /// Leaves the queue; `false` if the operation has begun.
    fn leave(&self) -> bool;
    /// The operation has begun, and no caller waits for it any more.
    fn forget(&self);
}

/// An operation that was invoked, in the order of the calls. It is in flight, or waits in the queue of its
/// object until the operations before it have returned. As a future it gives the result of the operation.
///
/// If it is dropped while it waits in the queue, the operation never begins. If it is dropped while the
/// operation is in flight, the operation goes on and takes effect as usual, but no caller gets the result.
///
/// # Example
/// ```
/// # use quorate_core::ProcessId;
/// # use quorate_runtime::{Node, Withdrawal};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
/// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # let peers = vec![socket.local_addr()?];
/// let mut node = Node::builder(me, peers).socket(socket);
/// let settings = node.registers::<u32>("settings")?;
/// let node = node.start().await?;
///
/// // Invoked here, in this order; both are awaited afterwards.
/// let write = settings.write_then("limit", &7, |_| ())?;
/// let mut read = settings.read_then("limit", |reading| reading.value)?;
/// write.await?;
/// match tokio::time::timeout(Duration::from_secs(10), &mut read).await {
///     Ok(value) => assert_eq!(value?, Some(7)),
///     Err(_) => match read.withdraw() {
///         Withdrawal::NotBegun => println!("nothing was done, and nothing will be"),
///         Withdrawal::InFlight(_) => println!("the outcome is unknown"),
///         Withdrawal::Returned(value) => assert_eq!(value?, Some(7)),
///     },
/// }
/// # node.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "an operation that waits in line leaves it when this is dropped"]
pub struct Pending<R> {
    place: Box<dyn Leave>,
    outcome: oneshot::Receiver<Result<R, MemoryError>>,
    has_ended: bool,
}

/// The state of an operation that its caller gives up.
#[derive(Debug)]
pub enum Withdrawal<R> {
    /// The operation waited in the queue: it has not begun, and never will.
    NotBegun,
    /// The operation has begun: it takes effect once, at any time, or never. Dropping this value gives up
    /// the result.
    InFlight(Pending<R>),
    /// The operation has just returned.
    Returned(Result<R, MemoryError>),
}

impl<R> Pending<R> {
    pub(super) fn new(
        place: Box<dyn Leave>,
        outcome: oneshot::Receiver<Result<R, MemoryError>>,
    ) -> Self {
        Pending {
            place,
            outcome,
            has_ended: false,
        }
    }

    /// The result of the operation, if it has returned.
    pub fn try_outcome(&mut self) -> Option<Result<R, MemoryError>> {
        if self.has_ended {
            return None;
        }
        let outcome = match self.outcome.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Closed) => Err(Error::OutcomeUnknown.into()),
        };
        self.has_ended = true;
        Some(outcome)
    }

    /// Gives the operation up, if possible: an operation that has not begun never will.
    pub fn withdraw(mut self) -> Withdrawal<R> {
        if !self.has_ended && self.place.leave() {
            self.has_ended = true;
            return Withdrawal::NotBegun;
        }
        match self.try_outcome() {
            Some(outcome) => Withdrawal::Returned(outcome),
            None => Withdrawal::InFlight(self),
        }
    }
}

impl<R> Future for Pending<R> {
    type Output = Result<R, MemoryError>;

    /// After it has returned a result it is always pending.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.has_ended {
            return Poll::Pending;
        }
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        self.has_ended = true;
        // The sender is gone without a result: the function that was to be called with the outcome has
        // panicked.
        Poll::Ready(outcome.unwrap_or(Err(Error::OutcomeUnknown.into())))
    }
}

impl<R> Drop for Pending<R> {
    fn drop(&mut self) {
        if !self.has_ended && !self.place.leave() {
            self.place.forget();
        }
    }
}

impl<R> fmt::Debug for Pending<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

/// Counts of this process's operations on one module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Calls that wait, in a queue or for room in the window.
    pub waiting: usize,
    /// Operations in flight: at most one on each object, which several calls may share.
    pub in_flight: usize,
    /// Calls whose operations have returned.
    pub returned: u64,
    /// The age of the oldest call that has not returned, whether it waits or is in flight.
    pub oldest: Option<Duration>,
}
