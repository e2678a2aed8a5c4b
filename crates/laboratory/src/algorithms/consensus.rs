//! Consensus.
use super::{BOOK, clause, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Size, Substrate, Timing, formula,
    },
    gaps::{self, Gap},
    handles::named,
    scenario::Faults,
    wiring::{Proposal, RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, consensus, eventually_perfect,
    leader::Trust,
    link::{self, Links},
    perfect, regular_consensus,
};
use quorate_consensus::{
    hierarchical, leader_driven,
    randomised::{self, Content, Message},
    uniform_hierarchical,
};
use quorate_core::{Addr, Host, Layer, Membership};
use quorate_sim::properties::{self, Properties};
use quorate_stacks::stack;

const REGULAR: &[Property] = &[
    safety("C1", "validity: what is decided was proposed").of(&[clause(
        "what is decided in an instance was proposed there",
        "nobody proposed",
    )]),
    safety(
        "C2",
        "agreement: no two correct processes decide differently",
    )
    .of(&[clause(
        "no two correct processes decide differently",
        "decide differently",
    )]),
    safety("C3", "integrity: a process decides at most once").of(&[clause(
        "no process decides twice in an instance",
        "decides twice",
    )]),
    liveness(
        "C4",
        "termination: if all correct processes propose, all decide",
    )
    .of(&[clause(
        "if all correct processes propose, every correct process decides",
        "never decides",
    )]),
];

