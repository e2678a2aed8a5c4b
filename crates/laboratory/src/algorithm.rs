//! What the laboratory knows of an algorithm.
pub use crate::{
    failure_models::{FailureModel, Keeps, Models},
    model::{Bound, Detector, Substrate, Timing},
};
use crate::{
    gaps::Gap,
    handles::Handle,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_core::Membership;
use quorate_sim::properties::Properties;
use serde::Serialize;
use std::fmt;

/// Whether a property can be refuted by a finite run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A finite prefix of a run can refute it. It is checked at every step.
    Safety,
    /// It is judged only on complete runs.
    Liveness,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Safety => "safety",
            Kind::Liveness => "liveness",
        })
    }
}

/// A property, by its textbook tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Property {
    /// The tag: `URB4`.
    pub tag: &'static str,
    /// Safety or liveness.
    pub kind: Kind,
    pub says: &'static str,
    /// What its checker judges, part by part.
    #[serde(skip)]
    pub clauses: &'static [Clause],
}

impl Property {
    /// The property, in these parts.
    #[must_use]
    pub const fn of(self, clauses: &'static [Clause]) -> Property {
        Property { clauses, ..self }
    }

    /// The part that the checker finds violated when it says this: the first whose words it uses.
    pub fn clause_of(&self, verdict: &str) -> Option<&'static Clause> {
        let mut clauses = self.clauses.iter();
        clauses.find(|clause| verdict.contains(clause.verdict))
    }
}

/// A part of a property, which some mutant violates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clause {
    pub says: &'static str,
    /// Words that the checker uses in its verdict on this part, and not in those on the parts before; none if it
    /// is the only part.
    pub verdict: &'static str,
}

/// What a cost depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// How many processes there are.
    pub n: u64,
    /// The number of sends after which the sender crashes.
    pub k: u64,
    /// The number of steps after which the failure detector reports a crash.
    pub d: u64,
}

/// A formula, as text and as a function.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Formula {
    /// The formula in n, k and D.
    pub text: &'static str,
    #[serde(skip)]
    pub value: fn(Size) -> u64,
}

/// A formula from its text and its function.
pub(crate) const fn formula(text: &'static str, value: fn(Size) -> u64) -> Formula {
    Formula { text, value }
}

/// The process that is dead from the start, in costs with one dead process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dead {
    /// pₙ, which neither broadcasts nor coordinates.
    Last,
    /// p₁, which would coordinate the first round.
    First,
}

/// The exact cost of one operation on ideal lower layers. Messages of a process to itself are not counted;
/// messages to crashed processes are. A step is the time of one message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// The messages, failure-free.
    pub messages: Formula,
    /// The steps until the last process is done, failure-free.
    pub steps: Formula,
    /// The same with one process dead from the start.
    pub one_dead: Option<OneDead>,
    /// The same when the sender crashes after its k-th send.
    pub sender_crashes: Option<SenderCrashes>,
}

/// The cost with one process dead from the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OneDead {
    pub which: Dead,
    /// The messages, n ≥ 3.
    pub messages: Formula,
    /// The steps, n ≥ 3.
    pub steps: Formula,
}

/// The cost when the sender crashes after k of its n−1 sends.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SenderCrashes {
    pub messages: Formula,
    /// The steps until the last survivor has delivered, where they are specified.
    pub steps: Option<Formula>,
}

/// How an algorithm is wired at one process of a simulated world.
pub type Wire = fn(&Wiring<'_>) -> RequestPort;

/// How an algorithm runs in the simulator.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// The layers below the stack.
    pub substrate: Substrate,
    /// The path of the module that is the algorithm.
    pub module: &'static str,
    /// The label of the indications that end an operation.
    pub done: &'static str,
    /// The function that wires it, on any substrate.
    pub wire: Wire,
    /// The properties to check: its own first, then those of the layers that it includes.
    pub check: fn(&Membership) -> Properties,
}

