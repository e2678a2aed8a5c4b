//! The search for choices that agree: the pattern with the fewest choices comes first, and choices that
//! cannot agree are struck out at once.
use super::Agreement;

/// The result of a search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// A choice for each pattern.
    Solution(Vec<usize>),
    /// There is no solution.
    Nothing,
    /// The budget is spent.
    Spent,
}

/// A search. The remaining choices of each pattern are kept as bits.
pub(crate) struct Search<'a> {
    agreement: &'a Agreement,
    left: Vec<u128>,
    /// How many choices may still be tried.
    budget: &'a mut u64,
}

fn all(width: usize) -> u128 {
    1_u128
        .checked_shl(width as u32)
        .unwrap_or(0)
        .wrapping_sub(1)
}

fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(index)
    })
}

impl<'a> Search<'a> {
    pub(crate) fn new(agreement: &'a Agreement, budget: &'a mut u64) -> Self {
        Search {
            agreement,
            left: agreement.widths.iter().map(|width| all(*width)).collect(),
            budget,
        }
    }

    /// The same search, except that the pattern must not choose this.
    pub(crate) fn without(mut self, pattern: usize, choice: usize) -> Self {
        self.left[pattern] &= !(1 << choice);
        self
    }

    pub(crate) fn run(mut self) -> Found {
        let patterns: Vec<usize> = (0..self.left.len()).collect();
        let mut left = std::mem::take(&mut self.left);
        if !self.strike_out(&mut left, patterns) {
            return Found::Nothing;
        }
        // Each entry is a state that is still to be examined.
        let mut agenda = vec![left];
        while let Some(left) = agenda.pop() {
            let undecided = (0..left.len()).filter(|p| left[*p].count_ones() > 1);
            let Some(pattern) = undecided.min_by_key(|p| left[*p].count_ones()) else {
                let chosen = left.iter().map(|left| left.trailing_zeros() as usize);
                return Found::Solution(chosen.collect());
            };
            let choices: Vec<usize> = bits(left[pattern]).collect();
            // The last pushed is examined first.
            for choice in choices.into_iter().rev() {
                let Some(budget) = self.budget.checked_sub(1) else {
                    return Found::Spent;
                };
                *self.budget = budget;
                let mut next = left.clone();
                next[pattern] = 1 << choice;
                if self.strike_out(&mut next, vec![pattern]) {
                    agenda.push(next);
                }
            }
        }
        Found::Nothing
    }

    /// Strikes out choices that agree with no remaining choice of a changed pattern, and so on. Returns
    /// `false` if some pattern has no choice left.
    fn strike_out(&self, left: &mut [u128], mut changed: Vec<usize>) -> bool {
        while let Some(pattern) = changed.pop() {
            for other in 0..left.len() {
                if other == pattern {
                    continue;
                }
                let supported = bits(left[pattern]).fold(0, |sum, choice| {
                    sum | self.agreement.with(pattern, choice, other)
                });
                let kept = left[other] & supported;
                if kept == 0 {
                    return false;
                }
                if kept != left[other] {
                    left[other] = kept;
                    if !changed.contains(&other) {
                        changed.push(other);
                    }
                }
            }
        }
        left.iter().all(|left| *left != 0)
    }
}
