//! Lattice agreement.
use super::{
    Properties,
    shared::{Names, Operations, Shown},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation},
    trace::Record,
};
use quorate_core::{ProcessId, ProcessSet};
use std::collections::{BTreeMap, BTreeSet};

const NAMES: &[Names] = &[("Propose", "Decide")];

/// LA1–4 of the lattice agreement of the modules of this name, whose values are small enough to be their own
/// digests, and are joined by `join`. Decisions are promised at the processes `returning`. LA3 includes that
/// each proposal is decided once, and that no proposal is decided that was not requested.
///
/// Distinct decisions are kept: memory grows with their number.
pub fn lattice_agreement(
    module: &str,
    returning: ProcessSet,
    join: fn(u64, u64) -> u64,
) -> Properties {
    let one = |tag, what| -> Box<dyn Property> {
        Box::new(LatticeAgreement {
            tag,
            what,
            operations: Operations::new(module, NAMES, returning),
            join,
            own: BTreeMap::new(),
            proposed: 0,
            decided: BTreeSet::new(),
        })
    };
    vec![
        one("LA1", What::Comparability),
        one("LA2", What::DownwardValidity),
        one("LA3", What::UpwardValidity),
        one("LA4", What::Termination),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Comparability,
    DownwardValidity,
    UpwardValidity,
    Termination,
}

struct LatticeAgreement {
    tag: &'static str,
    what: What,
    /// Each operation with the value that it proposes.
    operations: Operations<u64>,
    join: fn(u64, u64) -> u64,
    /// For each process, the join of the values that it has proposed and decided.
    own: BTreeMap<ProcessId, u64>,
    /// The join of all proposed values.
    proposed: u64,
    decided: BTreeSet<u64>,
}

impl LatticeAgreement {
    fn is_at_most(&self, one: u64, other: u64) -> bool {
        (self.join)(one, other) == other
    }

    fn upon_decided(&mut self, p: ProcessId, value: u64, decided: u64) -> Option<&'static str> {
        let own = self.own.entry(p).or_default();
        *own = (self.join)(*own, value);
        let own = *own;
        self.proposed = (self.join)(self.proposed, value);
        let in_flight = self.operations.in_flight().map(|value| *value);
        let all = in_flight.fold(self.proposed, self.join);
        let broken = match self.what {
            What::Termination => None,
            What::Comparability => {
                let ordered = |other: &u64| {
                    self.is_at_most(*other, decided) || self.is_at_most(decided, *other)
                };
                let fits = self.decided.iter().all(ordered);
                (!fits).then_some("which cannot be ordered with another decision")
            }
            What::DownwardValidity => {
                (!self.is_at_most(own, decided)).then_some("less than it proposed")
            }
            What::UpwardValidity => {
                (!self.is_at_most(decided, all)).then_some("more than was proposed")
            }
        };
        if self.what == What::Comparability {
            self.decided.insert(decided);
        }
        broken
    }
}

impl Property for LatticeAgreement {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if self.what == What::UpwardValidity
            && let Some(text) = self.operations.stray(record)
        {
            return Err(violation(self.tag, record, text));
        }
        let Some((p, number, observation, shown)) = self.operations.see(record) else {
            return Ok(());
        };
        match shown {
            Shown::Begins(_) => self.operations.begin(p, number, observation.digest),
            Shown::Refused(_) => {}
            Shown::Returns(_, value) => {
                let decided = observation.digest;
                if let Some(what) = self.upon_decided(p, value, decided) {
                    let text = format!("{p} decides {decided:x}, {what}");
                    return Err(violation(self.tag, record, text));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        match self.what {
            What::Termination => self.operations.termination(self.tag, completion),
            What::Comparability | What::DownwardValidity | What::UpwardValidity => Verdict::Holds,
        }
    }
}
