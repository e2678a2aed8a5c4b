//! The failure models under which algorithms are judged, beside crashes, and where a property is known to fall.
use crate::{
    algorithm::{Algorithm, Kind},
    scenario::{Clocks, Faults, Layers, Omissions, Scenario, UnknownSubject},
};
use quorate_sim::OmissionKind;
use serde::Serialize;
use std::fmt;

/// A failure model that allows for more than crashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum FailureModel {
    /// Faulty processes omit messages that they send.
    #[serde(rename = "send omission")]
    SendOmission,
    /// Faulty processes omit messages that are sent to them.
    #[serde(rename = "receive omission")]
    ReceiveOmission,
    /// Faulty processes omit messages of both kinds.
    #[serde(rename = "general omission")]
    GeneralOmission,
    /// The clocks of the processes begin anywhere, and run at different speeds, within a bound.
    #[serde(rename = "clock drift")]
    ClockDrift,
    /// Clocks leap forward.
    #[serde(rename = "clock jumps")]
    ClockJumps,
}

impl FailureModel {
    /// All of them.
    pub const ALL: [FailureModel; 5] = [
        FailureModel::SendOmission,
        FailureModel::ReceiveOmission,
        FailureModel::GeneralOmission,
        FailureModel::ClockDrift,
        FailureModel::ClockJumps,
    ];
}

impl From<OmissionKind> for FailureModel {
    fn from(kind: OmissionKind) -> Self {
        match kind {
            OmissionKind::Send => FailureModel::SendOmission,
            OmissionKind::Receive => FailureModel::ReceiveOmission,
            OmissionKind::General => FailureModel::GeneralOmission,
        }
    }
}

impl fmt::Display for FailureModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureModel::SendOmission => "send omission",
            FailureModel::ReceiveOmission => "receive omission",
            FailureModel::GeneralOmission => "general omission",
            FailureModel::ClockDrift => "clock drift",
            FailureModel::ClockJumps => "clock jumps",
        })
    }
}

/// What an algorithm keeps of its promises under a failure model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeps {
    /// It is not judged under this model.
    Nothing,
    /// Its safety properties.
    Safety,
    /// All of its properties.
    Everything,
}

/// What an algorithm keeps under each failure model. Under crashes, up to its bound, it keeps everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Models {
    /// Under omissions of any kind: of up to as many processes as may crash.
    pub omission: Keeps,
    /// Under clocks that drift.
    pub clock_drift: Keeps,
    /// Under clocks that jump.
    pub clock_jumps: Keeps,
}

impl Models {
    /// It waits for no process whose messages may be missing, and its timers only repeat what was lost.
    pub const OMISSION: Models = Models {
        omission: Keeps::Everything,
        clock_drift: Keeps::Everything,
        clock_jumps: Keeps::Everything,
    };

    /// It waits for a process until a detector suspects it, and a process that omits messages is not
    /// suspected: then it waits for ever, but decides and delivers nothing wrong.
    pub const SAFE_UNDER_OMISSION: Models = Models {
        omission: Keeps::Safety,
        ..Models::OMISSION
    };

    /// It takes turns by its clock, and as long as clocks run at different speeds, processes are in a turn together for
    /// ever shorter times.
    pub const SAFE_UNDER_DRIFT: Models = Models {
        omission: Keeps::Safety,
        clock_drift: Keeps::Safety,
        clock_jumps: Keeps::Everything,
    };

    /// It promises liveness alone, which omissions keep from being judged: who omits messages is suspected and restored
    /// again and again, and the run does not come to rest. Or it sends no message. Or it delivers in views, where who
    /// omits messages stays: some members of the last view deliver what was not sent to the others.
    pub const CLOCKS: Models = Models {
        omission: Keeps::Nothing,
        ..Models::OMISSION
    };

    /// It needs P, which nobody has where processes omit messages or clocks jump. The bounds of P allow for
    /// some drift.
    pub const CRASH: Models = Models {
        omission: Keeps::Nothing,
        clock_drift: Keeps::Everything,
        clock_jumps: Keeps::Nothing,
    };

    /// In a few words, for a table: `crash, omission, clocks`.
    pub fn brief(&self) -> String {
        let clocks = match (self.clock_drift, self.clock_jumps) {
            (Keeps::Everything, Keeps::Everything) => "clocks",
            (Keeps::Everything, Keeps::Safety | Keeps::Nothing) => "drift",
            (Keeps::Safety, Keeps::Everything) => "drift (safety), jumps",
            (Keeps::Safety, Keeps::Safety | Keeps::Nothing) => "drift (safety)",
            (Keeps::Nothing, Keeps::Everything) => "jumps",
            (Keeps::Nothing, Keeps::Safety | Keeps::Nothing) => "",
        };
        let omission = match self.omission {
            Keeps::Everything => "omission",
            Keeps::Safety => "omission (safety)",
            Keeps::Nothing => "",
        };
        let words = ["crash", omission, clocks];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        words.join(", ")
    }

    /// What it keeps under this model.
    pub fn keeps(&self, model: FailureModel) -> Keeps {
        match model {
            FailureModel::SendOmission
            | FailureModel::ReceiveOmission
            | FailureModel::GeneralOmission => self.omission,
            FailureModel::ClockDrift => self.clock_drift,
            FailureModel::ClockJumps => self.clock_jumps,
        }
    }
}

