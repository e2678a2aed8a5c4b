//! One client: requests in, replies out, in order, many under way.
//!
//! What one read brings is one batch: its commands enter total order together, or each the line of its
//! register. Batches follow one another without waiting for replies, up to a limit, behind which the
//! client's own sends block. What is returned is held here until it is written: while that is much, or,
//! of registers, will be, nothing further of this client is begun. A client that takes nothing of it for
//! long, or leaves a request unfinished for long, is given up.
use super::output::{Output, held};
use super::request::{self, Request, error};
use super::scan::Scanner;
use super::single::{self, Placed, Single};
use crate::node::{
    Store,
    registers::Registers,
    replica::{Answer, Refusal},
};
use bytes::BytesMut;
use quorate_services::kv::Reply;
use redis_protocol::resp2::types::BytesFrame;
use std::{
    io::{self, ErrorKind},
    mem,
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The most requests of one batch.
const BATCH: usize = 1024;

/// A batch is closed when its commands are this long.
const BATCH_BYTES: usize = 64 * 1024;

/// The most batches of one client under way.
const UNDER_WAY: usize = 16;

/// The most bytes of values that a client has been returned, or, as far as their length is known, has asked
/// registers for, and has not been written; the values of a single request may be longer, and those of
/// batches that were under way when this was passed come on top.
const UNWRITTEN: usize = 1024 * 1024;

/// How long a client may read nothing of its replies, or send nothing of the rest of a request.
pub const STALL: Duration = Duration::from_secs(30);

/// What a connection needs of the server.
#[derive(Clone)]
pub struct Session<I> {
    /// Where commands go.
    pub store: Store,
    /// How long a command may wait for a majority.
    pub deadline: Duration,
    /// The text of INFO.
    pub info: I,
    /// How long a client may keep this replica waiting in the middle of something.
    pub stall: Duration,
}

/// The place of one request's reply.
enum Slot {
    /// It is here.
    Ready(BytesFrame),
    /// It is the answer's next.
    Ordered,
    /// It is that of an operation which is still to be put in its register's line,
    Single(Single),
    /// or is there: with room for its value, until that is written.
    Placed(Placed, Option<OwnedSemaphorePermit>),
}

/// Where the replies to the ordered requests of a batch come from.
enum Source {
    Nowhere,
    Answer(Answer, Instant),
    Refused(Refusal),
}

struct Batch {
    slots: Vec<Slot>,
    source: Source,
}

/// Serves one client until it leaves or breaks the protocol. At `stop` nothing more is read, and what
/// was read is answered.
pub async fn serve<S, I>(stream: S, session: Session<I>, stop: CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
    I: Fn() -> String,
{
    let (read, write) = tokio::io::split(stream);
    let (queue, batches) = mpsc::channel(UNDER_WAY);
    let words = Words::new(session.deadline);
    let unwritten = Arc::new(Semaphore::new(UNWRITTEN));
    let output = Output::new(write, session.stall);
    let mut reader = pin!(read_requests(read, queue, &session, &unwritten, stop));
    let mut writer = pin!(write_replies(output, batches, &words, &unwritten));
    tokio::select! {
        biased;
        written = &mut writer => written,
        read = &mut reader => {
            // The client may have closed its side only: what it asked for is still answered.
            writer.await?;
            read
        }
    }
}

async fn read_requests<I: Fn() -> String>(
    mut read: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Batch>,
    session: &Session<I>,
    unwritten: &Arc<Semaphore>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut scanner = Scanner::default();
    let mut commands = BytesMut::new();
    loop {
        let (mut slots, last) = gather(&mut buffer, &mut scanner, &mut commands, session);
        if slots.is_empty() && !last {
            let length = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                length = read_some(&mut read, &mut buffer, session.stall) => length?,
            };
            if length == 0 {
                return Ok(());
            }
            continue;
        }
        let source = match &session.store {
            Store::Ordered(_) => {
                // Held up while the client does not read what it was returned.
                let room = unwritten.acquire().await;
                drop(room);
                submit(&slots, &mut commands, session).await
            }
            Store::Registers(registers) => {
                let placing = Placing {
                    registers,
                    patience: session.deadline,
                    unwritten,
                    queue: &queue,
                };
                match placing.place(slots).await {
                    Some(placed) => slots = placed,
                    None => return Ok(()),
                }
                Source::Nowhere
            }
        };
        if queue.send(Batch { slots, source }).await.is_err() || last {
            return Ok(());
        }
    }
}

/// Reads what the client has sent. In the middle of a request it may not keep still for long.
async fn read_some(
    read: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    stall: Duration,
) -> io::Result<usize> {
    request::shrink(buffer);
    let between = buffer.is_empty();
    buffer.reserve(16 * 1024);
    let length = read.read_buf(buffer);
    if between {
        return length.await;
    }
    timeout(stall, length).await.unwrap_or_else(|_| {
        let words = format!("the client has left a request unfinished for {stall:?}");
        Err(io::Error::new(ErrorKind::TimedOut, words))
    })
}

/// Takes the requests off the buffer that make the next batch, their commands encoded. `true`: the
/// connection ends after it.
fn gather<I: Fn() -> String>(
    buffer: &mut BytesMut,
    scanner: &mut Scanner,
    commands: &mut BytesMut,
    session: &Session<I>,
) -> (Vec<Slot>, bool) {
    let mut slots = Vec::new();
    let mut singles = 0;
    while slots.len() < BATCH && commands.len() + singles < BATCH_BYTES {
        match request::take(buffer, scanner) {
            Ok(None) => break,
            Ok(Some(Request::Command(command))) => match &session.store {
                Store::Ordered(_) => {
                    command.encode(commands);
                    slots.push(Slot::Ordered);
                }
                Store::Registers(_) => slots.push(match Single::from_command(command) {
                    Ok(single) => {
                        singles += single.len();
                        Slot::Single(single)
                    }
                    Err(refused) => Slot::Ready(refused),
                }),
            },
            Ok(Some(Request::Answered(frame))) => slots.push(Slot::Ready(frame)),
            Ok(Some(Request::Info)) => {
                slots.push(Slot::Ready(BytesFrame::BulkString((session.info)().into())));
            }
            Ok(Some(Request::Nothing)) => {}
            Ok(Some(Request::Quit)) => {
                slots.push(Slot::Ready(request::simple("OK")));
                return (slots, true);
            }
            Err(words) => {
                slots.push(Slot::Ready(error(words)));
                return (slots, true);
            }
        }
    }
    (slots, false)
}

async fn submit<I>(slots: &[Slot], commands: &mut BytesMut, session: &Session<I>) -> Source {
    let ordered = slots
        .iter()
        .filter(|slot| matches!(slot, Slot::Ordered))
        .count();
    if ordered == 0 {
        return Source::Nowhere;
    }
    let Store::Ordered(replica) = &session.store else {
        return Source::Nowhere;
    };
    let deadline = Instant::now() + session.deadline;
    let submitted = replica.submit(ordered, commands, deadline).await;
    commands.clear();
    match submitted {
        Ok(answer) => Source::Answer(answer, deadline),
        Err(refusal) => Source::Refused(refusal),
    }
}

/// What operations need to be put in their registers' lines.
struct Placing<'s> {
    registers: &'s Registers,
    patience: Duration,
    /// Room for values until they are written.
    unwritten: &'s Arc<Semaphore>,
    queue: &'s mpsc::Sender<Batch>,
}

