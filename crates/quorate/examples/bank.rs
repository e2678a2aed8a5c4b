//! A bank with three replicas, each an operating-system process. They are killed and started again, one
//! after the other, and each has all acknowledged orders when it is back.
//!
//! `cargo run -p quorate --example bank`
use quorate::{prelude::*, sealed::Secret};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead, BufReader, Lines, Write},
    net::{SocketAddr, UdpSocket},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The result of a step of the example.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The machine: the balance of each customer.
#[derive(Default)]
struct Bank(BTreeMap<String, u64>);

/// The commands of the machine.
#[derive(Serialize, Deserialize)]
enum Order {
    Deposit {
        to: String,
        amount: u64,
    },
    Transfer {
        from: String,
        to: String,
        amount: u64,
    },
}

impl Machine for Bank {
    type Command = Order;
    /// Whether the order was executed.
    type Reply = bool;

    fn apply(&mut self, _position: u64, _origin: ProcessId, order: Order) -> bool {
        let (from, to, amount) = match order {
            Order::Deposit { to, amount } => (None, to, amount),
            Order::Transfer { from, to, amount } => (Some(from), to, amount),
        };
        if let Some(from) = from {
            match self.0.get_mut(&from) {
                Some(balance) if *balance >= amount => *balance -= amount,
                _ => return false,
            }
        }
        *self.0.entry(to).or_default() += amount;
        true
    }

    fn snapshot(&self) -> View {
        Items::view(self.0.clone())
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        self.0.extend(chunk.items::<(String, u64)>()?);
        Ok(())
    }
}

/// The environment variables that tell a process which replica it is, and the addresses and identities of all replicas.
const RANK: &str = "QUORATE_EXAMPLE_REPLICA";
const PEERS: &str = "QUORATE_EXAMPLE_PEERS";
const IDENTITIES: &str = "QUORATE_EXAMPLE_IDENTITIES";
/// The one with its secret. Only the same user can read it; a service has its secret in a file.
const SECRET: &str = "QUORATE_EXAMPLE_SECRET";
/// The prefix of each line that a replica prints for its parent.
const SAYS: &str = "bank: ";

fn main() -> Fallible<()> {
    if told_to_be_a_replica() {
        return replica();
    }
    let program = env::current_exe()?;
    for line in day(&|| Command::new(&program))? {
        println!("{line}");
    }
    Ok(())
}

/// Whether this process is started as a replica.
pub fn told_to_be_a_replica() -> bool {
    env::var_os(RANK).is_some()
}

/// Runs one replica: it executes the lines of its input, and prints the results.
///
/// # Errors
/// When the node does not start, or stops.
pub fn replica() -> Fallible<()> {
    let me = ProcessId::from_rank(env::var(RANK)?.parse()?).ok_or("a rank is 1 to 128")?;
    let peers = env::var(PEERS)?;
    let peers = peers.split(' ').map(str::parse);
    let peers: Vec<SocketAddr> = peers.collect::<Result<_, _>>()?;
    let mut identities = Vec::new();
    for (rank, identity) in (1..).zip(env::var(IDENTITIES)?.split(' ')) {
        let process = ProcessId::from_rank(rank).ok_or("a rank is 1 to 128")?;
        identities.push((process, identity.parse()?));
    }
    let secret = Secret::parse(&env::var(SECRET)?)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut builder = Node::builder(me, peers.clone())
            .udp(peers[me.index()])
            .cluster("bank")
            .sealed(secret, identities);
        let bank = builder.replicated("bank", Bank::default())?;
        let node = builder.start().await?;
        for line in io::stdin().lines() {
            let line = line?;
            let said = match line.split(' ').collect::<Vec<_>>()[..] {
                ["deposit", to, amount] => {
                    let (to, amount) = (to.to_owned(), amount.parse()?);
                    bank.submit(Order::Deposit { to, amount })
                        .await?
                        .to_string()
                }
                ["transfer", from, to, amount] => {
                    let (from, to) = (from.to_owned(), to.to_owned());
                    let amount = amount.parse()?;
                    let order = Order::Transfer { from, to, amount };
                    bank.submit(order).await?.to_string()
                }
                // The answer is the same at every replica, as if there were only one bank.
                ["books"] => bank.query(|bank| format!("{:?}", bank.0)).await?,
                _ => "what?".to_owned(),
            };
            println!("{SAYS}{said}");
        }
        node.shutdown().await?;
        Ok(())
    })
}

/// What the parent knows of the replicas: their secrets; the addresses and the identities, separated by spaces.
struct All {
    secrets: Vec<Secret>,
    peers: String,
    identities: String,
}

/// The process of a replica. Dropping this kills it.
struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(mut command: Command, rank: usize, all: &All) -> Fallible<Self> {
        let secret = all.secrets[rank - 1].to_text();
        let command = command.env(RANK, rank.to_string()).env(SECRET, &*secret);
        let command = command
            .env(PEERS, &all.peers)
            .env(IDENTITIES, &all.identities);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("the input is piped")?;
        let stdout = child.stdout.take().ok_or("the output is piped")?;
        let said = BufReader::new(stdout).lines();
        Ok(Process { child, stdin, said })
    }

    /// Sends a line to the replica, and returns its answer.
    fn tell(&mut self, what: &str) -> Fallible<String> {
        writeln!(self.stdin, "{what}")?;
        for line in self.said.by_ref() {
            if let Some((_, said)) = line?.split_once(SAYS) {
                return Ok(said.to_owned());
            }
        }
        Err("the replica is gone".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // This is SIGKILL: the process ends at once, in the middle of its work.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts three replicas by this command, sends orders to them, and kills one after the other, each when
/// the one before is back. Returns the final books of all replicas.
///
/// # Errors
/// When a replica cannot be started, ends although it was not killed, or has forgotten something.
pub fn day(command: &dyn Fn() -> Command) -> Fallible<Vec<String>> {
    let mut peers = Vec::new();
    for _ in 1..=3 {
        peers.push(UdpSocket::bind("127.0.0.1:0")?);
    }
    let addresses = peers
        .iter()
        .map(|socket| Ok(socket.local_addr()?.to_string()));
    let addresses = addresses.collect::<io::Result<Vec<_>>>()?.join(" ");
    drop(peers);
    let secrets: Vec<_> = (1..=3).map(|_| Secret::new(rand::random())).collect();
    let identities: Vec<_> = secrets.iter().map(|it| it.identity().to_string()).collect();
    let all = All {
        secrets,
        peers: addresses,
        identities: identities.join(" "),
    };
    let mut bank = Vec::new();
    for rank in 1..=3 {
        bank.push(Process::start(command(), rank, &all)?);
    }
    bank[0].tell("deposit ann 60")?;
    bank[1].tell("deposit bob 40")?;
    for victim in 0..3 {
        bank.remove(victim);
        // The other replicas go on without it.
        if bank[0].tell("transfer ann bob 10")? != "true" {
            return Err("ann can pay".into());
        }
        let again = Process::start(command(), victim + 1, &all)?;
        bank.insert(victim, again);
        bank[victim].tell("transfer bob eve 5")?;
    }
    bank.iter_mut()
        .map(|replica| replica.tell("books"))
        .collect()
}
