//! Consensus from total order: one half of their equivalence.
use super::consensus::UNIFORM;
use crate::{
    algorithm::{Algorithm, Bound, Detector, Models, Mutant, Simulation, Substrate, Timing},
    gaps::Gap,
    handles::named,
    scenario::Faults,
    wiring::{Proposal, RequestPort, Wiring},
};
use quorate_abstractions::{consensus, link::Links, total_order, uniform};
use quorate_broadcast::by_consensus;
use quorate_consensus::by_total_order;
use quorate_core::{Addr, Host, Layer};
use quorate_sim::properties;
use quorate_stacks::stack;

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "by-total-order",
    gap: Gap::Ends(
        "as the total order below: over the one that a leader drives it goes on, with its state, which \
             has the latest 256 decisions (or 4 MiB of them); over the one by consensus it decides nothing \
             from where that ends",
    ),
    handle: named("consensus", ""),
    aliases: &[],
    title: "by total order",
    abstraction: "uniform consensus",
    file: "crates/consensus/src/by_total_order.rs",
    source: "Chandra, Toueg: Unreliable Failure Detectors for Reliable Distributed Systems, 1996",
    timing: Timing::EventuallySynchronous,
    models: Models::SAFE_UNDER_OMISSION,
    bound: Bound::Minority,
    detector: Detector::EventuallyPerfect,
    over: &["uniform total-order broadcast"],
    properties: UNIFORM,
    cost: None,
    reads: None,
    rate: "a proposal costs what one broadcast of the layer below does",
    memory: "undecided instances with an own proposal; decided ones, as a watermark",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "by-total-order",
        done: "Decide",
        wire: |wiring| {
            let (host, links) = below(wiring);
            let detector = wiring.eventually_perfect();
            let settings = by_consensus::OrderSettings::default();
            let ordered = move |up: Addr<total_order::Deliver>| {
                stack::total_order(&host, &links, &detector, settings, up)
            };
            first_wins(wiring, ordered)
        },
        check: |processes| {
            let mut all = properties::consensus(processes, "by-total-order");
            all.extend(properties::total_order(processes, "total-order"));
            all
        },
    },
    mutants: &[Mutant {
        name: "first-come",
        aliases: &[],
        change: "the broadcast below is uniform, and has no order",
        breaks: "UC2",
        under: Faults::NONE,
        wire: |wiring| first_wins(wiring, unordered(wiring)),
    }],
}];

fn below(wiring: &Wiring<'_>) -> (impl Host + use<>, impl Links + use<>) {
    let segment = "by-total-order";
    (wiring.host().at(segment), wiring.links().at(segment))
}

fn first_wins(wiring: &Wiring<'_>, ordered: impl Layer<total_order::Port>) -> RequestPort {
    let host = wiring.host().at("by-total-order");
    let port = by_total_order::spawn(&host, ordered, wiring.application());
    RequestPort::Propose(
        port.with(|Proposal { instance, value }| consensus::Propose { instance, value }),
    )
}

/// A uniform broadcast that poses as a total order.
fn unordered(wiring: &Wiring<'_>) -> impl Layer<total_order::Port> + use<> {
    let (host, links) = below(wiring);
    move |up: Addr<total_order::Deliver>| {
        let delivered = |uniform::Deliver { id, payload }| total_order::Deliver {
            origin: id.origin,
            first: id.sequence,
            payloads: vec![payload],
        };
        let requests = stack::uniform(&host, &links, up.with(delivered));
        requests.with(|total_order::Broadcast { payload }| uniform::Broadcast { payload })
    }
}
