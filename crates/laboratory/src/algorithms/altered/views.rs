//! View synchrony.
use super::{
    Alteration, Altered, altered, at, indicating,
    membership::{ALL_THREE, TWO, all_from},
    under, wire,
};
use crate::{
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort,
    group_membership::View,
    view_synchrony::{Indication, Request},
};
use quorate_core::{ProcessId, ProcessSet};
use quorate_membership::{by_consensus, by_terminating, messages::Message, primary};
use quorate_sim::Alter;
use std::collections::VecDeque;

indicating!(by_consensus_says, by_consensus => Indicate(Indication));
indicating!(primary_says, primary => Indicate(Indication));

/// False suspicions throughout the run.
const STORM: Faults = Faults {
    storm: true,
    ..Faults::NONE
};

/// Alters each indication of view synchrony by consensus.
fn views(
    wiring: &Wiring<'_>,
    alter: impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync + 'static,
) -> RequestPort {
    by_consensus_says(wiring, "views-by-consensus", alter)
}

/// The views at a process, altered.
fn view_of(change: fn(&mut View)) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    move |_| {
        Box::new(move |mut indication| {
            if let Indication::View { view, .. } = &mut indication {
                change(view);
            }
            vec![indication]
        })
    }
}

/// The indications of some kind come twice.
fn twice_if(
    is: fn(&Indication) -> bool,
) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    move |_| {
        Box::new(move |indication| {
            if is(&indication) {
                vec![indication.clone(), indication]
            } else {
                vec![indication]
            }
        })
    }
}

/// The indications of some kind do not come.
fn without_if(
    is: fn(ProcessId, &Indication) -> bool,
) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    super::not_where(is)
}

/// The deliveries, altered.
fn delivery_of(
    change: fn(&mut quorate_abstractions::view_synchrony::Deliver),
) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    move |_| {
        Box::new(move |mut indication| {
            if let Indication::Deliver(deliver) = &mut indication {
                change(deliver);
            }
            vec![indication]
        })
    }
}

/// What is delivered in the first view is indicated in the next one.
fn late(_: ProcessId) -> Alteration<Indication> {
    let mut held = VecDeque::new();
    Box::new(move |indication| match indication {
        Indication::Deliver(deliver) if deliver.view == 0 => {
            held.push_back(deliver);
            Vec::new()
        }
        Indication::View { view, newcomers } => {
            let mut said = vec![Indication::View { view, newcomers }];
            if view.id == 1 {
                said.extend(held.drain(..).map(|mut deliver| {
                    deliver.view = 1;
                    Indication::Deliver(deliver)
                }));
            }
            said
        }
        other => vec![other],
    })
}

/// Hears the user's `BlockOk` only after what comes next.
struct BlocksLate(Option<by_consensus::Event>);

impl Alter<by_consensus::Event, by_consensus::Effect> for BlocksLate {
    fn hear(&mut self, event: by_consensus::Event, heard: &mut Vec<by_consensus::Event>) {
        use by_consensus::Event;
        if let Event::Request(Request::BlockOk) = event {
            self.0 = Some(event);
            return;
        }
        heard.push(event);
        heard.extend(self.0.take());
    }
}

/// Drops data of the next view.
struct DropsTheNextView(u64);

impl DropsTheNextView {
    fn note(&mut self, indication: &Indication) {
        if let Indication::View { view, .. } = indication {
            self.0 = view.id;
        }
    }

    fn is_early(&self, message: &Message) -> bool {
        matches!(message, Message::Data { view, .. } if *view > self.0)
    }
}

impl Alter<by_consensus::Event, by_consensus::Effect> for DropsTheNextView {
    fn hear(&mut self, event: by_consensus::Event, heard: &mut Vec<by_consensus::Event>) {
        use by_consensus::Event;
        match event {
            Event::BestEffort(best_effort::Deliver { message, .. }) if self.is_early(&message) => {}
            event => heard.push(event),
        }
    }

