//! Five containers, as `scripts/cluster` runs them. Skipped where no Docker engine answers.
mod common;

use common::{Apart, ask, http, quorate, wait_for};
use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

fn script() -> Command {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/cluster");
    let mut command = Command::new(path);
    // The test has a project, network and ports of its own, so that it does not disturb the developer's
    // cluster.
    // A binary that is static is the one that the containers need.
    if cfg!(target_feature = "crt-static") {
        command.env("QUORATE_BINARY", env!("CARGO_BIN_EXE_quorate"));
    }
    command
        .env("QUORATE_PROFILE", "dev")
        .env("QUORATE_PROJECT", "quorate-test")
        .env("QUORATE_SUBNET", "10.87.88")
        .env("QUORATE_CLIENT_PORTS", "1640")
        .env("QUORATE_ADMIN_PORTS", "1840");
    command
}

fn cluster(arguments: &[&str]) {
    cluster_with(arguments, &[]);
}

fn cluster_with(arguments: &[&str], variables: &[(&str, &str)]) {
    let output = script()
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("no bash");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "scripts/cluster {arguments:?}: {words}"
    );
}

/// Removes the containers when it is dropped, even if the test has failed.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = script().arg("status").status();
        }
        let _ = script().arg("down").stderr(Stdio::null()).status();
    }
}

fn replica(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 16400 + number))
}

/// The address at which replica `by` reaches another replica, as it says itself.
fn address_of(number: usize, by: u16) -> Option<String> {
    let admin = SocketAddr::from(([127, 0, 0, 1], 18400 + by));
    let status: serde_json::Value =
        serde_json::from_str(&http(admin, "GET", "/status", "")?.1).ok()?;
    let peers = status["peers"].as_array()?;
    let peer = peers.iter().find(|peer| peer["process"] == number)?;
    assert_eq!(peer["name"], format!("replica{number}:7100"));
    Some(peer["address"].as_str()?.to_owned())
}

fn answers(number: u16, request: &str, expected: &str) {
    wait_for(&format!("{request} to be answered {expected}"), || {
        ask(replica(number), request)
            .starts_with(expected)
            .then_some(())
    });
}

/// A replica is paused for longer than the lock lasts that it serves.
fn the_lock_of_a_paused_replica_is_taken_over() {
    let lock = |number: u16, script: &str| {
        let mut command = quorate();
        command.args(["lock", "job", "--addr", &replica(number).to_string()]);
        command.args(["--ttl", "2", "--wait", "60", "--", "sh", "-c", script]);
        command.stdin(Stdio::null());
        command
    };
    let mut holder = lock(5, "exec sleep 600").begin().expect("no binary");
    wait_for("the lock to be held", || {
        (ask(replica(1), "LOCK.HOLDER job") == "*4").then_some(())
    });
    cluster(&["pause", "5"]);
    let next = lock(1, "exit 5").finish().expect("no binary");
    assert_eq!(next.status.code(), Some(5));
    let lost = wait_for("the first holder to end", || {
        holder.try_wait().expect("a child")
    });
    assert_eq!(lost.code(), Some(76));
    cluster(&["resume", "5"]);
    answers(5, "GET k", "v");
}

fn works(program: &str, argument: &str) -> bool {
    let quiet = Command::new(program)
        .args(argument.split(' '))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

#[test]
fn five_containers_survive_the_death_of_two_and_with_quorums_one_way_cuts() {
    if !works("docker", "info") {
        println!("skipped: no Docker engine answers");
        return;
    }
    if !works("docker", "compose version") && !works("docker-compose", "version") {
        println!("skipped: there is no docker-compose");
        return;
    }
    let down = Down;
    cluster(&["up"]);
    assert_eq!(ask(replica(1), "SET k v"), "+OK");
    assert_eq!(ask(replica(5), "GET k"), "v");

    the_lock_of_a_paused_replica_is_taken_over();

    cluster(&["kill", "1"]);
    cluster(&["kill", "2"]);
    answers(3, "SET k w", "+OK");
    assert_eq!(ask(replica(4), "GET k"), "w");

    cluster(&["pause", "5"]);
    answers(3, "GET k", "-NOQUORUM ");
    cluster(&["resume", "5"]);
    answers(5, "GET k", "w");

    cluster(&["start", "1"]);
    answers(1, "GET k", "w");

    cluster(&["cut", "3", "4"]);
    cluster(&["cut", "3", "5", "--one-way"]);
    answers(3, "SET k x", "-NOQUORUM ");
    cluster(&["heal"]);
    answers(4, "SET k y", "+OK");
    answers(3, "GET k", "y");

    // The container of a replica is removed and made again at another address: the others find it by its
    // name.
    let before = address_of(2, 3);
    cluster(&["move", "2"]);
    answers(2, "GET k", "y");
    wait_for("replica 3 to have another address of replica 2", || {
        address_of(2, 3).filter(|now| Some(now) != before.as_ref())
    });
    drop(down);

    // The paper's example for five processes: under a pattern of one-way cuts two go on, and the third waits.
    let registers = [
        ("QUORATE_CONSISTENCY", "register"),
        ("QUORATE_QUORUMS", "/etc/quorums/five.toml"),
    ];
    let down = Down;
    cluster_with(&["up"], &registers);
    assert_eq!(ask(replica(5), "SET k v"), "+OK");
    cluster(&["kill", "5"]);
    for (from, to) in [
        (1, 3),
        (1, 4),
        (2, 3),
        (2, 4),
        (3, 2),
        (3, 4),
        (4, 2),
        (4, 3),
    ] {
        cluster(&["cut", &from.to_string(), &to.to_string(), "--one-way"]);
    }
    assert_eq!(ask(replica(2), "GET k"), "v");
    assert_eq!(ask(replica(1), "SET k w"), "+OK");
    assert_eq!(ask(replica(2), "GET k"), "w");
    assert!(ask(replica(3), "GET k").starts_with("-NOQUORUM "));
    drop(down);
}
