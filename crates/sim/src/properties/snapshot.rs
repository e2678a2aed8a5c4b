//! Single-writer atomic snapshot.
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
use std::collections::BTreeMap;

const NAMES: &[Names] = &[("Update", "UpdateReturn"), ("Scan", "ScanReturn")];
const UPDATE: usize = 0;

/// How many updates each of the first eight processes has made. An observation cannot carry more.
type Counts = [u8; 8];

/// SN1–2 of the snapshots of the modules of this name, of up to eight processes that update up to 254 times
/// each; in longer runs the verdict on SN2 is unknown. Operations are promised to return at the processes
/// `returning`. SN2 includes that each operation returns once, and that none returns that was not requested.
///
/// Scans and updates are linearizable if and only if scans can be ordered, no scan misses an update that was
/// there before it or returns one that was requested after it, and a scan that returns an update also returns
/// the updates that were there before that one.
pub fn atomic_snapshot(module: &str, returning: ProcessSet) -> Properties {
    let one = |what| one(what, module, returning);
    vec![one(What::Termination), one(What::Order)]
}

/// SN1-O and SN2 of the snapshots of the modules of this name: as [`atomic_snapshot`], but an operation is promised to
/// return only if it is, from some time on, the only one of correct processes in flight.
pub fn obstruction_free_snapshot(module: &str, returning: ProcessSet) -> Properties {
    let one = |what| one(what, module, returning);
    vec![one(What::ObstructionFreedom), one(What::Order)]
}

fn one(what: What, module: &str, returning: ProcessSet) -> Box<dyn Property> {
    Box::new(Snapshot {
        what,
        operations: Operations::new(module, NAMES, returning),
        requested: Counts::default(),
        there: Counts::default(),
        before: BTreeMap::new(),
        is_known: true,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Termination,
    ObstructionFreedom,
    Order,
}

/// An operation in flight.
struct Begun {
    /// The sequence number of the update at its process, if it is one.
    update: Option<u8>,
    /// The updates that were there when it began: those that had returned, and those that scans had returned.
    there: Counts,
    /// The results of scans since then.
    scans: Vec<Counts>,
}

struct Snapshot {
    what: What,
    operations: Operations<Begun>,
    /// How many updates each process has requested.
    requested: Counts,
    /// How many updates are certainly there, because they have returned or a scan has returned them.
    there: Counts,
    /// For each process and number of an update, the updates that were there when it was requested.
    before: BTreeMap<(usize, u8), Counts>,
    is_known: bool,
}

fn is_at_most(one: &Counts, other: &Counts) -> bool {
    one.iter().zip(other).all(|(a, b)| a <= b)
}

fn join(one: &mut Counts, other: &Counts) {
    for (a, b) in one.iter_mut().zip(other) {
        *a = (*a).max(*b);
    }
}

impl Snapshot {
    fn begin(&mut self, p: ProcessId, number: u64, updates: bool) {
        let (there, mut update) = (self.there, None);
        if updates {
            match self.requested.get_mut(p.index()) {
                Some(count) if *count < 254 => {
                    *count += 1;
                    update = Some(*count);
                    self.before.insert((p.index(), *count), there);
                }
                _ => self.is_known = false,
            }
        }
        let begun = Begun {
            update,
            there,
            scans: Vec::new(),
        };
        self.operations.begin(p, number, begun);
    }

    /// The error in a scan that returns these counts, if there is one.
    fn upon_scanned(&mut self, begun: &Begun, scanned: Counts) -> Option<&'static str> {
        for other in self.operations.in_flight() {
            other.scans.push(scanned);
        }
        let of = |(index, count): (usize, &u8)| self.before.get(&(index, *count));
        let mut behind = scanned.iter().enumerate().filter_map(of);
        let ordered = |other: &Counts| is_at_most(other, &scanned) || is_at_most(&scanned, other);
        let broken = if !is_at_most(&begun.there, &scanned) {
            Some("misses what was there before it")
        } else if !is_at_most(&scanned, &self.requested) {
            Some("returns what nobody has requested yet")
        } else if !begun.scans.iter().all(ordered) {
            Some("cannot be ordered with another scan")
        } else if behind.any(|before| !is_at_most(before, &scanned)) {
            Some("returns an update, and misses what was there before that")
        } else {
            None
        };
        join(&mut self.there, &scanned);
        self.forget();
        broken
    }

    /// Scans that begin from now on return at least the updates that are there.
    fn forget(&mut self) {
        let mut least = self.there;
        for begun in self.operations.in_flight() {
            for (count, there) in least.iter_mut().zip(begun.there) {
                *count = (*count).min(there);
            }
        }
        self.before
            .retain(|(index, count), _| least.get(*index).is_none_or(|least| count >= least));
    }
}

impl Property for Snapshot {
    fn tag(&self) -> &'static str {
        match self.what {
            What::Termination => "SN1",
            What::ObstructionFreedom => "SN1-O",
            What::Order => "SN2",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if self.what == What::Order
            && let Some(text) = self.operations.stray(record)
        {
            return Err(violation("SN2", record, text));
        }
        let Some((p, number, observation, shown)) = self.operations.see(record) else {
            return Ok(());
        };
        match shown {
            Shown::Begins(action) => self.begin(p, number, action == UPDATE),
            // A process has only one operation in flight, so the refused one was requested last.
            Shown::Refused(begun) => {
                if let (Some(_), Some(count)) = (begun.update, self.requested.get_mut(p.index())) {
                    self.before.remove(&(p.index(), *count));
                    *count -= 1;
                }
            }
            Shown::Returns(UPDATE, begun) => {
                if let (Some(update), Some(there)) = (begun.update, self.there.get_mut(p.index())) {
                    *there = (*there).max(update);
                }
            }
            Shown::Returns(_, begun) => {
                let scanned = observation.digest.to_le_bytes();
                let broken = self.upon_scanned(&begun, scanned);
                if self.what == What::Order
                    && self.is_known
                    && let Some(what) = broken
                {
                    let text = format!("the scan {scanned:?} of {p} {what}");
                    return Err(violation("SN2", record, text));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        match (self.what, self.is_known) {
            (What::Termination, _) => self.operations.termination("SN1", completion),
            (What::ObstructionFreedom, _) => {
                self.operations.obstruction_freedom("SN1-O", completion)
            }
            (What::Order, true) => Verdict::Holds,
            (What::Order, false) => Verdict::Unknown,
        }
    }
}
