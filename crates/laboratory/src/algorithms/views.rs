//! View synchrony over consensus: without joins, and primary views.
use super::{BOOK, clause, liveness, membership, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::named,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    consensus::{Decide, Propose},
    eventually_perfect,
    link::Links,
    perfect,
    view_synchrony::{Indication, Request},
};
use quorate_consensus::leader_driven;
use quorate_core::{
    Addr, Host, Membership, ProcessId,
    message::digest,
    wire::{self, Wire},
};
use quorate_membership::primary;
use quorate_sim::properties::{self, Properties};
use quorate_stacks::views;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The properties of view synchrony where an excluded process joins again.
const JOINS: &[Property] = &[
    safety(
        "VS1",
        "view inclusion: a message is delivered in the view in which it was broadcast",
    )
    .of(&[
        clause("a process delivers in the view that it is in", "and is in"),
        clause("a message is delivered in the same view everywhere", "another in"),
        clause(
            "that is none that its origin had left, or was about to leave, when the broadcast was requested",
            "it was requested for",
        ),
        clause(
            "what a process delivers between its state and its view is of the view before",
            "completes its state",
        ),
    ]),
    safety("VS2", "monotonicity: a process's views get higher").of(&[clause("the views of a process have increasing identifiers", "after")]),
    membership::VIEWS[2],
    membership::VIEWS[3],
    liveness(
        "VS5",
        "whoever is correct is in the last view, or was told that it is not",
    ).of(&[clause("whoever is correct is in the last view, or was told that it is not", "is not told of")]),
    membership::VIEWS[5],
    membership::VIEWS[6],
    membership::VIEWS[7],
    safety(
        "VS9",
        "agreement: who are in a view until the next, or to the end, have delivered the same in it, and \
         who joins knows of the same",
    )
    .of(&[
        clause(
            "who leave a view for a later one have delivered the same in it",
            "which it has left",
        ),
        clause(
            "correct processes have delivered the same in the last view",
            "in the end",
        ),
        clause("who joins gets a state that a member has given", "no member has given"),
        clause(
            "the state, and what is delivered before the view, cover what the others have delivered",
            "joins, and knows of",
        ),
    ]),
    safety(
        "VS10",
        "nothing is swallowed: whoever is outside is told which of its broadcasts the others lack",
    ).of(&[clause("a message comes back to a process that has just learned that it is outside", "did not just learn"), clause("it is one that the process has broadcast and delivered there", "which it did not deliver"), clause("it is doubtful only to who missed a decision", "as doubtful"), clause("it comes back once", "twice"), clause("it is said to be lost only if the others lack it", "others have it"), clause("if they lack it, it comes back", "is not told that")]),
    membership::VIEWS[9],
    safety(
        "VS12",
        "no return: whoever is told that it has left has asked, and installs no view after that, unless it asks to join",
    )
    .of(&[
        clause("whoever is told has asked", "and did not ask"),
        clause("it installs no view after that, unless it asks to join", "after it has left"),
        clause("the view that it is told of is without it", "which has it"),
        clause("it has delivered what it was asked to broadcast before", "and has not delivered"),
    ]),
];

/// False suspicions throughout the run.
const STORM: Faults = Faults {
    storm: true,
    ..Faults::NONE
};

/// The properties of uniform view synchrony, where no process joins.
const UNIFORM: &[Property] = &[
    membership::VIEWS[0],
    membership::VIEWS[1],
    membership::VIEWS[2],
    membership::VIEWS[3],
    membership::VIEWS[4],
    membership::VIEWS[5],
    membership::VIEWS[6],
    membership::VIEWS[7],
    membership::VIEWS[8],
    membership::VIEWS[9],
    membership::VIEWS[10],
    liveness(
        "UVS9",
        "uniform agreement: what any process delivers in a view, every correct process of the view delivers in it",
    )
    .of(&[
        clause(
            "what anybody delivers in a view that ends, every correct process of the view delivers there",
            "which has ended",
        ),
        clause("and in the last view", "in the end"),
    ]),
];

pub(super) static ALL: &[Algorithm] = &[BY_CONSENSUS, UNIFORM_VIEWS, PRIMARY];

