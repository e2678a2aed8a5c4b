//! The binary as an operator runs it: one process for each replica, over the loopback interface.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Apart, TIMEOUT, ready_cluster, run, starting, wait_for};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

/// Repeats a request until the answer is the expected one. After a crash that is when the survivors have
/// noticed it.
fn answers(node: &common::Node, request: &str, expected: &str) {
    let mut last = String::new();
    wait_for(&format!("{request} to be answered {expected}"), || {
        last = node.ask(request);
        (last == expected).then_some(())
    });
}

#[test]
fn a_minority_may_die_and_without_a_majority_nobody_lies() {
    let mut nodes = ready_cluster(5, &["--deadline-ms", "2000"]);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    assert_eq!(nodes[4].ask("GET k"), "v");

    nodes[0].kill();
    nodes[1].kill();
    answers(&nodes[2], "SET k w", "+OK");
    assert_eq!(nodes[3].ask("GET k"), "w");

    nodes[4].signal("STOP");
    assert_eq!(
        nodes[2].ask("GET k"),
        "-NOQUORUM no majority answered within 2s; outcome unknown"
    );
    wait_for("readiness to be withdrawn", || {
        (!nodes[2].is_ready()).then_some(())
    });
    let (code, reason) = nodes[2].http("GET", "/readyz", "");
    assert_eq!(code, 503);
    let because = "no quorum: nothing that was asked for has come back in time for ";
    assert!(reason.starts_with(because), "{reason}");
    assert!(
        reason.contains("; not reached: p1 p2 p5; cut off from a majority"),
        "{reason}"
    );
    assert_eq!(nodes[2].http("GET", "/livez", "").0, 200);

    nodes[4].signal("CONT");
    answers(&nodes[2], "SET k x", "+OK");
    assert!(nodes[2].is_ready());
    assert_eq!(nodes[4].ask("GET k"), "x");

    // A replica that comes back catches up, and votes: without it there is no majority here.
    nodes[0].start_again();
    answers(&nodes[0], "GET k", "x");
    let status = nodes[0].status();
    assert_eq!(
        (&status["role"], &status["epoch"]),
        (&"voter".into(), &1.into()),
        "{status}"
    );
    nodes[4].kill();
    answers(&nodes[3], "SET k y", "+OK");
    assert_eq!(nodes[0].ask("GET k"), "y");

    let hashes = || {
        let of = |node: &common::Node| {
            let status = node.status();
            (status["delivered"].clone(), status["hash"].clone())
        };
        let first = of(&nodes[2]);
        [&nodes[0], &nodes[3]]
            .into_iter()
            .all(|node| of(node) == first)
            .then_some(())
    };
    wait_for("the survivors to have delivered the same", hashes);
}

