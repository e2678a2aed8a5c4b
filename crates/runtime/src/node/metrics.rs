//! What a node counts and measures, for the recorder of the [`metrics`](https://docs.rs/metrics) facade.
use super::{Builder, gauges::Gauges};
use metrics::{Label, counter, gauge};
use quorate_core::{Counters, ProcessId};
use quorate_links::perfect::Gauge;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

impl Builder {
    /// Tells the program's `metrics` recorder so often what the node has counted and how the exchange with each peer
    /// goes, until the node stops. With the feature `metrics`. Zero is taken for a millisecond.
    ///
    /// | name | kind | labels |
    /// |---|---|---|
    /// | `quorate_events_total` | counter | `process`, `module`, `event`: what the modules have counted |
    /// | `quorate_peer_owed_bytes` | gauge | `process`, `peer`: sent to it, and not acknowledged |
    /// | `quorate_peer_under_way_bytes` | gauge | `process`, `peer`: of these, what is on its way |
    /// | `quorate_peer_window_bytes` | gauge | `process`, `peer`: how many may be on their way at once |
    /// | `quorate_peer_round_trip_seconds` | gauge | `process`, `peer`; not before it was measured |
    #[must_use]
    pub fn publish_metrics(mut self, every: Duration) -> Self {
        self.metrics = Some(every.max(Duration::from_millis(1)));
        self
    }
}

/// Tells the recorder until the node has stopped.
pub(super) async fn publish(every: Duration, me: ProcessId, counters: Counters, gauges: Gauges) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(peers) = gauges.read().await else {
            // What was counted in the end is told, too.
            return tell(me, &counters, &[]);
        };
        tell(me, &counters, &peers);
    }
}

fn tell(me: ProcessId, counters: &Counters, peers: &[Gauge]) {
    let process = Label::new("process", me.to_string());
    for (module, event, count) in counters.snapshot() {
        let module = Label::new("module", module.to_string());
        let event = Label::from_static_parts("event", event);
        let labels = vec![process.clone(), module, event];
        counter!("quorate_events_total", labels).absolute(count);
    }
    for of in peers {
        let labels = vec![process.clone(), Label::new("peer", of.peer.to_string())];
        gauge!("quorate_peer_owed_bytes", labels.clone()).set(of.owed as f64);
        gauge!("quorate_peer_under_way_bytes", labels.clone()).set(of.under_way as f64);
        gauge!("quorate_peer_window_bytes", labels.clone()).set(of.window as f64);
        if let Some(round_trip) = of.round_trip {
            gauge!("quorate_peer_round_trip_seconds", labels).set(round_trip.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
