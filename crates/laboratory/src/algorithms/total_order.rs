//! Broadcasts with an order.
use super::{clause, first_in_first_out::ORDERED, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Size, Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::named,
    scenario::{Faults, Moment},
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{
    Subscribe, consensus, eventually_perfect, leader::Trust, link::Links, perfect,
    regular_total_order, reliable, total_order, uniform,
};
use quorate_broadcast::{
    by_consensus, by_consensus_on_messages, by_leader,
    primary_backup::{self, Rules},
};
use quorate_core::{Addr, Host, Membership};
use quorate_sim::properties::{self, Properties};
use quorate_stacks::stack;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

const TOTAL: &[Property] = &[
    liveness(
        "TOB1",
        "validity: a correct process delivers its own broadcasts",
    )
    .of(&[
        clause("a correct process delivers its own broadcasts", "its own"),
        clause("so does every other correct process", "never delivers"),
    ]),
    safety("TOB2", "no duplication").of(&[clause("no process delivers a message twice", "twice")]),
    safety("TOB3", "no creation").of(&[
        clause(
            "what is delivered was broadcast by its origin",
            "which was not broadcast",
        ),
        clause(
            "with the content that it was broadcast with",
            "with another content",
        ),
    ]),
    liveness(
        "TOB4",
        "uniform agreement: what any process delivers, every correct one delivers",
    )
    .of(&[
        clause(
            "what a process delivers that crashes, every correct one delivers",
            "and crashes",
        ),
        clause(
            "what a correct process delivers, every correct one delivers",
            "never does",
        ),
    ]),
    safety(
        "TOB5",
        "uniform total order: of two delivery sequences, one is a prefix",
    )
    .of(&[clause(
        "of any two processes' sequences of deliveries, one is a prefix of the other",
        "as number",
    )]),
    safety(
        "TOB5-A",
        "uniform weak total order A: two processes deliver any two messages in the same order, if both deliver \
         both",
    )
    .of(&[clause(
        "any two processes that both deliver two messages deliver them in the same order",
        "in either order",
    )]),
    safety(
        "TOB5-B",
        "uniform weak total order B: two processes that deliver the same message have delivered the same before \
         it",
    )
    .of(&[clause(
        "any two processes that deliver a message have delivered the same messages before it",
        "what comes before it",
    )]),
    ORDERED,
];

const REGULAR: &[Property] = &[
    TOTAL[0],
    TOTAL[1],
    TOTAL[2],
    liveness(
        "TOB4",
        "agreement: what a correct process delivers, every correct one delivers",
    )
    .of(&[clause(
        "what one correct process delivers, every correct one delivers",
        "never does",
    )]),
    safety(
        "TOB5",
        "total order: of two correct processes' delivery sequences, one is a prefix",
    )
    .of(&[clause(
        "of two correct processes' sequences of deliveries, one is a prefix of the other",
        "as number",
    )]),
    safety(
        "TOB5-A",
        "weak total order A, of correct processes alone: two deliver any two messages in the same order, if both \
         deliver both",
    )
    .of(&[clause(
        "any two correct processes that both deliver two messages deliver them in the same order",
        "in either order",
    )]),
    safety(
        "TOB5-B",
        "weak total order B, of correct processes alone: two that deliver the same message have delivered the same \
         before it",
    )
    .of(&[clause(
        "any two correct processes that deliver a message have delivered the same messages before it",
        "what comes before it",
    )]),
    ORDERED,
];

pub(super) static ALL: &[Algorithm] = &[ON_MESSAGES, BY_CONSENSUS, BY_LEADER, PRIMARY_BACKUP];

const BY_CONSENSUS: Algorithm = Algorithm {
    name: "by-consensus",
    gap: Gap::Ends(
        "consensus goes on; where the broadcast below lost a batch, nothing is delivered from there on",
    ),
    handle: named("broadcast", ""),
    aliases: &["total-order"],
    title: "by consensus",
    abstraction: "uniform total-order broadcast",
    file: "crates/broadcast/src/by_consensus.rs",
    source: "Chandra, Toueg: Unreliable Failure Detectors for Reliable Distributed Systems, 1996",
    timing: Timing::EventuallySynchronous,
    models: Models::SAFE_UNDER_OMISSION,
    bound: Bound::Minority,
    detector: Detector::EventuallyPerfect,
    over: &["uniform reliable broadcast", "uniform consensus"],
    properties: TOTAL,
    cost: Some(Cost {
        messages: formula("(2n+3)(n−1)", |s| (2 * s.n + 3) * (s.n - 1)),
        steps: formula("6 (n ≥ 4)", |s| match s.n {
            1 => 0,
            2 | 3 => 5,
            _ => 6,
        }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("2(n−1)² + 3n−5", |s| {
                2 * (s.n - 1).pow(2) + 3 * s.n - 5
            }),
            steps: formula("6 (n ≥ 4)", |s| if s.n > 3 { 6 } else { 5 }),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + 2(n−1)² + 5n−7 (n ≥ 3)", relayed),
            steps: None,
        }),
    }),
    reads: None,
    rate: "none",
    memory: "unordered messages, early decisions, a counter an origin",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "total-order",
        done: "Deliver",
        wire: wire_total_order,
        check: check_total_order,
    },
    mutants: &[Mutant {
        name: "as-they-come",
        aliases: &[],
        change: "decisions are applied in the order in which they come, not in that of the instances",
        breaks: "TOB5",
        under: Faults::ONE_CRASH,
        wire: wire_as_they_come,
    }],
};

