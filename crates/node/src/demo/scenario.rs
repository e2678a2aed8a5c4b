//! The scenarios: what is done to the replicas while the clients write.
use super::{
    Progress,
    cluster::Cluster,
    load::{Load, Return},
};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long a replica that comes back may take to catch up.
const CATCHING_UP: Duration = Duration::from_secs(30);

/// How long it may take until all agree who leads, or all clients are served.
const SETTLING: Duration = Duration::from_secs(30);

/// Commands that are acknowledged between two kills of leaders.
const BETWEEN: u64 = 500;

/// What a scenario acts on.
pub struct Scenario<'a> {
    /// The replicas.
    pub cluster: &'a mut Cluster,
    /// The work of the clients.
    pub load: &'a Load,
    /// Shows the progress.
    pub progress: &'a Progress,
}

impl Scenario<'_> {
    /// Kills p1, which leads, and then p2; has p1 come back; and kills p3, so that p1 is needed.
    pub async fn kill_and_bring_back(&mut self, commands: u64) -> Result<()> {
        let part = commands / 4;
        self.reach(part).await?;
        self.kill(1)?;
        self.reach(2 * part).await?;
        self.kill(2)?;
        self.reach(self.load.acknowledged() + part / 2).await?;
        self.bring_back(1).await?;
        self.reach(self.load.acknowledged() + part / 2).await?;
        self.kill(3)?;
        let left = "p1 p4 p5 are left: without p1, which came back, they are no majority";
        self.progress.say(left.to_owned());
        let enough = self.load.acknowledged() + part;
        self.reach(enough.max(commands)).await?;
        Ok(())
    }

    /// Kills the leader again and again, and starts it again each time.
    pub async fn kill_leaders(&mut self, kills: u32) -> Result<()> {
        for _ in 0..kills {
            self.reach(self.load.acknowledged() + BETWEEN).await?;
            let leader = self.leader().await?;
            self.kill(leader)?;
            self.wait_for("all clients are served", Load::all_served)
                .await?;
            self.bring_back(leader).await?;
        }
        self.reach(self.load.acknowledged() + BETWEEN).await?;
        Ok(())
    }

    /// Waits until `goal` commands are acknowledged.
    async fn reach(&mut self, goal: u64) -> Result<()> {
        while self.load.acknowledged() < goal {
            self.progress.show(self.load.acknowledged());
            self.cluster.check_alive()?;
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn wait_for(&mut self, what: &str, condition: impl Fn(&Load) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !condition(self.load) {
            ensure!(begun.elapsed() < SETTLING, "waited in vain until {what}");
            self.cluster.check_alive()?;
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits until all replicas agree who leads; returns the leader.
    async fn leader(&mut self) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let statuses = self.cluster.statuses()?;
            let mut leaders = statuses.iter().map(|(_, status)| status["leader"].as_u64());
            if let Some(Some(leader)) = leaders.next()
                && leaders.all(|other| other == Some(leader))
            {
                return Ok(leader as usize);
            }
            ensure!(
                begun.elapsed() < SETTLING,
                "the replicas trust different leaders"
            );
            self.cluster.check_alive()?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn kill(&mut self, rank: usize) -> Result<()> {
        self.cluster.kill(rank)?;
        self.load.killed(rank, Instant::now());
        let acknowledged = self.load.acknowledged();
        self.progress.say(format!(
            "killed p{rank} after {acknowledged} acknowledged commands"
        ));
        Ok(())
    }

    /// Starts a replica again, and waits until it has delivered as much as the others had by then.
    async fn bring_back(&mut self, rank: usize) -> Result<()> {
        let others = self.cluster.statuses()?;
        let goal = others.iter().map(|(_, status)| delivered(status)).max();
        let begun = Instant::now();
        self.cluster.spawn(rank)?;
        let acknowledged = self.load.acknowledged();
        self.progress.say(format!(
            "started p{rank} again, without its memory, after {acknowledged} acknowledged commands"
        ));
        loop {
            let status = self.cluster.status(rank).unwrap_or_default();
            let took = begun.elapsed();
            if status["role"] == "voter" && Some(delivered(&status)) >= goal {
                let back = Return {
                    rank,
                    took,
                    delivered: delivered(&status),
                    keys: status["keys"].as_u64().unwrap_or(0),
                };
                self.progress.say(back.to_string());
                self.load.returned(back);
                return Ok(());
            }
            ensure!(
                took < CATCHING_UP,
                "p{rank} has not caught up after {CATCHING_UP:?}: {status}"
            );
            self.cluster.check_alive()?;
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How many messages a replica has delivered.
fn delivered(status: &Value) -> u64 {
    status["delivered"].as_u64().unwrap_or(0)
}
