//! Broadcasts without an order.
use super::{
    BOOK, clause, liveness, safety,
    traced::{self, numbered},
};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::{Handle, builder, named},
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, best_effort, eventually_perfect,
    link::{self, Links, To},
    perfect, reliable, uniform,
};
use quorate_broadcast::{
    all_ack, best_effort as to_everybody, data::Data, lazy, majority_ack, textbook_majority_ack,
};
use quorate_core::{Addr, Host, Layer};
use quorate_sim::properties;
use quorate_stacks::stack;

pub(super) const RELIABLE: &[Property] = &[
    liveness(
        "RB1",
        "validity: a correct process delivers its own broadcasts",
    )
    .of(&[
        clause("a correct process delivers its own broadcasts", "its own"),
        clause("so does every other correct process", "never delivers"),
    ]),
    safety("RB2", "no duplication").of(&[clause("no process delivers a message twice", "twice")]),
    safety("RB3", "no creation").of(&[
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
        "RB4",
        "agreement: what a correct process delivers, every correct one delivers",
    )
    .of(&[clause(
        "what one correct process delivers, every correct one delivers",
        "never does",
    )]),
];

pub(super) const UNIFORM: &[Property] = &[
    liveness(
        "URB1",
        "validity: a correct process delivers its own broadcasts",
    )
    .of(&[
        clause("a correct process delivers its own broadcasts", "its own"),
        clause("so does every other correct process", "never delivers"),
    ]),
    safety("URB2", "no duplication").of(&[clause("no process delivers a message twice", "twice")]),
    safety("URB3", "no creation").of(&[
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
        "URB4",
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
];

/// The cost of eager broadcast, and of algorithms over it that send nothing themselves.
pub(super) const EAGER: Cost = Cost {
    messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
    steps: formula("1", |s| (s.n > 1).into()),
    one_dead: Some(OneDead {
        which: Dead::Last,
        messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
        steps: formula("1", |_| 1),
    }),
    sender_crashes: Some(SenderCrashes {
        messages: formula("k + (n−1)²", |s| s.k + (s.n - 1).pow(2)),
        steps: Some(formula("2 (1 if k = n−1)", |s| {
            if s.k == s.n - 1 { 1 } else { 2 }
        })),
    }),
};

/// The cost of majority-ack broadcast, and of algorithms over it that send nothing themselves.
pub(super) const MAJORITY_ACK: Cost = Cost {
    messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
    steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
    one_dead: Some(OneDead {
        which: Dead::Last,
        messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
        steps: formula("2", |_| 2),
    }),
    sender_crashes: Some(SenderCrashes {
        messages: formula("k + (n−1)²", |s| s.k + (s.n - 1).pow(2)),
        steps: None,
    }),
};

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "best-effort",
        gap: Gap::Ends(
            "what was broadcast in the gap does not reach its receiver; all others have it",
        ),
        handle: builder("best_effort"),
        aliases: &[],
        title: "send to all",
        abstraction: "best-effort broadcast",
        file: "crates/broadcast/src/best_effort.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["perfect link"],
        properties: &[
            liveness(
                "BEB1",
                "validity: a correct sender's message reaches every correct process",
            )
            .of(&[
                clause("a correct process delivers its own broadcasts", "its own"),
                clause("so does every other correct process", "never delivers"),
            ]),
            safety("BEB2", "no duplication").of(&[clause(
                "a message is delivered as often as it was broadcast, at most",
                "times",
            )]),
            safety("BEB3", "no creation").of(&[clause(
                "what is delivered from a process was broadcast by it",
                "broadcast 0 times",
            )]),
        ],
        cost: Some(Cost {
            messages: formula("n−1", |s| s.n - 1),
            steps: formula("1", |s| (s.n > 1).into()),
            one_dead: Some(OneDead {
                which: Dead::Last,
                messages: formula("n−1", |s| s.n - 1),
                steps: formula("1", |_| 1),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("k", |s| s.k),
                steps: Some(formula("1", |_| 1)),
            }),
        }),
        reads: None,
        rate: "none",
        memory: "none",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "best-effort",
            done: "Deliver",
            wire: |wiring| best_effort(wiring, |send| send),
            check: |_| properties::best_effort("best-effort"),
        },
        mutants: &[Mutant {
            name: "all-but-oneself",
            aliases: &[],
            change: "nothing is sent to oneself",
            breaks: "BEB1",
            under: Faults::NONE,
            wire: |wiring| {
                let others = wiring.host().processes().others(wiring.host().me());
                best_effort(wiring, move |send| link::SendRequest {
                    to: To::Some(others),
                    ..send
                })
            },
        }],
    },
    Algorithm {
        name: "eager",
        gap: Gap::Ends(
            "what was said in the gap reaches its receiver by the relay of another, or not at all",
        ),
        handle: named("broadcast", ""),
        aliases: &["reliable"],
        title: "eager",
        abstraction: "reliable broadcast",
        file: "crates/broadcast/src/eager.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["best-effort broadcast"],
        properties: RELIABLE,
        cost: Some(EAGER),
        reads: None,
        rate: "none",
        memory: "delivered identifiers, as watermarks",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "reliable",
            done: "Deliver",
            wire: |wiring| {
                let up = wiring.application();
                let port = stack::reliable(&wiring.host(), wiring.links(), up);
                RequestPort::Broadcast(port.with(|payload| reliable::Broadcast { payload }))
            },
            check: |processes| properties::reliable(processes, "reliable"),
        },
        mutants: &[Mutant {
            name: "relayless",
            aliases: &[],
            change: "nobody relays",
            breaks: "RB4",
            under: Faults::ONE_CRASH,
            wire: wire_relayless,
        }],
    },
    Algorithm {
        name: "lazy",
        gap: Gap::Repeats(
            "what this process has sent and the receiver has not reported, of its latest 4,096 messages; \
             where more are missing, it ends, and the users are told",
        ),
        handle: named("broadcast", ""),
        aliases: &[],
        title: "lazy",
        abstraction: "reliable broadcast",
        file: "crates/broadcast/src/lazy.rs",
        source: BOOK,
        timing: Timing::EventuallySynchronous,
        models: Models::SAFE_UNDER_OMISSION,
        bound: Bound::Any,
        detector: Detector::EventuallyPerfect,
        over: &["perfect link", "eventually perfect failure detector"],
        properties: RELIABLE,
        cost: Some(Cost {
            messages: formula("n−1", |s| s.n - 1),
            steps: formula("1", |s| (s.n > 1).into()),
            one_dead: Some(OneDead {
                which: Dead::Last,
                messages: formula("n−1", |s| s.n - 1),
                steps: formula("1", |_| 1),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("kn", |s| s.k * s.n),
                steps: Some(formula("max(1, D) + 1 (1 if k = n−1)", |s| {
                    if s.k == s.n - 1 { 1 } else { s.d.max(1) + 1 }
                })),
            }),
        }),
        reads: None,
        rate: "n(n−1) reports every 1,024 broadcasts",
        memory: "a window of 4,096 messages a relayer; delivered identifiers, as watermarks",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "reliable",
            done: "Deliver",
            wire: |wiring| lazy(wiring, &wiring.eventually_perfect()),
            check: |processes| properties::reliable(processes, "reliable"),
        },
        mutants: &[Mutant {
            name: "lazy-and-unsuspecting",
            aliases: &[],
            change: "what the failure detector says is not heard",
            breaks: "RB4",
            under: Faults::ONE_CRASH,
            wire: |wiring| lazy(wiring, &Addr::nowhere()),
        }],
    },
    Algorithm {
        name: "all-ack",
        gap: Gap::Repeats(
            "what is pending at either end; who has delivered it says again that it holds it",
        ),
        handle: named("broadcast", ""),
        aliases: &[],
        title: "all-ack",
        abstraction: "uniform reliable broadcast",
        file: "crates/broadcast/src/all_ack.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["best-effort broadcast", "perfect failure detector"],
        properties: UNIFORM,
        cost: Some(Cost {
            messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
            steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::Last,
                messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
                steps: formula("max(2, D)", |s| s.d.max(2)),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("k + (n−1)²", |s| s.k + (s.n - 1).pow(2)),
                steps: None,
            }),
        }),
        reads: None,
        rate: "none",
        memory: "undelivered messages; delivered identifiers, as watermarks",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "uniform",
            done: "Deliver",
            wire: |wiring| all_ack(wiring, &wiring.perfect()),
            check: |processes| properties::uniform(processes, "uniform"),
        },
        mutants: &[
            Mutant {
                name: "all-ack-with-errors",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "URB4",
                under: Faults::ONE_CRASH,
                wire: |wiring| all_ack(wiring, &wiring.erring()),
            },
            Mutant {
                name: "all-ack-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "URB1",
                under: Faults::ONE_CRASH,
                wire: |wiring| all_ack(wiring, &Addr::nowhere()),
            },
        ],
    },
    Algorithm {
        name: "majority-ack",
        gap: Gap::Ends(
            "what is pending at either end is said again, so that whoever broadcasts delivers; what others \
             have delivered and forgotten meanwhile is not",
        ),
        handle: named("broadcast", ""),
        aliases: &["uniform"],
        title: "majority-ack",
        abstraction: "uniform reliable broadcast",
        file: "crates/broadcast/src/majority_ack.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Minority,
        detector: Detector::None,
        over: &["perfect link"],
        properties: UNIFORM,
        cost: Some(MAJORITY_ACK),
        reads: None,
        rate: "none",
        memory: "undelivered messages; delivered identifiers, as watermarks",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "uniform",
            done: "Deliver",
            wire: |wiring| {
                let up = wiring.application();
                let port = stack::uniform(&wiring.host(), wiring.links(), up);
                RequestPort::Broadcast(port.with(|payload| uniform::Broadcast { payload }))
            },
            check: |processes| properties::uniform(processes, "uniform"),
        },
        mutants: &[Mutant {
            name: "one-ack",
            aliases: &["broken-uniform"],
            change: "delivers once a single process, itself, holds the message",
            breaks: "URB4",
            under: Faults::ONE_CRASH,
            wire: wire_one_ack,
        }],
    },
    Algorithm {
        name: "textbook-majority-ack",
        gap: Gap::Ends(
            "what was said in the gap reaches its receiver by the relay of another, or not at all; without \
             a majority's relays it is not delivered",
        ),
        handle: Handle::Simulated {
            why: "as the textbook prints it: every payload goes over every channel; `majority-ack` is the \
                  one to deploy",
        },
        aliases: &[],
        title: "majority-ack, as printed",
        abstraction: "uniform reliable broadcast",
        file: "crates/broadcast/src/textbook_majority_ack.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Minority,
        detector: Detector::None,
        over: &["best-effort broadcast"],
        properties: UNIFORM,
        cost: Some(MAJORITY_ACK),
        reads: None,
        rate: "none",
        memory: "undelivered messages; delivered identifiers, as watermarks",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "uniform",
            done: "Deliver",
            wire: |wiring| {
                let (host, lane) = (
                    wiring.host().at("uniform"),
                    wiring.links().at("uniform").lane(),
                );
                let below = to_everybody::over(lane);
                let port = textbook_majority_ack::spawn(&host, below, wiring.application());
                RequestPort::Broadcast(port.with(|payload| uniform::Broadcast { payload }))
            },
            check: |processes| properties::uniform(processes, "uniform"),
        },
        mutants: &[Mutant {
            name: "one-relay",
            aliases: &[],
            change: "delivers once a single process, itself, has relayed the message",
            breaks: "URB4",
            under: Faults::ONE_CRASH,
            wire: |wiring| {
                let (host, lane) = (
                    wiring.host().at("uniform"),
                    wiring.links().at("uniform").lane(),
                );
                let below = to_everybody::over(lane);
                let up = wiring.application();
                let port = textbook_majority_ack::spawn_mutant(&host, 1, below, up);
                RequestPort::Broadcast(port.with(|payload| uniform::Broadcast { payload }))
            },
        }],
    },
];

