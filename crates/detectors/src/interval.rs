//! The pace of the detectors that are derived from agreement.
use std::time::Duration;

/// How long a process waits after the end of an instance before it does its part in the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    interval: Duration,
}

/// The interval between instances is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the interval between the end of an instance and the next must be above 0")]
pub struct NoInterval;

impl Interval {
    /// The next broadcast leaves this long after the delivery of the last; the second vote of an instance, this long
    /// after the decision of the one before.
    ///
    /// # Errors
    /// When the interval is 0.
    pub fn new(interval: Duration) -> Result<Self, NoInterval> {
        match interval {
            Duration::ZERO => Err(NoInterval),
            interval => Ok(Interval { interval }),
        }
    }

    pub(crate) fn duration(self) -> Duration {
        self.interval
    }
}

impl Default for Interval {
    /// One second: it delays no report over a layer that uses P.
    fn default() -> Self {
        Interval {
            interval: Duration::from_secs(1),
        }
    }
}
