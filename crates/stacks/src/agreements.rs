//! The consensus and atomic-commit algorithms that a node can be asked for by name: each is a whole stack,
//! the same for every host.
use crate::{
    broadcasts::{self, Dependencies, Needs, NeedsPerfect},
    stack,
};
use quorate_abstractions::{
    Subscribe, atomic_commit, consensus,
    link::{Deliver, Links},
    perfect, reconfigurable, regular_consensus,
};
use quorate_commit::two_phase;
use quorate_consensus::{
    by_quorums, by_total_order, hierarchical, leader_driven, randomised, uniform_hierarchical,
    view_synchronizer::{self, ViewSettings},
};
use quorate_core::{Addr, Host};
use quorate_quorums::{Quorums, flooding};
use std::{fmt, str::FromStr};

/// Consensus: an algorithm, and the stack below it. All are uniform, except the
/// [regular](Consensus::is_uniform) one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Consensus {
    LeaderDriven,
    /// By a rotating coordinator; decisions are broadcast by eager reliable broadcast.
    RotatingCoordinator,
    UniformHierarchical,
    /// Hierarchical, and regular: a process that crashes may have decided another value than the others.
    Hierarchical,
    /// Decides the first proposal that uniform total order, driven by a leader, delivers.
    ByTotalOrder,
    /// Agrees on a bit, by tossing coins.
    Randomised,
    /// By majorities, in views, over flooding: it works over channels that fail in one direction.
    ByQuorums,
}

/// Atomic commit: an algorithm, and the stack below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Commit {
    /// Non-blocking, over uniform hierarchical consensus.
    NonBlocking,
    /// In two phases: it blocks when the coordinator crashes after the votes. It uses P where there is one;
    /// where there is none, any crash before the outcome may block it.
    TwoPhase,
}

/// No consensus, or no atomic commit, has the given name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no {kind} `{name}`: choose one of {names}", names = .names.join(", "))]
pub struct UnknownAgreement {
    kind: &'static str,
    name: String,
    names: Vec<&'static str>,
}

const CONSENSUS: [(Consensus, &str, &str); 7] = [
    (
        Consensus::LeaderDriven,
        "leader-driven",
        "consensus:leader-driven",
    ),
    (
        Consensus::RotatingCoordinator,
        "rotating-coordinator",
        "consensus:rotating-coordinator reliable:eager",
    ),
    (
        Consensus::UniformHierarchical,
        "uniform-hierarchical",
        "consensus:uniform-hierarchical",
    ),
    (
        Consensus::Hierarchical,
        "hierarchical",
        "consensus:hierarchical",
    ),
    (
        Consensus::ByTotalOrder,
        "by-total-order",
        "consensus:by-total-order total-order:by-leader",
    ),
    (Consensus::Randomised, "randomised", "consensus:randomised"),
    (
        Consensus::ByQuorums,
        "by-quorums",
        "consensus:by-quorums flooding",
    ),
];

const COMMIT: [(Commit, &str, &str); 2] = [
    (
        Commit::NonBlocking,
        "non-blocking",
        "commit:non-blocking consensus:uniform-hierarchical",
    ),
    (Commit::TwoPhase, "two-phase", "commit:two-phase"),
];