/// Best-effort broadcast at `wiring`, with this change to the messages that leave for the link.
fn best_effort(
    wiring: &Wiring<'_>,
    alter: impl Fn(link::SendRequest<Bytes>) -> link::SendRequest<Bytes> + Send + Sync + 'static,
) -> RequestPort {
    let lane = wiring.links().at("best-effort").lane();
    let altered = |up: Addr<link::Deliver<Bytes>>| lane.attach(up).with(alter);
    let below = |up: Addr<traced::Deliver>| {
        let delivered = |best_effort::Deliver { from, message }| traced::Deliver {
            from: Some(from),
            id: None,
            payload: message,
        };
        let requests = to_everybody::over(altered).attach(up.with(delivered));
        requests.with(|traced::Broadcast(payload)| best_effort::Broadcast(payload))
    };
    let host = wiring.host().at("best-effort");
    let port = traced::spawn(&host, below, wiring.application());
    RequestPort::Broadcast(port.with(traced::Broadcast))
}

/// Broadcasts that carry their number, and are delivered in the order of arrival.
fn wire_relayless(wiring: &Wiring<'_>) -> RequestPort {
    let host = wiring.host().at("reliable");
    let below = to_everybody::over(wiring.links().at("reliable").lane());
    let below = |up: Addr<traced::Deliver>| {
        let delivered =
            |best_effort::Deliver { message, .. }: best_effort::Deliver<Data>| traced::Deliver {
                from: None,
                id: Some(message.id),
                payload: message.payload,
            };
        let requests = below.attach(up.with(delivered));
        let number = numbered(&wiring.host());
        requests.with(move |traced::Broadcast(payload)| {
            best_effort::Broadcast(Data {
                id: number(),
                payload,
            })
        })
    };
    let port = traced::spawn(&host, below, wiring.application());
    RequestPort::Broadcast(port.with(traced::Broadcast))
}

fn wire_one_ack(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (wiring.host().at("uniform"), wiring.links().at("uniform"));
    let port = majority_ack::spawn_mutant(
        &host,
        1,
        links.lane(),
        &links.status(),
        wiring.application(),
    );
    RequestPort::Broadcast(port.with(|payload| uniform::Broadcast { payload }))
}

fn lazy(wiring: &Wiring<'_>, detector: &Subscribe<eventually_perfect::Indication>) -> RequestPort {
    let (host, links) = (wiring.host().at("reliable"), wiring.links().at("reliable"));
    let port = lazy::spawn(
        &host,
        links.lane(),
        &links.status(),
        detector,
        wiring.application(),
    );
    RequestPort::Broadcast(port.with(|payload| reliable::Broadcast { payload }))
}

fn all_ack(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, links) = (wiring.host().at("uniform"), wiring.links().at("uniform"));
    let (lane, status) = (links.lane(), links.status());
    let port = all_ack::spawn(&host, lane, &status, detector, wiring.application());
    RequestPort::Broadcast(port.with(|payload| uniform::Broadcast { payload }))
}
