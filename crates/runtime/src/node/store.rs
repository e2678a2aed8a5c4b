//! The size of a store of registers that each message carries as a whole. A write that would make the store
//! too long is refused.
//!
//! A write begins if the store, as this process knows it, has room for the growth by this write, and for
//! the growth by this process's writes to other registers that are in flight. A write that waits in a queue
//! adds nothing yet: it is checked when it begins. Concurrent writes of other processes are not known here
//! yet. So n processes exceed the limit at most n times, since each knows its own writes. Messages have
//! room for that.
use crate::error::MemoryError;
use bytes::Bytes;
use quorate_abstractions::register::{RegisterResponse, Tag};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most bytes that an entry of a store takes in addition to its name and its value.
pub(super) const ENTRY: usize = 32;

#[derive(Default)]
struct State {
    /// By register: the newest known write, and the length of its value.
    known: BTreeMap<Bytes, (Tag, usize)>,
    /// The length of all these entries together, in bytes.
    stored: usize,
    /// By register that this process is writing: the length of the value, and the growth of the store.
    coming: BTreeMap<Bytes, (usize, usize)>,
}

/// The store as this process knows it.
pub(crate) struct Store {
    limit: usize,
    state: Mutex<State>,
}

impl Store {
    /// An empty store of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Store {
            limit,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A register was written, here or elsewhere.
    pub fn learn(&self, register: &Bytes, tag: Tag, value: usize) {
        self.state().learn(register, tag, value);
    }

    /// This process is about to write a register. It writes one value of a register at a time: if several
    /// writes share an operation, this is called for each, and the last one counts.
    pub fn begin(&self, register: &Bytes, value: usize) -> Result<(), MemoryError> {
        let mut state = self.state();
        let before = state.length(register);
        let grows = (register.len() + value + ENTRY).saturating_sub(before);
        let others = state.coming.iter().filter(|(name, _)| *name != register);
        let coming: usize = others.map(|(_, (_, grows))| grows).sum();
        if grows > 0 && state.stored + coming + grows > self.limit {
            return Err(MemoryError::StoreFull { limit: self.limit });
        }
        state.coming.insert(register.clone(), (value, grows));
        Ok(())
    }

    /// An operation of this process on a register has returned.
    pub fn ended(&self, register: &Bytes, outcome: &RegisterResponse) {
        let mut state = self.state();
        let coming = match outcome {
            RegisterResponse::Read { .. } => None,
            RegisterResponse::Written { .. } | RegisterResponse::Refused(_) => {
                state.coming.remove(register)
            }
        };
        if let (RegisterResponse::Written { tag }, Some((value, _))) = (outcome, coming) {
            state.learn(register, *tag, value);
        }
    }
}

impl State {
    /// The known length of a register's entry.
    fn length(&self, register: &Bytes) -> usize {
        let known = self.known.get(register);
        known.map_or(0, |(_, value)| register.len() + value + ENTRY)
    }

    fn learn(&mut self, register: &Bytes, tag: Tag, value: usize) {
        if self
            .known
            .get(register)
            .is_some_and(|(known, _)| *known >= tag)
        {
            return;
        }
        let before = self.length(register);
        // A slice would keep the whole buffer in memory that it arrived in.
        let name = Bytes::copy_from_slice(register);
        self.known.insert(name, (tag, value));
        self.stored = self.stored - before + self.length(register);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::ProcessId;

    fn tag(timestamp: u64) -> Tag {
        Tag {
            timestamp,
            writer: ProcessId::from_rank(1),
        }
    }

    #[test]
    fn what_is_stored_and_what_is_coming_counts_and_what_is_replaced_does_not() {
        let store = Store::new(1000);
        let [a, b] = ["a", "b"].map(|name| Bytes::from_static(name.as_bytes()));
        store.begin(&a, 500).unwrap();
        assert!(matches!(
            store.begin(&b, 500),
            Err(MemoryError::StoreFull { limit: 1000 })
        ));
        store.ended(&a, &RegisterResponse::Written { tag: tag(1) });
        // The tap in the layer below has seen the same write.
        store.learn(&a, tag(1), 500);
        assert!(store.begin(&b, 500).is_err());
        store.begin(&a, 900).unwrap();
        store.ended(&a, &RegisterResponse::Written { tag: tag(2) });
        store.learn(&a, tag(1), 500);
        assert!(store.begin(&b, 100).is_err());
        store.learn(&a, tag(3), 0);
        store.begin(&b, 900).unwrap();
    }

    #[test]
    fn of_writes_that_share_an_operation_the_last_that_is_taken_counts() {
        let store = Store::new(1000);
        let [a, b] = ["a", "b"].map(|name| Bytes::from_static(name.as_bytes()));
        store.begin(&a, 900).unwrap();
        store.begin(&a, 500).unwrap();
        // A refused write changes nothing.
        assert!(store.begin(&a, 1000).is_err());
        assert!(store.begin(&b, 500).is_err());
        store.begin(&b, 400).unwrap();
        store.ended(&a, &RegisterResponse::Written { tag: tag(1) });
        assert!(store.begin(&b, 500).is_err());
        store.begin(&b, 434).unwrap();
    }
}
