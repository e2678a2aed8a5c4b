use super::*;
use crate::tests::node::{Kind, builders, within};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use quorate_core::Name;
use std::collections::BTreeMap;

/// The values, by name and by the labels after the process.
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
    let p2 = ProcessId::from_rank(2).unwrap();
    let counters = Counters::default();
    let count = counters.counter(&Name::from("link"), "timeouts");
    count.add(3);
    let mut of = Gauge::of(p2);
    of.owed = 700;
    of.in_flight = 500;
    of.window = 9000;
    let labels = || [Label::new("cluster", "shop"), Label::new("process", "p1")];
    metrics::with_local_recorder(&recorder, || tell(labels(), &counters, &[of]));
    let expected = |event: f64| {
        [
            ("quorate_events_total shop p1 link timeouts", event),
            ("quorate_peer_owed_bytes shop p1 p2", 700.0),
            ("quorate_peer_in_flight_bytes shop p1 p2", 500.0),
            ("quorate_peer_window_bytes shop p1 p2", 9000.0),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    };
    assert_eq!(seen(&snapshotter), BTreeMap::from(expected(3.0)));
    // Counters are published as they stand, and are not added up by each publication.
    count.add(1);
    of.round_trip = Some(Duration::from_millis(2));
    metrics::with_local_recorder(&recorder, || {
        tell(labels(), &counters, &[of]);
        tell(labels(), &counters, &[of]);
    });
    let now = seen(&snapshotter);
    let seconds = now["quorate_peer_round_trip_seconds shop p1 p2"];
    assert!((seconds - 0.002).abs() < 1e-9, "{seconds}");
    assert!(now.values().all(|value| value.is_finite()));
}

#[tokio::test]
async fn a_node_is_published_until_it_has_stopped_and_then_owes_nothing() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    // The tasks of this runtime run on this thread.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut nodes = Vec::new();
    for builder in builders(Kind::Udp, 2) {
        let mut builder = builder.cluster("shop");
        let _news = builder.best_effort::<u64>("news").unwrap();
        let every = if nodes.is_empty() { 10 } else { 3_600_000 };
        let builder = builder.publish_metrics(Duration::from_millis(every));
        nodes.push(builder.start().await.unwrap());
    }
    let window = "quorate_peer_window_bytes shop p1 p2";
    let sent = "quorate_events_total shop p1 udp sent";
    within(async {
        loop {
            let seen = seen(&snapshotter);
            if seen.get(window).is_some_and(|bytes| *bytes > 0.0) && seen.contains_key(sent) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    within(nodes.remove(0).shutdown()).await.unwrap();
    within(async {
        while seen(&snapshotter).get(window) != Some(&0.0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // With an interval of one hour, the values are still published at the end.
    let late = "quorate_events_total shop p2 udp sent";
    let before = seen(&snapshotter).get(late).copied().unwrap_or_default();
    within(nodes.remove(0).shutdown()).await.unwrap();
    within(async {
        while seen(&snapshotter).get(late).copied().unwrap_or_default() <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
