//! `quorate lock` runs a command while a lock is held; `quorate fenced` reads and writes what a lock guards.
mod child;
mod fenced;
mod holder;
mod replicas;

pub use fenced::Fenced;

use crate::credentials::ForClients;
use anyhow::{Context, Result};
use child::{Child, Signals, TERMINATE};
use clap::{Args, ValueEnum};
use holder::{Acquired, Holder};
use quorate_core::Incarnation;
use replicas::Replicas;
use std::{ffi::OsString, process::ExitCode, time::Duration};

/// The exit status if the lock was not had within the wait.
const NOT_ACQUIRED: u8 = 75;

/// The exit status if the lock was lost before the command had ended.
const LOST: u8 = 76;

/// The exit status of `quorate fenced` if the token is not that of the holder.
const REFUSED: u8 = 77;

/// The exit status if the command could not be started: as a shell has it.
const NOT_STARTED: u8 = 127;

/// The variables that the command is given.
const TOKEN: &str = "QUORATE_LOCK_TOKEN";
const NAME: &str = "QUORATE_LOCK_NAME";
const ADDRESSES: &str = "QUORATE_LOCK_ADDRESSES";

/// Where `quorate node` serves clients by default.
const CLIENT: &str = "127.0.0.1:6379";

/// Runs a command while a lock is held.
///
/// The command gets the lock's token in `QUORATE_LOCK_TOKEN`, its name in `QUORATE_LOCK_NAME`, and the addresses of
/// the replicas in `QUORATE_LOCK_ADDRESSES`. Only what is fenced by the token is safe: the command may go on for a
/// while after another one has got the lock.
///
/// Exit status: that of the command, 128 and the signal that ended it, or 127 if it cannot be started; 75 if the
/// lock was not had within the wait; 76 if the lock was lost before the command had ended; 1 for other failures.
#[derive(Args, Debug)]
pub struct Lock {
    /// The lock.
    name: String,
    /// The client address of a replica; may be repeated, or be a list. If one does not answer, the next is
    /// asked.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = CLIENT,
        env = ADDRESSES
    )]
    addr: Vec<String>,
    #[command(flatten)]
    door: ForClients,
    /// For how many seconds the lock is kept without a sign of life from here. It is renewed each third of that.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    ttl: Duration,
    /// How many seconds to wait for the lock [default: for ever].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Duration>,
    /// What to do with the command when the lock is lost.
    #[arg(long, value_enum, default_value_t = OnLost::Kill)]
    on_lost: OnLost,
    /// The command, and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What becomes of the command when the lock is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum OnLost {
    /// It gets SIGTERM, and SIGKILL five seconds later.
    Kill,
    /// It goes on, and a line on the standard error says that the lock is lost.
    Warn,
}

/// A number of seconds, which need not be whole.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    let time = Duration::try_from_secs_f64(number).map_err(|error| error.to_string())?;
    if time > Duration::from_hours(24 * 365) {
        return Err("more than a year".to_owned());
    }
    Ok(time)
}

impl Lock {
    /// Waits for the lock, runs the command, and gives the lock back.
    pub fn run(self) -> Result<ExitCode> {
        anyhow::ensure!(
            self.ttl >= Duration::from_millis(100),
            "`--ttl` must be at least 0.1 seconds"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let ran = runtime.block_on(self.hold());
        // A name may still be looked up, which can take long.
        runtime.shutdown_background();
        ran
    }

    async fn hold(self) -> Result<ExitCode> {
        let mut signals = Signals::listen()?;
        let replicas = Replicas::new(&self.addr, self.door.ready()?);
        let mut holder = Holder::new(&self.name, owner(), self.ttl, replicas);
        let token = tokio::select! {
            acquired = holder.acquire(self.wait) => match acquired? {
                Acquired::With(token) => token,
                Acquired::NotInTime(why) => {
                    eprintln!("quorate: lock `{}` not acquired: {why}", self.name);
                    return Ok(ExitCode::from(NOT_ACQUIRED));
                }
            },
            signal = signals.next() => return Ok(ExitCode::from(128 + signal as u8)),
        };
        let (program, arguments) = self.command.split_first().context("no command")?;
        let mut variables = self.door.variables();
        variables.extend([
            (TOKEN, token.to_string()),
            (NAME, self.name.clone()),
            (ADDRESSES, self.addr.join(",")),
        ]);
        let mut child = match Child::start(program, arguments, variables) {
            Ok(child) => child,
            Err(error) => {
                holder.release(token).await;
                eprintln!("quorate: cannot run {}: {error}", program.display());
                return Ok(ExitCode::from(NOT_STARTED));
            }
        };
        let ended = tokio::select! {
            code = child.ended(&mut signals) => Ok(code?),
            why = holder.keep(token) => Err(why),
        };
        match ended {
            Ok(code) => {
                if holder.release(token).await {
                    return Ok(ExitCode::from(code));
                }
                let name = &self.name;
                eprintln!(
                    "quorate: lock `{name}` with token {token} was lost before the command ended"
                );
                Ok(ExitCode::from(LOST))
            }
            Err(why) => {
                self.lost(token, &why, child, signals).await?;
                Ok(ExitCode::from(LOST))
            }
        }
    }

    /// The lock is lost while the command runs.
    async fn lost(
        &self,
        token: u64,
        why: &str,
        mut child: Child,
        mut signals: Signals,
    ) -> Result<()> {
        let name = &self.name;
        let then = match self.on_lost {
            OnLost::Kill => "the command is ended",
            OnLost::Warn => "the command goes on without it",
        };
        eprintln!("quorate: lock `{name}` with token {token} is lost: {why}; {then}");
        if self.on_lost == OnLost::Kill {
            child.signal(TERMINATE);
            child.end_within(&mut signals).await?;
        } else {
            child.ended(&mut signals).await?;
        }
        Ok(())
    }
}

/// A name that no other request has: of the machine as far as it has one, this process, and a random number.
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(64).collect();
    let number = Incarnation(rand::random());
    format!("{host}/{}/{number}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_need_not_be_whole_and_are_no_nonsense() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for nonsense in ["", "x", "-1", "NaN", "inf", "1e300", "1e9"] {
            assert!(seconds(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn owners_differ() {
        assert_ne!(owner(), owner());
        assert!(owner().len() < quorate_services::locks::LONGEST_NAME);
    }
}
