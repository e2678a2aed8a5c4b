//! Group membership, and view synchrony over it.
use super::{BOOK, clause, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::{builder, named},
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, group_membership,
    link::Links,
    perfect,
    terminating::{self, Content},
    view_synchrony::{Indication, Request},
};
use quorate_core::{Addr, Host, Membership};
use quorate_sim::properties::{self, Properties};
use quorate_stacks::{stack, views::by_terminating_over};
use std::sync::{Arc, OnceLock};

const GROUP: &[Property] = &[
    safety(
        "GMP1",
        "monotonicity: a process's views get higher and smaller",
    )
    .of(&[
        clause(
            "the members of a view are members of the view before",
            "which is not in",
        ),
        clause(
            "the views of a process have increasing identifiers",
            "after",
        ),
    ]),
    safety(
        "GMP2",
        "uniform agreement: the same view has the same members",
    )
    .of(&[clause(
        "the same view has the same members everywhere",
        "another",
    )]),
    liveness(
        "GMP3",
        "completeness: whoever crashes leaves the views of correct processes",
    )
    .of(&[clause(
        "in the end no crashed process is in the view of a correct one",
        "stays in the view",
    )]),
    safety(
        "GMP4",
        "accuracy: whoever is outside a view has crashed, or asked to leave, before",
    )
    .of(&[clause(
        "whoever is outside a view has crashed, or asked to leave, before",
        "which lives",
    )]),
    liveness(
        "GMP5",
        "leaving: whoever asks to leave is told that it has left, and is in no view any more",
    )
    .of(&[
        clause("whoever is correct and asks is told", "is never told"),
        clause(
            "in the end it is in the view of no correct process",
            "and stays in the view",
        ),
    ]),
    safety(
        "GMP6",
        "no return: whoever is told that it has left has asked, and installs no view after that",
    )
    .of(&[
        clause("whoever is told has asked", "and did not ask"),
        clause("it installs no view after that", "after it has left"),
        clause("the view that it is told of is without it", "which has it"),
    ]),
];

/// The properties of view synchrony where no process joins.
pub(super) const VIEWS: &[Property] = &[
    safety(
        "VS1",
        "view inclusion: a message is delivered in the view in which it was broadcast",
    ).of(&[clause("a process delivers in the view that it is in", "and is in"), clause("a message is delivered in the same view everywhere", "another in"), clause("that is none that its origin had left, or was about to leave, when the broadcast was requested", "it was requested for")]),
    safety(
        "VS2",
        "monotonicity: a process's views get higher and smaller",
    ).of(&[clause("the members of a view are members of the view before", "which is not in"), clause("the views of a process have increasing identifiers", "after")]),
    safety(
        "VS3",
        "uniform agreement on views: the same view has the same members",
    ).of(&[clause("the same view has the same members everywhere", "another")]),
    liveness(
        "VS4",
        "completeness: whoever crashes leaves the views of correct processes",
    ).of(&[clause("in the end no crashed process is in the view of a correct one", "stays in the view")]),
    safety(
        "VS5",
        "accuracy: whoever is outside a view has crashed, or asked to leave, before",
    ).of(&[clause("whoever is outside a view has crashed, or asked to leave, before", "which lives")]),
    liveness(
        "VS6",
        "validity: what a correct member broadcasts, all correct members deliver",
    ).of(&[clause("a correct member delivers its own broadcasts", "never delivers"), clause("so do the other correct members, in a view that ends", "which has ended"), clause("and in the last view", "in the end")]),
    safety("VS7", "no duplication: a message is delivered at most once").of(&[clause("no process delivers a message twice", "twice")]),
    safety("VS8", "no creation: what is delivered was broadcast").of(&[clause("what is delivered was broadcast by its origin", "which was not broadcast"), clause("with the content that it was broadcast with", "with another content")]),
    safety(
        "VS9",
        "agreement: who are in a view until the next, or to the end, have delivered the same in it",
    ).of(&[clause("who leave a view for a later one have delivered the same in it", "which it has left"), clause("correct processes have delivered the same in the last view", "in the end")]),
    liveness(
        "VS11",
        "leaving: whoever asks to leave is told that it has left, and is in no view any more",
    )
    .of(&[
        clause("whoever is correct and asks is told", "is never told"),
        clause("in the end it is in the view of no correct process", "and stays in the view"),
    ]),
    safety(
        "VS12",
        "no return: whoever is told that it has left has asked, and installs no view after that",
    )
    .of(&[
        clause("whoever is told has asked", "and did not ask"),
        clause("it installs no view after that", "after it has left"),
        clause("the view that it is told of is without it", "which has it"),
        clause("it has delivered what it was asked to broadcast before", "and has not delivered"),
    ]),
];

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "group-membership",
        gap: Gap::Repeats("that this process leaves; consensus goes on"),
        handle: builder("membership"),
        aliases: &[],
        title: "by consensus",
        abstraction: "group membership",
        file: "crates/membership/src/group.rs",
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
        properties: GROUP,
        cost: Some(Cost {
            messages: formula("0", |_| 0),
            steps: formula("0", |_| 0),
            one_dead: Some(OneDead {
                which: Dead::First,
                messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
                steps: formula("D + n−1", |s| s.d + s.n - 1),
            }),
            sender_crashes: None,
        }),
        reads: None,
        rate: "none",
        memory: "a view, and at most n decisions",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "group",
            done: "View",
            wire: |wiring| group(wiring, &wiring.perfect()),
            check: check_group,
        },
        mutants: &[
            Mutant {
                name: "group-with-errors",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "GMP4",
                under: Faults::NONE,
                wire: |wiring| group(wiring, &wiring.erring()),
            },
            Mutant {
                name: "group-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "GMP3",
                under: Faults::ONE_CRASH,
                wire: |wiring| group(wiring, &Addr::nowhere()),
            },
        ],
    },
    Algorithm {
        name: "by-terminating",
        gap: Gap::Repeats(
            "what this process has broadcast in the view and is not stable, and what it has delivered; \
             terminating broadcast and membership go on",
        ),
        handle: named("views_with", ""),
        aliases: &[],
        title: "by terminating broadcast",
        abstraction: "view synchrony",
        file: "crates/membership/src/by_terminating.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &[
            "group membership",
            "terminating reliable broadcast",
            "best-effort broadcast",
        ],
        properties: VIEWS,
        cost: Some(Cost {
            messages: formula("n−1", |s| s.n - 1),
            steps: formula("1", |s| u64::from(s.n > 1)),
            one_dead: Some(OneDead {
                which: Dead::Last,
                messages: formula("(n−1) + (n−1)²(n+2)", |s| s.n - 1 + change(s.n)),
                steps: formula("1", |_| 1),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("k + (n−1)²(n+2)", |s| s.k + change(s.n)),
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
            wire: |wiring| views(wiring, &wiring.perfect(), Some),
            // VS2–5 are promised by the group membership, and flushes serve VS9.
            check: |processes| properties::view_synchrony(processes, "views"),
        },
        mutants: &[
            Mutant {
                name: "views-with-errors",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "VS5",
                under: Faults::NONE,
                wire: |wiring| views(wiring, &wiring.erring(), Some),
            },
            Mutant {
                name: "awaiting-the-faulty",
                aliases: &[],
                change: "a member that is faulty does not count as having flushed",
                breaks: "VS4",
                under: Faults::ONE_CRASH,
                wire: |wiring| views(wiring, &wiring.perfect(), messages_alone),
            },
        ],
    },
];

/// The messages of a view change after one crash.
fn change(n: u64) -> u64 {
    (n - 1).pow(2) * (n + 2)
}

fn check_group(processes: &Membership) -> Properties {
    let mut properties = properties::group_membership(processes, "group");
    properties.extend(properties::consensus(processes, "consensus"));
    properties
}

fn group(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, links) = (wiring.host(), wiring.links());
    let up = wiring.application::<group_membership::Indication>();
    let requests = stack::group_membership(&host, links, detector, up);
    RequestPort::Leave(requests.with(|()| group_membership::Request::Leave))
}

