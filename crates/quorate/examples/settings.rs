//! Settings in an atomic register: one process writes them, and the others read them all the time. Each
//! reader sees every change, because the next change is made only when all have the last one, and none
//! reads older settings again. Once a write has returned, every later read gets its value or a newer one.
//!
//! `cargo run -p quorate --example settings`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::{choice, prelude::*};
use serde::{Deserialize, Serialize};
use three::{ExampleResult, builders, shut_down};
use tokio::sync::watch;

/// The number of changes before p3 leaves; one more follows.
pub const CHANGES: u64 = 50;
/// The name of the register.
const LIMITS: &str = "limits";

/// The value in the register.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The number of this change of the settings, counted from 1.
    pub version: u64,
    /// The number of requests that are served per second.
    pub requests_per_second: u64,
}

impl Settings {
    fn of(version: u64) -> Self {
        Settings {
            version,
            requests_per_second: 100 * version,
        }
    }
}

/// The result of one read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The last version whose write had returned before the read began.
    pub returned: u64,
    /// The settings, if there were any.
    pub settings: Option<Settings>,
}

impl Seen {
    /// The version that was read; 0 if there was none.
    pub fn version(&self) -> u64 {
        self.settings.as_ref().map_or(0, |now| now.version)
    }
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    for (rank, seen) in (2..).zip(configure().await?) {
        let last = seen.last().map_or(0, Seen::version);
        println!(
            "p{rank} read {} times, up to version {last}, and never an older one",
            seen.len()
        );
    }
    Ok(())
}

/// Reads all the time, until a version is there. Tells, on a channel, the last version that was seen.
async fn follow(
    registers: Registers<Settings>,
    returned: watch::Receiver<u64>,
    sees: watch::Sender<u64>,
    until: u64,
) -> Result<Vec<Seen>, MemoryError> {
    let mut all = Vec::new();
    loop {
        let returned = *returned.borrow();
        let settings = registers.read(LIMITS).await?;
        let seen = Seen { returned, settings };
        let version = seen.version();
        all.push(seen);
        sees.send_replace(version);
        if version >= until {
            return Ok(all);
        }
    }
}

/// p1 sets, p2 and p3 follow; p3 leaves before the last change. Returns the reads of p2 and p3.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn configure() -> ExampleResult<Vec<Vec<Seen>>> {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    let p1 = ProcessId::from_rank(1).ok_or("a rank is 1 to 128")?;
    for mut builder in builders("settings")? {
        all.push(builder.registers_with(
            "settings",
            choice::Registers::ReadImposeWriteMajority,
            Some(p1),
        )?);
        nodes.push(builder.start().await?);
    }
    // A process that is not the writer cannot write.
    if all[1].write(LIMITS, &Settings::of(1)).await.is_ok() {
        return Err("p2 is not the writer, and has written".into());
    }

    let (returns, returned) = watch::channel(0);
    let (mut followers, mut seen_by) = (Vec::new(), Vec::new());
    for (registers, until) in all[1..].iter().zip([CHANGES + 1, CHANGES]) {
        let (sees, seen) = watch::channel(0);
        let follower = follow(registers.clone(), returned.clone(), sees, until);
        followers.push(tokio::spawn(follower));
        seen_by.push(seen);
    }
    for version in 1..=CHANGES {
        all[0].write(LIMITS, &Settings::of(version)).await?;
        returns.send_replace(version);
        for seen in &mut seen_by {
            seen.wait_for(|last| *last >= version).await?;
        }
    }
    // p3 has seen enough, and leaves without a shutdown: p1 and p2 are a majority.
    let mut seen = vec![followers.remove(1).await??];
    nodes.truncate(2);
    all[0].write(LIMITS, &Settings::of(CHANGES + 1)).await?;
    returns.send_replace(CHANGES + 1);
    seen.insert(0, followers.remove(0).await??);
    shut_down(nodes).await?;
    Ok(seen)
}
