//! First-in first-out broadcast, over a regular and over a uniform broadcast.
use super::{
    BOOK,
    broadcast::{EAGER, MAJORITY_ACK, RELIABLE, UNIFORM},
    clause, safety,
    traced::{self, over_reliable},
};
use crate::{
    algorithm::{
        Algorithm, Bound, Detector, Models, Mutant, Property, Simulation, Substrate, Timing,
    },
    gaps,
    handles::named,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{first_in_first_out::Broadcast, link::Links, reliable, uniform};
use quorate_broadcast::first_in_first_out;
use quorate_core::{Addr, Host, Layer};
use quorate_sim::properties;
use quorate_stacks::stack;

pub(super) const ORDERED: Property = safety(
    "FRB5",
    "first-in first-out: messages of one origin are delivered in their order",
)
.of(&[clause(
    "messages of one origin are delivered in their order, and none is left out",
    "after number",
)]);

pub(super) static ALL: &[Algorithm] = &[REGULAR, OVER_UNIFORM];

const REGULAR: Algorithm = Algorithm {
    name: "first-in-first-out",
    gap: gaps::FIRST_IN_FIRST_OUT,
    handle: named("broadcast", ""),
    aliases: &["fifo"],
    title: "sequence numbers",
    abstraction: "first-in first-out broadcast",
    file: "crates/broadcast/src/first_in_first_out.rs",
    source: BOOK,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Any,
    detector: Detector::None,
    over: &["reliable broadcast"],
    properties: &[RELIABLE[0], RELIABLE[1], RELIABLE[2], RELIABLE[3], ORDERED],
    cost: Some(EAGER),
    reads: None,
    rate: "none",
    memory: "a number an origin; what came before its turn, up to a window",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "first-in-first-out",
        done: "Deliver",
        wire: |wiring| wire(wiring, regular(wiring)),
        check: |processes| {
            let mut all = properties::reliable(processes, "first-in-first-out");
            all.push(order());
            all.extend(properties::reliable(processes, "reliable"));
            all
        },
    },
    mutants: &[Mutant {
        name: "nothing-held-back",
        aliases: &[],
        change: "messages are delivered in the order in which they come",
        breaks: "FRB5",
        under: Faults::NONE,
        wire: |wiring| {
            let host = wiring.host().at("first-in-first-out");
            let port = traced::spawn(&host, over_reliable(regular(wiring)), wiring.application());
            RequestPort::Broadcast(port.with(traced::Broadcast))
        },
    }],
};

const OVER_UNIFORM: Algorithm = Algorithm {
    name: "first-in-first-out-uniform",
    gap: gaps::FIRST_IN_FIRST_OUT,
    handle: named("broadcast", ""),
    aliases: &["fifo-uniform"],
    abstraction: "uniform first-in first-out broadcast",
    bound: Bound::Minority,
    over: &["uniform reliable broadcast"],
    properties: &[UNIFORM[0], UNIFORM[1], UNIFORM[2], UNIFORM[3], ORDERED],
    cost: Some(MAJORITY_ACK),
    simulation: Simulation {
        wire: |wiring| wire(wiring, uniform::as_reliable(over_uniform(wiring))),
        check: |processes| {
            let mut all = properties::uniform(processes, "first-in-first-out");
            all.push(order());
            all.extend(properties::uniform(processes, "uniform"));
            all
        },
        ..REGULAR.simulation
    },
    mutants: &[Mutant {
        name: "first-in-first-out-not-uniform",
        aliases: &[],
        change: "the broadcast below is a regular one",
        breaks: "URB4",
        under: Faults::ONE_CRASH,
        wire: |wiring| wire(wiring, regular(wiring)),
    }],
    ..REGULAR
};

fn order() -> Box<dyn quorate_sim::Property> {
    properties::first_in_first_out_order("first-in-first-out")
}

fn wire(wiring: &Wiring<'_>, below: impl Layer<reliable::Port>) -> RequestPort {
    let host = wiring.host().at("first-in-first-out");
    let port = first_in_first_out::spawn(&host, below, wiring.application());
    RequestPort::Broadcast(port.with(|payload| Broadcast { payload }))
}

fn regular(wiring: &Wiring<'_>) -> impl Layer<reliable::Port> + use<> {
    let segment = "first-in-first-out";
    let (host, links) = (wiring.host().at(segment), wiring.links().at(segment));
    move |up: Addr<reliable::Deliver>| stack::reliable(&host, &links, up)
}

fn over_uniform(wiring: &Wiring<'_>) -> impl Layer<uniform::Port> + use<> {
    let segment = "first-in-first-out";
    let (host, links) = (wiring.host().at(segment), wiring.links().at(segment));
    move |up: Addr<uniform::Deliver>| stack::uniform(&host, &links, up)
}
