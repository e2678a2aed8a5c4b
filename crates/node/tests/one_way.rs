//! Registers over channels that fail in one direction, for good: five replicas under a pattern of failures
//! that `config/quorums/five.toml` allows.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod common;

use common::{Node, ready_cluster, wait_for};
use serde_json::{Value, json};

const FIVE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../config/quorums/five.toml"
);

/// What goes on between the four that are left: p1<>p2, p3>p1, p4>p1.
const CUT: [(usize, usize); 8] = [
    (1, 3),
    (1, 4),
    (2, 3),
    (2, 4),
    (3, 2),
    (3, 4),
    (4, 2),
    (4, 3),
];

fn post(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    let (code, answer) = node.http("POST", path, &body.to_string());
    (code, serde_json::from_str(&answer).unwrap_or_default())
}

fn write(node: &Node, value: &str, timeout_ms: u64) -> u16 {
    let body = json!({ "register": "r", "value": value, "timeout_ms": timeout_ms });
    post(node, "/registers/write", &body).0
}

fn read(node: &Node) -> Value {
    let body = json!({ "register": "r", "timeout_ms": 30_000 });
    post(node, "/registers/read", &body).1["value"].clone()
}

/// Five replicas, of which p5 crashes, and whose channels fail, all but those named.
fn under_the_first_pattern(transport: &str) -> Vec<Node> {
    let mut nodes = ready_cluster(
        5,
        &[
            "--faults",
            "--consistency",
            "register",
            "--quorums",
            FIVE,
            "--access",
            "generalized",
            "--transport",
            transport,
        ],
    );
    assert_eq!(write(&nodes[4], "before", 30_000), 200);
    nodes[4].kill();
    for (from, to) in CUT {
        let order = json!({ "peer": to, "direction": "outgoing", "cut": true });
        assert_eq!(post(&nodes[from - 1], "/faults", &order).0, 200);
    }
    nodes
}

fn pair_goes_on_and_others_wait(transport: &str) {
    let nodes = under_the_first_pattern(transport);
    assert_eq!(read(&nodes[1]), "before");
    for round in 0..3 {
        for (writer, reader) in [(0, 1), (1, 0)] {
            let value = format!("{round} of {writer}");
            assert_eq!(write(&nodes[writer], &value, 30_000), 200);
            assert_eq!(read(&nodes[reader]), value.as_str());
        }
    }
    let update = json!({ "update": "mine", "timeout_ms": 30_000 });
    let (code, snapshot) = post(&nodes[0], "/registers/snapshot", &update);
    assert_eq!(
        (code, &snapshot["segments"][0]["value"]),
        (200, &json!("mine"))
    );
    let join = json!({ "elements": ["x"], "timeout_ms": 30_000 });
    let joined = post(&nodes[1], "/registers/join", &join).1;
    assert_eq!(joined["elements"], json!(["x"]));

    // Who hears nobody waits, and says so; the pair serves, though each hears less than a majority.
    assert_eq!(write(&nodes[2], "waits", 3000), 503);
    assert!(!nodes[2].is_ready());
    assert!(nodes[0].is_ready() && nodes[1].is_ready());
    assert_eq!(nodes[0].status()["suspected"], json!([2, 3, 4, 5]));

    for node in &nodes[..4] {
        assert_eq!(node.http("DELETE", "/faults", "").0, 200);
    }
    wait_for("the one that waited to be answered", || {
        nodes[2].is_ready().then_some(())
    });
    assert_eq!(read(&nodes[3]), "waits", "it took effect in the end");
}

#[test]
fn over_udp_the_pair_goes_on_and_the_others_wait() {
    pair_goes_on_and_others_wait("udp");
}

#[test]
fn over_tcp_the_pair_goes_on_and_the_others_wait() {
    pair_goes_on_and_others_wait("tcp");
}
