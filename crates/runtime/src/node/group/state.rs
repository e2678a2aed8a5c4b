//! The state of all sharers of an order, as one: its position in the order, and the chunks of each sharer.
//!
//! The first chunk is the position; then, in turn, one that says whose chunk follows, and that chunk.
use super::sharer::{Sharer, Unreadable};
use bytes::{Buf, Bytes, BytesMut};
use quorate_abstractions::reconfigurable::{Chunks, LONGEST_CHUNK, View};
use quorate_core::{
    Incarnation, MessageId, ProcessId,
    message::Origin,
    wire::{Undecodable, put_number, take_number},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// By sharer and process: the last message.
pub(super) type Last = BTreeMap<(usize, ProcessId), MessageId>;

/// A point of the order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Position {
    /// The number of messages before it.
    pub(super) number: u64,
    pub(super) last: Last,
}

impl Position {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_number(self.number, &mut out);
        for ((place, process), id) in &self.last {
            put_number(*place as u64, &mut out);
            put_number(process.rank() as u64, &mut out);
            put_number(id.origin.incarnation.0, &mut out);
            put_number(id.sequence, &mut out);
        }
        out.freeze()
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let mut position = Position {
            number: take_number(&mut bytes)?,
            last: Last::new(),
        };
        while bytes.has_remaining() {
            let place = take_number(&mut bytes)? as usize;
            let rank = take_number(&mut bytes)? as usize;
            let process = ProcessId::from_rank(rank).ok_or(Undecodable)?;
            let incarnation = Incarnation(take_number(&mut bytes)?);
            let origin = Origin {
                process,
                incarnation,
            };
            let sequence = take_number(&mut bytes)?;
            let id = MessageId { origin, sequence };
            position.last.insert((place, process), id);
        }
        Ok(position)
    }
}

/// The number of chunks that are made in advance.
const AHEAD: usize = 4;

/// A view of all states, for the protocol thread to read. A thread of its own makes a few chunks in
/// advance.
pub(super) fn view(position: &Position, views: Vec<Option<View>>) -> View {
    let views = views.into_iter().enumerate();
    let all = All {
        next: VecDeque::from([position.encode()]),
        views: views
            .filter_map(|(place, view)| Some((place, view?)))
            .collect(),
    };
    ahead(View::new(all))
}

struct All {
    next: VecDeque<Bytes>,
    views: VecDeque<(usize, View)>,
}

impl Chunks for All {
    fn next_chunk(&mut self) -> Option<Bytes> {
        while self.next.is_empty() {
            let (place, view) = self.views.front_mut()?;
            if let Some(chunk) = view.next_chunk() {
                let mut whose = BytesMut::new();
                put_number(*place as u64, &mut whose);
                self.next.extend([whose.freeze(), chunk]);
            } else {
                self.views.pop_front();
            }
        }
        self.next.pop_front()
    }
}

