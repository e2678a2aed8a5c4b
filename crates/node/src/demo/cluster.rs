//! Replicas as child processes of this one, on free ports of the loopback interface.
use crate::{http, keys, settings::Transport};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long the cluster may take to become ready.
const START: Duration = Duration::from_secs(30);

struct Replica {
    rank: usize,
    /// How often it was started.
    starts: usize,
    client: SocketAddr,
    admin: SocketAddr,
    /// `None` once killed.
    child: Option<Child>,
}

/// The replicas. Those that still run are killed when this is dropped; should this process be killed
/// itself, they stop because their standard input ends.
pub struct Cluster {
    replicas: Vec<Replica>,
    executable: PathBuf,
    /// The arguments that all replicas get.
    arguments: Vec<String>,
    logs: PathBuf,
    /// Where the keys of the replicas are.
    keys: PathBuf,
}

impl Cluster {
    /// Starts `n` replicas.
    pub fn start(n: usize, transport: Transport, suspicion: Duration) -> Result<Self> {
        let mut cluster = Self::prepare(n, transport, suspicion, &[])?;
        for rank in 1..=n {
            cluster.spawn(rank)?;
        }
        Ok(cluster)
    }

    /// A cluster of `n` replicas, none of which is started yet. All get the arguments `more`.
    pub fn prepare(
        n: usize,
        transport: Transport,
        suspicion: Duration,
        more: &[&str],
    ) -> Result<Self> {
        let executable = std::env::current_exe().context("cannot find the own executable")?;
        let name = format!("quorate-demo-{}", std::process::id());
        let logs = std::env::temp_dir().join(name);
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let keys = logs.join("keys");
        let identities = keys::cluster::make(&keys, n)?;
        let ports = free_ports(3 * n)?;
        let peers: Vec<String> = ports[..n].iter().map(ToString::to_string).collect();
        let peers = peers.join(",");
        let arguments = ["node", "--stop-at-end-of-input", "--cluster", "demo"];
        let (transport, suspicion) = (transport.to_string(), suspicion.as_millis().to_string());
        let chosen = [
            "--peers",
            &peers,
            "--transport",
            &transport,
            "--suspicion-ms",
            &suspicion,
            "--identities-file",
            &identities.display().to_string(),
        ];
        let arguments = arguments.iter().chain(&chosen).chain(more);
        let replicas = (1..=n).map(|rank| Replica {
            rank,
            starts: 0,
            client: ports[n + rank - 1],
            admin: ports[2 * n + rank - 1],
            child: None,
        });
        Ok(Cluster {
            replicas: replicas.collect(),
            executable,
            arguments: arguments.map(ToString::to_string).collect(),
            logs,
            keys,
        })
    }

    fn replica(&mut self, rank: usize) -> Result<&mut Replica> {
        let found = self.replicas.iter_mut().find(|r| r.rank == rank);
        found.with_context(|| format!("there is no p{rank}"))
    }

    /// Starts a replica, for the first time or again. A replica that is started again has lost its memory.
    pub fn spawn(&mut self, rank: usize) -> Result<()> {
        let mut command = Command::new(&self.executable);
        command
            .args(&self.arguments)
            .env_remove("QUORATE_CONFIG")
            .env_remove("QUORATE_BIND")
            .env_remove("QUORATE_IDENTITIES")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let secret = keys::cluster::secret(&self.keys, rank);
        let replica = self.replica(rank)?;
        replica.starts += 1;
        command
            .args(["--id", &rank.to_string()])
            .arg("--secret")
            .arg(secret)
            .args(["--client", &replica.client.to_string()])
            .args(["--admin", &replica.admin.to_string()]);
        let log = self.log(rank)?;
        command.stderr(File::create(log)?);
        let child = command.spawn().context("cannot start a replica")?;
        self.replica(rank)?.child = Some(child);
        Ok(())
    }

    fn log(&mut self, rank: usize) -> Result<PathBuf> {
        let name = match self.replica(rank)?.starts {
            1 => format!("p{rank}.log"),
            start => format!("p{rank}-{start}.log"),
        };
        Ok(self.logs.join(name))
    }

