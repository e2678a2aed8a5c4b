//! Mutants whose changed rule stands in a source, or is how the algorithm is often told. Each has the number of its
//! erratum, by which the tests of the algorithm and the laboratory know it: the letter and number of the algorithm,
//! and the number of the rule.
//!
//! The rule is changed at the border of the algorithm: what it hears is dropped, held or renumbered, and what it says
//! is dropped, so that it does what it would do under the other rule.
mod agreement;
mod broadcasts;
mod shared;
mod views;

use super::find;
use crate::{
    algorithm::{Mutant, Wire},
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_core::{Algorithm, ProcessId};
use quorate_sim::Alter;

/// A mutant by a published rule, its algorithm, and its erratum.
#[derive(Clone, Copy)]
pub(super) struct Published {
    erratum: &'static str,
    of: &'static str,
    mutant: Mutant,
    /// How many processes show it.
    processes: usize,
}

/// Mutants that stand elsewhere, in an entry or among those altered on the way, whose rule has an erratum.
const ELSEWHERE: [(&str, &str); 12] = [
    ("all-ack-with-errors", "B3-E4"),
    ("as-they-come", "B7-E1"),
    ("flood-set-sends-again", "C2-E2"),
    ("flood-set-one-round-less", "C2-E3"),
    ("early-stopping-says-it-again", "C4-E1"),
    ("hierarchical-with-errors", "D1-E6"),
    ("uniform-hierarchical-with-errors", "D2-E6"),
    ("anybodys-data", "D4-E3"),
    ("non-blocking-with-errors", "D5-E6"),
    ("awaiting-the-faulty", "D7-E1"),
    ("views-drop-the-next", "D7-E5"),
    ("views-by-consensus-drops-the-next", "D8-E6"),
];

/// An erratum that no mutant shows, why not, and the test that stands for it: its file, and its name.
#[derive(Clone, Copy, Debug)]
pub struct Untold {
    pub erratum: &'static str,
    pub why: &'static str,
    /// `None` if there is nothing to test.
    pub test: Option<(&'static str, &'static str)>,
}

const fn untold(erratum: &'static str, why: &'static str, test: [&'static str; 2]) -> Untold {
    let test = Some((test[0], test[1]));
    Untold { erratum, why, test }
}

pub(super) const UNTOLD: &[Untold] = &[
    untold(
        "B5-E3",
        "no property breaks: a set is kept that nobody completes, and memory grows",
        [
            "crates/broadcast/src/causal_collected/tests.rs",
            "b5_e3_an_acknowledgement_may_come_after_the_collection",
        ],
    ),
    untold(
        "D4-E1",
        "the run never rests, so that no liveness property is judged, and no safety property breaks",
        [
            "crates/broadcast/src/terminating/tests/errata.rs",
            "d4_e1_a_proposal_that_stays_enabled_is_proposed_for_ever",
        ],
    ),
    untold(
        "G2-E4",
        "flooding delivers each message once here, so that no request arrives twice",
        [
            "crates/quorums/src/generalized/tests/errata.rs",
            "g2_e4_a_request_that_arrives_twice_and_is_applied_twice_breaks_qaf1",
        ],
    ),
    untold(
        "G2-E7",
        "in most quorum systems as many processes as a quorum has are one",
        [
            "crates/quorums/src/generalized/tests/errata.rs",
            "g2_e7_as_many_as_a_quorum_has_are_no_quorum_and_break_qaf2",
        ],
    ),
    untold(
        "G3-E4",
        "it is about the checker, which lets a write that never returns take effect",
        [
            "crates/sim/src/properties/tests/shared.rs",
            "a_write_that_never_returns_takes_effect_once_or_never",
        ],
    ),
    Untold {
        erratum: "G3-E5",
        why: "it is about relations of a proof, and no rule",
        test: None,
    },
    untold(
        "G7-E1",
        "where clocks differ by a constant it only costs time: a view that an early process leads decides",
        [
            "crates/consensus/src/by_quorums/tests/errata.rs",
            "g7_e1_uc4_is_broken_where_states_that_come_before_the_view_are_dropped",
        ],
    ),
    untold(
        "G7-E4",
        "it takes quorums of two kinds, and a pattern of failures",
        [
            "crates/consensus/src/by_quorums/tests/figure_1.rs",
            "proposals_are_decided_where_they_can_be_and_not_with_quorums_exchanged",
        ],
    ),
    untold(
        "G7-E5",
        "it is no wrong rule: acceptances of an older view may count",
        [
            "crates/consensus/src/by_quorums/tests/errata.rs",
            "g7_e5_acceptances_of_an_older_view_count",
        ],
    ),
    untold(
        "G7-E6",
        "a turn that is shifted by one breaks nothing, and of two proposals of a view the first is accepted",
        [
            "crates/consensus/src/by_quorums/tests/errata.rs",
            "g7_e6_views_are_led_in_turn_from_p1_on_and_a_leader_proposes_once",
        ],
    ),
    untold(
        "G7-E7",
        "it takes channels that fail for good",
        [
            "crates/consensus/src/by_quorums/tests/figure_1.rs",
            "uc4_is_broken_where_states_are_not_passed_on",
        ],
    ),
    untold(
        "G7-E8",
        "it is a choice: who has decided sends the decision",
        [
            "crates/consensus/src/by_quorums/tests/errata.rs",
            "g7_e8_who_has_decided_answers_who_has_not",
        ],
    ),
];

fn rows() -> impl Iterator<Item = &'static Published> {
    let families = [broadcasts::ALL, agreement::ALL, views::ALL, shared::ALL];
    families.into_iter().flatten()
}

/// All of them, each with the name of its algorithm.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static Mutant)> {
    rows().map(|row| (row.of, &row.mutant))
}

