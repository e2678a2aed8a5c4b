//! The algorithms of synchronous rounds, and what runs them: in lock step, under crashes or omissions that are
//! drawn from a seed, or under every pattern of crashes.
mod altered;

use crate::{
    algorithm::{Dead, Kind, Property},
    algorithms::clause,
    handles::{Handle, builder},
};
use quorate_core::{Membership, ProcessId, ProcessSet, Random};
use quorate_rounds::{
    algorithm::RoundAlgorithm,
    early_stopping::{self, EarlyStopping},
    execution::{Execution, run},
    failures::{OmissionKind, Pattern},
    flood_set::{self, FloodSet},
    grid::Grid,
    one_round::OneRound,
    properties::{self, Agreement, Broken, Delivery},
    terminating::Terminating,
};
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, fmt::Write, str::FromStr};

/// An algorithm of rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    /// The name by which commands know it.
    pub name: &'static str,
    /// Other names by which commands know it.
    pub aliases: &'static [&'static str],
    /// The abstraction that it implements.
    pub abstraction: &'static str,
    pub file: &'static str,
    /// The node's method for it, over sockets in a synchronous system, or the reason why there is none.
    #[serde(skip)]
    pub handle: Handle,
    /// The failures under which its properties are judged: crashes, and maybe omissions.
    pub survives: &'static str,
    pub properties: &'static [Property],
    /// When it is over, in words.
    pub rounds: &'static str,
    /// The messages to others, failure-free, where f ≥ 1.
    pub messages: &'static str,
    /// Its exact costs, by circumstances.
    pub costs: &'static [Cost],
    pub mutants: &'static [Mutant],
    #[serde(skip)]
    judge: fn(&Setting) -> Judged,
}

/// A formula in n and f, as text and as a function.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Formula {
    pub text: &'static str,
    #[serde(skip)]
    pub value: fn(n: u64, f: u64) -> u64,
}

const fn formula(text: &'static str, value: fn(u64, u64) -> u64) -> Formula {
    Formula { text, value }
}

/// The exact cost of one instance. Messages of a process to itself are not counted; messages to crashed
/// processes are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// The circumstances, in words.
    pub when: &'static str,
    pub messages: Formula,
    /// The round in which the last correct process decides or delivers.
    pub outputs: Formula,
    /// The round in which the last correct process halts.
    pub halts: Formula,
    /// Whether these are the circumstances with so many processes and failures.
    #[serde(skip)]
    pub applies: fn(n: u64, f: u64) -> bool,
    /// What the processes propose.
    #[serde(skip)]
    values: fn(rank: u64) -> u64,
    /// The process that is dead from the start: the first or the last.
    #[serde(skip)]
    dead: Option<Dead>,
}

/// An algorithm of rounds with one rule changed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mutant {
    pub name: &'static str,
    pub change: &'static str,
    /// The property that it breaks.
    pub breaks: &'static str,
    /// The failures under which the violation shows.
    #[serde(skip)]
    pub under: Failures,
    #[serde(skip)]
    judge: fn(&Setting) -> Judged,
}

/// One run: who proposes or broadcasts what, and what fails.
#[derive(Clone, Debug)]
pub struct Setting {
    pub processes: Membership,
    /// How many failures the algorithm is made for.
    pub f: usize,
    /// After how many rounds it decides, if not after as many as it should.
    pub rounds: Option<u64>,
    pub pattern: Pattern,
    /// The proposal of each process, in rank order. The first is the message of a broadcast of p1.
    pub values: Vec<u64>,
}

/// What came of a run.
pub struct Judged {
    pub broken: Vec<Broken>,
    pub grid: Grid,
    /// How many messages left a process for another.
    pub sent: u64,
    pub rounds: u64,
    /// The last round in which a correct process gave an output.
    pub outputs: Option<u64>,
}

impl Judged {
    fn of<A: RoundAlgorithm>(
        setting: &Setting,
        name: &str,
        rounds: u64,
        start: impl FnMut(ProcessId) -> A,
        check: impl FnOnce(&Execution<A::Message, A::Output>) -> Vec<Broken>,
    ) -> Judged {
        let execution = run(&setting.processes, &setting.pattern, rounds, start);
        let values: Vec<_> = setting.values.iter().map(u64::to_string).collect();
        let correct = execution.correct().iter();
        let outputs = correct
            .filter_map(|p| execution.output(p))
            .map(|(round, _)| *round);
        let title = format!("{name}, values {}: {}", values.join(" "), setting.pattern);
        Judged {
            broken: check(&execution),
            grid: Grid::new(&title, &execution),
            sent: execution.sent(),
            rounds: execution.rounds,
            outputs: outputs.max(),
        }
    }
}

