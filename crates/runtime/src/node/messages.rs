//! The handles of point-to-point links: messages to one process at a time, and what arrives from all.
use super::{
    codec::Coding,
    flow::Flow,
    outlet::{Cost, Intake, OVERHEAD},
    window::{Full, Taken},
};
use crate::error::{Error, StreamError};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use quorate_abstractions::link::{Deliver, SendRequest, To};
use quorate_core::{
    Addr, ProcessId,
    message::Origin,
    wire::{put_number, take_number},
};
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

/// Sends messages of type `T` to one process at a time, through one module of a node. Clones share the
/// module's windows, of which there is one for each receiver: one that does not keep up slows what is sent to
/// it, and nothing else.
pub struct Sender<T> {
    /// By receiver, in rank order.
    ways: Arc<[Arc<Flow>]>,
    codec: Coding<T>,
    /// What a datagram carries, where that is the limit: known once the node has started.
    datagram: Option<Arc<OnceLock<usize>>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender {
            ways: self.ways.clone(),
            codec: self.codec,
            datagram: self.datagram.clone(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    pub(super) fn new(
        ways: Arc<[Arc<Flow>]>,
        codec: Coding<T>,
        datagram: Option<Arc<OnceLock<usize>>>,
    ) -> Self {
        Sender {
            ways,
            codec,
            datagram,
        }
    }

    /// Waits for room for one message to this process: in the [window](super::Builder::window) of what is
    /// sent to it, and at the process itself, which may not owe too much, and whose user may not be behind.
    ///
    /// A call that is dropped while it waits has taken nothing; callers are let through in the order in which
    /// they came. A permit that is held takes room from others: send soon, or drop it. The length of the
    /// message is not known yet, so that a few permits use the window up.
    ///
    /// # Errors
    /// [`NotMember`](Error::NotMember) when there is no such process; [`NotStarted`](Error::NotStarted),
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked).
    pub async fn reserve(&self, to: ProcessId) -> Result<SendPermit<'_, T>, Error> {
        let way = self.way(to)?;
        Ok(SendPermit {
            sender: self,
            way,
            room: way.reserve().await?,
        })
    }

    /// Waits for room as [`reserve`](Sender::reserve) does, and sends. That the call has returned says that
    /// the message is on its way, not that it has arrived. To oneself one sends as to anybody.
    ///
    /// A call that is dropped while it waits has not sent.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable), and as
    /// [`reserve`](Sender::reserve): the message was not sent.
    pub async fn send(&self, to: ProcessId, message: T) -> Result<(), Error> {
        let way = self.way(to)?;
        let payload = self.encode(&message)?;
        way.request(payload).await?;
        Ok(())
    }

    /// Sends, if there is room now and nobody waits for it.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full), with the message; and as [`send`](Sender::send).
    pub fn try_send(&self, to: ProcessId, message: T) -> Result<(), TrySendError<T>> {
        let way = self.way(to)?;
        let payload = self.encode(&message)?;
        match way.try_request(payload)? {
            Ok(_) => Ok(()),
            Err(Full) => Err(TrySendError::Full(message)),
        }
    }

    /// How many messages to this process wait for the links to take them; 0 where there is no such process.
    pub fn pending(&self, to: ProcessId) -> u64 {
        self.ways.get(to.index()).map_or(0, |way| way.pending())
    }

    fn way(&self, to: ProcessId) -> Result<&Flow, Error> {
        let n = self.ways.len();
        let way = self.ways.get(to.index()).map(|way| &**way);
        way.ok_or(Error::NotMember { process: to, n })
    }

    fn encode(&self, message: &T) -> Result<Bytes, Error> {
        let payload = (self.codec.encode)(message)?;
        let size = payload.len();
        match self.datagram.as_ref().and_then(|limit| limit.get()) {
            Some(&limit) if size > limit => Err(Error::TooLarge { size, limit }),
            _ => Ok(payload),
        }
    }
}

/// Room for one message to one process, until it is sent or dropped.
#[must_use = "a permit that is held takes room from others"]
pub struct SendPermit<'s, T> {
    sender: &'s Sender<T>,
    way: &'s Flow,
    room: Taken<'s>,
}