    fn say(&mut self, effect: by_consensus::Effect, said: &mut Vec<by_consensus::Effect>) {
        if let by_consensus::Effect::Indicate(indication) = &effect {
            self.note(indication);
        }
        said.push(effect);
    }
}

impl Alter<by_terminating::Event, by_terminating::Effect> for DropsTheNextView {
    fn hear(&mut self, event: by_terminating::Event, heard: &mut Vec<by_terminating::Event>) {
        use by_terminating::Event;
        match event {
            Event::BestEffort(best_effort::Deliver { message, .. }) if self.is_early(&message) => {}
            event => heard.push(event),
        }
    }

    fn say(&mut self, effect: by_terminating::Effect, said: &mut Vec<by_terminating::Effect>) {
        if let by_terminating::Effect::Indicate(indication) = &effect {
            self.note(indication);
        }
        said.push(effect);
    }
}

impl Alter<primary::Event, primary::Effect> for DropsTheNextView {
    fn hear(&mut self, event: primary::Event, heard: &mut Vec<primary::Event>) {
        match &event {
            primary::Event::Link(delivery)
                if matches!(
                    &delivery.message,
                    primary::Message::Within(message) if self.is_early(message)
                ) => {}
            _ => heard.push(event),
        }
    }

    fn say(&mut self, effect: primary::Effect, said: &mut Vec<primary::Effect>) {
        if let primary::Effect::Indicate(indication) = &effect {
            self.note(indication);
        }
        said.push(effect);
    }
}

const DROPPING: [Altered; 4] = [
    under(
        &altered(
            "views-by-consensus",
            [
                "views-by-consensus-drops-the-next",
                "data of the next view is dropped",
            ],
            ["VS6", "in the end"],
            |wiring| {
                let drops = |_| DropsTheNextView(0);
                let altered = wiring.altered::<by_consensus::Event, by_consensus::Effect, _>(drops);
                wire("views-by-consensus", &altered)
            },
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "by-terminating",
            ["views-drop-the-next", "data of the next view is dropped"],
            ["VS9", "in the end"],
            |wiring| {
                let drops = |_| DropsTheNextView(0);
                let altered =
                    wiring.altered::<by_terminating::Event, by_terminating::Effect, _>(drops);
                wire("by-terminating", &altered)
            },
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-drop-the-next",
                "data of the next view is dropped",
            ],
            ["VS9", "in the end"],
            |wiring| {
                let drops = |_| DropsTheNextView(0);
                wire(
                    "primary-views",
                    &wiring.altered::<primary::Event, primary::Effect, _>(drops),
                )
            },
        ),
        STORM,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-with-one-left-out",
                "p2 does not indicate the deliveries of p1 in the first view",
            ],
            ["VS6", "which has ended"],
            |wiring| {
                views(
                    wiring,
                    without_if(|me, indication| me.rank() == 2 && is_delivery_of_p1(indication)),
                )
            },
        ),
        Faults::ONE_CRASH,
    ),
];

/// Whether it is the delivery of a message of p1 in the first view.
fn is_delivery_of_p1(indication: &Indication) -> bool {
    matches!(
        indication,
        Indication::Deliver(deliver) if deliver.view == 0 && deliver.id.origin.process.rank() == 1
    )
}

