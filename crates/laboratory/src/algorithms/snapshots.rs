//! Atomic snapshot, and lattice agreement on it.
use super::{
    alike, clause, liveness,
    quorum_access::{TIGHT_BOUNDS, access_lane, of_one},
    safety,
};
use crate::{
    algorithm::{
        Algorithm, Bound, Detector, Models, Mutant, Property, Simulation, Substrate, Timing,
        formula,
    },
    gaps::Gap,
    handles::{Handle, builder},
    scenario::Faults,
    wiring::{Action, Objects, Operation, RequestPort, Wiring},
};
use quorate_abstractions::{
    lattice::Bits,
    lattice_agreement::{self as agreed, Propose},
    link::Links,
    quorum_access, register,
    snapshot::{self, Indication, Request},
};
use quorate_core::{Addr, Host, Layer, Membership};
use quorate_quorums::{Quorums, classical};
use quorate_registers::{
    by_quorum_access::{self, Registers},
    lattice_agreement::{self, Mode},
    multi_writer,
    segments::Vector,
    snapshot_by_double_collect, snapshot_by_quorum_access, snapshot_from_registers,
};
use quorate_sim::{
    SimHost,
    properties::{self, Properties},
};

const SNAPSHOT: &[Property] = &[
    liveness("SN1", "termination: operations of correct processes return").of(&[clause(
        "operations of correct processes return",
        "never returns",
    )]),
    safety(
        "SN2",
        "atomicity: operations are linearizable, and a scan is of all segments",
    )
    .of(&[
        clause(
            "an operation that was requested returns, and once",
            "not in flight",
        ),
        clause("a scan has what was there before it", "there before it"),
        clause(
            "a scan has nothing that was not requested",
            "nobody has requested",
        ),
        clause("scans can be ordered", "cannot be ordered"),
        clause(
            "a scan that has an update has what was there before that",
            "there before that",
        ),
    ]),
];

const OBSTRUCTION_FREEDOM: Property = liveness(
    "SN1-O",
    "obstruction-freedom: an operation of a correct process returns that runs alone from some time on",
)
.of(&[clause(
    "an operation of a correct process returns if in the end it is the only one of correct processes in flight",
    "runs alone",
)]);

const AGREEMENT: &[Property] = &[
    safety("LA1", "comparability: decisions can be ordered").of(&[clause(
        "of two decisions, one is at most the other",
        "cannot be ordered",
    )]),
    safety(
        "LA2",
        "downward validity: a decision is at least what the process has proposed",
    )
    .of(&[clause(
        "a process decides no less than it has proposed",
        "less than it proposed",
    )]),
    safety(
        "LA3",
        "upward validity: a decision is at most the join of what was proposed",
    )
    .of(&[
        clause(
            "a proposal that was requested is decided, and once",
            "not in flight",
        ),
        clause(
            "a process decides no more than all that was proposed",
            "more than was proposed",
        ),
    ]),
    liveness("LA4", "termination: correct processes that propose decide").of(&[clause(
        "correct processes that propose decide",
        "never returns",
    )]),
];

pub(super) static ALL: &[Algorithm] = &[
    FROM_REGISTERS,
    DOUBLE_COLLECT,
    BY_QUORUM_ACCESS,
    LATTICE_AGREEMENT,
];

const FROM_REGISTERS: Algorithm = Algorithm {
    name: "snapshot-from-registers",
    gap: Gap::Repeats("nothing of its own: the registers below go on"),
    handle: builder("snapshot"),
    aliases: &[],
    title: "from registers",
    abstraction: "atomic snapshot",
    file: "crates/registers/src/snapshot_from_registers.rs",
    source: "Afek, Attiya, Dolev, Gafni, Merritt, Shavit: Atomic Snapshots of Shared Memory, 1993",
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["(N,N) atomic register"],
    properties: SNAPSHOT,
    cost: Some(alike(
        formula("4(n+1)(n−1), if nobody else updates", |s| {
            4 * (s.n + 1) * (s.n - 1)
        }),
        formula("8", |s| if s.n > 1 { 8 } else { 0 }),
        formula("2(n+1)(2n−3)", |s| 2 * (s.n + 1) * (2 * s.n - 3)),
    )),
    reads: Some(alike(
        formula("4n(n−1), if nobody updates: 2n reads", |s| {
            4 * s.n * (s.n - 1)
        }),
        formula("4", |s| if s.n > 1 { 4 } else { 0 }),
        formula("2n(2n−3)", |s| 2 * s.n * (2 * s.n - 3)),
    )),
    rate: "none",
    memory: "n registers of n+1 values; two collects an operation in flight",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "snapshot",
        done: "UpdateReturn",
        wire: |wiring| port(wiring, from_registers(wiring, registers(wiring))),
        check: atomic,
    },
    mutants: &[
        Mutant {
            name: "collects-once",
            aliases: &[],
            change: "what one collect saw is returned",
            breaks: "SN2",
            under: Faults::NONE,
            wire: |wiring| {
                let (host, registers) = (wiring.host().at("snapshot"), registers(wiring));
                port(wiring, move |up: Addr<Indication>| {
                    snapshot_from_registers::spawn_mutant(&host, registers, up)
                })
            },
        },
        Mutant {
            name: "segments-on-quorums-of-one",
            aliases: &[],
            change: "any process is a quorum of the registers",
            breaks: "SN2",
            under: Faults::NONE,
            wire: |wiring| port(wiring, from_registers(wiring, that_do_not_meet(wiring))),
        },
    ],
};

