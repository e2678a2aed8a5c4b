//! Failure detectors and leaders. The checkers remember only one set of processes for each process.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Record},
};
use quorate_core::{ProcessId, ProcessSet, Time};
use std::collections::BTreeMap;

/// EPFD1–2 of the modules of this name.
pub fn eventually_perfect(module: &str) -> Properties {
    [Which::Complete, Which::EventuallyAccurate]
        .map(|which| detector(which, module))
        .into()
}

/// EPFD1–2 of the modules of this name, in a run that is known to be stable from this time on: the network's
/// delays are bounded, and every timeout exceeds them. A mistake later than that breaks EPFD2 at once.
/// Otherwise an endless series of mistakes would keep the run from ending.
pub fn eventually_perfect_from(module: &str, stable: Time) -> Properties {
    [Which::Complete, Which::AccurateFrom(stable)]
        .map(|which| detector(which, module))
        .into()
}

/// PFD1–2 of the modules of this name; that no crash is reported twice is part of PFD2.
pub fn perfect(module: &str) -> Properties {
    [Which::PerfectlyComplete, Which::Accurate]
        .map(|which| detector(which, module))
        .into()
}

/// ELD1–2 of the modules of this name.
pub fn leader(module: &str) -> Properties {
    [false, true]
        .map(|agreement| {
            Box::new(Leader {
                agreement,
                watch: Watch::new(module),
                trusted: BTreeMap::new(),
            }) as Box<dyn Property>
        })
        .into()
}

fn detector(which: Which, module: &str) -> Box<dyn Property> {
    Box::new(Detector {
        which,
        watch: Watch::new(module),
        crashed: ProcessSet::EMPTY,
        suspected: BTreeMap::new(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Complete,
    EventuallyAccurate,
    AccurateFrom(Time),
    PerfectlyComplete,
    Accurate,
}

struct Detector {
    which: Which,
    watch: Watch,
    crashed: ProcessSet,
    suspected: BTreeMap<ProcessId, ProcessSet>,
}

impl Property for Detector {
    fn tag(&self) -> &'static str {
        match self.which {
            Which::Complete => "EPFD1",
            Which::EventuallyAccurate | Which::AccurateFrom(_) => "EPFD2",
            Which::PerfectlyComplete => "PFD1",
            Which::Accurate => "PFD2",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if record.kind == Kind::Crash {
            self.crashed.insert(record.process);
        }
        for label in ["Suspect", "Crash", "Restore"] {
            let Some((p, observation)) = self.watch.indication(record, label) else {
                continue;
            };
            let Some(q) = observation.peer else {
                continue;
            };
            let suspected = self.suspected.entry(p).or_default();
            if label == "Restore" {
                suspected.remove(q);
                continue;
            }
            let news = suspected.insert(q);
            if let Some(text) = self.mistake(record.time, (p, q), news) {
                return Err(violation(self.tag(), record, text));
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let broken = completion.correct.iter().find_map(|p| {
            let suspected = self.suspected.get(&p).copied().unwrap_or_default();
            match self.which {
                Which::Complete | Which::PerfectlyComplete => {
                    let q = self.crashed.without(suspected).iter().next()?;
                    Some(format!("{p} does not suspect {q}, which has crashed"))
                }
                Which::EventuallyAccurate | Which::AccurateFrom(_) => {
                    let mut wrongly = suspected.without(self.crashed).iter();
                    let q = wrongly.next()?;
                    Some(format!("{p} suspects {q}, which has not crashed"))
                }
                Which::Accurate => None,
            }
        });
        completion.judge(self.tag(), broken)
    }
}

impl Detector {
    /// The error in a suspicion of `q` by `p` at this time, if there is one. `news` says whether the
    /// suspicion is new to `p`.
    fn mistake(&self, time: Time, (p, q): (ProcessId, ProcessId), news: bool) -> Option<String> {
        let alive = !self.crashed.contains(q);
        match self.which {
            Which::Complete | Which::EventuallyAccurate | Which::PerfectlyComplete => None,
            Which::AccurateFrom(stable) => (alive && time > stable)
                .then(|| format!("{p} suspects {q}, which has not crashed, after {stable}")),
            Which::Accurate if alive => Some(format!(
                "{p} reports the crash of {q}, which has not crashed"
            )),
            Which::Accurate => (!news).then(|| format!("{p} reports the crash of {q} again")),
        }
    }
}

struct Leader {
    agreement: bool,
    watch: Watch,
    trusted: BTreeMap<ProcessId, ProcessId>,
}

impl Property for Leader {
    fn tag(&self) -> &'static str {
        if self.agreement { "ELD2" } else { "ELD1" }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, observation)) = self.watch.indication(record, "Trust")
            && let Some(q) = observation.peer
        {
            self.trusted.insert(p, q);
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let correct = completion.correct;
        let mut leaders = correct.iter().map(|p| (p, self.trusted.get(&p)));
        let broken = if self.agreement {
            let leaders: Vec<_> = leaders.filter_map(|(p, l)| Some((p, *l?))).collect();
            let pair = leaders.windows(2).find(|pair| pair[0].1 != pair[1].1);
            pair.map(|pair| {
                let ((p, a), (q, b)) = (pair[0], pair[1]);
                format!("{p} trusts {a} and {q} trusts {b}")
            })
        } else {
            let wrong = leaders.find(|(_, leader)| !leader.is_some_and(|l| correct.contains(*l)));
            wrong.map(|(p, leader)| match leader {
                Some(l) => format!("{p} trusts {l}, which has crashed"),
                None => format!("{p} trusts nobody"),
            })
        };
        completion.judge(self.tag(), broken)
    }
}
