//! All disturbances at once, drawn from a seed; and a check that everything is well when they are over.
//!
//! The scene asks nothing of the replicas that they do not promise: without storage, at any time at most a
//! minority may be down or without the state, so that a kill that would be one too many is left out. A killed
//! replica is started again at its time; nothing else is done for any replica.
mod clients;
mod faults;

use super::{
    Common,
    group::Group,
    meter::{expect_ok, fill},
    schedule::{Act, Step, schedule},
};
use crate::demo::client::Client;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clients::Clients;
use faults::Faults;
use quorate_histories::linearizable;
use redis_protocol::resp2::types::BytesFrame;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

/// How long a replica that is ready may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Cuts, pauses, kills, late starts and disturbed channels, as a seed says.
#[derive(Args, Debug)]
pub struct Mixed {
    #[command(flatten)]
    common: Common,
    /// The seed from which all disturbances and their times are drawn.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the replicas are disturbed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// How long a cut or a pause lasts at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    longest_s: u64,
    /// The longest value, in bytes, up to 8 MiB.
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024 - 64)]
    value: usize,
    /// The size of the store at the beginning.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    store_mib: u64,
    /// How many clients there are.
    #[arg(long, default_value_t = 6)]
    clients: usize,
    /// How soon after the last disturbance every replica has to serve.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    limit_s: u64,
    /// How much memory a replica may occupy at the end [default: 512 MiB and three times the store].
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u64>,
}

/// The replicas in some state, by their ranks.
type Unfit = Rc<RefCell<BTreeSet<usize>>>;

/// The state that the tasks share.
#[derive(Clone)]
struct Stage {
    group: Rc<Group>,
    faults: Rc<Faults>,
    /// The replicas that are down, or do not have the state yet.
    unfit: Unfit,
    /// The replicas that are paused.
    still: Unfit,
    /// How often a replica was killed.
    kills: Rc<Cell<u32>>,
    limit: Duration,
}

impl Mixed {
    /// Plays the scene. Returns an error unless everything held.
    pub async fn play(&self) -> Result<()> {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = self.seed.unwrap_or(clock?.as_millis() as u64);
        println!("{}", self.replay(seed));
        self.play_seed(seed)
            .await
            .with_context(|| format!("again: {}", self.replay(seed)))
    }

    fn replay(&self, seed: u64) -> String {
        format!(
            "quorate chaos mixed --seed {seed} --seconds {} --longest-s {} --replicas {} --transport {} \
             --value {} --store-mib {} --clients {} --limit-s {} --suspicion-ms {}",
            self.seconds,
            self.longest_s,
            self.common.replicas,
            self.common.transport,
            self.value,
            self.store_mib,
            self.clients,
            self.limit_s,
            self.common.suspicion_ms
        )
    }

    async fn play_seed(&self, seed: u64) -> Result<()> {
        ensure!(self.common.replicas >= 3, "three replicas at least");
        ensure!(
            self.value <= 8 * 1024 * 1024 - 64,
            "values of less than 8 MiB"
        );
        let n = self.common.replicas;
        let time = Duration::from_secs(self.seconds);
        let steps = schedule(seed, n, time, Duration::from_secs(self.longest_s));
        let late: Vec<usize> = steps
            .iter()
            .filter_map(|step| match step.act {
                Act::FirstStart(p) => Some(p),
                Act::Kill(_) | Act::Pause(_) | Act::Channels(..) => None,
            })
            .collect();
        let group = Rc::new(self.common.prepare()?);
        for rank in group.ranks().filter(|rank| !late.contains(rank)) {
            group.spawn(rank)?;
        }
        let present: Vec<usize> = group.ranks().filter(|rank| !late.contains(rank)).collect();
        let limit = Duration::from_secs(self.limit_s);
        wait_ready(&group, &present, limit).await?;
        if self.store_mib > 0 {
            self.fill(&group, &present).await?;
        }
        let before: Vec<u64> = group.ranks().map(|rank| group.memory(rank)).collect();

        let clients = Rc::new(Clients::new(seed, self.value, group.clients().to_vec()));
        let mut running = JoinSet::new();
        for client in 0..self.clients {
            let clients = Rc::clone(&clients);
            running.spawn_local(async move { clients.run(client).await });
        }
        let stage = Stage {
            faults: Rc::new(Faults::new(Rc::clone(&group))),
            unfit: Rc::new(RefCell::new(late.into_iter().collect())),
            still: Rc::default(),
            kills: Rc::default(),
            group: Rc::clone(&group),
            limit,
        };
        let disturbed = stage.disturb(steps).await;
        let settled = match disturbed {
            Ok(()) => stage.settle().await,
            Err(error) => Err(error),
        };
        clients.stop();
        while running.join_next().await.is_some() {}
        let back = settled?;
        println!("every replica is ready   {back:.1?} after the last disturbance");
        check_serving(&group).await?;
        let history = clients.history();
        println!(
            "operations               {} with an outcome, {} without, {} refused; {} kills",
            history.done,
            history.unknown,
            history.refused,
            stage.kills.get()
        );
        if let Err(violation) = linearizable::check(&history.operations) {
            bail!("not linearizable: {violation}");
        }
        println!(
            "linearizable             {} operations",
            history.operations.len()
        );
        self.check_memory(&group, &before).await?;
        group.forget_logs();
        Ok(())
    }