impl Placing<'_> {
    /// Puts every operation in its register's line, in their order. Where one has to wait until values are
    /// written, those before it go ahead; what comes back is the rest. `None`: nobody writes any more.
    async fn place(&self, slots: Vec<Slot>) -> Option<Vec<Slot>> {
        let mut placed = Vec::with_capacity(slots.len());
        let mut deadline = Instant::now() + self.patience;
        for slot in slots {
            let Slot::Single(single) = slot else {
                placed.push(slot);
                continue;
            };
            let bytes = single.awaited(self.registers).min(UNWRITTEN) as u32;
            let mut room = self.unwritten.clone().try_acquire_many_owned(bytes).ok();
            if room.is_none() {
                let (slots, source) = (mem::take(&mut placed), Source::Nowhere);
                self.queue.send(Batch { slots, source }).await.ok()?;
                let written = self.unwritten.clone().acquire_many_owned(bytes);
                room = Some(written.await.ok()?);
                deadline = Instant::now() + self.patience;
            }
            placed.push(match single.submit(self.registers, deadline).await {
                Ok(operation) => Slot::Placed(operation, room),
                Err(not_done) => {
                    let patience = format!("{:?}", self.patience);
                    Slot::Ready(single::not_done(not_done, &patience))
                }
            });
        }
        Some(placed)
    }
}

