//! `[stack]`: which algorithms run, by the names of the catalogue.
use anyhow::{Result, bail};
use clap::Args;
use quorate_catalogue::broadcasts::{self, Broadcast};
use serde::Deserialize;
use std::fmt;

/// The table `[stack]`. All of it must be the same everywhere.
#[derive(Args, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choices {
    /// How commands are ordered: by-leader or by-consensus.
    #[arg(long, env = "QUORATE_TOTAL_ORDER", value_name = "ALGORITHM")]
    total_order: Option<String>,
}

impl Choices {
    /// These settings, and those of `below` where these are silent.
    pub(super) fn over(self, below: Choices) -> Choices {
        Choices {
            total_order: self.total_order.or(below.total_order),
        }
    }

    /// The stack that is meant.
    pub(super) fn complete(self) -> Result<Stack> {
        Ok(Stack {
            total_order: total_order(self.total_order.as_deref())?,
        })
    }
}

/// Which algorithms run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    /// How commands are ordered.
    pub total_order: Broadcast,
}

impl Stack {
    /// Whether a process that was started again is put in its slot again.
    pub fn rejoins(&self) -> bool {
        self.total_order == Broadcast::ByLeader
    }
}

/// All of it, as the handshake of the links compares it.
impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.total_order.algorithms())
    }
}

fn total_order(name: Option<&str>) -> Result<Broadcast> {
    let Some(name) = name else {
        return Ok(broadcasts::TOTAL_ORDER);
    };
    let known = || Broadcast::all().filter(|broadcast| broadcast.is_uniform_total_order());
    let Some(broadcast) = known().find(|broadcast| broadcast.name() == name) else {
        let known: Vec<_> = known().map(Broadcast::name).collect();
        bail!(
            "`total_order` is `{name}`, which is no uniform total order: choose one of {}",
            known.join(", ")
        );
    };
    Ok(broadcast)
}
