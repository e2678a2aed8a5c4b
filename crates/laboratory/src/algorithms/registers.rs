//! Registers.
use super::{BOOK, alike, clause, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Formula, Models, Mutant, OneDead, Property,
        Simulation, Substrate, Timing, Wire, formula,
    },
    gaps,
    handles::named,
    scenario::Faults,
    wiring::{Action, Objects, Operation, RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    link::{self, Links},
    perfect,
    register::{self, Request},
};
use quorate_core::{Addr, Host, Layer, Membership, ProcessId};
use quorate_registers::{
    majority_voting,
    message::{Content, Held, Message},
    multi_writer, read_impose_write_all, read_impose_write_consult_all, read_impose_write_majority,
    read_one_write_all,
};
use quorate_sim::properties::{self, Properties};

const REGULAR: &[Property] = &[
    liveness(
        "ONRR1",
        "termination: operations of correct processes return",
    )
    .of(&[clause(
        "operations of correct processes return",
        "never returns",
    )]),
    safety(
        "ONRR2",
        "validity: a read returns the last value written, or one being written",
    )
    .of(&[
        clause(
            "an operation that was requested returns, and once",
            "not in flight",
        ),
        clause(
            "a read returns the last value written before it, or one whose write overlaps it",
            "neither the last",
        ),
    ]),
];

/// What a regular register promises, and that it is atomic where it has a single reader.
const FOR_ONE_READER: &[Property] = &[
    REGULAR[0],
    REGULAR[1],
    safety(
        "OOAR3",
        "ordering for one reader: of the reads of a process, no later one returns an older value",
    )
    .of(&[clause(
        "no read returns an older value than one of the same process that ended before it began",
        "older than",
    )]),
];

const ATOMIC: &[Property] = &[
    liveness(
        "ONAR1",
        "termination: operations of correct processes return",
    )
    .of(&[clause(
        "operations of correct processes return",
        "never returns",
    )]),
    safety(
        "ONAR2",
        "validity: a read returns the last value written, or one being written",
    )
    .of(&[
        clause(
            "an operation that was requested returns, and once",
            "not in flight",
        ),
        clause(
            "a read returns the last value written before it, or one whose write overlaps it",
            "neither the last",
        ),
    ]),
    safety("ONAR3", "ordering: no later read returns an older value").of(&[clause(
        "no read returns an older value than one that ended before it began",
        "older than",
    )]),
];

pub(super) const SHARED: &[Property] = &[
    liveness(
        "NNAR1",
        "termination: operations of correct processes return",
    )
    .of(&[clause(
        "operations of correct processes return",
        "never returns",
    )]),
    safety("NNAR2", "atomicity: operations are linearizable").of(&[
        clause(
            "an operation that was requested returns, and once",
            "not in flight",
        ),
        clause("the tags of operations follow real time", "does not follow"),
        clause("no two writes have the same tag", "the same tag"),
        clause(
            "a read has the tag of the value that it returns",
            "another value was written",
        ),
        clause(
            "all operations can be ordered so that each read returns the last value written",
            "nothing explains",
        ),
    ]),
];

const ONE: Formula = formula("2(n−1)", |s| 2 * (s.n - 1));
const TWO: Formula = formula("4(n−1)", |s| 4 * (s.n - 1));
const ONE_DEAD: Formula = formula("2n−3", |s| 2 * s.n - 3);
const TWO_DEAD: Formula = formula("4n−6", |s| 4 * s.n - 6);
const STEPS: Formula = formula("2", |s| if s.n > 1 { 2 } else { 0 });
const TWICE: Formula = formula("4", |s| if s.n > 1 { 4 } else { 0 });

/// The cost of an exchange with all processes that have not crashed.
const BY_ALL: Cost = Cost {
    messages: ONE,
    steps: STEPS,
    one_dead: Some(OneDead {
        which: Dead::Last,
        messages: ONE_DEAD,
        steps: formula("max(2, D)", |s| s.d.max(2)),
    }),
    sender_crashes: None,
};