pub(super) const UNIFORM: &[Property] = &[
    safety("UC1", "validity: what is decided was proposed").of(&[clause(
        "what is decided in an instance was proposed there",
        "nobody proposed",
    )]),
    safety(
        "UC2",
        "uniform agreement: no two processes decide differently",
    )
    .of(&[clause(
        "no two processes decide differently",
        "otherwise than another",
    )]),
    safety("UC3", "integrity: a process decides at most once").of(&[clause(
        "no process decides twice in an instance",
        "decides twice",
    )]),
    liveness(
        "UC4",
        "termination: if all correct processes propose, all decide",
    )
    .of(&[clause(
        "if all correct processes propose, every correct process decides",
        "never decides",
    )]),
];

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "hierarchical",
        gap: gaps::IMPOSED,
        handle: named("consensus", ""),
        aliases: &["regular-consensus"],
        title: "hierarchical",
        abstraction: "regular consensus",
        file: "crates/consensus/src/hierarchical.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["best-effort broadcast", "perfect failure detector"],
        properties: REGULAR,
        cost: Some(Cost {
            messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
            steps: formula("n−1", |s| s.n - 1),
            one_dead: Some(OneDead {
                which: Dead::First,
                messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
                steps: formula("D + n−2", |s| s.d + s.n - 2),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("k + (n−1)²", |s| s.k + (s.n - 1).pow(2)),
                steps: None,
            }),
        }),
        reads: None,
        rate: "none",
        memory: "O(n) an undecided instance; decided ones, as a watermark",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "consensus",
            done: "Decide",
            wire: |wiring| hierarchical(wiring, &wiring.perfect()),
            check: |processes| properties::regular_consensus(processes, "consensus"),
        },
        mutants: &[
            Mutant {
                name: "hierarchical-with-errors",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "C2",
                under: Faults::NONE,
                wire: |wiring| hierarchical(wiring, &wiring.erring()),
            },
            Mutant {
                name: "hierarchical-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "C4",
                under: Faults::ONE_CRASH,
                wire: |wiring| hierarchical(wiring, &Addr::nowhere()),
            },
        ],
    },
    Algorithm {
        name: "uniform-hierarchical",
        gap: gaps::IMPOSED,
        handle: named("consensus", ""),
        aliases: &[],
        title: "uniform hierarchical",
        abstraction: "uniform consensus",
        file: "crates/consensus/src/uniform_hierarchical.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["best-effort broadcast", "perfect failure detector"],
        properties: UNIFORM,
        cost: Some(Cost {
            messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
            steps: formula("n", |s| if s.n > 1 { s.n } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::First,
                messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
                steps: formula("D + n−1", |s| s.d + s.n - 1),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("k + (n−1)²", |s| s.k + (s.n - 1).pow(2)),
                steps: None,
            }),
        }),
        reads: None,
        rate: "none",
        memory: "O(n) an undecided instance; decided ones, as a watermark",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "consensus",
            done: "Decide",
            wire: |wiring| uniform_hierarchical(wiring, &wiring.perfect()),
            check: |processes| properties::consensus(processes, "consensus"),
        },
        mutants: &[Mutant {
            name: "uniform-hierarchical-with-errors",
            aliases: &[],
            change: "the failure detector reports processes that have not crashed",
            breaks: "UC2",
            under: Faults::NONE,
            wire: |wiring| uniform_hierarchical(wiring, &wiring.erring()),
        }],
    },
    Algorithm {
        name: "leader-driven",
        gap: Gap::Repeats(
            "open proposals and acceptances, and the latest 1,024 decisions, as far as the receiver lacks \
             them; a candidate campaigns in a higher ballot",
        ),
        handle: named("consensus", ""),
        aliases: &["paxos"],
        title: "leader-driven",
        abstraction: "uniform consensus",
        file: "crates/consensus/src/leader_driven.rs",
        source: "Lamport: The Part-Time Parliament, 1998",
        timing: Timing::EventuallySynchronous,
        models: Models::SAFE_UNDER_OMISSION,
        bound: Bound::Minority,
        detector: Detector::EventuallyPerfect,
        over: &["perfect link", "eventual leader"],
        properties: UNIFORM,
        cost: Some(Cost {
            messages: formula("n²−1", |s| s.n.pow(2) - 1),
            steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::First,
                messages: formula("n² + 2n−5", |s| s.n.pow(2) + 2 * s.n - 5),
                steps: formula("D + 4", |s| s.d + 4),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula(
                    "kn + n² + 2n−5 (k < maj − 1), kn + 5n−6 − 2k (k = maj − 1), kn + 3n−4 (k ≥ maj); \
                     D ≥ 2",
                    leader_crashes,
                ),
                steps: Some(formula(
                    "D + 4 (k < maj − 1), D + 3 (k = maj − 1), 2 (k ≥ maj, n > 3)",
                    |s| match s.n / 2 {
                        _ if s.k == s.n - 1 => 1 + u64::from(s.n > 3),
                        minor if s.k < minor => s.d + 4,
                        minor if s.k == minor => s.d + 3,
                        _ => 2,
                    },
                )),
            }),
        }),
        reads: None,
        rate: "none",
        memory: "O(n) an undecided instance; decided values until all are known to know them",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "consensus",
            done: "Decide",
            wire: |wiring| leader_driven(wiring, &wiring.leader()),
            check: |processes| properties::consensus(processes, "consensus"),
        },
        mutants: &[Mutant {
            name: "led-by-the-dead",
            aliases: &[],
            change: "what the leader detector says is not heard",
            breaks: "UC4",
            under: Faults::ONE_CRASH,
            wire: |wiring| leader_driven(wiring, &Addr::nowhere()),
        }],
    },
    Algorithm {
        name: "rotating-coordinator",
        gap: Gap::Repeats(
            "what was said last in the present round of open instances, that earlier rounds were left, and \
             the latest 256 decisions (or 4 MiB of them): who missed an older one stays without it",
        ),
        handle: named("consensus", ""),
        aliases: &["consensus"],
        title: "rotating coordinator",
        abstraction: "uniform consensus",
        file: "crates/consensus/src/rotating.rs",
        source: "Chandra, Toueg: Unreliable Failure Detectors for Reliable Distributed Systems, 1996",
        timing: Timing::EventuallySynchronous,
        models: Models::SAFE_UNDER_OMISSION,
        bound: Bound::Minority,
        detector: Detector::EventuallyPerfect,
        over: &[
            "perfect link",
            "reliable broadcast",
            "eventually perfect failure detector",
        ],
        properties: UNIFORM,
        cost: Some(Cost {
            messages: formula("3(n−1) + n(n−1)", |s| (3 + s.n) * (s.n - 1)),
            steps: formula("4", |s| if s.n > 1 { 4 } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::First,
                messages: formula("5n−7 + (n−1)²", |s| 5 * s.n - 7 + (s.n - 1).pow(2)),
                steps: formula("D + 4", |s| s.d + 4),
            }),
            // With two processes none may crash: the other waits, with an estimate and an acknowledgement.
            sender_crashes: Some(SenderCrashes {
                messages: formula("k + 5n−7 + (n−1)² (n ≥ 3)", |s| match s.n {
                    2 => s.k + 2,
                    n => s.k + 5 * n - 7 + (n - 1).pow(2),
                }),
                steps: Some(formula("D + 5; D + 7 (k = n−1); n ≥ 3", |s| {
                    match s.n {
                        2 => 0,
                        n if s.k == n - 1 => s.d + 7,
                        _ => s.d + 5,
                    }
                })),
            }),
        }),
        reads: None,
        rate: "none",
        memory: "O(n) an undecided instance; decided ones, as a watermark",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "consensus",
            done: "Decide",
            wire: |wiring| rotating(wiring, &wiring.eventually_perfect()),
            check: check_rotating,
        },
        mutants: &[Mutant {
            name: "never-suspects",
            aliases: &[],
            change: "nobody ever suspects a coordinator",
            breaks: "UC4",
            under: Faults::ONE_CRASH,
            wire: |wiring| rotating(wiring, &Addr::nowhere()),
        }],
    },
    RANDOMISED,
];

