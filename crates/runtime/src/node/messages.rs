//! The handles of point-to-point links: messages to one process at a time, and the messages that arrive
//! from all processes.
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
/// module's windows. Each receiver has its own window, so that a slow receiver slows only the messages that
/// are sent to it.
pub struct Sender<T> {
    /// The flows by receiver, in rank order.
    ways: Arc<[Arc<Flow>]>,
    codec: Coding<T>,
    /// The bytes that a datagram carries, if that is the limit of a message. It is known once the node has
    /// started.
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

    /// Waits for room for one message to this process: in the [window](super::Builder::window) of the
    /// messages to it, and at the process itself, which must not have too many bytes that it has not
    /// acknowledged, and whose reader must not be behind.
    ///
    /// A call that is dropped while it waits has taken no room. Callers are let through in the order in
    /// which they came. A permit takes room from others while it is held: send soon, or drop it. Since the
    /// length of the message is not known yet, a few permits use up the window.
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

    /// Waits for room as [`reserve`](Sender::reserve) does, and sends. When the call returns, the message
    /// is in flight, and need not have arrived. A process can also send to itself.
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

    /// Sends, if there is room now and no other caller waits for room.
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

    /// The number of messages to this process that wait for the links to take them; 0 if there is no such
    /// process.
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
    /// [`TooLarge`](Error::TooLarge), [`Unencodable`](Error::Unencodable), and the errors of a node that
    /// has ended since the permit was given: the message was not sent.
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

/// The reason why a message was not sent at once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrySendError<T> {
    /// There is no room at the moment. Here is the message.
    #[error("there is no room at the moment")]
    Full(T),
    /// It cannot be sent.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// An item that the protocol thread passes to a reader.
pub(super) enum Arrival {
    Message(ProcessId, Bytes),
    /// The channel to this process, or from it, has lost the messages that waited in it.
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

/// The messages that arrive at this process, each with its sender: a [`Stream`] that ends when the node
/// stops.
///
/// Of perfect links: messages that are not read wait, up to the builder's [limit](super::Builder::backlog).
/// From half of the limit on, the senders are slowed, so that a slow reader can see all messages. A reader
/// that reads nothing at all for 10 seconds gets [`StreamError::Lagged`] when more than the limit waits,
/// and the stream ends. If the channel to a peer, or from it, has lost the messages that waited in it, the
/// stream gives [`StreamError::Gap`]: earlier messages between the two processes may be missing. Of
/// fair-loss and stubborn links: messages that arrive while the limit is used up are lost.
///
/// A payload that is no `T` gives [`StreamError::UndecodableMessage`]. After this error and after a gap the
/// stream goes on, after any other error it ends. A call of `next` that is dropped has taken no message.
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

/// Opens the flow to one process. Requests go into `lane`. Behind each message a mark to this process
/// itself goes into `marks`; the mark comes back when the link has taken both.
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
        // There is one request at a time: the flow numbers its requests under a lock.
        let number = requests.fetch_add(1, Relaxed) + 1;
        marks.send(SendRequest {
            to: To::One(me.process),
            message: mark(to, number),
        });
    });
    way.open(me, port);
}

/// The mark of the message with this number to that process.
fn mark(to: ProcessId, number: u64) -> Bytes {
    let mut mark = BytesMut::with_capacity(12);
    put_number(to.rank() as u64, &mut mark);
    put_number(number, &mut mark);
    mark.freeze()
}

/// A mark has come back: its message has left the window. Marks of other processes are ignored.
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
