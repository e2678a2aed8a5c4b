//! Links.
use super::{BOOK, clause, liveness, safety};
use crate::{
    algorithm::{
        Algorithm, Bound, Cost, Detector, Models, Mutant, Property, Simulation, Substrate, Timing,
        formula,
    },
    gaps::Gap,
    handles::{Handle, builder},
    scenario::Faults,
    wiring::{Message, RequestPort, Wiring, crash_stop},
};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{Port, Transmit},
    link::{self, Links, To},
};
use quorate_core::{Addr, Host, Layer, Membership, Observation, Observe, ProcessId};
use quorate_links::{
    eliminate_duplicates as eliminating,
    fair_loss::{self, Deliver},
    perfect::PerfectLinks,
    stubborn,
};
use quorate_sim::properties::{self, Channel, Properties};

const PERFECT: &[Property] = &[
    liveness(
        "PL1",
        "reliable delivery: a message between correct processes is delivered",
    )
    .of(&[clause(
        "what a correct process sends to a correct one is delivered",
        "does not deliver",
    )]),
    safety("PL2", "no duplication").of(&[clause(
        "a message is delivered as often as it was sent, at most",
        "times",
    )]),
    safety("PL3", "no creation").of(&[clause(
        "what is delivered from a process was sent by it",
        "sent 0 times",
    )]),
    safety(
        "FIFO",
        "messages of one lane between two incarnations are delivered in order",
    )
    .of(&[clause(
        "messages from one process are delivered in the order of their sends",
        "out of turn",
    )]),
];

