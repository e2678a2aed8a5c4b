//! View synchronisation, and consensus by quorums.
use super::{clause, consensus::UNIFORM, liveness, quorum_access::TIGHT_BOUNDS, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Keeps, Models, Mutant, OneDead, Simulation,
        Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::{Handle, named},
    scenario::Faults,
    wiring::{Proposal, RequestPort, Wiring},
};
use quorate_abstractions::{
    consensus::{Decide, Propose},
    flooding,
    link::{Deliver, Links},
    view_synchronizer::{Enter, Views},
};
use quorate_consensus::{
    by_quorums::{self, Message},
    view_synchronizer::{self, ViewSettings},
};
use quorate_core::{Addr, Host, Layer};
use quorate_quorums::{Quorums, flooding as over};
use quorate_sim::{SimHost, properties};
use std::time::Duration;

/// View v lasts v times this duration.
const UNIT: Duration = Duration::from_millis(50);

/// How long all processes are in a view together, once the views are long enough.
const TOGETHER: Duration = Duration::from_millis(500);

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "view-synchronizer",
        gap: Gap::Unaffected("it sends nothing"),
        handle: Handle::Simulated {
            why: "it changes the views of `Builder::consensus_over`, and nothing else needs it",
        },
        aliases: &[],
        title: "by clocks",
        abstraction: "view synchronisation",
        file: "crates/consensus/src/view_synchronizer.rs",
        source: TIGHT_BOUNDS,
        timing: Timing::EventuallySynchronous,
        models: Models {
            omission: Keeps::Nothing,
            ..Models::SAFE_UNDER_DRIFT
        },
        bound: Bound::Any,
        detector: Detector::None,
        over: &[],
        properties: &[
            safety(
                "VS-ORD",
                "order: views are entered in ascending order, each once at most",
            )
            .of(&[clause(
                "views are entered in ascending order, each once",
                "enters view",
            )]),
            liveness(
                "VS-OVL",
                "overlap: in the end all are in a view together for as long as is needed",
            )
            .of(&[
                clause("every correct process enters views", "entered no view"),
                clause(
                    "in the end all are in a view together for as long as is needed",
                    "together for",
                ),
            ]),
        ],
        cost: None,
        reads: None,
        rate: "nothing: it sends no message",
        memory: "O(1)",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Pushes,
            module: "views",
            done: "Enter",
            wire: |wiring| views(wiring, view_synchronizer::spawn),
            check: |processes| properties::view_synchronizer(processes, "views", TOGETHER),
        },
        mutants: &[Mutant {
            name: "clocks-apart",
            aliases: &[],
            change: "each process's clock runs at another speed",
            breaks: "VS-OVL",
            under: Faults::NONE,
            wire: |wiring| views(wiring, view_synchronizer::spawn_mutant),
        }],
    },
    Algorithm {
        name: "by-quorums",
        gap: Gap::Repeats("nothing of its own: the flooding below goes on"),
        handle: named("consensus", ""),
        aliases: &[],
        title: "by quorums, where channels fail in one direction",
        abstraction: "uniform consensus",
        file: "crates/consensus/src/by_quorums.rs",
        source: TIGHT_BOUNDS,
        timing: Timing::EventuallySynchronous,
        models: Models::SAFE_UNDER_DRIFT,
        bound: Bound::Minority,
        detector: Detector::None,
        over: &["flooding", "view synchronisation"],
        properties: UNIFORM,
        cost: Some(Cost {
            messages: formula("(n−1)(n+2) + n(n−1)", |s| (s.n - 1) * (2 * s.n + 2)),
            steps: formula("3", |s| if s.n > 1 { 3 } else { 0 }),
            one_dead: Some(OneDead {
                which: Dead::Last,
                messages: formula("2n−3 + 2(n−1)²", |s| {
                    2 * s.n - 3 + 2 * (s.n - 1).pow(2)
                }),
                steps: formula("3", |_| 3),
            }),
            sender_crashes: None,
        }),
        reads: None,
        rate: "n−1 messages a view; with flooding, each message goes over all channels",
        memory: "O(n) an undecided instance, of at most 1024; 256 decisions",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::Pushes,
            module: "consensus",
            done: "Decide",
            wire: |wiring| propose(wiring, by_quorums::spawn),
            check: |processes| properties::consensus(processes, "consensus"),
        },
        mutants: &[Mutant {
            name: "led-by-everybody",
            aliases: &[],
            change: "everybody takes himself, and all others, for the leader of every view",
            breaks: "UC2",
            under: Faults::NONE,
            wire: |wiring| propose(wiring, by_quorums::spawn_mutant),
        }],
    },
];

fn settings() -> ViewSettings {
    ViewSettings { unit: UNIT }
}

fn views(wiring: &Wiring<'_>, spawn: fn(&SimHost, ViewSettings) -> Views) -> RequestPort {
    let views = spawn(&wiring.host().at("views"), settings());
    views.entered.send(wiring.application::<Enter>());
    RequestPort::Nothing
}

/// Flooding, or a substitute for it.
type StartFlooding = Box<dyn FnOnce(Addr<Deliver<Message>>) -> Addr<flooding::Request<Message>>>;

type Spawn = fn(&SimHost, Quorums, &Views, StartFlooding, Addr<Decide>) -> Addr<Propose>;

fn propose(wiring: &Wiring<'_>, spawn: Spawn) -> RequestPort {
    let host = wiring.host().at("consensus");
    let views = view_synchronizer::spawn(&host.at("views"), settings());
    let links = wiring.links().at("consensus");
    let below: StartFlooding = Box::new(move |up| over::direct(links.lane()).attach(up));
    let quorums = Quorums::majorities(host.processes());
    let port = spawn(&host, quorums, &views, below, wiring.application());
    RequestPort::Propose(port.with(|Proposal { instance, value }| Propose { instance, value }))
}
