//! The state that the register keeps at its quorums: the newest value of each name.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{lattice::Lattice, quorum_access::State, register::Tag};
use quorate_core::{
    ProcessId,
    message::{LAST_NUMBER, digest, fold},
    wire::{Undecodable, Wire, put_number, take_number},
};
use std::collections::BTreeMap;

/// Named values, each with the tag of its write: a lattice, in which the larger of two values of a name is
/// the one with the larger tag.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Registers(BTreeMap<Bytes, (Tag, Bytes)>);

/// A value for one of the registers, which counts if its tag is larger than the present one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// The name.
    pub register: Bytes,
    pub tag: Tag,
    /// The value; `None` for the contents of a register before any write.
    pub value: Option<Bytes>,
}

impl Registers {
    /// The value of this name, and its tag.
    pub fn get(&self, register: &Bytes) -> (Tag, Option<Bytes>) {
        match self.0.get(register) {
            Some((tag, value)) => (*tag, Some(value.clone())),
            None => (Tag::INITIAL, None),
        }
    }

    /// The names of the written registers.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.0.keys()
    }

    /// The total bytes of names and values.
    pub fn bytes(&self) -> usize {
        let lengths = self
            .0
            .iter()
            .map(|(name, (_, value))| name.len() + value.len());
        lengths.sum()
    }

    /// Writes the value, whatever the register holds.
    pub(super) fn put(&mut self, register: &Bytes, tag: Tag, value: &Bytes) {
        self.0.insert(register.clone(), (tag, value.clone()));
    }

    /// Keeps a value in a buffer of its own: the buffer that it arrived in may be large.
    fn join_one(&mut self, register: &Bytes, tag: Tag, value: &Bytes) -> bool {
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        match self.0.get_mut(register) {
            Some(known) if known.0 < tag => *known = (tag, own(value)),
            None if tag > Tag::INITIAL => drop(self.0.insert(own(register), (tag, own(value)))),
            Some(_) | None => return false,
        }
        true
    }
}

impl Lattice for Registers {
    fn join(&mut self, other: &Self) {
        for (register, (tag, value)) in &other.0 {
            self.join_one(register, *tag, value);
        }
    }

    fn digest(&self) -> u64 {
        let digest_of = |(register, (tag, _)): (&Bytes, &(Tag, Bytes))| {
            let writer = tag.writer.map_or(0, |p| p.rank() as u64);
            fold(fold(digest(register), tag.timestamp), writer)
        };
        self.0.iter().map(digest_of).fold(0, fold)
    }
}

impl State for Registers {
    type Update = Update;

    fn apply(&mut self, update: &Update) -> bool {
        let value = update.value.as_ref();
        value.is_some_and(|value| self.join_one(&update.register, update.tag, value))
    }

    fn digest(&self) -> u64 {
        Lattice::digest(self)
    }

    fn digest_of(update: &Update) -> u64 {
        let writer = update.tag.writer.map_or(0, |p| p.rank() as u64);
        fold(fold(digest(&update.register), update.tag.timestamp), writer)
    }
}

fn put_bytes(bytes: &Bytes, out: &mut BytesMut) {
    put_number(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn take_bytes(bytes: &mut Bytes) -> Result<Bytes, Undecodable> {
    let length = usize::try_from(take_number(bytes)?).map_err(|_| Undecodable)?;
    if length > bytes.len() {
        return Err(Undecodable);
    }
    Ok(bytes.split_to(length))
}

fn put_tag(tag: Tag, out: &mut BytesMut) {
    put_number(tag.timestamp, out);
    out.put_u8(tag.writer.map_or(0, |p| p.rank() as u8));
}

fn take_tag(bytes: &mut Bytes) -> Result<Tag, Undecodable> {
    let timestamp = take_number(bytes)?;
    let rank = bytes.try_get_u8().map_err(|_| Undecodable)?;
    let writer = ProcessId::from_rank(usize::from(rank));
    // A value that was written has a writer, and only such a value has one.
    if (timestamp == 0) != (rank == 0) || (rank != 0 && writer.is_none()) || timestamp > LAST_NUMBER
    {
        return Err(Undecodable);
    }
    Ok(Tag { timestamp, writer })
}

impl Wire for Registers {
    fn encode(&self, out: &mut BytesMut) {
        for (register, (tag, value)) in &self.0 {
            put_bytes(register, out);
            put_tag(*tag, out);
            put_bytes(value, out);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let mut registers = Registers::default();
        while bytes.has_remaining() {
            let register = take_bytes(&mut bytes)?;
            let tag = take_tag(&mut bytes)?;
            let value = take_bytes(&mut bytes)?;
            registers.put(&register, tag, &value);
        }
        Ok(registers)
    }
}

impl Wire for Update {
    fn encode(&self, out: &mut BytesMut) {
        put_bytes(&self.register, out);
        put_tag(self.tag, out);
        out.put_u8(u8::from(self.value.is_some()));
        if let Some(value) = &self.value {
            out.put_slice(value);
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let register = take_bytes(&mut bytes)?;
        let tag = take_tag(&mut bytes)?;
        let value = match bytes.try_get_u8() {
            Ok(0) if bytes.is_empty() => None,
            Ok(1) => Some(bytes),
            Ok(_) | Err(_) => return Err(Undecodable),
        };
        Ok(Update {
            register,
            tag,
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn update(register: u8, timestamp: u64, rank: usize) -> Update {
        Update {
            register: Bytes::from(vec![register]),
            tag: Tag {
                timestamp,
                writer: ProcessId::from_rank(rank),
            },
            value: Some(Bytes::from(format!("{register} {timestamp} {rank}"))),
        }
    }

    fn registers(of: &[(u8, u64, usize)]) -> Registers {
        let mut registers = Registers::default();
        for (register, timestamp, rank) in of {
            registers.apply(&update(*register, *timestamp, *rank));
        }
        registers
    }

    proptest! {
        #[test]
        fn the_join_is_that_of_a_lattice(
            a in prop::collection::vec((0_u8..4, 1_u64..5, 1_usize..4), 0..6),
            b in prop::collection::vec((0_u8..4, 1_u64..5, 1_usize..4), 0..6),
        ) {
            let (a, b) = (registers(&a), registers(&b));
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.join(&b);
            ba.join(&a);
            prop_assert_eq!(&ab, &ba);
            prop_assert!(a.is_at_most(&ab) && b.is_at_most(&ab));
            prop_assert_eq!(Registers::decode(ab.clone().into_bytes()), Ok(ab));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Registers::decode(bytes.clone().into());
            let _ = Update::decode(bytes.into());
        }
    }

    #[test]
    fn updates_survive() {
        let nothing = Update {
            register: Bytes::from_static(b"x"),
            tag: Tag::INITIAL,
            value: None,
        };
        for update in [update(1, 9, 3), nothing] {
            assert_eq!(Update::decode(update.clone().into_bytes()), Ok(update));
        }
    }
}
