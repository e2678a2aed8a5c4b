//! Writers, and how long they wait.
use super::group::Group;
use crate::demo::client::Client;
use anyhow::{Result, bail, ensure};
use futures::future::join_all;
use hdrhistogram::Histogram;
use redis_protocol::resp2::types::BytesFrame;
use std::{
    cell::{Cell, RefCell},
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// How long a reply may take before the writer turns to another replica.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many writes are sent together while a store is filled.
const FILLING: usize = 64;

/// How many keys the writers write to.
const KEYS: u64 = 1000;

/// One reading of the meter: the replies since the reading before.
#[derive(Clone)]
pub struct Reading {
    latencies: Histogram<u64>,
    lasted: Duration,
    failures: u64,
}

impl Reading {
    /// The latency below which this share of the replies lies.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }

    /// The longest wait.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.latencies.max())
    }

    /// The number of replies a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.lasted.as_secs_f64()
    }

    /// The heading of a table of readings.
    pub fn heading() -> String {
        format!(
            "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}",
            "", "writes/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "failed"
        )
    }

    /// Prints the reading as one line.
    pub fn print(&self, what: &str) {
        println!("{what:<22} {self}");
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        write!(
            f,
            "{:>9.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>6}",
            self.rate(),
            milliseconds(self.quantile(0.5)),
            milliseconds(self.quantile(0.99)),
            milliseconds(self.quantile(0.999)),
            milliseconds(self.longest()),
            self.failures
        )
    }
}

/// Writers, each of which waits for the reply before it writes again.
pub struct Writers {
    /// The length of the values, in bytes.
    length: usize,
    stopped: Cell<bool>,
    failures: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
    since: Cell<Instant>,
}

impl Writers {
    /// Writers of values of this length.
    pub fn new(length: usize) -> Self {
        Writers {
            length,
            stopped: Cell::new(false),
            failures: Cell::new(0),
            latencies: RefCell::new(empty()),
            since: Cell::new(Instant::now()),
        }
    }

    /// The writers end after their present write.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// Reads the waits of the writers since the last reading.
    pub fn read(&self) -> Reading {
        let now = Instant::now();
        Reading {
            latencies: self.latencies.replace(empty()),
            lasted: now.duration_since(self.since.replace(now)),
            failures: self.failures.replace(0),
        }
    }

    /// Runs one writer, which begins with the server of this index and turns to the next when one fails.
    pub async fn run(&self, servers: &[SocketAddr], first: usize) {
        let mut server = first;
        let mut number = first as u64;
        while !self.stopped.get() {
            let address = servers[server % servers.len()];
            if let Ok(Ok(client)) = timeout(TIMEOUT, Client::connect(address)).await {
                if self.write_through(client, &mut number).await.is_ok() {
                    return;
                }
                self.failures.set(self.failures.get() + 1);
            }
            server += 1;
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn write_through(&self, mut client: Client, number: &mut u64) -> Result<()> {
        while !self.stopped.get() {
            *number += 1;
            let key = format!("w:{}", *number * 7919 % KEYS);
            let words = ["SET".to_owned(), key, value(*number, self.length)];
            let begun = Instant::now();
            client.send([&words[..]]).await?;
            expect_ok(timeout(TIMEOUT, client.reply()).await??)?;
            let waited = begun.elapsed().as_micros() as u64;
            self.latencies.borrow_mut().saturating_record(waited);
        }
        Ok(())
    }
}

fn empty() -> Histogram<u64> {
    // The range is one microsecond to two minutes, with three digits, which the crate allows.
    let mut latencies = Histogram::new_with_max(120_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are constant and valid"));
    latencies.auto(true);
    latencies
}

/// Returns an error unless the reply acknowledges a write.
pub fn expect_ok(reply: BytesFrame) -> Result<()> {
    match reply {
        BytesFrame::SimpleString(words) if &words[..] == b"OK" => Ok(()),
        other => bail!("the replica answered {other:?}"),
    }
}

/// A value of this length. If it is long enough, it begins with its number.
pub fn value(number: u64, length: usize) -> String {
    let mut value = format!("{number:x}:");
    let filler = char::from(b'a' + (number % 26) as u8);
    value.extend(std::iter::repeat_n(
        filler,
        length.saturating_sub(value.len()),
    ));
    value.truncate(length);
    value
}

/// Fills the store with `mib` MiB of values of this length, through all replicas.
pub async fn fill(group: &Group, mib: u64, length: usize) -> Result<()> {
    let count = (mib << 20) / length as u64;
    let parts = group.clients().len() as u64;
    // At most a few MiB are sent together, however long the values are.
    let together = FILLING.min((4 << 20) / length + 1);
    let fillers = (0..parts).map(|part| async move {
        let mine: Vec<u64> = (0..count).filter(|number| number % parts == part).collect();
        let mut server = part as usize;
        let mut failures = 0;
        let mut left = mine.chunks(together).peekable();
        while left.peek().is_some() {
            let address = group.clients()[server % group.clients().len()];
            // Values that may have been written are written again, which changes nothing.
            while let Some(some) = left.peek() {
                if let Err(error) = fill_some(address, some, length).await {
                    failures += 1;
                    ensure!(failures < 50, "the store is not filled: {error:#}");
                    server += 1;
                    sleep(Duration::from_millis(200)).await;
                    break;
                }
                left.next();
            }
        }
        Ok(())
    });
    join_all(fillers).await.into_iter().collect()
}

async fn fill_some(server: SocketAddr, some: &[u64], length: usize) -> Result<()> {
    let mut client = Client::connect(server).await?;
    let words = some
        .iter()
        .map(|number| ["SET".into(), format!("s:{number}"), value(*number, length)]);
    let words: Vec<[String; 3]> = words.collect();
    client.send(words.iter().map(|words| &words[..])).await?;
    for _ in some {
        expect_ok(timeout(TIMEOUT * 3, client.reply()).await??)?;
    }
    Ok(())
}