const VIEWS: [Altered; 11] = [
    altered(
        "views-by-consensus",
        [
            "views-misnumbered",
            "p2 indicates deliveries with the next view",
        ],
        ["VS1", "and is in"],
        |wiring| views(wiring, at(2, delivery_of(|deliver| deliver.view += 1))),
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-late",
                "what p2 delivers in the first view it indicates in the next one",
            ],
            ["VS1", "another in"],
            |wiring| views(wiring, at(2, late)),
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-blocked-late",
                "the user's answer to Block is heard after what comes next",
            ],
            ["VS1", "it was requested for"],
            |wiring| {
                let altered = wiring.altered(|_| BlocksLate(None));
                wire("views-by-consensus", &altered)
            },
        ),
        Faults::ONE_CRASH,
    ),
    altered(
        "views-by-consensus",
        ["views-twice", "each view is indicated twice"],
        ["VS2", "after"],
        |wiring| {
            let is = |indication: &Indication| matches!(indication, Indication::View { .. });
            views(wiring, twice_if(is))
        },
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-growing",
                "the second new view has all processes as members",
            ],
            ["VS2", "which is not in"],
            |wiring| views(wiring, view_of(|view| all_from(2, view))),
        ),
        TWO,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-divided",
                "at p2 the first new view has all processes as members",
            ],
            ["VS3", "another"],
            |wiring| views(wiring, at(2, view_of(|view| all_from(1, view)))),
        ),
        Faults::ONE_CRASH,
    ),
    altered(
        "views-by-consensus",
        [
            "views-silent-on-their-own",
            "a process does not indicate its own broadcasts",
        ],
        ["VS6", "never delivers"],
        |wiring| views(wiring, without_if(is_own)),
    ),
    altered(
        "views-by-consensus",
        [
            "views-with-deliveries-twice",
            "each delivery is indicated twice",
        ],
        ["VS7", "twice"],
        |wiring| {
            let is = |indication: &Indication| matches!(indication, Indication::Deliver(_));
            views(wiring, twice_if(is))
        },
    ),
    altered(
        "views-by-consensus",
        [
            "views-forged",
            "a delivery is indicated with the number of a later broadcast",
        ],
        ["VS8", "which was not broadcast"],
        |wiring| views(wiring, delivery_of(|deliver| deliver.id.sequence += 100)),
    ),
    altered(
        "views-by-consensus",
        [
            "views-garbled",
            "a delivery is indicated with another content",
        ],
        ["VS8", "with another content"],
        |wiring| {
            let garble = |deliver: &mut quorate_abstractions::view_synchrony::Deliver| {
                deliver.payload = Bytes::from_static(b"garbled");
            };
            views(wiring, delivery_of(garble))
        },
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-with-a-gap",
                "p2 does not indicate the deliveries of p1 in the first view",
            ],
            ["VS9", "which it has left"],
            |wiring| {
                views(
                    wiring,
                    without_if(|me, indication| me.rank() == 2 && is_delivery_of_p1(indication)),
                )
            },
        ),
        Faults::ONE_CRASH,
    ),
];

/// Takes the report of a member for one of the next in rank, too.
struct CountsTwice;

impl Alter<by_consensus::Event, by_consensus::Effect> for CountsTwice {
    fn hear(&mut self, event: by_consensus::Event, heard: &mut Vec<by_consensus::Event>) {
        use by_consensus::Event;
        if let Event::BestEffort(best_effort::Deliver { from, message }) = &event
            && matches!(message, Message::Stable { .. })
            && let Some(from) = ProcessId::from_rank(from.rank() % ALL_THREE.len() + 1)
        {
            let message = message.clone();
            heard.push(Event::BestEffort(best_effort::Deliver { from, message }));
        }
        heard.push(event);
    }
}

const UNIFORM: [Altered; 2] = [
    under(
        &altered(
            "uniform-views",
            [
                "uniform-views-without-one",
                "a message is delivered once all members but one have received it",
            ],
            ["UVS9", "which has ended"],
            |wiring| wire("uniform-views", &wiring.altered(|_| CountsTwice)),
        ),
        TWO,
    ),
    altered(
        "uniform-views",
        [
            "uniform-views-with-one-left-out",
            "p2 does not indicate the deliveries of p1 in the first view",
        ],
        ["UVS9", "in the end"],
        |wiring| {
            let left_out =
                without_if(|me, indication| me.rank() == 2 && is_delivery_of_p1(indication));
            by_consensus_says(wiring, "uniform-views", left_out)
        },
    ),
];

/// Alters each indication of primary views.
fn joined(
    wiring: &Wiring<'_>,
    alter: impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync + 'static,
) -> RequestPort {
    primary_says(wiring, "primary-views", alter)
}

