//! Consensus, atomic commit, detectors, leaders, and views that clocks change.
use super::{Altered, altered, at, changed, indicating, not_where, twice, under, wire};
use crate::scenario::Faults;
use bytes::Bytes;
use quorate_abstractions::{
    atomic_commit::{self, Outcome},
    consensus,
    eventually_perfect::Indication,
    leader::Trust,
    perfect::Crash,
    regular_consensus,
};
use quorate_commit::non_blocking;
use quorate_consensus::{hierarchical, uniform_hierarchical, view_synchronizer};
use quorate_core::ProcessId;
use quorate_detectors::{exclude_on_timeout, increasing_timeout, lowest_rank};
use quorate_sim::Alter;

indicating!(regular_says, hierarchical => Decide(regular_consensus::Decide));
indicating!(uniform_says, uniform_hierarchical => Decide(consensus::Decide));
indicating!(commit_says, non_blocking => Decide(atomic_commit::Decide));

/// A value that nobody proposes.
const INVENTED: Bytes = Bytes::from_static(b"invented");

const CONSENSUS: [Altered; 6] = [
    altered(
        "hierarchical",
        [
            "hierarchical-inventing",
            "a value is decided that nobody proposed",
        ],
        ["C1", "nobody proposed"],
        |wiring| {
            let invent = |decision: &mut regular_consensus::Decide| decision.value = INVENTED;
            regular_says(wiring, "hierarchical", changed(invent))
        },
    ),
    altered(
        "hierarchical",
        ["hierarchical-twice", "each decision is indicated twice"],
        ["C3", "decides twice"],
        |wiring| regular_says(wiring, "hierarchical", twice),
    ),
    altered(
        "uniform-hierarchical",
        [
            "uniform-hierarchical-inventing",
            "a value is decided that nobody proposed",
        ],
        ["UC1", "nobody proposed"],
        |wiring| {
            let invent = |decision: &mut consensus::Decide| decision.value = INVENTED;
            uniform_says(wiring, "uniform-hierarchical", changed(invent))
        },
    ),
    altered(
        "uniform-hierarchical",
        [
            "uniform-hierarchical-twice",
            "each decision is indicated twice",
        ],
        ["UC3", "decides twice"],
        |wiring| uniform_says(wiring, "uniform-hierarchical", twice),
    ),
    altered(
        "non-blocking",
        [
            "non-blocking-divided",
            "p2 indicates the opposite of what is decided",
        ],
        ["NBAC1", "otherwise than another"],
        |wiring| {
            let turn = |decision: &mut atomic_commit::Decide| {
                decision.outcome = match decision.outcome {
                    Outcome::Commit => Outcome::Abort,
                    Outcome::Abort => Outcome::Commit,
                };
            };
            commit_says(wiring, "non-blocking", at(2, changed(turn)))
        },
    ),
    altered(
        "non-blocking",
        ["non-blocking-twice", "each decision is indicated twice"],
        ["NBAC5", "decides twice"],
        |wiring| commit_says(wiring, "non-blocking", twice),
    ),
];

/// Reports each crash twice.
struct ReportsTwice;

impl Alter<exclude_on_timeout::Event, exclude_on_timeout::Effect> for ReportsTwice {
    fn say(
        &mut self,
        effect: exclude_on_timeout::Effect,
        said: &mut Vec<exclude_on_timeout::Effect>,
    ) {
        use exclude_on_timeout::Effect;
        if let Effect::Indicate(Crash(p), subscribers) = &effect {
            said.push(Effect::Indicate(Crash(*p), subscribers.clone()));
        }
        said.push(effect);
    }
}

/// Takes each suspicion back at once.
struct TakesBack;

impl Alter<increasing_timeout::Event, increasing_timeout::Effect> for TakesBack {
    fn say(
        &mut self,
        effect: increasing_timeout::Effect,
        said: &mut Vec<increasing_timeout::Effect>,
    ) {
        use increasing_timeout::Effect;
        let restored = match &effect {
            Effect::Indicate(Indication::Suspect(p), subscribers) => Some(Effect::Indicate(
                Indication::Restore(*p),
                subscribers.clone(),
            )),
            _ => None,
        };
        said.push(effect);
        said.extend(restored);
    }
}