/// The outcome, if it is a message.
fn messages_alone(delivery: terminating::Deliver) -> Option<terminating::Deliver> {
    (delivery.outcome != Content::SenderFaulty).then_some(delivery)
}

/// View synchrony by terminating broadcast. This function filters the outcomes that it gets.
fn views(
    wiring: &Wiring<'_>,
    detector: &Subscribe<perfect::Crash>,
    heard: fn(terminating::Deliver) -> Option<terminating::Deliver>,
) -> RequestPort {
    let (host, links) = (wiring.host().at("views"), wiring.links().at("views"));
    let terminating = |up: Addr<terminating::Deliver>| {
        let let_through = Addr::new(move |delivery| {
            if let Some(delivery) = heard(delivery) {
                up.send(delivery);
            }
        });
        stack::terminating(&host, &links, detector, let_through)
    };
    let (up, back) = user(wiring);
    back(by_terminating_over(
        &host,
        &links,
        detector,
        terminating,
        up,
    ))
}

/// A user that answers `Block` at once: the address for its indications, and a function that gives it the
/// port.
pub(super) fn user(
    wiring: &Wiring<'_>,
) -> (
    Addr<Indication>,
    impl FnOnce(Addr<Request>) -> RequestPort + use<>,
) {
    let port: Arc<OnceLock<Addr<Request>>> = Arc::default();
    let (answers, told) = (port.clone(), wiring.application());
    let up = Addr::new(move |indication: Indication| {
        let is_block = indication == Indication::Block;
        told.send(indication);
        if is_block && let Some(port) = answers.get() {
            port.send(Request::BlockOk);
        }
    });
    let back = move |requests: Addr<Request>| {
        let served = group_port(&requests);
        // This is the only owner of the cell, so it is empty.
        _ = port.set(requests);
        served
    };
    (up, back)
}

/// The port at which a scenario makes its requests of a group.
pub(super) fn group_port(requests: &Addr<Request>) -> RequestPort {
    RequestPort::Group {
        broadcast: requests.with(|payload: Bytes| Request::Broadcast(payload)),
        leave: requests.with(|()| Request::Leave),
    }
}
