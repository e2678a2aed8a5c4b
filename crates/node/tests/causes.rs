//! What keeps a replica from serving for long is said in all places where an operator looks.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod common;

use common::{Node, free_addresses, ready_cluster, wait_for};

/// Waits until a replica says why it is not ready, in text with all wanted words; returns that text.
fn until_said(node: &Node, wanted: &[&str]) -> String {
    let what = wanted.join(", ");
    wait_for(&what, || {
        let (code, words) = node.http("GET", "/readyz", "");
        let is_said = code == 503 && wanted.iter().all(|wanted| words.contains(wanted));
        is_said.then_some(words)
    })
}

/// Checks that `/status`, the reply to a client and a warning of the log have the wanted words.
fn said_everywhere(node: &Node, wanted: &str, refusal: &str) {
    let status = node.status();
    let words = status["not_ready"].as_str().unwrap();
    assert!(words.contains(wanted), "{words}");
    let answer = node.ask("GET k");
    assert!(
        answer.starts_with(refusal) && answer.contains(wanted),
        "{answer}"
    );
    // The replica checks for a cause to log once a second.
    wait_for("a warning", || {
        let log = node.log();
        let warning = log.lines().find(|line| line.contains(wanted))?.to_owned();
        assert!(warning.contains("WARN"), "{warning}");
        Some(())
    });
}

#[test]
fn who_lost_their_memory_together_say_that_the_data_may_be_gone() {
    let mut nodes = ready_cluster(3, &["--deadline-ms", "300"]);
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    for node in &mut nodes[..2] {
        node.kill();
    }
    for node in &mut nodes[..2] {
        node.start_again();
    }
    let gone = "the data is gone: stop all replicas, then start all again";
    let has_memory = "1 of 3 have their memory";
    for node in &nodes[..2] {
        wait_for("a replica to live", || {
            common::http(node.admin, "GET", "/livez", "")
        });
        let words = until_said(node, &["newcomer: catching up; for ", gone]);
        assert!(words.contains("nobody has given the state"), "{words}");
        said_everywhere(node, gone, "-NOTVOTER newcomer");
    }
    let words = until_said(&nodes[2], &["no quorum", has_memory, gone]);
    assert!(words.contains("p1 p2"), "{words}");
    said_everywhere(&nodes[2], gone, "-NOQUORUM");
}

#[test]
fn a_second_process_under_one_id_is_told_what_may_be_wrong_and_its_peers_see_it() {
    let addresses = free_addresses(12);
    let peers: Vec<String> = addresses[..3].iter().map(ToString::to_string).collect();
    let peers = peers.join(",");
    let start = |rank: usize, place: usize, more: &[&str]| {
        let rank = rank.to_string();
        let mut arguments = vec!["--id", &rank, "--peers", &peers, "--deadline-ms", "300"];
        arguments.extend(more);
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Node::start(
            arguments,
            addresses[2 * place + 3],
            addresses[2 * place + 4],
        )
    };
    let nodes: Vec<_> = (1..=3).map(|rank| start(rank, rank - 1, &[])).collect();
    wait_for("a cluster to be ready", || {
        let is_ready = |node: &Node| {
            common::http(node.admin, "GET", "/readyz", "").is_some_and(|it| it.0 == 200)
        };
        nodes.iter().all(is_ready).then_some(())
    });
    let elsewhere = addresses[11].to_string();
    let second = start(2, 3, &["--bind", &elsewhere]);
    wait_for("a replica to live", || {
        common::http(second.admin, "GET", "/livez", "")
    });
    let entry = addresses[1].to_string();
    let words = until_said(
        &second,
        &["not admitted yet", "another one runs as p2", &entry],
    );
    assert!(words.contains("entry 2 of `peers`"), "{words}");
    said_everywhere(
        &second,
        "another one runs as p2",
        "-NOTVOTER not admitted yet",
    );
    let seen = format!("somebody at {elsewhere} greets as p2, whose entry in `peers` is {entry}");
    for node in [&nodes[0], &nodes[2]] {
        wait_for("its peers to see it", || {
            node.log().contains(&seen).then_some(())
        });
        assert!(node.is_ready());
    }
    assert!(nodes[1].is_ready());
}
