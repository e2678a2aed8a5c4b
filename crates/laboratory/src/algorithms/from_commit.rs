//! The perfect failure detector from atomic commit: one half of their equivalence, between two processes.
use super::{BOOK, detectors::PERFECT, from_terminating::pace};
use crate::{
    algorithm::{Algorithm, Bound, Detector, Models, Mutant, Simulation, Substrate, Timing},
    gaps::Gap,
    handles::builder,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{
    atomic_commit::{Decide, Outcome, Propose},
    link::Links,
    perfect,
};
use quorate_core::{Addr, Host, ProcessId};
use quorate_detectors::from_commit;
use quorate_sim::properties;
use quorate_stacks::stack;
use std::sync::{Arc, Mutex, PoisonError};

const MODULE: &str = "from-commit";

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "perfect-from-commit",
    gap: Gap::Repeats("nothing of its own: the atomic commit below goes on"),
    handle: builder("crashes_from_commit"),
    aliases: &[],
    title: "from atomic commit between two",
    abstraction: "perfect failure detector",
    file: "crates/detectors/src/from_commit.rs",
    source: BOOK,
    timing: Timing::Synchronous,
    models: Models::CRASH,
    bound: Bound::Any,
    detector: Detector::Perfect,
    over: &["atomic commit"],
    properties: PERFECT,
    cost: None,
    reads: None,
    rate: "two instances of the layer below a pair and interval: 4n(n−1) messages",
    memory: "O(n)",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::TimedLinks,
        module: MODULE,
        done: "Crash",
        wire: |wiring| of_pairs(wiring, |decision| decision),
        check: |_| properties::perfect(MODULE),
    },
    mutants: &[
        Mutant {
            name: "abort-unheard",
            aliases: &[],
            change: "an abort is taken for a commit",
            breaks: "PFD1",
            under: Faults::ONE_CRASH,
            wire: |wiring| {
                of_pairs(wiring, |decision| Decide {
                    outcome: Outcome::Commit,
                    ..decision
                })
            },
        },
        Mutant {
            name: "commit-of-death",
            aliases: &[],
            change: "a commit is taken for an abort",
            breaks: "PFD2",
            under: Faults::NONE,
            wire: |wiring| {
                of_pairs(wiring, |decision| Decide {
                    outcome: Outcome::Abort,
                    ..decision
                })
            },
        },
        Mutant {
            name: "somebody-is-anybody",
            aliases: &[],
            change: "all processes vote in the instances of each pair, so that an abort does not say who crashed",
            breaks: "PFD2",
            under: Faults::ONE_CRASH,
            wire: of_all,
        },
    ],
}];

/// Wires the detector over a commit of each pair whose decisions this function alters.
fn of_pairs(wiring: &Wiring<'_>, alter: fn(Decide) -> Decide) -> RequestPort {
    let (host, links) = (wiring.host().at(MODULE), wiring.links().at(MODULE));
    let perfect = wiring.perfect();
    let commit = stack::commit_of_pairs(&host, &links, &perfect);
    detect(wiring, |partner, up| commit(partner, up.with(alter)))
}

/// Wires the detector over one commit of all processes, in place of those of the pairs.
fn of_all(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (wiring.host().at(MODULE), wiring.links().at(MODULE));
    let pairs: Arc<Mutex<Vec<Addr<Decide>>>> = Arc::default();
    let all = pairs.clone();
    let decided = Addr::new(move |decision: Decide| {
        let all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().for_each(|pair| pair.send(decision));
    });
    let commit = stack::non_blocking(&host, &links, &wiring.perfect(), decided);
    detect(wiring, |_, up| {
        let mut pairs = pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.push(up);
        // Of the votes for the pairs in an instance, the first counts.
        commit.clone()
    })
}

fn detect(
    wiring: &Wiring<'_>,
    commit: impl Fn(ProcessId, Addr<Decide>) -> Addr<Propose>,
) -> RequestPort {
    let detector = from_commit::spawn(&wiring.host().at(MODULE), pace(wiring), commit);
    detector.send(wiring.application::<perfect::Crash>());
    RequestPort::Nothing
}