const NOTHING: Formula = formula("0", |_| 0);

const LOCAL: Cost = Cost {
    messages: NOTHING,
    steps: NOTHING,
    one_dead: Some(OneDead {
        which: Dead::Last,
        messages: NOTHING,
        steps: NOTHING,
    }),
    sender_crashes: None,
};

const MEMORY: &str = "a tag and a value a register; O(n) an operation in flight";

const fn simulation(wire: Wire, check: fn(&Membership) -> Properties) -> Simulation {
    Simulation {
        substrate: Substrate::Links,
        module: "register",
        done: "WriteReturn",
        wire,
        check,
    }
}

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "read-one-write-all",
        gap: gaps::REGISTERS,
        handle: named("registers_with", ", WRITER"),
        aliases: &[],
        title: "read-one write-all",
        abstraction: "(1,N) regular register",
        file: "crates/registers/src/read_one_write_all.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["perfect link", "perfect failure detector"],
        properties: FOR_ONE_READER,
        cost: Some(BY_ALL),
        reads: Some(LOCAL),
        rate: "none",
        memory: MEMORY,
        grows: false,
        rejoins: false,
        simulation: simulation(|wiring| read_one(wiring, &wiring.perfect()), for_one_reader),
        mutants: &[Mutant {
            name: "read-one-write-some",
            aliases: &[],
            change: "the failure detector reports processes that have not crashed",
            breaks: "ONRR2",
            under: Faults::NONE,
            wire: |wiring| read_one(wiring, &wiring.erring()),
        }],
    },
    Algorithm {
        name: "majority-voting",
        gap: gaps::REGISTERS,
        handle: named("registers_with", ", WRITER"),
        aliases: &[],
        title: "majority voting",
        abstraction: "(1,N) regular register",
        file: "crates/registers/src/majority_voting.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Minority,
        detector: Detector::None,
        over: &["perfect link"],
        properties: REGULAR,
        cost: Some(alike(ONE, STEPS, ONE_DEAD)),
        reads: Some(alike(ONE, STEPS, ONE_DEAD)),
        rate: "none",
        memory: MEMORY,
        grows: false,
        rejoins: false,
        simulation: simulation(|wiring| voting(wiring, kept), regular),
        mutants: &[Mutant {
            name: "forgetful-voters",
            aliases: &[],
            change: "writes are acknowledged, and not kept",
            breaks: "ONRR2",
            under: Faults::NONE,
            wire: |wiring| voting(wiring, forgotten),
        }],
    },
    Algorithm {
        name: "read-impose-write-all",
        gap: gaps::REGISTERS,
        handle: named("registers_with", ", WRITER"),
        aliases: &[],
        title: "read-impose write-all",
        abstraction: "(1,N) atomic register",
        file: "crates/registers/src/read_impose_write_all.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["perfect link", "perfect failure detector"],
        properties: ATOMIC,
        cost: Some(BY_ALL),
        reads: Some(BY_ALL),
        rate: "none",
        memory: MEMORY,
        grows: false,
        rejoins: false,
        simulation: simulation(|wiring| impose_on_all(wiring, &wiring.perfect()), atomic),
        mutants: &[
            Mutant {
                name: "impose-on-some",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "ONAR2",
                under: Faults::NONE,
                wire: |wiring| impose_on_all(wiring, &wiring.erring()),
            },
            Mutant {
                name: "impose-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "ONAR1",
                under: Faults::ONE_CRASH,
                wire: |wiring| impose_on_all(wiring, &Addr::nowhere()),
            },
        ],
    },
    Algorithm {
        name: "read-impose-write-majority",
        gap: gaps::REGISTERS,
        handle: named("registers_with", ", WRITER"),
        aliases: &[],
        title: "read-impose write-majority",
        abstraction: "(1,N) atomic register",
        file: "crates/registers/src/read_impose_write_majority.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Minority,
        detector: Detector::None,
        over: &["perfect link"],
        properties: ATOMIC,
        cost: Some(alike(ONE, STEPS, ONE_DEAD)),
        reads: Some(alike(TWO, TWICE, TWO_DEAD)),
        rate: "none",
        memory: MEMORY,
        grows: false,
        rejoins: false,
        simulation: simulation(|wiring| impose_on_majority(wiring, kept), atomic),
        mutants: &[Mutant {
            name: "forgetful-majority",
            aliases: &[],
            change: "what is imposed is acknowledged, and not kept",
            breaks: "ONAR2",
            under: Faults::NONE,
            wire: |wiring| impose_on_majority(wiring, forgotten),
        }],
    },
    Algorithm {
        name: "read-impose-write-consult-all",
        gap: gaps::REGISTERS,
        handle: named("registers_with", ", WRITER"),
        aliases: &[],
        title: "read-impose write-consult-all",
        abstraction: "(N,N) atomic register",
        file: "crates/registers/src/read_impose_write_consult_all.rs",
        source: BOOK,
        timing: Timing::Synchronous,
        models: Models::CRASH,
        bound: Bound::Any,
        detector: Detector::Perfect,
        over: &["perfect link", "perfect failure detector"],
        properties: SHARED,
        cost: Some(BY_ALL),
        reads: Some(BY_ALL),
        rate: "none",
        memory: MEMORY,
        grows: false,
        rejoins: false,
        simulation: simulation(|wiring| consult_all(wiring, &wiring.perfect()), shared),
        mutants: &[
            Mutant {
                name: "consult-some",
                aliases: &[],
                change: "the failure detector reports processes that have not crashed",
                breaks: "NNAR2",
                under: Faults::NONE,
                wire: |wiring| consult_all(wiring, &wiring.erring()),
            },
            Mutant {
                name: "consult-without-reports",
                aliases: &[],
                change: "what the failure detector says is not heard",
                breaks: "NNAR1",
                under: Faults::ONE_CRASH,
                wire: |wiring| consult_all(wiring, &Addr::nowhere()),
            },
        ],
    },
    Algorithm {
        name: "multi-writer-majority",
        gap: gaps::REGISTERS,
        handle: named("registers_with", ", WRITER"),
        aliases: &["register"],
        title: "of many writers, by majorities",
        abstraction: "(N,N) atomic register",
        file: "crates/registers/src/multi_writer.rs",
        source: "Attiya, Bar-Noy, Dolev: Sharing Memory Robustly in Message-Passing Systems, 1995; Lynch, \
                 Shvartsman, 1997",
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Minority,
        detector: Detector::None,
        over: &["perfect link"],
        properties: SHARED,
        cost: Some(alike(TWO, TWICE, TWO_DEAD)),
        reads: Some(alike(
            formula("2(n−1), if a majority agrees", |s| 2 * (s.n - 1)),
            STEPS,
            ONE_DEAD,
        )),
        rate: "none",
        memory: MEMORY,
        grows: false,
        rejoins: false,
        simulation: simulation(|wiring| many_writers(wiring, kept), shared),
        mutants: &[Mutant {
            name: "forgetful-replicas",
            aliases: &["broken-register"],
            change: "writes are acknowledged, and not kept",
            breaks: "NNAR2",
            under: Faults::NONE,
            wire: |wiring| many_writers(wiring, forgotten),
        }],
    },
];

