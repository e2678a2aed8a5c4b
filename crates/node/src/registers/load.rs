//! `quorate registers load`: clients that read and write a store, and record each operation with its times.
use crate::{
    credentials::{ForClients, NotAdmitted, Ready},
    demo::client::Client,
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use quorate_histories::{Action, History, Operation, text};
use redis_protocol::resp2::types::BytesFrame;
use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};
use tokio::time::{sleep, timeout};

/// How long a reply may take before the client takes the outcome as unknown and turns to another replica. It
/// is longer than the replicas' own deadline, so that their answer comes first.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client goes on without any answer before it gives up.
const UNSERVED: Duration = Duration::from_mins(1);

/// Reads and writes a store concurrently, and records the history.
#[derive(Args, Debug)]
pub struct Load {
    /// A replica's address for clients (RESP); may be repeated. Clients are spread over them.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6379")]
    server: Vec<SocketAddr>,
    #[command(flatten)]
    door: ForClients,
    /// How many operations the clients do together.
    #[arg(long, default_value_t = 10_000)]
    operations: u64,
    /// How many clients there are, each with one operation at a time.
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// On how many keys the clients operate.
    #[arg(long, default_value_t = 64)]
    keys: u64,
    /// What the keys' names begin with. The check assumes that keys hold nothing at first; so the default is
    /// another prefix in each run.
    #[arg(long)]
    prefix: Option<String>,
    /// Where to write the history (docs/histories.md); without it only the counts are printed.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// How an operation ended.
enum End {
    Ok(Option<Vec<u8>>),
    /// It has not taken effect, and never will.
    Fail,
    Unknown,
}

struct Shared<'l> {
    load: &'l Load,
    credentials: Ready,
    prefix: String,
    begun: Instant,
    taken: Cell<u64>,
    history: RefCell<History<Vec<u8>, Vec<u8>>>,
    /// How many operations have returned, how many were refused, and of how many the outcome is unknown.
    counts: [Cell<u64>; 3],
    names: Cell<u64>,
}

impl Load {
    /// Runs the clients, prints counts, and writes the history.
    pub fn run(self) -> Result<()> {
        let positive = self.clients > 0 && self.keys > 0;
        ensure!(positive, "there must be at least one client and one key");
        // The file is opened before the run, so that an error shows at once.
        let name = |file: &PathBuf| format!("cannot write {}", file.display());
        let file = match &self.history {
            Some(file) => Some((File::create(file).with_context(|| name(file))?, name(file))),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let shared = Shared {
            load: &self,
            credentials: self.door.ready()?,
            prefix: self.prefix.clone().unwrap_or_else(fresh),
            begun: Instant::now(),
            taken: Cell::new(0),
            history: RefCell::default(),
            counts: [const { Cell::new(0) }; 3],
            names: Cell::new(self.clients),
        };
        let clients = (1..=self.clients).map(|client| shared.run(client));
        let ended = runtime.block_on(futures::future::join_all(clients));
        let [returned, refused, unknown] = shared.counts.each_ref().map(Cell::get);
        println!(
            "{returned} operations returned in {:.1} s, {refused} were refused, the outcome of {unknown} is \
             unknown",
            shared.begun.elapsed().as_secs_f64()
        );
        if let Some((mut file, cannot)) = file {
            let text = text::write(&shared.history.borrow());
            file.write_all(text.as_bytes()).context(cannot)?;
        }
        ended.into_iter().collect()
    }
}

/// A prefix that no other run has, made from the time of its start and the process id.
fn fresh() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let begun = since.map_or(0, |since| since.as_millis());
    format!("load-{begun:x}-{:x}", std::process::id())
}

/// Mixes a number into one that looks random, but is the same in each run.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Shared<'_> {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Runs one client, which uses one replica until that fails, then the next.
    async fn run(&self, client: u64) -> Result<()> {
        let mut process = client;
        let mut server = client as usize;
        let mut served = Instant::now();
        while self.taken.get() < self.load.operations {
            let address = self.load.server[server % self.load.server.len()];
            server += 1;
            let connecting = Client::connect_with(address, &self.credentials);
            let connected = timeout(TIMEOUT, connecting).await;
            if let Ok(Err(error)) = &connected
                && error.is::<NotAdmitted>()
            {
                bail!("{address}: {error:#}");
            }
            if let Ok(Ok(mut connection)) = connected {
                while self.taken.get() < self.load.operations {
                    let end = self.operate(&mut connection, process).await;
                    match end {
                        End::Ok(_) => served = Instant::now(),
                        End::Fail => break,
                        End::Unknown => {
                            // A client that has left an operation open goes on under another process name.
                            self.names.set(self.names.get() + 1);
                            process = self.names.get();
                            break;
                        }
                    }
                }
            }
            ensure!(
                served.elapsed() < UNSERVED,
                "no replica has served for {UNSERVED:?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn operate(&self, connection: &mut Client, process: u64) -> End {
        let number = self.taken.get();
        self.taken.set(number + 1);
        let drawn = mixed(number);
        let key = format!("{}:{}", self.prefix, drawn % self.load.keys);
        let value = (drawn >> 32 & 1 == 0).then(|| number.to_string());
        let words: Vec<String> = match &value {
            Some(value) => vec!["SET".into(), key.clone(), value.clone()],
            None => vec!["GET".into(), key.clone()],
        };
        let invoked = self.now();
        let end = exchange(connection, &words).await;
        let returned = self.now();
        let count = match end {
            End::Ok(_) => 0,
            End::Fail => 1,
            End::Unknown => 2,
        };
        self.counts[count].set(self.counts[count].get() + 1);
        let (read, returned) = match &end {
            End::Ok(read) => (read.clone(), Some(returned)),
            End::Unknown => (None, None),
            End::Fail => return end,
        };
        let action = match value {
            Some(value) => Action::Write(value.into_bytes()),
            None => Action::Read(read),
        };
        let operation = Operation {
            process,
            action,
            invoked,
            returned,
            tag: None,
        };
        self.history.borrow_mut().push(key.into_bytes(), operation);
        end
    }
}

async fn exchange(connection: &mut Client, words: &[String]) -> End {
    if connection.send([words]).await.is_err() {
        return End::Unknown;
    }
    match timeout(TIMEOUT, connection.reply()).await {
        Ok(Ok(BytesFrame::SimpleString(_) | BytesFrame::Null)) => End::Ok(None),
        Ok(Ok(BytesFrame::BulkString(value))) => End::Ok(Some(value.to_vec())),
        Ok(Ok(BytesFrame::Error(words))) if words.ends_with("; not executed") => End::Fail,
        Ok(Ok(_) | Err(_)) | Err(_) => End::Unknown,
    }
}
