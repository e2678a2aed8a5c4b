//! By which handle of the library an algorithm is reached, or why it only runs in the simulator.
use crate::{
    agreements::{Commit, Consensus},
    algorithm::Algorithm,
    broadcasts::Broadcast,
    registers::Registers,
    views::Views,
};
use std::fmt;

/// How an algorithm is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reached {
    /// By a method that takes the algorithm, which is read from its name.
    ByName {
        /// The method, of the library's `Builder`.
        method: &'static str,
        /// The algorithm's name.
        algorithm: &'static str,
        /// What else it takes.
        more: &'static str,
    },
    /// By a method of its own.
    By {
        /// What has the method: `Builder` or `Node`.
        of: &'static str,
        /// The method.
        method: &'static str,
    },
    /// Only in the simulator.
    Simulated {
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reached::ByName {
                method,
                algorithm,
                more,
            } => write!(
                f,
                "`Builder::{method}(NAME, \"{algorithm}\".parse()?{more})`"
            ),
            Reached::By { of, method } => write!(f, "`{of}::{method}`"),
            Reached::Simulated { why } => write!(f, "only in the simulator: {why}"),
        }
    }
}

/// Those that no method takes the name of.
const OTHERS: [(&str, Reached); 18] = [
    ("retransmit-with-cancel", builder("stubborn")),
    (
        "eliminate-duplicates",
        Reached::Simulated {
            why: "the textbook's perfect links, which remember all that was delivered; `Builder::links` are \
                  those to deploy",
        },
    ),
    ("sliding-window", builder("links")),
    ("exclude-on-timeout", node("crashes")),
    ("increasing-timeout", node("suspicions")),
    ("lowest-rank", node("leader_hint")),
    ("best-effort", builder("best_effort")),
    ("terminating", builder("terminating")),
    (
        "perfect-from-terminating",
        builder("crashes_from_terminating"),
    ),
    ("group-membership", builder("membership")),
    ("flooding", builder("flooding")),
    ("quorum-access-classical", builder("quorum_access")),
    ("quorum-access-generalized", builder("quorum_access")),
    ("register-by-quorum-access", builder("registers_over")),
    ("snapshot-from-registers", builder("snapshot")),
    ("snapshot-by-quorum-access", builder("snapshot_over")),
    ("lattice-agreement", builder("lattice_agreement")),
    (
        "view-synchronizer",
        Reached::Simulated {
            why: "it changes the views of `Builder::consensus_over`, and nothing else needs it",
        },
    ),
];

const fn builder(method: &'static str) -> Reached {
    let of = "Builder";
    Reached::By { of, method }
}

const fn node(method: &'static str) -> Reached {
    let of = "Node";
    Reached::By { of, method }
}

/// How an algorithm of the catalogue is reached.
pub fn reached(algorithm: &Algorithm) -> Option<Reached> {
    let name = algorithm.name;
    let by_name = |method, more| {
        Some(Reached::ByName {
            method,
            algorithm: name,
            more,
        })
    };
    if name.parse::<Broadcast>().is_ok() {
        return by_name("broadcast", "");
    }
    if name.parse::<Consensus>().is_ok() {
        return by_name("consensus", "");
    }
    if name.parse::<Commit>().is_ok() {
        return by_name("commit", "");
    }
    if name.parse::<Registers>().is_ok() {
        return by_name("registers_with", ", WRITER");
    }
    if name.parse::<Views>().is_ok() {
        return by_name("views_with", "");
    }
    let other = OTHERS.iter().find(|(known, _)| *known == name);
    other.map(|(_, reached)| *reached)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms;
    use std::{fs, path::Path};

    /// All that the runtime's builder, and what it starts, can be asked for.
    fn sources() -> String {
        let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src");
        let mut files = vec![runtime.join("node.rs")];
        let others = fs::read_dir(runtime.join("node")).unwrap();
        files.extend(others.map(|file| file.unwrap().path()));
        files.retain(|file| file.extension().is_some_and(|it| it == "rs"));
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
        texts.collect()
    }

    #[test]
    fn every_algorithm_is_reached_by_a_method_that_there_is_or_says_why_not() {
        let sources = sources();
        for algorithm in algorithms::all() {
            let reached = reached(algorithm);
            let reached = reached.unwrap_or_else(|| panic!("{}: by which handle?", algorithm.name));
            let method = match reached {
                Reached::ByName { method, .. } | Reached::By { method, .. } => method,
                Reached::Simulated { why } => {
                    assert!(!why.is_empty());
                    continue;
                }
            };
            let exists = ["(", "<"].iter().any(|next| {
                let declared = format!("pub fn {method}{next}");
                sources.contains(&declared)
            });
            assert!(exists, "{}: there is no {reached}", algorithm.name);
        }
    }

    #[test]
    fn what_has_a_handle_is_in_the_catalogue() {
        for (name, _) in OTHERS {
            assert!(
                algorithms::find(name).is_some_and(|it| it.name == name),
                "{name}"
            );
        }
    }
}