const ON_MESSAGES: Algorithm = Algorithm {
    name: "by-consensus-on-messages",
    gap: Gap::Ends(
        "a message that the broadcast below lost comes with the decision that orders it; where \
             consensus has forgotten that, too, nothing is delivered from there on",
    ),
    handle: named("broadcast", ""),
    aliases: &["total-order-regular"],
    title: "by consensus on messages",
    abstraction: "regular total-order broadcast",
    file: "crates/broadcast/src/by_consensus_on_messages.rs",
    over: &["reliable broadcast", "regular consensus"],
    properties: REGULAR,
    cost: Some(Cost {
        messages: formula("(2n+3)(n−1)", |s| (2 * s.n + 3) * (s.n - 1)),
        steps: formula("5", |s| if s.n > 1 { 5 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("2(n−1)² + 3n−5", |s| {
                2 * (s.n - 1).pow(2) + 3 * s.n - 5
            }),
            steps: formula("5", |_| 5),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + 2(n−1)² + 5n−7 (n ≥ 3)", relayed),
            steps: None,
        }),
    }),
    memory: "unordered messages, early decisions, a counter an origin",
    simulation: Simulation {
        wire: |wiring| on_messages(wiring, &wiring.eventually_perfect()),
        check: |processes| {
            let mut all = properties::regular_total_order(processes, "total-order");
            all.extend(properties::weak_total_order(
                processes,
                "total-order",
                false,
            ));
            all.push(properties::first_in_first_out_order("total-order"));
            all.extend(properties::reliable(processes, "total-order/reliable"));
            all.extend(properties::consensus(processes, "consensus"));
            all
        },
        ..BY_CONSENSUS.simulation
    },
    mutants: &[Mutant {
        name: "on-messages-never-suspects",
        aliases: &[],
        change: "nobody ever suspects a coordinator of consensus",
        breaks: "TOB1",
        under: Faults::ONE_CRASH,
        wire: |wiring| on_messages(wiring, &Addr::nowhere()),
    }],
    ..BY_CONSENSUS
};

const BY_LEADER: Algorithm = Algorithm {
    name: "by-leader",
    gap: Gap::Repeats(
        "what ballots repeat, and batches that are not ordered or that the receiver may lack; who is \
             behind what is kept gets the state",
    ),
    handle: named("broadcast", ""),
    aliases: &[],
    title: "driven by a leader",
    file: "crates/broadcast/src/by_leader.rs",
    source: "Lamport: The Part-Time Parliament, 1998",
    over: &["perfect link", "eventual leader"],
    cost: Some(Cost {
        messages: formula("n²−1", |s| s.n.pow(2) - 1),
        steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
            steps: formula("2", |_| 2),
        }),
        // A process that lacks the payload waits for a while before it asks: that takes time, not steps. With
        // two processes none may crash: the other waits for the promise that it has asked for.
        sender_crashes: Some(SenderCrashes {
            messages: formula("n² + 3n−5 − 2k (n ≥ 3)", |s| match s.n {
                2 => s.k + 1,
                n => n.pow(2) + 3 * n - 5 - 2 * s.k,
            }),
            steps: None,
        }),
    }),
    memory: "unordered messages; ordered ones that some process may lack, up to a limit an origin",
    rejoins: true,
    simulation: Simulation {
        wire: |wiring| by_leader(wiring, &wiring.leader()),
        check: uniform_total_order,
        ..BY_CONSENSUS.simulation
    },
    mutants: &[Mutant {
        name: "ordered-by-the-dead",
        aliases: &[],
        change: "what the leader detector says is not heard",
        breaks: "TOB1",
        under: Faults::ONE_CRASH,
        wire: |wiring| by_leader(wiring, &Addr::nowhere()),
    }],
    ..BY_CONSENSUS
};

