//! The store by registers, and shared memory, as an operator runs them: one process for each replica.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Apart, Node, TIMEOUT, cluster, quorate, ready_cluster, run, wait_for};
use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::Instant,
};

const REGISTER: [&str; 2] = ["--consistency", "register"];

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `quorate registers …`; returns its output.
#[track_caller]
fn registers(arguments: &[&str]) -> String {
    let output = run(&[&["registers"], arguments].concat());
    let told = words(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    words(&output.stdout)
}

#[test]
fn single_keys_are_read_and_written_at_any_replica_and_nothing_else_is() {
    let mut nodes = ready_cluster(3, &[&REGISTER[..], &["--deadline-ms", "2000"]].concat());
    assert_eq!(nodes[0].ask("GET k"), "$-1");
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    assert_eq!(nodes[2].ask("GET k"), "v");
    assert_eq!(nodes[1].ask("STRLEN k"), ":1");
    assert_eq!(nodes[1].ask("EXISTS k"), ":1");
    assert_eq!(nodes[1].ask("EXISTS other"), ":0");
    for command in [
        "MSET a 1 b 2",
        "MGET a b",
        "DEL k",
        "INCR k",
        "APPEND k v",
        "DBSIZE",
        "EXISTS a b",
    ] {
        let told = nodes[0].ask(command);
        let refused = told.starts_with("-ERR ") && told.contains("needs total order");
        assert!(refused, "{command}: {told}");
    }
    let status = nodes[0].status();
    assert_eq!(status["consistency"], "register", "{status}");
    wait_for("the key to be known where nobody has asked", || {
        let known = nodes.iter().all(|node| node.status()["keys"] == 1);
        known.then_some(())
    });

    // There is no leader whose death the others have to notice.
    nodes[0].kill();
    assert_eq!(nodes[1].ask("SET k w"), "+OK");
    assert_eq!(nodes[2].ask("GET k"), "w");
    nodes[1].kill();
    assert_eq!(
        nodes[2].ask("GET k"),
        "-NOQUORUM no quorum answered within 2s; outcome unknown"
    );
}

#[test]
fn commands_reach_registers_a_snapshot_and_a_growing_set_in_either_consistency() {
    for extra in [&[][..], &REGISTER] {
        let nodes = ready_cluster(3, extra);
        let at = |rank: usize| nodes[rank - 1].admin.to_string();
        let on = |rank, verb: &[&str]| {
            let admin = at(rank);
            registers(&[&verb[..1], &["--admin", &admin], &verb[1..]].concat())
        };
        assert_eq!(on(1, &["read", "colour"]), "");
        assert_eq!(on(1, &["write", "colour", "red"]), "written\n");
        assert_eq!(on(2, &["read", "colour"]), "red\n");
        assert_eq!(on(3, &["write", "colour", "blue"]), "written\n");
        assert_eq!(on(1, &["read", "colour"]), "blue\n");

        assert_eq!(on(2, &["snapshot"]), "p1 0\np2 0\np3 0\n");
        assert_eq!(
            on(2, &["snapshot", "--update", "x"]),
            "p1 0\np2 1 x\np3 0\n"
        );
        assert_eq!(
            on(3, &["snapshot", "--update", "y"]),
            "p1 0\np2 1 x\np3 1 y\n"
        );

        assert_eq!(on(1, &["join", "b", "a"]), "a\nb\n");
        assert_eq!(on(3, &["join", "c"]), "a\nb\nc\n");
        assert_eq!(on(2, &["join"]), "a\nb\nc\n");
    }
}

#[test]
fn processes_of_another_consistency_are_refused_by_name() {
    let addresses = common::free_addresses(6);
    let peers = format!("{},{}", addresses[0], addresses[1]);
    let start = |rank: usize, extra: &[&str]| {
        let mut arguments = vec!["--id".to_owned(), rank.to_string()];
        arguments.extend(["--peers".to_owned(), peers.clone()]);
        arguments.extend(extra.iter().map(ToString::to_string));
        Node::start(arguments, addresses[1 + rank], addresses[3 + rank])
    };
    let nodes = [start(1, &REGISTER), start(2, &[])];
    wait_for("a refusal", || {
        let status = nodes[0].admin;
        let (_, text) = common::http(status, "GET", "/status", "")?;
        let status: serde_json::Value = serde_json::from_str(&text).ok()?;
        let refused = status["peers"][0]["refused"].as_str()?.to_owned();
        refused.contains("consistency:register").then_some(())
    });
    drop(nodes);
}

#[test]
fn quorums_that_are_none_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let refusal = |n: usize, quorums: &str, extra: &[&str]| {
        let peers = common::free_addresses(n + 2);
        let (client, admin) = (peers[n].to_string(), peers[n + 1].to_string());
        let peers: Vec<String> = peers[..n].iter().map(ToString::to_string).collect();
        let peers = peers.join(",");
        let arguments = [
            "node", "--peers", &peers, "--client", &client, "--admin", &admin,
        ];
        let quorums = ["--id", "1", "--quorums", quorums];
        let output = run(&[&arguments[..], &REGISTER, &quorums, extra].concat());
        assert!(!output.status.success());
        words(&output.stderr)
    };
    let five = format!("{root}/../../config/quorums/five.toml");
    let told = refusal(3, &five, &[]);
    assert!(
        told.contains("it is for 5 processes, and there are 3 peers"),
        "{told}"
    );
    let none = format!("{root}/../../config/quorums/figure-1-without-ab.toml");
    let told = refusal(4, &none, &[]);
    assert!(
        told.contains("Impossible: there is no generalized"),
        "{told}"
    );
    assert!(told.contains("quorate quorums check"), "{told}");
    let told = refusal(3, "/no/such/file.toml", &[]);
    assert!(told.contains("/no/such/file.toml"), "{told}");
    let halves = folder.path().join("halves.toml");
    std::fs::write(
        &halves,
        "processes = 4\ncrashes = 1\n[quorums]\nreads = 2\nwrites = 2\n",
    )
    .unwrap();
    let told = refusal(4, halves.to_str().unwrap(), &[]);
    assert!(
        told.contains("are no generalized quorum system") && told.contains("nobody in common"),
        "{told}"
    );
    let told = refusal(5, &five, &["--access", "classical", "--push-ms", "5"]);
    assert!(told.contains("`push_ms` means nothing"), "{told}");
    let told = refusal(5, &five, &["--push-ms", "500", "--deadline-ms", "500"]);
    assert!(
        told.contains("`push_ms` must be below `deadline_ms`"),
        "{told}"
    );
}

