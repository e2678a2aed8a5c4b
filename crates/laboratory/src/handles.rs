//! By which handle of the library an algorithm is reached, or why it only runs in the simulator.
/// How an algorithm is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handle {
    /// By a method of the library's `Builder` that takes the algorithm by its name.
    ByName {
        method: &'static str,
        /// The further arguments.
        more: &'static str,
    },
    /// By a method of its own.
    By {
        /// The type that has the method: `Builder` or `Node`.
        of: &'static str,
        method: &'static str,
    },
    /// Only in the simulator.
    Simulated { why: &'static str },
}

impl Handle {
    /// How an algorithm of this name is reached, in words.
    pub fn reached(&self, name: &str) -> String {
        match self {
            Handle::ByName { method, more } => {
                format!("`Builder::{method}(NAME, \"{name}\".parse()?{more})`")
            }
            Handle::By { of, method } => format!("`{of}::{method}`"),
            Handle::Simulated { why } => format!("only in the simulator: {why}"),
        }
    }
}

/// By a method of the builder.
pub(crate) const fn builder(method: &'static str) -> Handle {
    let of = "Builder";
    Handle::By { of, method }
}

/// By a method of the node.
pub(crate) const fn node(method: &'static str) -> Handle {
    let of = "Node";
    Handle::By { of, method }
}

/// By a method that takes the algorithm's name, and `more`.
pub(crate) const fn named(method: &'static str, more: &'static str) -> Handle {
    Handle::ByName { method, more }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{algorithms, rounds};
    use quorate_stacks::{
        agreements::{Commit, Consensus},
        broadcasts::Broadcast,
        registers::Registers,
        views::Views,
    };
    use std::{fs, path::Path};

    /// The sources of the runtime's builder and of what it starts, which have all the methods.
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
        let handles = algorithms::all().map(|algorithm| (algorithm.name, algorithm.handle));
        let in_rounds = rounds::ENTRIES.iter();
        let in_rounds = in_rounds.map(|entry| (entry.name, entry.handle));
        for (name, handle) in handles.chain(in_rounds) {
            let method = match handle {
                Handle::ByName { method, .. } | Handle::By { method, .. } => method,
                Handle::Simulated { why } => {
                    assert!(!why.is_empty(), "{name}");
                    continue;
                }
            };
            let exists = ["(", "<"].iter().any(|next| {
                let declared = format!("pub fn {method}{next}");
                sources.contains(&declared)
            });
            assert!(exists, "{name}: {}", handle.reached(name));
        }
    }

    /// The types that are read from names show which methods take a name.
    #[test]
    fn what_a_node_can_be_asked_for_by_name_says_so_and_nothing_else() {
        for algorithm in algorithms::all() {
            let name = algorithm.name;
            let methods = [
                (name.parse::<Broadcast>().is_ok(), "broadcast"),
                (name.parse::<Consensus>().is_ok(), "consensus"),
                (name.parse::<Commit>().is_ok(), "commit"),
                (name.parse::<Registers>().is_ok(), "registers_with"),
                (name.parse::<Views>().is_ok(), "views_with"),
            ];
            let takes = methods.iter().find(|(takes, _)| *takes);
            let says = match algorithm.handle {
                Handle::ByName { method, .. } => Some(method),
                Handle::By { .. } | Handle::Simulated { .. } => None,
            };
            assert_eq!(says, takes.map(|(_, method)| *method), "{name}");
        }
    }
}