/// The first view after a state has a later number.
fn skipping(_: ProcessId) -> Alteration<Indication> {
    let mut has_joined = false;
    Box::new(move |mut indication| {
        match &mut indication {
            Indication::State(_) => has_joined = true,
            Indication::View { view, .. } if has_joined => {
                has_joined = false;
                view.id += 50;
            }
            _ => {}
        }
        vec![indication]
    })
}

/// Alters what a process that joins delivers between its state and its view.
fn completing(
    alter: fn(quorate_abstractions::view_synchrony::Deliver) -> Option<Indication>,
) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    move |_| {
        let mut is_completing = false;
        Box::new(move |indication| match indication {
            Indication::Deliver(deliver) if is_completing => alter(deliver).into_iter().collect(),
            other => {
                is_completing = matches!(other, Indication::State(_));
                vec![other]
            }
        })
    }
}

/// The messages that are returned to a process as lost, altered.
fn returned(
    alter: fn(quorate_abstractions::view_synchrony::Lost) -> Vec<Indication>,
) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    move |_| {
        Box::new(move |indication| match indication {
            Indication::Lost(lost) => alter(lost),
            other => vec![other],
        })
    }
}

/// What is returned as lost comes after the next indication.
fn returned_late(_: ProcessId) -> Alteration<Indication> {
    let mut held = Vec::new();
    Box::new(move |indication| match indication {
        Indication::Lost(_) => {
            held.push(indication);
            Vec::new()
        }
        other => {
            let mut said = vec![other];
            said.append(&mut held);
            said
        }
    })
}

const JOINS: [Altered; 10] = [
    under(
        &altered(
            "primary-views",
            [
                "primary-views-skipping",
                "who joins indicates a later view than the one in which it joins",
            ],
            ["VS1", "completes its state"],
            |wiring| joined(wiring, skipping),
        ),
        STORM,
    ),
    altered(
        "primary-views",
        ["primary-views-twice", "each view is indicated twice"],
        ["VS2", "after"],
        |wiring| {
            let is = |indication: &Indication| matches!(indication, Indication::View { .. });
            joined(wiring, twice_if(is))
        },
    ),
    under(
        &altered(
            "primary-views",
            ["primary-views-untold", "p2 is not told that it is outside"],
            ["VS5", "is not told of"],
            |wiring| {
                let told =
                    |_, indication: &Indication| matches!(indication, Indication::Excluded { .. });
                joined(wiring, at(2, without_if(told)))
            },
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-strange",
                "a process that joins gets another state",
            ],
            ["VS9", "no member has given"],
            |wiring| {
                joined(wiring, |_| {
                    Box::new(|indication| match indication {
                        Indication::State(_) => {
                            vec![Indication::State(Bytes::from_static(b"strange"))]
                        }
                        other => vec![other],
                    })
                })
            },
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-incomplete",
                "what completes a state is not indicated",
            ],
            ["VS9", "joins, and knows of"],
            |wiring| joined(wiring, completing(|_| None)),
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            [
                "returning-late",
                "what is lost comes back after the next indication",
            ],
            ["VS10", "did not just learn"],
            |wiring| joined(wiring, returned_late),
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            [
                "returning-others",
                "what comes back has the number of a later broadcast",
            ],
            ["VS10", "which it did not deliver"],
            |wiring| {
                joined(
                    wiring,
                    returned(|mut lost| {
                        lost.id.sequence += 100;
                        vec![Indication::Lost(lost)]
                    }),
                )
            },
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            [
                "returning-in-doubt",
                "what comes back is said to be doubtful",
            ],
            ["VS10", "as doubtful"],
            |wiring| {
                joined(
                    wiring,
                    returned(|mut lost| {
                        lost.is_certain = false;
                        vec![Indication::Lost(lost)]
                    }),
                )
            },
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            ["returning-twice", "what is lost comes back twice"],
            ["VS10", "twice"],
            |wiring| {
                joined(
                    wiring,
                    returned(|lost| vec![Indication::Lost(lost.clone()), Indication::Lost(lost)]),
                )
            },
        ),
        STORM,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-late",
                "what p2 delivers in the first view it indicates in the next one",
            ],
            ["VS1", "another in"],
            |wiring| joined(wiring, at(2, late)),
        ),
        STORM,
    ),
];