async fn write_replies(
    mut output: Output<impl AsyncWrite + Unpin>,
    mut batches: mpsc::Receiver<Batch>,
    words: &Words,
    unwritten: &Semaphore,
) -> io::Result<()> {
    while let Some(Batch { slots, source }) = batches.recv().await {
        let replies = match source {
            Source::Nowhere => Ok(Vec::new()),
            Source::Refused(refusal) => Err(words.refused(&refusal)),
            Source::Answer(mut answer, deadline) => {
                if let Ok(replies) = answer.try_recv() {
                    Ok(replies)
                } else {
                    // About to wait: what is known must not wait with us.
                    output.flush().await?;
                    words.wait(answer, deadline).await
                }
            }
        };
        let bytes = replies.iter().flatten().map(held).sum::<usize>();
        let bytes = bytes.min(unwritten.available_permits());
        // Given back when the batch is on its way.
        let _held = unwritten.try_acquire_many(bytes as u32);
        let mut replies = replies.map(Vec::into_iter);
        for slot in slots {
            match (slot, &mut replies) {
                (Slot::Ready(frame), _) => output.frame(&frame).await?,
                (Slot::Ordered, Ok(replies)) => {
                    if let Some(reply) = replies.next() {
                        output.reply(reply).await?;
                    } else {
                        let none = error("ERR no reply; outcome unknown");
                        output.frame(&none).await?;
                    }
                }
                (Slot::Ordered, Err(error)) => output.frame(error).await?,
                // Room is given back when the reply is on its way.
                (Slot::Placed(mut placed, _room), _) => {
                    let reply = if let Some(reply) = placed.try_reply() {
                        Ok(reply)
                    } else {
                        output.flush().await?;
                        placed.reply().await
                    };
                    match reply {
                        Ok(reply) => output.reply(reply).await?,
                        Err(u) => {
                            let frame = single::unreturned(u, &words.deadline);
                            output.frame(&frame).await?;
                        }
                    }
                }
                // All were placed.
                (Slot::Single(_), _) => output.frame(&error("ERR not executed")).await?,
            }
        }
        if batches.is_empty() {
            output.flush().await?;
        }
    }
    output.end().await
}

/// What clients are told when the others do not answer.
struct Words {
    deadline: String,
}

impl Words {
    fn new(deadline: Duration) -> Self {
        Words {
            deadline: format!("{deadline:?}"),
        }
    }

    /// The replies, or what the client is told when they do not come in time.
    async fn wait(&self, answer: Answer, deadline: Instant) -> Result<Vec<Reply>, BytesFrame> {
        match timeout_at(deadline, answer).await {
            Ok(Ok(replies)) => Ok(replies),
            Ok(Err(_)) => Err(error("ERR the replica is stopping; outcome unknown")),
            Err(_) => {
                let deadline = &self.deadline;
                Err(error(format!(
                    "NOQUORUM no majority answered within {deadline}; outcome unknown"
                )))
            }
        }
    }

    fn refused(&self, refusal: &Refusal) -> BytesFrame {
        let deadline = &self.deadline;
        error(match refusal {
            Refusal::NoQuorum => format!(
                "NOQUORUM no majority answered earlier commands within {deadline}; not executed"
            ),
            Refusal::NotVoter(reason) => format!("NOTVOTER {reason}; not executed"),
        })
    }
}

#[cfg(test)]
mod tests;
