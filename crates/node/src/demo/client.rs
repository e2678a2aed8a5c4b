//! A client of one replica: sends requests, reads replies.
use crate::credentials::{Ready, Stream};
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use redis_protocol::resp2::{decode::decode_bytes_mut, encode::extend_encode, types::BytesFrame};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection to one replica.
pub struct Client {
    stream: Box<dyn Stream>,
    input: BytesMut,
}

impl Client {
    /// Connects.
    pub async fn connect(server: SocketAddr) -> Result<Self> {
        Client::connect_with(server, &Ready::default()).await
    }

    /// Connects, and shows what the server asks for.
    pub async fn connect_with(server: SocketAddr, credentials: &Ready) -> Result<Self> {
        let stream = credentials
            .connect(&server.to_string())
            .await
            .with_context(|| format!("cannot connect to {server}"))?;
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
        self.stream.write_all(&out).await?;
        // TLS may still hold what it has taken.
        Ok(self.stream.flush().await?)
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
