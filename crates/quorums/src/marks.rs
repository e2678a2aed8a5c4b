//! The smallest state of quorum access: a set of up to 64 marks. The checkers see in it which updates a state
//! has, so that tests and demonstrations use it.
use quorate_abstractions::quorum_access::State;
use quorate_core::wire::Plain;
use serde::{Deserialize, Serialize};

/// A set of marks, which grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Marks(pub u64);

/// A mark: 0 … 63.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark(pub u8);

impl Plain for Marks {}
impl Plain for Mark {}

impl State for Marks {
    type Update = Mark;

    fn apply(&mut self, update: &Mark) -> bool {
        let before = self.0;
        self.0 |= Self::digest_of(update);
        self.0 != before
    }

    fn digest(&self) -> u64 {
        self.0
    }

    fn digest_of(update: &Mark) -> u64 {
        1 << (update.0 % 64)
    }
}
