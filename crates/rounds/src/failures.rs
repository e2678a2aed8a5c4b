//! Failures as data: who crashes in which round after reaching whom, and which messages are omitted.
//!
//! A *crash* in round r: the messages of round r reach the processes that the pattern names, and no others;
//! the process computes no more. An *omission*: one message of a faulty process is lost, on its way out (send
//! omission) or on its way in (receive omission); the process goes on. General omission is both. What a
//! process sends to itself is never lost.
use quorate_core::{Membership, ProcessId, ProcessSet, Random};
use rand::{Rng, RngExt};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crash {
    /// The round in which the process sends for the last time.
    pub round: u64,
    /// The other processes that its messages of that round reach.
    pub reached: ProcessSet,
}

/// Which messages a faulty process omits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OmissionKind {
    /// Messages that it sends.
    Send,
    /// Messages that are sent to it.
    Receive,
    /// Messages of either kind.
    General,
}

/// What fails in one execution.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pattern {
    /// The crash of each process that crashes.
    pub crashes: BTreeMap<ProcessId, Crash>,
    /// The messages that are lost by omission: round, sender, receiver.
    pub omissions: BTreeSet<(u64, ProcessId, ProcessId)>,
    /// The processes that are faulty because of the omissions.
    pub omitting: ProcessSet,
}

impl Pattern {
    /// Nothing fails.
    pub fn failure_free() -> Self {
        Pattern::default()
    }

    /// The same, and `p` crashes in this round after reaching these.
    #[must_use]
    pub fn crash(mut self, p: ProcessId, round: u64, reached: ProcessSet) -> Self {
        self.crashes.insert(p, Crash { round, reached });
        self
    }

    /// The same, and `faulty` omits the message of this round from `from` to `to`, one of which it is. A
    /// message to oneself is never omitted.
    #[must_use]
    pub fn omit(mut self, faulty: ProcessId, round: u64, from: ProcessId, to: ProcessId) -> Self {
        if from != to && (faulty == from || faulty == to) {
            self.omissions.insert((round, from, to));
            self.omitting.insert(faulty);
        }
        self
    }

    /// The faulty processes.
    pub fn faulty(&self) -> ProcessSet {
        let crashed: ProcessSet = self.crashes.keys().copied().collect();
        crashed.union(self.omitting)
    }

    /// Whether `p` still sends in this round.
    pub fn sends(&self, p: ProcessId, round: u64) -> bool {
        let crash = self.crashes.get(&p);
        crash.is_none_or(|crash| round <= crash.round)
    }

    /// Whether `p` receives and computes in this round.
    pub fn computes(&self, p: ProcessId, round: u64) -> bool {
        let crash = self.crashes.get(&p);
        crash.is_none_or(|crash| round < crash.round)
    }

    /// Whether a message of this round from `from` arrives at `to`, which is alive.
    pub fn arrives(&self, round: u64, from: ProcessId, to: ProcessId) -> bool {
        let reaches = match self.crashes.get(&from) {
            Some(crash) if crash.round == round => crash.reached.contains(to),
            Some(crash) => round < crash.round,
            None => true,
        };
        from == to || reaches && !self.omissions.contains(&(round, from, to))
    }

    /// All patterns in which at most `f` of the processes crash in the first `rounds` rounds: each in any
    /// round, after reaching any of the others. Their number grows as (rounds · 2ⁿ⁻¹)ᶠ.
    pub fn all_crashes(processes: &Membership, f: usize, rounds: u64) -> Vec<Pattern> {
        let mut patterns = vec![Pattern::failure_free()];
        for p in processes.iter() {
            let others: Vec<_> = processes.others(p).iter().collect();
            for index in 0..patterns.len() {
                if patterns[index].crashes.len() == f {
                    continue;
                }
                for round in 1..=rounds {
                    for subset in 0..1_u64 << others.len() {
                        let is_in = |(place, _): &(usize, &ProcessId)| subset >> place & 1 == 1;
                        let reached = others.iter().enumerate().filter(is_in);
                        let reached = reached.map(|(_, q)| *q).collect();
                        let pattern = patterns[index].clone().crash(p, round, reached);
                        patterns.push(pattern);
                    }
                }
            }
        }
        patterns
    }

    /// A pattern at random: `f` processes omit messages of this kind, each with a probability that is drawn
    /// for the run.
    pub fn random_omissions(
        processes: &Membership,
        f: usize,
        rounds: u64,
        kind: OmissionKind,
        rng: &mut Random,
    ) -> Pattern {
        let mut left: Vec<_> = processes.iter().collect();
        let mut pattern = Pattern::failure_free();
        let chance = rng.random_range(0.1..0.9);
        for _ in 0..f.min(left.len()) {
            let faulty = left.swap_remove(rng.random_range(0..left.len()));
            for round in 1..=rounds {
                for other in processes.others(faulty).iter() {
                    for (from, to, sending) in [(faulty, other, true), (other, faulty, false)] {
                        let concerns = match kind {
                            OmissionKind::Send => sending,
                            OmissionKind::Receive => !sending,
                            OmissionKind::General => true,
                        };
                        if concerns && rng.random_bool(chance) {
                            pattern = pattern.omit(faulty, round, from, to);
                        }
                    }
                }
            }
        }
        pattern
    }

    /// A pattern of crashes at random: at most `f` of them.
    pub fn random_crashes(
        processes: &Membership,
        f: usize,
        rounds: u64,
        rng: &mut Random,
    ) -> Pattern {
        let mut left: Vec<_> = processes.iter().collect();
        let mut pattern = Pattern::failure_free();
        for _ in 0..rng.random_range(0..=f.min(left.len())) {
            let p = left.swap_remove(rng.random_range(0..left.len()));
            let others = processes.others(p);
            let subset = u128::from(rng.next_u64()) | u128::from(rng.next_u64()) << 64;
            let reached = others.iter().filter(|q| subset >> q.index() & 1 == 1);
            let reached = reached.collect();
            pattern = pattern.crash(p, rng.random_range(1..=rounds), reached);
        }
        pattern
    }
}

/// `p1 crashes in round 1, reaching p2; round 2: p3 to p1 is omitted`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crashes = self.crashes.iter().map(|(p, crash)| {
            let reached: Vec<_> = crash.reached.iter().map(|q| q.to_string()).collect();
            let whom = match reached.as_slice() {
                [] => "nobody".to_owned(),
                reached => reached.join(" and "),
            };
            format!("{p} crashes in round {}, reaching {whom}", crash.round)
        });
        let omissions = self.omissions.iter();
        let omissions = omissions.map(|(round, from, to)| {
            format!("the message of round {round} from {from} to {to} is omitted")
        });
        let all: Vec<_> = crashes.chain(omissions).collect();
        match all.as_slice() {
            [] => f.write_str("nothing fails"),
            all => f.write_str(&all.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests;
