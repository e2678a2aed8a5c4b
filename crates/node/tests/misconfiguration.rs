//! An operator's mistakes: each leads to a line that names the cause, or to a documented behaviour.
mod common;

use common::{Apart, Node, free_addresses, run, wait_for};
use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Runs a node that must refuse to start; returns its one line of error.
fn refusal(arguments: &[&str]) -> String {
    let output = run(&[&["node"], arguments].concat());
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    let line = words.trim_end();
    assert!(!line.contains('\n'), "{line}");
    assert!(line.starts_with("quorate: "), "{line}");
    line.to_owned()
}

/// What every good configuration file of a single process needs.
struct Good {
    peer: SocketAddr,
    client: SocketAddr,
    admin: SocketAddr,
}

impl Good {
    fn new() -> Self {
        let addresses = free_addresses(3);
        Good {
            peer: addresses[0],
            client: addresses[1],
            admin: addresses[2],
        }
    }

    fn refusal(&self, extra: &[&str]) -> String {
        let (peer, client) = (self.peer.to_string(), self.client.to_string());
        let admin = self.admin.to_string();
        let arguments = ["--peers", &peer, "--client", &client, "--admin", &admin];
        refusal(&[&arguments, extra].concat())
    }
}

#[test]
fn an_unknown_key_names_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "id = 1\n\npeers = ['127.0.0.1:7101']\nhartbeat_ms = 5\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let line = refusal(&["--config", path]);
    assert!(
        line.contains(&format!("{path}:4: unknown field `hartbeat_ms`")),
        "{line}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let line = refusal(&["--config", "/nowhere/quorate.toml"]);
    assert!(line.contains("/nowhere/quorate.toml"), "{line}");
}

#[test]
fn ids_and_peers_are_checked() {
    let good = Good::new();
    let line = good.refusal(&["--id", "0"]);
    assert!(line.contains("`id` is 0"), "{line}");
    let line = good.refusal(&["--id", "2"]);
    assert!(
        line.contains("`id` is 2, but `peers` names the processes 1 to 1"),
        "{line}"
    );
    let line = refusal(&["--id", "1", "--peers", "127.0.0.1:7101,127.0.0.1:7101"]);
    assert!(
        line.contains("processes 1 and 2 are both at 127.0.0.1:7101"),
        "{line}"
    );
    let line = refusal(&["--id", "1", "--peers", "replica:7101,Replica:7101"]);
    assert!(line.contains("both at"), "{line}");
    // The address to listen at must be known at the start.
    let nowhere = "nowhere.invalid:7101";
    let free = [
        "--client",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--log",
        "error",
    ];
    let line = refusal(&[&["--id", "1", "--peers", nowhere], &free[..]].concat());
    assert!(line.contains(nowhere) && line.contains("`bind`"), "{line}");
}

#[test]
fn a_port_in_use_is_named() {
    for transport in ["udp", "tcp"] {
        let good = Good::new();
        let cases = [
            (good.client, "`client`"),
            (good.admin, "`admin`"),
            (good.peer, "`bind`"),
        ];
        for (address, setting) in cases {
            let tcp = TcpListener::bind(address).unwrap();
            let udp = UdpSocket::bind(address).unwrap();
            let line = good.refusal(&["--id", "1", "--transport", transport, "--log", "error"]);
            assert!(line.contains(&address.to_string()), "{line}");
            assert!(line.contains(setting) && line.contains("in use"), "{line}");
            drop((tcp, udp));
        }
    }
}

#[test]
fn samples_are_good() {
    for sample in ["single", "local", "docker"] {
        let path = format!("{}/../../config/{sample}.toml", env!("CARGO_MANIFEST_DIR"));
        // The port may be in use or not, but the file itself is never refused.
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = tcp.local_addr().unwrap().to_string();
        let mut arguments = vec!["--config", &path, "--client", &taken, "--id", "1"];
        if sample == "docker" {
            arguments.extend(["--peers", "127.0.0.1:7101"]);
        }
        let line = refusal(&arguments);
        assert!(line.contains("cannot listen"), "{line}");
    }
}

/// Two processes that name each other, with different settings.
fn pair(first: &[&str], second: &[&str]) -> [Node; 2] {
    let addresses = free_addresses(6);
    let peers = format!("{},{}", addresses[0], addresses[1]);
    let start = |rank: usize, extra: &[&str]| {
        let id = rank.to_string();
        let arguments = ["--id", &id, "--peers", &peers];
        let arguments = arguments.iter().chain(extra).map(ToString::to_string);
        Node::start(
            arguments.collect(),
            addresses[1 + rank],
            addresses[3 + rank],
        )
    };
    [start(1, first), start(2, second)]
}

