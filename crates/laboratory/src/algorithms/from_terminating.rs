//! The perfect failure detector, from terminating broadcast: the other half of their equivalence.
use super::{
    BOOK,
    detectors::PERFECT,
    terminating::{self, check_at},
};
use crate::{
    algorithm::{Algorithm, Bound, Detector, Ground, Mutant, Simulation, Timing},
    gaps::Gap,
    handles::builder,
    scenario::Faults,
    site::{Door, Site, SiteLinks},
};
use bytes::Bytes;
use quorate_abstractions::{
    link::Links,
    perfect,
    terminating::{Deliver, Outcome},
};
use quorate_core::{Addr, Host};
use quorate_detectors::from_terminating::{self, Interval};
use quorate_sim::properties;
use quorate_stacks::stack;
use std::time::Duration;

const MODULE: &str = "from-terminating";

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "perfect-from-terminating",
    gap: Gap::Repeats("nothing of its own: the terminating broadcast below goes on"),
    handle: builder("crashes_from_terminating"),
    aliases: &[],
    title: "from terminating broadcast",
    abstraction: "perfect failure detector",
    file: "crates/detectors/src/from_terminating.rs",
    source: BOOK,
    timing: Timing::Synchronous,
    bound: Bound::Any,
    detector: Detector::Perfect,
    over: &[terminating::ABSTRACTION],
    properties: PERFECT,
    cost: None,
    reads: None,
    rate: "at most a broadcast of the layer below a process and interval: n(n²−1) messages",
    memory: "O(n)",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        ground: Ground::TimedLinks,
        module: MODULE,
        done: "Crash",
        wire: |site| detect(site, |delivery| delivery),
        check: |processes| {
            let mut all = properties::perfect(MODULE);
            all.extend(check_at(processes, "from-terminating/terminating"));
            all
        },
    },
    mutants: &[
        Mutant {
            name: "faulty-unsaid",
            aliases: &[],
            change: "that a source is faulty is taken for a message",
            breaks: "PFD1",
            under: Faults::ONE_CRASH,
            wire: |site| {
                detect(site, |delivery| Deliver {
                    outcome: Outcome::Message(Bytes::new()),
                    ..delivery
                })
            },
        },
        Mutant {
            name: "message-of-death",
            aliases: &[],
            change: "a message is taken for the report that its source is faulty",
            breaks: "PFD2",
            under: Faults::NONE,
            wire: |site| {
                detect(site, |delivery| Deliver {
                    outcome: Outcome::SenderFaulty,
                    ..delivery
                })
            },
        },
    ],
}];

/// Over a broadcast whose deliveries are altered so.
fn detect(site: &Site<'_>, alter: fn(Deliver) -> Deliver) -> Door {
    let (host, links) = (site.host().at(MODULE), site.links().at(MODULE));
    let perfect = site.perfect();
    let below = |up: Addr<Deliver>| stack::terminating(&host, &links, &perfect, up.with(alter));
    let detector = from_terminating::spawn(&host, pace(site), below);
    detector.send(site.application::<perfect::Crash>());
    Door::Nothing
}

/// A run is over where everybody rests at once: of ideal layers at that moment, of real ones when nothing
/// was asked for half a minute.
fn pace(site: &Site<'_>) -> Interval {
    let interval = match site.links() {
        SiteLinks::Ideal(_) | SiteLinks::Deaf(_) => Duration::from_secs(1),
        SiteLinks::Real(_) => Duration::from_mins(1),
    };
    Interval::new(interval).unwrap_or_default()
}