fn regular(processes: &Membership) -> Properties {
    properties::regular_register("register", processes.set())
}

fn for_one_reader(processes: &Membership) -> Properties {
    let mut all = regular(processes);
    all.extend(properties::ordered_for_one_reader(
        "register",
        processes.set(),
    ));
    all
}

fn atomic(processes: &Membership) -> Properties {
    properties::atomic_register("register", processes.set())
}

pub(super) fn shared(processes: &Membership) -> Properties {
    properties::shared_register("register", processes.set())
}

/// Two registers, by name.
pub(super) fn port(requests: &Addr<Request>, writer: Option<ProcessId>) -> RequestPort {
    let operate = requests.with(|operation: Operation| Request {
        register: Bytes::from(format!("register {}", operation.object)),
        operation: operation.number,
        action: match operation.action {
            Action::Read => register::Action::Read,
            Action::Write(value) => register::Action::Write(value),
        },
    });
    RequestPort::Operate(Objects {
        writer,
        ..Objects::new(2, operate)
    })
}

fn p1(wiring: &Wiring<'_>) -> ProcessId {
    wiring.host().processes().coordinator(1)
}

/// Leaves the arriving message unchanged.
fn kept(message: Message) -> Message {
    message
}

/// Replaces a message with a value to store by one without a value.
fn forgotten(message: Message) -> Message {
    let Message { request, content } = message;
    let content = match content {
        Content::Write { register, .. } => Content::Write {
            register,
            held: Held::default(),
        },
        other @ (Content::Read { .. }
        | Content::Value(_)
        | Content::Acknowledge
        | Content::Resumed) => other,
    };
    Message { request, content }
}

