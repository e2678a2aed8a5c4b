use super::*;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use quorate_core::Name;
use std::collections::BTreeMap;

/// By name, with what its labels say after the process: the value.
fn seen(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    let one = all.map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(|it| it.value().to_owned()).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => f64::NAN,
        };
        (format!("{} {}", key.key().name(), labels.join(" ")), value)
    });
    one.collect()
}

#[test]
fn counts_and_gauges_reach_the_recorder_under_the_names_that_are_documented() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let [p1, p2] = [1, 2].map(|rank| ProcessId::from_rank(rank).unwrap());
    let counters = Counters::default();
    let count = counters.counter(&Name::from("link"), "timeouts");
    count.add(3);
    let mut of = Gauge::of(p2);
    of.owed = 700;
    of.under_way = 500;
    of.window = 9000;
    metrics::with_local_recorder(&recorder, || tell(p1, &counters, &[of]));
    let expected = |event: f64| {
        [
            ("quorate_events_total p1 link timeouts", event),
            ("quorate_peer_owed_bytes p1 p2", 700.0),
            ("quorate_peer_under_way_bytes p1 p2", 500.0),
            ("quorate_peer_window_bytes p1 p2", 9000.0),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    };
    assert_eq!(seen(&snapshotter), BTreeMap::from(expected(3.0)));
    // Counts are told as they stand, not added up by every telling.
    count.add(1);
    of.round_trip = Some(Duration::from_millis(2));
    metrics::with_local_recorder(&recorder, || {
        tell(p1, &counters, &[of]);
        tell(p1, &counters, &[of]);
    });
    let now = seen(&snapshotter);
    let seconds = now["quorate_peer_round_trip_seconds p1 p2"];
    assert!((seconds - 0.002).abs() < 1e-9, "{seconds}");
    assert!(now.values().all(|value| value.is_finite()));
}
