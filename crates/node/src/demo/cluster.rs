//! Replicas as child processes of this one, on free ports of the loopback interface.
use crate::{configuration::Transport, http};
use anyhow::{Context, Result, bail, ensure};
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
    client: SocketAddr,
    admin: SocketAddr,
    /// `None` once killed.
    child: Option<Child>,
}

/// The replicas. Those that still run are killed when this is dropped; should this process be killed
/// itself, they stop because their standard input ends.
pub struct Cluster {
    replicas: Vec<Replica>,
    logs: PathBuf,
}

impl Cluster {
    /// Starts `n` replicas.
    pub fn start(n: usize, transport: Transport) -> Result<Self> {
        let executable = std::env::current_exe().context("cannot find the own executable")?;
        let name = format!("quorate-demo-{}", std::process::id());
        let logs = std::env::temp_dir().join(name);
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let ports = free_ports(3 * n)?;
        let peers: Vec<String> = ports[..n].iter().map(ToString::to_string).collect();
        let peers = peers.join(",");
        let mut cluster = Cluster {
            replicas: Vec::new(),
            logs,
        };
        for rank in 1..=n {
            let (client, admin) = (ports[n + rank - 1], ports[2 * n + rank - 1]);
            let log = File::create(cluster.log(rank))?;
            let child = Command::new(&executable)
                .args(["node", "--stop-at-end-of-input", "--cluster", "demo"])
                .args(["--id", &rank.to_string(), "--peers", &peers])
                .args([
                    "--client",
                    &client.to_string(),
                    "--admin",
                    &admin.to_string(),
                ])
                .args(["--transport", &transport.to_string()])
                .env_remove("QUORATE_CONFIG")
                .env_remove("QUORATE_BIND")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .context("cannot start a replica")?;
            cluster.replicas.push(Replica {
                rank,
                client,
                admin,
                child: Some(child),
            });
        }
        Ok(cluster)
    }

    fn log(&self, rank: usize) -> PathBuf {
        self.logs.join(format!("p{rank}.log"))
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

    /// An error if a replica ended that nobody killed.
    pub fn check_alive(&mut self) -> Result<()> {
        for index in 0..self.replicas.len() {
            let replica = &mut self.replicas[index];
            let rank = replica.rank;
            let Some(child) = &mut replica.child else {
                continue;
            };
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(self.log(rank)).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it logged nothing");
                bail!("p{rank} ended by itself ({status}): {last}");
            }
        }
        Ok(())
    }

    /// Kills a replica with SIGKILL.
    pub fn kill(&mut self, rank: usize) -> Result<()> {
        let replica = self
            .replicas
            .iter_mut()
            .find(|replica| replica.rank == rank);
        if let Some(mut child) = replica.and_then(|replica| replica.child.take()) {
            child
                .kill()
                .with_context(|| format!("cannot kill p{rank}"))?;
            child.wait()?;
        }
        Ok(())
    }

    /// Where clients reach the replicas, in the order of their ranks.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.client).collect()
    }

    /// The replicas that were not killed: rank, and where clients reach them.
    pub fn survivors(&self) -> Vec<(usize, SocketAddr)> {
        let alive = self
            .replicas
            .iter()
            .filter(|replica| replica.child.is_some());
        alive
            .map(|replica| (replica.rank, replica.client))
            .collect()
    }

    /// What each survivor says of itself.
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

    /// Removes the logs: nobody will want to read them.
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
