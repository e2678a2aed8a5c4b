//! The verbs by which an operator has a running cluster agree, and asks for its members.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Apart, Node, quorate, ready_cluster, run, wait_for};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
};

/// Runs a verb against a replica; returns its output, or its error.
fn verb(node: &Node, arguments: &[&str]) -> Result<String, String> {
    let admin = node.admin.to_string();
    let (name, rest) = arguments.split_first().unwrap();
    let output = run(&[&[*name, "--admin", &admin], rest].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn what_is_proposed_in_an_instance_is_decided_once_and_the_same_everywhere() {
    let mut nodes = ready_cluster(3, &["--deadline-ms", "1000"]);
    let propose =
        |node: &Node, instance: &str, value: &str| verb(node, &["propose", instance, value]);
    // All propose at the same time, and one of them wins.
    let decided: Vec<String> = std::thread::scope(|scope| {
        let values = ["red", "green", "blue"];
        let asked = nodes.iter().zip(values);
        let asked: Vec<_> = asked
            .map(|(node, value)| scope.spawn(move || propose(node, "1", value)))
            .collect();
        let answers = asked.into_iter().map(|thread| thread.join().unwrap());
        answers.map(Result::unwrap).collect()
    });
    assert!(
        decided.iter().all(|value| *value == decided[0]),
        "{decided:?}"
    );
    assert!(["red", "green", "blue"].contains(&decided[0].as_str()));
    assert_eq!(propose(&nodes[1], "1", "late").as_ref(), Ok(&decided[0]));

    // Instances need not come in order, and they do not change the store.
    let highest = u64::MAX.to_string();
    assert_eq!(propose(&nodes[2], &highest, "top").as_deref(), Ok("top"));
    assert_eq!(propose(&nodes[0], "7", "a b").as_deref(), Ok("a b"));
    assert_eq!(nodes[0].ask("DBSIZE"), ":0");
    wait_for("the decisions to be everywhere", || {
        let all = |node: &Node| node.status()["decisions"] == 3;
        nodes.iter().all(all).then_some(())
    });

    // Without a majority only earlier decisions can be read.
    nodes[0].kill();
    nodes[1].kill();
    assert_eq!(propose(&nodes[2], "7", "c").as_deref(), Ok("a b"));
    let alone = verb(&nodes[2], &["propose", "--timeout-ms", "300", "8", "c"]);
    let words = alone.unwrap_err();
    assert!(
        words.contains("no majority answered within 300ms; the proposal may still be decided"),
        "{words}"
    );
}

#[test]
fn hostile_requests_are_refused_and_decide_nothing() {
    let nodes = ready_cluster(1, &[]);
    let long = format!(r#"{{"instance": 1, "value": "{}"}}"#, "x".repeat(4097));
    let deep = "[".repeat(100_000);
    for (body, code, words) in [
        ("", 400, ""),
        ("{}", 422, "missing field"),
        ("nonsense", 400, ""),
        (r#"{"instance": 0, "value": "a"}"#, 400, "count from 1"),
        (r#"{"instance": -1, "value": "a"}"#, 422, "-1"),
        (
            r#"{"instance": 18446744073709551616, "value": "a"}"#,
            422,
            "",
        ),
        (r#"{"instance": 1.5, "value": "a"}"#, 422, ""),
        (r#"{"instance": 1, "value": 5}"#, 422, ""),
        (r#"{"instance": 1, "value": "a", "more": 1}"#, 422, "more"),
        (&long, 400, "at most 4096"),
        (&deep, 422, ""),
    ] {
        let (answered, text) = nodes[0].http("POST", "/propose", body);
        let start = &body[..body.len().min(60)];
        assert_eq!(answered, code, "{start}: {text}");
        assert!(text.contains(words), "{start}: {text}");
    }
    assert_eq!(nodes[0].http("GET", "/propose", "").0, 405);
    assert_eq!(nodes[0].http("GET", "/views?watch=perhaps", "").0, 400);
    assert_eq!(nodes[0].http("GET", "/views?since=1", "").0, 400);
    assert_eq!(nodes[0].status()["decisions"], 0);
    let words = verb(&nodes[0], &["propose", "0", "a"]).unwrap_err();
    assert!(words.contains('0'), "{words}");
    let answer = verb(&nodes[0], &["propose", "1", ""]);
    assert_eq!(answer.as_deref(), Ok(""));
}

#[test]
fn a_commit_is_what_all_vote_for_and_an_abort_what_one_refuses() {
    let mut nodes = ready_cluster(3, &[]);
    let vote = |node: &Node, instance: &str, vote: &str| {
        verb(node, &["commit", "--timeout-ms", "60000", instance, vote])
    };
    let all = |instance: &str, votes: [&str; 3]| {
        std::thread::scope(|scope| {
            let asked = nodes.iter().zip(votes);
            let asked: Vec<_> = asked
                .map(|(node, word)| scope.spawn(move || vote(node, instance, word)))
                .collect();
            let answers = asked.into_iter().map(|thread| thread.join().unwrap());
            answers.map(Result::unwrap).collect::<Vec<_>>()
        })
    };
    assert_eq!(all("1", ["yes", "yes", "yes"]), ["commit"; 3]);
    assert_eq!(all("2", ["yes", "no", "yes"]), ["abort"; 3]);
    // An earlier decision is returned, whatever the vote is now.
    assert_eq!(vote(&nodes[1], "1", "no").as_deref(), Ok("commit"));

    let alone = verb(&nodes[0], &["commit", "--timeout-ms", "200", "3", "yes"]);
    let words = alone.unwrap_err();
    assert!(words.contains("votes are missing"), "{words}");
    let far = verb(&nodes[0], &["commit", "1000000", "yes"]).unwrap_err();
    assert!(far.contains("too far ahead"), "{far}");
    for body in [
        r#"{"instance": 0, "vote": "yes"}"#,
        r#"{"instance": 4, "vote": "perhaps"}"#,
        r#"{"instance": 4, "vote": true}"#,
        r#"{"instance": 4}"#,
    ] {
        let (code, words) = nodes[0].http("POST", "/commit", body);
        assert!(code == 400 || code == 422, "{body}: {code} {words}");
    }

    // A replica that comes back takes part in total order only.
    nodes[2].kill();
    nodes[2].start_again();
    wait_for("the replica to have come back", || {
        nodes[2].is_ready().then_some(())
    });
    let words = vote(&nodes[2], "4", "yes").unwrap_err();
    assert!(
        words.contains("was started again") && words.contains("two-phase"),
        "{words}"
    );
    let proposed = verb(&nodes[2], &["propose", "4", "a"]);
    assert_eq!(proposed.as_deref(), Ok("a"));
}

#[test]
fn consensus_and_commit_are_those_of_the_settings() {
    let propose_all = |nodes: &[Node], values: &[&str]| {
        std::thread::scope(|scope| {
            let asked: Vec<_> = nodes
                .iter()
                .zip(values)
                .map(|(node, value)| {
                    let arguments = ["propose", "--timeout-ms", "60000", "1", *value];
                    scope.spawn(move || verb(node, &arguments).unwrap())
                })
                .collect();
            let answers = asked.into_iter().map(|thread| thread.join().unwrap());
            answers.collect::<Vec<_>>()
        })
    };
    for name in ["leader-driven", "rotating-coordinator", "randomised"] {
        let mut nodes = ready_cluster(3, &["--consensus", name]);
        let decided = propose_all(&nodes, &["1", "0", "1"]);
        assert!(
            decided.iter().all(|value| *value == decided[0]),
            "{name}: {decided:?}"
        );
        assert!(
            ["0", "1"].contains(&decided[0].as_str()),
            "{name}: {decided:?}"
        );
        if name == "randomised" {
            let words = verb(&nodes[0], &["propose", "2", "blue"]).unwrap_err();
            assert!(words.contains("0 or 1"), "{words}");
        } else {
            nodes[2].kill();
            nodes[2].start_again();
            wait_for("the replica to have come back", || {
                nodes[2].is_ready().then_some(())
            });
            let words = verb(&nodes[2], &["propose", "2", "a"]).unwrap_err();
            assert!(words.contains("was started again"), "{name}: {words}");
        }
    }
    let bounds = ["--assume", "synchronous", "--delay-ms", "20000"];
    let algorithms = [
        "--consensus",
        "uniform-hierarchical",
        "--commit",
        "non-blocking",
    ];
    let nodes = ready_cluster(3, &[&bounds[..], &algorithms].concat());
    let decided = propose_all(&nodes, &["a", "b", "c"]);
    assert!(
        decided.iter().all(|value| *value == decided[0]),
        "{decided:?}"
    );
    let vote = |node: &Node, vote: &str| {
        verb(node, &["commit", "--timeout-ms", "60000", "1", vote]).unwrap()
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let asked = nodes.iter().zip(["yes", "yes", "no"]);
        let asked: Vec<_> = asked
            .map(|(node, word)| scope.spawn(move || vote(node, word)))
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(outcomes, ["abort"; 3]);
}

#[test]
fn a_replica_that_does_not_vote_proposes_nothing() {
    let nodes: Vec<Node> = common::starting(3, &["--deadline-ms", "300"])
        .take(1)
        .collect();
    wait_for("the replica to live", || {
        common::http(nodes[0].admin, "GET", "/livez", "")
    });
    let words = verb(&nodes[0], &["propose", "--timeout-ms", "300", "1", "a"]).unwrap_err();
    assert!(
        words.contains("not admitted yet") && words.contains("not proposed"),
        "{words}"
    );
}

/// The lines of `quorate views --watch`, until this is dropped.
struct Watching {
    child: std::process::Child,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    fn start(node: &Node) -> Self {
        let mut child = quorate()
            .args(["views", "--watch", "--admin", &node.admin.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .begin()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (out, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = out.send(line);
            }
        });
        Watching { child, lines }
    }

    fn wait_for(&self, what: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(common::TIMEOUT);
            let line = line.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            if line.contains(what) {
                return line;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn members_and_views_show_who_leads_and_who_is_suspected() {
    let mut nodes = ready_cluster(3, &[]);
    let members = || verb(&nodes[2], &["members"]).unwrap();
    wait_for("p1 to lead", || {
        members().contains("voter, leader").then_some(())
    });
    let table = members();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    for (seat, line) in (1..).zip(&lines[1..]) {
        assert!(line.starts_with(&format!("p{seat} ")), "{table}");
        assert!(line.contains("voter"), "{table}");
        assert!(line.contains("127.0.0.1:"), "{table}");
    }
    let incarnation = nodes[0].status()["incarnation"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(lines[1].contains(&incarnation), "{table}");
    let view = verb(&nodes[2], &["views"]);
    assert_eq!(view.as_deref(), Ok("epoch 0: p1 p2 p3; leader p1"));

    let watching = Watching::start(&nodes[2]);
    watching.wait_for("epoch 0: p1 p2 p3; leader p1");
    nodes[0].kill();
    watching.wait_for("suspects p1");
    watching.wait_for("leader p2");
    let table = verb(&nodes[2], &["members"]).unwrap();
    let first = table.lines().nth(1).unwrap();
    assert!(first.contains("suspected"), "{table}");
    // A watching client does not keep a replica from stopping, and is told that it has stopped.
    nodes[2].signal("TERM");
    assert_eq!(nodes[2].exit_code(), Some(0), "{}", nodes[2].log());
    wait_for("the end of whoever watches", || {
        watching
            .lines
            .try_recv()
            .is_err_and(|e| e == mpsc::TryRecvError::Disconnected)
            .then_some(())
    });
}
