//! Uniform total order among processes that may crash and come back without their memory.
//!
//! At any time one *incarnation* holds each seat of Π. An incarnation that is started later is a newcomer: an
//! ordered command puts it in the place of the one before, which from then on counts as crashed for good. The
//! newcomer is given the state that the others had at some later point of the order, and its deliveries
//! continue from there.
//!
//! - **TOB1 … TOB5, FRB5** as for [total order](crate::total_order), where the correct processes are the
//!   incarnations that never crash, and a newcomer counts as having delivered what its state stands for.
//! - Epochs change at the same point of the order everywhere.
//!
//! # States
//! A state travels in chunks, and no process ever holds it as one buffer. The giver answers
//! [`Indication::StateWanted`] with a [`View`]: the state as of that point of the order, which does not
//! change any more. It is read chunk by chunk, at the pace at which the other process takes them. The view is
//! dropped once it has been read, or once no process takes it any more.
//!
//! The receiver of a state gets [`Restore::Begin`], then the chunks in their order, then [`Restore::Whole`]:
//! from then on it has the new state. Until then it keeps the state that it had, to which the messages
//! delivered meanwhile belong. If the chunks stop coming, or the state is not needed any more, it gets
//! [`Restore::Abandoned`] instead, and another transfer may begin later.
use crate::total_order::{Broadcast, Deliver};
use bytes::Bytes;
use quorate_core::{
    Observation, Observe,
    message::{Origin, digest, fold},
};
use std::fmt;

/// The usual size of a chunk in bytes: a small part of what may be in flight to one process.
pub const CHUNK: usize = 256 << 10;
/// The longest chunk in bytes. A state with a longer chunk is not given.
pub const LONGEST_CHUNK: usize = 1 << 20;

/// A state that does not change any more, read once from its beginning to its end.
pub trait Chunks: Send + 'static {
    /// The next chunk, of about [`CHUNK`] bytes and at most [`LONGEST_CHUNK`]; `None` after the last one. The
    /// protocol thread calls it, and waits for it.
    fn next_chunk(&mut self) -> Option<Bytes>;
}

/// The state of a user at one point of the order.
pub struct View(Box<dyn Chunks>);

impl View {
    /// The state that consists of these chunks.
    pub fn new(chunks: impl Chunks) -> Self {
        View(Box::new(chunks))
    }

    /// The state that consists of these bytes, for small states.
    pub fn of_bytes(bytes: Bytes) -> Self {
        View::new(ChunksOfBytes(bytes))
    }

    /// The next chunk; `None` after the last one.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        self.0.next_chunk()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

/// Bytes, cut into full chunks.
struct ChunksOfBytes(Bytes);

impl Chunks for ChunksOfBytes {
    fn next_chunk(&mut self) -> Option<Bytes> {
        let length = self.0.len().min(CHUNK);
        (length > 0).then(|| self.0.split_to(length))
    }
}

/// What is requested, and what is indicated.
pub type Port = (Request, Indication);

/// What is requested.
#[derive(Debug)]
pub enum Request {
    /// A broadcast. The broadcasts of a newcomer wait until it has its state.
    Broadcast(Broadcast),
    /// The user's state as of the [`StateWanted`](Indication::StateWanted) that asked for this `transfer`.
    State {
        transfer: u64,
        /// The state, opaque.
        view: View,
    },
}

/// The indications. They come in one order everywhere, except for the states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// Consecutive messages of one origin.
    Deliver(Deliver),
    /// The holders of the seats from now on.
    Epoch(Epoch),
    /// A newcomer wants the state after all messages delivered here so far. The user answers with
    /// [`Request::State`] and this transfer.
    StateWanted {
        /// The number that the answer repeats.
        transfer: u64,
    },
    /// This process is given a state. A newcomer gets it before anything else. Another process gets it if it
    /// is so far behind that no peer has the messages that it lacks.
    Restore(Restore),
}

/// The steps by which a state arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restore {
    /// The chunks of a state follow. Chunks of an earlier, incomplete state are void.
    Begin,
    /// The next chunk.
    Chunk(Bytes),
    /// The state is complete: from now on it is this process's state. The epoch follows.
    Whole,
    /// The remaining chunks will not come: the state stays as it was.
    Abandoned,
}

/// An epoch: the holders of the seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// How many replacements there were before: 0 at the beginning.
    pub number: u64,
    /// The newcomers that hold seats now, in rank order, each with the number of incarnations that held its
    /// seat before. The first incarnations hold the other seats.
    pub newcomers: Vec<(Origin, u64)>,
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        match self {
            Request::Broadcast(request) => request.observe(),
            Request::State { transfer, .. } => Observation::request("State").instance(*transfer),
        }
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        match self {
            Indication::Deliver(indication) => indication.observe(),
            Indication::Epoch(epoch) => epoch.observe(),
            Indication::StateWanted { transfer } => {
                Observation::indication("StateWanted").instance(*transfer)
            }
            Indication::Restore(restore) => restore.observe(),
        }
    }
}

impl Observe for Restore {
    fn observe(&self) -> Observation {
        match self {
            Restore::Begin => Observation::indication("Begin"),
            Restore::Chunk(chunk) => Observation::indication("Chunk").digest(digest(chunk)),
            Restore::Whole => Observation::indication("Whole"),
            Restore::Abandoned => Observation::indication("Abandoned"),
        }
    }
}

impl Observe for Epoch {
    fn observe(&self) -> Observation {
        let content = self.newcomers.iter().fold(0, |hash, (origin, number)| {
            fold(fold(hash, origin.incarnation.0), *number)
        });
        Observation::indication("Epoch")
            .instance(self.number)
            .digest(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_where_a_chunk_is_full() {
        for length in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut view = View::of_bytes(Bytes::from(vec![7; length]));
            let mut left = length;
            while let Some(chunk) = view.next_chunk() {
                assert_eq!(chunk.len(), left.min(CHUNK), "{length}");
                left -= chunk.len();
            }
            assert_eq!(left, 0, "{length}");
        }
    }
}