    /// Waits until every replica is ready to serve.
    pub async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + START;
        loop {
            self.check_alive()?;
            let ready = |replica: &Replica| {
                let answer = http::ask(replica.admin, "GET", "/readyz", "");
                answer.is_ok_and(|(code, _)| code == 200)
            };
            if self.replicas.iter().all(ready) {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "the replicas are not ready after {START:?}; their logs are in {}",
                self.logs.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns an error if a replica has ended that was not killed.
    pub fn check_alive(&mut self) -> Result<()> {
        for index in 0..self.replicas.len() {
            let replica = &mut self.replicas[index];
            let rank = replica.rank;
            let Some(child) = &mut replica.child else {
                continue;
            };
            if let Some(status) = child.try_wait()? {
                let log = self.log(rank)?;
                let log = fs::read_to_string(log).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it logged nothing");
                bail!("p{rank} ended by itself ({status}): {last}");
            }
        }
        Ok(())
    }

    /// Kills a replica with SIGKILL.
    pub fn kill(&mut self, rank: usize) -> Result<()> {
        if let Some(mut child) = self.replica(rank)?.child.take() {
            child
                .kill()
                .with_context(|| format!("cannot kill p{rank}"))?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends a signal to a replica that runs.
    pub fn signal(&mut self, rank: usize, signal: Signal) -> Result<()> {
        if let Some(child) = &self.replica(rank)?.child {
            let process = i32::try_from(child.id()).context("that is no process")?;
            kill(Pid::from_raw(process), signal)
                .with_context(|| format!("cannot send {signal} to p{rank}"))?;
        }
        Ok(())
    }

    /// Whether a replica has been started and not killed.
    pub fn runs(&self, rank: usize) -> bool {
        let mut replicas = self.replicas.iter();
        replicas.any(|replica| replica.rank == rank && replica.child.is_some())
    }

    /// How many MiB of memory a replica occupies; `None` if it does not run.
    pub fn memory(&self, rank: usize) -> Option<u64> {
        let replica = self.replicas.iter().find(|r| r.rank == rank)?;
        let process = replica.child.as_ref()?.id();
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024)
    }

    /// The addresses for HTTP, in the order of the ranks.
    pub fn admins(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.admin).collect()
    }

    /// The addresses for clients, in the order of the ranks.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.client).collect()
    }

    /// The replicas that run: their ranks and their addresses for clients.
    pub fn survivors(&self) -> Vec<(usize, SocketAddr)> {
        let alive = self
            .replicas
            .iter()
            .filter(|replica| replica.child.is_some());
        alive
            .map(|replica| (replica.rank, replica.client))
            .collect()
    }

    /// The status of a replica; `None` while it does not answer.
    pub fn status(&self, rank: usize) -> Option<Value> {
        let replica = self.replicas.iter().find(|r| r.rank == rank)?;
        http::get_json(replica.admin, "/status").ok()
    }

    /// The status of each replica that runs.
    pub fn statuses(&self) -> Result<Vec<(usize, Value)>> {
        let alive = self
            .replicas
            .iter()
            .filter(|replica| replica.child.is_some());
        alive
            .map(|replica| Ok((replica.rank, http::get_json(replica.admin, "/status")?)))
            .collect()
    }

    /// Where the logs of the replicas are.
    pub fn logs(&self) -> String {
        self.logs.display().to_string()
    }

    /// Removes the logs, which are not needed any more.
    pub fn forget_logs(&self) {
        let _ = fs::remove_dir_all(&self.logs);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.replicas.iter_mut().filter_map(|r| r.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Loopback addresses whose ports are free for UDP and TCP. They lie below the ports that the system
/// gives to outgoing connections, which could take them before the replicas do.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let offset = std::process::id() as usize * 101;
    let candidates = (0..20_000).map(|number| 12_000 + ((offset + number) % 20_000) as u16);
    let free: Vec<SocketAddr> = candidates
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .filter(|address| TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok())
        .take(count)
        .collect();
    ensure!(free.len() == count, "there are not {count} free ports");
    Ok(free)
}
