//! The machine of the store, as the node replicates it.
use bytes::Bytes;
use quorate_core::ProcessId;
use quorate_runtime::node::{Chunk, Chunks, Machine, Unreadable, View};
use quorate_services::machine::{self, Answer, Restoring};
use std::{mem, thread};

/// The machine, and the state transfer that replaces it.
#[derive(Default)]
pub struct Store {
    machine: machine::Machine,
    /// The state that is being restored from chunks.
    restoring: Restoring,
}

impl Store {
    /// The machine that is replicated.
    pub fn machine(&self) -> &machine::Machine {
        &self.machine
    }
}

impl Machine for Store {
    type Command = Bytes;
    type Reply = Answer;

    fn apply(&mut self, _: u64, origin: ProcessId, payload: Bytes) -> Answer {
        self.machine.deliver(origin, payload, true)
    }

    fn apply_unanswered(&mut self, _: u64, origin: ProcessId, payload: Bytes) {
        self.machine.deliver(origin, payload, false);
    }

    fn snapshot(&self) -> View {
        View::new(State(self.machine.view()))
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        let pushed = self.restoring.push(&chunk.into_bytes());
        Ok(pushed?)
    }

    fn restored(&mut self) -> Result<(), Unreadable> {
        self.machine = mem::take(&mut self.restoring).finish()?;
        Ok(())
    }

    /// Frees the machine before this one on a thread of its own, so that nothing waits for it.
    fn take_over(&mut self, before: Self) {
        // If no thread can be started, the machine is freed here.
        let _ = thread::Builder::new().spawn(move || drop(before));
    }
}

struct State(machine::View);

impl Chunks for State {
    fn next_chunk(&mut self) -> Option<Bytes> {
        self.0.next_chunk()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use quorate_services::kv::Command;

    fn large() -> Store {
        let mut payload: BytesMut = machine::commands();
        for number in 0..40 {
            let key = format!("k{number}").into();
            Command::Set(key, vec![number; 100_000].into()).encode(&mut payload);
        }
        let mut store = Store::default();
        let p1 = ProcessId::from_rank(1).unwrap();
        store.apply_unanswered(1, p1, payload.freeze());
        store
    }

    #[test]
    fn a_state_that_was_given_is_the_one_that_was() {
        let store = large();
        let (mut view, mut restored) = (store.snapshot(), Store::default());
        let mut bytes = 0;
        while let Some(chunk) = view.next_chunk() {
            bytes += chunk.len();
            restored.restore(Chunk::of(chunk)).unwrap();
        }
        restored.restored().unwrap();
        assert!(bytes > 4_000_000);
        assert_eq!(restored.machine, store.machine);
    }

    #[test]
    fn what_is_no_state_or_not_all_of_one_is_found() {
        let mut store = Store::default();
        assert!(store.restored().is_err(), "nothing came");
        let mut store = Store::default();
        let nonsense = Chunk::of(Bytes::from_static(&[9; 10]));
        assert!(store.restore(nonsense).is_err());
        let mut view = large().snapshot();
        let mut store = Store::default();
        store
            .restore(Chunk::of(view.next_chunk().unwrap()))
            .unwrap();
        assert!(store.restored().is_err(), "the rest is missing");
    }
}
