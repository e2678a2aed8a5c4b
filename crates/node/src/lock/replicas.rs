//! Requests to whichever replica answers.
use crate::credentials::{NotAdmitted, Ready, Stream};
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use redis_protocol::resp2::{decode::decode_bytes_mut, encode::extend_encode, types::BytesFrame};
use std::{collections::VecDeque, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// What errors begin with after which another replica may answer. The rest is about the request itself.
const TRY_ANOTHER: [&str; 4] = [
    "NOQUORUM ",
    "NOTVOTER ",
    "ERR the replica is stopping",
    "ERR max number of clients",
];

/// How many connections to replicas that were given up are kept.
const KEPT: usize = 16;

/// Some replicas, and a connection to one of them.
pub struct Replicas {
    addresses: Vec<String>,
    credentials: Ready,
    /// The index of the replica that is asked.
    present: usize,
    connection: Option<Connection>,
    /// Those that were given up, the latest last. If one were closed before another replica has answered, the
    /// replica at its other end would end what this client holds, in case it is alive.
    given_up: VecDeque<Box<dyn Stream>>,
}

struct Connection {
    stream: Box<dyn Stream>,
    input: BytesMut,
    /// Whether a reply may still come to a request that is not waited for any more.
    is_behind: bool,
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
    /// Those at these addresses, which are shown this.
    pub fn new(addresses: &[String], credentials: Ready) -> Self {
        Replicas {
            addresses: addresses.to_vec(),
            credentials,
            present: 0,
            connection: None,
            given_up: VecDeque::new(),
        }
    }

    /// Connects to the present replica, if there is no connection. After an error the next one is asked.
    pub async fn connect(&mut self, limit: Duration) -> Result<()> {
        if self.connection.as_ref().is_some_and(|it| it.is_behind) {
            self.leave();
        }
        if self.connection.is_none() {
            let address = self.addresses[self.present].clone();
            let connected = match timeout(limit, self.credentials.connect(&address)).await {
                Ok(connected) => connected,
                Err(_) => Err(anyhow::anyhow!("not connected within {limit:?}")),
            };
            let stream = connected.map_err(|error| self.give_up(error, address))?;
            self.connection = Some(Connection {
                stream,
                input: BytesMut::new(),
                is_behind: false,
            });
        }
        Ok(())
    }

    fn give_up(&mut self, error: anyhow::Error, address: String) -> anyhow::Error {
        self.leave();
        self.present = (self.present + 1) % self.addresses.len();
        error.context(address)
    }

    fn leave(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.given_up.push_back(connection.stream);
        }
        if self.given_up.len() > KEPT {
            self.given_up.pop_front();
        }
    }

    /// Sends a request, and waits so long for the reply. After an error the next request goes to another
    /// replica.
    pub async fn ask(&mut self, words: &[&[u8]], limit: Duration) -> Result<Reply> {
        if let Err(error) = self.connect(limit).await {
            return match error.downcast::<NotAdmitted>() {
                Ok(NotAdmitted(words)) => Ok(Reply::Refused(words)),
                Err(error) => Err(error),
            };
        }
        let address = self.addresses[self.present].clone();
        let outcome = match timeout(limit, self.exchange(words)).await {
            Ok(Ok(frame)) => reply(frame),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(anyhow::anyhow!("no answer within {limit:?}")),
        };
        match outcome {
            Ok(reply) => {
                self.given_up.clear();
                Ok(reply)
            }
            Err(error) => Err(self.give_up(error, address)),
        }
    }

    async fn exchange(&mut self, words: &[&[u8]]) -> Result<BytesFrame> {
        let connection = self.connection.as_mut().context("not connected")?;
        // If this is cancelled, the connection is not used again: its reply may still come.
        connection.is_behind = true;
        let Connection { stream, input, .. } = connection;
        let words = words
            .iter()
            .map(|word| BytesFrame::BulkString(word.to_vec().into()));
        let mut out = BytesMut::new();
        extend_encode(&mut out, &BytesFrame::Array(words.collect()), false)?;
        stream.write_all(&out).await?;
        // TLS may still hold what it has taken.
        stream.flush().await?;
        loop {
            if let Some((frame, ..)) = decode_bytes_mut(input)? {
                connection.is_behind = false;
                return Ok(frame);
            }
            if stream.read_buf(input).await? == 0 {
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