impl Setting {
    fn value(&self, p: ProcessId) -> u64 {
        self.values.get(p.index()).copied().unwrap_or_default()
    }

    fn proposals(&self) -> BTreeMap<ProcessId, u64> {
        let processes = self.processes.iter();
        processes.map(|p| (p, self.value(p))).collect()
    }

    /// The round after which it decides.
    fn last(&self) -> u64 {
        self.rounds.unwrap_or(self.f as u64 + 1)
    }

    /// The f of an algorithm that decides after the rounds that were asked for.
    fn made_for(&self) -> usize {
        self.last().saturating_sub(1) as usize
    }

    /// Agreement is demanded of the faulty, too, where they only crash.
    fn agreement(&self) -> Agreement {
        if self.pattern.omissions.is_empty() {
            Agreement::Uniform
        } else {
            Agreement::Regular
        }
    }
}

fn judge_one_round(setting: &Setting) -> Judged {
    let start = |p| OneRound::new(setting.value(p));
    Judged::of(setting, "one-round", 1, start, |execution| {
        properties::consensus(execution, &setting.proposals(), setting.agreement(), 1)
    })
}

fn judge_flood_set(setting: &Setting, mutant: Option<flood_set::Mutant>) -> Judged {
    let start = |p| {
        let algorithm = FloodSet::new(setting.made_for(), setting.value(p));
        match mutant {
            Some(mutant) => algorithm.mutant(mutant),
            None => algorithm,
        }
    };
    Judged::of(setting, "flood-set", setting.last(), start, |execution| {
        let (proposals, agreement) = (setting.proposals(), setting.agreement());
        properties::consensus(execution, &proposals, agreement, setting.last())
    })
}

/// The sender is p1.
fn sender(setting: &Setting) -> ProcessId {
    setting.processes.coordinator(1)
}

fn judge_broadcast<M, V>(
    setting: &Setting,
    execution: &Execution<M, Delivery<V>>,
    message: &V,
) -> Vec<Broken>
where
    V: Clone + Ord + fmt::Debug,
{
    let regular = Agreement::Regular;
    properties::terminating(
        execution,
        sender(setting),
        Some(message),
        regular,
        setting.last(),
    )
}

fn judge_terminating(setting: &Setting) -> Judged {
    let (sender, message) = (sender(setting), setting.value(sender(setting)));
    let start = |p| {
        let message = (p == sender).then_some(message);
        Terminating::new(setting.made_for(), p, sender, message)
    };
    let name = "terminating-in-rounds";
    Judged::of(setting, name, setting.last(), start, |execution| {
        judge_broadcast(setting, execution, &message)
    })
}

fn judge_early_stopping(setting: &Setting, mutant: Option<early_stopping::Mutant>) -> Judged {
    let (sender, message) = (sender(setting), setting.value(sender(setting)));
    let start = |p| {
        let (own, f) = ((p == sender).then_some(message), setting.made_for());
        let algorithm = EarlyStopping::new(f, &setting.processes, p, sender, own);
        match mutant {
            Some(mutant) => algorithm.mutant(mutant),
            None => algorithm,
        }
    };
    Judged::of(
        setting,
        "early-stopping",
        setting.last(),
        start,
        |execution| {
            let mut broken = judge_broadcast(setting, execution, &message);
            if setting.pattern.omissions.is_empty() {
                broken.extend(properties::early_stopping(execution, setting.made_for()));
            }
            broken
        },
    )
}

/// In rounds every property is safety: its bound is a round.
const fn property(tag: &'static str, says: &'static str) -> Property {
    Property {
        tag,
        kind: Kind::Safety,
        says,
        clauses: &[],
    }
}

