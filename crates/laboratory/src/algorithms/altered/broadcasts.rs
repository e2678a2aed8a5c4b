//! Broadcasts.
use super::{
    super::traced, Alteration, Altered, altered, at, changed, held_back, indicating, not_where,
    stops_after, twice, under, wire, without,
};
use crate::{
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    causal, first_in_first_out as fifo, regular_total_order, reliable, terminating, total_order,
    uniform,
};
use quorate_broadcast::{
    all_ack, by_consensus, by_consensus_on_messages, causal_collected, causal_past, eager,
    first_in_first_out, terminating as trb,
};
use quorate_core::{MessageId, ProcessId};
use quorate_sim::Alter;

indicating!(eager_says, eager => Deliver(reliable::Deliver));
indicating!(all_ack_says, all_ack => Deliver(uniform::Deliver));
indicating!(ordered_says, first_in_first_out => Deliver(fifo::Deliver));
indicating!(causal_says, causal_past => Deliver(causal::Deliver));
indicating!(total_says, by_consensus => Deliver(total_order::Deliver));
indicating!(on_messages_says, by_consensus_on_messages => Deliver(regular_total_order::Deliver));
indicating!(terminating_says, trb => Deliver(terminating::Deliver));
indicating!(traced_says, traced => Deliver(traced::Deliver));
indicating!(collected_says, causal_collected => Collect(causal_collected::Collect));

/// Another content than that of any broadcast.
const GARBLED: Bytes = Bytes::from_static(b"garbled");

fn is_own(me: ProcessId, id: MessageId) -> bool {
    id.origin.process == me
}

/// The parts that all broadcasts have: own deliveries, those of others, at most once, of what was broadcast,
/// with its content.
macro_rules! broadcasts {
    ($says:ident($said:ty), $of:literal, $prefix:literal, [$own:literal, $others:literal, $twice:literal, $forged:literal, $garbled:literal]) => {
        [
            altered(
                $of,
                [$own, "a process does not indicate its own broadcasts"],
                [concat!($prefix, "1"), "its own"],
                |wiring| {
                    let own = |me, delivery: &$said| is_own(me, delivery.id);
                    $says(wiring, $of, not_where(own))
                },
            ),
            altered(
                $of,
                [$others, "p2 indicates five deliveries, and then no more"],
                [concat!($prefix, "1"), "never delivers the broadcast"],
                |wiring| $says(wiring, $of, at(2, stops_after(5))),
            ),
            altered(
                $of,
                [$twice, "each delivery is indicated twice"],
                [concat!($prefix, "2"), "twice"],
                |wiring| $says(wiring, $of, twice),
            ),
            altered(
                $of,
                [
                    $forged,
                    "a delivery is indicated with the number of a later broadcast",
                ],
                [concat!($prefix, "3"), "which was not broadcast"],
                |wiring| {
                    let forge = |delivery: &mut $said| delivery.id.sequence += 100;
                    $says(wiring, $of, changed(forge))
                },
            ),
            altered(
                $of,
                [$garbled, "a delivery is indicated with another content"],
                [concat!($prefix, "3"), "with another content"],
                |wiring| {
                    let garble = |delivery: &mut $said| delivery.payload = GARBLED;
                    $says(wiring, $of, changed(garble))
                },
            ),
        ]
    };
}

const RELIABLE: [Altered; 5] = broadcasts!(
    eager_says(reliable::Deliver),
    "eager",
    "RB",
    [
        "eager-silent-on-its-own",
        "eager-that-stops",
        "eager-twice",
        "eager-forged",
        "eager-garbled"
    ]
);

const UNIFORM: [Altered; 5] = broadcasts!(
    all_ack_says(uniform::Deliver),
    "all-ack",
    "URB",
    [
        "all-ack-silent-on-its-own",
        "all-ack-that-stops",
        "all-ack-twice",
        "all-ack-forged",
        "all-ack-garbled"
    ]
);

const CAUSAL: [Altered; 5] = broadcasts!(
    causal_says(causal::Deliver),
    "causal-past",
    "CRB",
    [
        "causal-past-silent-on-its-own",
        "causal-past-that-stops",
        "causal-past-twice",
        "causal-past-forged",
        "causal-past-garbled"
    ]
);

