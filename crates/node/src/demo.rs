//! `quorate demo`: five replicas, three clients, two of the replicas killed under load; one of them comes
//! back and another is killed, so that a majority needs the one that came back; and a check that nothing
//! was lost, reordered or done twice.
pub mod client;
mod cluster;
mod load;
mod verdict;

use anyhow::{Context, Result, ensure};
use clap::Args;
use cluster::Cluster;
use indicatif::{ProgressBar, ProgressStyle};
use load::{Load, Return};
use serde_json::Value;
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};
use verdict::Verdict;

use crate::configuration::Transport;

const REPLICAS: usize = 5;
const CLIENTS: usize = 3;

/// How long a replica that comes back may take to catch up.
const CATCHING_UP: Duration = Duration::from_secs(30);

/// How long the whole demonstration may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Starts five replicas as processes, kills two of them under load, starts one of these again, kills
/// another that the majority then needs it for, and checks the outcome.
#[derive(Args, Debug)]
pub struct Demo {
    /// How many commands the clients write.
    #[arg(long, default_value_t = 20_000)]
    commands: u64,
    /// What carries the protocol between the replicas.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// How many commands a client sends before it waits for their replies.
    #[arg(long, default_value_t = 8)]
    pipeline: usize,
}

impl Demo {
    /// Runs the demonstration. An error unless everything held.
    pub fn run(self) -> Result<()> {
        ensure!(
            self.commands >= 100 && self.pipeline >= 1,
            "at least 100 commands, at least 1 at a time"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let verdict = runtime.block_on(async {
            tokio::select! {
                held = tokio::time::timeout(PATIENCE, self.play()) => {
                    held.with_context(|| format!("not finished within {PATIENCE:?}"))?
                }
                _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            }
        })?;
        verdict.print();
        ensure!(verdict.held(), "not everything held: see the table");
        Ok(())
    }

    async fn play(&self) -> Result<Verdict> {
        let progress = Progress::new(self.commands);
        let mut cluster = Cluster::start(REPLICAS, self.transport)?;
        cluster.ready().await?;
        progress.say(format!(
            "{REPLICAS} replicas are ready over {}; {CLIENTS} clients write {} commands",
            self.transport, self.commands
        ));
        let load = Load::new(self.commands, self.pipeline, cluster.clients());
        let clients = futures::future::join_all((0..CLIENTS).map(|client| load.run(client)));
        let disturbance = self.disturb(&mut cluster, &load, &progress);
        let ((), disturbed) = tokio::join!(
            async {
                clients.await;
            },
            disturbance
        );
        disturbed?;
        progress.finish();
        let verdict = Verdict::reach(&cluster, load).await;
        if verdict.as_ref().is_ok_and(Verdict::held) {
            cluster.forget_logs();
        }
        verdict
    }

    /// Kills p1, which leads, and then p2; has p1 come back; and kills p3, so that p1 is needed.
    async fn disturb(&self, cluster: &mut Cluster, load: &Load, progress: &Progress) -> Result<()> {
        let part = self.commands / 4;
        reach(part, cluster, load, progress).await?;
        kill(1, cluster, load, progress)?;
        reach(2 * part, cluster, load, progress).await?;
        kill(2, cluster, load, progress)?;
        reach(load.acknowledged() + part / 2, cluster, load, progress).await?;
        self.bring_back(1, cluster, load, progress).await?;
        reach(load.acknowledged() + part / 2, cluster, load, progress).await?;
        kill(3, cluster, load, progress)?;
        progress.say(format!(
            "p{} are left: no majority without p1, which came back",
            [1, 4, 5].map(|rank| rank.to_string()).join(" p")
        ));
        let enough = (load.acknowledged() + part).max(self.commands);
        reach(enough, cluster, load, progress).await?;
        load.release();
        Ok(())
    }

    /// Starts a replica again, and waits until it has delivered as much as the others had by then.
    async fn bring_back(
        &self,
        rank: usize,
        cluster: &mut Cluster,
        load: &Load,
        progress: &Progress,
    ) -> Result<()> {
        let begun = Instant::now();
        cluster.spawn(rank)?;
        progress.say(format!(
            "started p{rank} again, without its memory, after {} acknowledged commands",
            load.acknowledged()
        ));
        let others = cluster.survivors().into_iter().map(|(other, _)| other);
        let others: Vec<usize> = others.filter(|other| *other != rank).collect();
        let delivered = |status: &Value| status["delivered"].as_u64().unwrap_or(0);
        let there = others.iter().filter_map(|other| cluster.status(*other));
        let goal = there.map(|status| delivered(&status)).max().unwrap_or(0);
        loop {
            let status = cluster.status(rank).unwrap_or_default();
            let (delivered, took) = (delivered(&status), begun.elapsed());
            if status["standing"] == "voter" && delivered >= goal {
                let keys = status["keys"].as_u64().unwrap_or(0);
                progress.say(format!(
                    "p{rank} has caught up after {:.0} ms: {delivered} messages, {keys} keys",
                    took.as_secs_f64() * 1000.0
                ));
                load.returned(Return {
                    rank,
                    took,
                    delivered,
                    keys,
                });
                return Ok(());
            }
            ensure!(
                took < CATCHING_UP,
                "p{rank} has not caught up after {CATCHING_UP:?}: {status}"
            );
            cluster.check_alive()?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until so many commands are acknowledged.
async fn reach(goal: u64, cluster: &mut Cluster, load: &Load, progress: &Progress) -> Result<()> {
    while load.acknowledged() < goal {
        progress.show(load.acknowledged());
        cluster.check_alive()?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn kill(rank: usize, cluster: &mut Cluster, load: &Load, progress: &Progress) -> Result<()> {
    cluster.kill(rank)?;
    load.killed(rank, Instant::now());
    progress.say(format!(
        "killed p{rank} after {} acknowledged commands",
        load.acknowledged()
    ));
    Ok(())
}

/// A bar on a terminal, lines elsewhere.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(commands: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(commands);
            let style = "{bar:40} {pos}/{len} commands  {per_sec}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Progress(bar)
    }

    fn show(&self, acknowledged: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(acknowledged);
        }
    }

    fn say(&self, line: String) {
        match &self.0 {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
