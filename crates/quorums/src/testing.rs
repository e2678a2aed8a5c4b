//! What the tests of quorum access share.

use crate::{
    Quorums, classical, example, flooding as over, generalized,
    marks::{Mark, Marks},
    system,
};
use quorate_abstractions::{
    flooding,
    link::Links,
    quorum_access::{Call, Indication, Request},
};
use quorate_core::{Addr, Host, Layer, ProcessId, ProcessSet, Random as Generator, Time};
pub(crate) use quorate_sim::properties::quorum_access;
pub(crate) use quorate_sim::testing::{p, set};
use quorate_sim::{SimHost, UNIT, World};
use rand::{RngExt, SeedableRng};

pub(crate) type RequestPort = Addr<Request<Mark>>;

/// Generalized access straight over the links, or over flooding.
pub(crate) fn below(
    world: &World,
    q: ProcessId,
    floods: bool,
) -> impl Layer<flooding::Port<generalized::Message<Marks>>> + use<> {
    let (host, links) = (world.host(q).at("access").at("flooding"), world.links(q));
    move |up| {
        if floods {
            let lane = links.at("flooded").lane();
            over::spawn(&host, over::FloodingSettings::default(), lane, up)
        } else {
            over::direct(links.at("direct").lane()).attach(up)
        }
    }
}

/// Generalized access at every process.
pub(crate) fn generalized(
    world: &World,
    settings: generalized::AccessSettings,
    quorums: &Quorums,
    floods: bool,
) -> Vec<RequestPort> {
    let wire = |q| {
        let (host, below) = (world.host(q).at("access"), below(world, q, floods));
        let up: Addr<Indication<Marks>> = world.application(q);
        generalized::spawn(
            &host,
            settings,
            quorums.clone(),
            Marks::default(),
            below,
            up,
        )
    };
    world.processes().map(wire).collect()
}

/// Classical access at every process.
pub(crate) fn classical(world: &World, quorums: &Quorums) -> Vec<RequestPort> {
    let wire = |q| {
        let (host, links): (SimHost, _) = (world.host(q).at("access"), world.links(q).at("access"));
        let up: Addr<Indication<Marks>> = world.application(q);
        let (quorums, lane, status) = (quorums.clone(), links.lane(), links.status());
        classical::spawn(&host, quorums, Marks::default(), lane, &status, up)
    };
    world.processes().map(wire).collect()
}

/// Makes each process call this many times within this many steps; half of the calls are sets.
pub(crate) fn call(world: &World, ports: &[RequestPort], seed: u64, calls: u64, steps: u32) {
    let mut rng = Generator::seed_from_u64(seed);
    for (rank, port) in (1..).zip(ports) {
        for operation in 1..=calls {
            let mark = Mark(((rank - 1) * 8 + operation as usize % 8) as u8);
            let call = if rng.random() {
                Call::Set(mark)
            } else {
                Call::Get
            };
            let at = Time::ZERO + UNIT / 4 * rng.random_range(0..4 * steps);
            world.request(p(rank), at, port, Request { operation, call });
        }
    }
}

/// A failure pattern of the paper's example.
pub(crate) struct Pattern {
    failing: system::Pattern,
    /// The processes at which calls return.
    pub(crate) returning: ProcessSet,
}

/// The patterns f1 … f4.
pub(crate) fn patterns() -> [Pattern; 4] {
    let example = example::figure_1().unwrap();
    [0, 1, 2, 3].map(|index| {
        let (failing, returning) = example.pattern(index).unwrap();
        let failing = failing.clone();
        Pattern { failing, returning }
    })
}

/// The quorums of the paper's example.
pub(crate) fn figure_1() -> Quorums {
    example::figure_1().unwrap().quorums
}

impl Pattern {
    /// Makes everything fail that may fail, at this moment.
    pub(crate) fn befall(&self, world: &World, at: Time) {
        world.fail(self.failing.crash, self.failing.channels(), at);
    }
}