#[test]
fn a_peer_of_another_cluster_is_refused_by_name() {
    let nodes = pair(&["--cluster", "blue"], &["--cluster", "green"]);
    for node in &nodes {
        let reason = wait_for("the refusal of a peer", || {
            let status = common::http(node.admin, "GET", "/status", "")?;
            let status: serde_json::Value = serde_json::from_str(&status.1).ok()?;
            Some(status["peers"][0]["refused"].as_str()?.to_owned())
        });
        assert!(
            reason.contains("blue") && reason.contains("green"),
            "{reason}"
        );
        assert!(node.log().contains(&reason), "{reason}");
        assert!(!node.is_ready());
    }
}

#[test]
fn a_peer_with_another_stack_is_refused_by_name() {
    let nodes = pair(&[], &["--consensus", "leader-driven"]);
    for node in &nodes {
        let reason = wait_for("the refusal of a peer", || {
            let status = common::http(node.admin, "GET", "/status", "")?;
            let status: serde_json::Value = serde_json::from_str(&status.1).ok()?;
            Some(status["peers"][0]["refused"].as_str()?.to_owned())
        });
        assert!(
            reason.contains("consensus:leader-driven")
                && reason.contains("consensus:by-total-order"),
            "{reason}"
        );
    }
}

#[test]
fn an_unreachable_peer_is_waited_for() {
    let addresses = free_addresses(4);
    let peers = format!("{},{}", addresses[0], addresses[1]);
    let arguments = ["--id", "1", "--deadline-ms", "300", "--peers", &peers];
    let arguments = arguments.iter().map(ToString::to_string).collect();
    let node = Node::start(arguments, addresses[2], addresses[3]);
    wait_for("the replica to live", || {
        common::http(node.admin, "GET", "/livez", "")
    });
    let (code, reason) = node.http("GET", "/readyz", "");
    assert_eq!(code, 503);
    assert!(reason.contains("not admitted yet: 1 others"), "{reason}");
    let answer = node.ask("GET k");
    assert!(answer.starts_with("-NOTVOTER not admitted yet"), "{answer}");
}

#[test]
fn a_peer_whose_name_leads_nowhere_yet_is_waited_for() {
    let addresses = free_addresses(3);
    let peers = format!("replica.invalid:7101,localhost:{}", addresses[0].port());
    // It listens elsewhere than at its own entry.
    let bind = addresses[0].to_string();
    let arguments = ["--id", "2", "--peers", &peers, "--bind", &bind];
    let arguments = arguments.iter().map(ToString::to_string).collect();
    let node = Node::start(arguments, addresses[1], addresses[2]);
    wait_for("the replica to live", || {
        common::http(node.admin, "GET", "/livez", "")
    });
    let (code, reason) = node.http("GET", "/readyz", "");
    assert_eq!(code, 503);
    let words = "not found by name: p1 (replica.invalid:7101)";
    assert!(reason.contains(words), "{reason}");
    let peer = node.status()["peers"][0].clone();
    assert_eq!(peer["name"], "replica.invalid:7101");
    assert!(peer["address"].is_null(), "{peer}");
    wait_for("a look-up to fail", || {
        let failure = node.status()["peers"][0]["lookup_failure"].clone();
        failure.is_string().then_some(())
    });
}

#[test]
fn an_empty_variable_is_not_set() {
    let good = Good::new();
    let peers = good.peer.to_string();
    let output = common::quorate()
        .args(["node", "--peers", &peers])
        .envs([
            ("QUORATE_ACCESS", ""),
            ("QUORATE_PUSH_MS", ""),
            ("QUORATE_ID", ""),
        ])
        .finish()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("`id` is not set"), "{told}");
}

/// Checks an assumption of the other tests: until a child process executes its program, it has open whatever
/// was open in its parent at its start.
#[test]
fn addresses_that_were_looked_at_stay_free_while_programs_are_started() {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    assert!(Command::new("true").finish().unwrap().status.success());
                }
            });
        }
        for address in (0..1000).flat_map(|_| free_addresses(1)) {
            let taken = TcpListener::bind(address);
            if taken.is_err() {
                done.store(true, Relaxed);
            }
            taken.unwrap();
        }
        done.store(true, Relaxed);
    });
}
