//! Flooding, quorum access, and registers by quorum access.
use super::{
    clause, liveness,
    registers::SHARED,
    safety,
    traced::{self, Broadcast},
};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::builder,
    scenario::Faults,
    wiring::{Action, Objects, Operation, ProcessLinks, RequestPort, Wiring},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    flooding::{Delivery, Request, Slot},
    link::{Links, To},
    quorum_access::{self, Call, Indication},
    register,
};
use quorate_core::{
    Addr, Host, Layer, MessageId, Observation, Observe, ProcessId,
    message::Origin,
    wire::{Undecodable, Wire},
};
use quorate_quorums::{
    Family, Quorums, classical, flooding, generalized,
    marks::{Mark, Marks},
};
use quorate_registers::by_quorum_access::{self, Registers};
use quorate_sim::{SimHost, properties};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

pub(super) const TIGHT_BOUNDS: &str = "Tight Bounds on Channel Reliability via Generalized Quorum Systems, arXiv \
                            2505.02646";

const FLOODING: &[Property] = &[
    liveness(
        "FLD1",
        "reachability: what is posted is delivered wherever a path of correct channels leads",
    ).of(&[clause("a correct process delivers its own messages", "its own"), clause("so does every other correct process", "never delivers")]),
    safety(
        "FLD2",
        "no duplication; that of a slot no older one comes after a newer is tested beside the algorithm",
    ).of(&[clause("no process delivers a message twice", "twice")]),
    safety("FLD3", "no creation").of(&[clause("what is delivered was broadcast by its origin", "which was not broadcast"), clause("with the content that it was broadcast with", "with another content")]),
];

const ACCESS: &[Property] = &[
    safety(
        "QAF1",
        "validity: a state comes from requested updates, each applied at most once",
    )
    .of(&[
        clause(
            "a call that was requested returns, and once",
            "not in flight",
        ),
        clause(
            "a state has no update that was not requested",
            "was requested",
        ),
    ]),
    safety(
        "QAF2",
        "real-time ordering: a get sees every set that returned before it began",
    )
    .of(&[clause(
        "a get sees every set that returned before it began",
        "had been set before",
    )]),
    liveness(
        "QAF3",
        "termination: calls return where the quorum system promises it",
    )
    .of(&[clause(
        "calls return where that is promised",
        "never returns",
    )]),
];

pub(super) static ALL: &[Algorithm] = &[FLOOD, CLASSICAL, GENERALIZED, BY_QUORUM_ACCESS];

const FLOOD: Algorithm = Algorithm {
    name: "flooding",
    gap: Gap::Repeats(
        "what stands, of every origin; over fair-loss lanes, which know no streams, that is said again \
             from time to time",
    ),
    handle: builder("flooding"),
    aliases: &[],
    title: "flooding",
    abstraction: "flooding",
    file: "crates/quorums/src/flooding.rs",
    source: TIGHT_BOUNDS,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Any,
    detector: Detector::None,
    over: &["perfect link"],
    properties: FLOODING,
    cost: Some(Cost {
        messages: formula("n(n−1)", |s| s.n * (s.n - 1)),
        steps: formula("1", |s| u64::from(s.n > 1)),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
            steps: formula("1", |_| 1),
        }),
        sender_crashes: None,
    }),
    reads: None,
    rate: "none; on fair-loss channels, each process sends what stands to all, ever more slowly",
    memory: "O(n) a slot in use, of any process",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "flooding",
        done: "Deliver",
        wire: |wiring| {
            flood(wiring, |host, links, up| {
                flooding::spawn_over_streams(host, links.lane(), &links.status(), up)
            })
        },
        check: |processes| properties::flooding(processes, "flooding"),
    },
    mutants: &[Mutant {
        name: "flooding-forgetful",
        aliases: &[],
        change: "every copy is delivered",
        breaks: "FLD2",
        under: Faults::NONE,
        wire: |wiring| {
            flood(wiring, |host, links, up| {
                let settings = flooding::FloodingSettings::default();
                flooding::spawn_mutant(host, settings, links.lane(), up)
            })
        },
    }],
};

/// The cost of a call, or of an operation that takes one call.
const fn round_trips() -> Cost {
    Cost {
        messages: formula("2(n−1)", |s| 2 * (s.n - 1)),
        steps: formula("2", |s| if s.n > 1 { 2 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("2n−3", |s| 2 * s.n - 3),
            steps: formula("2", |_| 2),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("2k", |s| 2 * s.k),
            steps: None,
        }),
    }
}

