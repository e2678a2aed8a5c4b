//! Atomic commit.
use super::{BOOK, clause, liveness, safety};
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
use quorate_abstractions::{
    Subscribe,
    atomic_commit::Vote,
    link::{self, Links},
    perfect,
};
use quorate_commit::two_phase::{self, Message};
use quorate_core::{Addr, Host, Layer, Membership};
use quorate_sim::properties::{self, Properties};
use quorate_stacks::stack;

const AGREEMENT: Property = safety(
    "NBAC1",
    "uniform agreement: no two processes decide differently",
)
.of(&[clause(
    "no two processes decide differently",
    "otherwise than another",
)]);
const COMMIT_VALIDITY: Property = safety(
    "NBAC3",
    "commit validity: who commits knows that all voted yes",
)
.of(&[clause(
    "who commits does so after all have voted yes",
    "not everybody voted yes",
)]);
const ABORT_VALIDITY: Property = safety(
    "NBAC4",
    "abort validity: who aborts knows of a no or of a crash",
)
.of(&[clause(
    "who aborts does so after a no, or a crash",
    "nobody voted no",
)]);
const INTEGRITY: Property =
    safety("NBAC5", "integrity: a process decides at most once").of(&[clause(
        "no process decides twice in an instance",
        "decides twice",
    )]);

const NON_BLOCKING: &[Property] = &[
    AGREEMENT,
    liveness(
        "NBAC2",
        "termination: if all correct processes vote, all decide",
    )
    .of(&[clause(
        "if all correct processes vote, every correct process decides",
        "never decides",
    )]),
    COMMIT_VALIDITY,
    ABORT_VALIDITY,
    INTEGRITY,
];

const WITH_COORDINATOR: Property = liveness(
    "NBAC2-C",
    "termination with a coordinator: if all correct processes vote, and the coordinator is correct, all decide",
)
.of(&[clause(
    "if all correct processes vote, one of which coordinates, every correct process decides",
    "never decides",
)]);

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "non-blocking",
        gap: Gap::Repeats("the votes in open instances; consensus goes on"),
        handle: named("commit", ""),
        aliases: &["nbac"],
        title: "non-blocking",
        abstraction: "atomic commit",
        file: "crates/commit/src/non_blocking.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &[
            "best-effort broadcast",
            "perfect failure detector",
            "uniform consensus",
        ],
        properties: NON_BLOCKING,
        cost: Some(Cost {
            messages: formula("2n(n−1)", |s| 2 * s.n * (s.n - 1)),
            steps: formula("n + 1", |s| if s.n > 1 { s.n + 1 } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::First,
                messages: formula("2(n−1)²", |s| 2 * (s.n - 1).pow(2)),
                steps: formula("D + n−1", |s| s.d + s.n - 1),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("k + 2(n−1)²", |s| s.k + 2 * (s.n - 1).pow(2)),
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
            module: "commit",
            done: "Decide",
            wire: |wiring| non_blocking(wiring, &wiring.perfect()),
            check: check_non_blocking,
        },
        mutants: &[
            Mutant {
                name: "non-blocking-with-errors",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "NBAC4",
                under: Faults::NONE,
                wire: |wiring| non_blocking(wiring, &wiring.erring()),
            },
            Mutant {
                name: "non-blocking-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "NBAC2",
                under: Faults::ONE_CRASH,
                wire: |wiring| non_blocking(wiring, &Addr::nowhere()),
            },
        ],
    },
    Algorithm {
        name: "two-phase",
        gap: Gap::Repeats(
            "the coordinator's questions in open instances, and votes whose outcome is not known; it \
             remembers the latest 4,096 outcomes: who missed an older one stays without it",
        ),
        handle: named("commit", ""),
        aliases: &["2pc"],
        title: "two-phase, which blocks with its coordinator",
        abstraction: "atomic commit",
        file: "crates/commit/src/two_phase.rs",
        source: "Gray: Notes on Data Base Operating Systems, 1978",
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["perfect link", "perfect failure detector"],
        properties: &[
            AGREEMENT,
            WITH_COORDINATOR,
            COMMIT_VALIDITY,
            ABORT_VALIDITY,
            INTEGRITY,
        ],
        cost: Some(Cost {
            messages: formula("3(n−1)", |s| 3 * (s.n - 1)),
            steps: formula("3", |s| if s.n > 1 { 3 } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::Last,
                messages: formula("3n−4", |s| 3 * s.n - 4),
                steps: formula("D + 1", |s| s.d + 1),
            }),
            sender_crashes: Some(SenderCrashes {
                messages: formula("2k", |s| 2 * s.k),
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
            module: "commit",
            done: "Decide",
            wire: |wiring| two_phase(wiring, &wiring.perfect(), |message| message),
            check: |processes| properties::blocking_commit(processes, "commit"),
        },
        mutants: &[
            Mutant {
                name: "every-vote-a-yes",
                aliases: &[],
                change: "the coordinator takes every vote for a yes",
                breaks: "NBAC3",
                under: Faults::NONE,
                wire: |wiring| two_phase(wiring, &wiring.perfect(), every_vote_a_yes),
            },
            Mutant {
                name: "two-phase-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "NBAC2-C",
                under: Faults::ONE_CRASH,
                wire: |wiring| two_phase(wiring, &Addr::nowhere(), |message| message),
            },
        ],
    },
];

fn non_blocking(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let up = wiring.application();
    RequestPort::Vote(stack::non_blocking(
        &wiring.host(),
        wiring.links(),
        detector,
        up,
    ))
}

fn check_non_blocking(processes: &Membership) -> Properties {
    let mut all = properties::atomic_commit(processes, "commit");
    all.extend(properties::consensus(processes, "consensus"));
    all
}

fn every_vote_a_yes(message: Message) -> Message {
    let vote = Vote::Yes;
    match message {
        Message::Voted { instance, .. } => Message::Voted { instance, vote },
        Message::Again { instance, .. } => Message::Again { instance, vote },
        other @ (Message::Prepare { .. } | Message::Decided { .. } | Message::Resumed) => other,
    }
}

/// Two-phase commit over this detector, where `read` alters the messages that arrive.
fn two_phase(
    wiring: &Wiring<'_>,
    detector: &Subscribe<perfect::Crash>,
    read: fn(Message) -> Message,
) -> RequestPort {
    let (host, lane) = (
        wiring.host().at("commit"),
        wiring.links().at("commit").lane(),
    );
    let below = |up: Addr<link::Deliver<Message>>| {
        lane.attach(
            up.with(move |link::Deliver { from, message }| link::Deliver {
                from,
                message: read(message),
            }),
        )
    };
    RequestPort::Vote(two_phase::spawn(
        &host,
        below,
        &wiring.links().status(),
        detector,
        wiring.application(),
    ))
}
