//! Broadcasts in an order.
use super::{first_in_first_out::ORDERED, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Ground, OneDead, Property, Simulation, Timing,
        Twin, formula,
    },
    scenario::Faults,
    site::{Door, Site},
    stack,
};
use quorate_abstractions::{consensus, link::Links, total_order, uniform};
use quorate_broadcast::by_consensus;
use quorate_core::{Addr, Host, Membership};
use quorate_sim::properties::{self, Properties};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

const TOTAL: &[Property] = &[
    liveness(
        "TOB1",
        "validity: a correct process delivers its own broadcasts",
    ),
    safety("TOB2", "no duplication"),
    safety("TOB3", "no creation"),
    liveness(
        "TOB4",
        "uniform agreement: what any process delivers, every correct one delivers",
    ),
    safety(
        "TOB5",
        "uniform total order: of two delivery sequences, one is a prefix",
    ),
    ORDERED,
];

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "by-consensus",
    aliases: &["total-order"],
    title: "by consensus",
    abstraction: "uniform total-order broadcast",
    file: "crates/broadcast/src/by_consensus.rs",
    source: "Chandra, Toueg: Unreliable Failure Detectors for Reliable Distributed Systems, 1996",
    timing: Timing::EventuallySynchronous,
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
        sender_crashes: None,
    }),
    rate: "none",
    memory: "unordered messages, early decisions, a counter an origin",
    grows: false,
    simulation: Simulation {
        ground: Ground::Links,
        module: "total-order",
        done: "Deliver",
        wire: wire_total_order,
        check: check_total_order,
    },
    twins: &[Twin {
        name: "as-they-come",
        aliases: &[],
        spoiled: "decisions are applied in the order in which they come, not in that of the instances",
        breaks: "TOB5",
        under: Faults::ONE_CRASH,
        wire: wire_as_they_come,
    }],
}];

fn configuration(site: &Site<'_>) -> by_consensus::Configuration {
    by_consensus::Configuration {
        instances: site.instances,
        ..Default::default()
    }
}

fn wire_total_order(site: &Site<'_>) -> Door {
    let (host, detector) = (site.host(), site.eventually_perfect());
    let configuration = configuration(site);
    let up = site.application();
    let door = stack::total_order(&host, site.links(), &detector, configuration, up);
    Door::Broadcast(door.with(|payload| total_order::Broadcast { payload }))
}

fn wire_as_they_come(site: &Site<'_>) -> Door {
    let (host, links) = (
        site.host().at("total-order"),
        site.links().at("total-order"),
    );
    let detector = site.eventually_perfect();
    let uniform = |up: Addr<uniform::Deliver>| stack::uniform(&host, &links, up);
    let consensus = |up: Addr<consensus::Decide>| {
        let taken = Arc::new(AtomicU64::new(0));
        let renumber = move |decision: consensus::Decide| consensus::Decide {
            instance: taken.fetch_add(1, Relaxed) + 1,
            ..decision
        };
        stack::consensus(&host, &links, &detector, up.with(renumber))
    };
    let up = site.application();
    let door = by_consensus::spawn(&host, configuration(site), uniform, consensus, up);
    Door::Broadcast(door.with(|payload| total_order::Broadcast { payload }))
}

fn check_total_order(processes: &Membership) -> Properties {
    let mut all = properties::total_order(processes, "total-order");
    all.extend(properties::uniform(processes, "uniform"));
    all.extend(properties::consensus(processes, "consensus"));
    all
}
