//! Algorithms that run on a given quorum system, each with everything below it, over fair-loss lanes, as in a
//! node.
use super::{
    quorum_access::{call, of_registers},
    snapshots::{agreement, double_collect, port},
};
use crate::{
    algorithm::Algorithm,
    wiring::{ProcessLinks, Proposal, RequestPort, Wiring},
};
use quorate_abstractions::{consensus::Propose, lattice::Bits, link::Links};
use quorate_core::{Layer, Membership, ProcessSet};
use quorate_quorums::marks::Marks;
use quorate_sim::{
    SimHost,
    properties::{self, Properties},
};
use quorate_stacks::quorum_system::{QuorumSystem, Scope};

/// The data to run an algorithm on a given quorum system.
pub struct OnSystem {
    name: &'static str,
    pub wire: fn(&Wiring<'_>, &QuorumSystem) -> RequestPort,
    /// The properties to check, if operations are promised to return at these processes.
    pub check: fn(&Membership, ProcessSet) -> Properties,
}

/// The data for this algorithm; `None` if it does not run on quorum systems.
pub fn on_system(algorithm: &Algorithm) -> Option<&'static OnSystem> {
    ALL.iter().find(|it| it.name == algorithm.name)
}

/// The names of the algorithms that run on quorum systems.
pub fn on_systems() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|it| it.name)
}

static ALL: &[OnSystem] = &[
    OnSystem {
        name: "quorum-access-generalized",
        wire: |wiring, system| {
            call(wiring, |_, wiring, up| {
                scope(wiring).quorum_access(system, Marks::default(), up)
            })
        },
        check: |_, returning| properties::quorum_access("access", returning),
    },
    OnSystem {
        name: "register-by-quorum-access",
        wire: |wiring, system| {
            let registers = scope(wiring).at("register").registers(Some(system), None);
            of_registers(&registers.attach(wiring.application()))
        },
        check: |_, returning| properties::shared_register("register", returning),
    },
    OnSystem {
        name: "snapshot-from-registers",
        wire: |wiring, system| port(wiring, scope(wiring).at("snapshot").snapshot(Some(system))),
        check: |_, returning| properties::atomic_snapshot("snapshot", returning),
    },
    OnSystem {
        name: "snapshot-by-double-collect",
        wire: |wiring, system| {
            let scope = scope(wiring).at("snapshot").at("registers");
            port(
                wiring,
                double_collect(wiring, scope.registers(Some(system), None)),
            )
        },
        check: |_, returning| properties::obstruction_free_snapshot("snapshot", returning),
    },
    OnSystem {
        name: "lattice-agreement",
        wire: |wiring, system| {
            agreement(wiring, |_, up| {
                let scope = scope(wiring).at("agreement");
                scope.lattice_agreement(Some(system), up)
            })
        },
        check: |_, returning| properties::lattice_agreement("agreement", returning, Bits::joined),
    },
    OnSystem {
        name: "by-quorums",
        wire: |wiring, system| {
            let scope = scope(wiring).at("consensus");
            let port = scope.consensus(system, wiring.application());
            RequestPort::Propose(
                port.with(|Proposal { instance, value }| Propose { instance, value }),
            )
        },
        check: |processes, returning| properties::consensus_at(processes, "consensus", returning),
    },
];

/// The root of the wiring. Its links are fair-loss lanes, which a pattern disconnects.
fn scope(wiring: &Wiring<'_>) -> Scope<SimHost, ProcessLinks, ProcessLinks> {
    Scope {
        host: wiring.host(),
        links: wiring.links().at("links"),
        datagrams: wiring.links().at("datagrams"),
        epoch: 0,
    }
}
