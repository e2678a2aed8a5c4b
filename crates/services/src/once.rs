//! Decisions, each taken once: the first proposal of an instance in the total order decides it.
//!
//! This is [consensus by total order](https://doi.org/10.1145/226643.226647), section 7.1, as a state
//! machine: as such it can be handed to a newcomer with the rest of the state.
//!
//! Memory is bounded: the [`REMEMBERED`] highest decided instances are remembered with their values.
//! When one more is decided the lowest is forgotten, and from then on no instance up to it is decided
//! (again). As all of this follows from the order alone, every replica forgets the same at the same place.
use crate::snapshot::{Snapshot, put_bytes, take_bytes};
use bytes::{Bytes, BytesMut};
use quorate_core::wire::{Undecodable, put_number, take_number};
use std::collections::BTreeMap;

/// How many decisions are remembered.
pub const REMEMBERED: usize = 1024;

/// The longest value that may be proposed.
pub const MAXIMUM_VALUE: usize = 4096;

/// What became of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The instance is decided: this is its value, whoever proposed it.
    Decided(Bytes),
    /// The instance is no higher than one that was forgotten: what was decided in it, if anything, is
    /// not known any more.
    Forgotten {
        /// The highest such instance.
        up_to: u64,
    },
    /// There is no such proposal: instances count from 1, and values end at [`MAXIMUM_VALUE`].
    Refused,
}

/// What was decided. Equal wherever the same was proposed in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decisions {
    values: BTreeMap<u64, Bytes>,
    forgotten: u64,
}

impl Decisions {
    /// The next proposal of the order. Deterministic.
    pub fn propose(&mut self, instance: u64, value: &Bytes) -> Outcome {
        if instance == 0 || value.len() > MAXIMUM_VALUE {
            return Outcome::Refused;
        }
        if let Some(known) = self.outcome(instance) {
            return known;
        }
        // Copied, so that it does not hold on to the buffer in which it arrived.
        let value = Bytes::copy_from_slice(value);
        self.values.insert(instance, value.clone());
        if self.values.len() > REMEMBERED
            && let Some((lowest, _)) = self.values.pop_first()
        {
            self.forgotten = lowest;
        }
        Outcome::Decided(value)
    }

    /// What is known of an instance; `None` if it is undecided.
    pub fn outcome(&self, instance: u64) -> Option<Outcome> {
        if instance <= self.forgotten {
            let up_to = self.forgotten;
            return Some(Outcome::Forgotten { up_to });
        }
        self.values.get(&instance).cloned().map(Outcome::Decided)
    }

    /// How many decisions are remembered.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no decision is remembered.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The version of the snapshot's form.
const VERSION: u64 = 1;

impl Snapshot for Decisions {
    fn snapshot(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_number(VERSION, &mut out);
        put_number(self.forgotten, &mut out);
        put_number(self.values.len() as u64, &mut out);
        for (instance, value) in &self.values {
            put_number(*instance, &mut out);
            put_bytes(value, &mut out);
        }
        out.freeze()
    }

    fn restore(mut bytes: Bytes) -> Result<Self, Undecodable> {
        if take_number(&mut bytes)? != VERSION {
            return Err(Undecodable);
        }
        let forgotten = take_number(&mut bytes)?;
        let count = take_number(&mut bytes)?;
        if count > REMEMBERED as u64 {
            return Err(Undecodable);
        }
        let mut values = BTreeMap::new();
        let mut last = forgotten;
        for _ in 0..count {
            let instance = take_number(&mut bytes)?;
            let value = take_bytes(&mut bytes)?;
            if instance <= last || value.len() > MAXIMUM_VALUE {
                return Err(Undecodable);
            }
            values.insert(instance, Bytes::copy_from_slice(&value));
            last = instance;
        }
        if bytes.is_empty() {
            Ok(Decisions { values, forgotten })
        } else {
            Err(Undecodable)
        }
    }
}

#[cfg(test)]
mod tests;