/// The lane of the registers, where `read` alters the messages that arrive.
fn lane(wiring: &Wiring<'_>, read: fn(Message) -> Message) -> impl Layer<link::Port<Message>> {
    let lane = wiring.links().at("register").lane();
    move |up: Addr<link::Deliver<Message>>| {
        lane.attach(
            up.with(move |link::Deliver { from, message }| link::Deliver {
                from,
                message: read(message),
            }),
        )
    }
}

fn read_one(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, lane, up) = (
        wiring.host().at("register"),
        lane(wiring, kept),
        wiring.application(),
    );
    let requests = read_one_write_all::spawn(
        &host,
        lane,
        &wiring.links().status(),
        detector,
        p1(wiring),
        up,
    );
    port(&requests, Some(p1(wiring)))
}

fn voting(wiring: &Wiring<'_>, read: fn(Message) -> Message) -> RequestPort {
    let (host, lane, up) = (
        wiring.host().at("register"),
        lane(wiring, read),
        wiring.application(),
    );
    let requests = majority_voting::spawn(&host, lane, &wiring.links().status(), p1(wiring), up);
    port(&requests, Some(p1(wiring)))
}

fn impose_on_all(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, lane, up) = (
        wiring.host().at("register"),
        lane(wiring, kept),
        wiring.application(),
    );
    let requests = read_impose_write_all::spawn(
        &host,
        lane,
        &wiring.links().status(),
        detector,
        p1(wiring),
        up,
    );
    port(&requests, Some(p1(wiring)))
}

fn impose_on_majority(wiring: &Wiring<'_>, read: fn(Message) -> Message) -> RequestPort {
    let (host, lane, up) = (
        wiring.host().at("register"),
        lane(wiring, read),
        wiring.application(),
    );
    let requests =
        read_impose_write_majority::spawn(&host, lane, &wiring.links().status(), p1(wiring), up);
    port(&requests, Some(p1(wiring)))
}

fn consult_all(wiring: &Wiring<'_>, detector: &Subscribe<perfect::Crash>) -> RequestPort {
    let (host, lane, up) = (
        wiring.host().at("register"),
        lane(wiring, kept),
        wiring.application(),
    );
    let requests =
        read_impose_write_consult_all::spawn(&host, lane, &wiring.links().status(), detector, up);
    port(&requests, None)
}

fn many_writers(wiring: &Wiring<'_>, read: fn(Message) -> Message) -> RequestPort {
    let (host, lane, up) = (
        wiring.host().at("register"),
        lane(wiring, read),
        wiring.application(),
    );
    port(
        &multi_writer::spawn(&host, lane, &wiring.links().status(), up),
        None,
    )
}
