//! Terminating reliable broadcast.
use super::{BOOK, clause, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Dead, Detector, Models, Mutant, OneDead, Property, SenderCrashes,
        Simulation, Substrate, Timing, formula,
    },
    gaps::Gap,
    handles::builder,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{
    Subscribe,
    link::{self, Links},
    perfect,
    terminating::{Broadcast, Content, Deliver},
};
use quorate_broadcast::terminating::{self, Data};
use quorate_consensus::hierarchical;
use quorate_core::{Addr, Host, Layer, Membership, Observation, Observe, ProcessId};
use quorate_sim::properties::{self, Properties};
use quorate_stacks::stack;

pub(super) const ABSTRACTION: &str = "terminating reliable broadcast";

const PROPERTIES: &[Property] = &[
    liveness(
        "TRB1",
        "validity: a correct source delivers what it broadcasts",
    )
    .of(&[
        clause("a correct source delivers its own messages", "its own"),
        clause("so does every other correct process", "never delivers"),
    ]),
    safety(
        "TRB2",
        "uniform agreement: no two processes deliver differently in an instance",
    )
    .of(&[clause(
        "no two processes deliver differently in an instance",
        "otherwise than",
    )]),
    safety(
        "TRB3",
        "integrity: once, what the source broadcast, or that it is faulty if it has crashed",
    )
    .of(&[
        clause("at most once in an instance", "again"),
        clause("in one instance after the other", "not yet in"),
        clause(
            "nothing after the report that the source is faulty",
            "after the report",
        ),
        clause(
            "what is delivered was broadcast by the source in that instance",
            "did not broadcast there",
        ),
        clause(
            "it is said to be faulty only if it has crashed",
            "which has not crashed",
        ),
    ]),
    liveness(
        "TRB4",
        "termination: if the source broadcasts or crashes, every correct process delivers",
    )
    .of(&[
        clause(
            "if the source crashes, every correct process delivers that",
            "has crashed",
        ),
        clause(
            "if it broadcasts, every correct process delivers",
            "never delivers",
        ),
    ]),
];

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "terminating",
    gap: Gap::Repeats("the source's message in flight; consensus goes on"),
    handle: builder("terminating"),
    aliases: &["terminating-reliable"],
    title: "by consensus",
    abstraction: ABSTRACTION,
    file: "crates/broadcast/src/terminating.rs",
    source: BOOK,
    timing: Timing::Synchronous,
    models: Models::CRASH,
    bound: Bound::Any,
    detector: Detector::Perfect,
    over: &[
        "best-effort broadcast",
        "perfect failure detector",
        "uniform consensus",
    ],
    properties: PROPERTIES,
    cost: Some(Cost {
        messages: formula("n²−1", |s| s.n.pow(2) - 1),
        steps: formula("n", |s| if s.n > 1 { s.n } else { 0 }),
        one_dead: Some(OneDead {
            which: Dead::First,
            messages: formula("(n−1)²", |s| (s.n - 1).pow(2)),
            steps: formula("D + n−1", |s| s.d + s.n - 1),
        }),
        sender_crashes: Some(SenderCrashes {
            messages: formula("k + 2(n−1)²", |s| s.k + 2 * (s.n - 1).pow(2)),
            steps: Some(formula("D + 2(n−1) (D if n = 2)", |s| {
                if s.n > 2 { s.d + 2 * (s.n - 1) } else { s.d }
            })),
        }),
    }),
    reads: None,
    rate: "none",
    memory: "O(n) an instance in flight, one a source; requests that wait for their turn",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::Links,
        module: "terminating",
        done: "Deliver",
        wire: |wiring| {
            let (host, links, detector) = (wiring.host(), wiring.links(), wiring.perfect());
            port(stack::terminating(&host, links, &detector, up(wiring)))
        },
        check: |processes| check_at(processes, "terminating"),
    },
    mutants: &[
        Mutant {
            name: "terminating-without-reports",
            aliases: &[],
            change: "what the failure detector says is not heard, but by consensus",
            breaks: "TRB4",
            under: Faults::ONE_CRASH,
            wire: |wiring| mutated(wiring, &Addr::nowhere(), |delivery| delivery),
        },
        Mutant {
            name: "terminating-with-errors",
            aliases: &[],
            change: "the failure detector reports processes that have not crashed",
            breaks: "TRB3",
            under: Faults::NONE,
            wire: |wiring| mutated(wiring, &wiring.erring(), |delivery| delivery),
        },
        Mutant {
            name: "anybodys-data",
            aliases: &[],
            change: "data counts as that of the first process, whoever sent it",
            breaks: "TRB3",
            under: Faults::NONE,
            wire: |wiring| {
                let first = wiring.host().processes().coordinator(1);
                mutated(wiring, &wiring.perfect(), move |delivery| link::Deliver {
                    from: first,
                    ..delivery
                })
            },
        },
        Mutant {
            name: "terminating-not-uniform",
            aliases: &[],
            change: "the consensus below is regular, and does not bind those who crash",
            breaks: "TRB2",
            under: Faults::ONE_CRASH,
            wire: wire_not_uniform,
        },
    ],
}];

/// The properties of the broadcast at this path, and of the consensus that it includes.
pub(super) fn check_at(processes: &Membership, path: &str) -> Properties {
    let mut all = properties::terminating(processes, path);
    for source in processes.iter() {
        let consensus = format!("{path}/{source}/consensus");
        all.extend(properties::consensus(processes, &consensus));
    }
    all
}

/// The end of an instance. The report that the source is faulty ends it, too.
struct Ended(Deliver);

impl Observe for Ended {
    fn observe(&self) -> Observation {
        let mut observation = self.0.observe();
        if self.0.outcome == Content::SenderFaulty {
            observation.label = "Deliver";
        }
        observation
    }
}

fn up(wiring: &Wiring<'_>) -> Addr<Deliver> {
    wiring.application().with(Ended)
}

fn port(port: Addr<Broadcast>) -> RequestPort {
    RequestPort::Broadcast(port.with(|payload| Broadcast { payload }))
}

/// The broadcast over this detector (consensus has its own), with this change to the data that arrive.
fn mutated(
    wiring: &Wiring<'_>,
    detector: &Subscribe<perfect::Crash>,
    alter: impl Fn(link::Deliver<Data>) -> link::Deliver<Data> + Send + Sync + 'static,
) -> RequestPort {
    let (host, links) = (
        wiring.host().at("terminating"),
        wiring.links().at("terminating"),
    );
    let lane = links.lane();
    let altered = |up: Addr<link::Deliver<Data>>| lane.attach(up.with(alter));
    let perfect = wiring.perfect();
    let consensus = |source, up| stack::consensus_of(source, &host, &links, &perfect).attach(up);
    port(terminating::spawn(
        &host,
        altered,
        &links.status(),
        consensus,
        detector,
        up(wiring),
    ))
}

fn wire_not_uniform(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("terminating"),
        wiring.links().at("terminating"),
    );
    let detector = wiring.perfect();
    let consensus = |source: ProcessId, up| {
        let at = source.to_string();
        let (host, links) = (host.at(&at).at("regular"), links.at(&at).at("regular"));
        hierarchical::spawn(&host, links.lane(), &links.status(), &detector, up)
    };
    port(terminating::spawn_regular(
        &host,
        links.lane(),
        &links.status(),
        consensus,
        &detector,
        up(wiring),
    ))
}
