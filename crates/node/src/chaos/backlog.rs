//! A follower is stopped under many small writes, and then continued: it must be back soon, by itself.
use super::{Common, group::Group, meter::expect_ok};
use crate::demo::client::Client;
use anyhow::{Result, ensure};
use clap::Args;
use std::{
    cell::Cell,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long a reply may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many times a second a group of writes is sent.
const TICKS: u64 = 100;

/// Stops a follower under many small writes.
#[derive(Args, Debug)]
pub struct Backlog {
    #[command(flatten)]
    common: Common,
    /// How long the follower is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    stopped_s: u64,
    /// How many writes are sent a second.
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    /// How soon after it is continued the follower has to be back.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    limit_s: u64,
}

impl Backlog {
    /// Plays the scene. Returns an error unless it held.
    pub async fn play(&self) -> Result<()> {
        let n = self.common.replicas;
        ensure!(
            n >= 3 && self.rate >= TICKS,
            "three replicas, and 100 writes a second"
        );
        let group = self.common.start().await?;
        let leader = group.leader().await?;
        let stopped = leader % n + 1;
        let (goes_on, written) = (Cell::new(true), Cell::new(0));
        let server = group.clients()[leader - 1];
        let scene = async {
            let outcome = self.scene(&group, stopped, &written).await;
            goes_on.set(false);
            outcome
        };
        let (wrote, outcome) = tokio::join!(self.write(server, &goes_on, &written), scene);
        let (while_stopped, took) = outcome?;
        wrote?;
        let rate = while_stopped as f64 / self.stopped_s.max(1) as f64;
        println!("written while stopped    {while_stopped}, {rate:.0} a second");
        println!("caught up                {took:.2?} after it went on");
        for rank in group.ranks() {
            println!("memory of p{rank}             {} MiB", group.memory(rank));
        }
        group.forget_logs();
        Ok(())
    }

    /// Returns how many writes there were while the follower was stopped, and how soon it was back.
    async fn scene(
        &self,
        group: &Group,
        stopped: usize,
        written: &Cell<u64>,
    ) -> Result<(u64, Duration)> {
        sleep(Duration::from_secs(1)).await;
        group.pause(stopped)?;
        let before = written.get();
        sleep(Duration::from_secs(self.stopped_s)).await;
        let after = written.get();
        let goal = group.status(stopped % self.common.replicas + 1).await;
        let goal = goal.as_ref().map_or(0, super::group::delivered);
        group.resume(stopped)?;
        let limit = Duration::from_secs(self.limit_s);
        let took = group.caught_up(stopped, goal, limit).await?;
        Ok((after - before, took))
    }

    /// Sends the due number of writes every few milliseconds, and counts those that are acknowledged.
    async fn write(
        &self,
        server: SocketAddr,
        goes_on: &Cell<bool>,
        written: &Cell<u64>,
    ) -> Result<()> {
        let mut client = Client::connect(server).await?;
        let mut ticks = interval(Duration::from_millis(1000 / TICKS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut number = 0_u64;
        let begun = Instant::now();
        while goes_on.get() {
            ticks.tick().await;
            let count = self.rate / TICKS;
            let words = (0..count).map(|_| {
                number += 1;
                [
                    "SET".into(),
                    format!("b:{}", number % 10_000),
                    format!("{number}"),
                ]
            });
            let words: Vec<[String; 3]> = words.collect();
            client.send(words.iter().map(|words| &words[..])).await?;
            for _ in 0..count {
                expect_ok(timeout(TIMEOUT, client.reply()).await??)?;
            }
            written.set(written.get() + count);
        }
        let rate = written.get() as f64 / begun.elapsed().as_secs_f64();
        eprintln!("{} writes, {rate:.0} a second", written.get());
        Ok(())
    }
}
