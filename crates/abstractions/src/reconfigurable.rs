//! Uniform total order among processes some of which crash, and come back without their memory.
//!
//! Every seat of Π is held by one *incarnation* at a time. One that is started again is a newcomer: an
//! ordered command puts it in the place of the one before, which from then on is crashed for good, and
//! the newcomer is given the state that the others had at some later point of the order. What it delivers
//! continues from there.
//!
//! - **TOB1 … TOB5, FRB5** as for [total order](crate::total_order), where the correct processes are the
//!   incarnations that never crash, and a newcomer counts as having delivered what its state stands for.
//! - Epochs come at the same point of the order everywhere.
//!
//! # States
//! A state travels in chunks, and nobody ever holds it as one buffer. Who gives it answers
//! [`Indication::StateWanted`] with a [`View`]: the state as of that point of the order, which does not
//! change any more, and is read chunk by chunk, at the pace at which the other process takes it. The view
//! is dropped once it has been read, or once nobody takes it any more.
//!
//! Who gets a state hears [`Restore::Begin`], then the chunks in their order, then [`Restore::Whole`]: from
//! then on its state is that one. Until then it has the state that it had, and what is delivered meanwhile
//! belongs to that. If the chunks stop coming, or the state is needed no more, it hears
//! [`Restore::Abandoned`] instead, and another may begin later.
use crate::total_order::{Broadcast, Deliver};
use bytes::Bytes;
use quorate_core::{
    Observation, Observe,
    message::{Origin, digest, fold},
};
use std::fmt;

/// A chunk has about so many bytes: a small part of what may be in flight to one process.
pub const CHUNK: usize = 256 << 10;
/// No chunk may be longer: a state with such a chunk is not given.
pub const LONGEST_CHUNK: usize = 1 << 20;

/// A state that does not change any more, read once from its beginning to its end.
pub trait Chunks: Send + 'static {
    /// The next chunk, of about [`CHUNK`] bytes and at most [`LONGEST_CHUNK`]; nothing after the last one.
    /// It is called by the protocol's thread, which waits for it.
    fn next_chunk(&mut self) -> Option<Bytes>;
}

/// The state of a user at one point of the order.
pub struct View(Box<dyn Chunks>);

impl View {
    /// The state that these chunks put together.
    pub fn new(chunks: impl Chunks) -> Self {
        View(Box::new(chunks))
    }

    /// The state that consists of these bytes. For small ones.
    pub fn of_bytes(bytes: Bytes) -> Self {
        View::new(ChunksOfBytes(bytes))
    }

    /// The next chunk; nothing after the last one.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        self.0.next_chunk()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

/// Bytes, cut where a chunk is full.
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
    /// A broadcast. A newcomer's wait until it has its state.
    Broadcast(Broadcast),
    /// The user's state, as it was when the state was [wanted](Indication::StateWanted) for the
    /// `transfer`.
    State {
        transfer: u64,
        /// The state, opaque.
        view: View,
    },
}

/// What is indicated, in one order everywhere but for the states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// Consecutive messages of one origin.
    Deliver(Deliver),
    /// Who holds the seats from now on.
    Epoch(Epoch),
    /// A newcomer wants the state that follows from all that was delivered here so far: the answer is
    /// [`Request::State`] with this transfer.
    StateWanted {
        /// What the answer is told by.
        transfer: u64,
    },
    /// This process is given a state: of a newcomer, before anything else; or of one so far behind that
    /// nobody can tell it any more what it lacks.
    Restore(Restore),
}

/// How a state comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restore {
    /// The chunks of a state follow. What there is of another one is void.
    Begin,
    /// The next chunk.
    Chunk(Bytes),
    /// All of it is here: this process's state is this from now on. The epoch follows.
    Whole,
    /// The rest will not come: the state stays what it was.
    Abandoned,
}

/// An epoch: who holds the seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// How many replacements there were before: 0 at the beginning.
    pub number: u64,
    /// The newcomers that hold seats now, each with how many held it before, in rank order. The other
    /// seats are held by their first incarnations.
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
