//! The items that are sent again, little by little, to one process to which a stream has begun anew.
use super::message::Id;
use std::collections::VecDeque;

/// The size of the first portions, in bytes.
const PORTION: usize = 256 << 10;

/// The items that are still to be sent.
#[derive(Debug)]
pub(super) struct Again {
    left: VecDeque<Id>,
    /// The last item that was sent: the next pass begins there, if this one is cut off.
    last: Option<Id>,
    /// At most this many bytes leave at once, or a single item. Halved when a stream ends.
    portion: usize,
    /// Whether the pause before the next portion runs.
    waits: bool,
    /// Whether there is a stream.
    open: bool,
}

impl Default for Again {
    fn default() -> Self {
        Again {
            left: VecDeque::new(),
            last: None,
            portion: PORTION,
            waits: false,
            open: false,
        }
    }
}

impl Again {
    /// A stream has begun, on which all of these items are sent again. Returns whether a portion may leave at
    /// once.
    pub(super) fn begin(&mut self, retained: impl Iterator<Item = Id>) -> bool {
        let (mut before, mut behind) = (VecDeque::new(), VecDeque::new());
        for id in retained {
            let is_behind = self.last.is_none_or(|last| id > last);
            if is_behind { &mut behind } else { &mut before }.push_back(id);
        }
        behind.append(&mut before);
        self.left = behind;
        self.open = true;
        !self.waits
    }

    /// The stream has ended, perhaps because of the items sent again on it.
    pub(super) fn end(&mut self) {
        self.left.clear();
        self.open = false;
        self.portion = (self.portion / 2).max(1);
    }

    /// The next portion of the items still retained, after a pause or at the beginning; empty once all were
    /// sent, or while there is no stream.
    pub(super) fn portion(&mut self, length: impl Fn(&Id) -> Option<usize>) -> Vec<Id> {
        let (mut ids, mut bytes) = (Vec::new(), 0);
        while let Some(id) = self.left.front() {
            let Some(length) = length(id) else {
                self.left.pop_front();
                continue;
            };
            if bytes + length > self.portion && !ids.is_empty() {
                break;
            }
            bytes += length;
            self.last = Some(*id);
            ids.extend(self.left.pop_front());
        }
        self.waits = !ids.is_empty();
        ids
    }

    /// Whether all items were sent, and the pause after them is over.
    pub(super) fn is_over(&self) -> bool {
        self.open && self.left.is_empty() && !self.waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::ProcessId;

    fn id(version: u64) -> Id {
        let origin = ProcessId::from_rank(1).unwrap();
        Id { origin, version }
    }

    fn versions(ids: Vec<Id>) -> Vec<u64> {
        ids.into_iter().map(|id| id.version).collect()
    }

    #[test]
    fn what_stands_leaves_in_portions_that_a_stream_which_ends_halves() {
        let mut again = Again::default();
        let length = |_: &Id| Some(PORTION / 2);
        assert!(again.begin((1..=5).map(id)));
        assert_eq!(versions(again.portion(length)), [1, 2]);
        assert_eq!(versions(again.portion(length)), [3, 4]);
        again.end();
        assert!(
            versions(again.portion(length)).is_empty(),
            "there is no stream"
        );
        assert!(!again.is_over(), "it will begin anew");
        assert!(again.begin((1..=5).map(id)));
        assert_eq!(
            versions(again.portion(length)),
            [5],
            "goes on where it was cut off"
        );
        again.end();
        assert!(!again.begin((1..=5).map(id)), "the pause goes on");
        let portions = std::iter::repeat_with(|| versions(again.portion(length)));
        let rest: Vec<_> = portions.take(5).flatten().collect();
        assert_eq!(rest, [1, 2, 3, 4, 5], "one in any case");
        assert!(!again.is_over());
        assert!(again.portion(length).is_empty() && again.is_over());
    }

    #[test]
    fn what_does_not_stand_any_more_is_not_said() {
        let mut again = Again::default();
        assert!(again.begin((1..=4).map(id)));
        let length = |id: &Id| (id.version > 2).then_some(1);
        assert_eq!(versions(again.portion(length)), [3, 4]);
    }
}