const CONSENSUS: [Property; 4] = [
    property(
        "C1",
        "unanimity: if all propose v, nobody decides anything else",
    )
    .of(&[clause(
        "if all propose the same, no correct process decides anything else",
        "all propose",
    )]),
    property(
        "C2",
        "uniform agreement: no two processes decide differently",
    )
    .of(&[clause("no two processes decide differently", "")]),
    property("C3", "integrity: at most one decision, of a proposed value").of(&[
        clause("what is decided was proposed", "nobody proposed"),
        clause("no process decides twice", " ["),
    ]),
    property(
        "C4",
        "termination: every correct process decides by the last round",
    )
    .of(&[
        clause("every correct process decides", "not at all"),
        clause("by the last round", "after round"),
    ]),
];

const BROADCAST: [Property; 4] = [
    property(
        "TRB1",
        "validity: the message of a correct sender is delivered by all correct processes",
    )
    .of(&[clause(
        "the message of a correct sender is delivered, not that it is faulty",
        "is correct",
    )]),
    property(
        "TRB2",
        "agreement: no two correct processes deliver differently",
    )
    .of(&[clause("no two correct processes deliver differently", "")]),
    property(
        "TRB3",
        "integrity: at most one delivery, of the sender's message or that it is faulty",
    )
    .of(&[
        clause(
            "what is delivered was broadcast by the sender",
            "did not broadcast",
        ),
        clause("no process delivers twice", " ["),
    ]),
    property(
        "TRB4",
        "termination: every correct process delivers by the last round",
    )
    .of(&[
        clause("every correct process delivers", "not at all"),
        clause("by the last round", "after round"),
    ]),
];

const EARLY: [Property; 5] = [
    BROADCAST[0],
    BROADCAST[1],
    BROADCAST[2],
    BROADCAST[3],
    property(
        "ES",
        "with t failures, delivery by round min(t+1, f+1) and halt by round min(t+2, f+1)",
    )
    .of(&[
        clause(
            "with t failures, delivery by round min(t+1, f+1)",
            "delivers in round",
        ),
        clause("and halt by round min(t+2, f+1)", "halts in round"),
    ]),
];

/// All propose the same, or p1 broadcasts.
const fn alike(_: u64) -> u64 {
    1
}

/// There are two values, with p1 or without it.
const fn apart(rank: u64) -> u64 {
    rank % 2
}

/// Nothing fails.
const FREE: Cost = Cost {
    when: "failure-free",
    messages: formula("n(n−1)", |n, _| n * (n - 1)),
    outputs: formula("1", |_, _| 1),
    halts: formula("1", |_, _| 1),
    applies: |_, _| true,
    values: apart,
    dead: None,
};

const fn in_last_round(text: &'static str) -> Formula {
    formula(text, |_, f| f + 1)
}

const FLOOD_SET: [Cost; 5] = [
    Cost {
        when: "failure-free, f = 0",
        applies: |_, f| f == 0,
        ..FREE
    },
    Cost {
        when: "failure-free, all propose the same, f ≥ 1",
        outputs: in_last_round("f+1"),
        halts: in_last_round("f+1"),
        applies: |_, f| f >= 1,
        values: alike,
        ..FREE
    },
    Cost {
        when: "failure-free, proposals differ, f ≥ 1",
        messages: formula("2n(n−1)", |n, _| 2 * n * (n - 1)),
        outputs: in_last_round("f+1"),
        halts: in_last_round("f+1"),
        applies: |_, f| f >= 1,
        ..FREE
    },
    Cost {
        when: "p1 dead, all propose the same, f ≥ 1",
        messages: formula("(n−1)²", |n, _| (n - 1).pow(2)),
        outputs: in_last_round("f+1"),
        halts: in_last_round("f+1"),
        applies: |n, f| n >= 3 && f >= 1,
        values: alike,
        dead: Some(Dead::First),
    },
    Cost {
        when: "p1 dead, proposals differ, f ≥ 1",
        messages: formula("2(n−1)²", |n, _| 2 * (n - 1).pow(2)),
        outputs: in_last_round("f+1"),
        halts: in_last_round("f+1"),
        applies: |n, f| n >= 3 && f >= 1,
        values: apart,
        dead: Some(Dead::First),
    },
];

