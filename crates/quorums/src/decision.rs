//! Decides whether a fail-prone system has a generalized quorum system: finds its quorums, or a certificate
//! that there are none.
//!
//! # How
//! Every available write quorum lies in one strongly connected component S of the residual graph; every read
//! quorum from which it is reachable lies within the processes that reach S; and larger quorums meet more. So
//! without loss of generality a pattern chooses a component, to write, and all processes that reach it, to
//! read. There is a system if and only if each pattern can choose so that every read quorum meets every write
//! quorum. Patterns within others are left out: the choice of the larger pattern serves them.
//!
//! If no pattern has more than two components, this is 2-satisfiability, and decided by its implication
//! graph. Otherwise it is searched, under a budget of choices tried: the pattern with the fewest choices left
//! comes first, and choices that some other pattern cannot agree with are struck out at once. When the budget
//! is spent, the answer is that it is unknown. (In general the question is NP-complete.)
//!
//! # Cost
//! For m patterns of at most k components O(m²k²) sets are intersected, and as many bits of 128 kept.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, for the
//! definitions; the procedure is this project's.
mod search;
mod two_satisfiability;

use crate::{
    family::{Family, Quorums},
    system::{Choice, FailProneSystem, Residual},
};
use quorate_core::{ProcessSet, process::MAXIMUM_PROCESSES};
use search::{Found, Search};

/// The default budget of choices to try.
pub const BUDGET: u64 = 200_000;

/// At most this many pairs of choices are compared.
const MOST_PAIRS: usize = 1 << 23;

/// At most this much work is spent on making read quorums smaller.
const MOST_WORK: usize = 1 << 28;

/// This much work on pairs of choices counts as one choice that is tried.
const PAIRS_A_CHOICE: u64 = 2_000;

/// Whether there is a generalized quorum system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// There is a generalized quorum system.
    Exists(Witness),
    /// There is none.
    Impossible(Certificate),
    /// The budget is spent.
    Unknown,
}

/// A generalized quorum system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// By pattern: the component in which operations are guaranteed to return, and all processes that reach
    /// it.
    pub choices: Vec<Choice>,
    /// By pattern: a write quorum in this component; if quorums are searched for, the whole component.
    pub writes: Vec<ProcessSet>,
    /// By pattern: a read quorum from which no process can be left out; in a system of thousands of patterns,
    /// the largest one.
    pub reads: Vec<ProcessSet>,
    /// Whether these are the only choices; `None`: the budget was spent before this was known.
    pub is_unique: Option<bool>,
}

impl Witness {
    /// The quorums, in the form that algorithms use.
    pub fn quorums(&self) -> Quorums {
        let (mut writes, mut reads) = (self.writes.clone(), self.reads.clone());
        for sets in [&mut writes, &mut reads] {
            sets.sort_unstable_by_key(|set| (set.len(), set.low_bits()));
            sets.dedup();
        }
        Quorums {
            reads: Family::Sets(reads),
            writes: Family::Sets(writes),
        }
    }
}

/// Patterns that already cannot agree, by their indices: one in which everybody may crash, two, or more. None
/// of them can be left out, as far as the budget could tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    pub patterns: Vec<usize>,
}

/// The kind of quorums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Generalized: a write quorum must be reachable from the read quorum.
    #[default]
    Generalized,
    /// Both in one strongly connected component, so that each can be reached from the other.
    StronglyConnected,
}

