//! Shared memory: the registers, a snapshot and lattice agreement, each over registers of its own.
use crate::{
    configuration::{self, Configuration},
    node::{
        registers::{Limits, Registers},
        turns::Turns,
        view::View,
    },
};
use quorate_abstractions::{
    lattice::Union,
    lattice_agreement::{self, Propose},
    link::Links,
    snapshot,
};
use quorate_catalogue::quorum_system::{self, Ground, QuorumSystem, STORE, Written};
use quorate_core::{Host, Layer};
use quorate_services::kv::MAXIMUM_BYTES;
use std::{convert::Infallible, sync::Arc};

/// A snapshot of strings, and what can be asked of it.
pub type Snapshot = Turns<snapshot::Action, snapshot::Outcome>;

/// Agreement on growing sets of strings.
pub type Joined = Turns<Union<String>, lattice_agreement::Outcome<Union<String>>>;

/// What processes share.
#[derive(Clone)]
pub struct Memory {
    /// The registers.
    pub registers: Registers,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The lattice agreement.
    pub joined: Joined,
}

/// Starts them.
pub fn start<H: Host + Clone, L: Links, D: Links>(
    configuration: &Configuration,
    host: &H,
    links: &L,
    datagrams: &D,
    view: &View,
) -> Memory {
    let root = ground(host, links, datagrams);
    let chosen = &configuration.registers;
    let limits = if chosen.carry_the_store() {
        Limits {
            entry: STORE,
            store: Some(STORE),
        }
    } else {
        Limits {
            entry: MAXIMUM_BYTES,
            store: None,
        }
    };
    let system = system(chosen, host.processes().n());
    let system = system.as_ref();
    let registers = Registers::start(view, limits, |up, known| {
        let written: Written = Arc::new(move |register, tag, length| {
            known.written([(register, tag, length)]);
        });
        let registers = root.at("registers").registers(system, Some(written));
        Ok::<_, Infallible>(registers.attach(up))
    });
    let Ok(registers) = registers;
    let snapshot = Turns::start(|up| {
        let up = up.with(|i: snapshot::Indication| (i.operation, i.outcome));
        let requests = root.at("snapshot").snapshot(system).attach(up);
        requests.with(|(operation, action)| snapshot::Request { operation, action })
    });
    let joined = Turns::start(|up| {
        let up = up.with(|i: lattice_agreement::Indication<_>| (i.operation, i.outcome));
        let at = root.at("lattice-agreement");
        let requests = at.lattice_agreement(system, up);
        requests.with(|(operation, value)| Propose { operation, value })
    });
    Memory {
        registers,
        snapshot,
        joined,
    }
}

/// Where stacks over quorum systems are built.
pub fn ground<H: Host + Clone, L: Links, D: Links>(
    host: &H,
    links: &L,
    datagrams: &D,
) -> Ground<H, L, D> {
    Ground {
        host: host.clone(),
        links: links.clone(),
        datagrams: datagrams.clone(),
        epoch: epoch(),
    }
}

/// The quorum system of a file, if there is one.
pub fn system(chosen: &configuration::Registers, n: usize) -> Option<QuorumSystem> {
    let configuration::Registers::Quorums {
        quorums,
        access,
        push,
    } = chosen
    else {
        return None;
    };
    let access = match access {
        configuration::Access::Classical => quorum_system::Access::Classical,
        configuration::Access::Generalized => quorum_system::Access::Generalized { push: *push },
    };
    Some(QuorumSystem::new(quorums.clone(), n).accessed(access))
}

/// Microseconds since 1970: clocks that lag behind each other only make gets slower.
fn epoch() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
