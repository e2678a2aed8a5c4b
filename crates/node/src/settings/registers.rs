//! `consistency` and `[registers]`: what serves the store, and through which quorums registers are
//! accessed.
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use quorate_core::Membership;
use quorate_quorums::{
    Quorums,
    usable::{self, Unusable},
};
use serde::Deserialize;
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What serves the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// Total order: all commands, on any number of keys.
    #[default]
    TotalOrder,
    /// One register for each key: linearizable reads and writes of single keys, without a leader.
    Register,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Consistency::TotalOrder => "total-order",
            Consistency::Register => "register",
        })
    }
}

/// How the quorums of a file are accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// For channels that may fail in one direction: messages go round failed channels.
    #[default]
    Generalized,
    /// For channels that work in both directions: each process that is reached answers.
    Classical,
}

/// The value of `quorums` that is not a file.
const MAJORITIES: &str = "majorities";

/// The table `[registers]`. All of it must be the same everywhere.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[group(id = "registers")]
#[serde(deny_unknown_fields)]
pub(super) struct Choices {
    /// The quorums of the registers: `majorities`, or a quorum-system file (TOML).
    #[arg(long, env = "QUORATE_QUORUMS", value_name = "majorities|FILE")]
    quorums: Option<PathBuf>,
    /// How the quorums of a file are accessed: `generalized` survives channels that fail in one direction.
    #[arg(long, env = "QUORATE_ACCESS", value_enum)]
    access: Option<Access>,
    /// How often generalized access pushes the store to the others, in milliseconds.
    #[arg(long, env = "QUORATE_PUSH_MS")]
    push_ms: Option<u64>,
}

impl Choices {
    /// These settings, and where one is not set, that of `below`.
    pub(super) fn over(self, below: Choices) -> Choices {
        Choices {
            quorums: self.quorums.or(below.quorums),
            access: self.access.or(below.access),
            push_ms: self.push_ms.or(below.push_ms),
        }
    }

    /// The same settings, with a relative path taken from the folder of this configuration file.
    pub(super) fn beside(mut self, file: &Path) -> Choices {
        let directory = file.parent().unwrap_or(Path::new(""));
        self.quorums = self.quorums.map(|path| {
            if path == Path::new(MAJORITIES) {
                path
            } else {
                directory.join(path)
            }
        });
        self
    }

    /// Checks the settings and completes them by defaults.
    pub(super) fn complete(self, processes: &Membership, deadline: Duration) -> Result<Registers> {
        let file = self.quorums.filter(|path| path != Path::new(MAJORITIES));
        let Some(file) = file else {
            let silent = self.access.is_none() && self.push_ms.is_none();
            ensure!(
                silent,
                "`access` and `push_ms` mean nothing without a file of `quorums`: majorities are accessed \
                 classically"
            );
            return Ok(Registers::Majorities);
        };
        let access = self.access.unwrap_or_default();
        let generalized = access == Access::Generalized;
        ensure!(
            generalized || self.push_ms.is_none(),
            "`push_ms` means nothing with `access = \"classical\"`: nothing is pushed"
        );
        let push = self.push_ms.unwrap_or(DEFAULT_PUSH_MS);
        ensure!(push > 0, "`push_ms` must be above 0");
        let push = Duration::from_millis(push);
        ensure!(
            !generalized || push < deadline,
            "`push_ms` must be below `deadline_ms`: an operation takes some pushes"
        );
        let cannot = || format!("`quorums`: {}", file.display());
        let quorums = read(&file, processes).with_context(cannot)?;
        Ok(Registers::Quorums {
            quorums,
            access,
            push,
        })
    }
}

/// How often the store is pushed, unless the settings say otherwise.
const DEFAULT_PUSH_MS: u64 = 20;

/// Which registers run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Registers {
    /// By majorities, over perfect links.
    Majorities,
    /// By the quorums of a file.
    Quorums {
        /// The quorums.
        quorums: Quorums,
        /// How they are accessed.
        access: Access,
        /// The time between two pushes of the store, if access is generalized.
        push: Duration,
    },
}

impl Registers {
    /// Whether each message carries the whole store, so that there is little room in it.
    pub fn carry_the_store(&self) -> bool {
        matches!(self, Registers::Quorums { .. })
    }

    /// Whether channels may fail in one direction.
    pub fn are_generalized(&self) -> bool {
        let generalized = Access::Generalized;
        matches!(self, Registers::Quorums { access, .. } if *access == generalized)
    }
}

/// The quorums that a file gives, or those that are found for the failures that it lists.
fn read(file: &Path, processes: &Membership) -> Result<Quorums> {
    let described = crate::quorums::read(file)?;
    usable::quorums(&described, processes.n()).map_err(|error| match error {
        Unusable::Size { .. } => error.into(),
        Unusable::NoQuorums(words) => {
            anyhow!(
                "{words} (quorate quorums check {} tells more)",
                file.display()
            )
        }
    })
}
