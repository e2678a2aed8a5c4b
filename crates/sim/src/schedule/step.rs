//! The steps of a schedule, their names, and which of them depend on each other.
use quorate_core::{ProcessId, ProcessSet};
use std::fmt;

/// A copy in flight, with a name that does not depend on the order of steps elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Passage {
    /// The sender.
    pub from: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    /// The number of the copy among those from the one to the other, counted from 1.
    pub number: u32,
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{} #{}", self.from, self.to, self.number)
    }
}

/// The action of a step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Act {
    /// The process makes the next of its planned requests.
    Request(ProcessId),
    /// An oracle tells `to` of the crash of `of`.
    Report {
        /// The crashed process.
        of: ProcessId,
        /// The process that is told.
        to: ProcessId,
    },
    /// An oracle's next planned false suspicion begins.
    Suspect {
        /// The suspected process.
        of: ProcessId,
        /// The suspecting process.
        by: ProcessId,
    },
    /// The oracle's false suspicion ends.
    Restore {
        /// The suspected process.
        of: ProcessId,
        /// The suspecting process.
        by: ProcessId,
    },
    /// A copy arrives.
    Deliver(Passage),
    /// A timer that is due fires. The number counts the timers that the process has started, from 1.
    Fire(ProcessId, u32),
    /// Time moves on to the next planned event.
    Advance,
    Crash(ProcessId),
    /// A copy whose sender has crashed is lost.
    Lose(Passage),
    /// A process omits a copy that is in flight: one that it has sent, or one that is sent to it. It is faulty
    /// from then on. No process can tell whether the sender omits its copy at once or later.
    Omit {
        copy: Passage,
        /// The faulty process.
        by: ProcessId,
    },
    /// The stream from one process to another ends, and its sender is told.
    End {
        /// The sender.
        from: ProcessId,
        /// The receiver.
        to: ProcessId,
    },
    /// The next stream opens: copies of the ended stream that are still in flight are lost, and the receiver
    /// is told of the gap.
    Gap {
        /// The sender.
        from: ProcessId,
        /// The receiver.
        to: ProcessId,
    },
    /// The next stream begins, and its sender is told.
    Begin {
        /// The sender.
        from: ProcessId,
        /// The receiver.
        to: ProcessId,
    },
}

/// One step of a schedule: a whole reaction of one process, or a fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Step {
    /// What happens.
    pub act: Act,
    /// The process that reacts crashes just before this output of its reaction, counted from 1. An output
    /// leaves the process: it is a copy, or an indication to the application.
    pub crash_before: Option<u64>,
}

impl From<Act> for Step {
    fn from(act: Act) -> Self {
        Step {
            act,
            crash_before: None,
        }
    }
}

impl Act {
    /// The process that takes the step.
    pub fn process(self) -> Option<ProcessId> {
        match self {
            Act::Request(p)
            | Act::Fire(p, _)
            | Act::Crash(p)
            | Act::Report { to: p, .. }
            | Act::Suspect { by: p, .. }
            | Act::Restore { by: p, .. }
            | Act::End { from: p, .. }
            | Act::Gap { to: p, .. }
            | Act::Begin { from: p, .. } => Some(p),
            Act::Deliver(passage) => Some(passage.to),
            Act::Advance | Act::Lose(_) | Act::Omit { .. } => None,
        }
    }

    /// The copy that is in flight no more because of this step.
    fn taken_away(self) -> Option<Passage> {
        match self {
            Act::Lose(copy) | Act::Omit { copy, .. } => Some(copy),
            _ => None,
        }
    }

    /// The direction of the stream that the step is about.
    fn way(self) -> Option<(ProcessId, ProcessId)> {
        match self {
            Act::End { from, to } | Act::Gap { from, to } | Act::Begin { from, to } => {
                Some((from, to))
            }
            _ => None,
        }
    }
}

impl Step {
    /// The same step, in which the process crashes just before its `k`-th output, counted from 1.
    #[must_use]
    pub fn crashing_before(self, k: u64) -> Self {
        Step {
            crash_before: Some(k),
            ..self
        }
    }

    /// The process that crashes in this step.
    pub fn crashed(self) -> Option<ProcessId> {
        match self.act {
            Act::Crash(p) => Some(p),
            act => act.process().filter(|_| self.crash_before.is_some()),
        }
    }

