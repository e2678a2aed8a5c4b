//! The users of a total order that processes rejoin. Each user keeps its deliveries, and gives them away as
//! its state.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    reconfigurable::{Indication, Request, Restore, View},
    total_order::{Broadcast, Deliver},
};
use quorate_core::{Addr, ProcessId, message::fold};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The deliveries of the present start of a process, or the state that it was given: one number per message.
#[derive(Default)]
struct Entry {
    delivered: Vec<u64>,
    restored: BytesMut,
}

/// The deliveries of the present start of each process.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<BTreeMap<ProcessId, Entry>>>);

impl Journal {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<ProcessId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the deliveries of the order at this start of `p`, passes them to `up`, and gives them away as a
    /// state.
    pub fn keep(
        &self,
        p: ProcessId,
        up: Addr<Deliver>,
        spawn: impl FnOnce(Addr<Indication>) -> Addr<Request>,
    ) -> Addr<Broadcast> {
        self.entries().insert(p, Entry::default());
        let port: Arc<OnceLock<Addr<Request>>> = Arc::default();
        let (journal, answer) = (self.clone(), port.clone());
        let requests = spawn(Addr::new(move |indication| match indication {
            Indication::Deliver(deliver) => {
                journal.append(p, &deliver);
                up.send(deliver);
            }
            Indication::Epoch(_) => {}
            Indication::StateWanted { transfer } => {
                let view = View::of_bytes(journal.state(p));
                if let Some(port) = answer.get() {
                    port.send(Request::State { transfer, view });
                }
            }
            Indication::Restore(restore) => journal.restore(p, &restore),
        }));
        let broadcast = requests.with(Request::Broadcast);
        // The cell was just made, so it is empty.
        let _ = port.set(requests);
        broadcast
    }

    fn append(&self, p: ProcessId, deliver: &Deliver) {
        let origin = fold(
            deliver.origin.process.rank() as u64,
            deliver.origin.incarnation.0,
        );
        let numbers = (deliver.first..).take(deliver.payloads.len());
        let messages = numbers.map(|number| fold(origin, number));
        let mut entries = self.entries();
        entries.entry(p).or_default().delivered.extend(messages);
    }

    fn state(&self, p: ProcessId) -> Bytes {
        let mut state = BytesMut::new();
        for message in &self.entries().entry(p).or_default().delivered {
            state.put_u64(*message);
        }
        state.freeze()
    }

    fn restore(&self, p: ProcessId, restore: &Restore) {
        let mut entries = self.entries();
        let entry = entries.entry(p).or_default();
        match restore {
            Restore::Begin | Restore::Abandoned => entry.restored.clear(),
            Restore::Chunk(chunk) => entry.restored.extend_from_slice(chunk),
            Restore::Whole => {
                let restored = std::mem::take(&mut entry.restored);
                let numbers = restored.chunks_exact(8);
                let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
                entry.delivered = numbers.map(number).collect();
            }
        }
    }

    /// The error, if there is one: two different orders; or, at the end of a complete run, a live process
    /// that lacks something.
    pub fn trouble(&self, living: impl IntoIterator<Item = ProcessId>) -> Option<String> {
        let entries = self.entries();
        let longest = entries.values().max_by_key(|e| e.delivered.len())?;
        let longest = &longest.delivered;
        let strays = |entry: &Entry| !longest.starts_with(&entry.delivered);
        if let Some((p, _)) = entries.iter().find(|(_, entry)| strays(entry)) {
            return Some(format!("{p} has another order than the others"));
        }
        living.into_iter().find_map(|p| {
            let has = entries.get(&p).map_or(0, |entry| entry.delivered.len());
            let all = longest.len();
            (has < all).then(|| format!("{p} has {has} messages of {all}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(logs: [&[u64]; 3]) -> Journal {
        let journal = Journal::default();
        for (log, p) in logs.into_iter().zip(processes()) {
            let delivered = log.to_vec();
            let restored = BytesMut::new();
            let entry = Entry {
                delivered,
                restored,
            };
            journal.entries().insert(p, entry);
        }
        journal
    }

    fn processes() -> impl Iterator<Item = ProcessId> {
        (1..=3).filter_map(ProcessId::from_rank)
    }

    #[test]
    fn two_orders_are_found_whoever_lives() {
        let diverging = journal([&[1, 2, 3], &[1, 3], &[1, 2, 3]]);
        assert!(
            diverging
                .trouble([])
                .is_some_and(|t| t.contains("p2 has another order"))
        );
    }

    #[test]
    fn who_lives_must_have_all_and_who_does_not_need_not() {
        let lacking = journal([&[1, 2, 3], &[1, 2, 3], &[1]]);
        assert_eq!(lacking.trouble(processes().take(2)), None);
        let trouble = lacking.trouble(processes());
        assert_eq!(trouble.as_deref(), Some("p3 has 1 messages of 3"));
    }

    #[test]
    fn a_state_that_was_not_whole_counts_for_nothing() {
        let journal = journal([&[1, 2, 3], &[], &[]]);
        let mut processes = processes();
        let state = processes
            .next()
            .map(|p| journal.state(p))
            .unwrap_or_default();
        let whole = [
            Restore::Begin,
            Restore::Chunk(state.clone()),
            Restore::Whole,
        ];
        let half = [Restore::Begin, Restore::Chunk(state), Restore::Abandoned];
        for restores in [whole, half] {
            if let Some(p) = processes.next() {
                for restore in &restores {
                    journal.restore(p, restore);
                }
            }
        }
        let lengths: Vec<_> = journal
            .entries()
            .values()
            .map(|e| e.delivered.len())
            .collect();
        assert_eq!(lengths, [3, 3, 0]);
    }
}
