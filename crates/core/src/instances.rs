//! One-shot abstractions addressed by number, inside one static actor.
//!
//! An instance is created when its number is first mentioned; from then on it also buffers its early
//! messages. Its owner retires it, and events that arrive for it afterwards are late. Numbers too far ahead
//! of the oldest unfinished instance are refused, so that no peer can make a process allocate without bound.
use crate::watermark::Watermark;
use std::collections::BTreeMap;

/// The state of an instance.
#[derive(Debug)]
pub enum Entry<'a, S> {
    /// The instance runs (it may have been created just now).
    Live(&'a mut S),
    /// The instance was retired. The event is late and is dropped.
    Retired,
    /// The number is too far ahead. The event is dropped, and the caller counts it.
    TooFar,
}

/// The live instances of a one-shot abstraction, numbered from 1.
#[derive(Debug)]
pub struct Instances<S> {
    live: BTreeMap<u64, S>,
    retired: Watermark,
    ahead: u64,
}

impl<S> Instances<S> {
    /// No instances. Numbers more than `ahead` above the oldest instance that is not retired are refused.
    pub fn new(ahead: u64) -> Self {
        Instances {
            live: BTreeMap::new(),
            retired: Watermark::default(),
            ahead,
        }
    }

    /// The instance `number`, created by `create` at its first mention.
    pub fn at(&mut self, number: u64, create: impl FnOnce() -> S) -> Entry<'_, S> {
        if self.retired.contains(number) {
            return Entry::Retired;
        }
        if number - self.retired.low() > self.ahead {
            return Entry::TooFar;
        }
        Entry::Live(self.live.entry(number).or_insert_with(create))
    }

    /// The instance `number`, if it runs.
    pub fn get(&mut self, number: u64) -> Option<&mut S> {
        self.live.get_mut(&number)
    }

    /// Retires an instance: its state is dropped, and so is what still arrives for it.
    pub fn retire(&mut self, number: u64) -> Option<S> {
        self.retired.insert(number);
        self.live.remove(&number)
    }

    /// Retires all of these.
    pub fn retire_all(&mut self, these: &Watermark) {
        self.retired.raise(these.low());
        for (first, last) in these.ranges() {
            (first..=last).for_each(|number| _ = self.retired.insert(number));
        }
        let retired = &self.retired;
        self.live.retain(|number, _| !retired.contains(*number));
    }

    /// Whether the instance was retired.
    pub fn is_retired(&self, number: u64) -> bool {
        self.retired.contains(number)
    }

    /// The instances that were retired.
    pub fn retired(&self) -> &Watermark {
        &self.retired
    }

    /// The numbers of the instances that run, ascending.
    pub fn numbers(&self) -> Vec<u64> {
        self.live.keys().copied().collect()
    }

    /// How many instances run.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_lives_from_its_first_mention_to_its_retirement() {
        let mut instances = Instances::new(4);
        assert!(matches!(instances.at(3, || 0), Entry::Live(0)));
        *instances.get(3).unwrap() = 7;
        assert!(matches!(instances.at(3, || 0), Entry::Live(7)));
        assert!(matches!(instances.at(5, || 0), Entry::TooFar));
        assert_eq!(instances.retire(3), Some(7));
        assert!(matches!(instances.at(3, || 0), Entry::Retired));
        assert!(
            matches!(instances.at(0, || 0), Entry::Retired),
            "numbers begin at 1"
        );
        instances.retire(1);
        instances.retire(2);
        assert!(matches!(instances.at(7, || 0), Entry::Live(0)));
        assert_eq!(instances.numbers(), [7]);
    }

    #[test]
    fn many_are_retired_at_once() {
        let mut instances = Instances::new(100);
        for number in [5, 8, 20] {
            assert!(matches!(instances.at(number, || number), Entry::Live(_)));
        }
        instances.retire(9);
        let mut these = Watermark::up_to(6);
        for number in [8, 11, 12] {
            these.insert(number);
        }
        instances.retire_all(&these);
        assert_eq!(instances.numbers(), [20]);
        let ranges: Vec<_> = instances.retired().ranges().collect();
        assert_eq!(
            (instances.retired().low(), ranges),
            (6, vec![(8, 9), (11, 12)])
        );
    }
}