const FLOODED: [Altered; 5] = broadcasts!(
    flooded_says(Flooded),
    "flooding",
    "FLD",
    [
        "flooding-silent-on-its-own",
        "flooding-that-stops",
        "flooding-twice",
        "flooding-forged",
        "flooding-garbled"
    ]
);

/// Flooding, through the module that numbers its messages. The layer below always tells the number.
fn flooded_says(
    wiring: &Wiring<'_>,
    of: &str,
    alter: impl Fn(ProcessId) -> Alteration<Flooded> + Send + Sync + 'static,
) -> RequestPort {
    traced_says(wiring, of, move |me| {
        let mut alter = alter(me);
        Box::new(move |delivery: traced::Deliver| {
            let traced::Deliver { from, id, payload } = delivery;
            let Some(id) = id else {
                return Vec::new();
            };
            let altered = alter(Flooded { id, payload }).into_iter();
            let traced = |Flooded { id, payload }| traced::Deliver {
                from,
                id: Some(id),
                payload,
            };
            altered.map(traced).collect()
        })
    })
}

/// A delivery of flooding, with its number.
#[derive(Clone)]
struct Flooded {
    id: MessageId,
    payload: Bytes,
}

/// An early crash, so that others may deliver what the crashed process has.
const CRASH: Faults = Faults::ONE_CRASH;

const AGREEMENT: [Altered; 13] = [
    altered(
        "all-ack",
        [
            "all-ack-with-one-left-out",
            "p2 indicates five deliveries, and then no more",
        ],
        ["URB4", "never does"],
        |wiring| all_ack_says(wiring, "all-ack", at(2, stops_after(5))),
    ),
    altered(
        "causal-past",
        [
            "causal-past-with-one-left-out",
            "p2 indicates five deliveries, and then no more",
        ],
        ["CRB4", "never does"],
        |wiring| causal_says(wiring, "causal-past", at(2, stops_after(5))),
    ),
    altered(
        "causal-past-uniform",
        [
            "causal-past-uniform-with-one-left-out",
            "p2 indicates five deliveries, and then no more",
        ],
        ["CRB4", "never does"],
        |wiring| causal_says(wiring, "causal-past-uniform", at(2, stops_after(5))),
    ),
    altered(
        "by-consensus",
        [
            "by-consensus-with-one-left-out",
            "p2 indicates two deliveries, and then no more",
        ],
        ["TOB4", "never does"],
        |wiring| total_says(wiring, "by-consensus", at(2, stops_after(2))),
    ),
    under(
        &altered(
            "by-consensus",
            [
                "by-consensus-where-the-correct-stop",
                "p2 and p3 indicate two deliveries, and then no more",
            ],
            ["TOB4", "and crashes"],
            |wiring| {
                total_says(wiring, "by-consensus", |me| {
                    let most = if me.rank() == 1 { u64::MAX } else { 2 };
                    stops_after(most)(me)
                })
            },
        ),
        CRASH,
    ),
    altered(
        "by-consensus-on-messages",
        [
            "on-messages-with-one-left-out",
            "p2 indicates two deliveries, and then no more",
        ],
        ["TOB4", "never does"],
        |wiring| on_messages_says(wiring, "by-consensus-on-messages", at(2, stops_after(2))),
    ),
    altered(
        "by-consensus-on-messages",
        [
            "on-messages-reversed",
            "p2 indicates two deliveries of p1 in reverse",
        ],
        ["TOB5", "as number"],
        |wiring| {
            let of_p1 =
                |delivery: &regular_total_order::Deliver| delivery.id.origin.process.rank() == 1;
            on_messages_says(
                wiring,
                "by-consensus-on-messages",
                at(2, held_back(of_p1, true)),
            )
        },
    ),
    altered(
        "by-consensus",
        [
            "by-consensus-in-turn",
            "p2 indicates each two deliveries in reverse",
        ],
        ["TOB5-A", "in either order"],
        |wiring| total_says(wiring, "by-consensus", at(2, held_back(|_| true, true))),
    ),
    altered(
        "by-consensus",
        [
            "by-consensus-with-a-gap",
            "p2 does not indicate its second delivery",
        ],
        ["TOB5-B", "what comes before it"],
        |wiring| total_says(wiring, "by-consensus", at(2, without(2))),
    ),
    altered(
        "by-consensus-on-messages",
        [
            "on-messages-in-turn",
            "p2 indicates each two deliveries in reverse",
        ],
        ["TOB5-A", "in either order"],
        |wiring| {
            on_messages_says(
                wiring,
                "by-consensus-on-messages",
                at(2, held_back(|_| true, true)),
            )
        },
    ),
    altered(
        "by-consensus-on-messages",
        [
            "on-messages-with-a-gap",
            "p2 does not indicate its second delivery",
        ],
        ["TOB5-B", "what comes before it"],
        |wiring| on_messages_says(wiring, "by-consensus-on-messages", at(2, without(2))),
    ),
    altered(
        "first-in-first-out",
        [
            "first-in-first-out-with-a-gap",
            "p2 does not indicate its second delivery",
        ],
        ["FRB5", "after number"],
        |wiring| ordered_says(wiring, "first-in-first-out", at(2, without(2))),
    ),
    altered(
        "causal-past",
        [
            "causal-past-late",
            "p2 indicates a delivery of p1 only when the next one of p1 comes",
        ],
        ["CRB5", "had delivered before"],
        |wiring| {
            let of_p1 = |delivery: &causal::Deliver| delivery.id.origin.process.rank() == 1;
            causal_says(wiring, "causal-past", at(2, held_back(of_p1, false)))
        },
    ),
];

