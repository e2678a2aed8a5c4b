//! A consistent backup by atomic snapshot. Money is sent between accounts, one for each process, and all
//! processes take backups of all accounts at the same time. Each backup is of one moment: if money was
//! received, the backup also shows that it was sent. Reading one account after the other could show money
//! that was received and not sent: the sender's account is read before it sent, the receiver's after it
//! received.
//!
//! `cargo run -p quorate --example backup`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::prelude::*;
use serde::{Deserialize, Serialize};
use three::{ExampleResult, builders, shut_down};

/// The initial balance of each account.
pub const OPENING: u64 = 1000;
/// The number of transfers that each process makes.
pub const TRANSFERS: usize = 40;

/// The contents of a process's segment: the sums that its account has ever sent to, and received from, each
/// process, in rank order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// The sums sent, by receiver.
    pub sent: [u64; 3],
    /// The sums received, by sender.
    pub received: [u64; 3],
}

impl Account {
    /// The present balance; `None` if the account has sent money that it did not have.
    pub fn balance(&self) -> Option<u64> {
        let received: u64 = self.received.iter().sum();
        (OPENING + received).checked_sub(self.sent.iter().sum())
    }
}

/// All accounts, as of one moment.
pub type Backup = [Account; 3];

/// The sums of a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The money in the accounts.
    pub there: u64,
    /// The money that was sent and not yet received.
    pub in_flight: u64,
}

/// Adds up a backup.
///
/// # Errors
/// When money was received that was not sent, or sent that was not there: then the backup is not of one
/// moment.
pub fn audit(backup: &Backup) -> Result<Audit, String> {
    let (mut there, mut in_flight) = (0, 0);
    for (from, sender) in backup.iter().enumerate() {
        there += sender.balance().ok_or("more was sent than was there")?;
        for (to, receiver) in backup.iter().enumerate() {
            let (sent, received) = (sender.sent[to], receiver.received[from]);
            let missing = || format!("{to} has received {received} from {from}, which sent {sent}");
            in_flight += sent.checked_sub(received).ok_or_else(missing)?;
        }
    }
    Ok(Audit { there, in_flight })
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    let backups = trade().await?;
    for (rank, backups) in (1..).zip(&backups) {
        println!("p{rank} took {} backups", backups.len());
        for backup in backups.iter().step_by(20) {
            let Audit { there, in_flight } = audit(backup)?;
            println!("  {there} there, {in_flight} in flight");
        }
    }
    Ok(())
}

/// One of the three processes.
struct Branch {
    index: usize,
    accounts: Segments<Account>,
    account: Account,
    backups: Vec<Backup>,
}

impl Branch {
    /// Takes a backup.
    async fn back_up(&mut self) -> Result<Backup, MemoryError> {
        let mut backup = Backup::default();
        for (account, segment) in backup.iter_mut().zip(self.accounts.scan().await?) {
            *account = segment.unwrap_or_default();
        }
        self.backups.push(backup.clone());
        Ok(backup)
    }

    /// Receives the money that was sent to this account, according to a backup.
    fn receive(&mut self, backup: &Backup) {
        for (received, sender) in self.account.received.iter_mut().zip(backup) {
            *received = sender.sent[self.index];
        }
    }

    /// Repeatedly receives money, and sends a part of the balance on to each of the other processes in
    /// turn.
    async fn trade(mut self) -> Result<Self, MemoryError> {
        for transfer in 0..TRANSFERS {
            let backup = self.back_up().await?;
            self.receive(&backup);
            let to = (self.index + 1 + transfer % 2) % 3;
            self.account.sent[to] += self.account.balance().unwrap_or(0) / 4;
            self.accounts.update(&self.account).await?;
        }
        Ok(self)
    }

    /// Receives the money that is still in flight.
    async fn settle(&mut self) -> Result<(), MemoryError> {
        let backup = self.back_up().await?;
        self.receive(&backup);
        self.accounts.update(&self.account).await
    }
}

/// Three processes trade and take backups, all at the same time; in the end nothing is in flight. Returns
/// the backups of each process.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn trade() -> ExampleResult<Vec<Vec<Backup>>> {
    let (mut nodes, mut trading) = (Vec::new(), Vec::new());
    for (index, mut builder) in builders("backup")?.into_iter().enumerate() {
        let branch = Branch {
            index,
            accounts: builder.snapshot("accounts")?,
            account: Account::default(),
            backups: Vec::new(),
        };
        nodes.push(builder.start().await?);
        trading.push(tokio::spawn(branch.trade()));
    }
    let mut branches = Vec::new();
    for branch in trading {
        branches.push(branch.await??);
    }
    for branch in &mut branches {
        branch.settle().await?;
    }
    let mut backups = Vec::new();
    for mut branch in branches {
        branch.back_up().await?;
        backups.push(branch.backups);
    }
    shut_down(nodes).await?;
    Ok(backups)
}
