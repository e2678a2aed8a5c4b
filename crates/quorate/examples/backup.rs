//! A consistent backup by atomic snapshot: while money moves between accounts, one a process, everybody
//! takes backups of all of them. Each is of one moment: no money is in it that was received, and not sent.
//! Whoever read one account after the other could find such money: the sender's before it sent, the
//! receiver's after it received.
//!
//! `cargo run -p quorate --example backup`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::prelude::*;
use serde::{Deserialize, Serialize};
use three::{ExampleResult, builders, shut_down};

/// What is in each account at first.
pub const OPENING: u64 = 1000;
/// So often each process sends money.
pub const TRANSFERS: usize = 40;

/// What a process's segment holds: all that its account has ever sent to, and received from, each process,
/// in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// To each.
    pub sent: [u64; 3],
    /// From each.
    pub received: [u64; 3],
}

impl Account {
    /// What is in it, unless it has sent what it did not have.
    pub fn balance(&self) -> Option<u64> {
        let received: u64 = self.received.iter().sum();
        (OPENING + received).checked_sub(self.sent.iter().sum())
    }
}

/// All accounts, as of one moment.
pub type Backup = [Account; 3];

/// What a backup adds up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    /// What is in the accounts.
    pub there: u64,
    /// What was sent, and not received yet.
    pub in_flight: u64,
}

/// Adds up a backup.
///
/// # Errors
/// When money was received that was not sent, or sent that was not there: it is of no one moment.
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

/// One of the three.
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

    /// Receives what it was sent, as a backup says.
    fn receive(&mut self, backup: &Backup) {
        for (received, sender) in self.account.received.iter_mut().zip(backup) {
            *received = sender.sent[self.index];
        }
    }

    /// Receives, and sends on, again and again: to each of the others in turn, a part of what is there.
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

    /// Receives what is still in flight.
    async fn settle(&mut self) -> Result<(), MemoryError> {
        let backup = self.back_up().await?;
        self.receive(&backup);
        self.accounts.update(&self.account).await
    }
}

/// Three processes trade and take backups, all at the same time; in the end nothing is in flight. The
/// backups of each.
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