const DOUBLE_COLLECT: Algorithm = Algorithm {
    name: "snapshot-by-double-collect",
    handle: Handle::Simulated {
        why: "a scan may wait as long as others update; that of `Builder::snapshot` does not",
    },
    title: "by double collects, obstruction-free",
    file: "crates/registers/src/snapshot_by_double_collect.rs",
    source: "Herlihy, Luchangco, Moir: Obstruction-Free Synchronization: Double-Ended Queues as an Example, 2003",
    properties: &[OBSTRUCTION_FREEDOM, SNAPSHOT[1]],
    cost: Some(alike(
        formula("4(n−1)", |s| 4 * (s.n - 1)),
        formula("4", |s| if s.n > 1 { 4 } else { 0 }),
        formula("2(2n−3)", |s| 2 * (2 * s.n - 3)),
    )),
    memory: "n registers; two collects a scan in flight",
    simulation: Simulation {
        wire: |wiring| port(wiring, double_collect(wiring, registers(wiring))),
        check: |processes| properties::obstruction_free_snapshot("snapshot", processes.set()),
        ..FROM_REGISTERS.simulation
    },
    mutants: &[Mutant {
        name: "collects-on-quorums-of-one",
        aliases: &[],
        change: "any process is a quorum of the registers",
        breaks: "SN2",
        under: Faults::NONE,
        wire: |wiring| port(wiring, double_collect(wiring, that_do_not_meet(wiring))),
    }],
    ..FROM_REGISTERS
};

const BY_QUORUM_ACCESS: Algorithm = Algorithm {
    name: "snapshot-by-quorum-access",
    gap: Gap::Repeats("nothing of its own: the quorum access below goes on"),
    handle: builder("snapshot_over"),
    aliases: &[],
    title: "by quorum access",
    abstraction: "atomic snapshot",
    file: "crates/registers/src/snapshot_by_quorum_access.rs",
    source: "Delporte-Gallet, Fauconnier, Rajsbaum, Raynal: Implementing Snapshot Objects on Top of \
             Crash-Prone Asynchronous Message-Passing Systems, 2016",
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["quorum access"],
    properties: SNAPSHOT,
    cost: Some(alike(
        formula("8(n−1), if nobody else updates", |s| 8 * (s.n - 1)),
        formula("8", |s| if s.n > 1 { 8 } else { 0 }),
        formula("4(2n−3)", |s| 4 * (2 * s.n - 3)),
    )),
    reads: Some(alike(
        formula("6(n−1), if nobody updates", |s| 6 * (s.n - 1)),
        formula("6", |s| if s.n > 1 { 6 } else { 0 }),
        formula("3(2n−3)", |s| 3 * (2 * s.n - 3)),
    )),
    rate: "none",
    memory: "n segments of n+1 values",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "snapshot",
        done: "UpdateReturn",
        wire: |wiring| port(wiring, by_access(wiring, majorities(wiring))),
        check: atomic,
    },
    mutants: &[Mutant {
        name: "snapshot-on-quorums-of-one",
        aliases: &[],
        change: "any process is a quorum",
        breaks: "SN2",
        under: Faults::NONE,
        wire: |wiring| port(wiring, by_access(wiring, of_one())),
    }],
};

