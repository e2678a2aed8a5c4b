//! The set of actors that are ready to run, private to the protocol thread. Hosts that share a thread take
//! turns: a host's set is there while the host runs, and is kept by the host at other times.
use std::{
    cell::{Cell, RefCell},
    mem,
};

/// Numbers of mailboxes, as bits.
#[derive(Default)]
pub(crate) struct Numbers(Vec<u64>);

impl Numbers {
    const fn new() -> Self {
        Numbers(Vec::new())
    }

    /// Adds a number, which may be in the set already.
    pub fn insert(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Removes the highest number: the module that was made last, which is the lowest layer.
    pub fn take_highest(&mut self) -> Option<usize> {
        let words = self.0.iter_mut().enumerate().rev();
        let (place, word) = words.into_iter().find(|(_, word)| **word != 0)?;
        let bit = word.ilog2() as usize;
        *word &= !(1 << bit);
        Some(place * 64 + bit)
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

struct ReadySet {
    numbers: RefCell<Numbers>,
    /// The host whose protocol thread this is.
    host: Cell<u64>,
}

/// No host has this number.
const NOBODY: u64 = 0;

thread_local! {
    static READY: ReadySet = const {
        ReadySet { numbers: RefCell::new(Numbers::new()), host: Cell::new(NOBODY) }
    };
}

/// Makes the current thread the protocol thread of `host`. The actors with these numbers are ready.
pub(crate) fn enter(host: u64, numbers: &mut Numbers) {
    READY.with(|ready| {
        ready.host.set(host);
        *ready.numbers.borrow_mut() = mem::take(numbers);
    });
}

/// Ends the present host's use of the current thread, and keeps its ready actors in `numbers`.
pub(crate) fn leave(numbers: &mut Numbers) {
    READY.with(|ready| {
        ready.host.set(NOBODY);
        *numbers = mem::take(&mut *ready.numbers.borrow_mut());
    });
}

/// Whether the current thread is the protocol thread of `host`, at this moment.
pub(crate) fn is_at(host: u64) -> bool {
    READY
        .try_with(|ready| ready.host.get() == host)
        .unwrap_or(false)
}

/// Marks a mailbox ready, if this is the protocol thread of `host`.
pub(crate) fn mark(host: u64, index: usize) -> bool {
    READY
        .try_with(|ready| {
            if ready.host.get() != host {
                return false;
            }
            ready.numbers.borrow_mut().insert(index);
            true
        })
        .unwrap_or(false)
}

/// Takes the highest number out of the set.
pub(crate) fn take_highest() -> Option<usize> {
    READY.with(|ready| ready.numbers.borrow_mut().take_highest())
}

/// Whether no actor is ready.
#[cfg(test)]
fn is_empty() -> bool {
    READY.with(|ready| ready.numbers.borrow().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_comes_first() {
        let mut numbers = Numbers::default();
        enter(7, &mut numbers);
        assert!(!mark(8, 3), "another host's mailbox");
        for index in [3, 200, 64, 3, 63] {
            assert!(mark(7, index));
        }
        let order: Vec<_> = std::iter::from_fn(take_highest).collect();
        assert_eq!(order, [200, 64, 63, 3]);
        assert!(is_empty());
        leave(&mut numbers);
        assert!(!mark(7, 3) && !mark(NOBODY + 1, 3));
    }

    #[test]
    fn whoever_comes_back_finds_its_own_ready() {
        let (mut one, mut other) = (Numbers::default(), Numbers::default());
        enter(1, &mut one);
        mark(1, 5);
        leave(&mut one);
        enter(2, &mut other);
        assert!(is_empty());
        mark(2, 6);
        leave(&mut other);
        enter(1, &mut one);
        assert_eq!((take_highest(), take_highest()), (Some(5), None));
        leave(&mut one);
    }
}