const RANDOMISED: Algorithm = Algorithm {
    name: "randomised",
    gap: Gap::Repeats(
        "what was said last in open instances, and the latest 256 decisions: who missed an older one \
             stays without it",
    ),
    handle: named("consensus", ""),
    aliases: &["ben-or"],
    title: "randomised",
    abstraction: "uniform consensus",
    file: "crates/consensus/src/randomised.rs",
    source: "Ben-Or: Another Advantage of Free Choice: Completely Asynchronous Agreement Protocols, \
             1983",
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["perfect link"],
    properties: UNIFORM,
    cost: Some(Cost {
        messages: formula("3n(n−1)", |s| 3 * s.n * (s.n - 1)),
        steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::First,
            messages: formula("3(n−1)²", |s| 3 * (s.n - 1).pow(2)),
            steps: formula("2", |_| 2),
        }),
        // With two processes none may crash: the other waits for it, having sent its messages.
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + 3(n−1)² (n ≥ 3)", |s| match s.n {
                2 => s.k + 2,
                n => s.k + 3 * (n - 1).pow(2),
            }),
            steps: Some(formula("2 (n ≥ 3)", |s| if s.n > 2 { 2 } else { 0 })),
        }),
    }),
    reads: None,
    rate: "none",
    memory: "O(n) an undecided instance; decided ones, as a watermark",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "consensus",
        done: "Decide",
        wire: |wiring| randomised(wiring, |_, report| vec![report]),
        check: |processes| properties::consensus(processes, "consensus"),
    },
    mutants: &[Mutant {
        name: "one-report",
        aliases: &[],
        change: "what one process reports counts as reported by all",
        breaks: "UC2",
        under: Faults::NONE,
        wire: |wiring| {
            randomised(wiring, |processes, report| {
                let from = processes.iter();
                from.map(|from| link::Deliver { from, ..report }).collect()
            })
        },
    }],
};

/// Randomised consensus on the parity of the proposals. This function alters each report that is received.
fn randomised(
    wiring: &Wiring<'_>,
    hear: fn(&Membership, link::Deliver<Message>) -> Vec<link::Deliver<Message>>,
) -> RequestPort {
    let (host, lane) = (
        wiring.host().at("consensus"),
        wiring.links().at("consensus").lane(),
    );
    let processes = *host.processes();
    let link = move |up: Addr<link::Deliver<Message>>| {
        lane.attach(Addr::new(
            move |delivery: link::Deliver<Message>| match delivery.message.content {
                Content::Report { .. } => {
                    for heard in hear(&processes, delivery) {
                        up.send(heard);
                    }
                }
                Content::Proposal { .. } | Content::Decided { .. } => up.send(delivery),
            },
        ))
    };
    let port = randomised::spawn(&host, link, &wiring.links().status(), wiring.application());
    RequestPort::Propose(port.with(|Proposal { instance, value }| {
        let parity = value.iter().fold(0, |parity, byte| parity ^ (byte & 1));
        let value = Bytes::from(vec![parity]);
        consensus::Propose { instance, value }
    }))
}

/// The cost of leader-driven consensus if the leader crashes after k copies of its `Accept`.
fn leader_crashes(s: Size) -> u64 {
    let common = s.k * s.n;
    // ⌊n/2⌋ acceptances and the leader's own are a majority.
    match s.n / 2 {
        minor if s.k < minor => common + s.n.pow(2) + 2 * s.n - 5,
        // A process that learns of the crash before it has decided proposes again, and is told the decision.
        _ if s.d == 1 && s.k < s.n - 1 => common + 5 * s.n - 8,
        minor if s.k == minor => common + 5 * s.n - 6 - 2 * s.k,
        _ => common + 3 * s.n - 4,
    }
}

fn rotating(
    wiring: &Wiring<'_>,
    detector: &Subscribe<eventually_perfect::Indication>,
) -> RequestPort {
    let port = stack::consensus(
        &wiring.host(),
        wiring.links(),
        detector,
        wiring.application(),
    );
    RequestPort::Propose(
        port.with(|Proposal { instance, value }| consensus::Propose { instance, value }),
    )
}

fn check_rotating(processes: &Membership) -> Properties {
    let mut all = properties::consensus(processes, "consensus");
    all.extend(properties::reliable(processes, "reliable"));
    all
}

fn hierarchical(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("consensus"),
        wiring.links().at("consensus"),
    );
    let (lane, status) = (links.lane(), links.status());
    let port = hierarchical::spawn(&host, lane, &status, detector, wiring.application());
    RequestPort::Propose(
        port.with(|Proposal { instance, value }| regular_consensus::Propose { instance, value }),
    )
}

fn uniform_hierarchical(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("consensus"),
        wiring.links().at("consensus"),
    );
    let (lane, status) = (links.lane(), links.status());
    let up = wiring.application();
    let port = uniform_hierarchical::spawn(&host, lane, &status, detector, up);
    RequestPort::Propose(
        port.with(|Proposal { instance, value }| consensus::Propose { instance, value }),
    )
}

fn leader_driven(wiring: &Wiring<'_>, detector: &Subscribe<Trust>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("consensus"),
        wiring.links().at("consensus"),
    );
    let status = links.status();
    let up = wiring.application();
    let port = leader_driven::spawn(&host, links.lane(), &status, detector, up);
    RequestPort::Propose(
        port.with(|Proposal { instance, value }| consensus::Propose { instance, value }),
    )
}
