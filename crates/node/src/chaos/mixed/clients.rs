//! Clients that write and read registers, and record the replies.
use super::super::meter::value;
use crate::demo::client::Client;
use anyhow::{Result, bail};
use quorate_core::{algorithm::Random, message::digest};
use quorate_histories::{Action, History, Operation};
use rand::{RngExt, SeedableRng};
use redis_protocol::resp2::types::BytesFrame;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// How long a reply may take before the client turns to another replica.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the clients use the same registers. After that, operations left open do not slow the search of
/// the check any more.
const ROUND: Duration = Duration::from_secs(10);

/// The number of rounds after which the values of registers are removed. That is longer than any operation
/// takes.
const KEPT: u64 = 4;

/// How many registers there are at a time.
const REGISTERS: u64 = 6;

/// The longest pause of a client before its next operation.
const THINKING_MS: u64 = 20;

/// A value, as its length and its digest.
pub type Seen = (usize, u64);

/// The replies that the clients have got.
#[derive(Default)]
pub struct Replies {
    /// All operations that may have been executed.
    pub operations: History<String, Seen>,
    /// How many operations have an outcome.
    pub done: u64,
    /// How many operations have no known outcome.
    pub unknown: u64,
    /// How many operations were refused, and so not executed.
    pub refused: u64,
}

/// The clients.
pub struct Clients {
    seed: u64,
    longest: usize,
    servers: Vec<SocketAddr>,
    begun: Instant,
    stopped: Cell<bool>,
    /// How many connections there were. The operations of one connection are those of one process of the
    /// history.
    connections: Cell<u64>,
    written: Cell<u64>,
    told: RefCell<Replies>,
}

/// How a request ended.
enum RequestResult {
    Done(Option<Seen>),
    Refused,
    Unknown,
}

impl Clients {
    /// Clients that write values of at most `longest` bytes.
    pub fn new(seed: u64, longest: usize, servers: Vec<SocketAddr>) -> Self {
        Clients {
            seed,
            longest: longest.max(1),
            servers,
            begun: Instant::now(),
            stopped: Cell::new(false),
            connections: Cell::new(0),
            written: Cell::new(0),
            told: RefCell::default(),
        }
    }

    /// The clients end after their present operation.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// The replies until now.
    pub fn history(&self) -> Replies {
        self.told.take()
    }

    /// Runs one client, which uses one replica until that fails, then the next.
    pub async fn run(&self, client: usize) {
        let mut chance = Random::seed_from_u64(self.seed ^ ((client as u64 + 1) << 32));
        let mut server = client;
        let mut removed = 0;
        while !self.stopped.get() {
            let address = self.servers[server % self.servers.len()];
            if let Ok(Ok(mut connection)) = timeout(TIMEOUT, Client::connect(address)).await {
                let process = self.connections.get();
                self.connections.set(process + 1);
                while !self.stopped.get() {
                    if client == 0 && !self.remove_old(&mut connection, &mut removed).await {
                        break;
                    }
                    if !self.operate(&mut connection, process, &mut chance).await {
                        break;
                    }
                    let thinking = chance.random_range(0..=THINKING_MS);
                    sleep(Duration::from_millis(thinking)).await;
                }
            }
            server += 1;
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn round(&self) -> u64 {
        self.begun.elapsed().as_secs() / ROUND.as_secs()
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Removes the values of old registers, so that the store does not grow. Returns whether the connection
    /// still works.
    async fn remove_old(&self, connection: &mut Client, removed: &mut u64) -> bool {
        while *removed + KEPT < self.round() {
            let mut words = vec!["DEL".to_owned()];
            words.extend((0..REGISTERS).map(|register| name(*removed, register)));
            let reply = async {
                connection.send([&words[..]]).await?;
                connection.reply().await
            };
            match timeout(TIMEOUT, reply).await {
                Ok(Ok(BytesFrame::Integer(_))) => *removed += 1,
                _ => return false,
            }
        }
        true
    }

    /// Does one operation. Returns whether the connection still works.
    async fn operate(&self, connection: &mut Client, process: u64, chance: &mut Random) -> bool {
        let register = name(self.round(), chance.random_range(0..REGISTERS));
        let written = chance.random_bool(0.5).then(|| self.any_value(chance));
        let words = match &written {
            Some(value) => vec!["SET".to_owned(), register.clone(), value.clone()],
            None => vec!["GET".to_owned(), register.clone()],
        };
        let invoked = self.now();
        let outcome = timeout(TIMEOUT, ask(connection, &words)).await;
        let returned = self.now();
        let outcome = outcome.unwrap_or(RequestResult::Unknown);
        let seen = written.as_ref().map(|value| see(value.as_bytes()));
        let good = matches!(outcome, RequestResult::Done(_));
        let mut told = self.told.borrow_mut();
        let (action, returned) = match (outcome, seen) {
            (RequestResult::Done(_), Some(value)) => (Action::Write(value), Some(returned)),
            (RequestResult::Done(value), None) => (Action::Read(value), Some(returned)),
            (RequestResult::Unknown, Some(value)) => (Action::Write(value), None),
            (RequestResult::Unknown, None) => {
                told.unknown += 1;
                return false;
            }
            (RequestResult::Refused, _) => {
                told.refused += 1;
                return false;
            }
        };
        if good {
            told.done += 1;
        } else {
            told.unknown += 1;
        }
        told.operations.push(
            register,
            Operation {
                process,
                action,
                invoked,
                returned,
                tag: None,
            },
        );
        good
    }

    /// Most values are short, some long, a few as long as they may be.
    fn any_value(&self, chance: &mut Random) -> String {
        let number = self.written.get();
        self.written.set(number + 1);
        let most = match chance.random_range(0..100_u32) {
            0..80 => 1024,
            80..97 => 100 * 1024,
            _ => self.longest,
        };
        let most = most.min(self.longest);
        value(number, chance.random_range(1..=most))
    }
}

fn name(round: u64, register: u64) -> String {
    format!("r{round}:{register}")
}

fn see(value: &[u8]) -> Seen {
    (value.len(), digest(value))
}

async fn ask(connection: &mut Client, words: &[String]) -> RequestResult {
    let reply: Result<RequestResult> = async {
        connection.send([words]).await?;
        Ok(match connection.reply().await? {
            BytesFrame::SimpleString(_) | BytesFrame::Null => RequestResult::Done(None),
            BytesFrame::BulkString(value) => RequestResult::Done(Some(see(&value))),
            BytesFrame::Error(words) if words.contains("not executed") => RequestResult::Refused,
            BytesFrame::Error(_) => RequestResult::Unknown,
            other => bail!("the replica answered {other:?}"),
        })
    }
    .await;
    reply.unwrap_or(RequestResult::Unknown)
}
