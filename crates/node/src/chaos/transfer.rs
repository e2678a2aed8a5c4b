//! Measures what writers notice while a replica is started again and given a large state.
use super::{
    Common,
    meter::{Reading, Writers, fill},
};
use anyhow::{Result, ensure};
use clap::Args;
use futures::future::join_all;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Gives a replica that was started again a large state, under load.
#[derive(Args, Debug)]
pub struct Transfer {
    #[command(flatten)]
    common: Common,
    /// How large the store is.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    store_mib: u64,
    /// How long the values in the store are.
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024)]
    value: usize,
    /// How many writers there are, each of which waits for its reply before it writes again.
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// How long the writers' values are.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    written: usize,
    /// How long the load is measured without a transfer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    baseline_s: u64,
    /// How long the transfer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit_s: u64,
    /// By how much the writers' 99.9th percentile may rise.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50)]
    rise_ms: u64,
    /// How long a writer may wait at most during the transfer.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    longest_ms: u64,
}

impl Transfer {
    /// Plays the scene. Returns an error unless it held.
    pub async fn play(&self) -> Result<()> {
        let group = self.common.start().await?;
        let n = self.common.replicas;
        ensure!(n >= 3, "a transfer under load takes three replicas");
        ensure!(
            self.value > 0 && self.writers > 0,
            "no values, or no writers"
        );
        let begun = Instant::now();
        fill(&group, self.store_mib, self.value).await?;
        eprintln!(
            "filled the store with {} MiB in {:.1?}",
            self.store_mib,
            begun.elapsed()
        );

        let writers = Writers::new(self.written);
        // No writer uses the replica that is killed.
        let servers = &group.clients()[..n - 1];
        let writing = join_all((0..self.writers).map(|first| writers.run(servers, first)));
        let measure = async {
            sleep(Duration::from_secs(1)).await;
            writers.read();
            sleep(Duration::from_secs(self.baseline_s)).await;
            let baseline = writers.read();
            group.kill(n)?;
            sleep(self.common.suspicion() * 4).await;
            writers.read();
            sleep(Duration::from_secs(self.baseline_s)).await;
            let without = writers.read();
            let goal = group.most_delivered().await;
            let begun = Instant::now();
            group.spawn(n)?;
            let limit = Duration::from_secs(self.limit_s);
            let caught_up = group.caught_up(n, goal, limit).await;
            let took = begun.elapsed();
            let during = writers.read();
            writers.stop();
            caught_up.map(|_| (baseline, without, during, took))
        };
        let (_, measured) = tokio::join!(writing, async {
            let measured = measure.await;
            writers.stop();
            measured
        });
        let (baseline, without, during, took) = measured?;
        println!("{}", Reading::heading());
        baseline.print("all are there");
        without.print(&format!("without p{n}"));
        during.print(&format!("p{n} is given the state"));
        println!(
            "caught up after          {:.2} s, {} MiB",
            took.as_secs_f64(),
            self.store_mib
        );
        for rank in group.ranks() {
            println!("memory of p{rank}             {} MiB", group.memory(rank));
        }
        let rise = during
            .quantile(0.999)
            .saturating_sub(baseline.quantile(0.999));
        ensure!(
            rise <= Duration::from_millis(self.rise_ms),
            "the 99.9th percentile rose by {rise:.1?}"
        );
        ensure!(
            during.longest() <= Duration::from_millis(self.longest_ms),
            "a writer waited for {:.1?}",
            during.longest()
        );
        group.forget_logs();
        Ok(())
    }
}
