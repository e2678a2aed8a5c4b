//! The set of actors that are ready to run, private to the protocol thread.
use std::cell::{Cell, RefCell};

/// Numbers of mailboxes, as bits.
struct ReadySet {
    words: RefCell<Vec<u64>>,
    /// The host whose protocol thread this is; 0: none.
    host: Cell<u64>,
}

thread_local! {
    static READY: ReadySet = const {
        ReadySet { words: RefCell::new(Vec::new()), host: Cell::new(0) }
    };
}

/// Makes the current thread the protocol thread of `host`, or, with 0, of nobody.
pub(crate) fn enter(host: u64) {
    READY.with(|ready| {
        ready.host.set(host);
        ready.words.borrow_mut().clear();
    });
}

/// Marks a mailbox ready, if this is the protocol thread of `host`.
pub(crate) fn mark(host: u64, index: usize) -> bool {
    READY
        .try_with(|ready| {
            if ready.host.get() != host {
                return false;
            }
            let mut words = ready.words.borrow_mut();
            let word = index / 64;
            if word >= words.len() {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (index % 64);
            true
        })
        .unwrap_or(false)
}

/// Takes the highest number out of the set.
pub(crate) fn take_highest() -> Option<usize> {
    READY.with(|ready| {
        let mut words = ready.words.borrow_mut();
        let (place, word) = words.iter_mut().enumerate().rev().find(|(_, w)| **w != 0)?;
        let bit = word.ilog2() as usize;
        *word &= !(1 << bit);
        Some(place * 64 + bit)
    })
}

/// Whether nobody is ready.
pub(crate) fn is_empty() -> bool {
    READY.with(|ready| ready.words.borrow().iter().all(|word| *word == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_comes_first() {
        enter(7);
        assert!(!mark(8, 3), "another host's mailbox");
        for index in [3, 200, 64, 3, 63] {
            assert!(mark(7, index));
        }
        let order: Vec<_> = std::iter::from_fn(take_highest).collect();
        assert_eq!(order, [200, 64, 63, 3]);
        assert!(is_empty());
        enter(0);
    }
}
