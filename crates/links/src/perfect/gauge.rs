//! Measurements of the exchange with a peer.
use quorate_core::ProcessId;
use std::time::Duration;

/// Measurements of the exchange with one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Gauge {
    pub peer: ProcessId,
    /// How many bytes were sent to it that it has not acknowledged, those that wait to leave included. Each message
    /// that waits counts 64 bytes more than it is long.
    pub owed: usize,
    /// How many bytes are in flight to it, heads included.
    pub in_flight: usize,
    /// How many bytes may be in flight at once, as congestion control allows; zero without a session.
    pub window: usize,
    /// The time from a message to its acknowledgement, smoothed; `None`: nothing was measured since the two have
    /// met.
    pub round_trip: Option<Duration>,
}

impl Gauge {
    /// Nothing is owed, and nothing was measured.
    pub fn of(peer: ProcessId) -> Self {
        Gauge {
            peer,
            owed: 0,
            in_flight: 0,
            window: 0,
            round_trip: None,
        }
    }
}
