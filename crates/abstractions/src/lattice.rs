//! Join-semilattices: values that can be joined, in any order, as often as one likes.
//!
//! | type | the join |
//! |---|---|
//! | [`Union`] | of sets: their union |
//! | [`Maxima`] | of maps: of each key, the larger value |
//! | [`LastWriter`] | of maps: of each key, the value with the larger timestamp, then of the larger writer |
//! | [`Bits`], [`PackedMaxima`], [`FourPoint`] | small ones, whose digests are themselves: for checkers |
mod small;

pub use small::{Bits, FourPoint, PackedMaxima};

use bytes::{Bytes, BytesMut};
use quorate_core::{
    ProcessId, message,
    wire::{Undecodable, Wire, decode_value, encode, encode_value},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// A join-semilattice. The join is commutative, associative and idempotent; x ≤ y means that joining x to y
/// does not change y. The default value is the least: ⊥.
pub trait Lattice: Clone + Default + PartialEq + Wire {
    /// Makes this value the least upper bound of itself and `other`.
    fn join(&mut self, other: &Self);

    /// Whether this value is at most `other`.
    fn is_at_most(&self, other: &Self) -> bool {
        let mut joined = other.clone();
        joined.join(self);
        joined == *other
    }

    /// What an observation can carry of the value: a digest, or a small value itself.
    fn digest(&self) -> u64;
}

/// The elements that a lattice of this module can hold: ordered values that the codec supports.
pub trait Element: Clone + Ord + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Ord + Serialize + DeserializeOwned + Send + Sync + 'static> Element for T {}

/// A set, which only grows: the join is the union.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Element")]
pub struct Union<T>(pub BTreeSet<T>);

/// A map whose values only grow: for each key, the join takes the larger value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(bound = "K: Element, V: Element")]
pub struct Maxima<K, V>(pub BTreeMap<K, V>);

/// A value, with the time and the writer of its write.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Written<V> {
    /// Any number that grows: the time of a clock, or a counter.
    pub timestamp: u64,
    pub writer: ProcessId,
    pub value: V,
}

/// A map in which the last write of each key counts: the write with the larger timestamp or, if those are
/// equal, with the larger writer. If one writer gives two values the same timestamp, the larger value counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(bound = "K: Element, V: Element")]
pub struct LastWriter<K, V>(pub BTreeMap<K, Written<V>>);

impl<T> Default for Union<T> {
    fn default() -> Self {
        Union(BTreeSet::new())
    }
}

impl<K, V> Default for Maxima<K, V> {
    fn default() -> Self {
        Maxima(BTreeMap::new())
    }
}

impl<K, V> Default for LastWriter<K, V> {
    fn default() -> Self {
        LastWriter(BTreeMap::new())
    }
}

impl<K: Element, V: Element> LastWriter<K, V> {
    /// Writes with a timestamp above that of the present value of the key.
    pub fn write(&mut self, writer: ProcessId, key: K, value: V) {
        let last = self.0.get(&key).map_or(0, |written| written.timestamp);
        let timestamp = last.saturating_add(1);
        let written = Written {
            timestamp,
            writer,
            value,
        };
        self.0.insert(key, written);
    }

    /// The value of the key, as far as this copy knows.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|written| &written.value)
    }
}

/// Takes, for each key, the larger value.
fn join_maps<K: Element, V: Element>(mine: &mut BTreeMap<K, V>, theirs: &BTreeMap<K, V>) {
    for (key, value) in theirs {
        let is_larger = mine.get(key).is_none_or(|mine| mine < value);
        if is_larger {
            mine.insert(key.clone(), value.clone());
        }
    }
}

fn are_at_most<K: Element, V: Element>(mine: &BTreeMap<K, V>, theirs: &BTreeMap<K, V>) -> bool {
    let mut all = mine.iter();
    all.all(|(key, value)| theirs.get(key).is_some_and(|theirs| value <= theirs))
}

impl<T: Element> Lattice for Union<T> {
    fn join(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    fn is_at_most(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    fn digest(&self) -> u64 {
        message::digest(&encode(self))
    }
}

impl<K: Element, V: Element> Lattice for Maxima<K, V> {
    fn join(&mut self, other: &Self) {
        join_maps(&mut self.0, &other.0);
    }

    fn is_at_most(&self, other: &Self) -> bool {
        are_at_most(&self.0, &other.0)
    }

    fn digest(&self) -> u64 {
        message::digest(&encode(self))
    }
}

impl<K: Element, V: Element> Lattice for LastWriter<K, V> {
    fn join(&mut self, other: &Self) {
        join_maps(&mut self.0, &other.0);
    }

    fn is_at_most(&self, other: &Self) -> bool {
        are_at_most(&self.0, &other.0)
    }

    fn digest(&self) -> u64 {
        message::digest(&encode(self))
    }
}

/// Appends a user's value. A value that the codec does not support appends nothing, and every receiver
/// refuses the message.
fn put_value(value: &impl Serialize, out: &mut BytesMut) {
    out.extend_from_slice(&encode_value(value).unwrap_or_default());
}

impl<T: Element> Wire for Union<T> {
    fn encode(&self, out: &mut BytesMut) {
        put_value(self, out);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        decode_value(&bytes)
    }
}

impl<K: Element, V: Element> Wire for Maxima<K, V> {
    fn encode(&self, out: &mut BytesMut) {
        put_value(self, out);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        decode_value(&bytes)
    }
}

impl<K: Element, V: Element> Wire for LastWriter<K, V> {
    fn encode(&self, out: &mut BytesMut) {
        put_value(self, out);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        decode_value(&bytes)
    }
}

#[cfg(test)]
mod tests;
