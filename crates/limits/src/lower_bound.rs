//! No quorums, no shared objects: under a fail-prone system that has no generalized quorum system, lattice
//! agreement loses safety or liveness, and so does every object from which it can be built.
//!
//! The system is the example of the paper on generalized quorum systems, of processes a … d, which are
//! p1 … p4, with one more channel failure in its first pattern:
//!
//! | pattern | crashes | channels that stay | write quorum | read quorum |
//! |---|---|---|---|---|
//! | f | d | b → a, c → a | {a} | {a, b, c} |
//! | g | a | b → c, c → b, d → b | {b, c} | {b, c, d} |
//! | the third | b | c → d, d → c, a → c | {c, d} | {a, c, d} |
//! | the fourth | c | d → a, a → d, b → d | {d, a} | {a, b, d} |
//!
//! The quorums are the canonical ones: a strongly connected component, and all processes that reach it. The
//! write quorum of f and the read quorum of g have no process in common.
//!
//! # Why it breaks
//! With these quorums calls return under f and under g. Under f, a proposes and decides alone: it hears of b
//! and c only their own states, because no process hears of a. Under g, b proposes and decides without a. So
//! no process needs to fail: if only the messages of a take long, both happen in one run, and neither
//! decision includes the other's proposal (LA1). With quorums that do meet, a call under f waits for ever
//! (LA4).
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646: the lower bound
//! for lattice agreement.
use quorate_abstractions::{
    flooding, lattice::FourPoint, lattice_agreement::Propose, link, link::Links, quorum_access,
    snapshot,
};
use quorate_core::{Addr, Host, ProcessId, ProcessSet, Random, Time, process::BadMembership};
use quorate_quorums::{Family, Quorums, flooding::direct, generalized};
use quorate_registers::{
    lattice_agreement::{self, Mode},
    segments::Vector,
    snapshot_by_quorum_access,
};
use quorate_sim::{
    Adversary, Crash, Diagram, Report, Svg, Trace, Transmission, UNIT, World, properties,
};
use std::time::Duration;

/// How many processes there are: a … d.
pub(crate) const PROCESSES: usize = 4;

/// The period at which the states are pushed.
pub(crate) const PERIOD: Duration = Duration::from_millis(4);

/// The latency of slow messages of a: no process waits that long.
const LONG: Duration = Duration::from_millis(200);

/// How many copies of a are slow: all until both have decided.
const SLOW: u32 = 150;

/// When b proposes in the run in which both do. By then a has decided.
const LATER: Duration = Duration::from_millis(30);

/// The quorums to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    /// The canonical ones: available under each pattern, but two of them do not meet.
    Inconsistent,
    /// Those of the example without the additional failure: all meet, but none is available under f.
    Unavailable,
}

/// The failures and proposals of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Events {
    /// The failures of f, from the start; a proposes.
    F,
    /// The failures of g, from the start; b proposes.
    G,
    /// Nothing fails, and the messages of a take long; a proposes, and then b.
    Merged,
}

/// The result of a run.
#[derive(Debug)]
pub struct Shown {
    /// The verdicts.
    pub report: Report,
    /// The quorums and events of the run.
    pub of: (Families, Events),
    trace: Trace,
}

/// The process with this letter.
fn letter(letter: char) -> Option<ProcessId> {
    let index = "abcd".find(letter)?;
    ProcessId::from_rank(index + 1)
}

/// The processes with these letters.
pub(crate) fn set(letters: &str) -> ProcessSet {
    letters.chars().filter_map(letter).collect()
}

fn sets(all: [&str; 4]) -> Family {
    Family::Sets(all.into_iter().map(set).collect())
}

impl Families {
    /// The quorums.
    pub fn quorums(self) -> Quorums {
        match self {
            Families::Inconsistent => Quorums {
                reads: sets(["abc", "bcd", "acd", "abd"]),
                writes: sets(["a", "bc", "cd", "da"]),
            },
            Families::Unavailable => Quorums {
                reads: Family::Sets(vec![set("ac"), set("bd")]),
                writes: sets(["ab", "bc", "cd", "da"]),
            },
        }
    }

    fn says(self) -> &'static str {
        match self {
            Families::Inconsistent => "quorums that do not all meet",
            Families::Unavailable => "quorums that all meet",
        }
    }
}

impl Events {
    /// The processes that crash, and the channels between the others that do not fail.
    fn failures(self) -> Option<(&'static str, &'static [(char, char)])> {
        match self {
            Events::F => Some(("d", &[('b', 'a'), ('c', 'a')])),
            Events::G => Some(("a", &[('b', 'c'), ('c', 'b'), ('d', 'b')])),
            Events::Merged => None,
        }
    }

    /// The processes at which decisions are promised, if the quorums are available.
    fn returning(self) -> ProcessSet {
        match self {
            Events::F => set("a"),
            Events::G => set("bc"),
            Events::Merged => set("abcd"),
        }
    }

