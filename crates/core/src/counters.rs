//! Counts of what was dropped, rejected, sent or done, by module and reason.
use crate::host::Name;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

type Key = (Name, &'static str);

/// All counters of one process. Clones share the counts.
#[derive(Clone, Default)]
pub struct Counters {
    cells: Arc<Mutex<BTreeMap<Key, Counter>>>,
}

impl Counters {
    /// The counter of `module` for `reason`, made at its first mention.
    pub fn counter(&self, module: &Name, reason: &'static str) -> Counter {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((module.clone(), reason)).or_default().clone()
    }

    /// Every counter's module, reason and value, in order.
    pub fn snapshot(&self) -> Vec<(Name, &'static str, u64)> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells
            .iter()
            .map(|((module, reason), c)| (module.clone(), *reason, c.get()))
            .collect()
    }

    /// The sum over all modules of the counters for `reason`.
    pub fn total(&self, reason: &str) -> u64 {
        self.snapshot()
            .iter()
            .filter(|(_, r, _)| *r == reason)
            .map(|(.., count)| count)
            .sum()
    }
}

/// One count. Clones share it.
#[derive(Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
