//! Where operations return, everybody must be connected with everybody: no lattice agreement is promised at two processes
//! between which paths lead in one direction only.
//!
//! Four processes, and a pattern f that leaves some channels: p1 and p2 hear each other, p3 and p4 do, and p3 hears p1.
//! Nothing leads back, so that the two components are not one. Decisions are promised at p1 and p3, one of each:
//! τ(f) = {p1, p3}. Under f, three worlds:
//!
//! - **A**: p3 alone proposes x2.
//! - **B**: p1 alone proposes x1, later.
//! - **C**: p3 proposes x2 at the time of A, and p1 proposes x1 at that of B.
//!
//! # Why it breaks
//! If p3 decides in A, it decides x2: nobody else has proposed. It does so in C, too, because until then it cannot tell
//! the two worlds apart. If p1 decides in B, it decides x1. It does so in C, because no path leads to it from anybody
//! who has heard of x2: for the whole run it cannot tell C from B. But x1 and x2 are incomparable (LA1). So an algorithm
//! loses a decision (LA4) in A, or one in B, or it is unsafe in C. Which of these *horns* it is depends on its quorums
//! ([`Families`]): with quorums within each component both decide, and with quorums of one component only the process
//! of the other one waits for ever.
//!
//! The promise must be smaller: with τ(f) within one component nothing breaks ([`Shown::is_possible`]).
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646: Lemma 1, whose proof is in
//! appendix C.
use crate::{
    lower_bound::{PERIOD, PROCESSES, set, wire},
    named,
};
use quorate_abstractions::{
    lattice::{Bits, FourPoint, Lattice},
    lattice_agreement::Propose,
};
use quorate_core::{ProcessId, ProcessSet, Time, process::BadMembership};
use quorate_quorums::{Family, Quorums};
use quorate_sim::{
    Report, Svg, Timed, Trace, UNIT, Verdict, World, properties,
    trace::{Kind, Record},
};
use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

/// The channels that stay under f. The processes are named a … d, for p1 … p4.
const CORRECT: [(char, char); 5] = [('a', 'b'), ('b', 'a'), ('c', 'd'), ('d', 'c'), ('a', 'c')];

/// When p1 proposes. By then p3 has decided, if it ever does.
const LATER: u32 = 40;

/// No run lasts that long.
const NEVER: Time = Time::from_nanos(u64::MAX);

/// The quorums to use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Families {
    /// Of each component: some do not meet.
    OfEach,
    /// Of the first component, which nothing leads to.
    OfTheFirst,
    /// Of the second component, which nothing leads out of.
    OfTheSecond,
}

impl Families {
    /// All of them.
    pub const ALL: [Families; 3] = [
        Families::OfEach,
        Families::OfTheFirst,
        Families::OfTheSecond,
    ];

    fn quorums(self) -> Quorums {
        let sets = match self {
            Families::OfEach => vec![set("ab"), set("cd")],
            Families::OfTheFirst => vec![set("ab")],
            Families::OfTheSecond => vec![set("cd")],
        };
        Quorums {
            reads: Family::Sets(sets.clone()),
            writes: Family::Sets(sets),
        }
    }

    /// The horn that breaks where decisions are promised at p1 and p3.
    pub fn horn(self) -> Horn {
        match self {
            Families::OfEach => Horn::Safety,
            Families::OfTheFirst => Horn::LivenessInA,
            Families::OfTheSecond => Horn::LivenessInB,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Families::OfEach => "quorums {p1, p2} and {p3, p4}",
            Families::OfTheFirst => "the quorum {p1, p2}",
            Families::OfTheSecond => "the quorum {p3, p4}",
        })
    }
}

/// What is lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Horn {
    /// p3 never decides in A.
    LivenessInA,
    /// p1 never decides in B.
    LivenessInB,
    /// The decisions in C are incomparable.
    Safety,
}

impl fmt::Display for Horn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Horn::LivenessInA => "LA4 in world A",
            Horn::LivenessInB => "LA4 in world B",
            Horn::Safety => "LA1 in world C",
        })
    }
}

/// One of the three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Proposals {
    A,
    B,
    C,
}

impl Proposals {
    const ALL: [Proposals; 3] = [Proposals::A, Proposals::B, Proposals::C];