const TOTAL: [Altered; 5] = [
    altered(
        "by-consensus",
        [
            "by-consensus-silent-on-its-own",
            "a process does not indicate its own broadcasts",
        ],
        ["TOB1", "its own"],
        |wiring| {
            let own = |me, delivery: &total_order::Deliver| delivery.origin.process == me;
            total_says(wiring, "by-consensus", not_where(own))
        },
    ),
    altered(
        "by-consensus",
        [
            "by-consensus-that-stops",
            "p2 indicates two deliveries, and then no more",
        ],
        ["TOB1", "never delivers the broadcast"],
        |wiring| total_says(wiring, "by-consensus", at(2, stops_after(2))),
    ),
    altered(
        "by-consensus",
        ["by-consensus-twice", "each delivery is indicated twice"],
        ["TOB2", "twice"],
        |wiring| total_says(wiring, "by-consensus", twice),
    ),
    altered(
        "by-consensus",
        [
            "by-consensus-forged",
            "a delivery is indicated with the number of a later broadcast",
        ],
        ["TOB3", "which was not broadcast"],
        |wiring| {
            let forge = |delivery: &mut total_order::Deliver| delivery.first += 100;
            total_says(wiring, "by-consensus", changed(forge))
        },
    ),
    altered(
        "by-consensus",
        [
            "by-consensus-garbled",
            "a delivery is indicated with another content",
        ],
        ["TOB3", "with another content"],
        |wiring| {
            let garble = |delivery: &mut total_order::Deliver| {
                for payload in &mut delivery.payloads {
                    *payload = GARBLED;
                }
            };
            total_says(wiring, "by-consensus", changed(garble))
        },
    ),
];

const BEST_EFFORT: [Altered; 4] = [
    altered(
        "best-effort",
        [
            "best-effort-silent-on-its-own",
            "a process does not indicate its own broadcasts",
        ],
        ["BEB1", "its own"],
        |wiring| {
            let own = |me, delivery: &traced::Deliver| delivery.from == Some(me);
            traced_says(wiring, "best-effort", not_where(own))
        },
    ),
    altered(
        "best-effort",
        [
            "best-effort-that-stops",
            "p2 indicates five deliveries, and then no more",
        ],
        ["BEB1", "never delivers what"],
        |wiring| traced_says(wiring, "best-effort", at(2, stops_after(5))),
    ),
    altered(
        "best-effort",
        ["best-effort-twice", "each delivery is indicated twice"],
        ["BEB2", "times"],
        |wiring| traced_says(wiring, "best-effort", twice),
    ),
    altered(
        "best-effort",
        [
            "best-effort-garbled",
            "a delivery is indicated with another content",
        ],
        ["BEB3", "broadcast 0 times"],
        |wiring| {
            let garble = |delivery: &mut traced::Deliver| delivery.payload = GARBLED;
            traced_says(wiring, "best-effort", changed(garble))
        },
    ),
];