/// An algorithm with one rule changed, for the checkers to catch. Only tests and demonstrations run it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mutant {
    /// The name by which `quorate sim` knows it.
    pub name: &'static str,
    /// Other names by which commands know it.
    pub aliases: &'static [&'static str],
    pub change: &'static str,
    /// The property that this mutant breaks.
    pub breaks: &'static str,
    /// The faults under which the violation shows.
    #[serde(skip)]
    pub under: Faults,
    #[serde(skip)]
    pub wire: Wire,
}

/// An algorithm.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Algorithm {
    /// The name by which commands and settings choose it.
    pub name: &'static str,
    /// Its behaviour over a gap.
    #[serde(skip)]
    pub gap: Gap,
    /// The node's method for it, or the reason why there is none.
    #[serde(skip)]
    pub handle: Handle,
    /// Other names by which commands know it.
    pub aliases: &'static [&'static str],
    /// The name in words.
    pub title: &'static str,
    /// The abstraction that it implements.
    pub abstraction: &'static str,
    pub file: &'static str,
    /// The book or paper.
    pub source: &'static str,
    /// The assumptions about time. Processes may crash, and then stop.
    pub timing: Timing,
    /// The failure models under which it is judged, beside crashes.
    pub models: Models,
    /// How many crashes it survives, or processes that omit messages.
    pub bound: Bound,
    /// The failure detector that it needs.
    pub detector: Detector,
    /// The abstractions that it stands on.
    pub over: &'static [&'static str],
    /// What it promises.
    pub properties: &'static [Property],
    /// The cost of one operation; for a shared object, of one that changes it. `None` where the cost is a
    /// rate.
    pub cost: Option<Cost>,
    /// For a shared object, the cost of an operation that changes nothing.
    pub reads: Option<Cost>,
    /// The cost of activity that never ends: heartbeats, acknowledgements.
    pub rate: &'static str,
    /// What its memory depends on.
    pub memory: &'static str,
    /// Whether its memory grows with the length of a run.
    pub grows: bool,
    /// Whether a process that has crashed may rejoin, without its memory.
    #[serde(skip)]
    pub rejoins: bool,
    /// The data to run it in the simulator.
    #[serde(skip)]
    pub simulation: Simulation,
    pub mutants: &'static [Mutant],
}

impl Algorithm {
    /// How it is reached, in words.
    pub fn reached(&self) -> String {
        self.handle.reached(self.name)
    }

    /// Whether it runs over perfect links, which are what streams are part of.
    pub fn is_over_streams(&self) -> bool {
        let substrate = self.simulation.substrate;
        !matches!(substrate, Substrate::FairLoss | Substrate::Heartbeats)
    }

    /// Whether it is an object that processes share: who operates on it is alone in seeing the end.
    pub fn is_shared_object(&self) -> bool {
        [
            "register",
            "quorum access",
            "atomic snapshot",
            "lattice agreement",
        ]
        .iter()
        .any(|object| self.abstraction.ends_with(object))
    }

    /// Whether it is a group, which a process may leave.
    pub fn is_group(&self) -> bool {
        ["view synchrony", "group membership"]
            .iter()
            .any(|group| self.abstraction.contains(group))
    }

    /// The verbs for operations on a shared object: one that changes it, and one that does not.
    pub fn verbs(&self) -> (&'static str, Option<&'static str>) {
        match self.abstraction {
            "atomic snapshot" => ("update", Some("scan")),
            "quorum access" => ("set", Some("get")),
            "lattice agreement" => ("propose", None),
            _ => ("write", Some("read")),
        }
    }

    /// Whether the algorithm itself promises the property with this tag.
    pub fn promises(&self, tag: &str) -> bool {
        self.properties.iter().any(|property| property.tag == tag)
    }

    /// Whether its promises hold even if a stream between two processes ends and begins anew.
    pub fn survives_gaps(&self) -> bool {
        let repeats = matches!(self.gap, Gap::Repeats(_) | Gap::Unaffected(_));
        repeats && self.is_over_streams()
    }

    /// Whether it goes by this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}
