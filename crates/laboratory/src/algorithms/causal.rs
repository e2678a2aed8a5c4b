//! Causal broadcast: with the causal past, with its collection, and by waiting; each in a regular and a
//! uniform form.
use super::{
    BOOK,
    broadcast::{EAGER, MAJORITY_ACK},
    clause, liveness, safety,
    traced::{self, over_reliable},
};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Substrate, Timing, formula,
    },
    gaps,
    handles::named,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{Subscribe, causal, perfect, reliable, uniform};
use quorate_broadcast::{causal_collected, causal_past, causal_waiting};
use quorate_core::{Addr, Host, Layer, Membership};
use quorate_sim::properties::{self, Properties};
use quorate_stacks::stack;

const PROPERTIES: &[Property] = &[
    liveness(
        "CRB1",
        "validity: a correct process delivers its own broadcasts",
    )
    .of(&[
        clause("a correct process delivers its own broadcasts", "its own"),
        clause("so does every other correct process", "never delivers"),
    ]),
    safety("CRB2", "no duplication").of(&[clause("no process delivers a message twice", "twice")]),
    safety("CRB3", "no creation").of(&[
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
        "CRB4",
        "agreement: what a correct process delivers, every correct one delivers",
    )
    .of(&[clause(
        "what one correct process delivers, every correct one delivers",
        "never does",
    )]),
    CAUSAL,
];

const UNIFORM: &[Property] = &[
    PROPERTIES[0],
    PROPERTIES[1],
    PROPERTIES[2],
    UNIFORM_AGREEMENT,
    CAUSAL,
];

const CAUSAL: Property = safety(
    "CRB5",
    "causal order: a message is delivered after all that precedes it",
)
.of(&[
    clause(
        "a message is delivered after all earlier ones of its origin",
        "which came before",
    ),
    clause(
        "and after what its origin had delivered before the broadcast",
        "had delivered before",
    ),
]);

const UNIFORM_AGREEMENT: Property = liveness(
    "CRB4",
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
]);

const COLLECTED: [Property; 2] = [
    safety(
        "GC1",
        "what leaves the past was delivered by every process not reported crashed",
    )
    .of(&[clause(
        "what leaves the past was delivered by every process not reported crashed",
        "has not delivered",
    )]),
    liveness("GC2", "in the end the past is empty").of(&[
        clause(
            "a correct process collects what it has broadcast or delivered",
            "never collects",
        ),
        clause("in the end nothing is left", "stay in the past"),
    ]),
];

pub(super) static ALL: &[Algorithm] = &[
    PAST,
    PAST_UNIFORM,
    COLLECTING,
    COLLECTING_UNIFORM,
    WAITING,
    WAITING_UNIFORM,
];

const PAST: Algorithm = Algorithm {
    name: "causal-past",
    gap: gaps::PAST,
    handle: named("broadcast", ""),
    aliases: &["causal"],
    title: "no waiting",
    abstraction: "causal broadcast",
    file: "crates/broadcast/src/causal_past.rs",
    source: BOOK,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Any,
    detector: Detector::None,
    over: &["reliable broadcast"],
    properties: PROPERTIES,
    cost: Some(EAGER),
    reads: None,
    rate: "none",
    memory: "every message of the run, in every message and at every process",
    grows: true,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "causal",
        done: "Deliver",
        wire: |wiring| past(wiring, regular(wiring)),
        check: check_regular,
    },
    mutants: &[Mutant {
        name: "causal-without-past",
        aliases: &[],
        change: "messages carry nothing, and are delivered as they come",
        breaks: "CRB5",
        under: Faults::NONE,
        wire: as_they_come,
    }],
};

