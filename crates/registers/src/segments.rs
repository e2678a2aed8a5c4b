//! The segments of a snapshot, as registers and replicas hold them: each with the scan with which its update
//! began, for others to borrow.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    quorum_access::State,
    snapshot::{Segment, View, packed},
};
use quorate_core::{
    message::LAST_NUMBER,
    process::MAXIMUM_PROCESSES,
    wire::{Undecodable, Wire, put_batch, put_number, take_batch, take_number},
};

/// A segment, and the scan of its last update.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    pub segment: Segment,
    /// All segments at a moment within the update; empty before any update.
    pub view: View,
}

impl Held {
    /// A copy in buffers of its own: the buffer that it arrived in may be large.
    fn own(&self) -> Self {
        let own = |segment: &Segment| Segment {
            sequence: segment.sequence,
            value: Bytes::copy_from_slice(&segment.value),
        };
        Held {
            segment: own(&self.segment),
            view: self.view.iter().map(own).collect(),
        }
    }
}

fn put_segment(segment: &Segment, out: &mut BytesMut) {
    put_number(segment.sequence, out);
    put_number(segment.value.len() as u64, out);
    out.put_slice(&segment.value);
}

fn take_segment(bytes: &mut Bytes) -> Result<Segment, Undecodable> {
    let sequence = take_number(bytes)?;
    let length = usize::try_from(take_number(bytes)?).map_err(|_| Undecodable)?;
    if length > bytes.len() || sequence > LAST_NUMBER {
        return Err(Undecodable);
    }
    let value = bytes.split_to(length);
    Ok(Segment { sequence, value })
}

/// The segments one after the other, its own first.
impl Wire for Held {
    fn encode(&self, out: &mut BytesMut) {
        put_segment(&self.segment, out);
        for segment in &self.view {
            put_segment(segment, out);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let segment = take_segment(&mut bytes)?;
        let mut view = View::new();
        while !bytes.is_empty() {
            if view.len() == MAXIMUM_PROCESSES {
                return Err(Undecodable);
            }
            view.push(take_segment(&mut bytes)?);
        }
        Ok(Held { segment, view })
    }
}

/// The last known update of each segment, in the order of the processes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vector(Vec<Held>);

impl Vector {
    /// A vector of these segments.
    pub fn new(held: Vec<Held>) -> Self {
        Vector(held)
    }

    /// A vector of one segment, without the others.
    pub fn of(index: usize, held: Held) -> Self {
        let mut all = vec![Held::default(); index];
        all.push(held);
        Vector(all)
    }

    /// Takes the later of the two updates of each segment.
    pub fn join(&mut self, other: &Vector) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), Held::default());
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            if mine.segment.sequence < theirs.segment.sequence {
                *mine = theirs.own();
            }
        }
    }

    /// The number of updates of this segment.
    pub fn sequence(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |held| held.segment.sequence)
    }

    /// Whether no segment has more updates here than in `other`.
    pub fn is_at_most(&self, other: &Vector) -> bool {
        (0..self.0.len()).all(|index| self.sequence(index) <= other.sequence(index))
    }

    /// The segments themselves, of `n` processes.
    pub fn view(&self, n: usize) -> View {
        sized(self.0.iter().map(|held| held.segment.clone()), n)
    }

    /// The view that an operation whose first collect was `first` may borrow: the scan of an update that is
    /// at least the second of its process since then. The first update may have scanned before the operation
    /// began; the second began after the first had ended.
    pub fn borrowed(&self, first: &Vector, n: usize) -> Option<View> {
        let is_second =
            |index: &usize| self.sequence(*index) >= first.sequence(*index).saturating_add(2);
        let lender = (0..self.0.len()).find(is_second)?;
        let held = self.0.get(lender)?;
        Some(sized(held.view.iter().cloned(), n))
    }
}

/// Exactly `n` segments.
fn sized(segments: impl Iterator<Item = Segment>, n: usize) -> View {
    let mut view: View = segments.take(n).collect();
    view.resize(n, Segment::default());
    view
}

impl Wire for Vector {
    fn encode(&self, out: &mut BytesMut) {
        let held: Vec<Bytes> = self.0.iter().map(quorate_core::wire::encode).collect();
        put_batch(&held, out);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        let batch = take_batch(bytes)?;
        if batch.len() > MAXIMUM_PROCESSES {
            return Err(Undecodable);
        }
        let held: Result<Vec<Held>, Undecodable> = batch.into_iter().map(Held::decode).collect();
        held.map(Vector)
    }
}

/// The state of quorum access: an update is joined to it.
impl State for Vector {
    type Update = Vector;

    fn apply(&mut self, update: &Vector) -> bool {
        let changes = !update.is_at_most(self);
        self.join(update);
        changes
    }

    fn digest(&self) -> u64 {
        packed(&self.view(8))
    }

    fn digest_of(update: &Vector) -> u64 {
        update.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_core::wire::encode;

    fn segment() -> impl Strategy<Value = Segment> {
        (0..=LAST_NUMBER, prop::collection::vec(any::<u8>(), 0..20)).prop_map(
            |(sequence, value)| {
                let value = value.into();
                Segment { sequence, value }
            },
        )
    }

    fn vector() -> impl Strategy<Value = Vector> {
        let held = (segment(), prop::collection::vec(segment(), 0..5));
        let held = held.prop_map(|(segment, view)| Held { segment, view });
        prop::collection::vec(held, 0..5).prop_map(Vector)
    }

    proptest! {
        #[test]
        fn a_vector_survives_the_wire(vector in vector()) {
            prop_assert_eq!(Vector::decode(encode(&vector)), Ok(vector));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = Held::decode(bytes.clone());
            let _ = Vector::decode(bytes);
        }

        #[test]
        fn a_join_is_the_least_upper_bound(one in vector(), other in vector()) {
            let mut joined = one.clone();
            joined.join(&other);
            prop_assert!(one.is_at_most(&joined) && other.is_at_most(&joined));
        }
    }

    #[test]
    fn nothing_is_borrowed_from_the_first_update_and_something_from_the_second() {
        let at = |sequence| {
            let (value, view) = (Bytes::new(), vec![Segment::default(); 2]);
            Vector::of(
                1,
                Held {
                    segment: Segment { sequence, value },
                    view,
                },
            )
        };
        assert_eq!(at(4).borrowed(&at(3), 2), None);
        assert!(at(5).borrowed(&at(3), 2).is_some());
        assert_eq!(at(5).borrowed(&at(3), 3).map(|view| view.len()), Some(3));
    }

    #[test]
    fn a_sequence_number_that_nobody_has_is_not_decoded() {
        for (sequence, is_possible) in [(LAST_NUMBER, true), (LAST_NUMBER + 1, false)] {
            let value = Bytes::new();
            let segment = Segment { sequence, value };
            let view = vec![segment.clone()];
            let held = Held { segment, view };
            assert_eq!(Held::decode(encode(&held)).is_ok(), is_possible);
        }
    }
}
