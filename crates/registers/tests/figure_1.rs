//! Snapshots and lattice agreement when channels fail in one direction: the example of the paper on
//! generalized quorum systems, with four processes and four patterns of failures.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
use bytes::Bytes;
use quorate_abstractions::{
    lattice::Bits,
    lattice_agreement::Propose,
    link::{Deliver, Links},
    quorum_access::{self, State},
    register, snapshot,
};
use quorate_core::{Addr, Host, Layer, Observe, ProcessId, ProcessSet, Time};
use quorate_quorums::{Quorums, example, flooding, generalized};
use quorate_registers::{
    by_quorum_access::{self, Registers},
    lattice_agreement::{self, Mode},
    segments::Vector,
    snapshot_by_quorum_access, snapshot_from_registers,
};
use quorate_sim::{Report, SimHost, Timed, UNIT, World, properties};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const PERIOD: Duration = Duration::from_millis(20);

/// The number of operations that each process makes, one after the other.
const OPERATIONS: u64 = 6;

fn quorums() -> Quorums {
    example::figure_1().unwrap().quorums
}

/// What the test runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    SnapshotFromRegisters,
    SnapshotByQuorumAccess,
    LatticeAgreement,
}

/// Generalized access over flooding.
fn access<S: State + Default, L: Links>(
    host: &SimHost,
    links: &L,
) -> impl Layer<quorum_access::Port<S>> + use<S, L> {
    let (host, lane) = (host.at("access"), links.at("access").lane());
    move |up| {
        let beneath = host.at("flooding");
        let flood = |up: Addr<Deliver<generalized::Message<S>>>| {
            flooding::spawn(&beneath, flooding::FloodingSettings::default(), lane, up)
        };
        let settings = generalized::AccessSettings {
            period: PERIOD,
            ..generalized::AccessSettings::default()
        };
        generalized::spawn(&host, settings, quorums(), S::default(), flood, up)
    }
}

fn snapshots(
    what: What,
    host: &SimHost,
    links: &impl Links,
    up: Addr<snapshot::Indication>,
) -> Addr<snapshot::Request> {
    if what == What::SnapshotFromRegisters {
        let registers = host.at("registers");
        let below = |up: Addr<register::Indication>| {
            by_quorum_access::spawn(&registers, access::<Registers, _>(&registers, links), up)
        };
        snapshot_from_registers::spawn(host, below, up)
    } else {
        snapshot_by_quorum_access::spawn(host, access::<Vector, _>(host, links), up)
    }
}

/// Makes a process begin its next operation when one has returned.
fn one_after_the_other<R: Send + 'static, I: Observe + Send + 'static>(
    world: &World,
    q: ProcessId,
    request: impl Fn(u64) -> R + Send + Sync + 'static,
    wire: impl FnOnce(Addr<I>) -> Addr<R>,
) {
    let port: Arc<OnceLock<Addr<R>>> = Arc::default();
    let begun = AtomicU64::new(0);
    let next = {
        let port = port.clone();
        Arc::new(move || {
            let number = begun.fetch_add(1, Relaxed) + 1;
            if let Some(port) = port.get().filter(|_| number <= OPERATIONS) {
                port.send(request(number));
            }
        })
    };
    let again = next.clone();
    let up = world.application_with(q, move |_: I, _| again());
    assert!(port.set(wire(up)).is_ok());
    let at = Time::ZERO + UNIT * (7 * q.rank() as u32);
    world.call(q, at, move || next());
}

fn start(world: &World, what: What, q: ProcessId) {
    let links = world.links(q);
    if what == What::LatticeAgreement {
        let host = world.host(q).at("agreement");
        let request = move |operation| {
            let value = Bits(1_u64 << (8 * q.index() as u64 + operation));
            Propose { operation, value }
        };
        let wire = |up| {
            let below =
                |up: Addr<snapshot::Indication>| snapshots(what, &host.at("snapshot"), &links, up);
            lattice_agreement::spawn(&host, Mode::Repeated, below, up)
        };
        return one_after_the_other(world, q, request, wire);
    }
    let request = move |operation: u64| {
        let action = if (operation + q.rank() as u64).is_multiple_of(2) {
            snapshot::Action::Scan
        } else {
            snapshot::Action::Update(Bytes::from(format!("{q} {operation}")))
        };
        snapshot::Request { operation, action }
    };
    let wire = |up| snapshots(what, &world.host(q).at("snapshot"), &links, up);
    one_after_the_other(world, q, request, wire);
}

/// Makes everything fail that may fail under the pattern of this index. Returns the processes at which
/// operations return.
fn befall(world: &World, index: usize, at: Time) -> ProcessSet {
    let example = example::figure_1().unwrap();
    let (pattern, returning) = example.pattern(index).unwrap();
    world.fail(pattern.crash, pattern.channels(), at);
    returning
}

fn run(what: What, pattern: Option<usize>, seed: u64) -> Report {
    let adversary = Timed::uniform(UNIT / 2, UNIT * 5);
    let mut world = World::new(4, seed, adversary).unwrap().settle(PERIOD * 60);
    // Some operations have returned by then, some are in flight, and some begin later.
    let at = Time::ZERO + UNIT * (seed as u32 * 37 % 300);
    let all = world.membership().set();
    let returning = pattern.map_or(all, |index| befall(&world, index, at));
    world.check(if what == What::LatticeAgreement {
        properties::lattice_agreement("agreement", returning, Bits::joined)
    } else {
        properties::atomic_snapshot("snapshot", returning)
    });
    for q in world.processes() {
        start(&world, what, q);
    }
    world.run()
}

fn sweep(seeds: u64) {
    let all = [
        What::SnapshotFromRegisters,
        What::SnapshotByQuorumAccess,
        What::LatticeAgreement,
    ];
    for what in all {
        for seed in 0..seeds {
            for pattern in [None, Some(0), Some(1), Some(2), Some(3)] {
                let report = run(what, pattern, seed);
                let holds = report.all_hold();
                assert!(holds, "{what:?}, {pattern:?}, seed {seed}: {report}");
            }
        }
    }
}

#[test]
fn snapshots_and_lattice_agreement_return_where_they_can() {
    sweep(50);
}

#[test]
#[ignore = "long: scripts/soak runs it"]
fn snapshots_and_lattice_agreement_return_where_they_can_over_many_seeds() {
    sweep(2000);
}
