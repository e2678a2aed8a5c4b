//! The parts of a state, and their encoding as bytes.
//!
//! A state is a head, then decisions, then pairs of the store, each kind in the order of its keys, then an
//! end. So equal states are equal bytes.
use bytes::{Buf, BytesMut};
use quorate_core::{
    message::LAST_NUMBER,
    wire::{MAXIMUM_VALUE, put_number, take_number},
};

/// The version of the encoding.
const VERSION: u64 = 3;

/// The most bytes that a number takes.
const NUMBER: usize = 10;

/// A part of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item<'a> {
    /// The numbers that a state has once each.
    Head(Head),
    Decision {
        instance: u64,
        value: &'a [u8],
    },
    /// A pair of the store.
    Pair {
        key: &'a [u8],
        value: &'a [u8],
    },
    /// The end of the state, with the number of parts before it.
    End(u64),
}

/// The numbers that a state has once each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub delivered: u64,
    pub hash: u64,
    pub undecodable: u64,
    pub applied: u64,
    pub forgotten: u64,
}

/// Why no part could be decoded from the front of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lacks {
    /// The bytes end within a part.
    More,
    /// The bytes are not a part, whatever follows.
    Sense,
}

impl<'a> Item<'a> {
    /// The number of the part's kind. Kinds come in ascending order.
    pub fn kind(&self) -> u64 {
        match self {
            Item::Head(_) => 0,
            Item::Decision { .. } => 1,
            Item::Pair { .. } => 2,
            Item::End(_) => 3,
        }
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut BytesMut) {
        put_number(self.kind(), out);
        match self {
            Item::Head(head) => {
                let Head {
                    delivered,
                    hash,
                    undecodable,
                    applied,
                    forgotten,
                } = *head;
                let numbers = [VERSION, delivered, hash, undecodable, applied, forgotten];
                for number in numbers {
                    put_number(number, out);
                }
            }
            Item::Decision { instance, value } => {
                put_number(*instance, out);
                put(value, out);
            }
            Item::Pair { key, value } => {
                put(key, out);
                put(value, out);
            }
            Item::End(before) => put_number(*before, out),
        }
    }

    /// Decodes a part from the front of `bytes` and removes it. After an error, `bytes` is unchanged.
    pub fn take(bytes: &mut &'a [u8]) -> Result<Self, Lacks> {
        let mut rest = *bytes;
        let item = match number(&mut rest)? {
            0 => Item::Head(head(&mut rest)?),
            1 => {
                let instance = number(&mut rest)?;
                let value = take(&mut rest)?;
                Item::Decision { instance, value }
            }
            2 => {
                let key = take(&mut rest)?;
                let value = take(&mut rest)?;
                Item::Pair { key, value }
            }
            3 => Item::End(number(&mut rest)?),
            _ => return Err(Lacks::Sense),
        };
        *bytes = rest;
        Ok(item)
    }
}

fn head(bytes: &mut &[u8]) -> Result<Head, Lacks> {
    if number(bytes)? != VERSION {
        return Err(Lacks::Sense);
    }
    Ok(Head {
        delivered: count(bytes)?,
        hash: number(bytes)?,
        undecodable: count(bytes)?,
        applied: count(bytes)?,
        forgotten: number(bytes)?,
    })
}

/// Decodes a count. A number above [`LAST_NUMBER`] is an error.
fn count(bytes: &mut &[u8]) -> Result<u64, Lacks> {
    match number(bytes)? {
        count if count <= LAST_NUMBER => Ok(count),
        _ => Err(Lacks::Sense),
    }
}

fn number(bytes: &mut &[u8]) -> Result<u64, Lacks> {
    let before = bytes.len();
    take_number(bytes).map_err(|_| match before {
        ..NUMBER => Lacks::More,
        NUMBER.. => Lacks::Sense,
    })
}

/// Appends the length of these bytes, then the bytes.
fn put(bytes: &[u8], out: &mut BytesMut) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Decodes what [`put`] appended and removes it from the front. A length that no message could carry is an
/// error at once.
fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Lacks> {
    let length = usize::try_from(number(bytes)?).map_err(|_| Lacks::Sense)?;
    if length > MAXIMUM_VALUE {
        return Err(Lacks::Sense);
    }
    let taken = bytes.get(..length).ok_or(Lacks::More)?;
    bytes.advance(length);
    Ok(taken)
}