    fn befall(self, world: &World) {
        let Some((crashed, correct)) = self.failures() else {
            return;
        };
        let crashed = set(crashed);
        for p in crashed.iter() {
            world.crash(p, Crash::at(Time::ZERO));
        }
        let correct: Vec<_> = correct
            .iter()
            .map(|(from, to)| (letter(*from), letter(*to)))
            .collect();
        let alive = world.membership().set().without(crashed);
        for from in alive.iter() {
            for to in alive.iter() {
                if from != to && !correct.contains(&(Some(from), Some(to))) {
                    world.disconnect((from, to), Time::ZERO);
                }
            }
        }
    }

    fn says(self) -> &'static str {
        match self {
            Events::F => "the failures of f",
            Events::G => "the failures of g",
            Events::Merged => "no failures, and what p1 sends takes long",
        }
    }
}

/// Lock step, except that the first copies of p1, this many, take long.
struct Delays(u32);

impl Adversary for Delays {
    fn latency(&mut self, copy: Transmission, _: &mut Random) -> Duration {
        if copy.from.rank() != 1 || self.0 == 0 {
            return UNIT;
        }
        self.0 -= 1;
        LONG
    }
}

type Message = generalized::Message<Vector>;

/// Lattice agreement at `q`, by quorum access.
pub(crate) fn wire(world: &World, q: ProcessId, quorums: Quorums) -> Addr<Propose<FourPoint>> {
    let (host, links) = (world.host(q).at("agreement"), world.links(q).at("access"));
    let (below, beneath) = (host.at("snapshot"), host.at("access"));
    let settings = generalized::AccessSettings {
        period: PERIOD,
        ..generalized::AccessSettings::default()
    };
    let access = |up: Addr<quorum_access::Indication<Vector>>| {
        let lane = links.lane();
        // Flooding only adds detours, and under f there is no path out of a.
        let straight = |up: Addr<link::Deliver<Message>>| -> Addr<flooding::Request<Message>> {
            quorate_core::Layer::attach(direct(lane), up)
        };
        let initial = Vector::default();
        generalized::spawn(&beneath, settings, quorums, initial, straight, up)
    };
    let snapshot =
        |up: Addr<snapshot::Indication>| snapshot_by_quorum_access::spawn(&below, access, up);
    lattice_agreement::spawn(&host, Mode::Once, snapshot, world.application(q))
}

/// Runs these events with these quorums.
///
/// # Errors
/// Never, because there is a membership of four.
pub fn run(families: Families, events: Events) -> Result<Shown, BadMembership> {
    let slow = if events == Events::Merged { SLOW } else { 0 };
    let mut world = World::new(PROCESSES, 1, Delays(slow))?
        .keep_trace()
        .settle(LONG * 3);
    let returning = events.returning();
    let join = quorate_abstractions::lattice::Bits::joined;
    let processes = *world.membership();
    world.check(properties::lattice_agreement("agreement", returning, join));
    let proposals = [
        (set("a"), Time::ZERO, FourPoint::Left, events != Events::G),
        (
            set("b"),
            if events == Events::Merged {
                Time::ZERO + LATER
            } else {
                Time::ZERO
            },
            FourPoint::Right,
            events != Events::F,
        ),
    ];
    for q in processes.iter() {
        let port = wire(&world, q, families.quorums());
        for (who, at, value, happens) in proposals {
            if happens && who.contains(q) {
                let operation = 1;
                world.request(q, at, &port, Propose { operation, value });
            }
        }
    }
    events.befall(&world);
    let report = world.run();
    let trace = world.trace();
    Ok(Shown {
        report,
        of: (families, events),
        trace,
    })
}

impl Shown {
    /// The property that broke, if one did.
    pub fn broken(&self) -> Option<&str> {
        self.report.violation().map(|violation| &violation.tag[..])
    }

    fn title(&self) -> String {
        let (families, events) = self.of;
        format!(
            "Lattice agreement with {}: {}",
            families.says(),
            events.says()
        )
    }

    fn verdict(&self) -> String {
        match self.report.violation() {
            Some(violation) => format!("{} is broken: {}.", violation.tag, violation.text),
            None => "LA1, LA2, LA3 and LA4 hold.".to_owned(),
        }
    }

    /// The space-time diagram, as text.
    pub fn text(&self) -> String {
        let drawn = Diagram::default().draw(&self.trace, PROCESSES);
        format!("{}\n{}\n\n{drawn}", self.title(), self.verdict())
    }

    /// The space-time diagram, as SVG.
    pub fn svg(&self) -> String {
        let svg = Svg::default().title(self.title()).note(self.verdict());
        svg.draw(&self.trace, PROCESSES)
    }
}

#[cfg(test)]
mod tests;