/// Trusts this process; nobody at all if there is none.
struct Trusts(Option<ProcessId>);

impl Alter<lowest_rank::Event, lowest_rank::Effect> for Trusts {
    fn say(&mut self, effect: lowest_rank::Effect, said: &mut Vec<lowest_rank::Effect>) {
        use lowest_rank::Effect;
        match (effect, self.0) {
            (Effect::Indicate(..), None) => {}
            (Effect::Indicate(_, subscribers), Some(p)) => {
                said.push(Effect::Indicate(Trust(p), subscribers));
            }
            (other @ Effect::Answer(..), _) => said.push(other),
        }
    }
}

const DETECTORS: [Altered; 4] = [
    under(
        &altered(
            "exclude-on-timeout",
            ["excluding-twice", "each crash is reported twice"],
            ["PFD2", "again"],
            |wiring| wire("exclude-on-timeout", &wiring.altered(|_| ReportsTwice)),
        ),
        Faults::ONE_CRASH,
    ),
    under(
        &altered(
            "increasing-timeout",
            [
                "suspecting-for-a-moment",
                "each suspicion is taken back at once",
            ],
            ["EPFD1", "does not suspect"],
            |wiring| wire("increasing-timeout", &wiring.altered(|_| TakesBack)),
        ),
        Faults::ONE_CRASH,
    ),
    altered(
        "lowest-rank",
        ["trusting-nobody", "nobody is ever trusted"],
        ["ELD1", "trusts nobody"],
        |wiring| wire("lowest-rank", &wiring.altered(|_| Trusts(None))),
    ),
    altered(
        "lowest-rank",
        ["trusting-oneself", "each process trusts itself"],
        ["ELD2", "trusts"],
        |wiring| wire("lowest-rank", &wiring.altered(|me| Trusts(Some(me)))),
    ),
];

/// Enters each view as often as this.
struct Enters(usize);

impl Alter<view_synchronizer::Event, view_synchronizer::Effect> for Enters {
    fn say(
        &mut self,
        effect: view_synchronizer::Effect,
        said: &mut Vec<view_synchronizer::Effect>,
    ) {
        use view_synchronizer::Effect;
        match effect {
            Effect::Indicate(enter, subscribers) => {
                let again = || Effect::Indicate(enter, subscribers.clone());
                said.extend(std::iter::repeat_with(again).take(self.0));
            }
            other @ Effect::Answer(..) => said.push(other),
        }
    }
}

const VIEWS: [Altered; 2] = [
    altered(
        "view-synchronizer",
        ["entering-twice", "each view is entered twice"],
        ["VS-ORD", "enters view"],
        |wiring| wire("view-synchronizer", &wiring.altered(|_| Enters(2))),
    ),
    altered(
        "view-synchronizer",
        ["entering-nowhere", "p2 enters no view"],
        ["VS-OVL", "entered no view"],
        |wiring| {
            let enters = |me: ProcessId| Enters(usize::from(me.rank() != 2));
            wire("view-synchronizer", &wiring.altered(enters))
        },
    ),
];

const TERMINATION: [Altered; 2] = [
    altered(
        "hierarchical",
        ["hierarchical-undecided", "p2 indicates no decision"],
        ["C4", "never decides"],
        |wiring| {
            let at_p2 = |me: ProcessId, _: &regular_consensus::Decide| me.rank() == 2;
            regular_says(wiring, "hierarchical", not_where(at_p2))
        },
    ),
    altered(
        "uniform-hierarchical",
        ["uniform-hierarchical-undecided", "p2 indicates no decision"],
        ["UC4", "never decides"],
        |wiring| {
            let at_p2 = |me: ProcessId, _: &consensus::Decide| me.rank() == 2;
            uniform_says(wiring, "uniform-hierarchical", not_where(at_p2))
        },
    ),
];

pub(super) static ALL: &[&[Altered]] = &[&CONSENSUS, &TERMINATION, &DETECTORS, &VIEWS];
