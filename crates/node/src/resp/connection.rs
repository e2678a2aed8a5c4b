//! The connection of one client: requests come in and replies go out in the same order, with many in flight.
//!
//! The requests that one read brings are one batch. Its commands enter total order together, or each enters
//! the queue of its register. Batches follow one another without waiting for replies, up to a limit, from
//! which on the client's own sends block. What a client is returned is kept until it is written, and counts
//! from when it is [there](crate::node::unwritten), even if other replies must be written before it. While
//! the returned values are large, or those expected from registers will be, nothing further of this client is
//! begun.
//!
//! So the memory kept for a client that does not read is at most [`UNWRITTEN`], and what those requests
//! return that had been begun when this was reached: at most [`IN_FLIGHT`] batches and the two that the
//! reader and the writer handle. None of these had returned anything, so that the versions of values in them
//! differ only by what was written while they were in flight together. What is kept for all clients together
//! is counted, too, and so is what they have sent beyond [a little each](reading::ALLOWANCE): at the limit
//! nothing further is begun for those that have not read their replies, and a client that sends more than a
//! little is refused and disconnected.
//!
//! A client that reads nothing for long, or leaves a request unfinished for long, is disconnected; an idle
//! one only if the settings say so. After the last reply the connection is read on for a while, so that a
//! client that is still sending gets to see the error that it was answered with.
mod reading;

pub use reading::discard;

