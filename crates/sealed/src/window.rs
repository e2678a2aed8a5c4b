//! Which counters of a session have arrived: a window below the highest.

const WORDS: usize = 32;
/// How far below the highest counter a datagram may still arrive.
pub const WINDOW: u64 = (WORDS as u64 - 1) * 64;

/// The counters that have arrived. Its memory is fixed.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// One more than the highest counter.
    end: u64,
    /// A ring of bits, a counter each.
    words: [u64; WORDS],
}

impl Window {
    /// Whether a datagram with this counter may be accepted.
    pub fn is_fresh(&self, counter: u64) -> bool {
        if counter >= self.end {
            return counter < u64::MAX;
        }
        self.end - counter <= WINDOW && self.words[word(counter)] & bit(counter) == 0
    }

    /// Whether the counter is above all that have arrived.
    pub fn is_highest(&self, counter: u64) -> bool {
        counter >= self.end
    }

    /// Notes that a datagram with this fresh counter was accepted.
    pub fn accept(&mut self, counter: u64) {
        if counter >= self.end {
            let old = self.end.saturating_sub(1) / 64;
            let entered = (counter / 64 - old).min(WORDS as u64);
            for next in 1..=entered {
                self.words[((old + next) % WORDS as u64) as usize] = 0;
            }
            self.end = counter.saturating_add(1);
        }
        self.words[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    (counter / 64 % WORDS as u64) as usize
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_counter_is_fresh_once_and_only_inside_the_window() {
        let mut window = Window::default();
        assert!(window.is_fresh(0) && window.is_highest(0));
        window.accept(0);
        assert!(!window.is_fresh(0) && window.is_fresh(1));
        window.accept(5000);
        assert!(window.is_fresh(5001 - WINDOW) && !window.is_fresh(5000 - WINDOW));
        assert!(window.is_fresh(4999) && !window.is_fresh(5000));
        window.accept(u64::MAX - 1);
        assert!(!window.is_fresh(u64::MAX) && !window.is_fresh(u64::MAX - 1));
        assert!(window.is_fresh(u64::MAX - 2));
        const { assert!(WINDOW >= 1024) };
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_accepted(steps in prop::collection::vec(0_u64..200, 1..400)) {
            let (mut window, mut accepted) = (Window::default(), BTreeSet::new());
            let mut base = 0;
            for step in steps {
                // Most are near the highest, some far above it, some far below.
                base += if step > 190 { step * 13 } else { step % 3 };
                let counter = (base + step % 7).saturating_sub(step * step % 2300);
                let end = accepted.last().map_or(0, |highest| highest + 1);
                let inside = counter >= end || end - counter <= WINDOW;
                prop_assert_eq!(window.is_fresh(counter), inside && !accepted.contains(&counter));
                prop_assert_eq!(window.is_highest(counter), counter >= end);
                if window.is_fresh(counter) {
                    window.accept(counter);
                    accepted.insert(counter);
                }
            }
        }
    }
}