const CLASSICAL: Algorithm = Algorithm {
    name: "quorum-access-classical",
    gap: Gap::Repeats(
        "the open calls that the receiver has not answered, under the same numbers, and which are over; \
             the receiver does the same",
    ),
    handle: builder("quorum_access"),
    aliases: &[],
    title: "classical",
    abstraction: "quorum access",
    file: "crates/quorums/src/classical.rs",
    source: TIGHT_BOUNDS,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["perfect link"],
    properties: ACCESS,
    cost: Some(round_trips()),
    reads: Some(round_trips()),
    rate: "none",
    memory: "the state; n states a call in flight",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "access",
        done: "SetReturn",
        wire: |wiring| {
            call(wiring, |host, wiring, up| {
                let quorums = Quorums::majorities(host.processes());
                let (lane, status) = (access_lane(wiring), wiring.links().status());
                classical::spawn(host, quorums, Marks::default(), lane, &status, up)
            })
        },
        check: |processes| properties::quorum_access("access", processes.set()),
    },
    mutants: &[Mutant {
        name: "quorums-of-one",
        aliases: &[],
        change: "any process is a quorum",
        breaks: "QAF2",
        under: Faults::NONE,
        wire: |wiring| {
            call(wiring, |host, wiring, up| {
                let (lane, status) = (access_lane(wiring), wiring.links().status());
                classical::spawn(host, of_one(), Marks::default(), lane, &status, up)
            })
        },
    }],
};

const GENERALIZED: Algorithm = Algorithm {
    name: "quorum-access-generalized",
    gap: Gap::Repeats("nothing of its own: the flooding below goes on"),
    handle: builder("quorum_access"),
    aliases: &[],
    title: "generalized, where channels fail in one direction",
    abstraction: "quorum access",
    file: "crates/quorums/src/generalized.rs",
    source: TIGHT_BOUNDS,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["flooding"],
    properties: ACCESS,
    cost: None,
    reads: None,
    rate: "2n(n−1) messages a period; 3n(n−1) a call, which waits for at most a period",
    memory: "n states; a slot a call in flight, of any process",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Pushes,
        module: "access",
        done: "SetReturn",
        wire: |wiring| {
            let quorums = Quorums::majorities(wiring.host().processes());
            generalized(wiring, quorums)
        },
        check: |processes| properties::quorum_access("access", processes.set()),
    },
    mutants: &[Mutant {
        name: "generalized-quorums-of-one",
        aliases: &[],
        change: "any process is a quorum",
        breaks: "QAF2",
        under: Faults::NONE,
        wire: |wiring| generalized(wiring, of_one()),
    }],
};

const BY_QUORUM_ACCESS: Algorithm = Algorithm {
    name: "register-by-quorum-access",
    gap: Gap::Repeats("nothing of its own: the quorum access below goes on"),
    handle: builder("registers_over"),
    aliases: &[],
    title: "by quorum access",
    abstraction: "(N,N) atomic register",
    file: "crates/registers/src/by_quorum_access.rs",
    source: TIGHT_BOUNDS,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Minority,
    detector: Detector::None,
    over: &["quorum access"],
    properties: SHARED,
    cost: Some(twice()),
    reads: Some(twice()),
    rate: "none",
    memory: "all values",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "register",
        done: "WriteReturn",
        wire: |wiring| registers(wiring, Quorums::majorities(wiring.host().processes())),
        check: |processes| properties::shared_register("register", processes.set()),
    },
    mutants: &[Mutant {
        name: "register-on-quorums-of-one",
        aliases: &[],
        change: "any process is a quorum",
        breaks: "NNAR2",
        under: Faults::NONE,
        wire: |wiring| registers(wiring, of_one()),
    }],
};

/// The cost of two calls of classical access.
const fn twice() -> Cost {
    Cost {
        messages: formula("4(n−1)", |s| 4 * (s.n - 1)),
        steps: formula("4", |s| if s.n > 1 { 4 } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::Last,
            messages: formula("4n−6", |s| 4 * s.n - 6),
            steps: formula("4", |_| 4),
        }),
        sender_crashes: None,
    }
}

/// Longer than a push takes to reach every process, even where pauses have put processes out of step: a run
/// rests when nothing is in flight.
const PERIOD: Duration = Duration::from_millis(200);

/// Quorums that do not meet.
pub(super) fn of_one() -> Quorums {
    Quorums {
        reads: Family::AtLeast(1),
        writes: Family::AtLeast(1),
    }
}

/// A payload with its number at its origin.
#[derive(Clone)]
struct Numbered(u64, Bytes);