    async fn fill(&self, group: &Group, present: &[usize]) -> Result<()> {
        ensure!(
            present.len() == self.common.replicas || self.store_mib <= 64,
            "a store is filled through all replicas: take three, or 64 MiB"
        );
        if present.len() == self.common.replicas {
            fill(group, self.store_mib, 64 * 1024).await?;
        }
        Ok(())
    }

    /// Checks the memory of each replica some time after all disturbances.
    async fn check_memory(&self, group: &Group, before: &[u64]) -> Result<()> {
        let bound = self.memory_mib.unwrap_or(512 + 3 * self.store_mib);
        let begun = Instant::now();
        loop {
            let now: Vec<u64> = group.ranks().map(|rank| group.memory(rank)).collect();
            let most = now.iter().copied().max().unwrap_or_default();
            if most <= bound || begun.elapsed() > Duration::from_secs(30) {
                println!("memory, MiB              {now:?}, at first {before:?}, bound {bound}");
                ensure!(most <= bound, "a replica occupies {most} MiB");
                return Ok(());
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Stage {
    /// Carries out all steps of the schedule.
    async fn disturb(&self, steps: Vec<Step>) -> Result<()> {
        let begun = tokio::time::Instant::now();
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            sleep_until(begun + step.at).await;
            eprintln!("{step}");
            let stage = self.clone();
            tasks.spawn_local(async move { stage.act(number, step).await });
            while let Some(done) = tasks.try_join_next() {
                done??;
            }
            self.group.check_alive()?;
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn act(&self, number: usize, step: Step) -> Result<()> {
        match step.act {
            Act::FirstStart(p) => {
                self.group.spawn(p)?;
                self.wait_fit(p);
                Ok(())
            }
            Act::Kill(p) => {
                if !self.may_be_killed(p) {
                    eprintln!("           p{p} is not killed: too few would be left");
                    return Ok(());
                }
                self.unfit.borrow_mut().insert(p);
                self.kills.set(self.kills.get() + 1);
                self.group.kill(p)?;
                sleep(step.lasts).await;
                self.group.spawn(p)?;
                self.faults.set_again(p).await?;
                self.wait_fit(p);
                Ok(())
            }
            Act::Pause(p) => {
                // A replica that is paused already stays paused until that pause is over.
                if self.unfit.borrow().contains(&p) || !self.still.borrow_mut().insert(p) {
                    return Ok(());
                }
                self.group.pause(p)?;
                sleep(step.lasts).await;
                self.still.borrow_mut().remove(&p);
                self.group.resume(p)
            }
            Act::Channels(channels, disturbance) => {
                self.faults.begin(number, &channels, disturbance).await?;
                sleep(step.lasts).await;
                self.faults.end(number, &channels).await
            }
        }
    }

    /// Whether a majority with the state is left without this replica.
    fn may_be_killed(&self, p: usize) -> bool {
        let unfit = self.unfit.borrow();
        let n = self.group.ranks().count();
        !unfit.contains(&p) && unfit.len() < (n - 1) / 2
    }

    /// Waits until a replica takes part with the state, and then counts it as fit. Cuts may hold it up for
    /// long; whether it recovers at all shows when all disturbances are over.
    fn wait_fit(&self, p: usize) {
        let unfit = Rc::clone(&self.unfit);
        let group = Rc::clone(&self.group);
        tokio::task::spawn_local(async move {
            while group
                .status(p)
                .await
                .is_none_or(|status| status["role"] != "voter")
            {
                sleep(Duration::from_millis(100)).await;
            }
            unfit.borrow_mut().remove(&p);
        });
    }

    /// Ends every disturbance, and waits until all are ready.
    async fn settle(&self) -> Result<Duration> {
        for rank in self.group.ranks() {
            self.group.resume(rank)?;
        }
        for rank in self.group.ranks() {
            // A replica that has just been started does not listen yet.
            let begun = Instant::now();
            while let Err(error) = self.group.heal(rank).await {
                self.group.check_alive()?;
                ensure!(
                    begun.elapsed() < self.limit,
                    "p{rank} is not healed: {error:#}"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
        self.group.all_ready(self.limit).await
    }
}

async fn wait_ready(group: &Group, ranks: &[usize], limit: Duration) -> Result<()> {
    let begun = Instant::now();
    for rank in ranks {
        while let Err(words) = group.ready(*rank).await {
            group.check_alive()?;
            ensure!(
                begun.elapsed() < limit,
                "p{rank} is not ready at first: {words}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Checks that every replica serves: a value written through one is read through the next.
async fn check_serving(group: &Group) -> Result<()> {
    let mut written: Option<String> = None;
    for (rank, server) in group.ranks().zip(group.clients()) {
        let serve = async {
            let mut client = Client::connect(*server).await?;
            client
                .send([&["GET".to_owned(), "last".to_owned()][..]])
                .await?;
            let read = match client.reply().await? {
                BytesFrame::Null => None,
                BytesFrame::BulkString(value) => Some(String::from_utf8_lossy(&value).into_owned()),
                other => bail!("the replica answered {other:?}"),
            };
            ensure!(read == written, "it reads {read:?} instead of {written:?}");
            let value = format!("p{rank}");
            client
                .send([&["SET".to_owned(), "last".to_owned(), value.clone()][..]])
                .await?;
            expect_ok(client.reply().await?)?;
            Ok(value)
        };
        let served = timeout(ANSWER, serve).await;
        let served =
            served.with_context(|| format!("p{rank} does not answer within {ANSWER:?}"))?;
        written = Some(served.with_context(|| format!("p{rank} says that it is ready"))?);
    }
    Ok(())
}
