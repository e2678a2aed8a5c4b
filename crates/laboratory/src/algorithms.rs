//! The entries, one per algorithm, from the bottom up.
mod altered;
mod broadcast;
mod by_quorums;
mod by_total_order;
mod causal;
mod commit;
mod consensus;
mod detectors;
mod first_in_first_out;
mod from_commit;
mod from_terminating;
mod given_quorums;
mod links;
mod membership;
mod published;
mod quorum_access;
mod register_by_consensus;
mod registers;
mod sealed;
mod snapshots;
mod terminating;
mod total_order;
mod traced;
mod views;

pub use given_quorums::{OnSystem, on_system, on_systems};
pub use published::Untold;

use crate::algorithm::{Algorithm, Clause, Cost, Dead, Formula, Kind, Mutant, OneDead, Property};

const BOOK: &str = "Cachin, Guerraoui, Rodrigues: Introduction to Reliable and Secure Distributed \
                    Programming";

/// Every algorithm, from the bottom up.
pub fn all() -> impl Iterator<Item = &'static Algorithm> {
    let families = [
        links::ALL,
        sealed::ALL,
        detectors::ALL,
        broadcast::ALL,
        first_in_first_out::ALL,
        causal::ALL,
        consensus::ALL,
        total_order::ALL,
        by_total_order::ALL,
        terminating::ALL,
        from_terminating::ALL,
        commit::ALL,
        from_commit::ALL,
        membership::ALL,
        views::ALL,
        registers::ALL,
        register_by_consensus::ALL,
        quorum_access::ALL,
        snapshots::ALL,
        by_quorums::ALL,
    ];
    families.into_iter().flatten()
}

/// The algorithm of that name or alias.
pub fn find(name: &str) -> Option<&'static Algorithm> {
    all().find(|algorithm| algorithm.is_called(name))
}

/// Every mutant, with its algorithm: those with a rule changed, as published or not, and those that are altered on the
/// way.
pub fn mutants() -> impl Iterator<Item = (&'static Algorithm, &'static Mutant)> {
    let elsewhere = published::all().chain(altered::all());
    let elsewhere = elsewhere.filter_map(|(name, mutant)| Some((find(name)?, mutant)));
    changed().chain(elsewhere)
}

/// The erratum of a mutant, in rounds or not, whose rule stands in a source or is how the algorithm is often told:
/// `D8-E4`.
pub fn erratum(mutant: &str) -> Option<&'static str> {
    published::erratum(mutant)
}

/// The errata that no mutant shows, and why not.
pub fn untold() -> impl Iterator<Item = &'static Untold> {
    published::UNTOLD.iter()
}

/// Words of the checker's verdict on the part of a property that the mutant of this name is made for, if it is
/// made for one.
pub(crate) fn shows(mutant: &str) -> Option<&'static str> {
    altered::shows(mutant)
}

/// How many processes show the mutant of this name.
pub(crate) fn processes_of(mutant: &str) -> usize {
    published::processes(mutant).unwrap_or(3)
}

/// The mutants of the entries: in each, a rule of the algorithm, or what it stands on, is changed.
pub fn changed() -> impl Iterator<Item = (&'static Algorithm, &'static Mutant)> {
    all().flat_map(|algorithm| {
        algorithm
            .mutants
            .iter()
            .map(move |mutant| (algorithm, mutant))
    })
}

/// The cost of an operation on a shared object that takes the same steps when the last process is dead.
const fn alike(messages: Formula, steps: Formula, dead: Formula) -> Cost {
    Cost {
        messages,
        steps,
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: dead,
            steps,
        }),
        sender_crashes: None,
    }
}

const fn safety(tag: &'static str, says: &'static str) -> Property {
    Property {
        tag,
        kind: Kind::Safety,
        says,
        clauses: &[],
    }
}

const fn liveness(tag: &'static str, says: &'static str) -> Property {
    Property {
        tag,
        kind: Kind::Liveness,
        says,
        clauses: &[],
    }
}

/// A part of a property, and words of the checker's verdict on it.
pub(crate) const fn clause(says: &'static str, verdict: &'static str) -> Clause {
    Clause { says, verdict }
}

#[cfg(test)]
mod tests;
