//! The decisions: the state that covers the order up to some point.
use super::{INSTANCES_AHEAD, Instance};
use crate::last_messages::{BYTES, INSTANCES};
use bytes::{Buf, Bytes, BytesMut};
use quorate_abstractions::consensus::Decide;
use quorate_core::{
    instances::{Entry, Instances},
    watermark::Watermark,
    wire::{self, Undecodable},
};
use std::collections::VecDeque;

/// The decided instances, and the values of the latest, in their order.
#[derive(Debug)]
pub(super) struct Decisions {
    instances: Instances<Instance>,
    latest: VecDeque<Decide>,
    /// The bytes of the latest values.
    bytes: usize,
}

impl Default for Decisions {
    fn default() -> Self {
        Decisions {
            instances: Instances::new(INSTANCES_AHEAD),
            latest: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl Decisions {
    /// The instance of this number.
    pub(super) fn at(&mut self, number: u64) -> Entry<'_, Instance> {
        self.instances.at(number, Instance::default)
    }

    /// Marks the instance as decided. Its value is kept while it is among the latest.
    pub(super) fn decide(&mut self, decision: Decide) {
        self.instances.retire(decision.instance);
        self.keep(decision);
    }

    fn keep(&mut self, decision: Decide) {
        self.bytes += decision.value.len();
        self.latest.push_back(decision);
        while self.latest.len() > INSTANCES || (self.bytes > BYTES && self.latest.len() > 1) {
            if let Some(oldest) = self.latest.pop_front() {
                self.bytes -= oldest.value.len();
            }
        }
    }

    /// Whether no instance is in flight.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.instances.is_empty()
    }

    /// Encodes all decisions as a state.
    pub(super) fn encode(&self) -> Bytes {
        let (mut out, retired) = (BytesMut::new(), self.instances.retired());
        wire::put_number(retired.low(), &mut out);
        wire::put_number(retired.gaps() as u64, &mut out);
        for (first, last) in retired.ranges() {
            wire::put_number(first, &mut out);
            wire::put_number(last, &mut out);
        }
        for Decide { instance, value } in &self.latest {
            wire::put_number(*instance, &mut out);
            wire::put_batch([value], &mut out);
        }
        out.freeze()
    }

    /// Goes on from the state that another process encoded at a later point of the order. Returns the
    /// decisions that are new here.
    pub(super) fn restore(&mut self, state: Bytes) -> Result<Vec<Decide>, Undecodable> {
        let (retired, latest) = decode(state)?;
        let is_news = |decision: &&Decide| !self.instances.is_retired(decision.instance);
        let news = latest.iter().filter(is_news).cloned().collect();
        self.instances.retire_all(&retired);
        (self.latest, self.bytes) = (VecDeque::new(), 0);
        for decision in latest {
            self.keep(decision);
        }
        Ok(news)
    }
}

fn decode(mut state: Bytes) -> Result<(Watermark, Vec<Decide>), Undecodable> {
    let low = wire::take_number(&mut state)?;
    let mut retired = Watermark::up_to(low);
    for _ in 0..wire::take_number(&mut state)? {
        let (first, last) = (
            wire::take_number(&mut state)?,
            wire::take_number(&mut state)?,
        );
        if first <= low || last < first || last - low > INSTANCES_AHEAD {
            return Err(Undecodable);
        }
        (first..=last).for_each(|number| _ = retired.insert(number));
    }
    let mut latest = Vec::new();
    while state.has_remaining() {
        let instance = wire::take_number(&mut state)?;
        let length = usize::try_from(wire::take_number(&mut state)?).map_err(|_| Undecodable)?;
        if length > state.len() || !retired.contains(instance) {
            return Err(Undecodable);
        }
        let value = state.split_to(length);
        latest.push(Decide { instance, value });
    }
    Ok((retired, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(instance: u64, length: usize) -> Decide {
        let value = Bytes::from(vec![instance as u8; length]);
        Decide { instance, value }
    }

    #[test]
    fn what_is_restored_is_what_was_encoded_and_only_news_are_told() {
        let (mut giver, mut taker) = (Decisions::default(), Decisions::default());
        for instance in [1, 2, 3, 7, 8, 20] {
            giver.decide(decided(instance, 3));
        }
        taker.decide(decided(2, 3));
        assert!(matches!(taker.at(5), Entry::Live(_)));
        assert!(matches!(taker.at(7), Entry::Live(_)));
        let news = taker.restore(giver.encode()).unwrap();
        assert_eq!(news, [1, 3, 7, 8, 20].map(|instance| decided(instance, 3)));
        assert!(matches!(taker.at(5), Entry::Live(_)), "it is open");
        for instance in [1, 2, 3, 7, 8, 20] {
            assert!(matches!(taker.at(instance), Entry::Retired), "{instance}");
        }
        assert_eq!(taker.encode(), giver.encode());
    }

    #[test]
    fn of_what_is_long_past_only_that_it_is_decided_is_told() {
        let (mut giver, mut taker) = (Decisions::default(), Decisions::default());
        for instance in 1..=1000 {
            giver.decide(decided(instance, 0));
        }
        let news = taker.restore(giver.encode()).unwrap();
        assert_eq!((news.len(), news[0].instance), (INSTANCES, 745));
        assert!(matches!(taker.at(1), Entry::Retired));
        for instance in 1001..=1009 {
            giver.decide(decided(instance, BYTES / 8));
        }
        let news = taker.restore(giver.encode()).unwrap();
        assert_eq!(news.len(), 8, "so many bytes");
    }

    #[test]
    fn what_is_no_state_changes_nothing() {
        let mut giver = Decisions::default();
        for instance in [1, 5, 9] {
            giver.decide(decided(instance, 4));
        }
        let whole = giver.encode();
        let mut taker = Decisions::default();
        for length in 0..whole.len() {
            let cut = taker.restore(whole.slice(..length));
            // A state that is cut after a decision is a valid state with fewer values.
            if let Ok(news) = cut {
                assert!(news.len() < 3, "{length}");
                taker = Decisions::default();
            }
            assert!(!taker.instances.is_retired(1), "{length}");
        }
        for forged in [[0, 1, 0, 3], [0, 1, 9, 3], [5, 1, 3, 7]] {
            let forged = Bytes::copy_from_slice(&forged);
            assert_eq!(taker.restore(forged), Err(Undecodable));
        }
    }
}
