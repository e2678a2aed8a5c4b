//! `quorate demo`: five replicas, three clients, two of the replicas killed under load, and a check
//! that nothing was lost, reordered or done twice.
pub mod client;
mod cluster;
mod load;
mod verdict;

use anyhow::{Context, Result, ensure};
use clap::Args;
use cluster::Cluster;
use indicatif::{ProgressBar, ProgressStyle};
use load::Load;
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};
use verdict::Verdict;

use crate::configuration::Transport;

const REPLICAS: usize = 5;
const CLIENTS: usize = 3;

/// How long the whole demonstration may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Starts five replicas as processes, kills two of them under load, and checks the outcome.
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

    /// Kills p1, which leads, after a third of the commands, and p2 after two thirds.
    async fn disturb(&self, cluster: &mut Cluster, load: &Load, progress: &Progress) -> Result<()> {
        let mut victims = [(1, self.commands / 3), (2, self.commands * 2 / 3)].into_iter();
        let mut next = victims.next();
        while load.acknowledged() < self.commands {
            progress.show(load.acknowledged());
            if let Some((rank, at)) = next
                && load.acknowledged() >= at
            {
                cluster.kill(rank)?;
                load.killed(rank, Instant::now());
                progress.say(format!(
                    "killed p{rank} after {} acknowledged commands",
                    load.acknowledged()
                ));
                next = victims.next();
            }
            cluster.check_alive()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ensure!(
            next.is_none(),
            "the clients were done before the second kill"
        );
        Ok(())
    }
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
