//! One client: requests in, replies out, in order, many under way.
//!
//! What one read brings is one batch: its commands enter total order together, or each the line of its
//! register. Batches follow one another without waiting for replies, up to a limit, behind which the
//! client's own sends block. What a client is returned is kept until it is written, and counted from when
//! it is [there](crate::node::unwritten), whatever is before it: while that is much, or, of registers, will
//! be, nothing further of this client is begun.
//!
//! So what is kept for a client that does not read is [`UNWRITTEN`], and what those requests return that had
//! been begun when this was reached: at most [`UNDER_WAY`] batches and the two in the reader's and the
//! writer's hands. Of these nothing had come back, so that the versions of values in them differ by what was
//! written while they were under way together. A client that takes nothing for long, or leaves a request
//! unfinished for long, is given up.
use super::answer::{Answer, Protocol};
use super::client::Client;
use super::output::Output;
use super::request::{self, Request};
use super::scan::Scanner;
use super::single::{self, Placed, Single};
use crate::node::{
    Store,
    registers::Registers,
    replica::{self, Refusal, Replies},
    unwritten::{Held, Unwritten},
};
use bytes::BytesMut;
use std::{
    io::{self, ErrorKind},
    mem,
    pin::pin,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The most requests of one batch.
const BATCH: usize = 1024;

/// A batch is closed when its commands are this long.
const BATCH_BYTES: usize = 64 * 1024;

/// The most batches of one client under way.
const UNDER_WAY: usize = 16;

/// The most bytes that a client has been returned, or, as far as their length is known, has asked registers
/// for, and has not been written: from there on nothing further of it is begun.
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
    Ready(Answer),
    /// There is none: from here on they are written in this version of the protocol.
    Speak(Protocol),
    /// It is the answer's next.
    Ordered,
    /// It is that of an operation which is still to be put in its register's line,
    Single(Single),
    /// or is there.
    Placed(Placed),
}

/// Where the replies to the ordered requests of a batch come from.
enum Source {
    Nowhere,
    Answer(replica::Answer, Instant),
    Refused(Refusal),
}

struct Batch {
    slots: Vec<Slot>,
    source: Source,
    /// What the replies take that are here already.
    _ready: Held,
}

/// Serves one client until it leaves or breaks the protocol. At `stop` nothing more is read, and what
/// was read is answered.
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
    let (queue, batches) = mpsc::channel(UNDER_WAY);
    let words = Words::new(session.deadline);
    let unwritten = Unwritten::new(UNWRITTEN);
    let output = Output::new(write, session.stall);
    let mut reader = pin!(read_requests(
        read, client, queue, &session, &unwritten, stop
    ));
    let mut writer = pin!(write_replies(output, batches, &words));
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
    mut client: Client,
    queue: mpsc::Sender<Batch>,
    session: &Session<I>,
    unwritten: &Unwritten,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut scanner = Scanner::default();
    let mut commands = BytesMut::new();
    loop {
        let requests = Requests {
            buffer: &mut buffer,
            scanner: &mut scanner,
            client: &mut client,
        };
        let (mut slots, last) = requests.gather(&mut commands, session);
        if slots.is_empty() && !last {
            let length = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                length = read_some(&mut read, &mut buffer, session.stall) => length?,
            };
            if length == 0 {
                return Ok(());
            }
            client.upon_read();
            continue;
        }
        // Held up while the client does not read what it was returned.
        unwritten.room().await;
        let mut ready = unwritten.hold(0);
        let source = match &session.store {
            Store::Ordered(_) => {
                ready.set(slots.iter().map(Slot::ready).sum());
                submit(&slots, &mut commands, session, unwritten.hold(0)).await
            }
            Store::Registers(registers) => {
                let placing = Placing {
                    registers,
                    patience: session.deadline,
                    unwritten,
                    queue: &queue,
                };
                match placing.place(slots, &mut ready).await {
                    Some(placed) => slots = placed,
                    None => return Ok(()),
                }
                Source::Nowhere
            }
        };
        let batch = Batch {
            slots,
            source,
            _ready: ready,
        };
        if queue.send(batch).await.is_err() || last {
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

/// What a client has sent.
struct Requests<'r> {
    buffer: &'r mut BytesMut,
    scanner: &'r mut Scanner,
    client: &'r mut Client,
}