const PRIMARY_BACKUP: Algorithm = Algorithm {
    name: "primary-backup",
    gap: Gap::Repeats(
        "undelivered requests and what is held, to the primary; what is not delivered everywhere, to its backups",
    ),
    handle: named("broadcast", ""),
    aliases: &["p2"],
    title: "by a primary with backups",
    file: "crates/broadcast/src/primary_backup.rs",
    source: "Alsberg, Day: A Principle for Resilient Sharing of Distributed Resources, 1976",
    timing: Timing::Synchronous,
    models: Models::CRASH,
    bound: Bound::AllButOne,
    detector: Detector::Perfect,
    over: &["perfect link", "perfect failure detector"],
    cost: Some(Cost {
        messages: formula("3(n−1)", |s| 3 * (s.n - 1)),
        steps: formula("3", |s| if s.n > 1 { 3 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("3n−5", |s| 3 * s.n - 5),
            steps: formula("max(2, D) + 1", |s| s.d.max(2) + 1),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("2k + 4(n−2)", |s| 2 * s.k + 4 * (s.n - 2)),
            steps: None,
        }),
    }),
    memory: "undelivered entries, waiting requests, a counter an origin",
    simulation: Simulation {
        wire: |wiring| primary_backup(wiring, Rules::ALL, &wiring.perfect()),
        check: uniform_total_order,
        ..BY_CONSENSUS.simulation
    },
    mutants: &[
        Mutant {
            name: "answering-at-once",
            aliases: &[],
            change: "the primary does not wait until its backups hold an entry",
            breaks: "TOB4",
            under: Faults {
                moment: Moment::Output,
                ..Faults::ONE_CRASH
            },
            wire: |wiring| primary_backup(wiring, Rules::ANSWERS_AT_ONCE, &wiring.perfect()),
        },
        Mutant {
            name: "log-kept-back",
            aliases: &[],
            change: "a backup that takes over does not send its log again",
            breaks: "TOB1",
            under: Faults {
                moment: Moment::Output,
                ..Faults::ONE_CRASH
            },
            wire: |wiring| primary_backup(wiring, Rules::KEEPS_ITS_LOG, &wiring.perfect()),
        },
        Mutant {
            name: "ordered-again",
            aliases: &[],
            change: "a backup that takes over orders a repeated request again",
            breaks: "TOB2",
            under: Faults {
                moment: Moment::Output,
                ..Faults::ONE_CRASH
            },
            wire: |wiring| primary_backup(wiring, Rules::ORDERS_AGAIN, &wiring.perfect()),
        },
        Mutant {
            name: "primary-for-ever",
            aliases: &[],
            change: "what the failure detector says is not heard",
            breaks: "TOB1",
            under: Faults::ONE_CRASH,
            wire: |wiring| primary_backup(wiring, Rules::ALL, &Addr::nowhere()),
        },
        Mutant {
            name: "two-primaries",
            aliases: &[],
            change: "the failure detector reports processes that have not crashed",
            breaks: "TOB1",
            under: Faults::NONE,
            wire: |wiring| primary_backup(wiring, Rules::ALL, &wiring.erring()),
        },
    ],
    ..BY_CONSENSUS
};

