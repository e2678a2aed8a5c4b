//! The perfect failure detector from terminating broadcast: one half of their equivalence.
use super::{
    BOOK,
    detectors::PERFECT,
    terminating::{self, check_at},
};
use crate::{
    algorithm::{Algorithm, Bound, Detector, Models, Mutant, Simulation, Substrate, Timing},
    gaps::Gap,
    handles::builder,
    scenario::Faults,
    wiring::{ProcessLinks, RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    link::Links,
    perfect,
    terminating::{Content, Deliver},
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
    models: Models::CRASH,
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
        substrate: Substrate::TimedLinks,
        module: MODULE,
        done: "Crash",
        wire: |wiring| detect(wiring, |delivery| delivery),
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
            wire: |wiring| {
                detect(wiring, |delivery| Deliver {
                    outcome: Content::Message(Bytes::new()),
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
            wire: |wiring| {
                detect(wiring, |delivery| Deliver {
                    outcome: Content::SenderFaulty,
                    ..delivery
                })
            },
        },
    ],
}];

/// Wires the detector over a broadcast whose deliveries this function alters.
fn detect(wiring: &Wiring<'_>, alter: fn(Deliver) -> Deliver) -> RequestPort {
    let (host, links) = (wiring.host().at(MODULE), wiring.links().at(MODULE));
    let perfect = wiring.perfect();
    let below = |up: Addr<Deliver>| stack::terminating(&host, &links, &perfect, up.with(alter));
    let detector = from_terminating::spawn(&host, pace(wiring), below);
    detector.send(wiring.application::<perfect::Crash>());
    RequestPort::Nothing
}

/// A run is over when all processes rest at once. With ideal layers that is at that moment, with real ones
/// when there was no request for half a minute.
pub(super) fn pace(wiring: &Wiring<'_>) -> Interval {
    let interval = match wiring.links() {
        ProcessLinks::Ideal(_) | ProcessLinks::Deaf(_) => Duration::from_secs(1),
        ProcessLinks::Real(_) => Duration::from_mins(1),
    };
    Interval::new(interval).unwrap_or_default()
}
