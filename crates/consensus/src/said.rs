//! What a process has said in its latest instances, to be said again to whom a stream has begun anew.
//!
//! Of an instance that is in flight, what was said last; of those that are over here, the same, as long
//! as they are among the latest: others may lack it, and nobody says when they have it. Who missed what
//! was said in older ones stays without it.
use std::collections::{BTreeMap, VecDeque};

/// So many instances that are over are remembered.
pub(crate) const INSTANCES: usize = 256;
/// So many bytes of them, and the latest in any case.
pub(crate) const BYTES: usize = 4 << 20;

/// What was said, by instance.
#[derive(Debug)]
pub(crate) struct Said<M> {
    open: BTreeMap<u64, M>,
    /// The instances that are over, the latest last, each with its length.
    over: VecDeque<(u64, M, usize)>,
    bytes: usize,
}

impl<M> Default for Said<M> {
    fn default() -> Self {
        Said {
            open: BTreeMap::new(),
            over: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<M> Said<M> {
    /// This is said in an instance, in place of what was said before.
    pub(crate) fn say(&mut self, instance: u64, message: M) {
        self.open.insert(instance, message);
    }

    /// The instance is over here; what was said last has a length.
    pub(crate) fn end(&mut self, instance: u64, length: impl Fn(&M) -> usize) {
        let Some(message) = self.open.remove(&instance) else {
            return;
        };
        let length = length(&message);
        self.bytes += length;
        self.over.push_back((instance, message, length));
        while self.over.len() > INSTANCES || (self.bytes > BYTES && self.over.len() > 1) {
            if let Some((_, _, length)) = self.over.pop_front() {
                self.bytes -= length;
            }
        }
    }

    /// All that is to be said again.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &M)> {
        let over = self.over.iter();
        let open = self
            .open
            .iter()
            .map(|(instance, message)| (*instance, message));
        over.map(|(instance, message, _)| (*instance, message))
            .chain(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_remembered_for_a_while_and_what_is_open_for_good() {
        let mut said = Said::default();
        said.say(1, "open");
        for instance in 2..1000 {
            said.say(instance, "a");
            said.say(instance, "ab");
            said.end(instance, |text| text.len());
        }
        said.end(2, |_| 0);
        let instances: Vec<u64> = said.iter().map(|(instance, _)| instance).collect();
        assert_eq!(instances.len(), INSTANCES + 1);
        assert!(instances.contains(&1) && instances.contains(&999) && !instances.contains(&2));
        assert_eq!(said.bytes, 2 * INSTANCES);
    }

    #[test]
    fn long_messages_are_remembered_by_their_length() {
        let mut said = Said::default();
        for instance in 1..=10 {
            said.say(instance, BYTES / 2);
            said.end(instance, |length| *length);
            assert!(said.bytes <= BYTES);
        }
        assert_eq!(said.iter().count(), 2);
        said.say(11, 5 * BYTES);
        said.end(11, |length| *length);
        assert_eq!(said.iter().count(), 1, "the latest is kept, however long");
    }
}