const PAST_UNIFORM: Algorithm = Algorithm {
    name: "causal-past-uniform",
    gap: gaps::PAST,
    handle: named("broadcast", ""),
    aliases: &[],
    abstraction: "uniform causal broadcast",
    bound: Bound::Minority,
    over: &["uniform reliable broadcast"],
    properties: UNIFORM,
    cost: Some(MAJORITY_ACK),
    simulation: Simulation {
        wire: |wiring| past(wiring, uniform::as_reliable(over_uniform(wiring))),
        check: check_uniform,
        ..PAST.simulation
    },
    mutants: &[Mutant {
        name: "causal-past-not-uniform",
        aliases: &[],
        change: "the broadcast below is a regular one",
        breaks: "CRB4",
        under: Faults::ONE_CRASH,
        wire: |wiring| past(wiring, regular(wiring)),
    }],
    ..PAST
};

const COLLECTING: Algorithm = Algorithm {
    name: "causal-collected",
    gap: gaps::PAST,
    handle: named("broadcast", ""),
    aliases: &[],
    title: "no waiting, with collection",
    file: "crates/broadcast/src/causal_collected.rs",
    timing: Timing::Synchronous,
    models: Models::CRASH,
    detector: Detector::Perfect,
    over: &["reliable broadcast", "perfect failure detector"],
    properties: &[
        PROPERTIES[0],
        PROPERTIES[1],
        PROPERTIES[2],
        PROPERTIES[3],
        CAUSAL,
        COLLECTED[0],
        COLLECTED[1],
    ],
    cost: Some(Cost {
        messages: formula("(n+1)n(n−1)", |s| (s.n + 1) * s.n * (s.n - 1)),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("n(n−1)²", |s| s.n * (s.n - 1).pow(2)),
            steps: formula("1", |_| 1),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + n(n−1)²", |s| s.k + s.n * (s.n - 1).pow(2)),
            steps: Some(formula("2 (1 if k = n−1)", |s| {
                if s.k == s.n - 1 { 1 } else { 2 }
            })),
        }),
        ..EAGER
    }),
    memory: "what some process not reported crashed is not known to have delivered; n² counters",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        wire: |wiring| collected(wiring, regular(wiring), &wiring.perfect()),
        check: |processes| {
            let mut all = causal_order(processes, false);
            all.extend(properties::collected_past(processes, "causal"));
            all.extend(properties::reliable(processes, "reliable"));
            all
        },
        ..PAST.simulation
    },
    mutants: &[Mutant {
        name: "never-collecting",
        aliases: &[],
        change: "what the failure detector says is not heard",
        breaks: "GC2",
        under: Faults::ONE_CRASH,
        wire: |wiring| collected(wiring, regular(wiring), &Addr::nowhere()),
    }],
    ..PAST
};

const COLLECTING_UNIFORM: Algorithm = Algorithm {
    name: "causal-collected-uniform",
    gap: gaps::PAST,
    handle: named("broadcast", ""),
    abstraction: "uniform causal broadcast",
    bound: Bound::Minority,
    over: &["uniform reliable broadcast", "perfect failure detector"],
    properties: &[
        PROPERTIES[0],
        PROPERTIES[1],
        PROPERTIES[2],
        UNIFORM_AGREEMENT,
        CAUSAL,
        COLLECTED[0],
        COLLECTED[1],
    ],
    cost: Some(Cost {
        messages: formula("(n+1)n(n−1)", |s| (s.n + 1) * s.n * (s.n - 1)),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("n(n−1)²", |s| s.n * (s.n - 1).pow(2)),
            steps: formula("2", |_| 2),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + n(n−1)²", |s| s.k + s.n * (s.n - 1).pow(2)),
            steps: None,
        }),
        ..MAJORITY_ACK
    }),
    simulation: Simulation {
        wire: |wiring| {
            let below = uniform::as_reliable(over_uniform(wiring));
            collected(wiring, below, &wiring.perfect())
        },
        check: |processes| {
            let mut all = causal_order(processes, true);
            all.extend(properties::collected_past(processes, "causal"));
            all.extend(properties::uniform(processes, "uniform"));
            all
        },
        ..PAST.simulation
    },
    mutants: &[Mutant {
        name: "causal-collected-not-uniform",
        aliases: &[],
        change: "the broadcast below is a regular one",
        breaks: "CRB4",
        under: Faults::ONE_CRASH,
        wire: |wiring| collected(wiring, regular(wiring), &wiring.perfect()),
    }],
    ..COLLECTING
};