const TERMINATING: [Cost; 4] = [
    Cost {
        when: "failure-free, f = 0",
        messages: formula("n−1", |n, _| n - 1),
        applies: |_, f| f == 0,
        ..FREE
    },
    Cost {
        when: "failure-free, f ≥ 1",
        halts: formula("2", |_, _| 2),
        applies: |_, f| f >= 1,
        ..FREE
    },
    Cost {
        when: "the sender dead, f ≥ 1",
        messages: formula("0", |_, _| 0),
        outputs: in_last_round("f+1"),
        halts: in_last_round("f+1"),
        applies: |n, f| n >= 2 && f >= 1,
        dead: Some(Dead::First),
        ..FREE
    },
    Cost {
        when: "another process dead, f ≥ 1",
        messages: formula("(n−1)²", |n, _| (n - 1).pow(2)),
        halts: formula("2", |_, _| 2),
        applies: |n, f| n >= 2 && f >= 1,
        dead: Some(Dead::Last),
        ..FREE
    },
];

const EARLY_STOPPING: [Cost; 4] = [
    Cost {
        when: "failure-free, f = 0",
        applies: |_, f| f == 0,
        ..FREE
    },
    Cost {
        when: "failure-free, f ≥ 1",
        messages: formula("2n(n−1)", |n, _| 2 * n * (n - 1)),
        halts: formula("2", |_, _| 2),
        applies: |_, f| f >= 1,
        ..FREE
    },
    Cost {
        when: "the sender dead, f = 1",
        messages: formula("2(n−1)²", |n, _| 2 * (n - 1).pow(2)),
        outputs: formula("2", |_, _| 2),
        halts: formula("2", |_, _| 2),
        applies: |n, f| n >= 2 && f == 1,
        dead: Some(Dead::First),
        ..FREE
    },
    Cost {
        when: "the sender dead, f ≥ 2",
        messages: formula("3(n−1)²", |n, _| 3 * (n - 1).pow(2)),
        outputs: formula("2", |_, _| 2),
        halts: formula("3", |_, _| 3),
        applies: |n, f| n >= 2 && f >= 2,
        dead: Some(Dead::First),
        ..FREE
    },
];

/// All of them.
pub static ENTRIES: [Entry; 4] = [
    Entry {
        name: "one-round",
        aliases: &[],
        abstraction: "consensus, while nothing fails",
        file: "crates/rounds/src/one_round.rs",
        handle: Handle::Simulated {
            why: "it is the baseline that breaks; `Builder::consensus_in_rounds` is the one to deploy",
        },
        survives: "no failure",
        properties: &CONSENSUS,
        rounds: "1",
        messages: "n(n−1)",
        costs: &[FREE],
        mutants: &[],
        judge: judge_one_round,
    },
    Entry {
        name: "flood-set",
        aliases: &["floodset"],
        abstraction: "uniform consensus",
        file: "crates/rounds/src/flood_set.rs",
        handle: builder("consensus_in_rounds"),
        survives: "f < n crashes; no disagreement is known under omissions",
        properties: &CONSENSUS,
        rounds: "f+1",
        messages: "n(n−1), or 2n(n−1) if proposals differ",
        costs: &FLOOD_SET,
        mutants: &[
            Mutant {
                name: "flood-set-one-round-less",
                change: "it decides after f rounds",
                breaks: "C2",
                under: Failures::Crashes,
                judge: |setting| judge_flood_set(setting, Some(flood_set::Mutant::OneRoundLess)),
            },
            Mutant {
                name: "flood-set-sends-again",
                change: "it sends all that it knows in every round (breaks under omissions)",
                breaks: "C2",
                under: Failures::Omissions(OmissionKind::Send),
                judge: |setting| judge_flood_set(setting, Some(flood_set::Mutant::SendsAgain)),
            },
        ],
        judge: |setting| judge_flood_set(setting, None),
    },
    Entry {
        name: "terminating-in-rounds",
        aliases: &["trb-in-rounds"],
        abstraction: "terminating reliable broadcast",
        file: "crates/rounds/src/terminating.rs",
        handle: Handle::Simulated {
            why: "`Builder::terminating_in_rounds` promises the same, and stops early",
        },
        survives: "f < n crashes",
        properties: &BROADCAST,
        rounds: "f+1; 2 if nothing fails",
        messages: "n(n−1)",
        costs: &TERMINATING,
        mutants: &[],
        judge: judge_terminating,
    },
    Entry {
        name: "early-stopping",
        aliases: &[],
        abstraction: "terminating reliable broadcast, early stopping",
        file: "crates/rounds/src/early_stopping.rs",
        handle: builder("terminating_in_rounds"),
        survives: "f < n crashes or send omissions",
        properties: &EARLY,
        rounds: "min(t+2, f+1) with t failures",
        messages: "2n(n−1)",
        costs: &EARLY_STOPPING,
        mutants: &[
            Mutant {
                name: "early-stopping-says-it-again",
                change: "the sender says its message again after its own delivery (breaks under omissions)",
                breaks: "TRB2",
                under: Failures::Omissions(OmissionKind::Send),
                judge: |setting| {
                    judge_early_stopping(setting, Some(early_stopping::Mutant::SenderSaysItAgain))
                },
            },
            Mutant {
                name: "early-stopping-silent",
                change: "what was delivered is not passed on",
                breaks: "TRB2",
                under: Failures::Crashes,
                judge: |setting| {
                    judge_early_stopping(setting, Some(early_stopping::Mutant::Silent))
                },
            },
            Mutant {
                name: "early-stopping-stops-late",
                change: "without news it waits for round f + 1",
                breaks: "ES",
                under: Failures::Crashes,
                judge: |setting| {
                    judge_early_stopping(setting, Some(early_stopping::Mutant::StopsLate))
                },
            },
        ],
        judge: |setting| judge_early_stopping(setting, None),
    },
];

