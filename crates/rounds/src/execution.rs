//! One execution in lock step.
use crate::{algorithm::RoundAlgorithm, failures::Pattern};
use quorate_abstractions::link::To;
use quorate_core::{Membership, ProcessId, ProcessSet};
use std::collections::{BTreeMap, BTreeSet};

/// What became of one message to another process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmission<M> {
    pub round: u64,
    pub from: ProcessId,
    pub to: ProcessId,
    pub message: M,
    /// Whether it arrived. It did not if its sender crashed before it left, if it was omitted, or if its
    /// receiver had crashed or halted.
    pub arrived: bool,
}

/// An execution that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Execution<M, O> {
    pub processes: Membership,
    pub pattern: Pattern,
    /// The last round that was run.
    pub rounds: u64,
    /// What each process told its user, and in which round.
    pub outputs: BTreeMap<ProcessId, Vec<(u64, O)>>,
    /// In which round each process halted, if it did.
    pub halted: BTreeMap<ProcessId, u64>,
    /// The messages to others, in the order of rounds, senders and receivers. Of a sender that crashes in a
    /// round those of that round are here, too, which did not leave.
    pub transmissions: Vec<Transmission<M>>,
    /// How many messages processes sent to themselves.
    pub to_oneself: u64,
}

impl<M, O: Clone + Ord> Execution<M, O> {
    /// The processes that do not fail.
    pub fn correct(&self) -> ProcessSet {
        self.processes.set().without(self.pattern.faulty())
    }

    /// How many messages left a process for another; those to crashed processes count.
    pub fn sent(&self) -> u64 {
        let left = self.transmissions.iter().filter(|t| {
            let crash = self.pattern.crashes.get(&t.from);
            crash.is_none_or(|crash| t.round < crash.round || crash.reached.contains(t.to))
        });
        left.count() as u64
    }

    /// The first output of a process, and its round.
    pub fn output(&self, p: ProcessId) -> Option<&(u64, O)> {
        self.outputs.get(&p)?.first()
    }

    /// The different first outputs of these processes.
    pub fn outputs_of(&self, processes: ProcessSet) -> BTreeSet<O> {
        let outputs = processes.iter().filter_map(|p| self.output(p));
        outputs.map(|(_, output)| output.clone()).collect()
    }
}

/// Runs an algorithm in lock step until everybody that is alive has halted, or this many rounds are over.
/// `start` makes it at each process.
pub fn run<A: RoundAlgorithm>(
    processes: &Membership,
    pattern: &Pattern,
    rounds: u64,
    mut start: impl FnMut(ProcessId) -> A,
) -> Execution<A::Message, A::Output> {
    let mut algorithms: BTreeMap<_, _> = processes.iter().map(|p| (p, start(p))).collect();
    let mut execution = Execution {
        processes: *processes,
        pattern: pattern.clone(),
        rounds: 0,
        outputs: BTreeMap::new(),
        halted: BTreeMap::new(),
        transmissions: Vec::new(),
        to_oneself: 0,
    };
    for round in 1..=rounds {
        let sends = algorithms.iter_mut();
        let sends = sends.filter(|(p, a)| pattern.sends(**p, round) && !a.is_halted());
        let sent: Vec<_> = sends.map(|(p, a)| (*p, a.send(round))).collect();
        let computing: ProcessSet = algorithms
            .iter()
            .filter(|(p, algorithm)| pattern.computes(**p, round) && !algorithm.is_halted())
            .map(|(p, _)| *p)
            .collect();
        let mut received: BTreeMap<ProcessId, Vec<_>> = BTreeMap::new();
        for (from, messages) in &sent {
            for to in processes.iter() {
                for (_, message) in messages.iter().filter(|(whom, _)| is_for(whom, to)) {
                    let arrived = computing.contains(to) && pattern.arrives(round, *from, to);
                    if arrived {
                        let arrivals = received.entry(to).or_default();
                        arrivals.push((*from, message.clone()));
                    }
                    if *from == to {
                        execution.to_oneself += 1;
                        continue;
                    }
                    execution.transmissions.push(Transmission {
                        round,
                        from: *from,
                        to,
                        message: message.clone(),
                        arrived,
                    });
                }
            }
        }
        for p in computing.iter() {
            let Some(algorithm) = algorithms.get_mut(&p) else {
                continue;
            };
            let arrivals = received.remove(&p).unwrap_or_default();
            if let Some(output) = algorithm.receive(round, &arrivals) {
                execution
                    .outputs
                    .entry(p)
                    .or_default()
                    .push((round, output));
            }
            if algorithm.is_halted() {
                execution.halted.insert(p, round);
            }
        }
        execution.rounds = round;
        let mut alive = algorithms
            .iter()
            .filter(|(p, _)| pattern.computes(**p, round + 1));
        if alive.all(|(_, algorithm)| algorithm.is_halted()) {
            break;
        }
    }
    execution
}

/// Whether a message to these is for this process.
pub(crate) fn is_for(whom: &To, p: ProcessId) -> bool {
    match whom {
        To::One(q) => *q == p,
        To::Some(some) => some.contains(p),
        To::All => true,
    }
}

#[cfg(test)]
mod tests;
