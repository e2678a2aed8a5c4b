//! The messages of flooding: items, whole or in chunks, several in one message.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::link::To;
use quorate_core::{
    Observation, Observe, ProcessId, ProcessSet,
    wire::{Undecodable, Wire, put_number, take_number},
};

/// The most bytes that a part of a message takes beyond those that it carries.
pub(super) const OVERHEAD: usize = 40;

/// Identifies an item: the versions of an origin are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Id {
    pub(super) origin: ProcessId,
    pub(super) version: u64,
}

/// One part of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// An encoded item.
    Whole(Id, Bytes),
    /// A chunk of an encoded item: its number, the number of chunks, and its bytes.
    Chunk(Id, u64, u64, Bytes),
}

impl Part {
    fn id(&self) -> Id {
        match self {
            Part::Whole(id, _) | Part::Chunk(id, ..) => *id,
        }
    }

    /// The most bytes that the part takes in a message.
    pub(super) fn size(&self) -> usize {
        match self {
            Part::Whole(_, bytes) | Part::Chunk(_, _, _, bytes) => bytes.len() + OVERHEAD,
        }
    }

    fn put(&self, out: &mut BytesMut) {
        let Id { origin, version } = self.id();
        let (kind, bytes) = match self {
            Part::Whole(_, bytes) => (0, bytes),
            Part::Chunk(_, _, _, bytes) => (1, bytes),
        };
        out.put_u8(kind);
        out.put_u8(origin.rank() as u8);
        put_number(version, out);
        if let Part::Chunk(_, number, of, _) = self {
            put_number(*number, out);
            put_number(*of, out);
        }
        put_number(bytes.len() as u64, out);
        out.put_slice(bytes);
    }

    fn take(bytes: &mut Bytes) -> Result<Self, Undecodable> {
        let kind = bytes.try_get_u8().map_err(|_| Undecodable)?;
        let origin = take_process(bytes)?;
        let version = take_number(bytes)?;
        let id = Id { origin, version };
        match kind {
            0 => Ok(Part::Whole(id, take_bytes(bytes)?)),
            1 => {
                let (number, of) = (take_number(bytes)?, take_number(bytes)?);
                Ok(Part::Chunk(id, number, of, take_bytes(bytes)?))
            }
            _ => Err(Undecodable),
        }
    }
}

fn take_process(bytes: &mut Bytes) -> Result<ProcessId, Undecodable> {
    let rank = bytes.try_get_u8().map_err(|_| Undecodable)?;
    ProcessId::from_rank(usize::from(rank)).ok_or(Undecodable)
}

/// Takes a length and as many bytes, which share the buffer.
fn take_bytes(bytes: &mut Bytes) -> Result<Bytes, Undecodable> {
    let length = usize::try_from(take_number(bytes)?).map_err(|_| Undecodable)?;
    if length > bytes.len() {
        return Err(Undecodable);
    }
    Ok(bytes.split_to(length))
}

/// The message of flooding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message(pub(super) Vec<Part>);

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        for part in &self.0 {
            part.put(out);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let mut parts = Vec::new();
        while bytes.has_remaining() {
            parts.push(Part::take(&mut bytes)?);
        }
        Ok(Message(parts))
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        let parts = Observation::internal("Flood").count(self.0.len() as u64);
        match &self.0[..] {
            [only] => parts.instance(only.id().version).peer(only.id().origin),
            _ => parts,
        }
    }
}

/// What an origin posts: the earlier versions that are retained and, unless it only tells these, a message
/// and its receivers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    /// Ascending, below the item's own version.
    pub(super) retained: Vec<u64>,
    pub(super) content: Option<(To, Bytes)>,
}

impl Item {
    pub(super) fn encode(&self, version: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        put_number(self.retained.len() as u64, &mut out);
        // Counted down from the item's own version: retained versions are mostly recent, so that the numbers
        // are short.
        let mut above = version;
        for below in self.retained.iter().rev() {
            put_number(above.saturating_sub(*below), &mut out);
            above = *below;
        }
        match &self.content {
            None => out.put_u8(0),
            Some((to, bytes)) => {
                put_receivers(*to, &mut out);
                out.put_slice(bytes);
            }
        }
        out.freeze()
    }

    /// Decodes the item of that version, which retains at most `most` others.
    pub(super) fn decode(version: u64, most: usize, mut bytes: Bytes) -> Result<Self, Undecodable> {
        let length = usize::try_from(take_number(&mut bytes)?).map_err(|_| Undecodable)?;
        // Each number takes at least a byte: no more is allocated than was sent.
        if length > most || length > bytes.len() {
            return Err(Undecodable);
        }
        let (mut retained, mut above) = (Vec::with_capacity(length), version);
        for _ in 0..length {
            let distance = take_number(&mut bytes)?;
            if distance == 0 || distance >= above {
                return Err(Undecodable);
            }
            above -= distance;
            retained.push(above);
        }
        retained.reverse();
        let to = take_receivers(&mut bytes)?;
        let content = to.map(|to| (to, bytes));
        Ok(Item { retained, content })
    }
}

fn put_receivers(to: To, out: &mut BytesMut) {
    let some = match to {
        To::All => return out.put_u8(1),
        To::One(p) => std::iter::once(p).collect(),
        To::Some(some) => some,
    };
    out.put_u8(2);
    out.put_u8(some.len() as u8);
    for p in some.iter() {
        out.put_u8(p.rank() as u8);
    }
}

fn take_receivers(bytes: &mut Bytes) -> Result<Option<To>, Undecodable> {
    match bytes.try_get_u8().map_err(|_| Undecodable)? {
        0 => Ok(None),
        1 => Ok(Some(To::All)),
        2 => {
            let length = bytes.try_get_u8().map_err(|_| Undecodable)?;
            let some: Result<ProcessSet, _> = (0..length).map(|_| take_process(bytes)).collect();
            Ok(Some(To::Some(some?)))
        }
        _ => Err(Undecodable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_sim::testing::p;

    #[test]
    fn messages_and_items_survive() {
        let retained = vec![3, 900, 901];
        let content = Some((
            To::Some([1, 128].map(p).into_iter().collect()),
            Bytes::from_static(b"x"),
        ));
        let item = Item { retained, content };
        assert_eq!(Item::decode(1000, 3, item.encode(1000)), Ok(item.clone()));
        assert!(Item::decode(1000, 2, item.encode(1000)).is_err());
        assert!(Item::decode(50, 3, item.encode(1000)).is_err());
        let (origin, version) = (p(7), u64::MAX);
        let id = Id { origin, version };
        let chunk = Part::Chunk(id, u64::MAX, u64::MAX, Bytes::new());
        let message = Message(vec![Part::Whole(id, item.encode(1000)), chunk]);
        let bytes = message.clone().into_bytes();
        let sizes: usize = message.0.iter().map(Part::size).sum();
        assert!(bytes.len() <= sizes);
        assert_eq!(Message::decode(bytes), Ok(message));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), version: u64) {
            let bytes = Bytes::from(bytes);
            let _ = Message::decode(bytes.clone());
            let _ = Item::decode(version, 64, bytes);
        }
    }
}
