//! Which executions processes can tell apart: why f rounds are not enough for consensus.
//!
//! In the *full-information* algorithm everybody sends all that it knows in every round. What a process knows
//! after r rounds is its *view*, and any algorithm decides by the view alone. Two executions are *similar* if a
//! process that is correct in both has the same view in both: it decides the same in both, and so, by
//! agreement, does every correct process. If a chain of similar executions leads from the one in which all
//! propose 0 and nothing fails to the one in which all propose 1 and nothing fails, then no rule of decision
//! satisfies both unanimity and agreement, whatever it is.
//!
//! [`explore`] makes all executions of a size and looks for the chain; [`proof_chain`] is the one of the
//! textbook's proof for one round. The bound needs n ≥ f + 2 (H5-E2).
//!
//! # Source
//! Fischer and Lynch, 1982; the lecture on consensus and reliable broadcast. Two executions are similar for a
//! process that is correct in both (H5-E3); messages are removed to the j highest-numbered processes, not to
//! the j-th (H5-E1).
use crate::failures::Pattern;
use quorate_core::{Membership, ProcessId, ProcessSet};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

/// What one process knows after some rounds: equal numbers are equal views.
type View = usize;

/// Numbers for views.
#[derive(Default)]
struct Views(BTreeMap<(View, Vec<(ProcessId, View)>), View>);

impl Views {
    fn number(&mut self, own: View, received: Vec<(ProcessId, View)>) -> View {
        let next = self.0.len() + FIRST;
        *self.0.entry((own, received)).or_insert(next)
    }
}

/// Views before the first round are named by the rank and the proposal, below this.
const FIRST: View = 1 << 10;

/// An execution: what is proposed, and what fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Who proposes 1; the others propose 0.
    pub ones: ProcessSet,
    pub pattern: Pattern,
}

impl Run {
    /// What everybody knows after so many rounds, in rank order.
    fn views(&self, processes: &Membership, rounds: u64, views: &mut Views) -> Vec<View> {
        let proposal = |p: ProcessId| usize::from(self.ones.contains(p));
        let initial = processes.iter().map(|p| 2 * p.index() + proposal(p));
        let mut known: Vec<View> = initial.collect();
        for round in 1..=rounds {
            let received = processes.iter().map(|to| {
                let senders = processes.others(to).iter();
                let heard = senders.filter(|from| {
                    self.pattern.sends(*from, round) && self.pattern.arrives(round, *from, to)
                });
                let heard = heard.map(|from| (from, known[from.index()]));
                (known[to.index()], heard.collect::<Vec<_>>())
            });
            let received: Vec<_> = received.collect();
            let next = received.into_iter();
            known = next.map(|(own, heard)| views.number(own, heard)).collect();
        }
        known
    }

    fn correct(&self, processes: &Membership) -> ProcessSet {
        processes.set().without(self.pattern.faulty())
    }
}

/// `proposals 0 1 1; p1 crashes in round 1, reaching p2`.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ones: Vec<_> = self.ones.iter().map(|p| p.to_string()).collect();
        let ones = match ones.as_slice() {
            [] => "nobody".to_owned(),
            ones => ones.join(", "),
        };
        write!(f, "1 is proposed by {ones}; {}", self.pattern)
    }
}

/// An execution of a chain, and who cannot tell it from the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub run: Run,
    /// Correct in this execution and the one before, with the same view in both; `None` in the first one.
    pub similar_for: Option<ProcessId>,
}

/// What [`explore`] finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    /// How many executions there are.
    pub executions: usize,
    /// How many views of correct processes there are.
    pub views: usize,
    /// A shortest chain from "all propose 0, nothing fails" to "all propose 1, nothing fails", if one exists:
    /// then no algorithm decides in so many rounds.
    pub chain: Option<Vec<Link>>,
}