#[test]
fn loads_have_keys_of_their_own_and_say_at_once_what_they_cannot_write() {
    let nodes = ready_cluster(3, &REGISTER);
    let folder = tempfile::tempdir().unwrap();
    let server = nodes[0].client.to_string();
    for run in ["first", "second"] {
        let history = folder.path().join(run);
        let history = history.to_str().unwrap();
        let load = ["--operations", "500", "--keys", "4", "--history", history];
        registers(&[&["load", "--server", &server], &load[..]].concat());
        let verdict = registers(&["check", history]);
        assert!(verdict.starts_with("linearizable: 500"), "{run}: {verdict}");
    }
    let nowhere = ["--history", "/no/such/folder/history"];
    let output = run(&[&["registers", "load", "--server", &server], &nowhere[..]].concat());
    assert!(!output.status.success());
    assert_eq!(words(&output.stdout), "", "nothing was run");
    assert!(words(&output.stderr).contains("cannot write /no/such/folder/history"));
    assert_eq!(nodes[0].status()["operations"], 1000);
}

#[test]
fn an_even_number_is_no_worse_where_a_file_has_the_quorums() {
    let figure_1 = format!(
        "{}/../../config/quorums/figure-1.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let quorums = [&REGISTER[..], &["--quorums", &figure_1]].concat();
    for (extra, warned) in [(&quorums, false), (&REGISTER.to_vec(), true)] {
        let nodes = ready_cluster(4, extra);
        let log = nodes[0].log();
        assert_eq!(log.contains("an odd number is better"), warned, "{log}");
    }
}

#[test]
fn redis_benchmark_ends_without_an_error() {
    let known = Command::new("redis-benchmark").arg("--version").finish();
    if !known.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no redis-benchmark (apt-get install redis-tools)");
        return;
    }
    let nodes = ready_cluster(3, &REGISTER);
    let port = nodes[1].client.port().to_string();
    for (pipeline, keys) in [("1", "1"), ("16", "1000")] {
        let output = Command::new("redis-benchmark")
            .args([
                "-p", &port, "-t", "set,get", "-n", "20000", "-c", "50", "-q",
            ])
            .args(["-P", pipeline, "-r", keys])
            .finish()
            .unwrap();
        let told = words(&output.stdout) + &words(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(!told.to_lowercase().contains("error"), "{told}");
        assert!(told.contains("GET: "), "{told}");
    }
}

/// Waits until `more` operations have returned at those of these replicas that are alive, while the load goes
/// on.
fn wait_for_progress(nodes: &[Node], more: u64, load: &mut Child) {
    let returned = || {
        let of = |node: &Node| {
            let (_, status) = common::http(node.admin, "GET", "/status", "").unwrap_or_default();
            let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
            status["operations"].as_u64().unwrap_or(0)
        };
        nodes.iter().map(of).sum::<u64>()
    };
    let before = returned();
    wait_for(&format!("{more} operations"), || {
        let ended = load.try_wait().unwrap();
        assert!(ended.is_none(), "the load has ended early: {ended:?}");
        (returned() >= before + more).then_some(())
    });
}

fn switch(node: &Node, peer: usize, cut: bool, one_way: bool) {
    let (admin, peer) = (node.admin.to_string(), peer.to_string());
    let mut arguments = vec!["faults", "--admin", &admin];
    if cut {
        arguments.extend(["cut", &*peer]);
    } else {
        arguments.push("heal");
    }
    arguments.extend((cut && one_way).then_some("--one-way"));
    let output = run(&arguments);
    assert!(output.status.success(), "{}", words(&output.stderr));
}

#[test]
fn linearizable_through_kills_and_cuts_and_a_planted_stale_read_is_found() {
    const OPERATIONS: u64 = 100_000;
    const STEP: u64 = OPERATIONS / 20;
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history.txt");
    let mut nodes = ready_cluster(
        5,
        &[&REGISTER[..], &["--faults", "--deadline-ms", "1000"]].concat(),
    );
    let mut command = quorate();
    command.args(["registers", "load", "--clients", "32", "--keys", "50"]);
    command.args(["--prefix", "load"]);
    command.args(["--operations", &OPERATIONS.to_string()]);
    for node in &nodes {
        command.args(["--server", &node.client.to_string()]);
    }
    command.args(["--history", history.to_str().unwrap()]);
    let load = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut load = load.begin().unwrap();

    wait_for_progress(&nodes, STEP, &mut load);
    // p1 can still reach p4 and p5, and without p5 it has no majority.
    switch(&nodes[0], 2, true, false);
    switch(&nodes[0], 3, true, true);
    wait_for_progress(&nodes, STEP, &mut load);
    nodes[4].kill();
    wait_for_progress(&nodes[..4], STEP, &mut load);
    switch(&nodes[0], 0, false, false);
    wait_for_progress(&nodes[..4], STEP, &mut load);
    nodes[3].kill();

    let begun = Instant::now();
    while load.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < 5 * TIMEOUT, "the load does not end");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (mut told, mut errors) = (String::new(), String::new());
    load.stdout
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    load.stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert!(load.wait().unwrap().success(), "{told}{errors}");
    println!("{told}");

    let verdict = registers(&["check", history.to_str().unwrap()]);
    println!("{verdict}");
    assert!(verdict.starts_with("linearizable: "), "{verdict}");
    let operations: u64 = verdict.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(operations > OPERATIONS * 99 / 100, "{verdict}");

    // Adds a read that begins after everything else, and returns the value of the register's first write.
    let text = std::fs::read_to_string(&history).unwrap();
    let first = text
        .lines()
        .find(|line| line.contains(" ok write \"load:7\""))
        .unwrap();
    let value = first.split(" \"load:7\" ").nth(1).unwrap();
    let value = value.split(' ').next().unwrap();
    let last: u64 = text
        .lines()
        .last()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let planted = format!(
        "{text}{} p999999 invoke read \"load:7\"\n{} p999999 ok read \"load:7\" {value}\n",
        last + 1,
        last + 2
    );
    std::fs::write(&history, planted).unwrap();
    let output = run(&["registers", "check", history.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = words(&output.stderr);
    assert!(
        told.contains("not linearizable") && told.contains("load:7"),
        "{told}"
    );
    drop(nodes);
}

#[test]
fn a_single_process_serves_alone() {
    let nodes = cluster(1, &[&REGISTER[..], &["--deadline-ms", "500"]].concat());
    wait_for("a single process", || nodes[0].is_ready().then_some(()));
    assert_eq!(nodes[0].ask("SET k v"), "+OK");
    assert_eq!(nodes[0].ask("GET k"), "v");
}
