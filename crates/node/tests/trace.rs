//! The trace of a running cluster: recorded at each replica, drawn as one picture.
mod common;

use common::{Node, ready_cluster, run, wait_for};
use std::{collections::BTreeMap, fs};

fn admins(nodes: &[Node]) -> String {
    let admins: Vec<_> = nodes.iter().map(|node| node.admin.to_string()).collect();
    admins.join(",")
}

#[test]
fn a_command_becomes_a_picture_of_what_all_replicas_did() {
    let nodes = ready_cluster(3, &["--trace-records", "10000"]);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    wait_for("everybody to have delivered", || {
        let delivered = |node: &Node| node.status()["delivered"].as_u64() >= Some(1);
        nodes.iter().all(delivered).then_some(())
    });
    let folder = tempfile::tempdir().unwrap();
    let (svg, log) = (folder.path().join("run.svg"), folder.path().join("run.log"));
    let output = run(&[
        "trace",
        "--admin",
        &admins(&nodes),
        "--svg",
        svg.to_str().unwrap(),
        "--shiviz",
        log.to_str().unwrap(),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}");

    let svg = fs::read_to_string(svg).unwrap();
    for part in [
        "Recorded by p1, p2, p3.",
        "group-order: Broadcast",
        "in the lane group-order",
        "Data p1.1",
        "Accepted #1",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    for rank in 1..=3 {
        let delivery = format!("group-order: Deliver p1.1 at p{rank}");
        assert!(svg.contains(&delivery), "{delivery}");
    }

    // The vector clock of each arrival includes its sending: so each copy was matched, and arrives later than
    // it was sent.
    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log.lines().collect();
    let (mut sent, mut received) = (BTreeMap::<String, u64>::new(), 0);
    for event in lines.chunks(2) {
        let (host, clock) = event[0].split_once(' ').unwrap();
        let clock: BTreeMap<String, u64> = serde_json::from_str(clock).unwrap();
        if let Some((what, to)) = event[1]
            .strip_prefix("send ")
            .and_then(|rest| rest.rsplit_once(" to "))
        {
            let copy = format!("{what} from {host} at {to}");
            sent.entry(copy).or_insert(clock[host]);
        } else if let Some((what, from)) = event[1]
            .strip_prefix("receive ")
            .and_then(|rest| rest.rsplit_once(" from "))
        {
            let copy = format!("{what} from {from} at {host}");
            let first = sent.get(&copy);
            let first = first.unwrap_or_else(|| panic!("{copy} arrives before it is sent"));
            assert!(clock[from] >= *first, "{copy}");
            received += 1;
        }
    }
    assert!(received >= 6, "{received} copies of the broadcast alone");
}

#[test]
fn a_replica_that_is_gone_is_left_out_and_one_that_records_nothing_says_so() {
    let mut nodes = ready_cluster(3, &["--trace-records", "10000"]);
    nodes[2].kill();
    let output = run(&["trace", "--nodes", &admins(&nodes), "--svg", "-"]);
    assert!(output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("quorate: left out: no answer from"),
        "{errors}"
    );
    let svg = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(svg.contains("Recorded by p1, p2."));

    let silent = ready_cluster(1, &[]);
    let (code, words) = silent[0].http("GET", "/trace", "");
    assert_eq!(code, 403);
    assert!(words.contains("trace_records"), "{words}");
    let output = run(&["trace", "--admin", &admins(&silent)]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(errors.contains("no replica has sent a trace"), "{errors}");
}
