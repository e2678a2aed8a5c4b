//! What runs on a quorum system that is given: each with all that is below it, over fair-loss lanes, as a node has
//! it.
use super::{
    quorum_access::{call, of_registers},
    snapshots::{agreement, door},
};
use crate::{
    algorithm::Algorithm,
    site::{Door, Proposal, Site, SiteLinks},
};
use quorate_abstractions::{consensus::Propose, lattice::Bits, link::Links};
use quorate_core::{Layer, Membership, ProcessSet};
use quorate_quorums::marks::Marks;
use quorate_sim::{
    SimHost,
    properties::{self, Properties},
};
use quorate_stacks::quorum_system::{Ground, QuorumSystem};

/// How an algorithm runs on a quorum system that is given.
pub struct OnSystem {
    name: &'static str,
    /// How it is wired.
    pub wire: fn(&Site<'_>, &QuorumSystem) -> Door,
    /// What is checked, where operations are promised to return at these processes.
    pub check: fn(&Membership, ProcessSet) -> Properties,
}

/// How this algorithm does; `None`: it does not.
pub fn on_system(algorithm: &Algorithm) -> Option<&'static OnSystem> {
    ALL.iter().find(|it| it.name == algorithm.name)
}

/// The names of those that do.
pub fn on_systems() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|it| it.name)
}

static ALL: &[OnSystem] = &[
    OnSystem {
        name: "quorum-access-generalized",
        wire: |site, system| {
            call(site, |_, site, up| {
                ground(site).quorum_access(system, Marks::default(), up)
            })
        },
        check: |_, returning| properties::quorum_access("access", returning),
    },
    OnSystem {
        name: "register-by-quorum-access",
        wire: |site, system| {
            let registers = ground(site).at("register").registers(Some(system), None);
            of_registers(&registers.attach(site.application()))
        },
        check: |_, returning| properties::shared_register("register", returning),
    },
    OnSystem {
        name: "snapshot-from-registers",
        wire: |site, system| door(site, ground(site).at("snapshot").snapshot(Some(system))),
        check: |_, returning| properties::atomic_snapshot("snapshot", returning),
    },
    OnSystem {
        name: "lattice-agreement",
        wire: |site, system| {
            agreement(site, |_, up| {
                let ground = ground(site).at("agreement");
                ground.lattice_agreement(Some(system), up)
            })
        },
        check: |_, returning| properties::lattice_agreement("agreement", returning, Bits::joined),
    },
    OnSystem {
        name: "by-quorums",
        wire: |site, system| {
            let ground = ground(site).at("consensus");
            let door = ground.consensus(system, site.application());
            Door::Propose(door.with(|Proposal { instance, value }| Propose { instance, value }))
        },
        check: |processes, returning| properties::consensus_at(processes, "consensus", returning),
    },
];

/// The root of the site. Fair-loss lanes are its links, which a pattern disconnects.
fn ground(site: &Site<'_>) -> Ground<SimHost, SiteLinks, SiteLinks> {
    Ground {
        host: site.host(),
        links: site.links().at("links"),
        datagrams: site.links().at("datagrams"),
        epoch: 0,
    }
}
