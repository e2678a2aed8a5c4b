//! Mutants of algorithms of rounds that are right, whose outputs are altered on the way. There is one for each
//! part of a property that no changed rule violates by itself.
use super::{Failures, Judged, Mutant, Setting, judge_broadcast, sender};
use quorate_abstractions::link::To;
use quorate_core::ProcessId;
use quorate_rounds::{
    algorithm::RoundAlgorithm,
    early_stopping::EarlyStopping,
    flood_set::FloodSet,
    properties::{self, Delivery},
    terminating::Terminating,
};

/// What becomes of the output of a round, where the earlier outputs are known.
type Alter<O> = fn(earlier: &[O], output: Option<O>) -> Option<O>;

/// An algorithm of rounds whose outputs are altered.
struct Altered<A: RoundAlgorithm> {
    algorithm: A,
    alter: Alter<A::Output>,
    earlier: Vec<A::Output>,
    /// Whether each output comes a round late.
    late: bool,
    /// The output of the round before, if it is late.
    held: Option<A::Output>,
    /// Whether it goes on for ever.
    endless: bool,
}

impl<A: RoundAlgorithm> Altered<A> {
    fn new(algorithm: A, alter: Alter<A::Output>) -> Self {
        Altered {
            algorithm,
            alter,
            earlier: Vec::new(),
            late: false,
            held: None,
            endless: false,
        }
    }
}

impl<A: RoundAlgorithm> RoundAlgorithm for Altered<A> {
    type Message = A::Message;
    type Output = A::Output;

    fn send(&mut self, round: u64) -> Vec<(To, A::Message)> {
        if self.algorithm.is_halted() {
            return Vec::new();
        }
        self.algorithm.send(round)
    }

    fn receive(&mut self, round: u64, received: &[(ProcessId, A::Message)]) -> Option<A::Output> {
        let held = self.held.take();
        let output = if self.algorithm.is_halted() {
            None
        } else {
            self.algorithm.receive(round, received)
        };
        let output = (self.alter)(&self.earlier, output);
        self.earlier.extend(output.clone());
        if self.late {
            self.held = output;
            return held;
        }
        output
    }

    fn is_halted(&self) -> bool {
        self.algorithm.is_halted() && self.held.is_none() && !self.endless
    }
}

fn kept<O>(_: &[O], output: Option<O>) -> Option<O> {
    output
}

fn none<O>(_: &[O], _: Option<O>) -> Option<O> {
    None
}

/// The first output comes again.
fn twice<O: Clone>(earlier: &[O], output: Option<O>) -> Option<O> {
    output.or_else(|| earlier.first().cloned())
}

fn flood_set(setting: &Setting, late: bool, alter: Alter<u64>) -> Judged {
    let start = |p| Altered {
        late,
        ..Altered::new(FloodSet::new(setting.made_for(), setting.value(p)), alter)
    };
    let rounds = setting.last() + u64::from(late);
    Judged::of(setting, "flood-set", rounds, start, |execution| {
        let (proposals, agreement) = (setting.proposals(), setting.agreement());
        properties::consensus(execution, &proposals, agreement, setting.last())
    })
}

fn terminating(setting: &Setting, late: bool, alter: Alter<Delivery<u64>>) -> Judged {
    let (sender, message) = (sender(setting), setting.value(sender(setting)));
    let start = |p| {
        let own = (p == sender).then_some(message);
        Altered {
            late,
            ..Altered::new(Terminating::new(setting.made_for(), p, sender, own), alter)
        }
    };
    let rounds = setting.last() + u64::from(late);
    Judged::of(
        setting,
        "terminating-in-rounds",
        rounds,
        start,
        |execution| judge_broadcast(setting, execution, &message),
    )
}

