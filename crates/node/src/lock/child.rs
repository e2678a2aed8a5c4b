//! The command that runs under the lock, and the signals that go to it.
use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal as Kind, kill, killpg},
    unistd::Pid,
};
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::sleep,
};

/// Asks the command to end.
pub const TERMINATE: Kind = Kind::SIGTERM;

/// How long the command may take to end before it is killed.
const ENDING: Duration = Duration::from_secs(5);

/// The signals that are passed on to the command.
const PASSED_ON: [Kind; 6] = [
    Kind::SIGINT,
    Kind::SIGTERM,
    Kind::SIGHUP,
    Kind::SIGQUIT,
    Kind::SIGUSR1,
    Kind::SIGUSR2,
];

/// The signals that come to this process.
pub struct Signals([Signal; PASSED_ON.len()]);

impl Signals {
    /// From now on signals do not end this process.
    pub fn listen() -> Result<Self> {
        let listen = |kind: Kind| signal(SignalKind::from_raw(kind as i32));
        let mut all = Vec::new();
        for kind in PASSED_ON {
            all.push(listen(kind).context("cannot wait for signals")?);
        }
        let all = all.try_into().ok().context("signals are missing")?;
        Ok(Signals(all))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Kind {
        let [int, term, hup, quit, usr1, usr2] = &mut self.0;
        tokio::select! {
            _ = int.recv() => Kind::SIGINT,
            _ = term.recv() => Kind::SIGTERM,
            _ = hup.recv() => Kind::SIGHUP,
            _ = quit.recv() => Kind::SIGQUIT,
            _ = usr1.recv() => Kind::SIGUSR1,
            _ = usr2.recv() => Kind::SIGUSR2,
        }
    }
}

/// The running command.
pub struct Child {
    id: Pid,
    /// Whether it has a process group of its own, with the processes that it starts. A command that reads from a
    /// terminal stays in the group of this process, which may read there, and gets what is typed.
    apart: bool,
    /// Told by a thread that waits for the end of the command; `None` once that is known.
    status: Option<oneshot::Receiver<io::Result<ExitStatus>>>,
}

impl Child {
    /// Starts the command, with these variables.
    pub fn start(
        program: &OsString,
        arguments: &[OsString],
        variables: Vec<(&str, String)>,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).envs(variables);
        let apart = !io::stdin().is_terminal();
        if apart {
            command.process_group(0);
        }
        let mut child = command.spawn()?;
        let id = Pid::from_raw(child.id().cast_signed());
        let (told, status) = oneshot::channel();
        thread::Builder::new().spawn(move || told.send(child.wait()))?;
        Ok(Child {
            id,
            apart,
            status: Some(status),
        })
    }

    /// Sends it a signal, and to what it has started, if it has a process group of its own.
    pub fn signal(&self, kind: Kind) {
        // It fails where nobody is left. The number of a command that has ended may be another process's.
        let _ = match (self.apart, &self.status) {
            (true, _) => killpg(self.id, kind),
            (false, Some(_)) => kill(self.id, kind),
            (false, None) => Ok(()),
        };
    }

    /// Passes signals on until the command ends. Returns its exit status, as a shell has it.
    pub async fn ended(&mut self, signals: &mut Signals) -> Result<u8> {
        loop {
            let Some(status) = &mut self.status else {
                bail!("the command has ended before");
            };
            tokio::select! {
                status = status => {
                    self.status = None;
                    return Ok(code(status.context("nobody waits for the command")??));
                }
                kind = signals.next() => {
                    // What is typed at a terminal goes to the whole group.
                    let typed = matches!(kind, Kind::SIGINT | Kind::SIGQUIT);
                    if self.apart || !typed {
                        self.signal(kind);
                    }
                }
            }
        }
    }

    /// Waits for the end of the command, and kills it if that takes too long.
    pub async fn end_within(&mut self, signals: &mut Signals) -> Result<()> {
        let ended = tokio::select! {
            code = self.ended(signals) => Some(code?),
            () = sleep(ENDING) => None,
        };
        // What the command has started and has not ended with it does not outlive it.
        self.signal(Kind::SIGKILL);
        if ended.is_none() {
            self.ended(signals).await?;
        }
        Ok(())
    }
}

fn code(status: ExitStatus) -> u8 {
    let of_signal = status.signal().map(|signal| 128 + signal);
    // Both are below 256.
    status.code().or(of_signal).unwrap_or(1) as u8
}