pub(super) static ALL: &[Algorithm] = &[
    Algorithm {
        name: "fair-loss",
        gap: Gap::Unaffected("it is a link beneath the streams"),
        handle: Handle::Simulated {
            why: "datagrams whose sender anybody may forge; `Builder::datagrams` are those to deploy",
        },
        aliases: &["fair-loss-link"],
        title: "one datagram a message",
        abstraction: "fair-loss link",
        file: "crates/links/src/fair_loss.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["edge"],
        properties: &[
            liveness(
                "FLL1",
                "fair loss: what is sent infinitely often to a correct process is delivered infinitely often",
            )
            .of(&[clause(
                "of many copies of a message between correct processes one is delivered",
                "does not deliver",
            )]),
            liveness(
                "FLL2",
                "finite duplication: what is sent finitely often is delivered finitely often",
            )
            .of(&[clause(
                "a copy is delivered at most a bounded number of times",
                "times",
            )]),
            safety("FLL3", "no creation").of(&[clause(
                "what is delivered from a process was sent by it",
                "sent 0 times",
            )]),
        ],
        cost: Some(Cost {
            messages: formula("1", |_| 1),
            steps: formula("1", |_| 1),
            one_dead: None,
            sender_crashes: None,
        }),
        reads: None,
        rate: "none",
        memory: "none",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::FairLoss,
            module: "fair-loss-link",
            done: "Deliver",
            wire: |wiring| datagrams(wiring, "fair-loss-link", wiring.fair_loss(), SENT),
            check: |_| {
                let module = "fair-loss-link".to_owned();
                properties::fair_loss_links(&Channel::Module(module), u64::from(SENT), ARRIVALS)
            },
        },
        mutants: &[Mutant {
            name: "deaf-receiver",
            aliases: &[],
            change: "the edge loses all datagrams to p2",
            breaks: "FLL1",
            under: Faults::NONE,
            wire: |wiring| {
                let below = |up| losing_all_to_p2(wiring.fair_loss().attach(up));
                datagrams(wiring, "fair-loss-link", below, SENT)
            },
        }],
    },
    Algorithm {
        name: "retransmit-with-cancel",
        gap: Gap::Unaffected("it is a link beneath the streams"),
        handle: builder("stubborn"),
        aliases: &["stubborn"],
        title: "retransmit with cancel",
        abstraction: "stubborn link",
        file: "crates/links/src/stubborn.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["fair-loss link"],
        properties: &[
            liveness("SL1", "stubborn delivery, until cancelled").of(&[clause(
                "what is not cancelled arrives again and again",
                "does not deliver",
            )]),
            safety("SL2", "no creation").of(&[clause(
                "what is delivered from a process was sent by it",
                "sent 0 times",
            )]),
        ],
        cost: None,
        reads: None,
        rate: "one datagram an uncancelled message and period; periods back off exponentially",
        memory: "the uncancelled messages",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::FairLoss,
            module: "stubborn",
            done: "Deliver",
            wire: wire_stubborn,
            check: |_| properties::stubborn_links(&Channel::Module("stubborn".to_owned()), COPIES),
        },
        mutants: &[Mutant {
            name: "transmit-once",
            aliases: &[],
            change: "a message is cancelled as soon as it was sent",
            breaks: "SL1",
            under: Faults::NONE,
            wire: wire_transmit_once,
        }],
    },
    Algorithm {
        name: "eliminate-duplicates",
        gap: Gap::Unaffected("it is a link beneath the streams"),
        handle: Handle::Simulated {
            why: "the textbook's perfect links, which remember all that was delivered; `Builder::links` are \
                  those to deploy",
        },
        aliases: &[],
        title: "eliminate duplicates",
        abstraction: "perfect link",
        file: "crates/links/src/eliminate_duplicates.rs",
        source: BOOK,
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["stubborn link"],
        properties: PERFECT.split_at(3).0,
        cost: Some(Cost {
            messages: formula("1, and 1 acknowledgement", |_| 2),
            steps: formula("1", |_| 1),
            one_dead: None,
            sender_crashes: None,
        }),
        reads: None,
        rate: "what is not acknowledged is repeated, ever more slowly",
        memory: "the unacknowledged messages; to a crashed process all, until P reports it",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::FairLoss,
            module: "eliminate-duplicates",
            done: "Deliver",
            wire: |wiring| eliminate_duplicates(wiring, |requests| requests),
            check: |_| {
                let module = "eliminate-duplicates".to_owned();
                properties::perfect_links(&Channel::Module(module))
            },
        },
        mutants: &[Mutant {
            name: "eliminate-duplicates-once",
            aliases: &[],
            change: "the link below sends a message once",
            breaks: "PL1",
            under: Faults {
                loss: 0.5,
                ..Faults::NONE
            },
            wire: |wiring| eliminate_duplicates(wiring, once),
        }],
    },
    Algorithm {
        name: "sliding-window",
        gap: Gap::Unaffected("it is the link that ends streams and begins them, and says so"),
        handle: builder("links"),
        aliases: &["perfect-link"],
        title: "sliding window",
        abstraction: "perfect link",
        file: "crates/links/src/perfect/mod.rs",
        source: "RFC 6298, RFC 9002 in outline",
        timing: Timing::Asynchronous,
        models: Models::OMISSION,
        bound: Bound::Any,
        detector: Detector::None,
        over: &["fair-loss link"],
        properties: PERFECT,
        cost: Some(Cost {
            messages: formula("1", |_| 1),
            steps: formula("1", |_| 1),
            one_dead: None,
            sender_crashes: None,
        }),
        reads: None,
        rate: "an acknowledgement a batch, on its own or on data",
        memory: "the unacknowledged messages, up to a limit a peer",
        grows: false,
        rejoins: false,
        simulation: Simulation {
            substrate: Substrate::FairLoss,
            module: "link",
            done: "Deliver",
            wire: wire_sliding_window,
            check: check_perfect_link,
        },
        mutants: &[Mutant {
            name: "datagrams",
            aliases: &[],
            change: "messages are sent once, as they are, and delivered as they come",
            breaks: "FIFO",
            under: Faults::NONE,
            wire: |wiring| datagrams(wiring, "link", wiring.fair_loss(), 1),
        }],
    },
];

/// How often a message is sent over fair-loss links: for half a minute, which is longer than any cut, and so often that
/// chance does not lose all copies.
const SENT: u32 = 120;
/// How often one copy arrives at most.
pub(crate) const ARRIVALS: u32 = 4;

/// Messages as datagrams, by a module of this name, over this edge. Each is sent so often.
pub(super) fn datagrams(
    wiring: &Wiring<'_>,
    module: &str,
    edge: impl Layer<Port>,
    copies: u32,
) -> RequestPort {
    let up = wiring.application::<Deliver>();
    let send = fair_loss::spawn(&wiring.host().at(module), edge, up);
    RequestPort::Send {
        send: send.with(|Message { to, bytes, .. }| fair_loss::SendRequest { to, bytes }),
        cancel: None,
        copies,
    }
}

