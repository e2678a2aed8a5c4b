//! Registers from a sequence of consensus instances.
use super::registers::{SHARED, port, shared};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Simulation, Substrate,
        Timing, formula,
    },
    gaps::Gap,
    handles::Handle,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{
    consensus::{Decide, Propose},
    link::Links,
    reliable,
};
use quorate_core::{Addr, Host};
use quorate_registers::by_consensus;
use quorate_sim::properties;
use quorate_stacks::stack;

/// The cost of a reliable broadcast, and of an instance of consensus.
const OPERATION: Cost = Cost {
    messages: formula("(2n+3)(n−1)", |s| (2 * s.n + 3) * (s.n - 1)),
    steps: formula("4", |s| if s.n > 1 { 4 } else { 0 }),
    one_dead: Some(OneDead {
        which: Dead::Last,
        messages: formula("2(n−1)² + 3n−5", |s| {
            2 * (s.n - 1).pow(2) + 3 * s.n - 5
        }),
        steps: formula("4", |_| 4),
    }),
    sender_crashes: None,
};

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "register-by-consensus",
    gap: Gap::Ends(
        "consensus goes on; an operation whose announcement was lost may come with a decision that orders it, \
         and otherwise never returns",
    ),
    handle: Handle::Simulated {
        why: "it shows that consensus gives registers; on a node, a replicated machine has many objects in one order",
    },
    aliases: &[],
    title: "by consensus",
    abstraction: "(N,N) atomic register",
    file: "crates/registers/src/by_consensus.rs",
    source: "Schneider: Implementing Fault-Tolerant Services Using the State Machine Approach, 1990; Herlihy: \
             Wait-Free Synchronization, 1991",
    timing: Timing::EventuallySynchronous,
    models: Models::SAFE_UNDER_OMISSION,
    bound: Bound::Minority,
    detector: Detector::EventuallyPerfect,
    over: &["reliable broadcast", "uniform consensus"],
    properties: SHARED,
    cost: Some(OPERATION),
    reads: Some(OPERATION),
    rate: "none",
    memory: "the values; two numbers a process; operations in flight, and early decisions",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "register",
        done: "WriteReturn",
        wire: |wiring| agreed(wiring, decided),
        check: |processes| {
            let mut all = shared(processes);
            all.extend(properties::reliable(processes, "register/reliable"));
            all.extend(properties::consensus(processes, "consensus"));
            all
        },
    },
    mutants: &[
        Mutant {
            name: "register-without-agreement",
            aliases: &[],
            change: "each process takes its own proposal for the decision",
            breaks: "NNAR2",
            under: Faults::NONE,
            wire: |wiring| {
                agreed(wiring, |_, up| {
                    up.with(|Propose { instance, value }| Decide { instance, value })
                })
            },
        },
        Mutant {
            name: "register-never-suspects",
            aliases: &[],
            change: "nobody ever suspects a coordinator of consensus",
            breaks: "NNAR1",
            under: Faults::ONE_CRASH,
            wire: |wiring| {
                agreed(wiring, |wiring, up| {
                    let (host, links) = below(wiring);
                    stack::consensus(&host, &links, &Addr::nowhere(), up)
                })
            },
        },
    ],
}];

fn below(wiring: &Wiring<'_>) -> (impl Host + use<>, impl Links + use<>) {
    (wiring.host().at("register"), wiring.links().at("register"))
}

/// Consensus by a rotating coordinator, which decides for these registers.
fn decided(wiring: &Wiring<'_>, up: Addr<Decide>) -> Addr<Propose> {
    let (host, links) = below(wiring);
    stack::consensus(&host, &links, &wiring.eventually_perfect(), up)
}

/// The registers over this consensus.
fn agreed(
    wiring: &Wiring<'_>,
    consensus: fn(&Wiring<'_>, Addr<Decide>) -> Addr<Propose>,
) -> RequestPort {
    let (host, links) = below(wiring);
    let reliable = |up: Addr<reliable::Deliver>| stack::reliable(&host, &links, up);
    let consensus = |up: Addr<Decide>| consensus(wiring, up);
    let requests = by_consensus::spawn(&host, reliable, consensus, wiring.application());
    port(&requests, None)
}
