//! Group membership.
use super::{Alteration, Altered, altered, at, indicating, twice, under, wire};
use crate::scenario::Faults;
use quorate_abstractions::{
    best_effort,
    group_membership::{self, View},
};
use quorate_core::{ProcessId, ProcessSet};
use quorate_membership::group;
use quorate_sim::Alter;

indicating!(group_says, group => Indicate(group_membership::Indication));

/// As many crashes as make two changes of the view.
pub(super) const TWO: Faults = Faults {
    crashes: 2,
    ..Faults::NONE
};

/// p1, p2 and p3.
pub(super) const ALL_THREE: ProcessSet = ProcessSet::of_low_bits(7);

/// The view of this number has all three members, and so has each later one.
pub(super) fn all_from(first: u64, view: &mut View) {
    if view.id >= first {
        view.members = ALL_THREE;
    }
}

/// The views that group membership installs, altered.
fn installed(
    change: fn(&mut View),
) -> impl Fn(ProcessId) -> Alteration<group_membership::Indication> + Send + Sync {
    move |_| {
        Box::new(move |mut indication| {
            if let group_membership::Indication::View(view) = &mut indication {
                change(view);
            }
            vec![indication]
        })
    }
}

/// What is indicated in place of the news that this process has left.
fn leaving(
    alter: fn(View) -> Vec<group_membership::Indication>,
) -> impl Fn(ProcessId) -> Alteration<group_membership::Indication> + Send + Sync {
    move |_| {
        Box::new(move |indication| match indication {
            group_membership::Indication::Left(view) => alter(view),
            installed @ group_membership::Indication::View(_) => vec![installed],
        })
    }
}

/// Takes the next process for the one that leaves.
struct TakesAnother;

impl Alter<group::Event, group::Effect> for TakesAnother {
    fn hear(&mut self, event: group::Event, heard: &mut Vec<group::Event>) {
        use group::Event;
        heard.push(match event {
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                let next = from.rank() % ALL_THREE.len() + 1;
                let from = ProcessId::from_rank(next).unwrap_or(from);
                Event::BestEffort(best_effort::Deliver { from, message })
            }
            event => event,
        });
    }
}

const LEAVING: [Altered; 6] = [
    under(
        &altered(
            "group-membership",
            [
                "group-without-another",
                "the next process is taken for the one that leaves",
            ],
            ["GMP4", "which lives"],
            |wiring| {
                let altered = wiring.altered::<group::Event, group::Effect, _>(|_| TakesAnother);
                wire("group-membership", &altered)
            },
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "group-membership",
            ["group-untold", "a process is not told that it has left"],
            ["GMP5", "is never told"],
            |wiring| group_says(wiring, "group-membership", leaving(|_| Vec::new())),
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "group-membership",
            [
                "group-clinging",
                "each new view has all processes as members",
            ],
            ["GMP5", "and stays in the view"],
            |wiring| {
                let all = installed(|view| all_from(1, view));
                group_says(wiring, "group-membership", all)
            },
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "group-membership",
            [
                "group-dismissing",
                "p2 is told that it has left when another view than the first begins",
            ],
            ["GMP6", "and did not ask"],
            |wiring| {
                let dismissed = |_| -> Alteration<group_membership::Indication> {
                    Box::new(|indication| match indication {
                        group_membership::Indication::View(view) if view.id > 0 => {
                            vec![group_membership::Indication::Left(view)]
                        }
                        other => vec![other],
                    })
                };
                group_says(wiring, "group-membership", at(2, dismissed))
            },
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "group-membership",
            [
                "group-returning",
                "who has left installs the view that it has left for",
            ],
            ["GMP6", "after it has left"],
            |wiring| {
                let returns = leaving(|view| {
                    let view = [
                        group_membership::Indication::Left(view),
                        group_membership::Indication::View(view),
                    ];
                    view.to_vec()
                });
                group_says(wiring, "group-membership", returns)
            },
        ),
        Faults::ONE_LEAVES,
    ),
    under(
        &altered(
            "group-membership",
            [
                "group-leaving-the-first",
                "who leaves is told of the first view",
            ],
            ["GMP6", "which has it"],
            |wiring| {
                let first = leaving(|view| {
                    let view = View { id: 0, ..view };
                    vec![group_membership::Indication::Left(view)]
                });
                group_says(wiring, "group-membership", first)
            },
        ),
        Faults::ONE_LEAVES,
    ),
];

const GROUP: [Altered; 3] = [
    altered(
        "group-membership",
        ["group-twice", "each view is indicated twice"],
        ["GMP1", "after"],
        |wiring| group_says(wiring, "group-membership", twice),
    ),
    under(
        &altered(
            "group-membership",
            [
                "group-growing",
                "the second new view has all processes as members",
            ],
            ["GMP1", "which is not in"],
            |wiring| {
                let all = installed(|view| all_from(2, view));
                group_says(wiring, "group-membership", all)
            },
        ),
        TWO,
    ),
    under(
        &altered(
            "group-membership",
            [
                "group-divided",
                "at p2 the first new view has all processes as members",
            ],
            ["GMP2", "another"],
            |wiring| {
                let all = installed(|view| all_from(1, view));
                group_says(wiring, "group-membership", at(2, all))
            },
        ),
        Faults::ONE_CRASH,
    ),
];

pub(super) static ALL: &[&[Altered]] = &[&GROUP, &LEAVING];