/// The table entry with this name.
fn find<A: Copy>(
    all: &[(A, &'static str, &str)],
    kind: &'static str,
    name: &str,
) -> Result<A, UnknownAgreement> {
    let found = all.iter().find(|(_, known, _)| *known == name);
    found.map(|(it, _, _)| *it).ok_or_else(|| UnknownAgreement {
        kind,
        name: name.to_owned(),
        names: all.iter().map(|(_, known, _)| *known).collect(),
    })
}

/// The name and the algorithms in a table entry.
fn entry<A: PartialEq>(
    all: &[(A, &'static str, &'static str)],
    it: &A,
) -> (&'static str, &'static str) {
    let found = all.iter().find(|(known, _, _)| known == it);
    found.map_or(("", ""), |(_, name, algorithms)| (*name, *algorithms))
}

impl Consensus {
    /// All consensus algorithms.
    pub fn all() -> impl Iterator<Item = Consensus> {
        CONSENSUS.iter().map(|(consensus, _, _)| *consensus)
    }

    /// The name by which settings choose it: the name of its algorithm.
    pub fn name(self) -> &'static str {
        entry(&CONSENSUS, &self).0
    }

    /// Its algorithms, top down. Two processes can only talk to each other if these are the same.
    pub fn algorithms(self) -> &'static str {
        entry(&CONSENSUS, &self).1
    }

    /// The failure detector that it needs.
    pub fn needs(self) -> Needs {
        match self {
            Consensus::LeaderDriven | Consensus::ByTotalOrder => Needs::Leader,
            Consensus::RotatingCoordinator => Needs::EventuallyPerfect,
            Consensus::UniformHierarchical | Consensus::Hierarchical => Needs::Perfect,
            Consensus::Randomised | Consensus::ByQuorums => Needs::Nothing,
        }
    }

    /// Whether a process that crashes never decides another value than the others.
    pub fn is_uniform(self) -> bool {
        self != Consensus::Hierarchical
    }

    /// Whether it agrees on one byte, 0 or 1, and accepts no other values.
    pub fn is_binary(self) -> bool {
        self == Consensus::Randomised
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it needs P, and `below` has none.
    pub fn spawn<H: Host>(
        self,
        host: &H,
        below: &Dependencies<impl Links>,
        up: Addr<consensus::Decide>,
    ) -> Result<Addr<consensus::Propose>, NeedsPerfect> {
        let (at, links) = (host.at("consensus"), below.links.at("consensus"));
        Ok(match self {
            Consensus::LeaderDriven => {
                leader_driven::spawn(&at, links.lane(), &links.status(), &below.leader, up)
            }
            Consensus::RotatingCoordinator => {
                stack::consensus(host, &below.links, &below.eventually_perfect, up)
            }
            Consensus::UniformHierarchical => {
                let perfect = needed(below, self.name())?;
                uniform_hierarchical::spawn(&at, links.lane(), &links.status(), perfect, up)
            }
            Consensus::Hierarchical => {
                let perfect = needed(below, self.name())?;
                let up =
                    up.with(
                        |regular_consensus::Decide { instance, value }| consensus::Decide {
                            instance,
                            value,
                        },
                    );
                hierarchical::spawn(&at, links.lane(), &links.status(), perfect, up).with(
                    |consensus::Propose { instance, value }| regular_consensus::Propose {
                        instance,
                        value,
                    },
                )
            }
            Consensus::ByTotalOrder => {
                let below = Dependencies {
                    links,
                    ..below.clone()
                };
                let ordered = |up: Addr<reconfigurable::Indication>| {
                    broadcasts::by_leader_with_state(&at, &below, up)
                };
                by_total_order::spawn_with_state(&at, ordered, up)
            }
            Consensus::Randomised => randomised::spawn(&at, links.lane(), &links.status(), up),
            Consensus::ByQuorums => {
                let views = ViewSettings::default();
                let views = view_synchronizer::spawn(&at.at("views"), views);
                let (beneath, lane) = (at.at("flooding"), links.lane());
                let status = links.status();
                let flood = |up: Addr<Deliver<by_quorums::Message>>| {
                    flooding::spawn_over_streams(&beneath, lane, &status, up)
                };
                let quorums = Quorums::majorities(host.processes());
                by_quorums::spawn(&at, quorums, &views, flood, up)
            }
        })
    }
}

impl FromStr for Consensus {
    type Err = UnknownAgreement;

    fn from_str(name: &str) -> Result<Self, UnknownAgreement> {
        find(&CONSENSUS, "consensus", name)
    }
}

impl Commit {
    /// All atomic-commit algorithms.
    pub fn all() -> impl Iterator<Item = Commit> {
        COMMIT.iter().map(|(commit, _, _)| *commit)
    }

    /// The name by which settings choose it: the name of its algorithm.
    pub fn name(self) -> &'static str {
        entry(&COMMIT, &self).0
    }

    /// Its algorithms, top down. Two processes can only talk to each other if these are the same.
    pub fn algorithms(self) -> &'static str {
        entry(&COMMIT, &self).1
    }

    /// The failure detector that it needs. Two-phase commit needs none to be safe.
    pub fn needs(self) -> Needs {
        match self {
            Commit::NonBlocking => Needs::Perfect,
            Commit::TwoPhase => Needs::Nothing,
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it needs P, and `below` has none.
    pub fn spawn<H: Host>(
        self,
        host: &H,
        below: &Dependencies<impl Links>,
        up: Addr<atomic_commit::Decide>,
    ) -> Result<Addr<atomic_commit::Propose>, NeedsPerfect> {
        Ok(match self {
            Commit::NonBlocking => {
                let perfect = needed(below, self.name())?;
                stack::non_blocking(host, &below.links, perfect, up)
            }
            Commit::TwoPhase => {
                let (host, links) = (host.at("commit"), below.links.at("commit"));
                let nothing = Addr::nowhere();
                let detector = below.perfect.as_ref().unwrap_or(&nothing);
                two_phase::spawn(&host, links.lane(), &links.status(), detector, up)
            }
        })
    }
}

impl FromStr for Commit {
    type Err = UnknownAgreement;

    fn from_str(name: &str) -> Result<Self, UnknownAgreement> {
        find(&COMMIT, "atomic commit", name)
    }
}

/// P, or an error if there is none.
fn needed<'b, L>(
    below: &'b Dependencies<L>,
    name: &'static str,
) -> Result<&'b Subscribe<perfect::Crash>, NeedsPerfect> {
    below.perfect.as_ref().ok_or(NeedsPerfect(name))
}

impl fmt::Display for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
