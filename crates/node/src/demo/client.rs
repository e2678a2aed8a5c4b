//! A client of one replica: sends requests, reads replies.
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use redis_protocol::resp2::{decode::decode_bytes_mut, encode::extend_encode, types::BytesFrame};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection to one replica.
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
}

impl Client {
    /// Connects.
    pub async fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server)
            .await
            .with_context(|| format!("cannot connect to {server}"))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            input: BytesMut::new(),
        })
    }

    /// Sends requests, each a list of words, in one write.
    pub async fn send<'a>(
        &mut self,
        requests: impl IntoIterator<Item = &'a [String]>,
    ) -> Result<()> {
        let mut out = BytesMut::new();
        for words in requests {
            let strings = words
                .iter()
                .map(|word| BytesFrame::BulkString(word.clone().into()));
            extend_encode(&mut out, &BytesFrame::Array(strings.collect()), false)?;
        }
        Ok(self.stream.write_all(&out).await?)
    }

    /// Reads one reply.
    pub async fn reply(&mut self) -> Result<BytesFrame> {
        loop {
            if let Some((frame, ..)) = decode_bytes_mut(&mut self.input)? {
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the replica closed the connection");
            }
        }
    }
}
