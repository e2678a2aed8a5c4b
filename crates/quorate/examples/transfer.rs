//! Three banks, each an operating-system process, transfer money by non-blocking atomic commit: either all
//! do a transfer, or none does. One bank is killed in the middle; the others decide all remaining
//! transfers, and agree with all decisions of the killed bank.
//!
//! `cargo run -p quorate --example transfer`
use quorate::{
    choice::Commit, detectors::exclude_on_timeout::SynchronyBounds, prelude::*, sealed::Secret,
};
use std::{
    env,
    fmt::Display,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, SystemTime},
};

/// The result of a step of the example.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The number of transfers that are tried.
pub const TRANSFERS: u64 = 300;
/// The initial balance of each bank.
pub const OPENING: u64 = 100;
/// A live bank on loopback is never silent for this long: a bank that is has crashed.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest time that the banks may take for any step.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The environment variable that tells a process which bank it is.
const RANK: &str = "QUORATE_EXAMPLE_BANK";
/// The prefix of each line that a bank prints for its parent.
const SAYS: &str = "bank: ";

fn main() -> Fallible<()> {
    if let Some(rank) = told_to_be_a_bank() {
        return bank(rank);
    }
    let program = env::current_exe()?;
    let chance = SystemTime::UNIX_EPOCH.elapsed()?.subsec_micros();
    let kill = Kill {
        bank: 1 + chance as usize % 3,
        after: 1 + u64::from(chance) % 250,
    };
    let books = trade(&|| Command::new(&program), Some(kill))?;
    let Audit { committed, aborted } = audit(&books, Some(kill))?;
    let dead = books[kill.bank - 1].len();
    println!("bank {} was killed when it had decided {dead}", kill.bank);
    println!("the others have decided {TRANSFERS}: {committed} committed, {aborted} aborted");
    println!("all of them agree, and no money was made or lost");
    Ok(())
}

/// A transfer; it is the same at every bank.
struct Transfer {
    from: usize,
    to: usize,
    amount: u64,
}

fn transfer(number: u64) -> Transfer {
    let from = 1 + (number % 3) as usize;
    Transfer {
        from,
        to: 1 + (from + (number / 3) as usize % 2) % 3,
        amount: 1 + number * 37 % 120,
    }
}

impl Transfer {
    /// The new balance of a bank after this transfer.
    fn applied(&self, bank: usize, balance: u64) -> u64 {
        match bank {
            _ if bank == self.from => balance - self.amount,
            _ if bank == self.to => balance + self.amount,
            _ => balance,
        }
    }
}

/// The rank of the bank as which this process is started, if it is started as a bank.
pub fn told_to_be_a_bank() -> Option<usize> {
    env::var(RANK).ok()?.parse().ok()
}

fn say(what: impl Display) {
    println!("{SAYS}{what}");
}

/// Runs one bank: it prints its address and its identity, reads those of all, votes on every transfer, and prints
/// each decision and its balance after it.
///
/// # Errors
/// When the node does not start, or stops.
pub fn bank(rank: usize) -> Fallible<()> {
    let me = ProcessId::from_rank(rank).ok_or("a rank is 1 to 128")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // The secret stays in this process.
    let secret = Secret::new(rand::random());
    say(format_args!(
        "at {} {}",
        socket.local_addr()?,
        secret.identity()
    ));
    let mut all = String::new();
    io::stdin().read_line(&mut all)?;
    let (mut peers, mut identities) = (Vec::new(), Vec::new());
    let words: Vec<_> = all.split_whitespace().collect();
    for (rank, words) in (1..).zip(words.chunks_exact(2)) {
        let process = ProcessId::from_rank(rank).ok_or("a rank is 1 to 128")?;
        peers.push(words[0].parse::<SocketAddr>()?);
        identities.push((process, words[1].parse()?));
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        let bounds = SynchronyBounds::new(Duration::from_millis(100), SILENCE)?;
        let builder = Node::builder(me, peers).socket(socket).cluster("banks");
        let builder = builder.sealed(secret, identities);
        let mut builder = builder.assume_synchronous(bounds);
        let transfers = builder.commit("transfers", Commit::NonBlocking)?;
        let node = builder.start().await?;

        let mut balance = OPENING;
        for number in 1..=TRANSFERS {
            let transfer = transfer(number);
            let vote = if transfer.from == rank && balance < transfer.amount {
                Vote::No
            } else {
                Vote::Yes
            };
            let outcome = transfers.vote(number, vote).await?;
            if outcome == Outcome::Commit {
                balance = transfer.applied(rank, balance);
            }
            let is_commit = outcome == Outcome::Commit;
            say(format_args!("decided {number} {is_commit} {balance}"));
        }
        say("done");
        // The other banks may still need this one's messages, until all are done.
        io::stdin().read_line(&mut String::new())?;
        node.shutdown().await?;
        Ok(())
    })
}

/// A bank that is killed once it has printed this number of decisions.
#[derive(Clone, Copy)]
pub struct Kill {
    pub bank: usize,
    pub after: u64,
}

