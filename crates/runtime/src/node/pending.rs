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

/// An operation's place in the line of its object.
pub(super) trait Leave: Send + Sync {
    /// Leaves the line. `false`: the operation has begun.
    fn leave(&self) -> bool;
    /// Nobody waits for what has begun.
    fn forget(&self);
}

/// An operation that was invoked, in the order of the calls: it is in flight, or waits in the line of its object
/// until those before it have returned. As a future it is what the operation returns.
///
/// Whoever drops it while it waits in line has done nothing. One that is in flight when it is dropped goes on:
/// it takes effect, as it would otherwise, and nobody is told.
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

/// What becomes of an operation that its caller gives up.
#[derive(Debug)]
pub enum Withdrawal<R> {
    /// It waited in line: it has not begun, and will not.
    NotBegun,
    /// It has begun: it takes effect once, at any time, or never. Whoever drops this is not told.
    InFlight(Pending<R>),
    /// It has just returned.
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

    /// What the operation has returned, if it has.
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

    /// Gives the operation up, as far as it can be: one that has not begun never will.
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

    /// Once it has returned it never does again.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.has_ended {
            return Poll::Pending;
        }
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        self.has_ended = true;
        // Nobody to answer: what was to be called with the outcome has panicked.
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

/// How far the operations of this process on one module have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Calls that wait in line, or for room in the window.
    pub waiting: usize,
    /// Operations in flight: on each object one at most, which several calls may share.
    pub in_flight: usize,
    /// Calls whose operations have returned.
    pub returned: u64,
    /// For how long the oldest of those that have not returned has been, in flight or waiting.
    pub oldest: Option<Duration>,
}
