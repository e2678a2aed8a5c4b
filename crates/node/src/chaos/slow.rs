//! Measures what one slow replica costs the others, and itself.
use super::{
    Common,
    group::Group,
    meter::{Reading, Writers},
};
use anyhow::{Result, ensure};
use clap::Args;
use futures::future::join_all;
use serde_json::json;
use std::{cell::Cell, time::Duration};
use tokio::time::sleep;

/// Slows a follower down.
#[derive(Args, Debug)]
pub struct Slow {
    #[command(flatten)]
    common: Common,
    /// How long the follower is slow.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
    /// How long the follower runs at a time.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5)]
    runs_ms: u64,
    /// How long the follower is then stopped.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 45)]
    stands_ms: u64,
    /// Throttles each channel of the follower to so many bytes a second, instead of stopping it.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        hide_default_value = true
    )]
    rate: u64,
    /// How many writers each replica has, each of which waits for its reply before it writes again.
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// How long the writers' values are.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    value: usize,
    /// How soon the follower has to catch up once it is no longer slow.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    limit_s: u64,
}

impl Slow {
    /// Plays the scene. Returns an error if a replica does not catch up.
    pub async fn play(&self) -> Result<()> {
        let n = self.common.replicas;
        ensure!(n >= 3 && self.writers > 0, "three replicas, and a writer");
        let group = self.common.start().await?;
        let slow = group.leader().await? % n + 1;
        // The writers of each replica are measured separately, because some write through the slow one.
        let writers: Vec<Writers> = group.ranks().map(|_| Writers::new(self.value)).collect();
        let servers = group.clients();
        let writing = writers.iter().zip(servers).flat_map(|(writers, server)| {
            let server = std::slice::from_ref(server);
            (0..self.writers).map(move |first| writers.run(server, first))
        });
        let scene = async {
            let outcome = self.scene(&group, &writers, slow).await;
            writers.iter().for_each(Writers::stop);
            outcome
        };
        let (_, outcome) = tokio::join!(join_all(writing), scene);
        outcome?;
        group.forget_logs();
        Ok(())
    }

    async fn scene(&self, group: &Group, writers: &[Writers], slow: usize) -> Result<()> {
        let length = Duration::from_secs(self.seconds);
        let read = || -> Vec<Reading> { writers.iter().map(Writers::read).collect() };
        sleep(Duration::from_secs(1)).await;
        read();
        sleep(length).await;
        let healthy = read();
        let slowed = Cell::new(true);
        let most = Cell::new(0);
        let (throttled, ()) = tokio::join!(self.throttle(group, slow, &slowed), async {
            for _ in 0..self.seconds.max(1) {
                sleep(Duration::from_secs(1)).await;
                let memory = group.ranks().map(|rank| group.memory(rank)).max();
                most.set(most.get().max(memory.unwrap_or_default()));
            }
            slowed.set(false);
        });
        throttled?;
        let during = read();
        let goal = group.most_delivered().await;
        let limit = Duration::from_secs(self.limit_s);
        let took = group.caught_up(slow, goal, limit).await?;
        println!("{}", Reading::heading());
        for (rank, reading) in group.ranks().zip(&healthy) {
            reading.print(&format!("through p{rank}, healthy"));
        }
        for (rank, reading) in group.ranks().zip(&during) {
            reading.print(&format!("through p{rank}, p{slow} slow"));
        }
        let all = |readings: &[Reading]| readings.iter().map(Reading::rate).sum::<f64>();
        println!(
            "all together             {:.0} writes/s, then {:.0}",
            all(&healthy),
            all(&during)
        );
        println!("the most memory          {} MiB", most.get());
        println!("p{slow} caught up             {took:.2?} after it was slow no more");
        Ok(())
    }

    /// Lets a replica run only for a small part of the time, or throttles its channels, until the scene is
    /// over.
    async fn throttle(&self, group: &Group, rank: usize, slowed: &Cell<bool>) -> Result<()> {
        if self.rate > 0 {
            for other in group.ranks().filter(|other| *other != rank) {
                let fault = json!({ "rate": self.rate });
                group.set_fault(rank, other, fault.clone()).await?;
                group.set_fault(other, rank, fault).await?;
            }
            while slowed.get() {
                sleep(Duration::from_millis(20)).await;
            }
            for rank in group.ranks() {
                group.heal(rank).await?;
            }
            return Ok(());
        }
        while slowed.get() {
            group.pause(rank)?;
            sleep(Duration::from_millis(self.stands_ms)).await;
            group.resume(rank)?;
            sleep(Duration::from_millis(self.runs_ms)).await;
        }
        Ok(())
    }
}
