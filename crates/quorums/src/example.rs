//! The paper's example: four processes, and four patterns of failures for which there are quorums, but none
//! that algorithms with requests and answers could use.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, figure 1.
use crate::{
    family::{Family, Quorums},
    system::{FailProneSystem, Pattern},
};
use quorate_core::{Membership, ProcessId, ProcessSet};

/// A fail-prone system, and quorums for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    /// The failures that may occur.
    pub system: FailProneSystem,
    pub quorums: Quorums,
}

impl Example {
    /// The pattern of this index, and the processes at which operations return under it; `None` if there are
    /// fewer patterns, or if the quorums are no generalized quorum system.
    pub fn pattern(&self, index: usize) -> Option<(&Pattern, ProcessSet)> {
        let guaranteed = self.system.verify(&self.quorums).ok()?;
        let pattern = self.system.patterns.get(index)?;
        Some((pattern, *guaranteed.get(index)?))
    }
}

/// Figure 1, as in `config/quorums/figure-1.toml`: a to d are p1 to p4, and each pattern is the previous one
/// after the renaming a → b → c → d → a. Never `None`: four processes can be a membership.
pub fn figure_1() -> Option<Example> {
    let processes = Membership::of_size(4).ok()?;
    let letters: Vec<ProcessId> = processes.iter().collect();
    let set = |indices: &[usize]| -> ProcessSet {
        let members = indices.iter().filter_map(|index| letters.get(index % 4));
        members.copied().collect()
    };
    let pattern = |turn: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|letter| letter + turn);
        // The channels that stay are a>b, b>a and c>a.
        let mut disconnect = vec![ProcessSet::EMPTY; 4];
        disconnect[a % 4] = set(&[c]);
        disconnect[b % 4] = set(&[c]);
        disconnect[c % 4] = set(&[b]);
        Pattern {
            name: format!("f{}", turn + 1),
            crash: set(&[d]),
            disconnect,
        }
    };
    Some(Example {
        system: FailProneSystem {
            processes,
            names: ["a", "b", "c", "d"].map(str::to_owned).into(),
            patterns: (0..4).map(pattern).collect(),
        },
        quorums: Quorums {
            reads: Family::Sets(vec![set(&[0, 2]), set(&[1, 3])]),
            writes: Family::Sets((0..4).map(|a| set(&[a, a + 1])).collect()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    #[test]
    fn the_example_is_the_file_that_ships() {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/../../config/quorums/figure-1.toml");
        let shipped = file::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        let example = figure_1().unwrap();
        assert_eq!(example.system, shipped.system);
        let returning = |index| example.pattern(index).unwrap().1;
        let named: Vec<String> = (0..4).map(|i| example.system.named(returning(i))).collect();
        assert_eq!(named, ["{a, b}", "{b, c}", "{c, d}", "{a, d}"]);
        assert_eq!(example.pattern(4), None);
    }
}
