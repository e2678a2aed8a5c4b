//! Reads and writes of values that a lock guards, for scripts that `quorate lock` runs.
use super::{
    ADDRESSES, CLIENT, NAME, REFUSED, TOKEN,
    replicas::{Replicas, Reply},
};
use crate::credentials::{ForClients, NotAdmitted};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long to look for a replica that answers.
const LIMIT: Duration = Duration::from_secs(10);

/// Reads or writes a value that a lock guards, if the token is that of the present holder.
///
/// Exit status: 0 if it was read or written, 77 if the token is not that of the present holder, 1 for other
/// failures.
#[derive(Args, Debug)]
pub struct Fenced {
    /// The lock.
    #[arg(long, global = true, value_name = "NAME", env = NAME)]
    lock: Option<String>,
    /// The token of its holder.
    #[arg(long, global = true, value_name = "NUMBER", env = TOKEN)]
    token: Option<u64>,
    /// The client address of a replica; may be repeated, or be a list. If one does not answer, the next is
    /// asked.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = CLIENT,
        env = ADDRESSES
    )]
    addr: Vec<String>,
    #[command(flatten)]
    door: ForClients,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Prints a value.
    Get { key: String },
    /// Sets a value.
    Set { key: String, value: String },
    /// Removes a value.
    Del { key: String },
}

/// Whether a replica has said that it has done nothing.
fn is_undone(error: &anyhow::Error) -> bool {
    error.root_cause().to_string().ends_with("not executed")
}

impl Fenced {
    /// Asks, and prints the answer.
    pub fn run(self) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let answer = runtime.block_on(self.ask());
        runtime.shutdown_background();
        match answer? {
            Reply::Refused(words) if words.starts_with("FENCED ") => {
                eprintln!("quorate: {words}");
                Ok(ExitCode::from(REFUSED))
            }
            Reply::Refused(words) => bail!("{words}"),
            Reply::Text(value) if matches!(self.action, Action::Get { .. }) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&value)?;
                writeln!(out)?;
                Ok(ExitCode::SUCCESS)
            }
            Reply::Text(_) | Reply::Integer(_) | Reply::Nothing => Ok(ExitCode::SUCCESS),
        }
    }

    /// Finds a replica. A write is not sent before the replica has answered something else: if it is frozen, whether
    /// the write will be done would be open.
    async fn found(&self, replicas: &mut Replicas) -> Result<()> {
        replicas.connect(LIMIT / 4).await?;
        if self.writes() {
            replicas.ask(&[b"PING"], LIMIT / 4).await?;
        }
        Ok(())
    }

    async fn ask(&self) -> Result<Reply> {
        let lock = self.lock.as_deref().context("which lock? `--lock`")?;
        let token = self.token.context("with which token? `--token`")?;
        let token = token.to_string();
        let (lock, token) = (lock.as_bytes(), token.as_bytes());
        let words = match &self.action {
            Action::Get { key } => vec![b"LOCK.GET".as_slice(), lock, token, key.as_bytes()],
            Action::Set { key, value } => {
                let (key, value) = (key.as_bytes(), value.as_bytes());
                vec![b"LOCK.SET".as_slice(), lock, token, key, value]
            }
            Action::Del { key } => vec![b"LOCK.DEL".as_slice(), lock, token, key.as_bytes()],
        };
        let mut replicas = Replicas::new(&self.addr, self.door.ready()?);
        let end = Instant::now() + LIMIT;
        loop {
            let error = match self.found(&mut replicas).await {
                Ok(()) => match replicas.ask(&words, LIMIT / 2).await {
                    Ok(reply) => return Ok(reply),
                    // A write that was sent may be done later, and then overwrite what is written meanwhile.
                    Err(error) if self.writes() && !is_undone(&error) => {
                        return Err(error.context("it may have been written"));
                    }
                    Err(error) => error,
                },
                Err(error) if error.is::<NotAdmitted>() => return Err(error),
                Err(error) => error,
            };
            if Instant::now() >= end {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn writes(&self) -> bool {
        match self.action {
            Action::Get { .. } => false,
            Action::Set { .. } | Action::Del { .. } => true,
        }
    }
}
