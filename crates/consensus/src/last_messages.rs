//! What a process has sent in its latest instances, to be sent again when a stream to a process begins anew.
//!
//! For an instance that is in flight, its last message is kept; for a finished one, too, while it is among
//! the latest: others may lack it, and nobody reports having it. A process that missed a message of an older
//! instance never gets it.
use std::collections::{BTreeMap, VecDeque};

/// At most this many finished instances are remembered.
pub(crate) const INSTANCES: usize = 256;
/// At most this many bytes of them are remembered, and the latest in any case.
pub(crate) const BYTES: usize = 4 << 20;

/// The last messages, by instance.
#[derive(Debug)]
pub(crate) struct LastMessages<M> {
    open: BTreeMap<u64, M>,
    /// The finished instances, the latest last, each with its message and that message's length in bytes.
    over: VecDeque<(u64, M, usize)>,
    bytes: usize,
}

impl<M> Default for LastMessages<M> {
    fn default() -> Self {
        LastMessages {
            open: BTreeMap::new(),
            over: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<M> LastMessages<M> {
    /// Remembers this message of an instance, in place of the one before.
    pub(crate) fn say(&mut self, instance: u64, message: M) {
        self.open.insert(instance, message);
    }

    /// The instance is finished here; `length` gives the length of its last message.
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

    /// All messages to be sent again.
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
        let mut said = LastMessages::default();
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
        let mut said = LastMessages::default();
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