impl Entry {
    /// Whether commands know it by this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    fn tags(&self) -> String {
        let tags: Vec<_> = self
            .properties
            .iter()
            .map(|property| property.tag)
            .collect();
        tags.join(" ")
    }

    /// Whether it is made for runs without failures alone.
    pub fn is_baseline(&self) -> bool {
        self.survives == "no failure"
    }

    /// How it is reached over sockets, in words.
    pub fn reached(&self) -> String {
        self.handle.reached(self.name)
    }

    /// Runs it in the circumstances of this cost, which must apply to so many processes and failures.
    pub fn pay(&self, cost: &Cost, processes: Membership, f: usize) -> Judged {
        let dead = cost.dead.map(|which| match which {
            Dead::First => processes.coordinator(1),
            Dead::Last => processes.coordinator(processes.n() as u64),
        });
        let pattern = dead.map_or_else(Pattern::failure_free, |p| {
            Pattern::failure_free().crash(p, 1, ProcessSet::EMPTY)
        });
        let values = processes.iter().map(|p| (cost.values)(p.rank() as u64));
        (self.judge)(&Setting {
            processes,
            f,
            rounds: None,
            pattern,
            values: values.collect(),
        })
    }
}

/// Every mutant, with its algorithm: those with a rule changed, and those whose outputs are altered.
pub fn mutants() -> impl Iterator<Item = (&'static Entry, &'static Mutant)> {
    let changed = ENTRIES
        .iter()
        .flat_map(|entry| entry.mutants.iter().map(move |mutant| (entry, mutant)));
    let altered = altered::ALL.iter().filter_map(|row| {
        let entry = ENTRIES.iter().find(|entry| entry.name == row.of)?;
        Some((entry, &row.mutant))
    });
    changed.chain(altered)
}

/// Words of the checker's verdict on the part of a property that the mutant of this name is made for, if it is
/// made for one.
pub(crate) fn shows(mutant: &str) -> Option<&'static str> {
    let row = altered::ALL.iter().find(|row| row.mutant.name == mutant);
    row.map(|row| row.shows)
}

