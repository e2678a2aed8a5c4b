//! How generalized quorum access behaves.
use std::time::Duration;

/// How clocks go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clocks {
    /// They count, as published.
    Counted,
    /// They count, and do not lag behind the time, in microseconds, nor behind any that is heard of.
    Timed {
        /// The time of this process's beginning: on a common scale as far as the processes have one.
        epoch: u64,
    },
}

/// How quorum access behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessSettings {
    /// How often the state is pushed.
    pub period: Duration,
    /// How clocks go on.
    pub clocks: Clocks,
    /// How many bytes of states are pushed in a second: a large state that changes all the time is pushed
    /// less often, so that it arrives.
    pub rate: u64,
}

impl Default for AccessSettings {
    fn default() -> Self {
        AccessSettings {
            period: Duration::from_millis(100),
            clocks: Clocks::Timed { epoch: 0 },
            rate: 1 << 18,
        }
    }
}
