//! The messages that each process has delivered, by origin: the state that most checkers share.
use quorate_core::{
    MessageId, Observation, ProcessId, ProcessSet, message::Origin, watermark::Watermark,
};
use std::collections::BTreeMap;

/// The messages that each process has delivered.
#[derive(Default)]
pub(super) struct Delivered {
    sets: BTreeMap<(ProcessId, Origin), Watermark>,
}

/// The identifiers of the messages that an indication is about.
pub(super) fn messages(observation: &Observation) -> impl Iterator<Item = MessageId> + use<> {
    let first = observation.message;
    let count = observation.count;
    first.into_iter().flat_map(move |id| {
        (id.sequence..id.sequence.saturating_add(count)).map(move |sequence| MessageId {
            origin: id.origin,
            sequence,
        })
    })
}

impl Delivered {
    /// Adds a message. Returns `false` if the process had delivered it before.
    pub(super) fn insert(&mut self, by: ProcessId, id: MessageId) -> bool {
        let set = self.sets.entry((by, id.origin)).or_default();
        set.insert(id.sequence)
    }

    /// Whether the process has delivered the message.
    pub(super) fn contains(&self, by: ProcessId, id: MessageId) -> bool {
        let set = self.sets.get(&(by, id.origin));
        set.is_some_and(|set| set.contains(id.sequence))
    }

    /// The number up to which each of these processes has delivered all of the origin's messages.
    pub(super) fn low(&self, by: ProcessSet, origin: Origin) -> u64 {
        let low = |p| self.sets.get(&(p, origin)).map_or(0, Watermark::low);
        by.iter().map(low).min().unwrap_or(u64::MAX)
    }

    /// The number up to which `by` has delivered all of `process`'s messages.
    pub(super) fn low_of(&self, by: ProcessId, process: ProcessId) -> u64 {
        let mine = self.sets.iter();
        mine.filter(|((p, origin), _)| *p == by && origin.process == process)
            .map(|(_, set)| set.low())
            .max()
            .unwrap_or(0)
    }

    /// A message that `by` has delivered in this record and not in `other`.
    pub(super) fn beyond(&self, other: &Delivered, by: ProcessId) -> Option<MessageId> {
        let mut mine = self.sets.iter().filter(|((p, _), _)| *p == by);
        mine.find_map(|((_, origin), set)| {
            let id = |sequence| MessageId {
                origin: *origin,
                sequence,
            };
            let low = other.sets.get(&(by, *origin)).map_or(0, Watermark::low);
            let mut beyond = (low + 1..=set.high()).map(id);
            beyond.find(|id| set.contains(id.sequence) && !other.contains(by, *id))
        })
    }

    /// A message that one of `some` has delivered and one of `all` has not, with the two processes.
    pub(super) fn missing(
        &self,
        some: impl Fn(ProcessId) -> bool,
        all: ProcessSet,
    ) -> Option<(MessageId, ProcessId, ProcessId)> {
        let empty = Watermark::default();
        for ((p, origin), theirs) in self.sets.iter().filter(|((p, _), _)| some(*p)) {
            for q in all.iter() {
                let mine = self.sets.get(&(q, *origin)).unwrap_or(&empty);
                if mine.low() >= theirs.high() {
                    continue;
                }
                let missing = (mine.low() + 1..=theirs.high())
                    .find(|s| theirs.contains(*s) && !mine.contains(*s));
                if let Some(sequence) = missing {
                    let id = MessageId {
                        origin: *origin,
                        sequence,
                    };
                    return Some((id, *p, q));
                }
            }
        }
        None
    }
}