/// Makes all executions of so many rounds with at most `f` crashes and proposals 0 and 1, and looks for the
/// chain. Their number is 2ⁿ times that of [`Pattern::all_crashes`].
pub fn explore(processes: &Membership, f: usize, rounds: u64) -> Findings {
    let patterns = Pattern::all_crashes(processes, f, rounds);
    let all: Vec<ProcessId> = processes.iter().collect();
    let mut numbers = Views::default();
    let (mut runs, mut by_view) = (Vec::new(), BTreeMap::<(ProcessId, View), Vec<usize>>::new());
    for choice in 0..1_u64 << all.len() {
        let is_one = |p: &&ProcessId| choice >> p.index() & 1 == 1;
        let ones: ProcessSet = all.iter().filter(is_one).copied().collect();
        for pattern in &patterns {
            let run = Run {
                ones,
                pattern: pattern.clone(),
            };
            let views = run.views(processes, rounds, &mut numbers);
            for p in run.correct(processes).iter() {
                let known = by_view.entry((p, views[p.index()])).or_default();
                known.push(runs.len());
            }
            runs.push((run, views));
        }
    }
    let chain = shortest_chain(processes, &runs, &by_view);
    Findings {
        executions: runs.len(),
        views: by_view.len(),
        chain,
    }
}

/// Breadth first, from the execution that comes first to the one where all propose 1 and nothing fails.
fn shortest_chain(
    processes: &Membership,
    runs: &[(Run, Vec<View>)],
    by_view: &BTreeMap<(ProcessId, View), Vec<usize>>,
) -> Option<Vec<Link>> {
    let is_end = |run: &Run| run.ones == processes.set() && run.pattern == Pattern::failure_free();
    let mut came: Vec<Option<(usize, ProcessId)>> = vec![None; runs.len()];
    let (mut queue, mut end) = (VecDeque::from([0]), None);
    while let Some(at) = queue.pop_front() {
        let (run, views) = &runs[at];
        if is_end(run) {
            end = Some(at);
            break;
        }
        for p in run.correct(processes).iter() {
            for next in &by_view[&(p, views[p.index()])] {
                if *next != 0 && came[*next].is_none() {
                    came[*next] = Some((at, p));
                    queue.push_back(*next);
                }
            }
        }
    }
    let mut chain = Vec::new();
    let mut at = end?;
    loop {
        let before = came[at];
        chain.push(Link {
            run: runs[at].0.clone(),
            similar_for: before.map(|(_, p)| p),
        });
        match before {
            Some((earlier, _)) => at = earlier,
            None => break,
        }
    }
    chain.reverse();
    Some(chain)
}

/// The chain of the proof, for one round and one crash: αⁱ, in which the first i processes propose 1 and nothing
/// fails; αⁱⱼ, in which the next process crashes and does not reach the j highest-numbered others; βⁱⱼ, the same,
/// where that process proposes 1, too; and so on to βⁱ₀ = αⁱ⁺¹. Needs three processes (H5-E2).
pub fn proof_chain(processes: &Membership) -> Vec<Link> {
    let all: Vec<ProcessId> = processes.iter().collect();
    let mut runs = Vec::new();
    let mut ones = ProcessSet::EMPTY;
    for p in all.iter().copied() {
        let others: Vec<_> = processes.others(p).iter().collect();
        let without = |ones: ProcessSet, j: usize| {
            let reached = others[..others.len() - j].iter().copied().collect();
            let pattern = match j {
                0 => Pattern::failure_free(),
                _ => Pattern::failure_free().crash(p, 1, reached),
            };
            Run { ones, pattern }
        };
        let before = ones;
        ones.insert(p);
        runs.extend((0..=others.len()).map(|j| without(before, j)));
        runs.extend((1..=others.len()).rev().map(|j| without(ones, j)));
    }
    runs.push(Run {
        ones,
        pattern: Pattern::failure_free(),
    });
    let mut numbers = Views::default();
    let mut before: Option<(Run, Vec<View>)> = None;
    let mut chain = Vec::new();
    for run in runs {
        let views = run.views(processes, 1, &mut numbers);
        let similar_for = before.take().and_then(|(earlier, known)| {
            let both = earlier
                .correct(processes)
                .intersection(run.correct(processes));
            both.iter().find(|p| known[p.index()] == views[p.index()])
        });
        before = Some((run.clone(), views));
        chain.push(Link { run, similar_for });
    }
    chain
}

#[cfg(test)]
mod tests;