impl<T> SendPermit<'_, T> {
    /// Sends, without waiting.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable), and those of a node that has
    /// ended since: the message was not sent.
    pub fn send(self, message: T) -> Result<(), Error> {
        let payload = self.sender.encode(&message)?;
        self.way.request_in(self.room, payload)?;
        Ok(())
    }
}

impl<T> fmt::Debug for SendPermit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendPermit").finish_non_exhaustive()
    }
}

/// Why nothing was sent at once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrySendError<T> {
    /// There is no room at the moment. Here is the message.
    #[error("there is no room at the moment")]
    Full(T),
    /// It cannot be sent.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What goes from the protocol thread to a reader.
pub(super) enum Arrival {
    Message(ProcessId, Bytes),
    /// The channel to this process, or from it, has lost what waited in it.
    Gap(ProcessId),
}

impl Cost for Arrival {
    fn cost(&self) -> usize {
        match self {
            Arrival::Message(_, payload) => payload.len() + OVERHEAD,
            Arrival::Gap(_) => OVERHEAD,
        }
    }
}

/// What arrives at this process, each message with its sender: a [`Stream`] that ends when the node stops.
///
/// Of perfect links: what is not read waits, up to the builder's [limit](super::Builder::backlog). From half
/// of it on those who send to this process are slowed, so that a slow reader sees all. One that reads nothing
/// at all for 10 seconds gets, beyond the limit, [`StreamError::Lagged`], and the end. Where the channel to a
/// peer, or from it, has lost what waited in it, there is [`StreamError::Gap`]: what the two sent each other before
/// may be missing. Of fair-loss and stubborn links: what comes while the limit is used up is lost.
///
/// A payload that is no `T` gives [`StreamError::UndecodableMessage`]. After this and after a gap the stream goes
/// on, after any other error it ends. A call of `next` that is dropped has taken nothing.
pub struct Messages<T> {
    intake: Intake<Arrival>,
    decode: fn(Bytes) -> Option<T>,
}

impl<T> Messages<T> {
    pub(super) fn new(intake: Intake<Arrival>, codec: Coding<T>) -> Self {
        Messages {
            intake,
            decode: codec.decode,
        }
    }
}

impl<T> fmt::Debug for Messages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl<T> Stream for Messages<T> {
    type Item = Result<(ProcessId, T), StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = ready!(this.intake.poll_next(cx));
        Poll::Ready(next.map(|arrival| match arrival? {
            Arrival::Gap(peer) => Err(StreamError::Gap { peer }),
            Arrival::Message(from, payload) => {
                let message = (this.decode)(payload);
                let message = message.ok_or(StreamError::UndecodableMessage { from })?;
                Ok((from, message))
            }
        }))
    }
}

/// Opens the way to one process: what is requested goes into `lane`, and behind each message a mark to this
/// process itself into `marks`, which comes back when the link has taken both.
pub(super) fn open_way(
    way: &Flow,
    me: Origin,
    to: ProcessId,
    lane: Addr<SendRequest<Bytes>>,
    marks: Addr<SendRequest<Bytes>>,
) {
    let requests = AtomicU64::new(0);
    let port = Addr::new(move |message: Bytes| {
        lane.send(SendRequest {
            to: To::One(to),
            message,
        });
        // One at a time: the flow numbers its requests under a lock.
        let number = requests.fetch_add(1, Relaxed) + 1;
        marks.send(SendRequest {
            to: To::One(me.process),
            message: mark(to, number),
        });
    });
    way.open(me, port);
}

/// The mark of the message of this number to that process.
fn mark(to: ProcessId, number: u64) -> Bytes {
    let mut mark = BytesMut::with_capacity(12);
    put_number(to.rank() as u64, &mut mark);
    put_number(number, &mut mark);
    mark.freeze()
}

/// A mark has come back: its message has left the window. Only a process's own marks count.
pub(super) fn upon_mark(ways: &[Arc<Flow>], me: ProcessId, arrived: Deliver<Bytes>) {
    let Deliver { from, mut message } = arrived;
    if from != me {
        return;
    }
    if let Ok(rank) = take_number(&mut message)
        && let Ok(number) = take_number(&mut message)
        && let Some(index) = (rank as usize).checked_sub(1)
        && let Some(way) = ways.get(index)
    {
        way.delivered(number, 1);
    }
}