const WAITING: Algorithm = Algorithm {
    name: "causal-waiting",
    gap: gaps::CAUSAL,
    handle: named("broadcast", ""),
    aliases: &[],
    title: "waiting",
    file: "crates/broadcast/src/causal_waiting.rs",
    memory: "n counters; what waits for what precedes it, up to a window an origin",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        wire: |wiring| waiting(wiring, regular(wiring)),
        ..PAST.simulation
    },
    mutants: &[Mutant {
        name: "never-waiting",
        aliases: &[],
        change: "messages are delivered as they come",
        breaks: "CRB5",
        under: Faults::NONE,
        wire: as_they_come,
    }],
    ..PAST
};

const WAITING_UNIFORM: Algorithm = Algorithm {
    name: "causal-waiting-uniform",
    gap: gaps::CAUSAL,
    handle: named("broadcast", ""),
    aliases: &["causal-uniform"],
    abstraction: "uniform causal broadcast",
    bound: Bound::Minority,
    over: &["uniform reliable broadcast"],
    properties: UNIFORM,
    cost: Some(MAJORITY_ACK),
    simulation: Simulation {
        wire: |wiring| waiting(wiring, uniform::as_reliable(over_uniform(wiring))),
        check: check_uniform,
        ..PAST.simulation
    },
    mutants: &[Mutant {
        name: "causal-waiting-not-uniform",
        aliases: &[],
        change: "the broadcast below is a regular one",
        breaks: "CRB4",
        under: Faults::ONE_CRASH,
        wire: |wiring| waiting(wiring, regular(wiring)),
    }],
    ..WAITING
};

fn causal_order(processes: &Membership, uniform: bool) -> Properties {
    properties::causal(processes, "causal", uniform)
}

fn check_regular(processes: &Membership) -> Properties {
    let mut all = causal_order(processes, false);
    all.extend(properties::reliable(processes, "reliable"));
    all
}

fn check_uniform(processes: &Membership) -> Properties {
    let mut all = causal_order(processes, true);
    all.extend(properties::uniform(processes, "uniform"));
    all
}

fn port(requests: &Addr<causal::Broadcast>) -> RequestPort {
    RequestPort::Broadcast(requests.with(|payload| causal::Broadcast { payload }))
}

fn past(wiring: &Wiring<'_>, below: impl Layer<reliable::Port>) -> RequestPort {
    let host = wiring.host().at("causal");
    port(&causal_past::spawn(&host, below, wiring.application()))
}

fn collected(
    wiring: &Wiring<'_>,
    below: impl Layer<reliable::Port>,
    detector: &Subscribe<perfect::Crash>,
) -> RequestPort {
    let (host, up) = (wiring.host().at("causal"), wiring.application());
    port(&causal_collected::spawn(&host, below, detector, up))
}

fn waiting(wiring: &Wiring<'_>, below: impl Layer<reliable::Port>) -> RequestPort {
    let host = wiring.host().at("causal");
    port(&causal_waiting::spawn(&host, below, wiring.application()))
}

fn as_they_come(wiring: &Wiring<'_>) -> RequestPort {
    let host = wiring.host().at("causal");
    let port = traced::spawn(&host, over_reliable(regular(wiring)), wiring.application());
    RequestPort::Broadcast(port.with(traced::Broadcast))
}

fn regular(wiring: &Wiring<'_>) -> impl Layer<reliable::Port> + use<> {
    let (host, links) = (wiring.host().at("causal"), wiring.links().clone());
    move |up: Addr<reliable::Deliver>| stack::reliable(&host, &links, up)
}

fn over_uniform(wiring: &Wiring<'_>) -> impl Layer<uniform::Port> + use<> {
    let (host, links) = (wiring.host().at("causal"), wiring.links().clone());
    move |up: Addr<uniform::Deliver>| stack::uniform(&host, &links, up)
}
