//! How generalized quorum access behaves.
use std::time::Duration;

/// How clocks advance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clocks {
    /// They count, as published.
    Counted,
    /// They count, and do not lag behind the time, in microseconds, nor behind any known clock.
    Timed {
        /// The time at which this process began, in microseconds: on a common scale, as far as the processes
        /// have one.
        epoch: u64,
    },
}

/// The settings of quorum access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessSettings {
    /// How often the state is pushed.
    pub period: Duration,
    /// How clocks advance.
    pub clocks: Clocks,
    /// How many bytes of states are pushed per second: a large state that changes all the time is pushed less
    /// often, so that it arrives.
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
