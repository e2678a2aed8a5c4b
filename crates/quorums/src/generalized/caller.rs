//! What a replica remembers of a process that calls: at most the window of its calls.
use quorate_abstractions::flooding::Slot;
use std::collections::BTreeMap;

/// What a replica remembers of a caller.
#[derive(Default)]
pub(super) struct Caller {
    /// Calls below this one are over.
    oldest: u64,
    /// The calls that were answered, each with the slot of its response.
    pub(super) answered: BTreeMap<u64, Slot>,
}

/// How a replica classifies a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// It is seen for the first time, and its caller waits.
    First,
    /// It was answered, or is over.
    Again,
    /// It is beyond the window: calls that began later may be seen first, but not so many.
    TooMany,
}

impl Caller {
    /// Forgets the calls that are over, as the caller says. Returns the slots of their responses.
    pub(super) fn forget_below(&mut self, oldest: u64) -> impl Iterator<Item = Slot> + use<> {
        self.oldest = self.oldest.max(oldest);
        let live = self.answered.split_off(&self.oldest);
        std::mem::replace(&mut self.answered, live).into_values()
    }

    /// Classifies this call, when at most `most` calls are answered at a time.
    pub(super) fn see(&self, call: u64, most: usize) -> Seen {
        if call < self.oldest || self.answered.contains_key(&call) {
            Seen::Again
        } else if self.answered.len() >= most {
            Seen::TooMany
        } else {
            Seen::First
        }
    }
}
