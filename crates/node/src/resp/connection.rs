//! One client: requests in, replies out, in order, many under way.
//!
//! What one read brings is one batch: its commands enter total order together. Batches follow one
//! another without waiting for replies, up to a limit, behind which the client's own sends block.
use super::request::{self, Request, error};
use super::scan::Scanner;
use crate::node::replica::{Answer, Refusal, Replica};
use bytes::{Bytes, BytesMut};
use quorate_services::kv::Reply;
use redis_protocol::resp2::{encode::extend_encode, types::BytesFrame};
use std::{io, pin::pin, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The most requests of one batch.
const BATCH: usize = 1024;

/// A batch is closed when its commands are this long.
const BATCH_BYTES: usize = 64 * 1024;

/// The most batches of one client under way.
const UNDER_WAY: usize = 16;

/// Replies are written out when they are this long together.
const WRITE: usize = 64 * 1024;

/// What a connection needs of the server.
#[derive(Clone)]
pub struct Session<I> {
    /// Where commands go.
    pub replica: Replica,
    /// How long a command may wait for a majority.
    pub deadline: Duration,
    /// The text of INFO.
    pub info: I,
}

/// The place of one request's reply.
enum Slot {
    /// It is here.
    Ready(BytesFrame),
    /// It is the answer's next.
    Ordered,
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
    let mut reader = pin!(read_requests(read, queue, &session, stop));
    let mut writer = pin!(write_replies(write, batches, &words));
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
    stop: CancellationToken,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut scanner = Scanner::default();
    let mut commands = BytesMut::new();
    loop {
        let (slots, last) = gather(&mut buffer, &mut scanner, &mut commands, &session.info);
        if slots.is_empty() && !last {
            request::shrink(&mut buffer);
            buffer.reserve(16 * 1024);
            let length = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                length = read.read_buf(&mut buffer) => length?,
            };
            if length == 0 {
                return Ok(());
            }
            continue;
        }
        let source = submit(&slots, &mut commands, session).await;
        if queue.send(Batch { slots, source }).await.is_err() || last {
            return Ok(());
        }
    }
}

/// Takes the requests off the buffer that make the next batch, their commands encoded. `true`: the
/// connection ends after it.
fn gather(
    buffer: &mut BytesMut,
    scanner: &mut Scanner,
    commands: &mut BytesMut,
    info: impl Fn() -> String,
) -> (Vec<Slot>, bool) {
    let mut slots = Vec::new();
    while slots.len() < BATCH && commands.len() < BATCH_BYTES {
        match request::take(buffer, scanner) {
            Ok(None) => break,
            Ok(Some(Request::Command(command))) => {
                command.encode(commands);
                slots.push(Slot::Ordered);
            }
            Ok(Some(Request::Answered(frame))) => slots.push(Slot::Ready(frame)),
            Ok(Some(Request::Info)) => {
                slots.push(Slot::Ready(BytesFrame::BulkString(info().into())));
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
    let deadline = Instant::now() + session.deadline;
    let submitted = session.replica.submit(ordered, commands, deadline).await;
    commands.clear();
    match submitted {
        Ok(answer) => Source::Answer(answer, deadline),
        Err(refusal) => Source::Refused(refusal),
    }
}

async fn write_replies(
    mut write: impl AsyncWrite + Unpin,
    mut batches: mpsc::Receiver<Batch>,
    words: &Words,
) -> io::Result<()> {
    let mut out = BytesMut::new();
    while let Some(Batch { slots, source }) = batches.recv().await {
        let mut replies = match source {
            Source::Nowhere => Ok(Vec::new()),
            Source::Refused(refusal) => Err(words.refused(&refusal)),
            Source::Answer(mut answer, deadline) => {
                if let Ok(replies) = answer.try_recv() {
                    Ok(replies)
                } else {
                    // About to wait: what is known must not wait with us.
                    flush(&mut write, &mut out).await?;
                    words.wait(answer, deadline).await
                }
            }
        }
        .map(Vec::into_iter);
        for slot in slots {
            let frame = match (slot, &mut replies) {
                (Slot::Ready(frame), _) => frame,
                (Slot::Ordered, Ok(replies)) => replies
                    .next()
                    .map_or_else(|| error("ERR no reply; outcome unknown"), frame),
                (Slot::Ordered, Err(error)) => error.clone(),
            };
            extend_encode(&mut out, &frame, false).map_err(io::Error::other)?;
            if out.len() >= WRITE {
                flush(&mut write, &mut out).await?;
            }
        }
        if batches.is_empty() {
            flush(&mut write, &mut out).await?;
        }
    }
    flush(&mut write, &mut out).await?;
    write.shutdown().await
}

async fn flush(write: &mut (impl AsyncWrite + Unpin), out: &mut BytesMut) -> io::Result<()> {
    write.write_all(out).await?;
    out.clear();
    if out.capacity() > 4 * WRITE {
        *out = BytesMut::new();
    }
    Ok(())
}

/// A command's reply as clients see it.
fn frame(reply: Reply) -> BytesFrame {
    match reply {
        Reply::Ok => request::simple("OK"),
        Reply::Nil => BytesFrame::Null,
        Reply::Integer(number) => BytesFrame::Integer(number),
        Reply::Value(value) => BytesFrame::BulkString(value),
        Reply::Values(values) => BytesFrame::Array(
            values
                .into_iter()
                .map(|value: Option<Bytes>| value.map_or(BytesFrame::Null, BytesFrame::BulkString))
                .collect(),
        ),
        Reply::Error(words) => error(words),
    }
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