/// A primary with backups by these rules, over this detector.
fn primary_backup(
    wiring: &Wiring<'_>,
    rules: Rules,
    detector: &Subscribe<perfect::Crash>,
) -> RequestPort {
    let (host, links) = (
        wiring.host().at("total-order"),
        wiring.links().at("total-order"),
    );
    let (lane, status, up) = (links.lane(), links.status(), wiring.application());
    let port = primary_backup::spawn_mutant(&host, rules, lane, &status, detector, up);
    RequestPort::Broadcast(port.with(|payload| total_order::Broadcast { payload }))
}

/// The cost of a crash of the sender if survivors relay its message, then agree on it without their first
/// coordinator. With two processes none may crash: the other waits for that coordinator.
fn relayed(s: Size) -> u64 {
    match s.n {
        2 => s.k + 3,
        n => s.k + 2 * (n - 1).pow(2) + 5 * n - 7,
    }
}

/// Numbers decisions in the order of their arrival.
fn renumbered(up: Addr<consensus::Decide>) -> Addr<consensus::Decide> {
    let taken = Arc::new(AtomicU64::new(0));
    up.with(move |decision: consensus::Decide| consensus::Decide {
        instance: taken.fetch_add(1, Relaxed) + 1,
        ..decision
    })
}

fn on_messages(
    wiring: &Wiring<'_>,
    detector: &Subscribe<eventually_perfect::Indication>,
) -> RequestPort {
    let (host, links) = (
        wiring.host().at("total-order"),
        wiring.links().at("total-order"),
    );
    let reliable = |up: Addr<reliable::Deliver>| stack::reliable(&host, &links, up);
    let consensus = |up: Addr<consensus::Decide>| stack::consensus(&host, &links, detector, up);
    let settings = by_consensus_on_messages::ProposalSettings::default();
    let consensus = consensus::as_regular(consensus);
    let up = wiring.application();
    let port = by_consensus_on_messages::spawn(&host, settings, reliable, consensus, up);
    RequestPort::Broadcast(port.with(|payload| regular_total_order::Broadcast { payload }))
}

fn by_leader(wiring: &Wiring<'_>, leader: &Subscribe<Trust>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("total-order"),
        wiring.links().at("total-order"),
    );
    let (settings, up) = (settings(wiring), wiring.application());
    let port = match wiring.rejoining() {
        Some((journal, adopt)) => journal.keep(wiring.host().me(), up, |up| {
            by_leader::spawn_reconfigurable(&host, settings, &links, leader, adopt, up)
        }),
        None => by_leader::spawn(&host, settings, &links, leader, up),
    };
    RequestPort::Broadcast(port.with(|payload| total_order::Broadcast { payload }))
}

pub(super) fn settings(wiring: &Wiring<'_>) -> by_consensus::OrderSettings {
    by_consensus::OrderSettings {
        instances: wiring.instances,
        acceptances: wiring.acceptances,
        ..Default::default()
    }
}

fn wire_total_order(wiring: &Wiring<'_>) -> RequestPort {
    let (host, detector) = (wiring.host(), wiring.eventually_perfect());
    let settings = settings(wiring);
    let up = wiring.application();
    let port = stack::total_order(&host, wiring.links(), &detector, settings, up);
    RequestPort::Broadcast(port.with(|payload| total_order::Broadcast { payload }))
}

fn wire_as_they_come(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("total-order"),
        wiring.links().at("total-order"),
    );
    let detector = wiring.eventually_perfect();
    let uniform = |up: Addr<uniform::Deliver>| stack::uniform(&host, &links, up);
    let consensus =
        |up: Addr<consensus::Decide>| stack::consensus(&host, &links, &detector, renumbered(up));
    let up = wiring.application();
    let port = by_consensus::spawn(&host, settings(wiring), uniform, consensus, up);
    RequestPort::Broadcast(port.with(|payload| total_order::Broadcast { payload }))
}

/// Uniform total order, in its strong form and in the two weaker ones that follow from it.
fn uniform_total_order(processes: &Membership) -> Properties {
    let mut all = properties::total_order(processes, "total-order");
    let weaker = properties::weak_total_order(processes, "total-order", true);
    // FRB5 comes last.
    let last = all.len() - 1;
    all.splice(last..last, weaker);
    all
}

fn check_total_order(processes: &Membership) -> Properties {
    let mut all = uniform_total_order(processes);
    all.extend(properties::uniform(processes, "uniform"));
    all.extend(properties::consensus(processes, "consensus"));
    all
}
