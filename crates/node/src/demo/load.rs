//! Clients that write, and record the replies.
//!
//! Every write leaves a trace if it is done twice: it is an append to a key of its own, or an increment of
//! the client's counter. A client whose connection breaks does not know the outcome of the writes in flight.
//! It does not repeat them, but writes on, under new keys, through another replica, and the end of the
//! demonstration shows which of them were done.
use super::CLIENTS;
use super::client::Client;
use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use redis_protocol::resp2::types::BytesFrame;
use std::{
    cell::{Cell, RefCell},
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// One write of so many is an increment.
const INCREMENTS: u64 = 8;

/// How long a reply may take before the client turns to another replica. It is longer than the replicas' own
/// deadline, so that their answer comes first.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One write.
#[derive(Clone)]
pub enum Write {
    /// A value appended to a key of its own.
    Append { key: String, value: String },
    /// One added to a counter.
    Increment { key: String },
}

impl Write {
    fn words(&self) -> Vec<String> {
        match self {
            Write::Append { key, value } => vec!["APPEND".into(), key.clone(), value.clone()],
            Write::Increment { key } => vec!["INCR".into(), key.clone()],
        }
    }
}

/// A replica that was killed.
pub struct Kill {
    pub rank: usize,
    pub at: Instant,
    /// When each client first got a reply to a request that it sent after the kill.
    pub served: [Option<Instant>; CLIENTS],
}

impl Kill {
    /// How long it took until every client was served again.
    pub fn recovery(&self) -> Option<Duration> {
        let served: Option<Vec<Instant>> = self.served.iter().copied().collect();
        Some(served?.into_iter().max()?.duration_since(self.at))
    }
}

/// A replica that was started again.
pub struct Return {
    pub rank: usize,
    /// How long it took until it had the state of the others.
    pub took: Duration,
    /// How many messages it had delivered by then, by itself or with that state.
    pub delivered: u64,
    /// How many keys it had by then.
    pub keys: u64,
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p{} caught up {:.0} ms after it was started again: {} messages, {} keys",
            self.rank,
            self.took.as_secs_f64() * 1000.0,
            self.delivered,
            self.keys
        )
    }
}

/// The replies that the clients have got.
pub struct Memory {
    /// Acknowledged writes.
    pub done: Vec<Write>,
    /// Writes whose outcome is unknown to the clients.
    pub unknown: Vec<Write>,
    /// Replies that a correct replica cannot give.
    pub wrong: Vec<String>,
    /// Latencies, in microseconds.
    pub latencies: Histogram<u64>,
    pub kills: Vec<Kill>,
    /// The replicas that came back.
    pub returns: Vec<Return>,
    /// When the first write was sent.
    pub begun: Instant,
    /// When the last acknowledgement came.
    pub ended: Instant,
}

/// The work of all clients.
pub struct Load {
    pipeline: usize,
    servers: Vec<SocketAddr>,
    acknowledged: Cell<u64>,
    /// Whether the clients go on.
    held: Cell<bool>,
    memory: RefCell<Memory>,
}

impl Load {
    /// Clients that write until they are [released](Self::release).
    pub fn new(pipeline: usize, servers: Vec<SocketAddr>) -> Self {
        let now = Instant::now();
        // The range is one microsecond to two minutes, with three digits, which the crate allows.
        let mut latencies = Histogram::new_with_max(120_000_000, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are constant and valid"));
        latencies.auto(true);
        Load {
            pipeline,
            servers,
            acknowledged: Cell::new(0),
            held: Cell::new(true),
            memory: RefCell::new(Memory {
                done: Vec::new(),
                unknown: Vec::new(),
                wrong: Vec::new(),
                latencies,
                kills: Vec::new(),
                returns: Vec::new(),
                begun: now,
                ended: now,
            }),
        }
    }

    /// How many writes are acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.get()
    }

    /// Lets the clients end.
    pub fn release(&self) {
        self.held.set(false);
    }

    fn goes_on(&self) -> bool {
        self.held.get()
    }

    /// Whether every client was served after the last kill.
    pub fn all_served(&self) -> bool {
        let memory = self.memory.borrow();
        memory.kills.last().is_none_or(|k| k.recovery().is_some())
    }

    /// Records that a replica has come back.
    pub fn returned(&self, back: Return) {
        self.memory.borrow_mut().returns.push(back);
    }

    /// Records that a replica was killed.
    pub fn killed(&self, rank: usize, at: Instant) {
        self.memory.borrow_mut().kills.push(Kill {
            rank,
            at,
            served: [None; CLIENTS],
        });
    }

    /// The record of the clients at the end.
    pub fn into_memory(self) -> Memory {
        self.memory.into_inner()
    }

    /// Runs one client, which writes through one replica until that fails, then through the next.
    pub async fn run(&self, client: usize) {
        let mut writes = (0_u64..).map(|number| write(client, number));
        let mut server = client;
        while self.goes_on() {
            let address = self.servers[server % self.servers.len()];
            if let Ok(Ok(connection)) = timeout(TIMEOUT, Client::connect(address)).await {
                // An error ends this connection only.
                let _ = self.write_through(connection, client, &mut writes).await;
            }
            server += 1;
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn write_through(
        &self,
        mut connection: Client,
        client: usize,
        writes: &mut impl Iterator<Item = Write>,
    ) -> Result<()> {
        while self.goes_on() {
            let batch: Vec<Write> = writes.take(self.pipeline).collect();
            let sent = Instant::now();
            let mut answered = 0;
            let outcome = self
                .exchange(&mut connection, &batch, sent, &mut answered)
                .await;
            let mut memory = self.memory.borrow_mut();
            memory.unknown.extend_from_slice(&batch[answered..]);
            outcome?;
            let now = Instant::now();
            for kill in &mut memory.kills {
                if sent >= kill.at {
                    kill.served[client].get_or_insert(now);
                }
            }
        }
        Ok(())
    }

    /// Sends a batch and reads the replies; counts the acknowledged writes.
    async fn exchange(
        &self,
        connection: &mut Client,
        batch: &[Write],
        sent: Instant,
        answered: &mut usize,
    ) -> Result<()> {
        let words: Vec<Vec<String>> = batch.iter().map(Write::words).collect();
        connection.send(words.iter().map(Vec::as_slice)).await?;
        for write in batch {
            let reply = timeout(TIMEOUT, connection.reply()).await??;
            let BytesFrame::Integer(number) = reply else {
                // After an error the outcome of this write and of the rest of the batch is unknown.
                bail!("the replica answered {reply:?}");
            };
            *answered += 1;
            self.acknowledge(write, number, sent);
        }
        Ok(())
    }

    fn acknowledge(&self, write: &Write, number: i64, sent: Instant) {
        let now = Instant::now();
        let mut memory = self.memory.borrow_mut();
        if let Write::Append { key, value } = write
            && usize::try_from(number) != Ok(value.len())
        {
            let length = value.len();
            memory.wrong.push(format!(
                "{key} has {number} bytes after {length} were written"
            ));
        }
        memory.done.push(write.clone());
        memory.ended = now;
        let latency = now.duration_since(sent).as_micros() as u64;
        memory.latencies.saturating_record(latency);
        self.acknowledged.set(self.acknowledged.get() + 1);
    }
}

fn write(client: usize, number: u64) -> Write {
    if number % INCREMENTS == INCREMENTS - 1 {
        Write::Increment {
            key: format!("demo:{client}:counter"),
        }
    } else {
        Write::Append {
            key: format!("demo:{client}:{number}"),
            value: format!("written by {client} as {number}"),
        }
    }
}