const BY_CONSENSUS: Algorithm = Algorithm {
    name: "views-by-consensus",
    gap: Gap::Repeats(
        "what this process has broadcast in the view and is not stable, and what it has delivered, or \
             its flush; consensus goes on",
    ),
    handle: named("views_with", ""),
    aliases: &["view-synchrony"],
    title: "by consensus",
    abstraction: "view synchrony",
    file: "crates/membership/src/by_consensus.rs",
    source: BOOK,
    timing: Timing::Synchronous,
    models: Models::CRASH,
    bound: Bound::Any,
    detector: Detector::Perfect,
    over: &[
        "best-effort broadcast",
        "uniform consensus",
        "perfect failure detector",
    ],
    properties: membership::VIEWS,
    cost: Some(Cost {
        messages: formula("n−1", |s| s.n - 1),
        steps: formula("1", |s| u64::from(s.n > 1)),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("(n−1) + 2(n−1)²", |s| s.n - 1 + 2 * (s.n - 1).pow(2)),
            steps: formula("1", |_| 1),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + 2(n−1)²", |s| s.k + 2 * (s.n - 1).pow(2)),
            steps: None,
        }),
    }),
    reads: None,
    rate: "a report of n−1 messages every 32 deliveries",
    memory: "what is delivered and not stable, at most 256 messages a member",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "views",
        done: "Deliver",
        wire: |wiring| by_consensus(wiring, &wiring.perfect()),
        check: |processes| {
            let mut all = properties::view_synchrony(processes, "views");
            all.extend(properties::consensus(processes, "consensus"));
            all
        },
    },
    mutants: &[
        Mutant {
            name: "views-by-consensus-with-errors",
            aliases: &[],
            change: "the failure detector reports processes that have not crashed",
            breaks: "VS5",
            under: Faults::NONE,
            wire: |wiring| by_consensus(wiring, &wiring.erring()),
        },
        Mutant {
            name: "views-by-consensus-without-reports",
            aliases: &[],
            change: "what the failure detector says is not heard",
            breaks: "VS4",
            under: Faults::ONE_CRASH,
            wire: |wiring| by_consensus(wiring, &Addr::nowhere()),
        },
    ],
};

const UNIFORM_VIEWS: Algorithm = Algorithm {
    name: "uniform-views",
    aliases: &[],
    title: "by consensus, once stable",
    abstraction: "uniform view synchrony",
    properties: UNIFORM,
    cost: Some(Cost {
        messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
        steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("3(n−1)²", |s| 3 * (s.n - 1).pow(2)),
            steps: formula("D + n", |s| s.d + s.n),
        }),
        sender_crashes: None,
    }),
    rate: "none",
    simulation: Simulation {
        wire: |wiring| uniform(wiring, &wiring.perfect()),
        check: |processes| {
            let mut all = properties::uniform_view_synchrony(processes, "views");
            all.extend(properties::consensus(processes, "consensus"));
            all
        },
        ..BY_CONSENSUS.simulation
    },
    mutants: &[Mutant {
        name: "uniform-views-at-once",
        aliases: &[],
        change: "a message is delivered when it comes",
        breaks: "UVS9",
        under: Faults::ONE_CRASH,
        wire: |wiring| by_consensus(wiring, &wiring.perfect()),
    }],
    ..BY_CONSENSUS
};

const PRIMARY: Algorithm = Algorithm {
    name: "primary-views",
    gap: Gap::Repeats(
        "the view ends, and the next begins with what any member has delivered; flushes, requests to \
             join and transfers are said again",
    ),
    handle: named("views_with", ""),
    aliases: &[],
    title: "primary views",
    abstraction: "view synchrony with joins",
    file: "crates/membership/src/primary.rs",
    source: "Birman, Joseph: Exploiting Virtual Synchrony in Distributed Systems, 1987",
    timing: Timing::EventuallySynchronous,
    models: Models::CLOCKS,
    bound: Bound::Minority,
    detector: Detector::EventuallyPerfect,
    over: &[
        "perfect link",
        "uniform consensus",
        "eventually perfect failure detector",
    ],
    properties: JOINS,
    cost: Some(Cost {
        messages: formula("n−1", |s| s.n - 1),
        steps: formula("1", |s| u64::from(s.n > 1)),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("(n−1) + 2(n−1)²", |s| s.n - 1 + 2 * (s.n - 1).pow(2)),
            steps: formula("1", |_| 1),
        }),
        sender_crashes: None,
    }),
    simulation: Simulation {
        wire: |wiring| primary_views(wiring, &wiring.eventually_perfect()),
        check: check_primary,
        ..BY_CONSENSUS.simulation
    },
    mutants: &[
        Mutant {
            name: "unsuspecting-views",
            aliases: &[],
            change: "no member is ever suspected",
            breaks: "VS4",
            under: Faults::ONE_CRASH,
            wire: |wiring| primary_views(wiring, &Addr::nowhere()),
        },
        Mutant {
            name: "undecided-views",
            aliases: &[],
            change: "each process takes its own proposal for the decision",
            breaks: "VS3",
            under: Faults::NONE,
            wire: undecided,
        },
        Mutant {
            name: "swallowing-views",
            aliases: &[],
            change: "the members are taken to have all that an excluded process has broadcast",
            breaks: "VS10",
            under: STORM,
            wire: |wiring| counting(wiring, |p| Some((p, u64::MAX))),
        },
        Mutant {
            name: "writing-off-views",
            aliases: &[],
            change: "the members are taken to have nothing that an excluded process has broadcast",
            breaks: "VS10",
            under: STORM,
            wire: |wiring| counting(wiring, |_| None),
        },
    ],
    ..BY_CONSENSUS
};