/// `crashes; send, receive and general omission; clock drift; clock jumps`.
impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let models = [
            ("send, receive and general omission", self.omission),
            ("clock drift", self.clock_drift),
            ("clock jumps", self.clock_jumps),
        ];
        f.write_str("crashes")?;
        for (name, keeps) in models {
            match keeps {
                Keeps::Everything => write!(f, "; {name}")?,
                Keeps::Safety => write!(f, "; {name} (safety alone)")?,
                Keeps::Nothing => {}
            }
        }
        Ok(())
    }
}

/// A property that is known to fall under a failure model outside the algorithm's own.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Fall {
    /// The name of the algorithm.
    pub algorithm: &'static str,
    /// The model, of which the faults are an instance.
    pub model: FailureModel,
    /// The faults of the run, of three processes on ideal links, with four requests of each.
    #[serde(skip)]
    pub under: Faults,
    /// The tag of the property.
    pub breaks: &'static str,
    /// A seed that shows it.
    pub seed: u64,
}

impl Fall {
    /// The scenario whose run with the seed shows it.
    ///
    /// # Errors
    /// When there is no algorithm of that name.
    pub fn scenario(&self) -> Result<Scenario, UnknownSubject> {
        Ok(Scenario {
            layers: Layers::Ideal,
            faults: self.under,
            beyond: true,
            ..Scenario::of(self.algorithm.parse()?)
        })
    }
}

/// `RB4 under send omission: quorate sim lazy …`.
impl fmt::Display for Fall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} under {}", self.breaks, self.model)?;
        match self.scenario() {
            Ok(scenario) => write!(f, ": `{}`", scenario.command(self.seed)),
            Err(_) => Ok(()),
        }
    }
}

/// One process omits each message of this kind with this probability.
const fn omitting(kind: OmissionKind, probability: f64) -> Faults {
    Faults {
        omissions: Some(Omissions {
            kind,
            processes: 1,
            probability,
        }),
        accurate: true,
        ..Faults::NONE
    }
}

const fn fall(
    algorithm: &'static str,
    (model, under): (FailureModel, Faults),
    breaks: &'static str,
    seed: u64,
) -> Fall {
    Fall {
        algorithm,
        model,
        under,
        breaks,
        seed,
    }
}

/// One process does not send half of its messages.
const SEND: (FailureModel, Faults) = (
    FailureModel::SendOmission,
    omitting(OmissionKind::Send, 0.5),
);

/// One process does not see half of the messages to it.
const RECEIVE: (FailureModel, Faults) = (
    FailureModel::ReceiveOmission,
    omitting(OmissionKind::Receive, 0.5),
);

/// One process sends nothing.
const SILENT: (FailureModel, Faults) = (
    FailureModel::SendOmission,
    omitting(OmissionKind::Send, 1.0),
);

/// Clocks that run up to a twentieth too fast or too slowly.
const DRIFTING: (FailureModel, Faults) = (FailureModel::ClockDrift, clocks(0.05, 0));

/// Clocks that leap forward so often that P takes it for a long silence.
const LEAPING: (FailureModel, Faults) = (FailureModel::ClockJumps, clocks(0.0, 20));

const fn clocks(drift: f64, jumps: usize) -> Faults {
    Faults {
        clocks: Clocks {
            offset: false,
            drift,
            jumps,
        },
        accurate: true,
        ..Faults::NONE
    }
}

/// The properties that are known to fall, each with a seed that shows it. The test of the matrix asserts that they
/// still do.
pub static FALLS: &[Fall] = &[
    fall("exclude-on-timeout", SILENT, "PFD2", 0),
    fall("exclude-on-timeout", LEAPING, "PFD2", 0),
    fall("lazy", SEND, "RB4", 1),
    fall("all-ack", SEND, "URB1", 0),
    fall("all-ack", RECEIVE, "URB1", 0),
    fall("causal-collected", SEND, "GC2", 3),
    fall("hierarchical", SEND, "C4", 0),
    fall("uniform-hierarchical", SEND, "UC4", 0),
    fall("leader-driven", SEND, "UC4", 0),
    fall("rotating-coordinator", SEND, "UC4", 7),
    fall("rotating-coordinator", RECEIVE, "UC4", 0),
    fall("by-consensus-on-messages", SEND, "TOB1", 7),
    fall("by-consensus", SEND, "TOB1", 0),
    fall("by-leader", RECEIVE, "TOB1", 0),
    fall("primary-backup", SEND, "TOB1", 0),
    fall("by-total-order", SEND, "UC4", 0),
    fall("terminating", SEND, "TRB1", 0),
    fall("non-blocking", SEND, "NBAC2", 0),
    fall("read-one-write-all", SEND, "ONRR1", 1),
    fall("read-impose-write-all", SEND, "ONAR1", 0),
    fall("read-impose-write-consult-all", SEND, "NNAR1", 0),
    fall("view-synchronizer", DRIFTING, "VS-OVL", 0),
    fall("primary-views", SEND, "VS9", 1),
];

impl Algorithm {
    /// Where its properties are known to fall.
    pub fn falls(&self) -> impl Iterator<Item = &'static Fall> + use<> {
        let name = self.name;
        FALLS.iter().filter(move |fall| fall.algorithm == name)
    }

    /// Whether the property with this tag is its own, and a safety property.
    pub fn is_safety(&self, tag: &str) -> bool {
        let mut own = self.properties.iter();
        own.any(|property| property.tag == tag && property.kind == Kind::Safety)
    }
}
