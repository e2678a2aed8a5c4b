//! Decisions, each taken once: the first proposal of an instance in the total order decides it.
//!
//! This is [consensus by total order](https://doi.org/10.1145/226643.226647), section 7.1, as a state
//! machine: so it can be given to a newcomer with the rest of the state.
//!
//! Memory is bounded: the [`REMEMBERED`] highest decided instances are remembered with their values.
//! When one more is decided the lowest is forgotten, and from then on no instance up to it is decided
//! (again). As all of this follows from the order alone, every replica forgets the same at the same place.
use bytes::Bytes;
use quorate_core::wire::Undecodable;
use std::collections::BTreeMap;

/// How many decisions are remembered.
pub const REMEMBERED: usize = 1024;

/// The longest value that may be proposed.
pub const MAXIMUM_VALUE: usize = 4096;

/// The outcome of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProposalResult {
    /// The instance is decided, with this value, whoever has proposed it.
    Decided(Bytes),
    /// The instance is not above the highest that was forgotten, so that its decision, if there was one, is
    /// not known any more.
    Forgotten {
        /// The highest instance that was forgotten.
        up_to: u64,
    },
    /// The proposal is not valid: instances are numbered from 1, and a value has at most [`MAXIMUM_VALUE`]
    /// bytes.
    Refused,
}

/// The decisions. They are equal wherever the same was proposed in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decisions {
    values: BTreeMap<u64, Bytes>,
    forgotten: u64,
}

impl Decisions {
    /// Applies the next proposal of the order. Deterministic.
    pub fn propose(&mut self, instance: u64, value: &Bytes) -> ProposalResult {
        if instance == 0 || value.len() > MAXIMUM_VALUE {
            return ProposalResult::Refused;
        }
        if let Some(known) = self.outcome(instance) {
            return known;
        }
        // The value is copied, so that it does not keep alive the buffer in which it arrived.
        let value = Bytes::copy_from_slice(value);
        self.values.insert(instance, value.clone());
        if self.values.len() > REMEMBERED
            && let Some((lowest, _)) = self.values.pop_first()
        {
            self.forgotten = lowest;
        }
        ProposalResult::Decided(value)
    }

    /// The outcome of an instance; `None` if it is undecided.
    pub fn outcome(&self, instance: u64) -> Option<ProposalResult> {
        if instance <= self.forgotten {
            let up_to = self.forgotten;
            return Some(ProposalResult::Forgotten { up_to });
        }
        self.values
            .get(&instance)
            .cloned()
            .map(ProposalResult::Decided)
    }

    /// No decisions, where those up to this instance were forgotten; for a state transfer.
    pub(crate) fn restoring(forgotten: u64) -> Self {
        Decisions {
            values: BTreeMap::new(),
            forgotten,
        }
    }

    /// Adds the next decision when the decisions are restored from [all](Self::all).
    pub(crate) fn restore(&mut self, instance: u64, value: &[u8]) -> Result<(), Undecodable> {
        let last = self.values.last_key_value().map(|(instance, _)| *instance);
        let fits = instance > last.unwrap_or(self.forgotten)
            && value.len() <= MAXIMUM_VALUE
            && self.values.len() < REMEMBERED;
        if !fits {
            return Err(Undecodable);
        }
        self.values.insert(instance, Bytes::copy_from_slice(value));
        Ok(())
    }

    /// The highest instance that was forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// All decisions as they are now. The values are shared, not copied.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, Bytes)> + Send + 'static {
        self.values.clone().into_iter()
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

#[cfg(test)]
mod tests;