/// Indicates the collection of a message as soon as it is delivered.
struct CollectsAtOnce;

impl Alter<causal_collected::Event, causal_collected::Effect> for CollectsAtOnce {
    fn say(&mut self, effect: causal_collected::Effect, said: &mut Vec<causal_collected::Effect>) {
        use causal_collected::{Collect, Effect};
        let collect = match &effect {
            Effect::Deliver(delivery) => Some(delivery.id),
            Effect::Collect(_) => return,
            Effect::Reliable(_) => None,
        };
        said.push(effect);
        said.extend(collect.map(|id| Effect::Collect(Collect { id, left: 0 })));
    }
}

const COLLECTED: [Altered; 2] = [
    altered(
        "causal-collected",
        [
            "collecting-at-once",
            "an entry leaves the past when it is delivered",
        ],
        ["GC1", "has not delivered"],
        |wiring| wire("causal-collected", &wiring.altered(|_| CollectsAtOnce)),
    ),
    altered(
        "causal-collected",
        ["collecting-all-but-one", "one entry of the past is kept"],
        ["GC2", "stay in the past"],
        |wiring| {
            let keep = |collect: &mut causal_collected::Collect| collect.left += 1;
            collected_says(wiring, "causal-collected", changed(keep))
        },
    ),
];

const TERMINATING: [Altered; 7] = [
    altered(
        "terminating",
        [
            "terminating-silent-on-its-own",
            "a process does not indicate its own broadcasts",
        ],
        ["TRB1", "its own"],
        |wiring| {
            let own = |me, delivery: &terminating::Deliver| delivery.source == me;
            terminating_says(wiring, "terminating", not_where(own))
        },
    ),
    altered(
        "terminating",
        [
            "terminating-that-stops",
            "p2 indicates five deliveries, and then no more",
        ],
        ["TRB1", "never delivers message"],
        |wiring| terminating_says(wiring, "terminating", at(2, stops_after(5))),
    ),
    altered(
        "terminating",
        ["terminating-twice", "each delivery is indicated twice"],
        ["TRB3", "again"],
        |wiring| terminating_says(wiring, "terminating", twice),
    ),
    altered(
        "terminating",
        [
            "terminating-with-a-gap",
            "p2 does not indicate its second delivery",
        ],
        ["TRB3", "not yet in"],
        |wiring| terminating_says(wiring, "terminating", at(2, without(2))),
    ),
    under(
        &altered(
            "terminating",
            [
                "terminating-on-and-on",
                "the report that the source is faulty is followed by another",
            ],
            ["TRB3", "after the report"],
            |wiring| {
                terminating_says(wiring, "terminating", |_| {
                    Box::new(|delivery: terminating::Deliver| {
                        let next = terminating::Deliver {
                            number: delivery.number + 1,
                            ..delivery.clone()
                        };
                        if delivery.outcome == terminating::Content::SenderFaulty {
                            vec![delivery, next]
                        } else {
                            vec![delivery]
                        }
                    })
                })
            },
        ),
        CRASH,
    ),
    altered(
        "terminating",
        [
            "terminating-garbled",
            "a message is indicated with another content",
        ],
        ["TRB3", "did not broadcast there"],
        |wiring| {
            let garble = |delivery: &mut terminating::Deliver| {
                if let terminating::Content::Message(content) = &mut delivery.outcome {
                    *content = GARBLED;
                }
            };
            terminating_says(wiring, "terminating", changed(garble))
        },
    ),
    altered(
        "terminating",
        [
            "terminating-but-not-always",
            "p2 indicates five deliveries, and then no more",
        ],
        ["TRB4", "never delivers"],
        |wiring| terminating_says(wiring, "terminating", at(2, stops_after(5))),
    ),
];

pub(super) static ALL: &[&[Altered]] = &[
    &BEST_EFFORT,
    &RELIABLE,
    &UNIFORM,
    &CAUSAL,
    &TOTAL,
    &AGREEMENT,
    &COLLECTED,
    &TERMINATING,
    &FLOODED,
];