    /// Who proposes what, and when.
    fn made(self) -> Vec<(ProcessId, Time, FourPoint)> {
        let p3 = (set("c"), Time::ZERO, FourPoint::Right);
        let p1 = (set("a"), Time::ZERO + UNIT * LATER, FourPoint::Left);
        let made: &[_] = match self {
            Proposals::A => &[p3],
            Proposals::B => &[p1],
            Proposals::C => &[p3, p1],
        };
        let each = |(who, at, what): &(ProcessSet, Time, FourPoint)| {
            who.iter().map(|p| (p, *at, *what)).collect::<Vec<_>>()
        };
        made.iter().flat_map(each).collect()
    }
}

/// A world that was run.
#[derive(Debug)]
struct Ran {
    report: Report,
    trace: Trace,
}

/// Something that a process sees: a request of its user, or a message of somebody.
type Seen = (Option<ProcessId>, &'static str, u64);

impl Ran {
    fn new(
        families: Families,
        proposals: Proposals,
        promised: ProcessSet,
    ) -> Result<Self, BadMembership> {
        let world = World::new(PROCESSES, 1, Timed::lock_step())?;
        let mut world = world
            .keep_trace()
            .go_on_after_violation()
            .settle(PERIOD * 12);
        world.check(properties::lattice_agreement(
            "agreement",
            promised,
            Bits::joined,
        ));
        for p in world.processes() {
            let port = wire(&world, p, families.quorums());
            for (_, at, value) in proposals.made().into_iter().filter(|(who, ..)| *who == p) {
                let operation = 1;
                world.request(p, at, &port, Propose { operation, value });
            }
        }
        let stays: ProcessSet = world.membership().set();
        for from in stays.iter() {
            for to in stays.iter() {
                let is_correct = CORRECT.iter().any(|(one, other)| {
                    set(&one.to_string()).contains(from) && set(&other.to_string()).contains(to)
                });
                if from != to && !is_correct {
                    world.disconnect((from, to), Time::ZERO);
                }
            }
        }
        let report = world.run();
        let trace = world.trace();
        Ok(Ran { report, trace })
    }

    /// What this process sees, without times, up to its decision; all that it sees by this time if it does not decide.
    fn view(&self, p: ProcessId, end: Time) -> Vec<Seen> {
        let records = self
            .trace
            .records()
            .iter()
            .filter(|record| record.process == p);
        let until = records.take_while(|record| record.time < end && !is_decision(record));
        let seen = until.filter_map(|record| match &record.kind {
            Kind::Receive {
                from,
                label,
                digest,
                ..
            } => Some((Some(*from), *label, *digest)),
            kind => kind
                .request()
                .map(|request| (None, request.label, request.digest)),
        });
        seen.collect()
    }

    /// What this process decides.
    fn decision(&self, p: ProcessId) -> Option<u64> {
        let mut records = self.trace.records().iter();
        let decision = records.find(|record| record.process == p && is_decision(record))?;
        decision.kind.indication().map(|it| it.digest)
    }
}

fn is_decision(record: &Record) -> bool {
    record
        .kind
        .indication()
        .is_some_and(|it| it.label == "Decide")
}

/// The value with this digest, as the proof calls it.
fn value(digest: u64) -> String {
    let mut both = FourPoint::Left;
    both.join(&FourPoint::Right);
    let known = [
        (FourPoint::Left, "x1"),
        (FourPoint::Right, "x2"),
        (both, "x1 and x2"),
    ];
    let name = known.iter().find(|(value, _)| value.digest() == digest);
    name.map_or_else(|| format!("{digest}"), |(_, name)| (*name).to_owned())
}

/// The three worlds with these quorums.
#[derive(Debug)]
struct Worlds(BTreeMap<Proposals, Ran>);

impl Worlds {
    fn new(families: Families, promised: ProcessSet) -> Result<Self, BadMembership> {
        let ran = |world| Ok((world, Ran::new(families, world, promised)?));
        let worlds: Result<_, BadMembership> = Proposals::ALL.into_iter().map(ran).collect();
        Ok(Worlds(worlds?))
    }

    fn violates(&self, world: Proposals, tag: &str) -> bool {
        matches!(
            self.0[&world].report.verdict(tag),
            Some(Verdict::Violated(_))
        )
    }

    fn broken(&self) -> Vec<Horn> {
        let horns = [
            (Horn::LivenessInA, Proposals::A, "LA4"),
            (Horn::LivenessInB, Proposals::B, "LA4"),
            (Horn::Safety, Proposals::C, "LA1"),
        ];
        let broken = horns
            .into_iter()
            .filter(|(_, world, tag)| self.violates(*world, tag));
        broken.map(|(horn, ..)| horn).collect()
    }

    /// Whether p1 sees the same in B and C, up to its decision if it decides, and p3 in A and C, up to its decision or
    /// until p1 proposes.
    fn cannot_tell(&self) -> bool {
        let same = |p: ProcessSet, world, end| {
            let views = |p| [world, Proposals::C].map(|world| self.0[&world].view(p, end));
            p.iter().map(views).all(|[one, other]| one == other)
        };
        same(set("a"), Proposals::B, NEVER)
            && same(set("c"), Proposals::A, Time::ZERO + UNIT * LATER)
    }
}

/// The worlds with each choice of quorums.
#[derive(Debug)]
pub struct Shown {
    worlds: BTreeMap<Families, Worlds>,
    /// The same with the last quorums, where decisions are promised at p3 and p4 alone.
    possible: Worlds,
}

/// Runs the three worlds with each choice of quorums.
///
/// # Errors
/// Never, because there is a membership of four.
pub fn show() -> Result<Shown, BadMembership> {
    let ran = |families| Ok((families, Worlds::new(families, set("ac"))?));
    let worlds: Result<_, BadMembership> = Families::ALL.into_iter().map(ran).collect();
    Ok(Shown {
        worlds: worlds?,
        possible: Worlds::new(Families::OfTheSecond, set("cd"))?,
    })
}

impl Shown {
    /// The horns that break with these quorums.
    pub fn broken(&self, families: Families) -> Vec<Horn> {
        self.worlds[&families].broken()
    }

    /// Whether p1 sees the same in B and C, and p3 in A and C, as far as it matters.
    pub fn cannot_tell(&self, families: Families) -> bool {
        self.worlds[&families].cannot_tell()
    }

    /// Whether everything holds where decisions are promised within one component alone, whose quorums are used.
    pub fn is_possible(&self) -> bool {
        self.possible.0.values().all(|ran| ran.report.all_hold())
    }

    /// How it differs from what the lemma states.
    pub fn unexpected(&self) -> Vec<String> {
        let mut unexpected = Vec::new();
        for families in Families::ALL {
            let (broken, horn) = (self.broken(families), families.horn());
            if broken != [horn] {
                unexpected.push(format!(
                    "{families}: broken is {}, not {horn} alone",
                    named(broken)
                ));
            }
            if !self.cannot_tell(families) {
                unexpected.push(format!("{families}: somebody can tell the worlds apart"));
            }
        }
        if !self.is_possible() {
            unexpected
                .push("something breaks where the promise is within one component".to_owned());
        }
        unexpected
    }

    /// What is decided in each world, and which horns broke.
    pub fn text(&self) -> String {
        let mut text = "Lattice agreement under f: p1 and p2 hear each other, p3 and p4 do, and p3 hears p1.\n\
                        Decisions are promised at p1 and p3, between which paths lead in one direction only.\n"
            .to_owned();
        for (families, worlds) in &self.worlds {
            let _ = writeln!(text, "\n{families}");
            for (world, ran) in &worlds.0 {
                let says = |(p, _, proposal): (ProcessId, Time, FourPoint)| {
                    let decides = match ran.decision(p) {
                        Some(digest) => format!("decides {}", value(digest)),
                        None => "never decides".to_owned(),
                    };
                    format!("{p} proposes {} and {decides}", value(proposal.digest()))
                };
                let says: Vec<_> = world.made().into_iter().map(says).collect();
                let _ = writeln!(text, "  world {world:?}: {}", says.join(", then "));
            }
            if worlds.cannot_tell() {
                text.push_str(
                    "  p1 sees the same in B and C, and p3 in A and C until it decides or p1 proposes\n",
                );
            }
            let _ = writeln!(text, "  broken: {}", named(worlds.broken()));
        }
        let holds = if self.is_possible() {
            "everything holds"
        } else {
            "something breaks"
        };
        let _ = writeln!(
            text,
            "\nWhere decisions are promised at p3 and p4 alone, with {}: {holds} in all three worlds.",
            Families::OfTheSecond
        );
        text
    }

    /// World C with quorums of each component, as a picture.
    pub fn svg(&self) -> String {
        let ran = &self.worlds[&Families::OfEach].0[&Proposals::C];
        let verdict = match ran.report.violation() {
            Some(violation) => format!("{} is broken: {}.", violation.tag, violation.text),
            None => "Nothing is broken.".to_owned(),
        };
        let title = "World C: p3 decides, and then p1, which nothing leads to from p3 or p4";
        let svg = Svg::default().title(title.to_owned()).note(verdict);
        svg.draw(&ran.trace, PROCESSES)
    }
}

#[cfg(test)]
mod tests;
