//! Fail-prone systems: which processes may crash, and which channels may disconnect, together.
//!
//! A *pattern* f says which processes may crash in a run, and which channels between the others may
//! disconnect, each direction by itself. The processes and channels that surely stay form the *residual
//! graph* G∖f. For quorums W to write and R to read:
//! - W is *available* under f if it is not empty, nobody in it may crash, and paths lead from each of its
//!   members to each (through others, if need be);
//! - W is *reachable* from R under f if nobody in R may crash either, and paths lead from each member of R
//!   to each of W.
//!
//! A *generalized quorum system* has read quorums and write quorums that all meet (consistency), and under
//! each pattern a write quorum that is available and reachable from some read quorum (availability).
//! Operations are then guaranteed to return in `U_f`, the strongly connected component of G∖f that holds
//! those write quorums, and nowhere else.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646.
use crate::family::{Family, Quorums};
use quorate_core::{Membership, ProcessId, ProcessSet};

/// The failures that may occur in one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    pub name: String,
    /// Processes that may crash.
    pub crash: ProcessSet,
    /// By sender, in the order of the processes: the receivers to which its channel may disconnect.
    pub disconnect: Vec<ProcessSet>,
}

/// All patterns that may occur.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailProneSystem {
    /// The processes, Π.
    pub processes: Membership,
    /// The names of p1 … pn.
    pub names: Vec<String>,
    pub patterns: Vec<Pattern>,
}

/// The processes and channels that surely stay under a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Residual {
    /// Processes that do not crash.
    pub alive: ProcessSet,
    /// By sender: the receivers to which its channel stays.
    forward: Vec<ProcessSet>,
    /// By receiver: the senders from which its channel stays.
    backward: Vec<ProcessSet>,
}

/// A write quorum, and all processes from which it can be reached: one of the choices that a pattern leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// A strongly connected component.
    pub write: ProcessSet,
    /// All processes that reach it, including its members.
    pub read: ProcessSet,
}

impl Pattern {
    /// The channels that may disconnect, as pairs of sender and receiver.
    pub fn channels(&self) -> impl Iterator<Item = (ProcessId, ProcessId)> + '_ {
        let by_sender = (1..).zip(&self.disconnect);
        by_sender.flat_map(|(rank, to)| {
            let from = ProcessId::from_rank(rank).into_iter();
            from.flat_map(|from| to.iter().map(move |to| (from, to)))
        })
    }

    /// The residual graph of this pattern.
    pub fn residual(&self, processes: &Membership) -> Residual {
        let alive = processes.set().without(self.crash);
        let failing = |p: ProcessId| self.disconnect.get(p.index()).copied().unwrap_or_default();
        let stays = |p: ProcessId| {
            let me = ProcessSet::from_iter([p]);
            if alive.contains(p) {
                alive.without(failing(p)).without(me)
            } else {
                ProcessSet::EMPTY
            }
        };
        let forward: Vec<ProcessSet> = processes.iter().map(stays).collect();
        let from = |to: ProcessId| {
            let senders = processes.iter().zip(&forward);
            let senders = senders.filter(|(_, out)| out.contains(to));
            senders.map(|(from, _)| from).collect()
        };
        let backward = processes.iter().map(from).collect();
        Residual {
            alive,
            forward,
            backward,
        }
    }
}

impl Residual {
    /// The processes to which the channel of `p` stays.
    pub fn channels(&self, p: ProcessId) -> ProcessSet {
        self.forward.get(p.index()).copied().unwrap_or_default()
    }

    /// Whether all of it also stays in the other graph, so that what may fail there may fail here, too.
    pub fn is_part_of(&self, other: &Residual) -> bool {
        let channels = self.forward.iter().zip(&other.forward);
        self.alive.is_subset(other.alive)
            && channels
                .into_iter()
                .all(|(own, others)| own.is_subset(*others))
    }

    /// The processes that paths from some of these lead to, including these.
    pub fn reached_from(&self, these: ProcessSet) -> ProcessSet {
        closure(these.intersection(self.alive), &self.forward)
    }

    /// The processes from which paths lead to some of these, including these.
    pub fn reaching(&self, these: ProcessSet) -> ProcessSet {
        closure(these.intersection(self.alive), &self.backward)
    }

    /// The strongly connected component of `p`; empty if it may crash.
    pub fn component(&self, p: ProcessId) -> ProcessSet {
        let p = ProcessSet::from_iter([p]);
        self.reached_from(p).intersection(self.reaching(p))
    }

    /// The choices: each component, and all processes that reach it; larger components first.
    pub fn choices(&self) -> Vec<Choice> {
        let (mut rest, mut choices) = (self.alive, Vec::new());
        while let Some(p) = rest.iter().next() {
            let write = self.component(p);
            let read = self.reaching(write);
            choices.push(Choice { write, read });
            rest = rest.without(write);
        }
        choices.sort_by_key(|choice| std::cmp::Reverse((choice.write.len(), choice.read.len())));
        choices
    }

