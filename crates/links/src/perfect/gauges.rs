//! How the exchange with each peer goes, in numbers, for whoever asks.
use super::{
    algorithm::{Ctx, PerfectLink},
    events::Effect,
    sending::Sending,
};
use quorate_core::{Addr, ProcessId};
use std::time::Duration;

/// How the exchange with one peer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Gauge {
    pub peer: ProcessId,
    /// How many bytes were sent to it that it has not acknowledged, those that wait to leave included. Each message
    /// that waits counts 64 bytes more than it is long.
    pub owed: usize,
    /// How many bytes are in flight to it, heads included.
    pub in_flight: usize,
    /// How many bytes may be in flight at once, as the way to it has shown; zero: there is no session with it.
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

impl PerfectLink {
    /// Answers who asks: the peers in the order of their ranks.
    pub(super) fn upon_gauge(&self, reply: Addr<Vec<Gauge>>, ctx: &mut Ctx) {
        let others = self.peers.others();
        let gauges = others.iter().map(|peer| {
            let entry = self.peers.get(peer);
            let sending = entry.session().map(|session| &session.sending);
            Gauge {
                peer,
                owed: entry.owed_bytes(),
                in_flight: sending.map_or(0, Sending::in_flight),
                window: sending.map_or(0, Sending::window),
                round_trip: sending.and_then(Sending::round_trip),
            }
        });
        ctx.trigger(Effect::Gauges(reply, gauges.collect()));
    }
}