fn losing_all_to_p2(edge: Addr<Transmit>) -> Addr<Transmit> {
    Addr::new(move |datagrams: Transmit| {
        if datagrams.to.rank() != 2 {
            edge.send(datagrams);
        }
    })
}

/// How often a stubborn message must have arrived before it is cancelled.
const COPIES: u64 = 3;

fn check_perfect_link(_: &Membership) -> Properties {
    let channel = Channel::Module("link".to_owned());
    let mut all = properties::perfect_links(&channel);
    all.push(properties::first_in_first_out(&channel));
    all
}

fn wire_stubborn(wiring: &Wiring<'_>) -> RequestPort {
    let (send, cancel) = stubborn(wiring);
    RequestPort::Send {
        send,
        cancel: Some(cancel),
        copies: 1,
    }
}

fn wire_transmit_once(wiring: &Wiring<'_>) -> RequestPort {
    let (send, cancel) = stubborn(wiring);
    let send = Addr::new(move |message: Message| {
        let named = (message.to, message.number);
        send.send(message);
        cancel.send(named);
    });
    RequestPort::Send {
        send,
        cancel: None,
        copies: 1,
    }
}

fn stubborn(wiring: &Wiring<'_>) -> (Addr<Message>, Addr<(ProcessId, u64)>) {
    let up = wiring.application();
    let pauses = stubborn::Pauses::default();
    let requests = stubborn::spawn(
        &wiring.host(),
        pauses,
        wiring.fair_loss(),
        up.with(delivered),
    );
    let send = requests.with(|Message { to, number, bytes }| stubborn::Request::Send {
        to,
        id: number,
        bytes,
    });
    let cancel = requests.with(|(to, id)| stubborn::Request::Cancel { to, id });
    (send, cancel)
}

fn wire_sliding_window(wiring: &Wiring<'_>) -> RequestPort {
    perfect_links(wiring, wiring.fair_loss())
}

/// Perfect links over this edge.
pub(super) fn perfect_links(wiring: &Wiring<'_>, edge: impl Layer<Port>) -> RequestPort {
    let links = PerfectLinks::new(&wiring.host(), crash_stop());
    let up = wiring.application();
    let lane = links
        .at("messages")
        .open(up.with(|_: link::Deliver<Bytes>| Arrived));
    let started = links.start(edge.attach(links.arrivals()));
    assert!(started.is_ok(), "one lane is opened once: {started:?}");
    RequestPort::Send {
        send: lane.with(|Message { to, bytes, .. }| link::SendRequest {
            to: To::One(to),
            message: bytes,
        }),
        cancel: None,
        copies: 1,
    }
}

/// An arrival, as the application of a link sees it.
struct Arrived;

fn delivered(_: stubborn::Deliver) -> Arrived {
    Arrived
}

impl Observe for Arrived {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
    }
}

/// A link over a stubborn link whose port this function alters.
fn eliminate_duplicates(
    wiring: &Wiring<'_>,
    alter: fn(Addr<stubborn::Request>) -> Addr<stubborn::Request>,
) -> RequestPort {
    let (host, pauses) = (wiring.host(), stubborn::Pauses::default());
    let below = |up| alter(stubborn::spawn(&host, pauses, wiring.fair_loss(), up));
    let up = wiring.application().with(|_: link::Deliver<Bytes>| Arrived);
    let port = eliminating::spawn(&host, below, None, up);
    RequestPort::Send {
        send: port.with(|Message { to, bytes, .. }| link::SendRequest {
            to: To::One(to),
            message: bytes,
        }),
        cancel: None,
        copies: 1,
    }
}

/// A stubborn link that gives up after the first transmission.
fn once(requests: Addr<stubborn::Request>) -> Addr<stubborn::Request> {
    Addr::new(move |request| {
        let named = match &request {
            stubborn::Request::Send { to, id, .. } | stubborn::Request::Cancel { to, id } => {
                (*to, *id)
            }
        };
        requests.send(request);
        let (to, id) = named;
        requests.send(stubborn::Request::Cancel { to, id });
    })
}
