//! What a replica declares on its node.
use super::{
    registers::Lengths,
    replica::{ROOM, Store},
};
use crate::settings::{self, Consistency, NodeSettings, Transport};
use anyhow::{Context, Result};
use bytes::Bytes;
use quorate_abstractions::lattice::Union;
use quorate_broadcast::by_consensus;
use quorate_detectors::increasing_timeout;
use quorate_runtime::{
    Builder, Node, PeerAddress,
    node::{
        Coded, LatticeProposer, LockSettings, Locks, Proposer, Registers, Replicated, Segments,
        Voter,
    },
};
use quorate_stacks::{
    agreements::Consensus,
    quorum_system::{Access, QuorumSystem, Written},
};
use std::{
    net::{TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

/// The most bytes that wait for the store, but for what was in flight when that was reached. From half of them
/// on the others are slowed.
const BACKLOG: usize = 32 << 20;

/// How many decisions of consensus and commit are remembered.
const DECISIONS: usize = 1024;

/// How long a shutdown waits until all submitted commands are applied and the peers have all that was sent to
/// them.
const DRAINING: Duration = Duration::from_secs(2);

/// The handles of a replica's modules.
pub struct Modules {
    /// The store, if total order serves it.
    pub store: Option<Replicated<Store>>,
    /// Locks, if total order serves the store.
    pub locks: Option<Locks>,
    pub registers: Registers<Bytes>,
    /// The lengths of the registers' values.
    pub lengths: Lengths,
    pub snapshot: Segments<String>,
    /// The lattice agreement.
    pub joined: LatticeProposer<Union<String>>,
    /// The consensus that decides proposals; `None`: the store decides them.
    pub consensus: Option<Agreed>,
    pub commit: Voter,
}

/// A consensus, on texts or on bits.
#[derive(Clone)]
pub enum Agreed {
    /// On texts.
    Texts(Proposer<String>),
    /// On bits.
    Bits(Proposer<bool>),
}

/// Describes the node and its modules.
pub fn declare(settings: &NodeSettings) -> Result<(Builder, Modules)> {
    let mut builder = builder(settings)?;
    let store = match settings.consistency {
        Consistency::TotalOrder => Some(builder.replicated(Coded::raw("store"), Store::default())?),
        Consistency::Register => None,
    };
    let locks = match settings.consistency {
        Consistency::TotalOrder => Some(builder.locks("locks", lock_settings(settings))?),
        Consistency::Register => None,
    };
    let system = system(settings);
    let system = system.as_ref();
    let lengths = Lengths::default();
    let learned = lengths.clone();
    let written: Written = Arc::new(move |register, tag, length| {
        learned.learn(register, tag, length);
    });
    let registers = builder.registers_observed("registers", system, written)?;
    let (snapshot, joined) = ("snapshot", "lattice-agreement");
    let (snapshot, joined) = match system {
        Some(system) => (
            builder.snapshot_over(snapshot, system)?,
            builder.lattice_agreement_over(joined, system)?,
        ),
        None => (
            builder.snapshot(snapshot)?,
            builder.lattice_agreement(joined)?,
        ),
    };
    // The window is the number of decisions that are remembered.
    builder = builder.window(DECISIONS);
    let consensus = consensus(settings, &mut builder, system)?;
    let commit = builder.commit("commit", settings.stack.commit)?;
    let modules = Modules {
        store,
        locks,
        registers,
        lengths,
        snapshot,
        joined,
        consensus,
        commit,
    };
    Ok((builder, modules))
}

/// Clients say themselves how long their leases are.
fn lock_settings(settings: &NodeSettings) -> LockSettings {
    LockSettings {
        lease: None,
        takeover: settings.lock_takeover,
    }
}

fn builder(settings: &NodeSettings) -> Result<Builder> {
    let peers = settings.peers.iter().map(|peer| peer.parse());
    let peers: Vec<PeerAddress> = peers.collect::<Result<_, _>>().context("`peers`")?;
    let own = peers.get(settings.me.index()).cloned();
    let bind = settings.bind.map(PeerAddress::from).or(own);
    let bind = bind.context("`peers` is empty")?.to_string();
    let mut builder = Node::builder(settings.me, peers)
        .cluster(&settings.cluster)
        .application(&settings.application())
        .detector(increasing_timeout::DetectorSettings {
            interval: settings.heartbeat,
            timeout: settings.suspicion,
        })
        .total_order_settings(by_consensus::OrderSettings {
            instances: settings.instances as u64,
            ..by_consensus::OrderSettings::default()
        })
        .group_order(settings.stack.order)
        .window(settings.window)
        .window_bytes(ROOM)
        .backlog(BACKLOG)
        .drain(DRAINING)
        .trace(settings.trace_records);
    let cannot = || format!("cannot listen at {bind} to the peers (`bind`)");
    builder = match settings.transport {
        Transport::Udp => {
            let socket = UdpSocket::bind(&bind).with_context(cannot)?;
            builder.socket(socket).datagram(settings.datagram)
        }
        Transport::Tcp => builder.socket(TcpListener::bind(&bind).with_context(cannot)?),
    };
    if let Some(bounds) = settings.stack.synchrony {
        builder = builder.assume_synchronous(bounds);
    }
    if let Some(keys) = &settings.keys {
        builder = builder.sealed(keys.read()?, keys.identities.clone());
    }
    if settings.insecure {
        builder = builder.insecure();
    }
    Ok(builder)
}

fn consensus(
    settings: &NodeSettings,
    builder: &mut Builder,
    system: Option<&QuorumSystem>,
) -> Result<Option<Agreed>> {
    const NAME: &str = "consensus";
    let chosen = settings.stack.consensus;
    Ok(match (chosen, system) {
        (Consensus::ByTotalOrder, _) => None,
        // If there is a file of quorums, consensus uses them.
        (Consensus::ByQuorums, Some(system)) => {
            Some(Agreed::Texts(builder.consensus_over(NAME, system)?))
        }
        (chosen, _) if chosen.is_binary() => Some(Agreed::Bits(builder.consensus(NAME, chosen)?)),
        (chosen, _) => Some(Agreed::Texts(builder.consensus(NAME, chosen)?)),
    })
}

/// The quorum system of a file, if there is one.
fn system(settings: &NodeSettings) -> Option<QuorumSystem> {
    let settings::Registers::Quorums {
        quorums,
        access,
        push,
    } = &settings.registers
    else {
        return None;
    };
    let access = match access {
        settings::Access::Classical => Access::Classical,
        settings::Access::Generalized => Access::Generalized { push: *push },
    };
    let n = settings.membership.n();
    Some(QuorumSystem::new(quorums.clone(), n).accessed(access))
}
