//! What a state consists of, one after the other, as bytes.
//!
//! A state is a head, then decisions, then pairs of the store, each kind in the order of its keys, then an
//! end. So equal states are equal bytes.
use bytes::{Buf, BytesMut};
use quorate_core::{
    message::LAST_NUMBER,
    wire::{MAXIMUM_VALUE, put_number, take_number},
};

/// The version of the form.
const VERSION: u64 = 3;

/// The most bytes of a number.
const NUMBER: usize = 10;

/// A part of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item<'a> {
    /// The numbers of which there is one each.
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
    /// There were so many parts before, and there are no more.
    End(u64),
}

/// The numbers of which there is one each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub delivered: u64,
    pub hash: u64,
    pub undecodable: u64,
    pub applied: u64,
    pub forgotten: u64,
}

/// Why no part could be taken off the front of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lacks {
    /// They end within it.
    More,
    /// They are none, whatever follows.
    Sense,
}

impl<'a> Item<'a> {
    /// Which kind comes before which.
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

    /// Takes a part off the front of `bytes`, which otherwise stay as they are.
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

/// What somebody has counted.
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

/// Appends bytes behind their length.
fn put(bytes: &[u8], out: &mut BytesMut) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes off the front what [`put`] appended. What no message could carry is not waited for.
fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Lacks> {
    let length = usize::try_from(number(bytes)?).map_err(|_| Lacks::Sense)?;
    if length > MAXIMUM_VALUE {
        return Err(Lacks::Sense);
    }
    let taken = bytes.get(..length).ok_or(Lacks::More)?;
    bytes.advance(length);
    Ok(taken)
}
