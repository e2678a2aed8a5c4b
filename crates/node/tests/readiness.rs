//! Readiness by outcome: a replica is ready while its requests come back in time, whichever peers it hears.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod common;

use common::{Node, ready_cluster, wait_for};
use serde_json::json;
use std::time::{Duration, Instant};

/// The deadline, and the longest time until a replica says that nothing comes back any more: a probe begins
/// after a second, is late after the deadline, and counts as a failure at three checks, a second apart. The
/// rest is for a loaded machine.
const DEADLINE_MS: &str = "1000";
const SECONDS: Duration = Duration::from_secs(1 + 1 + 3 + 10);

fn cut(from: &Node, to: usize, direction: &str) {
    let order = json!({ "peer": to, "direction": direction, "cut": true });
    assert_eq!(from.http("POST", "/faults", &order.to_string()).0, 200);
}

fn readiness(node: &Node) -> (u16, String) {
    node.http("GET", "/readyz", "")
}

/// Waits until these replicas are not ready; returns what they say, and prints how long it took.
fn withdrawn(nodes: &[Node], ranks: &[usize]) -> Vec<String> {
    let begun = Instant::now();
    let told = wait_for("readiness to be withdrawn", || {
        let said = ranks.iter().map(|rank| readiness(&nodes[rank - 1]));
        let said: Vec<_> = said.collect();
        let all = said.iter().all(|(code, _)| *code == 503);
        all.then(|| said.into_iter().map(|(_, words)| words).collect())
    });
    assert!(begun.elapsed() <= SECONDS, "{:?}", begun.elapsed());
    told
}

#[test]
fn who_is_cut_from_everybody_in_one_direction_is_not_ready_within_seconds() {
    for direction in ["outgoing", "incoming", "both"] {
        let nodes = ready_cluster(3, &["--faults", "--deadline-ms", DEADLINE_MS]);
        cut(&nodes[2], 1, direction);
        cut(&nodes[2], 2, direction);
        let told = withdrawn(&nodes, &[3]).remove(0);
        assert!(told.starts_with("no quorum: nothing"), "{told}");
        assert!(told.contains("cut off from a majority"), "{told}");
        assert!(nodes[2].ask("SET k v").starts_with("-NOQUORUM"));
        assert!(nodes[0].is_ready() && nodes[1].is_ready());
        assert_eq!(nodes[2].http("DELETE", "/faults", "").0, 200);
        wait_for("readiness to be back", || nodes[2].is_ready().then_some(()));
    }
}

#[test]
fn readiness_with_registers_goes_by_quorums() {
    let nodes = ready_cluster(
        3,
        &[
            "--faults",
            "--deadline-ms",
            DEADLINE_MS,
            "--consistency",
            "register",
        ],
    );
    cut(&nodes[2], 1, "outgoing");
    cut(&nodes[2], 2, "outgoing");
    let told = withdrawn(&nodes, &[3]).remove(0);
    assert!(told.starts_with("no quorum: nothing"), "{told}");
    assert!(nodes[0].is_ready() && nodes[1].is_ready());
}

/// Successful commands count, and probes do not pile up meanwhile.
#[test]
fn an_idle_replica_asks_for_something_once_a_second() {
    let nodes = ready_cluster(1, &["--deadline-ms", DEADLINE_MS]);
    let delivered = || nodes[0].status()["delivered"].as_u64().unwrap();
    let (before, begun) = (delivered(), Instant::now());
    wait_for("probes", || (delivered() >= before + 3).then_some(()));
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_millis(1900), "{lasted:?}");
    assert_eq!(nodes[0].status()["in_flight"], 0);
}

/// p3 is the hub; every other pair is cut.
#[test]
fn the_hub_of_a_star_is_ready_and_its_leaves_are_not() {
    let nodes = ready_cluster(5, &["--faults", "--deadline-ms", DEADLINE_MS]);
    for (from, to) in [(1, 2), (1, 4), (1, 5), (2, 4), (2, 5), (4, 5)] {
        cut(&nodes[from - 1], to, "both");
    }
    wait_for("everybody to trust the hub", || {
        let trusts = |node: &Node| node.status()["leader"] == 3;
        nodes.iter().all(trusts).then_some(())
    });
    wait_for("the hub to serve", || {
        (nodes[2].ask("SET k w") == "+OK").then_some(())
    });
    let told = withdrawn(&nodes, &[1, 2, 4, 5]);
    for words in told {
        assert!(words.contains("p3 is to lead"), "{words}");
    }
    assert!(nodes[2].is_ready());
}
