//! View synchronisation. The checker remembers only the last two views of each process.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::Record,
};
use quorate_core::{Membership, ProcessId, ProcessSet, Time};
use std::{collections::BTreeMap, time::Duration};

/// VS-ORD and VS-OVL of the modules of this name: all correct processes were together for at least `overlap`
/// in the last view that all of them have been in and have left.
pub fn view_synchronizer(processes: &Membership, module: &str, overlap: Duration) -> Properties {
    [None, Some(overlap)]
        .map(|overlap| {
            Box::new(ViewSynchronizer {
                overlap,
                processes: *processes,
                watch: Watch::new(module),
                stays: BTreeMap::new(),
            }) as Box<dyn Property>
        })
        .into()
}

/// For how many views the times of entry are remembered. The stays of processes that are this many views
/// apart do not overlap.
const REMEMBERED: usize = 64;

struct ViewSynchronizer {
    /// The required overlap; `None` if the order is checked.
    overlap: Option<Duration>,
    processes: Membership,
    watch: Watch,
    /// For each process, when it entered its last views.
    stays: BTreeMap<ProcessId, BTreeMap<u64, Time>>,
}

impl ViewSynchronizer {
    /// How long these processes were together in this view; `None` if that is not known.
    fn together(&self, view: u64, correct: ProcessSet) -> Option<Duration> {
        let (mut entered, mut left) = (Vec::new(), Vec::new());
        for p in correct.iter() {
            let stays = self.stays.get(&p)?;
            entered.push(*stays.get(&view)?);
            left.push(*stays.range(view + 1..).next()?.1);
        }
        let (last, first) = (entered.into_iter().max()?, left.into_iter().min()?);
        Some(first.since(last))
    }

    /// The error in the last view that all these processes have left.
    fn broken(&self, correct: ProcessSet, overlap: Duration) -> Option<String> {
        let latest = |p: ProcessId| self.stays.get(&p)?.last_key_value().map(|(view, _)| *view);
        let latest: Vec<u64> = correct.iter().filter_map(latest).collect();
        if latest.len() < correct.len() {
            return Some("a process has entered no view".to_owned());
        }
        let view = latest.into_iter().min()?.checked_sub(1)?;
        let together = self.together(view, correct).unwrap_or_default();
        (view > 0 && together < overlap).then(|| {
            format!("in view {view} all were together for {together:?}, not for {overlap:?}")
        })
    }
}

impl Property for ViewSynchronizer {
    fn tag(&self) -> &'static str {
        match self.overlap {
            None => "VS-ORD",
            Some(_) => "VS-OVL",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let Some((p, observation)) = self.watch.indication(record, "Enter") else {
            return Ok(());
        };
        let view = observation.instance.unwrap_or(0);
        let stays = self.stays.entry(p).or_default();
        let before = stays.last_key_value().map_or(0, |(view, _)| *view);
        stays.insert(view, record.time);
        while stays.len() > REMEMBERED {
            stays.pop_first();
        }
        if self.overlap.is_none() && view <= before {
            let text = format!("{p} enters view {view} after view {before}");
            return Err(violation(self.tag(), record, text));
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let Some(overlap) = self.overlap else {
            return Verdict::Holds;
        };
        let correct = self.processes.set().intersection(completion.correct);
        completion.judge(self.tag(), self.broken(correct, overlap))
    }
}