/// How many processes show the mutant of this name, if it is one of these.
pub(super) fn processes(name: &str) -> Option<usize> {
    let row = rows().find(|row| row.mutant.name == name);
    row.map(|row| row.processes)
}

/// How many mutants that have an erratum stand elsewhere.
#[cfg(test)]
pub(super) fn elsewhere() -> usize {
    ELSEWHERE.len()
}

/// The erratum of the rule of the mutant of this name, if it has one.
pub(super) fn erratum(name: &str) -> Option<&'static str> {
    let here = rows()
        .find(|row| row.mutant.name == name)
        .map(|row| row.erratum);
    let elsewhere = ELSEWHERE.iter().find(|(mutant, _)| *mutant == name);
    here.or(elsewhere.map(|(_, erratum)| *erratum))
}

/// Declares one: its erratum, its algorithm, its name, the change, the property that it breaks and the faults under
/// which that shows, and how it is wired.
const fn published(
    [erratum, of]: [&'static str; 2],
    [name, change]: [&'static str; 2],
    (breaks, under): (&'static str, Faults),
    wire: Wire,
) -> Published {
    Published {
        erratum,
        of,
        mutant: Mutant {
            name,
            aliases: &[],
            change,
            breaks,
            under,
            wire,
        },
        processes: 3,
    }
}

/// The same, where it takes more processes to show it.
const fn among(processes: usize, row: &Published) -> Published {
    Published { processes, ..*row }
}

/// No faults but those of a detector that may err.
const NO_FAULTS: Faults = Faults::NONE;

const TWO_CRASHES: Faults = Faults {
    crashes: 2,
    ..Faults::NONE
};

/// Another rule at one process: what the algorithm hears and says under it.
struct Rule<S, E, F> {
    state: S,
    hear: Hear<S, E>,
    say: Say<S, F>,
}

type Hear<S, E> = fn(&mut S, E, &mut Vec<E>);
type Say<S, F> = fn(&mut S, F, &mut Vec<F>);

impl<S: Send, E, F> Alter<E, F> for Rule<S, E, F> {
    fn hear(&mut self, event: E, heard: &mut Vec<E>) {
        (self.hear)(&mut self.state, event, heard);
    }

    fn say(&mut self, effect: F, said: &mut Vec<F>) {
        (self.say)(&mut self.state, effect, said);
    }
}

/// Hears or says everything as it is.
fn as_it_is<S, T>(_: &mut S, it: T, out: &mut Vec<T>) {
    out.push(it);
}

/// Wires the algorithm of this name, whose algorithms with these events and effects are under another rule.
fn ruled<S, E, F>(
    of: &str,
    wiring: &Wiring<'_>,
    state: impl Fn(ProcessId) -> S + Send + Sync + 'static,
    (hear, say): (Hear<S, E>, Say<S, F>),
) -> RequestPort
where
    S: Send + 'static,
    E: 'static,
    F: 'static,
{
    let altered = wiring.altered(move |me| Rule {
        state: state(me),
        hear,
        say,
    });
    find(of).map_or(RequestPort::Nothing, |algorithm| {
        (algorithm.simulation.wire)(&altered)
    })
}

/// Wires the algorithm of this name, where another algorithm stands in the place of each one of this type.
fn replaced<A, B>(
    of: &str,
    wiring: &Wiring<'_>,
    make: impl Fn(ProcessId, A) -> B + Send + Sync + 'static,
) -> RequestPort
where
    A: Algorithm,
    B: Algorithm<Event = A::Event, Effect = A::Effect>,
{
    let replaced = wiring.replaced(make);
    find(of).map_or(RequestPort::Nothing, |algorithm| {
        (algorithm.simulation.wire)(&replaced)
    })
}
