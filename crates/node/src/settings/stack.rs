//! `[stack]`: which algorithms run, by the names of the stacks.
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use quorate_detectors::exclude_on_timeout;
use quorate_runtime::node::GroupOrder;
use quorate_stacks::{
    agreements::{Commit, Consensus},
    broadcasts::Needs,
};
use serde::Deserialize;
use std::time::Duration;

/// The table `[stack]`. All of it must be the same everywhere.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[group(id = "stack")]
#[serde(deny_unknown_fields)]
pub(super) struct Choices {
    /// How commands are ordered: by-leader or by-consensus.
    #[arg(long, env = "QUORATE_TOTAL_ORDER", value_name = "ALGORITHM")]
    total_order: Option<String>,
    /// The consensus behind `quorate propose`: by-total-order, leader-driven, …
    #[arg(long, env = "QUORATE_CONSENSUS", value_name = "ALGORITHM")]
    consensus: Option<String>,
    /// The atomic commit behind `quorate commit`: two-phase or non-blocking.
    #[arg(long, env = "QUORATE_COMMIT", value_name = "ALGORITHM")]
    commit: Option<String>,
    /// What may be assumed of the system: synchronous, for algorithms that need it.
    #[arg(long, env = "QUORATE_ASSUME", value_name = "ASSUMPTION")]
    assume: Option<String>,
    /// In a synchronous system: how long a heartbeat takes at most, in milliseconds.
    #[arg(long, env = "QUORATE_DELAY_MS")]
    delay_ms: Option<u64>,
    /// In a synchronous system: how many heartbeats in a row are lost at most.
    #[arg(long, env = "QUORATE_LOSSES")]
    losses: Option<u32>,
}

impl Choices {
    /// These settings, and where one is not set, that of `below`.
    pub(super) fn over(self, below: Choices) -> Choices {
        Choices {
            total_order: self.total_order.or(below.total_order),
            consensus: self.consensus.or(below.consensus),
            commit: self.commit.or(below.commit),
            assume: self.assume.or(below.assume),
            delay_ms: self.delay_ms.or(below.delay_ms),
            losses: self.losses.or(below.losses),
        }
    }

    /// Checks the settings and completes them by defaults; `heartbeat` is the time between two heartbeats.
    pub(super) fn complete(self, heartbeat: Duration) -> Result<Stack> {
        let consensus = self.consensus.as_deref().map(str::parse).transpose();
        let commit = self.commit.as_deref().map(str::parse).transpose();
        let stack = Stack {
            order: order(self.total_order.as_deref())?,
            consensus: consensus
                .context("`consensus`")?
                .unwrap_or(Consensus::ByTotalOrder),
            commit: commit.context("`commit`")?.unwrap_or(Commit::TwoPhase),
            synchrony: self.synchrony(heartbeat)?,
        };
        if stack.synchrony.is_none() {
            let needs = [
                ("consensus", stack.consensus.name(), stack.consensus.needs()),
                ("commit", stack.commit.name(), stack.commit.needs()),
            ];
            if let Some((key, name, _)) = needs.iter().find(|(.., n)| *n == Needs::Perfect) {
                bail!(
                    "`{key} = \"{name}\"` needs a synchronous system: if yours is one, add \
                     `assume = \"synchronous\"` to the table `[stack]`"
                );
            }
        }
        Ok(stack)
    }

    fn synchrony(
        &self,
        heartbeat: Duration,
    ) -> Result<Option<exclude_on_timeout::SynchronyBounds>> {
        match self.assume.as_deref() {
            Some("synchronous") => {
                let delay = Duration::from_millis(self.delay_ms.unwrap_or(1000));
                let bounds = exclude_on_timeout::SynchronyBounds::new(heartbeat, delay)?;
                Ok(Some(bounds.losses(self.losses.unwrap_or(3))))
            }
            Some(other) => bail!("`assume` is `{other}`: the only choice is `synchronous`"),
            None => {
                ensure!(
                    self.delay_ms.is_none() && self.losses.is_none(),
                    "`delay_ms` and `losses` mean nothing without `assume = \"synchronous\"`"
                );
                Ok(None)
            }
        }
    }
}

/// Which algorithms run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    /// How commands are ordered.
    pub order: GroupOrder,
    /// The consensus that decides proposals.
    pub consensus: Consensus,
    /// The atomic commit that decides outcomes.
    pub commit: Commit,
    /// The bounds of the system, if it may be assumed to be synchronous.
    pub synchrony: Option<exclude_on_timeout::SynchronyBounds>,
}

fn order(name: Option<&str>) -> Result<GroupOrder> {
    let order = name.map(str::parse).transpose();
    Ok(order.context("`total_order`")?.unwrap_or_default())
}
