//! What a node counts and measures, for the recorder of the [`metrics`](https://docs.rs/metrics) facade.
use super::{Builder, gauges::Gauges};
use metrics::{Label, counter, gauge};
use quorate_core::{Counters, ProcessId};
use quorate_links::perfect::Gauge;
use std::time::Duration;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

impl Builder {
    /// Publishes the node's counters and its gauges of each peer to the program's `metrics` recorder, each
    /// time this interval has passed. Publishes them once more when the node has stopped; then no bytes are
    /// unacknowledged any more. Needs the feature `metrics`. An interval of zero is taken for a
    /// millisecond.
    ///
    /// | name | kind | labels, beside `cluster` and `process` |
    /// |---|---|---|
    /// | `quorate_events_total` | counter | `module`, `event`: what the modules have counted |
    /// | `quorate_peer_owed_bytes` | gauge | `peer`: see [`Gauge::owed`] |
    /// | `quorate_peer_in_flight_bytes` | gauge | `peer`: see [`Gauge::in_flight`] |
    /// | `quorate_peer_window_bytes` | gauge | `peer`: see [`Gauge::window`] |
    /// | `quorate_peer_round_trip_seconds` | gauge | `peer`; the last measurement, and absent before the first one |
    #[must_use]
    pub fn publish_metrics(mut self, every: Duration) -> Self {
        self.metrics = Some(every.max(Duration::from_millis(1)));
        self
    }
}

/// The values that are published, with their labels.
pub(super) struct Publisher {
    pub cluster: String,
    pub me: ProcessId,
    pub counters: Counters,
    pub gauges: Gauges,
}

impl Publisher {
    /// Publishes to the recorder at this interval, until the node has `ended`, when the other end of that
    /// channel is dropped.
    pub async fn publish(self, every: Duration, mut ended: oneshot::Receiver<()>) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut peers = Vec::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = &mut ended => break,
            }
            let Ok(now) = self.gauges.read().await else {
                break;
            };
            peers = now;
            self.tell(&peers);
        }
        let gone = peers
            .iter()
            .map(|of| Gauge::of(of.peer))
            .collect::<Vec<_>>();
        self.tell(&gone);
    }

    fn tell(&self, peers: &[Gauge]) {
        let cluster = Label::new("cluster", self.cluster.clone());
        let process = Label::new("process", self.me.to_string());
        tell([cluster, process], &self.counters, peers);
    }
}

fn tell([cluster, process]: [Label; 2], counters: &Counters, peers: &[Gauge]) {
    for (module, event, count) in counters.snapshot() {
        let module = Label::new("module", module.to_string());
        let event = Label::from_static_parts("event", event);
        let labels = vec![cluster.clone(), process.clone(), module, event];
        counter!("quorate_events_total", labels).absolute(count);
    }
    for of in peers {
        let peer = Label::new("peer", of.peer.to_string());
        let labels = vec![cluster.clone(), process.clone(), peer];
        gauge!("quorate_peer_owed_bytes", labels.clone()).set(of.owed as f64);
        gauge!("quorate_peer_in_flight_bytes", labels.clone()).set(of.in_flight as f64);
        gauge!("quorate_peer_window_bytes", labels.clone()).set(of.window as f64);
        if let Some(round_trip) = of.round_trip {
            gauge!("quorate_peer_round_trip_seconds", labels).set(round_trip.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
