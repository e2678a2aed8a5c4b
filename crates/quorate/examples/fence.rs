//! A lock whose holder stalls, beside a lease. Two processes pay into an account, each under the lock. The first
//! one stalls between its check and its write, for longer than its lock lasts, and the second one gets the lock.
//! The late write of the first carries a token, and is refused: it tries again, and both payments are there. Under
//! a lease without a token the late write goes through, and one of the payments is lost.
//!
//! `cargo run -p quorate --example fence`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::prelude::*;
use std::time::Duration;
use three::{ExampleResult, builders, shut_down};

/// The first balance of the account.
pub const OPENING: u64 = 100;
/// What the first process pays in, and the second one.
pub const PAYMENTS: [u64; 2] = [50, 30];
/// How long a lock is kept without renewal.
const LEASE: Duration = Duration::from_secs(2);
/// The name of the lock, and of the balance.
const ACCOUNT: &str = "account";
const BALANCE: &str = "balance";

/// What has come of the payments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Whether the late write of the first process went through.
    pub late_write: bool,
    /// The last balance. Both payments were acknowledged.
    pub balance: u64,
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    let owed = OPENING + PAYMENTS.iter().sum::<u64>();
    for (how, outcome) in [
        ("with a token", with_token().await?),
        ("by a lease alone", by_lease().await?),
    ] {
        let Outcome {
            late_write,
            balance,
        } = outcome;
        let late = if late_write {
            "went through"
        } else {
            "was refused"
        };
        println!("{how:<17} the late write {late}; the balance is {balance} of {owed}");
    }
    Ok(())
}

/// The first process takes the lock, and stalls: it does not renew the lock from here on.
async fn stalled(locks: &Locks) -> ExampleResult<Claim> {
    let claim = locks.claim(ACCOUNT, "p1", Some(LEASE), true).await?;
    let mut claim = claim.ok_or("it waits for the lock")?;
    claim.held().await?;
    Ok(claim)
}

/// The account stands beside the lock, and compares tokens.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn with_token() -> ExampleResult<Outcome> {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for mut builder in builders("fence")? {
        all.push(builder.locks("locks", LockSettings::default())?);
        nodes.push(builder.start().await?);
    }
    let first = stalled(&all[0]).await?;
    let token = first.token();
    write(&all[0], token, OPENING).await?;
    let seen_by_first = read(&all[0], token).await?;

    // The lock is taken over, and the second process has read, but has not written yet.
    let second = all[1].lock(ACCOUNT).await?;
    let seen = read(&all[1], second.token()).await?;

    // The first process goes on where it stood. The account has not seen the second token in any write, and
    // refuses the first one all the same.
    let late = write(&all[0], token, seen_by_first + PAYMENTS[0]).await;
    let late_write = match late {
        Ok(()) => true,
        Err(LockError::Fenced { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    write(&all[1], second.token(), seen + PAYMENTS[1]).await?;
    second.unlock().await?;
    if !late_write {
        let again = all[0].lock(ACCOUNT).await?;
        let seen = read(&all[0], again.token()).await?;
        write(&all[0], again.token(), seen + PAYMENTS[0]).await?;
        again.unlock().await?;
    }
    let last = all[2].lock(ACCOUNT).await?;
    let balance = read(&all[2], last.token()).await?;
    last.unlock().await?;
    shut_down(nodes).await?;
    Ok(Outcome {
        late_write,
        balance,
    })
}

async fn read(locks: &Locks, token: u64) -> Result<u64, LockError> {
    let balance = locks.read(ACCOUNT, token, BALANCE).await?;
    let number = balance.and_then(|bytes| Some(u64::from_le_bytes(bytes[..].try_into().ok()?)));
    Ok(number.unwrap_or(0))
}

async fn write(locks: &Locks, token: u64, balance: u64) -> Result<(), LockError> {
    let bytes = balance.to_le_bytes();
    locks.write(ACCOUNT, token, BALANCE, Some(&bytes)).await
}

/// The account stands in a register, which knows no tokens: whoever believes that it has the lease writes.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn by_lease() -> ExampleResult<Outcome> {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for mut builder in builders("lease")? {
        let locks = builder.locks("locks", LockSettings::default())?;
        let accounts = builder.ordered_registers::<u64>("accounts")?;
        all.push((locks, accounts));
        nodes.push(builder.start().await?);
    }
    let [(locks, account), (locks_of_second, account_of_second), _] = all.as_slice() else {
        return Err("there are three processes".into());
    };
    let first = stalled(locks).await?;
    account.write(BALANCE, &OPENING).await?;
    let seen_by_first = account.read(BALANCE).await?.value.unwrap_or(0);
    // It looks whether it has the lease, as carefully as one can, and stalls.
    if !first.is_held() {
        return Err("the lease has ended too early".into());
    }

    let second = locks_of_second.lock(ACCOUNT).await?;
    let seen = account_of_second.read(BALANCE).await?.value.unwrap_or(0);

    let late = seen_by_first + PAYMENTS[0];
    account.write(BALANCE, &late).await?;
    let late_write = account_of_second.read(BALANCE).await?.value == Some(late);
    account_of_second
        .write(BALANCE, &(seen + PAYMENTS[1]))
        .await?;
    second.unlock().await?;
    let balance = account.read(BALANCE).await?.value.unwrap_or(0);
    shut_down(nodes).await?;
    Ok(Outcome {
        late_write,
        balance,
    })
}