/// A list of algorithms of rounds, one per line.
pub fn list(entries: &[Entry]) -> String {
    let head = ["name", "abstraction", "rounds", "messages", "properties"].map(str::to_owned);
    let rows = entries.iter().map(|entry| {
        let [name, abstraction] = [entry.name, entry.abstraction].map(str::to_owned);
        let [rounds, messages] = [entry.rounds, entry.messages].map(str::to_owned);
        [name, abstraction, rounds, messages, entry.tags()]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..5)
        .filter_map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One algorithm of rounds in full.
pub fn describe(entry: &Entry) -> String {
    let mut text = format!("{} — {}\n", entry.name, entry.abstraction);
    for (name, value) in [
        ("survives", entry.survives),
        ("rounds", entry.rounds),
        ("messages", entry.messages),
    ] {
        let _ = writeln!(text, "  {name:<10} {value}");
    }
    for cost in entry.costs {
        let (messages, outputs, halts) = (cost.messages.text, cost.outputs.text, cost.halts.text);
        let rounds = format!("the last output in round {outputs}, halt in round {halts}");
        let _ = writeln!(
            text,
            "  {:<10} {}: {messages} messages, {rounds}",
            "cost", cost.when
        );
    }
    let _ = writeln!(text, "  {:<10} {}", "handle", entry.reached());
    let _ = writeln!(text, "  {:<10} {}", "file", entry.file);
    for property in entry.properties {
        let _ = writeln!(text, "  {:<10} {}", property.tag, property.says);
    }
    for mutant in entry.mutants {
        let Mutant {
            name,
            change,
            breaks,
            ..
        } = mutant;
        let _ = writeln!(text, "  mutant     {name}: {change} ({breaks})");
    }
    text
}

/// An algorithm of rounds, or a mutant of one.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub entry: &'static Entry,
    pub mutant: Option<&'static Mutant>,
}

/// No algorithm of rounds has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no algorithm of rounds `{0}`")]
pub struct Unknown(String);

impl FromStr for Subject {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        for entry in &ENTRIES {
            if entry.is_called(name) {
                let mutant = None;
                return Ok(Subject { entry, mutant });
            }
        }
        if let Some((entry, mutant)) = mutants().find(|(_, mutant)| mutant.name == name) {
            let mutant = Some(mutant);
            return Ok(Subject { entry, mutant });
        }
        Err(Unknown(name.to_owned()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mutant.map_or(self.entry.name, |mutant| mutant.name))
    }
}

/// What fails in the runs of a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failures {
    /// Up to f processes crash, at random.
    Crashes,
    /// f processes omit messages of this kind, at random.
    Omissions(OmissionKind),
}

/// Runs of an algorithm.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub subject: Subject,
    pub processes: Membership,
    pub f: usize,
    pub rounds: Option<u64>,
    pub failures: Failures,
}

impl Scenario {
    fn judge(&self, pattern: Pattern, values: Vec<u64>) -> Judged {
        let setting = Setting {
            processes: self.processes,
            f: self.f,
            rounds: self.rounds,
            pattern,
            values,
        };
        let Subject { entry, mutant } = self.subject;
        mutant.map_or(entry.judge, |mutant| mutant.judge)(&setting)
    }

    /// The run of a seed: proposals of 0 to 2, and failures, are drawn from it.
    pub fn run(&self, seed: u64) -> Judged {
        let mut rng = Random::seed_from_u64(seed);
        let values = self
            .processes
            .iter()
            .map(|_| rng.random_range(0..3))
            .collect();
        let (processes, rounds) = (&self.processes, self.f as u64 + 1);
        let pattern = match self.failures {
            Failures::Crashes => Pattern::random_crashes(processes, self.f, rounds, &mut rng),
            Failures::Omissions(kind) => {
                Pattern::random_omissions(processes, self.f, rounds, kind, &mut rng)
            }
        };
        self.judge(pattern, values)
    }

    /// Every pattern of up to f crashes, with all proposals of 0 and 1: how many runs there are, and the first
    /// that breaks something.
    pub fn exhaust(&self) -> (u64, Option<Judged>) {
        let (mut runs, mut first) = (0, None);
        for judged in self.all() {
            runs += 1;
            if !judged.broken.is_empty() && first.is_none() {
                first = Some(judged);
            }
        }
        (runs, first)
    }

    /// The first violation, and after how many runs it was found: of every pattern of crashes, or of so many
    /// seeds where messages are omitted.
    pub fn hunt(&self, seeds: u64) -> Option<(u64, Judged)> {
        let runs: Box<dyn Iterator<Item = Judged> + '_> = match self.failures {
            Failures::Crashes => Box::new(self.all()),
            Failures::Omissions(_) => Box::new((0..seeds).map(|seed| self.run(seed))),
        };
        let mut counted = (1..).zip(runs);
        counted.find(|(_, judged)| !judged.broken.is_empty())
    }

    /// A run of every pattern of up to f crashes, with all proposals of 0 and 1.
    fn all(&self) -> impl Iterator<Item = Judged> + '_ {
        let n = self.processes.n();
        let patterns = Pattern::all_crashes(&self.processes, self.f, self.f as u64 + 1);
        (0..1_u64 << n).flat_map(move |choice| {
            let values: Vec<u64> = (0..n).map(|place| choice >> place & 1).collect();
            let patterns = patterns.clone().into_iter();
            patterns.map(move |pattern| self.judge(pattern, values.clone()))
        })
    }
}

#[cfg(test)]
mod tests;
