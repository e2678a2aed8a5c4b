//! How long the store of registers is of which each message carries all: a write that would make it too long is
//! refused.
//!
//! A write begins if the store, as this process knows it, has room for what it adds to its register, and for
//! what writes of this process to other registers that are in flight will add. What waits in line adds nothing yet: it
//! is looked at when it begins. What others write at the same time is
//! not known here yet: n processes overshoot to n times the limit at most, since each knows what it has written
//! itself. Messages have room for that.
use crate::error::MemoryError;
use bytes::Bytes;
use quorate_abstractions::register::{RegisterResponse, Tag};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What an entry of a store takes beside its name and its value, at most.
pub(super) const ENTRY: usize = 32;

#[derive(Default)]
struct State {
    /// By register: the newest write that is known, and how long its value is.
    known: BTreeMap<Bytes, (Tag, usize)>,
    /// How long these are together.
    stored: usize,
    /// By register that this process writes: how long the value is, and by how much the store grows.
    coming: BTreeMap<Bytes, (usize, usize)>,
}

/// What is known of a store.
pub(crate) struct Store {
    limit: usize,
    state: Mutex<State>,
}

impl Store {
    /// An empty one, of at most so many bytes.
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

    /// This process is about to write a register, of which it writes one value at a time: of several before an
    /// operation begins, the last.
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
    /// What a register takes, as far as it is known.
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
        // What it came in may be large.
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
        // The tap below has seen the same write.
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
        // One that is refused changes nothing.
        assert!(store.begin(&a, 1000).is_err());
        assert!(store.begin(&b, 500).is_err());
        store.begin(&b, 400).unwrap();
        store.ended(&a, &RegisterResponse::Written { tag: tag(1) });
        assert!(store.begin(&b, 500).is_err());
        store.begin(&b, 434).unwrap();
    }
}