/// A view whose chunks another thread makes. That thread ends when the view has been read, or nobody reads
/// it any more.
fn ahead(view: View) -> View {
    let (hand_over, handed_over) = sync_channel::<View>(1);
    let (made, chunks) = sync_channel::<Option<Bytes>>(AHEAD);
    let make = move || {
        let Ok(mut view) = handed_over.recv() else {
            return;
        };
        loop {
            let chunk = view.next_chunk();
            let is_last = chunk.is_none();
            // The view was read completely, or nobody reads it any more.
            if made.send(chunk).is_err() || is_last {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("state".to_owned());
    if let Err(error) = thread.spawn(make) {
        tracing::warn!(%error, "the protocol reads the state itself: there is no thread for it");
        return view;
    }
    // The thread waits for the view.
    let _ = hand_over.send(view);
    View::new(Made(chunks))
}

struct Made(Receiver<Option<Bytes>>);

impl Chunks for Made {
    /// If the thread that makes the chunks has panicked, returns a chunk that is too long: then the state
    /// is not transferred at all, instead of being transferred without its end.
    fn next_chunk(&mut self) -> Option<Bytes> {
        match self.0.recv() {
            Ok(chunk) => chunk,
            Err(_) => Some(Bytes::from(vec![0; LONGEST_CHUNK + 1])),
        }
    }
}

/// The meaning of the next chunk.
enum Next {
    Position,
    Whose(Position),
    Of(Position, usize),
    /// No chunk: the state is unreadable.
    Unreadable,
}

/// A state that is being received.
pub(super) struct Incoming(Next);

impl Default for Incoming {
    fn default() -> Self {
        Incoming(Next::Position)
    }
}

impl Incoming {
    /// Takes the next chunk.
    pub(super) fn take(&mut self, chunk: Bytes, sharers: &mut [Box<dyn Sharer>]) {
        let now = std::mem::replace(&mut self.0, Next::Unreadable);
        self.0 = Self::after(now, chunk, sharers).unwrap_or(Next::Unreadable);
    }

    fn after(
        now: Next,
        mut chunk: Bytes,
        sharers: &mut [Box<dyn Sharer>],
    ) -> Result<Next, Unreadable> {
        Ok(match now {
            Next::Position => Next::Whose(Position::decode(chunk)?),
            Next::Whose(position) => Next::Of(position, take_number(&mut chunk)? as usize),
            Next::Of(position, place) => {
                let sharer = sharers.get_mut(place).ok_or(Unreadable)?;
                sharer.chunk(chunk)?;
                Next::Whose(position)
            }
            Next::Unreadable => Next::Unreadable,
        })
    }

    /// All chunks have arrived.
    pub(super) fn finish(self) -> Result<Position, Unreadable> {
        match self.0 {
            Next::Whose(position) => Ok(position),
            Next::Position | Next::Of(..) | Next::Unreadable => Err(Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sharer::Entry, *};
    use std::sync::{Arc, Mutex};

    fn position() -> Position {
        let id = |rank, sequence| {
            let process = ProcessId::from_rank(rank).unwrap();
            let incarnation = Incarnation(7 * rank as u64);
            let origin = Origin {
                process,
                incarnation,
            };
            MessageId { origin, sequence }
        };
        let all = [(0, id(1, 3)), (0, id(2, 1 << 40)), (2, id(1, 1))];
        Position {
            number: 300,
            last: all
                .map(|(place, id)| ((place, id.origin.process), id))
                .into(),
        }
    }

    /// Keeps the chunks that have arrived.
    struct Taker(Taken);

    type Taken = Arc<Mutex<Vec<Bytes>>>;

    impl Sharer for Taker {
        fn deliver(&mut self, _: Entry) {}

        fn view(&self) -> Option<View> {
            None
        }

        fn begin(&mut self) {}

        fn chunk(&mut self, chunk: Bytes) -> Result<(), Unreadable> {
            if chunk.is_empty() {
                return Err(Unreadable);
            }
            self.0.lock().unwrap().push(chunk);
            Ok(())
        }

        fn abandoned(&mut self) {}

        fn whole(&mut self, _: &[MessageId], _: Origin) -> Result<(), Unreadable> {
            Ok(())
        }
    }

    fn takers(count: usize) -> (Vec<Taken>, Vec<Box<dyn Sharer>>) {
        let all: Vec<Taken> = (0..count).map(|_| Arc::default()).collect();
        let boxed = |taken: &Taken| -> Box<dyn Sharer> { Box::new(Taker(taken.clone())) };
        let takers = all.iter().map(boxed).collect();
        (all, takers)
    }

    #[test]
    fn each_gets_its_own_chunks_and_the_position_is_that_of_the_state() {
        let long = Bytes::from(vec![1; 600_000]);
        let views = vec![
            Some(View::of_bytes(long.clone())),
            None,
            Some(View::of_bytes(Bytes::from_static(b"short"))),
        ];
        let mut view = view(&position(), views);
        let (taken, mut takers) = takers(3);
        let mut incoming = Incoming::default();
        while let Some(chunk) = view.next_chunk() {
            incoming.take(chunk, &mut takers);
        }
        assert_eq!(incoming.finish(), Ok(position()));
        let taken = taken.iter().map(|taken| taken.lock().unwrap().concat());
        let all: Vec<Vec<u8>> = taken.collect();
        assert_eq!(all, [long.to_vec(), Vec::new(), b"short".to_vec()]);
    }

    /// Gives one chunk, and then panics.
    struct Broken(bool);

    impl Chunks for Broken {
        fn next_chunk(&mut self) -> Option<Bytes> {
            assert!(!std::mem::replace(&mut self.0, true), "as it was told");
            Some(Bytes::from_static(b"first"))
        }
    }

    #[test]
    fn a_state_whose_maker_panics_is_not_given_for_a_whole_one() {
        let mut view = view(&position(), vec![Some(View::new(Broken(false)))]);
        let head = [
            position().encode(),
            Bytes::from_static(&[0]),
            Bytes::from_static(b"first"),
        ];
        for chunk in head {
            assert_eq!(view.next_chunk(), Some(chunk));
        }
        let next = view.next_chunk();
        assert!(next.is_some_and(|chunk| chunk.len() > LONGEST_CHUNK));
    }

    #[test]
    fn what_is_no_state_or_not_all_of_one_is_found() {
        let finish = |chunks: &[&[u8]]| {
            let (_, mut takers) = takers(1);
            let mut incoming = Incoming::default();
            for chunk in chunks {
                incoming.take(Bytes::copy_from_slice(chunk), &mut takers);
            }
            incoming.finish()
        };
        let head: &[u8] = &position().encode();
        assert_eq!(finish(&[head, &[0], b"a"]), Ok(position()));
        assert_eq!(finish(&[]), Err(Unreadable));
        assert_eq!(finish(&[&head[..5]]), Err(Unreadable));
        assert_eq!(
            finish(&[head, &[0]]),
            Err(Unreadable),
            "its chunk is missing"
        );
        assert_eq!(finish(&[head, &[1], b"a"]), Err(Unreadable), "of nobody");
        let refused: &[&[u8]] = &[head, &[0], b"", &[0], b"a"];
        assert_eq!(finish(refused), Err(Unreadable), "it was refused");
    }
}
