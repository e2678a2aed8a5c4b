//! Counts of what was dropped, rejected, sent or done, by module and reason.
use crate::name::Name;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

type Key = (Name, &'static str);

/// A function that is told of a count: its module, its reason, and its value.
type Watcher = Box<dyn Fn(&Name, &'static str, u64) + Send + Sync>;

/// All counters of one process. Clones share the counts.
#[derive(Clone, Default)]
pub struct Counters {
    cells: Arc<Mutex<BTreeMap<Key, Counter>>>,
    watcher: Arc<OnceLock<Watcher>>,
}

impl Counters {
    /// The counter of `module` for `reason`, made at its first mention.
    pub fn counter(&self, module: &Name, reason: &'static str) -> Counter {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.entry((module.clone(), reason)).or_insert_with(|| {
            let watched = Watched {
                module: module.clone(),
                reason,
                watcher: self.watcher.clone(),
            };
            Counter(Arc::new(Cell {
                count: AtomicU64::new(0),
                watched: Some(watched),
            }))
        });
        cell.clone()
    }

    /// Has `told` called when a count begins, and whenever its number of binary digits grows, so that a log
    /// mentions a frequent event only a few times. The thread that counts makes the call. Only the first
    /// watcher stays: returns whether there was none before.
    pub fn watch(&self, told: impl Fn(&Name, &'static str, u64) + Send + Sync + 'static) -> bool {
        self.watcher.set(Box::new(told)).is_ok()
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
pub struct Counter(Arc<Cell>);

#[derive(Default)]
struct Cell {
    count: AtomicU64,
    watched: Option<Watched>,
}

/// What the watcher was told of a count.
struct Watched {
    module: Name,
    reason: &'static str,
    watcher: Arc<OnceLock<Watcher>>,
}

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        let before = self.0.count.fetch_add(amount, Relaxed);
        let after = before.wrapping_add(amount);
        if before.leading_zeros() != after.leading_zeros() {
            self.tell(after);
        }
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.count.load(Relaxed)
    }

    fn tell(&self, count: u64) {
        if let Some(watched) = &self.0.watched
            && let Some(told) = watched.watcher.get()
        {
            told(&watched.module, watched.reason, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_is_told_when_a_count_begins_and_each_time_that_it_has_doubled() {
        let counters = Counters::default();
        let early = counters.counter(&"links".into(), "stale");
        early.add(1);
        let told = Arc::<Mutex<Vec<_>>>::default();
        let mine = told.clone();
        let is_first = counters.watch(move |module, reason, count| {
            let line = (module.to_string(), reason, count);
            mine.lock().unwrap().push(line);
        });
        assert!(is_first && !counters.watch(|_, _, _| panic!("the first stays")));
        let late = counters.counter(&"order".into(), "undecodable");
        for _ in 0..9 {
            late.add(1);
        }
        late.add(0);
        early.add(100);
        let told = told.lock().unwrap().clone();
        let line = |module: &str, reason, count| (module.to_owned(), reason, count);
        let mut expected: Vec<_> = [1, 2, 4, 8].map(|k| line("order", "undecodable", k)).into();
        expected.push(line("links", "stale", 101));
        assert_eq!(told, expected);
        assert_eq!((counters.total("stale"), late.get()), (101, 9));
    }
}