const LATTICE_AGREEMENT: Algorithm = Algorithm {
    name: "lattice-agreement",
    gap: Gap::Repeats("nothing of its own: the snapshot below goes on"),
    handle: builder("lattice_agreement"),
    aliases: &[],
    title: "by atomic snapshot",
    abstraction: "lattice agreement",
    file: "crates/registers/src/lattice_agreement.rs",
    source: TIGHT_BOUNDS,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["atomic snapshot"],
    properties: AGREEMENT,
    cost: Some(alike(
        formula("14(n−1), if nobody else proposes", |s| 14 * (s.n - 1)),
        formula("14", |s| if s.n > 1 { 14 } else { 0 }),
        formula("7(2n−3)", |s| 7 * (2 * s.n - 3)),
    )),
    reads: None,
    rate: "none",
    memory: "the join of the own proposals, and what the snapshot takes",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "agreement",
        done: "Decide",
        wire: |wiring| {
            let snapshot = by_access(wiring, majorities(wiring));
            agreement(wiring, |host, up| {
                lattice_agreement::spawn(host, Mode::Repeated, snapshot, up)
            })
        },
        check: |processes| {
            properties::lattice_agreement("agreement", processes.set(), Bits::joined)
        },
    },
    mutants: &[
        Mutant {
            name: "scans-first",
            aliases: &[],
            change: "the scan is made before the update",
            breaks: "LA2",
            under: Faults::NONE,
            wire: |wiring| {
                let snapshot = by_access(wiring, majorities(wiring));
                agreement(wiring, |host, up| {
                    lattice_agreement::spawn_mutant(host, snapshot, up)
                })
            },
        },
        Mutant {
            name: "agreement-on-quorums-of-one",
            aliases: &[],
            change: "any process is a quorum",
            breaks: "LA1",
            under: Faults::NONE,
            wire: |wiring| {
                let snapshot = by_access(wiring, of_one());
                agreement(wiring, |host, up| {
                    lattice_agreement::spawn(host, Mode::Repeated, snapshot, up)
                })
            },
        },
    ],
};

fn atomic(processes: &Membership) -> Properties {
    properties::atomic_snapshot("snapshot", processes.set())
}

fn majorities(wiring: &Wiring<'_>) -> Quorums {
    Quorums::majorities(wiring.host().processes())
}

/// Registers of many writers, by majorities.
fn registers(wiring: &Wiring<'_>) -> impl Layer<register::Port> + use<> {
    let host = wiring.host().at("register");
    let links = wiring.links().at("register");
    let (lane, status) = (links.lane(), links.status());
    move |up: Addr<register::Indication>| multi_writer::spawn(&host, lane, &status, up)
}

/// Registers on quorums that do not meet.
fn that_do_not_meet(wiring: &Wiring<'_>) -> impl Layer<register::Port> + use<> {
    let host = wiring.host().at("register");
    let (below, lane, status) = (
        host.at("access"),
        access_lane(wiring),
        wiring.links().status(),
    );
    move |up: Addr<register::Indication>| {
        let access = |up: Addr<quorum_access::Indication<Registers>>| {
            classical::spawn(&below, of_one(), Registers::default(), lane, &status, up)
        };
        by_quorum_access::spawn(&host, access, up)
    }
}

fn from_registers<R: Layer<register::Port>>(
    wiring: &Wiring<'_>,
    registers: R,
) -> impl Layer<snapshot::Port> + use<R> {
    let host = wiring.host().at("snapshot");
    move |up: Addr<Indication>| snapshot_from_registers::spawn(&host, registers, up)
}

pub(super) fn double_collect<R: Layer<register::Port>>(
    wiring: &Wiring<'_>,
    registers: R,
) -> impl Layer<snapshot::Port> + use<R> {
    let host = wiring.host().at("snapshot");
    move |up: Addr<Indication>| snapshot_by_double_collect::spawn(&host, registers, up)
}

fn by_access(wiring: &Wiring<'_>, quorums: Quorums) -> impl Layer<snapshot::Port> + use<> {
    let host = wiring.host().at("snapshot");
    let (below, lane, status) = (
        host.at("access"),
        access_lane(wiring),
        wiring.links().status(),
    );
    move |up: Addr<Indication>| {
        let access = |up: Addr<quorum_access::Indication<Vector>>| {
            classical::spawn(&below, quorums, Vector::default(), lane, &status, up)
        };
        snapshot_by_quorum_access::spawn(&host, access, up)
    }
}

/// One snapshot, of which each process updates its own segment.
pub(super) fn port(wiring: &Wiring<'_>, snapshot: impl Layer<snapshot::Port>) -> RequestPort {
    let requests = snapshot.attach(wiring.application());
    let operate = requests.with(|Operation { number, action, .. }| Request {
        operation: number,
        action: match action {
            Action::Read => snapshot::Action::Scan,
            Action::Write(value) => snapshot::Action::Update(value),
        },
    });
    RequestPort::Operate(Objects::new(1, operate))
}

/// One agreement on sets: each process proposes elements of its own, again after each decision.
pub(super) fn agreement(
    wiring: &Wiring<'_>,
    spawn: impl FnOnce(&SimHost, Addr<agreed::Indication<Bits>>) -> Addr<Propose<Bits>>,
) -> RequestPort {
    let host = wiring.host().at("agreement");
    let port = spawn(&host, wiring.application());
    let first = 8 * (host.me().rank() as u64 - 1);
    let operate = port.with(move |Operation { number, .. }| Propose {
        operation: number,
        value: Bits(1 << ((first + number % 8) % 64)),
    });
    RequestPort::Operate(Objects {
        readable: false,
        ..Objects::new(1, operate)
    })
}