#[test]
fn what_came_back_shows_in_members_and_remembers_decisions() {
    let mut nodes = ready_cluster(3, &[]);
    let propose = |node: &common::Node, body: &str| node.http("POST", "/propose", body);
    let first = r#"{"instance": 1, "value": "a"}"#;
    assert_eq!(propose(&nodes[1], first).0, 200);
    for (replacements, seat) in (1..).zip([0, 1, 0]) {
        nodes[seat].kill();
        nodes[seat].start_again();
        wait_for("the replica to have come back", || {
            nodes[seat].is_ready().then_some(())
        });
        assert_eq!(nodes[seat].status()["epoch"], replacements);
        let (code, words) = propose(&nodes[seat], r#"{"instance": 1, "value": "b"}"#);
        assert_eq!(
            (code, words.contains(r#""decided":"a""#)),
            (200, true),
            "{words}"
        );
    }
    let (_, members) = nodes[2].http("GET", "/members", "");
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    let held = |seat: usize| members["members"][seat]["held_before"].clone();
    assert_eq!([held(0), held(1), held(2)], [2, 1, 0], "{members}");
    let incarnation = nodes[0].status()["incarnation"].clone();
    assert_eq!(members["members"][0]["incarnation"], incarnation);
}

#[test]
fn by_consensus_who_comes_back_stays_out() {
    let mut nodes = ready_cluster(3, &["--total-order", "by-consensus"]);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    nodes[0].kill();
    nodes[0].start_again();
    wait_for("the restarted replica to say that it may not vote", || {
        let answer = nodes[0].ask("GET k");
        answer.starts_with("-NOTVOTER ").then_some(())
    });
    let status = nodes[0].status();
    assert_eq!(status["role"], "excluded", "{status}");
    let (code, reason) = nodes[0].http("GET", "/readyz", "");
    assert_eq!(code, 503);
    assert!(reason.contains("may not vote or serve"), "{reason}");
    assert_eq!(nodes[0].http("GET", "/livez", ""), (503, reason));
    assert!(nodes[0].log().contains("may not vote or serve"));
    answers(&nodes[1], "GET k", "v");
}

#[test]
fn three_must_have_met_before_any_two_of_them_serve() {
    let mut coming = starting(3, &["--deadline-ms", "300"]);
    let mut nodes: Vec<_> = coming.by_ref().take(2).collect();
    let not_admitted =
        "-NOTVOTER not admitted yet: too few others have met this replica; not executed";
    answers(&nodes[0], "SET k v", not_admitted);
    nodes.extend(coming);
    answers(&nodes[0], "SET k v", "+OK");
    nodes[1].kill();
    answers(&nodes[2], "GET k", "v");
}

#[test]
fn two_of_three_go_on_over_tcp_when_one_is_killed() {
    let mut nodes = ready_cluster(3, &["--transport", "tcp"]);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    nodes[0].kill();
    answers(&nodes[1], "APPEND k w", ":2");
    assert_eq!(nodes[2].ask("GET k"), "vw");
}

#[test]
fn a_single_process_serves_alone() {
    let nodes = ready_cluster(1, &[]);
    assert_eq!(nodes[0].ask("INCR k"), ":1");
    assert!(nodes[0].log().contains("a single process"));
}

#[test]
fn an_even_membership_needs_more_than_half() {
    let mut nodes = ready_cluster(2, &["--deadline-ms", "500"]);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    assert!(
        nodes[0]
            .log()
            .contains("2 processes survive no more crashes than 1 process does")
    );
    nodes[1].kill();
    assert!(nodes[0].ask("GET k").starts_with("-NOQUORUM "));
}

#[test]
fn a_cut_switched_on_by_the_operator_bites_and_heals() {
    let nodes = ready_cluster(3, &["--faults", "--deadline-ms", "500"]);
    let admin = nodes[0].admin.to_string();
    for peer in ["2", "3"] {
        assert!(
            run(&["faults", "--admin", &admin, "cut", peer])
                .status
                .success()
        );
    }
    assert!(nodes[0].ask("SET k v").starts_with("-NOQUORUM "));
    answers(&nodes[1], "SET other v", "+OK");
    assert!(run(&["faults", "--admin", &admin, "heal"]).status.success());
    answers(&nodes[0], "GET other", "v");
    let (code, words) = nodes[0].http("POST", "/faults", r#"{"peer": 1, "cut": true}"#);
    assert_eq!(
        (code, words.trim()),
        (400, "1 is no other process of the cluster")
    );
}

#[test]
fn faults_are_off_unless_configured() {
    let nodes = ready_cluster(1, &[]);
    let (code, words) = nodes[0].http("POST", "/faults", r#"{"peer": 2, "cut": true}"#);
    assert_eq!(code, 403, "{words}");
}

#[test]
fn sigterm_ends_a_replica_cleanly() {
    let mut nodes = ready_cluster(1, &[]);
    nodes[0].signal("TERM");
    assert_eq!(nodes[0].exit_code(), Some(0), "{}", nodes[0].log());
}

#[test]
fn hostile_clients_harm_nobody() {
    let nodes = ready_cluster(1, &[]);
    let garbage = vec![0xff; 100_000];
    let nested = "*1\r\n".repeat(50_000);
    let requests: [&[u8]; 5] = [
        b"*1\r\n$1099511627776\r\n",
        b"*1099511627776\r\n",
        nested.as_bytes(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        garbage.as_slice(),
    ];
    for request in requests {
        let mut stream = TcpStream::connect(nodes[0].client).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let _ = stream.write_all(request);
        // The client gets an error and the end of the connection, or a reset because the rest was not read.
        let mut answer = Vec::new();
        if stream.read_to_end(&mut answer).is_ok() {
            assert!(answer.starts_with(b"-ERR Protocol error"), "{answer:?}");
        }
    }
    assert_eq!(nodes[0].ask("PING"), "+PONG");
}

#[test]
fn metrics_and_status_are_there() {
    let nodes = ready_cluster(3, &[]);
    nodes[0].ask("SET k v");
    let (code, metrics) = nodes[0].http("GET", "/metrics", "");
    assert_eq!(code, 200);
    assert!(metrics.contains("\nquorate_applied_total 1\n"), "{metrics}");
    for name in [
        "owed_bytes",
        "in_flight_bytes",
        "window_bytes",
        "round_trip_seconds",
    ] {
        for peer in ["p2", "p3"] {
            let line = format!("\nquorate_peer_{name}{{peer=\"{peer}\"}} ");
            assert!(metrics.contains(&line), "{line}: {metrics}");
        }
    }
    let status = nodes[0].status();
    assert_eq!(status["process"], 1);
    assert_eq!(status["leader"], 1);
    assert_eq!(status["peers"].as_array().map(Vec::len), Some(2));
    let p2 = &status["peers"][0];
    assert!(p2["window_bytes"].as_u64() > Some(0), "{p2}");
    assert!(
        p2["round_trip_us"].is_u64() && p2["owed_bytes"].is_u64(),
        "{p2}"
    );
    let admin = nodes[0].admin.to_string();
    let output = run(&["status", "--admin", &admin]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("p1 voter"));
    assert!(
        run(&["status", "--check", "--admin", &admin])
            .status
            .success()
    );
}

#[test]
fn the_finest_log_says_what_each_module_is_asked_and_indicates() {
    let filter = ["--log", "info,quorate::modules=trace"];
    let nodes = ready_cluster(1, &filter);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    let span = "node{cluster=\"quorate\" process=p1}:module{name=link}: ";
    wait_for("a delivery of the link", || {
        let log = nodes[0].log();
        let mut lines = log.lines().filter(|line| line.contains(span));
        lines
            .any(|line| line.contains("TRACE") && line.contains("Deliver direction=\"indication\""))
            .then_some(())
    });
    let quiet = ready_cluster(1, &[]);
    assert_eq!(quiet[0].ask("SET k v"), "+OK");
    assert!(!quiet[0].log().contains("direction="), "{}", quiet[0].log());
}

#[test]
fn redis_benchmark_ends_without_an_error() {
    let known = Command::new("redis-benchmark").arg("--version").finish();
    if !known.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no redis-benchmark (apt-get install redis-tools)");
        return;
    }
    let nodes = ready_cluster(3, &[]);
    let port = nodes[1].client.port().to_string();
    for pipeline in ["1", "16"] {
        let output = Command::new("redis-benchmark")
            .args([
                "-p", &port, "-t", "set,get", "-n", "20000", "-c", "50", "-q",
            ])
            .args(["-P", pipeline])
            .finish()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        assert!(!words.to_lowercase().contains("error"), "{words}");
        assert!(words.contains("GET: "), "{words}");
    }
}

#[test]
fn the_demonstration_holds() {
    let output = run(&["demo", "--commands", "3000"]);
    let table = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}{errors}");
    assert!(table.contains("acknowledged and lost    none"), "{table}");
    assert!(
        table.contains("came back                p1 caught up "),
        "{table}"
    );
    assert!(
        table.contains("survivors agree          p1 p4 p5 "),
        "{table}"
    );
}

#[test]
fn completions_are_printed() {
    let output = run(&["completions", "bash"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("_quorate"));
}
