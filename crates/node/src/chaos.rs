//! `quorate chaos`: runs replicas as operating-system processes under load, disturbs them, and checks that
//! each recovers by itself afterwards.
//!
//! | scene | what it shows |
//! |---|---|
//! | [`mixed`] | cuts, pauses, kills, late starts and disturbed channels by a seed; histories are linearizable, and at the end every replica serves |
//! | [`transfer`] | what the writers notice when a replica is given a large state |
//! | [`pauses`] | that a leader's death costs no more after many pauses than when all was fresh |
//! | [`backlog`] | that a follower that stood still under many small writes is back soon |
//! | [`slow`] | what one slow replica costs the others |
mod backlog;
mod group;
mod meter;
mod mixed;
mod pauses;
mod schedule;
mod slow;
mod transfer;

use crate::settings::Transport;
use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use group::Group;
use std::time::Duration;

/// Disturbs replicas under load, and checks that none is lost.
#[derive(Args, Debug)]
pub struct Chaos {
    #[command(subcommand)]
    scene: Scene,
}

#[derive(Subcommand, Debug)]
enum Scene {
    /// Cuts, pauses, kills, late starts and disturbed channels, as a seed says.
    Mixed(mixed::Mixed),
    /// Gives a replica that was started again a large state, under load.
    Transfer(transfer::Transfer),
    /// Pauses replicas again and again, leaves them alone for a while, and kills the leader.
    Pauses(pauses::Pauses),
    /// Stops a follower under many small writes.
    Backlog(backlog::Backlog),
    /// Slows a follower down.
    Slow(slow::Slow),
}

/// The options that all scenes share.
#[derive(Args, Clone, Debug)]
struct Common {
    /// How many replicas there are.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// What carries the protocol between the replicas.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// The silence after which the replicas suspect each other at first.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    suspicion_ms: u64,
}

impl Common {
    /// The silence after which the replicas suspect each other at first.
    fn suspicion(&self) -> Duration {
        Duration::from_millis(self.suspicion_ms)
    }

    /// The replicas, started and ready.
    async fn start(&self) -> Result<Group> {
        let group = self.prepare()?;
        for rank in group.ranks() {
            group.spawn(rank)?;
        }
        group.all_ready(Duration::from_mins(1)).await?;
        Ok(group)
    }

    /// The replicas, none of them started.
    fn prepare(&self) -> Result<Group> {
        ensure!(
            (1..=9).contains(&self.replicas),
            "one to nine replicas: each is a process of this machine"
        );
        Group::prepare(self.replicas, self.transport, self.suspicion())
    }
}

impl Chaos {
    /// Plays the scene. Returns an error unless everything held.
    pub fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let play = async {
            match self.scene {
                Scene::Mixed(scene) => scene.play().await,
                Scene::Transfer(scene) => scene.play().await,
                Scene::Pauses(scene) => scene.play().await,
                Scene::Backlog(scene) => scene.play().await,
                Scene::Slow(scene) => scene.play().await,
            }
        };
        let tasks = tokio::task::LocalSet::new();
        runtime.block_on(async {
            tokio::select! {
                held = tasks.run_until(play) => held,
                _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            }
        })
    }
}