    /// Whether this write quorum is available.
    pub fn is_available(&self, write: ProcessSet) -> bool {
        let first = write.iter().next();
        first.is_some_and(|p| write.is_subset(self.component(p)))
    }

    /// Whether this write quorum can be reached from all of this read quorum.
    pub fn is_reachable(&self, write: ProcessSet, read: ProcessSet) -> bool {
        let is_reached = |p: ProcessId| read.is_subset(self.reaching(ProcessSet::from_iter([p])));
        write.is_subset(self.alive) && write.iter().all(is_reached)
    }
}

fn closure(from: ProcessSet, edges: &[ProcessSet]) -> ProcessSet {
    let (mut reached, mut fresh) = (from, from);
    while !fresh.is_empty() {
        let next = fresh.iter().filter_map(|p| edges.get(p.index()));
        let next = next.fold(ProcessSet::EMPTY, |all, out| all.union(*out));
        fresh = next.without(reached);
        reached = reached.union(fresh);
    }
    reached
}

/// Why quorums are no generalized quorum system of a fail-prone system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// A read quorum and a write quorum have nobody in common.
    Disjoint {
        read: ProcessSet,
        /// The write quorum.
        write: ProcessSet,
    },
    /// Under the pattern of this index no write quorum is available and reachable from a read quorum.
    Unavailable {
        /// The pattern's index.
        pattern: usize,
    },
}

impl FailProneSystem {
    /// The residual graph of each pattern.
    pub fn residuals(&self) -> Vec<Residual> {
        let residual = |pattern: &Pattern| pattern.residual(&self.processes);
        self.patterns.iter().map(residual).collect()
    }

    /// The processes at which operations are guaranteed to return with these quorums, by pattern.
    ///
    /// # Errors
    /// When they are no generalized quorum system.
    pub fn verify(&self, quorums: &Quorums) -> Result<Vec<ProcessSet>, Flaw> {
        if let Some((read, write)) = disjoint(&self.processes, quorums) {
            return Err(Flaw::Disjoint { read, write });
        }
        let guaranteed = |(pattern, residual): (usize, &Residual)| {
            residual
                .guaranteed(quorums)
                .ok_or(Flaw::Unavailable { pattern })
        };
        self.residuals()
            .iter()
            .enumerate()
            .map(guaranteed)
            .collect()
    }

    /// The members of a set, by name: `{a, c}`.
    pub fn named(&self, set: ProcessSet) -> String {
        let name = |p: ProcessId| self.names.get(p.index()).cloned().unwrap_or_default();
        let names: Vec<String> = set.iter().map(name).collect();
        format!("{{{}}}", names.join(", "))
    }
}

impl Residual {
    /// `U_f` of these quorums; `None` if none is available. If several components hold quorums, then not all
    /// quorums meet.
    pub fn guaranteed(&self, quorums: &Quorums) -> Option<ProcessSet> {
        let mut choices = self.choices().into_iter();
        let holds = |choice: &Choice| {
            let write = quorums.writes.within(choice.write);
            write.is_some() && quorums.reads.within(choice.read).is_some()
        };
        choices.find(holds).map(|choice| choice.write)
    }
}

/// A read quorum and a write quorum that have nobody in common, if there are some.
fn disjoint(processes: &Membership, quorums: &Quorums) -> Option<(ProcessSet, ProcessSet)> {
    match (&quorums.reads, &quorums.writes) {
        (Family::Sets(reads), writes) => reads.iter().find_map(|read| {
            let write = writes.within(processes.set().without(*read))?;
            Some((*read, write))
        }),
        (reads, Family::Sets(writes)) => writes.iter().find_map(|write| {
            let read = reads.within(processes.set().without(*write))?;
            Some((read, *write))
        }),
        (Family::AtLeast(reads), Family::AtLeast(writes)) => {
            let (read, write): (Vec<_>, Vec<_>) =
                processes.iter().partition(|p| p.rank() <= *reads);
            (write.len() >= *writes)
                .then(|| (read.into_iter().collect(), write.into_iter().collect()))
        }
        // With weights, tries every set of processes as the readers, and the rest as the writers. Files with
        // weights have few processes.
        (reads, writes) => (0..1_u64 << processes.n().min(WEIGHED)).find_map(|bits| {
            let side = ProcessSet::of_low_bits(bits);
            let other = processes.set().without(side);
            Some((reads.within(side)?, writes.within(other)?))
        }),
    }
}

/// Weights are compared for at most this many processes.
pub const WEIGHED: usize = 20;
