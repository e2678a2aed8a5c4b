//! Quorum access functions.
use super::{
    Properties,
    shared::{Names, Operations, Shown},
    violation,
};
use crate::{
    property::{Completion, Property, Verdict, Violation},
    trace::Record,
};
use quorate_core::ProcessSet;

const NAMES: &[Names] = &[("Get", "GetReturn"), ("Set", "SetReturn")];
const GET: usize = 0;

/// QAF1–3 of the quorum access of the modules of this name, whose states are sets of up to 64 updates, each a
/// bit. Calls are promised to return at the processes `returning`. Validity includes that each call returns
/// once, and that none returns that was not requested.
pub fn quorum_access(module: &str, returning: ProcessSet) -> Properties {
    let one = |tag, what| -> Box<dyn Property> {
        Box::new(QuorumAccess {
            tag,
            what,
            operations: Operations::new(module, NAMES, returning),
            requested: 0,
            returned: 0,
        })
    };
    vec![
        one("QAF1", What::Validity),
        one("QAF2", What::RealTime),
        one("QAF3", What::Termination),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Validity,
    RealTime,
    Termination,
}

/// QAF1–3 for states that are sets of updates.
struct QuorumAccess {
    tag: &'static str,
    what: What,
    /// For a set, its update; for a get, the updates whose sets had returned when the get began.
    operations: Operations<u64>,
    requested: u64,
    returned: u64,
}

impl Property for QuorumAccess {
    fn tag(&self) -> &str {
        self.tag
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if self.what == What::Validity
            && let Some(text) = self.operations.stray(record)
        {
            return Err(violation(self.tag, record, text));
        }
        let Some((p, number, observation, shown)) = self.operations.see(record) else {
            return Ok(());
        };
        let digest = observation.digest;
        let text = match shown {
            Shown::Begins(GET) => {
                self.operations.begin(p, number, self.returned);
                return Ok(());
            }
            Shown::Begins(_) => {
                self.requested |= digest;
                self.operations.begin(p, number, digest);
                return Ok(());
            }
            Shown::Refused(_) => return Ok(()),
            Shown::Returns(GET, before) => match self.what {
                What::Validity if digest & !self.requested != 0 => {
                    format!(
                        "{p} gets {digest:x}, and only {:x} was requested",
                        self.requested
                    )
                }
                What::RealTime if before & !digest != 0 => {
                    format!("{p} gets {digest:x}, and {before:x} had been set before")
                }
                What::Validity | What::RealTime | What::Termination => return Ok(()),
            },
            Shown::Returns(_, update) => {
                self.returned |= update;
                return Ok(());
            }
        };
        Err(violation(self.tag, record, text))
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        match self.what {
            What::Termination => self.operations.termination(self.tag, completion),
            What::Validity | What::RealTime => Verdict::Holds,
        }
    }
}