/// Decides whether the system has quorums of this kind, trying at most `budget` choices.
pub fn decide(system: &FailProneSystem, kind: Kind, budget: u64) -> Answer {
    let residuals = system.residuals();
    let choices: Vec<Vec<Choice>> = residuals.iter().map(|r| choices(r, kind)).collect();
    if let Some(none) = choices.iter().position(Vec::is_empty) {
        return Answer::Impossible(Certificate {
            patterns: vec![none],
        });
    }
    let kept = maximal(&residuals);
    let domains: Vec<Vec<Choice>> = kept.iter().map(|index| choices[*index].clone()).collect();
    let width: usize = domains.iter().map(Vec::len).sum();
    let is_open = width > domains.len();
    if is_open && width.saturating_mul(domains.len()) > MOST_PAIRS {
        return Answer::Unknown;
    }
    if let Some((one, other)) = disagreeing(&domains) {
        let patterns = vec![kept[one], kept[other]];
        return Answer::Impossible(Certificate { patterns });
    }
    if !is_open {
        let chosen = domains.iter().flatten().copied().collect();
        let only = Some(true);
        return Answer::Exists(witness(system, &residuals, kind, &kept, chosen, only));
    }
    let agreement = Agreement::of(&domains);
    let mut budget = budget;
    match solve(&agreement, &mut budget) {
        Found::Nothing => {
            let core = smaller(&agreement, &mut budget);
            let patterns = core.into_iter().map(|index| kept[index]).collect();
            Answer::Impossible(Certificate { patterns })
        }
        Found::Spent => Answer::Unknown,
        Found::Solution(solution) => {
            let is_unique = is_unique(&agreement, &solution, &mut budget);
            let chosen = domains.iter().zip(&solution).map(|(d, c)| d[*c]).collect();
            Answer::Exists(witness(system, &residuals, kind, &kept, chosen, is_unique))
        }
    }
}

fn choices(residual: &Residual, kind: Kind) -> Vec<Choice> {
    let narrowed = |choice: Choice| match kind {
        Kind::Generalized => choice,
        Kind::StronglyConnected => Choice {
            read: choice.write,
            ..choice
        },
    };
    residual.choices().into_iter().map(narrowed).collect()
}

/// The indices of the patterns that are not within others.
fn maximal(residuals: &[Residual]) -> Vec<usize> {
    let is_within = |one: usize, other: usize| {
        let (f, g) = (&residuals[one], &residuals[other]);
        // Of two equal patterns the first is kept.
        one != other && g.is_part_of(f) && (other < one || !f.is_part_of(g))
    };
    let all = 0..residuals.len();
    all.clone()
        .filter(|one| !all.clone().any(|other| is_within(*one, other)))
        .collect()
}

fn agree(one: Choice, other: Choice) -> bool {
    !one.read.is_disjoint(other.write) && !other.read.is_disjoint(one.write)
}

/// Two patterns whose choices never agree.
fn disagreeing(domains: &[Vec<Choice>]) -> Option<(usize, usize)> {
    let pairs = (0..domains.len()).flat_map(|one| (0..one).map(move |other| (other, one)));
    let mut pairs = pairs.into_iter();
    pairs.find(|(one, other)| {
        let agrees = |a: &Choice| domains[*other].iter().any(|b| agree(*a, *b));
        !domains[*one].iter().any(agrees)
    })
}

/// The choices of different patterns that agree: bits, by pattern, choice and other pattern.
pub(crate) struct Agreement {
    /// The number of choices of each pattern.
    pub(crate) widths: Vec<usize>,
    agrees: Vec<Vec<Vec<u128>>>,
}

impl Agreement {
    fn of(domains: &[Vec<Choice>]) -> Self {
        let bits = |a: Choice, other: &[Choice]| {
            let agreeing = other.iter().enumerate().filter(|(_, b)| agree(a, **b));
            agreeing.fold(0_u128, |bits, (index, _)| bits | 1 << index)
        };
        let row = |a: &Choice| domains.iter().map(|other| bits(*a, other)).collect();
        Agreement {
            widths: domains.iter().map(Vec::len).collect(),
            agrees: domains
                .iter()
                .map(|domain| domain.iter().take(MAXIMUM_PROCESSES).map(row).collect())
                .collect(),
        }
    }

    /// The agreement of some patterns only.
    fn of_patterns(&self, patterns: &[usize]) -> Self {
        let row = |row: &Vec<u128>| patterns.iter().map(|other| row[*other]).collect();
        let of = |pattern: &usize| self.agrees[*pattern].iter().map(row).collect();
        Agreement {
            widths: patterns.iter().map(|index| self.widths[*index]).collect(),
            agrees: patterns.iter().map(of).collect(),
        }
    }