fn check_primary(processes: &Membership) -> Properties {
    let mut all = properties::view_synchrony_with_joins(processes, "views");
    all.extend(properties::consensus(processes, "consensus"));
    all
}

fn by_consensus(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, links) = (wiring.host().at("views"), wiring.links().at("views"));
    let (up, back) = membership::user(wiring);
    back(views::views_by_consensus(&host, &links, detector, up))
}

fn uniform(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, links) = (wiring.host().at("views"), wiring.links().at("views"));
    let (up, back) = membership::user(wiring);
    back(views::uniform_views(&host, &links, detector, up))
}

fn primary_views(
    wiring: &Wiring<'_>,
    detector: &Subscribe<eventually_perfect::Indication>,
) -> RequestPort {
    let (host, links) = (wiring.host().at("views"), wiring.links().at("views"));
    let (up, back) = member(wiring);
    back(views::primary_views(
        &host,
        &links,
        detector,
        &wiring.leader(),
        up,
    ))
}

fn undecided(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (wiring.host().at("views"), wiring.links().at("views"));
    let (up, back) = member(wiring);
    let consensus = |up: Addr<Decide>| {
        up.with(|Propose { instance, value }: Propose| Decide { instance, value })
    };
    let detector = wiring.eventually_perfect();
    back(primary::spawn(
        &host,
        links.lane(),
        &links.status(),
        consensus,
        &detector,
        up,
    ))
}

/// Primary views whose proposals report these counts of what the members have.
fn counting(wiring: &Wiring<'_>, count: fn(ProcessId) -> Option<(ProcessId, u64)>) -> RequestPort {
    let (host, links) = (wiring.host().at("views"), wiring.links().at("views"));
    let (up, back) = member(wiring);
    let (detector, leader) = (wiring.eventually_perfect(), wiring.leader());
    let processes = *host.processes();
    let consensus = |up: Addr<Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        let consensus = leader_driven::spawn(&host, links.lane(), &links.status(), &leader, up);
        consensus.with(move |proposal: Propose| Propose {
            value: match primary::Decision::decode(proposal.value.clone()) {
                Ok(decision) => wire::encode(&primary::Decision {
                    counts: processes.iter().filter_map(count).collect(),
                    ..decision
                }),
                Err(_) => proposal.value,
            },
            ..proposal
        })
    };
    let (lane, status) = (links.lane(), links.status());
    back(primary::spawn(
        &host, lane, &status, consensus, &detector, up,
    ))
}

/// A user that answers `Block` at once and joins when it is excluded. Its state is the number of delivered
/// messages and the sum of their contents. Returns the address for its indications, and a function that gives
/// it the port.
fn member(
    wiring: &Wiring<'_>,
) -> (
    Addr<Indication>,
    impl FnOnce(Addr<Request>) -> RequestPort + use<>,
) {
    let port: Arc<OnceLock<Addr<Request>>> = Arc::default();
    let (answers, told) = (port.clone(), wiring.application());
    let sum = Mutex::new([0; 16]);
    let up = Addr::new(move |indication: Indication| {
        told.send(indication.clone());
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match indication {
            Indication::Block => Some(Request::BlockOk),
            Indication::Excluded { .. } => Some(Request::Join),
            Indication::StateWanted { view } => {
                let state = Bytes::copy_from_slice(&*sum);
                Some(Request::State { view, state })
            }
            Indication::State(state) => {
                *sum = state.as_ref().try_into().unwrap_or_default();
                None
            }
            Indication::Deliver(deliver) => {
                let number = u128::from(digest(&deliver.payload)) << 64 | 1;
                *sum = u128::from_le_bytes(*sum).wrapping_add(number).to_le_bytes();
                None
            }
            Indication::View { .. } | Indication::Lost(_) | Indication::Left { .. } => None,
        };
        if let (Some(answer), Some(port)) = (answer, answers.get()) {
            port.send(answer);
        }
    });
    let back = move |requests: Addr<Request>| {
        let served = membership::group_port(&requests);
        // This is the only owner of the cell, so it is empty.
        _ = port.set(requests);
        served
    };
    (up, back)
}
