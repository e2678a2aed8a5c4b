//! States on their way to another replica, and to this one.
use bytes::Bytes;
use quorate_abstractions::reconfigurable::{Chunks, View};
use quorate_core::wire::Undecodable;
use quorate_services::machine::{self, Machine, Restoring};
use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread,
};
use tracing::warn;

/// So many chunks are made before somebody wants them.
const AHEAD: usize = 4;

/// A view whose chunks another thread makes, a few ahead of whoever reads them: the protocol's thread, which
/// has better things to do. It ends, and what it keeps of the store with it, when it has been read or nobody
/// reads it any more.
pub fn outgoing(view: machine::View) -> View {
    let (hand_over, handed_over) = sync_channel::<machine::View>(1);
    let (made, chunks) = sync_channel(AHEAD);
    let make = move || {
        let Ok(mut view) = handed_over.recv() else {
            return;
        };
        while let Some(chunk) = view.next_chunk()
            && made.send(chunk).is_ok()
        {}
    };
    let thread = thread::Builder::new().name("state".to_owned());
    if let Err(error) = thread.spawn(make) {
        warn!("the protocol reads the state itself: there is no thread for it: {error}");
        return View::new(Unmade(view));
    }
    // The thread waits for it.
    let _ = hand_over.send(view);
    View::new(Made(chunks))
}

struct Made(Receiver<Bytes>);

impl Chunks for Made {
    fn next_chunk(&mut self) -> Option<Bytes> {
        self.0.recv().ok()
    }
}

struct Unmade(machine::View);

impl Chunks for Unmade {
    fn next_chunk(&mut self) -> Option<Bytes> {
        self.0.next_chunk()
    }
}

/// A state that comes in chunks.
pub struct Incoming {
    /// The state so far, or why it will be none.
    state: Result<Restoring, Undecodable>,
    bytes: u64,
}

impl Default for Incoming {
    fn default() -> Self {
        Incoming {
            state: Ok(Restoring::default()),
            bytes: 0,
        }
    }
}

impl Incoming {
    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        if let Ok(restoring) = &mut self.state
            && let Err(error) = restoring.push(chunk)
        {
            self.state = Err(error);
        }
    }

    /// How much came.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The machine, when all chunks are in.
    pub fn finish(self) -> Result<Machine, Undecodable> {
        self.state?.finish()
    }
}

/// Frees what a machine holds, without anybody waiting for it.
pub fn forget(machine: Machine) {
    // Without another thread it is freed here.
    let _ = thread::Builder::new().spawn(move || drop(machine));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use quorate_core::{Incarnation, MessageId, ProcessId, message::Origin};
    use quorate_services::kv::Command;

    fn large() -> Machine {
        let mut payload: BytesMut = machine::commands();
        for number in 0..40 {
            let key = format!("k{number}").into();
            Command::Set(key, vec![number; 100_000].into()).encode(&mut payload);
        }
        let origin = Origin {
            process: ProcessId::from_rank(1).unwrap(),
            incarnation: Incarnation(1),
        };
        let mut machine = Machine::default();
        let id = MessageId {
            origin,
            sequence: 1,
        };
        machine.deliver(id, &payload.freeze(), false);
        machine
    }

    #[test]
    fn chunks_made_ahead_are_those_of_the_state() {
        let machine = large();
        let (mut ahead, mut incoming) = (outgoing(machine.view()), Incoming::default());
        let mut view = machine.view();
        while let Some(chunk) = ahead.next_chunk() {
            assert_eq!(Some(&chunk), view.next_chunk().as_ref());
            incoming.push(&chunk);
        }
        assert!(view.next_chunk().is_none());
        assert!(incoming.bytes() > 4_000_000);
        assert_eq!(incoming.finish(), Ok(machine));
    }

    #[test]
    fn what_is_no_state_is_found_at_its_end_however_much_came() {
        let mut incoming = Incoming::default();
        incoming.push(&[9; 10]);
        incoming.push(&[9; 10]);
        assert_eq!(incoming.bytes(), 20);
        assert!(incoming.finish().is_err());
        assert!(Incoming::default().finish().is_err());
    }
}
