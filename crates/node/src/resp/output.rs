//! Writes to one client, which may be slow. Replies are written piece by piece, each value is freed once it
//! is written, and a client that reads nothing for long is disconnected.
use super::answer::{Answer, Protocol, head};
use bytes::{Buf, Bytes, BytesMut};
use quorate_services::kv::Reply;
use std::{
    io::{self, ErrorKind},
    time::Duration,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// The length in bytes at which buffered replies are written out. A value that is longer is not copied into
/// the buffer.
const WRITE: usize = 64 * 1024;

/// The writing side of a client's connection.
pub struct Output<W> {
    write: W,
    out: BytesMut,
    /// The version in which replies are written.
    protocol: Protocol,
    /// How long the client may read nothing.
    stall: Duration,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    /// An output to which nothing has been written.
    pub fn new(write: W, stall: Duration) -> Self {
        Output {
            write,
            out: BytesMut::new(),
            protocol: Protocol::default(),
            stall,
        }
    }

    /// From here on replies are written in this version.
    pub fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Writes a short reply.
    pub async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        answer.encode(self.protocol, &mut self.out);
        self.written().await
    }

    /// Writes the reply to a command, as clients see it.
    pub async fn reply(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Ok => self.out.extend_from_slice(b"+OK\r\n"),
            Reply::Nil => self.out.extend_from_slice(self.protocol.null()),
            Reply::Integer(number) => head(&mut self.out, ':', number),
            Reply::Value(value) => return self.value(value).await,
            Reply::Values(values) => {
                head(&mut self.out, '*', values.len());
                for value in values {
                    match value {
                        None => self.out.extend_from_slice(self.protocol.null()),
                        Some(value) => self.value(value).await?,
                    }
                }
            }
            Reply::Error(words) => return self.answer(&Answer::error(words)).await,
        }
        self.written().await
    }

    async fn value(&mut self, mut value: Bytes) -> io::Result<()> {
        head(&mut self.out, '$', value.len());
        if value.len() < WRITE {
            self.out.extend_from_slice(&value);
        } else {
            self.flush().await?;
            write_out(&mut self.write, &mut value, self.stall).await?;
        }
        self.out.extend_from_slice(b"\r\n");
        self.written().await
    }

    async fn written(&mut self) -> io::Result<()> {
        if self.out.len() >= WRITE {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes out all that is buffered.
    pub async fn flush(&mut self) -> io::Result<()> {
        write_out(&mut self.write, &mut self.out, self.stall).await?;
        if self.out.capacity() > 4 * WRITE {
            self.out = BytesMut::new();
        }
        // TLS may still hold what it has taken.
        in_time(self.stall, self.write.flush()).await
    }

    /// Writes out all that is buffered, and closes this side of the connection.
    pub async fn end(mut self) -> io::Result<()> {
        self.flush().await?;
        // TLS has something to say at the end, too.
        in_time(self.stall, self.write.shutdown()).await
    }
}

/// Writes all bytes. Fails if the client reads none of them for too long.
async fn write_out(
    write: &mut (impl AsyncWrite + Unpin),
    bytes: &mut impl Buf,
    stall: Duration,
) -> io::Result<()> {
    while bytes.has_remaining() {
        if in_time(stall, write.write_buf(bytes)).await? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Fails if the client reads nothing for too long.
async fn in_time<T>(stall: Duration, done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(stall, done).await.unwrap_or_else(|_| {
        let words = format!("the client has read nothing for {stall:?}");
        Err(io::Error::new(ErrorKind::TimedOut, words))
    })
}