/// What is indicated in place of the news that this process has left a view-synchronous group.
fn left(
    alter: fn(u64) -> Vec<Indication>,
) -> impl Fn(ProcessId) -> Alteration<Indication> + Send + Sync {
    move |_| {
        Box::new(move |indication| match indication {
            Indication::Left { view } => alter(view),
            other => vec![other],
        })
    }
}

/// Who has left installs the view that it has left for.
fn returning(view: u64) -> Vec<Indication> {
    let (id, members) = (view, ProcessSet::EMPTY);
    let installed = Indication::View {
        view: View { id, members },
        newcomers: ProcessSet::EMPTY,
    };
    vec![Indication::Left { view }, installed]
}

/// The process is told that it has left when another view than the first begins.
fn dismissed(_: ProcessId) -> Alteration<Indication> {
    Box::new(|indication| match indication {
        Indication::View { view, .. } if view.id > 0 => vec![Indication::Left { view: view.id }],
        other => vec![other],
    })
}

/// Whether it is the delivery of a message of this process.
fn is_own(me: ProcessId, indication: &Indication) -> bool {
    matches!(indication, Indication::Deliver(deliver) if deliver.id.origin.process == me)
}

const LEAVING_VIEWS: [Altered; 11] = [
    under(
        &altered(
            "views-by-consensus",
            ["views-untold", "a process is not told that it has left"],
            ["VS11", "is never told"],
            |wiring| views(wiring, left(|_| Vec::new())),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-clinging",
                "each new view has all processes as members",
            ],
            ["VS11", "and stays in the view"],
            |wiring| views(wiring, view_of(|view| all_from(1, view))),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-dismissing",
                "p2 is told that it has left when another view than the first begins",
            ],
            ["VS12", "and did not ask"],
            |wiring| views(wiring, at(2, dismissed)),
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-returning",
                "who has left installs the view that it has left for",
            ],
            ["VS12", "after it has left"],
            |wiring| views(wiring, left(returning)),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-leaving-the-first",
                "who leaves is told of the first view",
            ],
            ["VS12", "which has it"],
            |wiring| views(wiring, left(|_| vec![Indication::Left { view: 0 }])),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "views-by-consensus",
            [
                "views-leaving-early",
                "a process that leaves has not indicated its own broadcasts",
            ],
            ["VS12", "and has not delivered"],
            |wiring| views(wiring, without_if(is_own)),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-untold-of-leaving",
                "a process is not told that it has left",
            ],
            ["VS11", "is never told"],
            |wiring| joined(wiring, left(|_| Vec::new())),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-dismissing",
                "p2 is told that it has left when another view than the first begins",
            ],
            ["VS12", "and did not ask"],
            |wiring| joined(wiring, at(2, dismissed)),
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-leaving-the-first",
                "who leaves is told of the first view",
            ],
            ["VS12", "which has it"],
            |wiring| joined(wiring, left(|_| vec![Indication::Left { view: 0 }])),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-leaving-early",
                "a process that leaves has not indicated its own broadcasts",
            ],
            ["VS12", "and has not delivered"],
            |wiring| joined(wiring, without_if(is_own)),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "primary-views",
            [
                "primary-views-returning",
                "who has left installs the view that it has left for, and did not ask to join",
            ],
            ["VS12", "after it has left"],
            |wiring| joined(wiring, left(returning)),
        ),
        Faults::ONE_LEAVES,
    ),
];

pub(super) static ALL: &[&[Altered]] = &[&DROPPING, &VIEWS, &LEAVING_VIEWS, &UNIFORM, &JOINS];