fn endless(setting: &Setting) -> Judged {
    let (sender, message) = (sender(setting), setting.value(sender(setting)));
    let start = |p| {
        let (own, f) = ((p == sender).then_some(message), setting.made_for());
        let algorithm = EarlyStopping::new(f, &setting.processes, p, sender, own);
        Altered {
            endless: true,
            ..Altered::new(algorithm, kept)
        }
    };
    Judged::of(
        setting,
        "early-stopping",
        setting.last(),
        start,
        |execution| properties::early_stopping(execution, setting.made_for()),
    )
}

/// A mutant, the name of its algorithm, and words of the verdict on the part of a property that it is made
/// for.
pub(super) struct Row {
    pub(super) of: &'static str,
    pub(super) shows: &'static str,
    pub(super) mutant: Mutant,
}

const fn row(
    of: &'static str,
    [name, change]: [&'static str; 2],
    [breaks, shows]: [&'static str; 2],
    judge: fn(&Setting) -> Judged,
) -> Row {
    Row {
        of,
        shows,
        mutant: Mutant {
            name,
            change,
            breaks,
            under: Failures::Crashes,
            judge,
        },
    }
}

const FLOOD_SET: &str = "flood-set";
const TERMINATING: &str = "terminating-in-rounds";

pub(super) static ALL: [Row; 11] = [
    row(
        FLOOD_SET,
        ["flood-set-stubborn", "7 is decided, whatever is proposed"],
        ["C1", "all propose"],
        |setting| flood_set(setting, false, |_, output| output.map(|_| 7)),
    ),
    row(
        FLOOD_SET,
        [
            "flood-set-inventing",
            "a value is decided that nobody proposed",
        ],
        ["C3", "nobody proposed"],
        |setting| flood_set(setting, false, |_, output| output.map(|value| value + 7)),
    ),
    row(
        FLOOD_SET,
        [
            "flood-set-hasty",
            "0 is decided in the first round, and the decision follows",
        ],
        ["C3", "[("],
        |setting| {
            flood_set(setting, false, |earlier, output| {
                output.or_else(|| earlier.is_empty().then_some(0))
            })
        },
    ),
    row(
        FLOOD_SET,
        ["flood-set-undecided", "no decision is told"],
        ["C4", "not at all"],
        |setting| flood_set(setting, false, none),
    ),
    row(
        FLOOD_SET,
        ["flood-set-late", "the decision is told a round late"],
        ["C4", "after round"],
        |setting| flood_set(setting, true, kept),
    ),
    row(
        TERMINATING,
        [
            "terminating-in-rounds-in-doubt",
            "the sender is said to be faulty",
        ],
        ["TRB1", "is correct"],
        |setting| {
            terminating(setting, false, |_, output| {
                output.map(|_| Delivery::SenderFaulty)
            })
        },
    ),
    row(
        TERMINATING,
        [
            "terminating-in-rounds-garbled",
            "another message is delivered",
        ],
        ["TRB3", "did not broadcast"],
        |setting| {
            terminating(setting, false, |_, output| {
                output.map(|delivery| match delivery {
                    Delivery::Message(message) => Delivery::Message(message + 7),
                    Delivery::SenderFaulty => Delivery::SenderFaulty,
                })
            })
        },
    ),
    row(
        TERMINATING,
        [
            "terminating-in-rounds-twice",
            "what was delivered is delivered again",
        ],
        ["TRB3", "[("],
        |setting| terminating(setting, false, twice),
    ),
    row(
        TERMINATING,
        ["terminating-in-rounds-silent", "nothing is delivered"],
        ["TRB4", "not at all"],
        |setting| terminating(setting, false, none),
    ),
    row(
        TERMINATING,
        [
            "terminating-in-rounds-late",
            "a delivery comes a round late",
        ],
        ["TRB4", "after round"],
        |setting| terminating(setting, true, kept),
    ),
    row(
        "early-stopping",
        [
            "early-stopping-endless",
            "it goes on to the last round, and does not halt",
        ],
        ["ES", "halts in round"],
        endless,
    ),
];
