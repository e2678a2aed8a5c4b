//! Which frames of the fair-loss lanes of a session have left, and have come.

/// A frame that so many later ones have overtaken is dropped: whether it is a copy is forgotten.
const WINDOW: u64 = u128::BITS as u64;

/// What the fair-loss lanes of a session need, beside its token.
pub struct Passage {
    /// The stamp of the last frame that left.
    stamp: u64,
    /// The highest stamp that arrived.
    highest: u64,
    /// Which of the stamps from the highest down arrived, one bit each. No frame has the stamp 0.
    seen: u128,
}

impl Default for Passage {
    /// Nothing has passed yet.
    fn default() -> Self {
        Passage {
            stamp: 0,
            highest: 0,
            seen: 1,
        }
    }
}

impl Passage {
    /// The stamp of the next frame.
    pub fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Whether the frame with this stamp is neither a copy nor too late to tell.
    pub fn is_new(&mut self, stamp: u64) -> bool {
        if stamp > self.highest {
            let ahead = stamp - self.highest;
            let before = if ahead < WINDOW {
                self.seen << ahead
            } else {
                0
            };
            self.seen = before | 1;
            self.highest = stamp;
            return true;
        }
        let behind = self.highest - stamp;
        let is_new = behind < WINDOW && self.seen & (1 << behind) == 0;
        if is_new {
            self.seen |= 1 << behind;
        }
        is_new
    }
}
