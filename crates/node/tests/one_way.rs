//! Registers over channels that fail in one direction, for good: five replicas under a pattern of failures
//! that `config/quorums/five.toml` allows.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod common;

use common::{Node, ready_cluster, run, wait_for};
use quorate_core::{ProcessId, ProcessSet};
use quorate_quorums::{
    decision::{Answer, BUDGET, Kind, decide},
    file,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const FIVE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../config/quorums/five.toml"
);

/// A pattern of the file: the process that may crash, the channels between the others that fail, and the two
/// processes that go on.
struct Pattern {
    pair: Vec<usize>,
    crashes: Vec<usize>,
    cut: Vec<(usize, usize)>,
}

fn pattern(index: usize) -> Pattern {
    let described = file::parse(&std::fs::read_to_string(FIVE).unwrap()).unwrap();
    let Answer::Exists(found) = decide(&described.system, Kind::Generalized, BUDGET) else {
        panic!("there are no quorums");
    };
    let pattern = &described.system.patterns[index];
    let ranks = |set: ProcessSet| set.iter().map(ProcessId::rank).collect();
    let channels = pattern.channels();
    Pattern {
        pair: ranks(found.choices[index].write),
        crashes: ranks(pattern.crash),
        cut: channels
            .map(|(from, to)| (from.rank(), to.rank()))
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

/// Checks that no quorum answers a write, and that it is not refused for another reason.
#[track_caller]
fn writes_in_vain(node: &Node, value: &str, timeout_ms: u64) {
    let body = json!({ "register": "r", "value": value, "timeout_ms": timeout_ms });
    let (code, told) = node.http("POST", "/registers/write", &body.to_string());
    assert_eq!(code, 503, "{told}");
    assert!(told.starts_with("no quorum answered within"), "{told}");
}

/// Waits until a replica says that its requests do not come back.
fn not_ready(node: &Node) {
    wait_for("a replica to be judged by what comes back", || {
        let (code, told) = node.http("GET", "/readyz", "");
        (code == 503 && told.starts_with("no quorum: nothing that was asked for")).then_some(())
    });
}

fn read(node: &Node) -> Value {
    let body = json!({ "register": "r", "timeout_ms": 30_000 });
    post(node, "/registers/read", &body).1["value"].clone()
}

fn five(access: &str, extra: &[&str]) -> Vec<Node> {
    let common = ["--faults", "--consistency", "register", "--quorums", FIVE];
    ready_cluster(5, &[&common[..], &["--access", access], extra].concat())
}

impl Pattern {
    /// Makes all processes and channels fail that may.
    fn befall(&self, nodes: &mut [Node]) {
        for rank in &self.crashes {
            nodes[rank - 1].kill();
        }
        for (from, to) in &self.cut {
            let order = json!({ "peer": to, "direction": "outgoing", "cut": true });
            assert_eq!(post(&nodes[from - 1], "/faults", &order).0, 200);
        }
    }
}

/// Five replicas under f1.
fn under_the_first_pattern(transport: &str) -> Vec<Node> {
    let mut nodes = five("generalized", &["--transport", transport]);
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

    // A replica that hears nobody waits, and says so; the pair serves, although a majority does not hear it.
    writes_in_vain(&nodes[2], "waits", 3000);
    not_ready(&nodes[2]);
    assert!(nodes[0].is_ready() && nodes[1].is_ready());
    let cut_off = nodes[0].status()["cut_off"].clone();
    assert_eq!(cut_off[0], 1, "no majority hears it: {cut_off}");
    // A replica that got no requests says so, too.
    not_ready(&nodes[3]);
    let late = json!({ "update": "late", "timeout_ms": 1000 });
    assert_eq!(post(&nodes[3], "/registers/snapshot", &late).0, 503);

    for node in &nodes[..4] {
        assert_eq!(node.http("DELETE", "/faults", "").0, 200);
    }
    wait_for("those that waited to be answered", || {
        (nodes[2].is_ready() && nodes[3].is_ready()).then_some(())
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

/// Under each pattern the clients of the pair are answered, and what they see is linearizable. With classical
/// access, under the same pattern, no client is answered.
#[test]
fn the_pair_serves_its_clients_under_each_pattern_and_nobody_by_classical_access() {
    let folder = tempfile::tempdir().unwrap();
    for turn in 0..5 {
        let pattern = pattern(turn);
        // The deadline is long, because this test only checks that each operation returns.
        let mut nodes = five("generalized", &["--deadline-ms", "30000"]);
        assert_eq!(write(&nodes[turn], "before", 30_000), 200);
        pattern.befall(&mut nodes);
        let history = folder.path().join(format!("f{}.txt", turn + 1));
        let history = history.to_str().unwrap();
        let client = |place: usize| nodes[pattern.pair[place] - 1].client.to_string();
        let (a, b) = (client(0), client(1));
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

        let mut nodes = five("classical", &[]);
        assert_eq!(write(&nodes[turn], "before", 30_000), 200);
        pattern.befall(&mut nodes);
        // A request that is not answered by now is not answered by these quorums at all.
        for rank in &pattern.pair {
            writes_in_vain(&nodes[rank - 1], "never", 1000);
        }
        // That is so although one of them sees a majority.
        for rank in &pattern.pair {
            not_ready(&nodes[rank - 1]);
        }
    }
}

const TIMEOUT_MS: &str = "60000";

/// Runs `quorate registers` against a replica; returns the output and how long it took.
fn ordered(node: &Node, verb: &str, words: &[&str]) -> (String, Duration) {
    let begun = Instant::now();
    let admin = node.admin.to_string();
    let how = ["--admin", &admin, "--timeout-ms", TIMEOUT_MS];
    let output = run(&[&["registers", verb], &how[..], words].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{verb}: {told}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (printed, begun.elapsed())
}

/// Five replicas with an almost full store, whose segments are as long as they may be.
fn full() -> Vec<Node> {
    let nodes = five("generalized", &["--deadline-ms", TIMEOUT_MS]);
    let begun = Instant::now();
    for key in 0..20 {
        let set = format!(
            "SET k{key} {}",
            key.to_string().repeat(3000 / (1 + key / 10))
        );
        assert_eq!(nodes[key % 5].ask(&set), "+OK");
    }
    println!("20 writes of 3000 bytes each: {:?}", begun.elapsed());
    let begun = Instant::now();
    for key in 0..20 {
        let value = key.to_string().repeat(3000 / (1 + key / 10));
        assert_eq!(nodes[(key + 1) % 5].ask(&format!("GET k{key}")), value);
    }
    println!("20 reads of them: {:?}", begun.elapsed());
    wait_for("all keys to be known everywhere", || {
        let known = nodes.iter().all(|node| node.status()["keys"] == 20);
        known.then_some(())
    });

    let segment = "s".repeat(4096);
    for node in &nodes {
        let (_, lasted) = ordered(node, "snapshot", &["--update", &segment]);
        println!("a snapshot with an update of 4096 bytes: {lasted:?}");
    }
    let (printed, lasted) = ordered(&nodes[0], "snapshot", &[]);
    println!("a snapshot of all of them: {lasted:?}");
    let segments = printed.lines().filter(|line| line.ends_with(&segment));
    assert_eq!(segments.count(), 5);
    nodes
}

/// Values of the greatest length return, too, if nothing fails.
#[test]
fn at_the_limits_of_their_sizes_all_that_is_shared_returns() {
    let nodes = full();
    for step in 0..15 {
        let letter = char::from(b'a' + step).to_string();
        let element = letter.repeat(2048);
        let (printed, lasted) = ordered(&nodes[usize::from(step) % 5], "join", &[&element]);
        println!("joining 2048 bytes to {step} times as many: {lasted:?}");
        assert_eq!(printed.lines().count(), 1 + usize::from(step));
        assert!(printed.lines().any(|line| line == element));
    }
}

/// The bound of the store counts what it holds: overwritten values make room, and values written by others
/// count.
#[test]
fn the_store_is_full_when_it_is() {
    let nodes = five("generalized", &["--deadline-ms", TIMEOUT_MS]);
    let set = |rank: usize, key: &str, length: usize| {
        nodes[rank - 1].ask(&format!("SET {key} {}", "v".repeat(length)))
    };
    assert_eq!(set(1, "k", 3), "+OK");
    assert_eq!(set(1, "k", 33_000), "+OK");
    wait_for("the others to hear of it", || {
        let known = nodes.iter().all(|node| node.status()["keys"] == 1);
        known.then_some(())
    });
    for rank in 2..=5 {
        let told = set(rank, "b", 60_000);
        assert!(told.starts_with("-ERR the store is full"), "{told}");
    }
    assert_eq!(set(2, "k", 10), "+OK");
    assert_eq!(set(3, "k", 10), "+OK");
    assert_eq!(set(3, "b", 60_000), "+OK");
}