    /// Whether the order of the two steps can matter. Steps that do not depend on each other may be exchanged
    /// when one directly follows the other: neither enables or disables the other, and the world afterwards
    /// is the same.
    ///
    /// - Steps of one process depend on each other: it has one state.
    /// - Steps of different processes do not depend on each other, even when one sends to the other: one more
    ///   copy is in flight, which the other step neither needs nor touches.
    /// - Crashes depend on each other, because their number is bounded. They depend on false suspicions of
    ///   the process and on timers, though no process can tell: accuracy is about whether a suspicion came
    ///   before the crash.
    /// - The loss or the omission of a copy depends on its delivery, and on the crash of its receiver.
    /// - Omissions of different copies do not depend on each other, though their number is bounded: whichever
    ///   comes first, the same may follow.
    /// - The ends of streams depend on each other, because their number is bounded. The steps of one gap
    ///   depend on each other, on the loss of a copy that it would take along, and on the crash of the other
    ///   process, which ends it.
    /// - The advance of time depends on everything.
    pub fn depends_on(self, other: Step) -> bool {
        match (self.act, other.act) {
            (Act::Advance, _) | (_, Act::Advance) => true,
            (one, another) if one.taken_away().is_some() || another.taken_away().is_some() => {
                self.takes_from(other) || other.takes_from(self)
            }
            (one, another) => {
                let both_crash = self.crashed().is_some() && other.crashed().is_some();
                let is_accuracy = self.can_suspect(other) || other.can_suspect(self);
                let both_end = matches!((one, another), (Act::End { .. }, Act::End { .. }));
                let is_gap = one.way().is_some() && one.way() == another.way();
                let is_ended = self.is_gap_of_crashed(other) || other.is_gap_of_crashed(self);
                let both_bounded = both_crash || both_end;
                let is_stream = is_gap || is_ended;
                both_bounded || is_accuracy || is_stream || one.process() == another.process()
            }
        }
    }

    /// Whether this step takes a copy away that the other step is about.
    fn takes_from(self, other: Step) -> bool {
        self.act.taken_away().is_some_and(|copy| {
            let is_needed = touches(copy, other.act) || turns(copy, other.act);
            is_needed || other.crashed() == Some(copy.to)
        })
    }

    /// Whether this step can be a suspicion of the process that crashes in the other step.
    fn can_suspect(self, other: Step) -> bool {
        match self.act {
            Act::Suspect { of, .. } => other.crashed() == Some(of),
            Act::Fire(..) => other.crashed().is_some(),
            Act::Request(_)
            | Act::Report { .. }
            | Act::Restore { .. }
            | Act::Deliver(_)
            | Act::Advance
            | Act::Crash(_)
            | Act::Lose(_)
            | Act::Omit { .. }
            | Act::End { .. }
            | Act::Gap { .. }
            | Act::Begin { .. } => false,
        }
    }

    /// Whether this step belongs to a gap that ends with the crash in the other step.
    fn is_gap_of_crashed(self, other: Step) -> bool {
        let (way, crashed) = (self.act.way(), other.crashed());
        way.is_some_and(|(from, to)| [Some(from), Some(to)].contains(&crashed))
    }

    /// Whether the step is not an ordinary one, which happens in every run, but a fault of the adversary: a
    /// crash, a loss, an omission, the end of a stream.
    pub fn is_fault(self) -> bool {
        let is_end = matches!(self.act, Act::End { .. });
        self.crashed().is_some() || self.act.taken_away().is_some() || is_end
    }
}

/// Whether the step belongs to a gap in the direction of this copy.
fn turns(copy: Passage, act: Act) -> bool {
    act.way() == Some((copy.from, copy.to))
}

fn touches(copy: Passage, act: Act) -> bool {
    matches!(act, Act::Deliver(other) if other == copy) || act.taken_away() == Some(copy)
}

/// The processes that crash in these steps.
pub fn crashed(steps: &[Step]) -> ProcessSet {
    steps.iter().filter_map(|step| step.crashed()).collect()
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Request(p) => write!(f, "request {p}"),
            Act::Report { of, to } => write!(f, "report {of} to {to}"),
            Act::Suspect { of, by } => write!(f, "suspect {of} by {by}"),
            Act::Restore { of, by } => write!(f, "restore {of} by {by}"),
            Act::Deliver(copy) => write!(f, "deliver {copy}"),
            Act::Fire(p, number) => write!(f, "fire {p} #{number}"),
            Act::Advance => f.write_str("advance"),
            Act::Crash(p) => write!(f, "crash {p}"),
            Act::Lose(copy) => write!(f, "lose {copy}"),
            Act::Omit { copy, by } => write!(f, "omit {copy} by {by}"),
            Act::End { from, to } => write!(f, "end {from}>{to}"),
            Act::Gap { from, to } => write!(f, "gap {from}>{to}"),
            Act::Begin { from, to } => write!(f, "begin {from}>{to}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.act.fmt(f)?;
        match self.crash_before {
            Some(k) => write!(f, " crashing before output {k}"),
            None => Ok(()),
        }
    }
}
