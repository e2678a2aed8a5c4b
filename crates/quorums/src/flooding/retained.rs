//! The retained items, kept only if they are repeated or if streams may end, and when each is due again.
use super::message::Id;
use bytes::Bytes;
use quorate_core::{ProcessId, Random, Time};
use rand::Rng;
use std::{collections::BTreeMap, time::Duration};

/// An item that is sent again and again.
struct Repeated {
    bytes: Bytes,
    due: Time,
    times: u32,
}

/// The retained items.
#[derive(Default)]
pub(super) struct Retained {
    items: BTreeMap<Id, Repeated>,
    /// When the running timer fires.
    armed: Option<Time>,
}

impl Retained {
    /// Keeps an item, which is due at this time.
    pub(super) fn keep(&mut self, id: Id, bytes: Bytes, due: Time) {
        let times = 0;
        self.items.insert(id, Repeated { bytes, due, times });
    }

    /// An item is no longer retained.
    pub(super) fn forget(&mut self, id: Id) {
        self.items.remove(&id);
    }

    /// These versions of this origin are no longer retained.
    pub(super) fn forget_of(&mut self, origin: ProcessId, is_over: impl Fn(u64) -> bool) {
        let (first, last) = (0, u64::MAX);
        let [first, last] = [first, last].map(|version| Id { origin, version });
        let all = self.items.range(first..=last).map(|(id, _)| *id);
        let over: Vec<Id> = all.filter(|id| is_over(id.version)).collect();
        for id in over {
            self.items.remove(&id);
        }
    }

    /// The retained items, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.items.keys().copied()
    }

    /// The item, if it is retained.
    pub(super) fn bytes(&self, id: Id) -> Option<&Bytes> {
        self.items.get(&id).map(|item| &item.bytes)
    }

    /// Takes the items that are due or nearly due. Each is due again after a pause that grows from the shortest
    /// to the longest.
    pub(super) fn take_due(
        &mut self,
        (shortest, longest): (Duration, Duration),
        now: Time,
        rng: &mut Random,
    ) -> BTreeMap<Id, Bytes> {
        let mut due = BTreeMap::new();
        if self.items.values().all(|item| item.due > now) {
            return due;
        }
        for (id, item) in &mut self.items {
            if item.due > now + shortest / 2 {
                continue;
            }
            item.times = (item.times + 1).min(20);
            let pause = shortest.saturating_mul(1 << item.times);
            item.due = now + jittered(pause.min(longest), rng);
            due.insert(*id, item.bytes.clone());
        }
        due
    }

    /// The time until the first item is due, if the timer has to be started.
    pub(super) fn arm(&mut self, now: Time) -> Option<Duration> {
        let due = self.items.values().map(|item| item.due).min()?;
        let is_late = self.armed.is_none_or(|armed| armed <= now || due < armed);
        is_late.then(|| {
            self.armed = Some(due);
            due - now
        })
    }

    /// The number of retained items.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// The pause and up to a quarter of it, at random, so that processes do not send at the same time.
pub(super) fn jittered(pause: Duration, rng: &mut Random) -> Duration {
    pause.mul_f64(1.0 + f64::from(rng.next_u32()) / f64::from(u32::MAX) / 4.0)
}