    /// The choices of `other` with which this choice agrees.
    pub(crate) fn with(&self, pattern: usize, choice: usize, other: usize) -> u128 {
        self.agrees[pattern][choice][other]
    }
}

fn solve(agreement: &Agreement, budget: &mut u64) -> Found {
    if agreement.widths.iter().all(|width| *width <= 2) {
        return two_satisfiability::solve(agreement).map_or(Found::Nothing, Found::Solution);
    }
    Search::new(agreement, budget).run()
}

/// Whether this solution is the only one: searches again for each pattern in turn, without its chosen choice.
fn is_unique(agreement: &Agreement, solution: &[usize], budget: &mut u64) -> Option<bool> {
    for (pattern, chosen) in solution.iter().enumerate() {
        match Search::new(agreement, budget)
            .without(pattern, *chosen)
            .run()
        {
            Found::Solution(_) => return Some(false),
            Found::Spent => return None,
            Found::Nothing => {}
        }
    }
    Some(true)
}

/// Leaves out patterns that the contradiction does not need: halves, then quarters, and so on down to single
/// ones. None of the remaining patterns can be left out, unless the budget is spent before.
fn smaller(agreement: &Agreement, budget: &mut u64) -> Vec<usize> {
    let mut core: Vec<usize> = (0..agreement.widths.len()).collect();
    let mut size = core.len().div_ceil(2);
    loop {
        let mut begin = 0;
        while begin < core.len() {
            let mut fewer = core.clone();
            fewer.drain(begin..(begin + size).min(core.len()));
            let restricted = agreement.of_patterns(&fewer);
            let work = restricted.widths.iter().sum::<usize>() * fewer.len();
            let Some(left) = budget.checked_sub(1 + work as u64 / PAIRS_A_CHOICE) else {
                return core;
            };
            *budget = left;
            match solve(&restricted, budget) {
                Found::Nothing => core = fewer,
                Found::Solution(_) => begin += size,
                Found::Spent => return core,
            }
        }
        if size == 1 {
            return core;
        }
        size = size.div_ceil(2);
    }
}

/// Extends the choices of the maximal patterns to all patterns.
fn witness(
    system: &FailProneSystem,
    residuals: &[Residual],
    kind: Kind,
    kept: &[usize],
    chosen: Vec<Choice>,
    is_unique: Option<bool>,
) -> Witness {
    let serve = |index: usize| {
        if let Some(place) = kept.iter().position(|k| *k == index) {
            return chosen[place];
        }
        // This pattern lies within some maximal pattern: its component is the one that holds the other's
        // choice.
        let of = |(place, k): (usize, &usize)| {
            let is_within = residuals[*k].is_part_of(&residuals[index]);
            is_within.then(|| chosen[place].write)
        };
        let write = kept.iter().enumerate().find_map(of).unwrap_or_default();
        let holds = |choice: &Choice| write.is_subset(choice.write);
        let own = choices(&residuals[index], kind).into_iter().find(holds);
        own.unwrap_or(Choice { write, read: write })
    };
    let choices: Vec<Choice> = (0..system.patterns.len()).map(serve).collect();
    let writes: Vec<ProcessSet> = choices.iter().map(|choice| choice.write).collect();
    let mut distinct = writes.clone();
    distinct.sort_unstable_by_key(|write| write.low_bits());
    distinct.dedup();
    let work = (choices.len() * distinct.len()).saturating_mul(system.processes.n());
    let read = |choice: &Choice| {
        if work > MOST_WORK {
            choice.read
        } else {
            smallest(choice.read, &distinct)
        }
    };
    let reads = choices.iter().map(read).collect();
    Witness {
        choices,
        writes,
        reads,
        is_unique,
    }
}

/// A part of the read quorum that still meets all write quorums, and from which no process can be left out.
fn smallest(read: ProcessSet, writes: &[ProcessSet]) -> ProcessSet {
    read.iter().fold(read, |kept, p| {
        let fewer = kept.without(ProcessSet::from_iter([p]));
        let meets_all = writes.iter().all(|write| !write.is_disjoint(fewer));
        if meets_all { fewer } else { kept }
    })
}

#[cfg(test)]
mod tests;
