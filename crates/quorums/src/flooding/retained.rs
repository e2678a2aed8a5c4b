//! What stands, where it is repeated, or streams end; and when each of it is due again.
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

/// What stands.
#[derive(Default)]
pub(super) struct Retained {
    items: BTreeMap<Id, Repeated>,
    /// When the timer fires that is running.
    armed: Option<Time>,
}

impl Retained {
    /// Keeps an item, which is due then.
    pub(super) fn keep(&mut self, id: Id, bytes: Bytes, due: Time) {
        let times = 0;
        self.items.insert(id, Repeated { bytes, due, times });
    }

    /// An item no longer stands.
    pub(super) fn forget(&mut self, id: Id) {
        self.items.remove(&id);
    }

    /// Of this origin, these versions no longer stand.
    pub(super) fn forget_of(&mut self, origin: ProcessId, is_over: impl Fn(u64) -> bool) {
        let (first, last) = (0, u64::MAX);
        let [first, last] = [first, last].map(|version| Id { origin, version });
        let all = self.items.range(first..=last).map(|(id, _)| *id);
        let over: Vec<Id> = all.filter(|id| is_over(id.version)).collect();
        for id in over {
            self.items.remove(&id);
        }
    }

    /// What stands, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.items.keys().copied()
    }

    /// The item, if it stands.
    pub(super) fn bytes(&self, id: Id) -> Option<&Bytes> {
        self.items.get(&id).map(|item| &item.bytes)
    }

    /// Once something is due: that, and what is about to be. It is due again after a pause that grows from the
    /// shortest to the longest.
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

    /// After which time the timer is to fire, if it is to be started: when the first item is due.
    pub(super) fn arm(&mut self, now: Time) -> Option<Duration> {
        let due = self.items.values().map(|item| item.due).min()?;
        let is_late = self.armed.is_none_or(|armed| armed <= now || due < armed);
        is_late.then(|| {
            self.armed = Some(due);
            due - now
        })
    }

    /// How many items stand.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// The pause, and up to a quarter more, so that processes do not keep step.
pub(super) fn jittered(pause: Duration, rng: &mut Random) -> Duration {
    pause.mul_f64(1.0 + f64::from(rng.next_u32()) / f64::from(u32::MAX) / 4.0)
}