/// A bank's report about a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether it was committed.
    pub is_commit: bool,
    /// The balance of the bank after it.
    pub balance: u64,
}

/// The process of a bank. Dropping this kills it.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts a bank, whose lines go to `words`.
    fn start(mut command: Command, rank: usize, words: Sender<(usize, String)>) -> Fallible<Self> {
        let command = command.env(RANK, rank.to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("the output is piped")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once(SAYS)
                    && words.send((rank, said.to_owned())).is_err()
                {
                    return;
                }
            }
            // The last report about a process.
            let _ = words.send((rank, "gone".to_owned()));
        });
        Ok(Process { child, stdin })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts three banks by this command, kills one if told to, and waits until the others are done. Returns
/// the reports of each bank about the transfers, in their order.
///
/// # Errors
/// When a bank cannot be started, ends although it was not killed, or takes too long.
pub fn trade(command: &dyn Fn() -> Command, kill: Option<Kill>) -> Fallible<Vec<Vec<Decision>>> {
    let (words, said) = mpsc::channel();
    let mut banks = Vec::new();
    for rank in 1..=3 {
        banks.push(Process::start(command(), rank, words.clone())?);
    }
    introduce(&mut banks, &said)?;
    let mut books: Vec<Vec<Decision>> = vec![Vec::new(); 3];
    let mut going: Vec<usize> = vec![1, 2, 3];
    while !going.is_empty() {
        let (rank, said) = said.recv_timeout(TIMEOUT)?;
        let book = &mut books[rank - 1];
        match said.split(' ').collect::<Vec<_>>()[..] {
            ["decided", number, is_commit, balance] => {
                if number.parse() != Ok(book.len() as u64 + 1) {
                    return Err(format!("bank {rank} decides {number} out of turn").into());
                }
                book.push(Decision {
                    is_commit: is_commit.parse()?,
                    balance: balance.parse()?,
                });
                if kill.is_some_and(|kill| kill.bank == rank && kill.after == book.len() as u64) {
                    // This is SIGKILL: the process ends at once, in the middle of its work.
                    banks[rank - 1].child.kill()?;
                }
            }
            ["done"] => going.retain(|other| *other != rank),
            ["gone"] if kill.is_some_and(|kill| kill.bank == rank) => {
                going.retain(|other| *other != rank);
            }
            _ => return Err(format!("bank {rank} is {said}").into()),
        }
    }
    // All are done: each bank leaves when its input ends.
    for bank in &mut banks {
        bank.stdin = None;
    }
    for (rank, bank) in (1..).zip(&mut banks) {
        let was_killed = kill.is_some_and(|kill| kill.bank == rank);
        if !bank.child.wait()?.success() && !was_killed {
            return Err(format!("bank {rank} failed").into());
        }
    }
    Ok(books)
}

/// Tells every bank the addresses of all.
fn introduce(banks: &mut [Process], said: &Receiver<(usize, String)>) -> Fallible<()> {
    let mut addresses = vec![String::new(); banks.len()];
    while addresses.iter().any(String::is_empty) {
        let (rank, said) = said.recv_timeout(TIMEOUT)?;
        let address = said.strip_prefix("at ").ok_or("a bank says where it is")?;
        address.clone_into(&mut addresses[rank - 1]);
    }
    for bank in banks {
        let stdin = bank.stdin.as_mut().ok_or("the input is piped")?;
        writeln!(stdin, "{}", addresses.join(" "))?;
    }
    Ok(())
}

/// The result of an audit of the books.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The number of committed transfers.
    pub committed: u64,
    /// The number of aborted transfers.
    pub aborted: u64,
}

/// Compares the books. Each bank that was not killed must have decided all transfers. All banks must agree
/// on their decisions, and have the balances that follow from them. The sum of the balances must be the
/// initial one.
///
/// # Errors
/// The first thing that is wrong.
pub fn audit(books: &[Vec<Decision>], kill: Option<Kill>) -> Result<Audit, String> {
    let mut audit = Audit {
        committed: 0,
        aborted: 0,
    };
    let mut balances = [OPENING; 3];
    for number in 1..=TRANSFERS {
        let mut outcome = None;
        for (rank, book) in (1..).zip(books) {
            let Some(decision) = book.get(number as usize - 1) else {
                if kill.is_some_and(|kill| kill.bank == rank) {
                    continue;
                }
                return Err(format!("bank {rank} has not decided {number}"));
            };
            if *outcome.get_or_insert(decision.is_commit) != decision.is_commit {
                return Err(format!("bank {rank} decides {number} otherwise"));
            }
            let balance = &mut balances[rank - 1];
            if decision.is_commit {
                *balance = transfer(number).applied(rank, *balance);
            }
            if *balance != decision.balance {
                return Err(format!("bank {rank} has another balance after {number}"));
            }
        }
        if books.iter().all(|book| book.len() as u64 >= number)
            && balances.iter().sum::<u64>() != 3 * OPENING
        {
            return Err(format!("money was made or lost by {number}"));
        }
        match outcome {
            Some(true) => audit.committed += 1,
            Some(false) | None => audit.aborted += 1,
        }
    }
    Ok(audit)
}
