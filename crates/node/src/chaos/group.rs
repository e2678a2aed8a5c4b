//! The replicas of a scene. Asking and disturbing them does not hold up the clients.
use crate::{demo::cluster::Cluster, http, settings::Transport};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{task::spawn_blocking, time::sleep};

/// The pause between two questions to a replica whose state is waited for.
const POLL: Duration = Duration::from_millis(20);

/// The replicas.
pub struct Group {
    cluster: RefCell<Cluster>,
    admins: Vec<SocketAddr>,
    clients: Vec<SocketAddr>,
}

impl Group {
    /// Replicas that allow faults, none of them started.
    pub fn prepare(n: usize, transport: Transport, suspicion: Duration) -> Result<Self> {
        let cluster = Cluster::prepare(n, transport, suspicion, &["--faults"])?;
        Ok(Group {
            admins: cluster.admins(),
            clients: cluster.clients(),
            cluster: RefCell::new(cluster),
        })
    }

    /// Their ranks.
    pub fn ranks(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.admins.len()
    }

    /// The addresses for clients, in the order of the ranks.
    pub fn clients(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// Starts a replica, for the first time or again.
    pub fn spawn(&self, rank: usize) -> Result<()> {
        self.cluster.borrow_mut().spawn(rank)
    }

    /// Kills a replica.
    pub fn kill(&self, rank: usize) -> Result<()> {
        self.cluster.borrow_mut().kill(rank)
    }

    /// Stops a replica by a signal.
    pub fn pause(&self, rank: usize) -> Result<()> {
        self.cluster.borrow_mut().signal(rank, Signal::SIGSTOP)
    }

    /// Continues a stopped replica.
    pub fn resume(&self, rank: usize) -> Result<()> {
        self.cluster.borrow_mut().signal(rank, Signal::SIGCONT)
    }

    /// Whether a replica has been started and not killed.
    pub fn runs(&self, rank: usize) -> bool {
        self.cluster.borrow().runs(rank)
    }

    /// How many MiB of memory a replica occupies.
    pub fn memory(&self, rank: usize) -> u64 {
        self.cluster.borrow().memory(rank).unwrap_or_default()
    }

    /// Returns an error if a replica has ended that was not killed.
    pub fn check_alive(&self) -> Result<()> {
        self.cluster.borrow_mut().check_alive()
    }

    fn admin(&self, rank: usize) -> Result<SocketAddr> {
        let admin = self.admins.get(rank.wrapping_sub(1)).copied();
        admin.with_context(|| format!("there is no p{rank}"))
    }

    /// The status of a replica; `None` while it does not answer.
    pub async fn status(&self, rank: usize) -> Option<Value> {
        let admin = self.admin(rank).ok()?;
        let asked = spawn_blocking(move || http::get_json(admin, "/status"));
        asked.await.ok()?.ok()
    }

    /// Whether a replica says that it is ready. The error has what it says instead.
    pub async fn ready(&self, rank: usize) -> Result<(), String> {
        let admin = self.admin(rank).map_err(|error| error.to_string())?;
        let asked = spawn_blocking(move || http::ask(admin, "GET", "/readyz", "")).await;
        match asked {
            Ok(Ok((200, _))) => Ok(()),
            Ok(Ok((_, words))) => Err(words.trim().to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until all replicas are ready, at most for `limit`; returns how long it took.
    pub async fn all_ready(&self, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        for rank in self.ranks() {
            loop {
                let Err(words) = self.ready(rank).await else {
                    break;
                };
                self.check_alive()?;
                ensure!(
                    begun.elapsed() < limit,
                    "p{rank} is not ready after {limit:?}: {words}; the logs are in {}",
                    self.logs()
                );
                sleep(POLL).await;
            }
        }
        Ok(begun.elapsed())
    }

    /// Waits until a replica has delivered `goal` messages and is ready; returns how long it took.
    pub async fn caught_up(&self, rank: usize, goal: u64, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let status = self.status(rank).await.unwrap_or_default();
            let there = status["role"] == "voter" && delivered(&status) >= goal;
            if there && self.ready(rank).await.is_ok() {
                return Ok(begun.elapsed());
            }
            self.check_alive()?;
            ensure!(
                begun.elapsed() < limit,
                "p{rank} has not caught up after {limit:?}: {status}; the logs are in {}",
                self.logs()
            );
            sleep(POLL).await;
        }
    }

    /// The most that any replica has delivered.
    pub async fn most_delivered(&self) -> u64 {
        let mut most = 0;
        for rank in self.ranks() {
            let status = self.status(rank).await;
            most = most.max(status.as_ref().map_or(0, delivered));
        }
        most
    }

    /// Waits until all replicas that answer agree who leads; returns the leader.
    pub async fn leader(&self) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let mut leaders = Vec::new();
            for rank in self.ranks() {
                let status = self.status(rank).await;
                leaders.extend(status.and_then(|status| status["leader"].as_u64()));
            }
            leaders.dedup();
            if let [leader] = leaders[..] {
                return Ok(leader as usize);
            }
            if begun.elapsed() > Duration::from_mins(1) {
                bail!("the replicas trust different leaders: {leaders:?}");
            }
            sleep(POLL).await;
        }
    }

    /// Sets the fault of what `from` sends to `to`. Tries only once, since a stopped replica does not answer.
    pub async fn set_fault(&self, from: usize, to: usize, mut fault: Value) -> Result<()> {
        fault["peer"] = json!(to);
        fault["direction"] = json!("outgoing");
        self.post_fault(from, "POST", fault.to_string()).await
    }

    /// Switches all faults of a replica off.
    pub async fn heal(&self, rank: usize) -> Result<()> {
        self.post_fault(rank, "DELETE", String::new()).await
    }

    async fn post_fault(&self, at: usize, method: &'static str, body: String) -> Result<()> {
        let admin = self.admin(at)?;
        let asked = spawn_blocking(move || http::ask(admin, method, "/faults", &body)).await?;
        let (code, words) = asked?;
        ensure!(code == 200, "p{at} answered {code}: {}", words.trim());
        Ok(())
    }

    /// Where the logs are.
    pub fn logs(&self) -> String {
        self.cluster.borrow().logs()
    }

    /// Removes the logs.
    pub fn forget_logs(&self) {
        self.cluster.borrow().forget_logs();
    }
}

/// How many messages a replica has delivered.
pub fn delivered(status: &Value) -> u64 {
    status["delivered"].as_u64().unwrap_or(0)
}