impl Requests<'_> {
    /// Takes the requests off the buffer that make the next batch, their commands encoded. `true`: the
    /// connection ends after it.
    fn gather<I: Fn() -> String>(
        self,
        commands: &mut BytesMut,
        session: &Session<I>,
    ) -> (Vec<Slot>, bool) {
        let mut slots = Vec::new();
        // Of requests that are not encoded, and of replies that are here.
        let mut bytes = 0;
        while slots.len() < BATCH && commands.len() + bytes < BATCH_BYTES {
            bytes += slots.last().map_or(0, Slot::ready);
            let before = self.client.protocol();
            let request = request::take(self.buffer, self.scanner, self.client);
            let protocol = self.client.protocol();
            if protocol != before {
                slots.push(Slot::Speak(protocol));
            }
            match request {
                Ok(None) => break,
                Ok(Some(Request::Command(command))) => match &session.store {
                    Store::Ordered(_) => {
                        command.encode(commands);
                        slots.push(Slot::Ordered);
                    }
                    Store::Registers(_) => slots.push(match Single::from_command(command) {
                        Ok(single) => {
                            bytes += single.len();
                            Slot::Single(single)
                        }
                        Err(refused) => Slot::Ready(refused),
                    }),
                },
                Ok(Some(Request::Answered(answer))) => slots.push(Slot::Ready(answer)),
                Ok(Some(Request::Info)) => {
                    slots.push(Slot::Ready(Answer::Text((session.info)().into())));
                }
                Ok(Some(Request::Nothing)) => {}
                Ok(Some(Request::Quit)) => {
                    slots.push(Slot::Ready(Answer::Simple("OK")));
                    return (slots, true);
                }
                Err(words) => {
                    slots.push(Slot::Ready(Answer::Error(words)));
                    return (slots, true);
                }
            }
        }
        (slots, false)
    }
}

impl Slot {
    /// How long the reply is, if it is here.
    fn ready(&self) -> usize {
        match self {
            Slot::Ready(answer) => answer.len(),
            Slot::Speak(_) | Slot::Ordered | Slot::Single(_) | Slot::Placed(_) => 0,
        }
    }
}

async fn submit<I>(
    slots: &[Slot],
    commands: &mut BytesMut,
    session: &Session<I>,
    held: Held,
) -> Source {
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
    let submitted = replica.submit(ordered, commands, deadline, held).await;
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
    unwritten: &'s Unwritten,
    queue: &'s mpsc::Sender<Batch>,
}

impl Placing<'_> {
    /// Puts every operation in its register's line, in their order. Where one has to wait until values are
    /// written, those before it go ahead; what comes back is the rest, whose replies that are here are
    /// counted as `ready`. `None`: nobody writes any more.
    async fn place(&self, slots: Vec<Slot>, ready: &mut Held) -> Option<Vec<Slot>> {
        let mut placed = Vec::with_capacity(slots.len());
        let mut deadline = Instant::now() + self.patience;
        for slot in slots {
            let Slot::Single(single) = slot else {
                ready.add(slot.ready());
                placed.push(slot);
                continue;
            };
            let bytes = single.awaited(self.registers);
            let held = if let Some(held) = self.unwritten.try_reserve(bytes) {
                held
            } else {
                let batch = Batch {
                    slots: mem::take(&mut placed),
                    source: Source::Nowhere,
                    _ready: mem::replace(ready, self.unwritten.hold(0)),
                };
                self.queue.send(batch).await.ok()?;
                let held = self.unwritten.reserve(bytes).await;
                deadline = Instant::now() + self.patience;
                held
            };
            placed.push(match single.submit(self.registers, deadline, held).await {
                Ok(operation) => Slot::Placed(operation),
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
) -> io::Result<()> {
    while let Some(batch) = batches.recv().await {
        let Batch {
            slots,
            source,
            _ready,
        } = batch;
        // What is counted is held until the batch is on its way.
        let returned = match source {
            Source::Nowhere => Ok(None),
            Source::Refused(refusal) => Err(words.refused(&refusal)),
            Source::Answer(mut answer, deadline) => {
                if let Ok(returned) = answer.try_recv() {
                    Ok(Some(returned))
                } else {
                    // About to wait: what is known must not wait with us.
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
                (Slot::Ready(answer), _) => output.answer(&answer).await?,
                (Slot::Speak(protocol), _) => output.speak(protocol),
                (Slot::Ordered, Ok(replies)) => {
                    if let Some(reply) = replies.next() {
                        output.reply(reply).await?;
                    } else {
                        let none = Answer::error("ERR no reply; outcome unknown");
                        output.answer(&none).await?;
                    }
                }
                (Slot::Ordered, Err(refused)) => output.answer(refused).await?,
                // What it holds is given back when the reply is on its way.
                (Slot::Placed(mut placed), _) => {
                    let reply = if let Some(reply) = placed.try_reply() {
                        Ok(reply)
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
                // All were placed.
                (Slot::Single(_), _) => {
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
    async fn wait(&self, answer: replica::Answer, deadline: Instant) -> Result<Replies, Answer> {
        match timeout_at(deadline, answer).await {
            Ok(Ok(returned)) => Ok(returned),
            Ok(Err(_)) => Err(Answer::error(
                "ERR the replica is stopping; outcome unknown",
            )),
            Err(_) => {
                let deadline = &self.deadline;
                Err(Answer::Error(format!(
                    "NOQUORUM no majority answered within {deadline}; outcome unknown"
                )))
            }
        }
    }

    fn refused(&self, refusal: &Refusal) -> Answer {
        let deadline = &self.deadline;
        Answer::Error(match refusal {
            Refusal::NoQuorum => format!(
                "NOQUORUM no majority answered earlier commands within {deadline}; not executed"
            ),
            Refusal::NotVoter(reason) => format!("NOTVOTER {reason}; not executed"),
        })
    }
}

#[cfg(test)]
mod tests;
