//! Failure detectors and leaders.
use super::{BOOK, liveness, safety};
use crate::{
    algorithm::{Algorithm, Bound, Detector, Ground, Mutant, Property, Simulation, Timing},
    gaps::Gap,
    handles::node,
    scenario::Faults,
    site::{self, Door, Site, SiteLinks},
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
    liveness("PFD1", "strong completeness: every crash is reported"),
    safety(
        "PFD2",
        "strong accuracy: none is reported before it, or twice",
    ),
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
            ground: Ground::Heartbeats,
            module: "detector",
            done: "Crash",
            wire: |site| exclude(site, site::synchronous(), site.heartbeat()),
            check: |_| properties::perfect("detector"),
        },
        mutants: &[
            Mutant {
                name: "hasty",
                aliases: &[],
                change: "a heartbeat is expected sooner than it can come",
                breaks: "PFD2",
                under: Faults::NONE,
                wire: |site| exclude(site, hasty(), site.heartbeat()),
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
        bound: Bound::Any,
        detector: Detector::None,
        over: &["heartbeats"],
        properties: &[
            liveness(
                "EPFD1",
                "strong completeness: crashed processes are suspected for ever",
            ),
            liveness(
                "EPFD2",
                "eventual strong accuracy: correct ones eventually are not",
            ),
        ],
        cost: None,
        reads: None,
        rate: "n(n−1) heartbeats an interval",
        memory: "O(n)",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            ground: Ground::Heartbeats,
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
        bound: Bound::AllButOne,
        detector: Detector::EventuallyPerfect,
        over: &["eventually perfect failure detector"],
        properties: &[
            liveness(
                "ELD1",
                "eventually some correct process is trusted for ever",
            ),
            liveness("ELD2", "eventually all correct processes trust the same"),
        ],
        cost: None,
        reads: None,
        rate: "nothing: it sends no message",
        memory: "O(n)",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            ground: Ground::Links,
            module: "leader",
            done: "Trust",
            wire: |site| trust(site, &site.eventually_perfect()),
            check: |_| properties::leader("leader"),
        },
        mutants: &[Mutant {
            name: "loyal-to-the-dead",
            aliases: &[],
            change: "what the failure detector says is not heard",
            breaks: "ELD1",
            under: Faults::ONE_CRASH,
            wire: |site| trust(site, &Addr::nowhere()),
        }],
    },
];

fn hasty() -> exclude_on_timeout::SynchronyBounds {
    let often = Duration::from_millis(1);
    exclude_on_timeout::SynchronyBounds::new(often, Duration::ZERO).unwrap_or_default()
}

fn wire_excluding_nobody(site: &Site<'_>) -> Door {
    let everybody = *site.host().processes();
    let heartbeat = |up: Addr<Heard>| {
        let heard = Addr::new(move |heard: Heard| {
            everybody
                .iter()
                .for_each(|from| up.send(Heard { from, ..heard }));
        });
        site.heartbeat().attach(heard)
    };
    exclude(site, site::synchronous(), heartbeat)
}

fn exclude(
    site: &Site<'_>,
    settings: exclude_on_timeout::SynchronyBounds,
    heartbeat: impl Layer<heartbeat::Port>,
) -> Door {
    let host = site.host().at("detector");
    let subscribe = match site.links() {
        SiteLinks::Real(links) => {
            let status = links.status();
            exclude_on_timeout::spawn_with_incarnations(&host, settings, heartbeat, &status)
        }
        // They know one start a process.
        SiteLinks::Ideal(_) | SiteLinks::Deaf(_) => {
            exclude_on_timeout::spawn(&host, settings, heartbeat)
        }
    };
    subscribe.send(site.application::<perfect::Crash>());
    Door::Nothing
}

use increasing_timeout::DetectorSettings;

fn wire_increasing_timeout(site: &Site<'_>) -> Door {
    suspect(site, DetectorSettings::default(), site.heartbeat())
}

fn wire_never_suspecting(site: &Site<'_>) -> Door {
    let mut settings = DetectorSettings::default();
    settings.timeout *= 1 << 20;
    suspect(site, settings, site.heartbeat())
}

fn wire_never_restoring(site: &Site<'_>) -> Door {
    let once = |up: Addr<Heard>| {
        let known = Mutex::new(ProcessSet::EMPTY);
        let first = Addr::new(move |heard: Heard| {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.insert(heard.from) {
                up.send(heard);
            }
        });
        site.heartbeat().attach(first)
    };
    suspect(site, DetectorSettings::default(), once)
}

fn suspect(
    site: &Site<'_>,
    settings: DetectorSettings,
    heartbeat: impl Layer<heartbeat::Port>,
) -> Door {
    let host = site.host().at("detector");
    let detector = increasing_timeout::spawn(&host, settings, heartbeat);
    detector
        .suspicions
        .send(site.application::<eventually_perfect::Indication>());
    Door::Nothing
}

fn trust(site: &Site<'_>, detector: &Subscribe<eventually_perfect::Indication>) -> Door {
    let subscribe = lowest_rank::spawn(&site.host().at("leader"), detector);
    subscribe.send(site.application::<Trust>());
    Door::Nothing
}
