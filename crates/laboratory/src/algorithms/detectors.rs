//! Failure detectors and leaders.
use super::{BOOK, clause, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Detector, Models, Mutant, Property, Simulation, Substrate, Timing,
    },
    gaps::Gap,
    handles::node,
    scenario::Faults,
    wiring::{self, ProcessLinks, RequestPort, Wiring},
};
use quorate_abstractions::{
    Subscribe, eventually_perfect,
    heartbeat::{self, Heard},
    leader::Trust,
    link::Links,
    perfect,
};
use quorate_core::{Addr, Host, Layer, ProcessSet};
use quorate_detectors::{exclude_on_timeout, increasing_timeout, lowest_rank};
use quorate_sim::properties;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub(super) const PERFECT: &[Property] = &[
    liveness("PFD1", "strong completeness: every crash is reported").of(&[clause(
        "every correct process reports every crash",
        "does not suspect",
    )]),
    safety(
        "PFD2",
        "strong accuracy: none is reported before it, or twice",
    )
    .of(&[
        clause(
            "no process is reported before it crashes",
            "which has not crashed",
        ),
        clause("no crash is reported twice", "again"),
    ]),
];

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "exclude-on-timeout",
        gap: Gap::Unaffected("heartbeats go on, whatever the streams do"),
        handle: node("crashes"),
        aliases: &["perfect"],
        title: "exclude on timeout",
        abstraction: "perfect failure detector",
        file: "crates/detectors/src/exclude_on_timeout.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["heartbeats"],
        properties: PERFECT,
        cost: None,
        reads: None,
        rate: "n(n−1) heartbeats an interval",
        memory: "O(n)",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Heartbeats,
            module: "detector",
            done: "Crash",
            wire: |wiring| exclude(wiring, wiring::synchronous(), wiring.heartbeat()),
            check: |_| properties::perfect("detector"),
        },
        mutants: &[
            Mutant {
                name: "hasty",
                aliases: &[],
                change: "a heartbeat is expected sooner than it can come",
                breaks: "PFD2",
                under: Faults::NONE,
                wire: |wiring| exclude(wiring, hasty(), wiring.heartbeat()),
            },
            Mutant {
                name: "excluding-nobody",
                aliases: &[],
                change: "a sign of life of one process counts for all",
                breaks: "PFD1",
                under: Faults::ONE_CRASH,
                wire: wire_excluding_nobody,
            },
        ],
    },
    Algorithm {
        name: "increasing-timeout",
        gap: Gap::Unaffected("heartbeats go on, whatever the streams do"),
        handle: node("suspicions"),
        aliases: &["eventually-perfect"],
        title: "increasing timeout",
        abstraction: "eventually perfect failure detector",
        file: "crates/detectors/src/increasing_timeout.rs",
        source: BOOK,
        timing: Timing::EventuallySynchronous,
        models: Models::CLOCKS,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["heartbeats"],
        properties: &[
            liveness(
                "EPFD1",
                "strong completeness: crashed processes are suspected for ever",
            )
            .of(&[clause(
                "in the end every correct process suspects every crashed one",
                "does not suspect",
            )]),
            liveness(
                "EPFD2",
                "eventual strong accuracy: correct ones eventually are not",
            )
            .of(&[clause(
                "in the end no process is suspected that has not crashed",
                "which has not crashed",
            )]),
        ],
        cost: None,
        reads: None,
        rate: "n(n−1) heartbeats an interval",
        memory: "O(n)",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Heartbeats,
            module: "detector",
            done: "Suspect",
            wire: wire_increasing_timeout,
            check: |_| properties::eventually_perfect("detector"),
        },
        mutants: &[
            Mutant {
                name: "never-restoring",
                aliases: &[],
                change: "only the first heartbeat of a process counts",
                breaks: "EPFD2",
                under: Faults::NONE,
                wire: wire_never_restoring,
            },
            Mutant {
                name: "never-suspecting",
                aliases: &[],
                change: "the timeout is longer than any run",
                breaks: "EPFD1",
                under: Faults::ONE_CRASH,
                wire: wire_never_suspecting,
            },
        ],
    },
    Algorithm {
        name: "lowest-rank",
        gap: Gap::Unaffected("it stands on a detector, and sends nothing"),
        handle: node("leader_hint"),
        aliases: &["leader"],
        title: "lowest rank",
        abstraction: "eventual leader",
        file: "crates/detectors/src/lowest_rank.rs",
        source: BOOK,
        timing: Timing::EventuallySynchronous,
        models: Models::CLOCKS,
        bound: Bound::AllButOne,
        detector: Detector::EventuallyPerfect,
        over: &["eventually perfect failure detector"],
        properties: &[
            liveness(
                "ELD1",
                "eventually some correct process is trusted for ever",
            )
            .of(&[
                clause(
                    "in the end every correct process trusts some process",
                    "trusts nobody",
                ),
                clause("and that one is correct", "which has crashed"),
            ]),
            liveness("ELD2", "eventually all correct processes trust the same").of(&[clause(
                "in the end all correct processes trust the same",
                "trusts",
            )]),
        ],
        cost: None,
        reads: None,
        rate: "nothing: it sends no message",
        memory: "O(n)",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Links,
            module: "leader",
            done: "Trust",
            wire: |wiring| trust(wiring, &wiring.eventually_perfect()),
            check: |_| properties::leader("leader"),
        },
        mutants: &[Mutant {
            name: "loyal-to-the-dead",
            aliases: &[],
            change: "what the failure detector says is not heard",
            breaks: "ELD1",
            under: Faults::ONE_CRASH,
            wire: |wiring| trust(wiring, &Addr::nowhere()),
        }],
    },
];