impl Wire for Numbered {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.0);
        out.put_slice(&self.1);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let number = bytes.try_get_u64_le().map_err(|_| Undecodable)?;
        Ok(Numbered(number, bytes))
    }
}

impl Observe for Numbered {
    fn observe(&self) -> Observation {
        Observation::internal("Numbered").instance(self.0)
    }
}

/// A payload is kept until this many others have been posted.
const RETAINED: u64 = 256;

/// Broadcast by flooding: each payload in the next slot.
fn flood(
    wiring: &Wiring<'_>,
    spawn: impl FnOnce(&SimHost, &ProcessLinks, Addr<Delivery<Numbered>>) -> Addr<Request<Numbered>>,
) -> RequestPort {
    let (host, links) = (wiring.host().at("flooding"), wiring.links().at("flooding"));
    let beneath = host.at("layer");
    let below = |up: Addr<traced::Deliver>| {
        let delivered = |Delivery { from, message }: Delivery<Numbered>| traced::Deliver {
            from: Some(from),
            id: Some(numbered(from, message.0)),
            payload: message.1,
        };
        let port = spawn(&beneath, &links, up.with(delivered));
        let count = AtomicU64::new(1);
        port.with(move |Broadcast(payload)| {
            let number = count.fetch_add(1, Relaxed);
            Request::Post {
                slot: Slot(number % RETAINED),
                to: To::All,
                message: Numbered(number, payload),
            }
        })
    };
    RequestPort::Broadcast(traced::spawn(&host, below, wiring.application()).with(Broadcast))
}

fn numbered(process: ProcessId, sequence: u64) -> MessageId {
    let incarnation = quorate_core::Incarnation::default();
    let origin = Origin {
        process,
        incarnation,
    };
    MessageId { origin, sequence }
}

pub(super) fn access_lane<M: Wire>(
    wiring: &Wiring<'_>,
) -> impl Layer<quorate_abstractions::link::Port<M>> + use<M> {
    wiring.links().at("access").lane()
}

/// One state at every process. A read gets it, and a write sets a mark in it.
pub(super) fn call(
    wiring: &Wiring<'_>,
    spawn: impl FnOnce(
        &SimHost,
        &Wiring<'_>,
        Addr<Indication<Marks>>,
    ) -> Addr<quorum_access::Request<Mark>>,
) -> RequestPort {
    let host = wiring.host().at("access");
    let port = spawn(&host, wiring, wiring.application());
    let rank = host.me().rank() as u64;
    let operate = port.with(move |Operation { number, action, .. }| {
        let call = match action {
            Action::Read => Call::Get,
            Action::Write(_) => Call::Set(Mark(((rank - 1) * 8 + number % 8) as u8)),
        };
        quorum_access::Request {
            operation: number,
            call,
        }
    });
    RequestPort::Operate(Objects::new(1, operate))
}

fn generalized(wiring: &Wiring<'_>, quorums: Quorums) -> RequestPort {
    call(wiring, |host, wiring, up| {
        let (beneath, lane) = (host.at("flooding"), access_lane(wiring));
        let status = wiring.links().status();
        let flood = |up: Addr<Delivery<generalized::Message<Marks>>>| {
            flooding::spawn_over_streams(&beneath, lane, &status, up)
        };
        let settings = generalized::AccessSettings {
            period: PERIOD,
            ..generalized::AccessSettings::default()
        };
        generalized::spawn(host, settings, quorums, Marks::default(), flood, up)
    })
}

/// Registers, named by the numbers of the objects.
fn registers(wiring: &Wiring<'_>, quorums: Quorums) -> RequestPort {
    let host = wiring.host().at("register");
    let below = host.at("access");
    let lane = access_lane(wiring);
    let access = |up: Addr<Indication<Registers>>| {
        classical::spawn(
            &below,
            quorums,
            Registers::default(),
            lane,
            &wiring.links().status(),
            up,
        )
    };
    of_registers(&by_quorum_access::spawn(
        &host,
        access,
        wiring.application(),
    ))
}

/// Three registers.
pub(super) fn of_registers(port: &Addr<register::Request>) -> RequestPort {
    let operate = port.with(|operation: Operation| {
        let action = match operation.action {
            Action::Read => register::Action::Read,
            Action::Write(value) => register::Action::Write(value),
        };
        register::Request {
            register: Bytes::from(operation.object.to_string()),
            operation: operation.number,
            action,
        }
    });
    RequestPort::Operate(Objects::new(3, operate))
}
