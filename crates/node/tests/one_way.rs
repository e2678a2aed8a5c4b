//! Registers over channels that fail in one direction, for good: five replicas under a pattern of failures
//! that `config/quorums/five.toml` allows.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod common;

use common::{Node, ready_cluster, run, wait_for};
use serde_json::{Value, json};

const FIVE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../config/quorums/five.toml"
);

/// The pattern f1, and the four others, which are f1 turned on by so many processes: who may crash, and the
/// channels that fail of those between the others. The first and the second process go on.
struct Pattern {
    pair: [usize; 2],
    crashes: usize,
    cut: Vec<(usize, usize)>,
}

fn pattern(turn: usize) -> Pattern {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|place| (turn + place) % 5 + 1);
    let correct = [(a, b), (b, a), (c, a), (d, a)];
    let live = [a, b, c, d];
    let channels = live
        .iter()
        .flat_map(|from| live.iter().map(|to| (*from, *to)));
    Pattern {
        pair: [a, b],
        crashes: e,
        cut: channels
            .filter(|channel| channel.0 != channel.1 && !correct.contains(channel))
            .collect(),
    }
}

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

fn five(access: &str, transport: &str) -> Vec<Node> {
    let extra = ["--faults", "--consistency", "register", "--quorums", FIVE];
    let chosen = ["--access", access, "--transport", transport];
    ready_cluster(5, &[&extra[..], &chosen].concat())
}

impl Pattern {
    /// Has all fail that may.
    fn befall(&self, nodes: &mut [Node]) {
        nodes[self.crashes - 1].kill();
        for (from, to) in &self.cut {
            let order = json!({ "peer": to, "direction": "outgoing", "cut": true });
            assert_eq!(post(&nodes[from - 1], "/faults", &order).0, 200);
        }
    }
}

/// Five replicas under f1.
fn under_the_first_pattern(transport: &str) -> Vec<Node> {
    let mut nodes = five("generalized", transport);
    assert_eq!(write(&nodes[4], "before", 30_000), 200);
    pattern(0).befall(&mut nodes);
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

/// Under each pattern clients of the pair are answered, and what they see is linearizable; by classical access,
/// under the same, nobody is answered.
#[test]
fn under_each_pattern_the_pair_serves_its_clients_and_by_classical_access_nobody_does() {
    let folder = tempfile::tempdir().unwrap();
    for turn in 0..5 {
        let pattern = pattern(turn);
        let mut nodes = five("generalized", "udp");
        assert_eq!(write(&nodes[turn], "before", 30_000), 200);
        pattern.befall(&mut nodes);
        let history = folder.path().join(format!("f{}.txt", turn + 1));
        let history = history.to_str().unwrap();
        let [a, b] = pattern.pair.map(|rank| nodes[rank - 1].client.to_string());
        let load = [
            "registers",
            "load",
            "--server",
            &a,
            "--server",
            &b,
            "--operations",
            "400",
            "--clients",
            "16",
            "--keys",
            "8",
            "--history",
            history,
        ];
        let output = run(&load);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "f{}: {told}", turn + 1);
        let answered = told.starts_with("400 operations returned")
            && told.contains(" 0 were refused, the outcome of 0 is unknown");
        assert!(answered, "f{}: {told}", turn + 1);
        let output = run(&["registers", "check", history]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.starts_with("linearizable: 400 operations"), "{told}");
        drop(nodes);

        let mut nodes = five("classical", "udp");
        assert_eq!(write(&nodes[turn], "before", 30_000), 200);
        pattern.befall(&mut nodes);
        // A question that is not answered by now is not answered by these quorums at all.
        for rank in pattern.pair {
            assert_eq!(write(&nodes[rank - 1], "never", 1000), 503, "f{}", turn + 1);
        }
    }
}
