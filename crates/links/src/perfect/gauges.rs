//! Answers requests for the gauges of all peers.
use super::{
    algorithm::{Ctx, PerfectLink},
    events::Effect,
    gauge::Gauge,
    sending::Sending,
};
use quorate_core::Addr;

impl PerfectLink {
    /// Answers the request with the peers in the order of their ranks.
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