use super::answer::{Answer, Protocol};
use super::client::Client;
use super::output::Output;
use super::single::{self, Placed, Single};
use crate::node::{
    Store,
    replica::{self, Refusal, Replies},
    unwritten::{Held, Together, Unwritten},
};
use quorate_runtime::node::Locks;
use reading::{End, OnItsWay, Reader};
use std::{io, pin::pin, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The most batches of one client in flight.
const IN_FLIGHT: usize = 16;

/// The most bytes that may wait to be written to a client: returned values, and values asked of registers as
/// far as their length is known. From there on nothing further of the client is begun.
const UNWRITTEN: usize = 1024 * 1024;

/// How long a client may read nothing of its replies, or send nothing of the rest of a request.
pub const STALL: Duration = Duration::from_secs(30);

/// What a connection needs from the server.
#[derive(Clone)]
pub struct Session<I> {
    /// Executes the commands.
    pub store: Store,
    /// Locks, where total order serves the store.
    pub locks: Option<Locks>,
    /// How long a command may wait for a majority.
    pub deadline: Duration,
    /// The text of INFO.
    pub info: I,
    /// How long a client may stall in the middle of a request or of reading its replies,
    pub stall: Duration,
    /// and how long it may be idle between two requests; `None`: for ever.
    pub idle: Option<Duration>,
    /// The account of the memory that all clients hold together.
    pub together: Together,
}

/// The place of one request's reply.
enum PendingReply {
    /// The reply is here.
    Ready(Answer),
    /// No reply: from here on replies are written in this version of the protocol.
    Speak(Protocol),
    /// The next reply of the batch's answer from total order.
    Ordered,
    /// The reply of an operation which is still to be put in its register's queue,
    Single(Single),
    /// or has been put there.
    Placed(Placed),
}

/// Where the replies to the ordered requests of a batch come from.
enum Source {
    Nowhere,
    Answer(replica::Answer, Instant),
    Refused(Refusal),
}

struct Batch {
    slots: Vec<PendingReply>,
    source: Source,
    /// Counts the bytes of the replies that are here already.
    _ready: Held,
    _on_its_way: OnItsWay,
}

/// Serves one client until it leaves or breaks the protocol. When `stop` is cancelled nothing more is read,
/// and all requests that were read are answered.
pub async fn serve<S, I>(
    stream: S,
    client: Client,
    session: Session<I>,
    stop: CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
    I: Fn() -> String,
{
    let (read, write) = tokio::io::split(stream);
    let (queue, batches) = mpsc::channel(IN_FLIGHT);
    let words = UnavailableReplies::new(session.deadline, session.store.clone());
    let unwritten = Unwritten::new(UNWRITTEN, session.together.clone());
    let output = Output::new(write, session.stall);
    let reader = Reader::new(read, client, &session, &unwritten, queue);
    let mut reader = pin!(reader.run(&stop));
    let mut writer = pin!(write_replies(output, batches, &words));
    let (read, end) = tokio::select! {
        biased;
        written = &mut writer => return written,
        read = &mut reader => {
            // The client may have closed only its side, so its requests are still answered.
            writer.await?;
            read?
        }
    };
    if end == End::Parted {
        tokio::select! {
            () = stop.cancelled() => {}
            () = discard(read) => {}
        }
    }
    Ok(())
}

impl PendingReply {
    /// The length in bytes of the reply, if it is here.
    fn ready(&self) -> usize {
        match self {
            PendingReply::Ready(answer) => answer.len(),
            PendingReply::Speak(_)
            | PendingReply::Ordered
            | PendingReply::Single(_)
            | PendingReply::Placed(_) => 0,
        }
    }
}

async fn write_replies(
    mut output: Output<impl AsyncWrite + Unpin>,
    mut batches: mpsc::Receiver<Batch>,
    words: &UnavailableReplies,
) -> io::Result<()> {
    while let Some(batch) = batches.recv().await {
        let Batch {
            slots,
            source,
            _ready,
            _on_its_way,
        } = batch;
        // The counted bytes are held until the batch has been written.
        let returned = match source {
            Source::Nowhere => Ok(None),
            Source::Refused(refusal) => Err(words.refused(&refusal)),
            Source::Answer(mut answer, deadline) => {
                if let Ok(returned) = answer.try_recv() {
                    Ok(Some(returned))
                } else {
                    // Replies that are known must not wait for those that are not.
                    output.flush().await?;
                    words.wait(answer, deadline).await.map(Some)
                }
            }
        };
        let (mut replies, _held) = match returned {
            Ok(Some((replies, held))) => (Ok(replies.into_iter()), Some(held)),
            Ok(None) => (Ok(Vec::new().into_iter()), None),
            Err(refused) => (Err(refused), None),
        };
        for slot in slots {
            match (slot, &mut replies) {
                (PendingReply::Ready(answer), _) => output.answer(&answer).await?,
                (PendingReply::Speak(protocol), _) => output.speak(protocol),
                (PendingReply::Ordered, Ok(replies)) => {
                    if let Some(reply) = replies.next() {
                        output.reply(reply).await?;
                    } else {
                        let none = Answer::error("ERR no reply; outcome unknown");
                        output.answer(&none).await?;
                    }
                }
                (PendingReply::Ordered, Err(refused)) => output.answer(refused).await?,
                // The operation releases its bytes when the reply has been written.
                (PendingReply::Placed(mut placed), _) => {
                    let reply = if let Some(reply) = placed.try_reply() {
                        reply
                    } else {
                        output.flush().await?;
                        placed.reply().await
                    };
                    match reply {
                        Ok(reply) => output.reply(reply).await?,
                        Err(u) => {
                            let words = single::unreturned(u, &words.deadline);
                            output.answer(&words).await?;
                        }
                    }
                }
                // Unreachable: all operations have been put in their queues.
                (PendingReply::Single(_), _) => {
                    let words = Answer::error("ERR not executed");
                    output.answer(&words).await?;
                }
            }
        }
        if batches.is_empty() {
            output.flush().await?;
        }
    }
    output.end().await
}

/// The replies for commands that the other replicas do not answer.
struct UnavailableReplies {
    deadline: String,
    store: Store,
}

impl UnavailableReplies {
    fn new(deadline: Duration, store: Store) -> Self {
        UnavailableReplies {
            deadline: format!("{deadline:?}"),
            store,
        }
    }

    /// The error that no majority has answered, with the cause if that is known and will last.
    fn no_majority(&self, whom: &str, end: &str) -> Answer {
        let cause = match &self.store {
            Store::Ordered(replica) => replica.lost_memory(),
            Store::Registers(_) => None,
        };
        let cause = cause.map_or(String::new(), |cause| format!(" ({cause})"));
        let deadline = &self.deadline;
        Answer::Error(format!(
            "NOQUORUM no majority answered{whom} within {deadline}{cause}; {end}"
        ))
    }

    /// Waits for the replies. The error is what the client is told when they do not come in time.
    async fn wait(&self, answer: replica::Answer, deadline: Instant) -> Result<Replies, Answer> {
        match timeout_at(deadline, answer).await {
            Ok(Ok(returned)) => Ok(returned),
            Ok(Err(_)) => Err(Answer::error(
                "ERR the replica is stopping; outcome unknown",
            )),
            Err(_) => Err(self.no_majority("", "outcome unknown")),
        }
    }

    fn refused(&self, refusal: &Refusal) -> Answer {
        match refusal {
            Refusal::NoQuorum => self.no_majority(" earlier commands", "not executed"),
            Refusal::NotVoter(reason) => Answer::Error(format!("NOTVOTER {reason}; not executed")),
        }
    }
}

#[cfg(test)]
mod tests;
