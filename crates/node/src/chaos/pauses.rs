//! Pauses of growing length, a time without disturbance, and the leader's death, which must not cost much
//! more than in a fresh cluster.
use super::{
    Common,
    group::Group,
    meter::{expect_ok, value},
};
use crate::demo::client::Client;
use anyhow::{Context, Result, ensure};
use clap::Args;
use futures::future::join_all;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// How long it may take until all are served again.
const LIMIT: Duration = Duration::from_mins(2);

/// Pauses replicas again and again, leaves them alone for a while, and kills the leader.
#[derive(Args, Debug)]
pub struct Pauses {
    #[command(flatten)]
    common: Common,
    /// How many pauses, of the leader and of a follower in turn.
    #[arg(long = "pauses", default_value_t = 10)]
    count: u32,
    /// How long the last pause is; the pauses before it grow up to this.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000)]
    longest_ms: u64,
    /// How long the replicas are left alone before the leader is killed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    health_s: u64,
    /// How many times as long as in a fresh cluster the service may be interrupted.
    #[arg(long, default_value_t = 3.0)]
    factor: f64,
    /// How often a fresh cluster is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    fresh: usize,
}

impl Pauses {
    /// Plays the scene. Returns an error unless it held.
    pub async fn play(&self) -> Result<()> {
        let mut fresh = Vec::new();
        for _ in 0..self.fresh.max(1) {
            let group = self.common.start().await?;
            sleep(Duration::from_secs(2)).await;
            fresh.push(kill_leader(&group).await?);
            group.forget_logs();
        }
        fresh.sort();
        let fresh = fresh[fresh.len() / 2];
        println!("served again, fresh      {fresh:.0?} after the leader's death");

        let group = self.common.start().await?;
        let longest = Duration::from_millis(self.longest_ms);
        for pause in 1..=self.count {
            let leader = group.leader().await?;
            let next = leader % self.common.replicas + 1;
            let rank = if pause % 2 == 1 { leader } else { next };
            let length = longest * pause / self.count;
            group.pause(rank)?;
            sleep(length).await;
            group.resume(rank)?;
            let took = group.all_ready(LIMIT).await?;
            eprintln!("p{rank} stood still for {length:.1?}; all were ready {took:.1?} later");
        }
        sleep(Duration::from_secs(self.health_s)).await;
        let worn = kill_leader(&group).await?;
        println!(
            "served again, later      {worn:.0?} after the leader's death, {} pauses and {} s of health",
            self.count, self.health_s
        );
        let ratio = worn.as_secs_f64() / fresh.as_secs_f64();
        ensure!(ratio <= self.factor, "that is {ratio:.1} times as long");
        group.forget_logs();
        Ok(())
    }
}

/// Kills the leader; returns how long it takes until each of the others has acknowledged a write.
async fn kill_leader(group: &Group) -> Result<Duration> {
    let leader = group.leader().await?;
    group.kill(leader)?;
    let begun = Instant::now();
    let others = group.ranks().filter(|rank| *rank != leader);
    let others = others.filter_map(|rank| group.clients().get(rank - 1));
    let served = join_all(others.map(|server| served(*server)));
    let served = timeout(LIMIT, served).await;
    served.with_context(|| format!("not served {LIMIT:?} after the leader's death"))?;
    Ok(begun.elapsed())
}

/// Waits until a replica acknowledges a write.
async fn served(server: SocketAddr) {
    for number in 0.. {
        let write = async {
            let mut client = Client::connect(server).await?;
            let words = ["SET".to_owned(), "k".to_owned(), value(number, 10)];
            client.send([&words[..]]).await?;
            expect_ok(client.reply().await?)
        };

        if let Ok(Ok(())) = timeout(Duration::from_secs(10), write).await {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
