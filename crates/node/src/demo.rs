//! `quorate demo`: five replicas, three clients, two of the replicas killed under load; one of them comes
//! back and another is killed, so that a majority needs the one that came back; and a check that nothing
//! was lost, reordered or done twice.
pub mod client;
pub mod cluster;
mod load;
mod scenario;
mod verdict;

use anyhow::{Context, Result, ensure};
use clap::Args;
use cluster::Cluster;
use indicatif::{ProgressBar, ProgressStyle};
use load::Load;
use scenario::Scenario;
use std::{io::IsTerminal, time::Duration};
use verdict::Verdict;

use crate::settings::Transport;

const REPLICAS: usize = 5;
const CLIENTS: usize = 3;

/// How long the whole demonstration may take,
const TIMEOUT: Duration = Duration::from_mins(3);
/// …and each kill of a leader.
const TIMEOUT_A_KILL: Duration = Duration::from_secs(40);

/// The silence after which the replicas suspect each other.
const SUSPICION: Duration = Duration::from_millis(500);

/// The longest that a client may wait when the leader is killed, in suspicion timeouts.
const LONGEST_PAUSE: u32 = 4;

/// Starts five replicas as processes, kills two of them under load, starts one of these again, kills another,
/// so that a majority needs the one that came back, and checks the outcome.
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
    /// Kill the leader so many times instead, and have it come back each time; and check that no client
    /// ever waits for longer than four suspicion timeouts.
    #[arg(long, default_value_t = 0, value_name = "KILLS")]
    leader_kills: u32,
}

impl Demo {
    /// Runs the demonstration. Returns an error unless everything held.
    pub fn run(self) -> Result<()> {
        ensure!(
            self.commands >= 100 && self.pipeline >= 1,
            "at least 100 commands, at least 1 at a time"
        );
        let limit = TIMEOUT + TIMEOUT_A_KILL * self.leader_kills;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let verdict = runtime.block_on(async {
            tokio::select! {
                held = tokio::time::timeout(limit, self.play()) => {
                    held.with_context(|| format!("not finished within {limit:?}"))?
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
        let mut cluster = Cluster::start(REPLICAS, self.transport, SUSPICION)?;
        cluster.ready().await?;
        progress.say(format!(
            "{REPLICAS} replicas are ready over {}; {CLIENTS} clients write {} commands",
            self.transport, self.commands
        ));
        let load = Load::new(self.pipeline, cluster.clients());
        let clients = futures::future::join_all((0..CLIENTS).map(|client| load.run(client)));
        let mut scenario = Scenario {
            cluster: &mut cluster,
            load: &load,
            progress: &progress,
        };
        let disturbance = async {
            let outcome = match self.leader_kills {
                0 => scenario.kill_and_bring_back(self.commands).await,
                kills => scenario.kill_leaders(kills).await,
            };
            // The clients may end, even after an error.
            load.release();
            outcome
        };
        let ((), disturbed) = tokio::join!(
            async {
                clients.await;
            },
            disturbance
        );
        disturbed?;
        progress.finish();
        let limit = (self.leader_kills > 0).then_some(SUSPICION * LONGEST_PAUSE);
        let verdict = Verdict::reach(&cluster, load, limit).await;
        if verdict.as_ref().is_ok_and(Verdict::held) {
            cluster.forget_logs();
        }
        verdict
    }
}

/// Shows progress: a bar on a terminal, lines elsewhere.
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