fn hasty() -> exclude_on_timeout::SynchronyBounds {
    let often = Duration::from_millis(1);
    exclude_on_timeout::SynchronyBounds::new(often, Duration::ZERO).unwrap_or_default()
}

fn wire_excluding_nobody(wiring: &Wiring<'_>) -> RequestPort {
    let everybody = *wiring.host().processes();
    let heartbeat = |up: Addr<Heard>| {
        let heard = Addr::new(move |heard: Heard| {
            everybody
                .iter()
                .for_each(|from| up.send(Heard { from, ..heard }));
        });
        wiring.heartbeat().attach(heard)
    };
    exclude(wiring, wiring::synchronous(), heartbeat)
}

fn exclude(
    wiring: &Wiring<'_>,
    settings: exclude_on_timeout::SynchronyBounds,
    heartbeat: impl Layer<heartbeat::Port>,
) -> RequestPort {
    let host = wiring.host().at("detector");
    let subscribe = match wiring.links() {
        ProcessLinks::Real(links) => {
            let status = links.status();
            exclude_on_timeout::spawn_with_incarnations(&host, settings, heartbeat, &status)
        }
        // These links know only one start of each process.
        ProcessLinks::Ideal(_) | ProcessLinks::Deaf(_) => {
            exclude_on_timeout::spawn(&host, settings, heartbeat)
        }
    };
    subscribe.send(wiring.application::<perfect::Crash>());
    RequestPort::Nothing
}

use increasing_timeout::DetectorSettings;

fn wire_increasing_timeout(wiring: &Wiring<'_>) -> RequestPort {
    suspect(wiring, DetectorSettings::default(), wiring.heartbeat())
}

fn wire_never_suspecting(wiring: &Wiring<'_>) -> RequestPort {
    let mut settings = DetectorSettings::default();
    settings.timeout *= 1 << 20;
    suspect(wiring, settings, wiring.heartbeat())
}

fn wire_never_restoring(wiring: &Wiring<'_>) -> RequestPort {
    let once = |up: Addr<Heard>| {
        let known = Mutex::new(ProcessSet::EMPTY);
        let first = Addr::new(move |heard: Heard| {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.insert(heard.from) {
                up.send(heard);
            }
        });
        wiring.heartbeat().attach(first)
    };
    suspect(wiring, DetectorSettings::default(), once)
}

fn suspect(
    wiring: &Wiring<'_>,
    settings: DetectorSettings,
    heartbeat: impl Layer<heartbeat::Port>,
) -> RequestPort {
    let host = wiring.host().at("detector");
    let detector = increasing_timeout::spawn(&host, settings, heartbeat);
    detector
        .suspicions
        .send(wiring.application::<eventually_perfect::Indication>());
    RequestPort::Nothing
}

fn trust(wiring: &Wiring<'_>, detector: &Subscribe<eventually_perfect::Indication>) -> RequestPort {
    let subscribe = lowest_rank::spawn(&wiring.host().at("leader"), detector);
    subscribe.send(wiring.application::<Trust>());
    RequestPort::Nothing
}
