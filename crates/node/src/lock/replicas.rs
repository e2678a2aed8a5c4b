//! Requests to whichever replica answers.
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use redis_protocol::resp2::{decode::decode_bytes_mut, encode::extend_encode, types::BytesFrame};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What errors begin with after which another replica may answer. The rest is about the request itself.
const TRY_ANOTHER: [&str; 4] = [
    "NOQUORUM ",
    "NOTVOTER ",
    "ERR the replica is stopping",
    "ERR max number of clients",
];

/// Some replicas, and a connection to one of them.
pub struct Replicas {
    addresses: Vec<String>,
    /// The index of the replica that is asked.
    present: usize,
    connection: Option<(TcpStream, BytesMut)>,
}

/// The reply to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Integer(u64),
    Text(Vec<u8>),
    Nothing,
    /// The request was refused; another replica would refuse it, too.
    Refused(String),
}

impl Replicas {
    /// Those at these addresses.
    pub fn new(addresses: &[String]) -> Self {
        Replicas {
            addresses: addresses.to_vec(),
            present: 0,
            connection: None,
        }
    }

    /// Connects to the present replica, if there is no connection. After an error the next one is asked.
    pub async fn connect(&mut self, limit: Duration) -> Result<()> {
        if self.connection.is_none() {
            let address = self.addresses[self.present].clone();
            let connected = match timeout(limit, TcpStream::connect(&address)).await {
                Ok(connected) => connected.map_err(anyhow::Error::from),
                Err(_) => Err(anyhow::anyhow!("not connected within {limit:?}")),
            };
            let stream = connected.map_err(|error| self.give_up(error, address))?;
            stream.set_nodelay(true)?;
            self.connection = Some((stream, BytesMut::new()));
        }
        Ok(())
    }

    fn give_up(&mut self, error: anyhow::Error, address: String) -> anyhow::Error {
        self.connection = None;
        self.present = (self.present + 1) % self.addresses.len();
        error.context(address)
    }

    /// Sends a request, and waits so long for the reply. After an error the next request goes to another
    /// replica.
    pub async fn ask(&mut self, words: &[&[u8]], limit: Duration) -> Result<Reply> {
        self.connect(limit).await?;
        let address = self.addresses[self.present].clone();
        let outcome = match timeout(limit, self.exchange(words)).await {
            Ok(Ok(frame)) => reply(frame),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(anyhow::anyhow!("no answer within {limit:?}")),
        };
        outcome.map_err(|error| self.give_up(error, address))
    }

    async fn exchange(&mut self, words: &[&[u8]]) -> Result<BytesFrame> {
        // If this is cancelled, the connection is not used again: its reply may still come.
        let connection = self.connection.take();
        let (mut stream, mut input) = connection.context("not connected")?;
        let words = words
            .iter()
            .map(|word| BytesFrame::BulkString(word.to_vec().into()));
        let mut out = BytesMut::new();
        extend_encode(&mut out, &BytesFrame::Array(words.collect()), false)?;
        stream.write_all(&out).await?;
        loop {
            if let Some((frame, ..)) = decode_bytes_mut(&mut input)? {
                self.connection = Some((stream, input));
                return Ok(frame);
            }
            if stream.read_buf(&mut input).await? == 0 {
                bail!("the replica closed the connection");
            }
        }
    }
}

fn reply(frame: BytesFrame) -> Result<Reply> {
    Ok(match frame {
        BytesFrame::Integer(number) => Reply::Integer(u64::try_from(number)?),
        BytesFrame::BulkString(text) | BytesFrame::SimpleString(text) => Reply::Text(text.into()),
        BytesFrame::Null => Reply::Nothing,
        BytesFrame::Error(words) => {
            if TRY_ANOTHER.iter().any(|it| words.starts_with(it)) {
                bail!("{words}");
            }
            Reply::Refused(words.to_string())
        }
        BytesFrame::Array(_) => bail!("an array was not expected"),
    })
}
