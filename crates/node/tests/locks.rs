//! Locks of a running cluster: clients of the protocol, and `quorate lock` with holders that are frozen and
//! replicas that are killed.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Apart, Node, TIMEOUT, quorate, ready_cluster, signal, wait_for};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A connection that stays open.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, request: &str) {
        let line = format!("{request}\r\n");
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The next line of a reply.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.line()
    }

    fn number(&mut self, request: &str) -> u64 {
        number(&self.ask(request))
    }
}

fn number(reply: &str) -> u64 {
    let number = reply.strip_prefix(':').and_then(|it| it.parse().ok());
    number.unwrap_or_else(|| panic!("{reply}"))
}

#[test]
fn clients_take_turns_and_what_a_client_holds_ends_with_its_connection() {
    let nodes = ready_cluster(3, &[]);
    let mut first = Client::new(nodes[0].client);
    let mut second = Client::new(nodes[1].client);
    // What was sent before is done before, and what comes later is done later.
    first.send("SET k v\r\nLOCK.ACQUIRE l first\r\nGET k\r\nLOCK.HOLDER l");
    assert_eq!(first.line(), "+OK");
    let token = number(&first.line());
    assert_eq!([first.line(), first.line()], ["$1", "v"]);
    let holder: Vec<String> = (0..6).map(|_| first.line()).collect();
    let expected = format!("*4 :{token} $5 first :1 :0");
    assert_eq!(holder.join(" "), expected);
    assert_eq!(second.ask("LOCK.ACQUIRE l second"), "$-1");
    assert_eq!(second.ask("LOCK.ACQUIRE l second WAIT 50"), "$-1");
    assert_eq!(first.ask(&format!("LOCK.SET l {token} balance 100")), "+OK");
    assert_eq!(
        first.ask("LOCK.SET l 1 balance 7"),
        format!("-FENCED the lock is held with token {token}; nothing was done")
    );
    // The same request again is answered with the same token.
    assert_eq!(first.number("LOCK.ACQUIRE l first"), token);
    second.send("LOCK.ACQUIRE l second WAIT 0\r\nPING");
    drop(first);
    let next = number(&second.line());
    assert_eq!(second.line(), "+PONG");
    assert!(next > token);
    let mut third = Client::new(nodes[2].client);
    let late = third.ask(&format!("LOCK.SET l {token} balance 150"));
    assert!(late.starts_with("-FENCED "), "{late}");
    let late = third.ask(&format!("LOCK.GET l {token} balance"));
    assert!(late.starts_with("-FENCED "), "{late}");
    second.send(&format!("LOCK.GET l {next} balance"));
    assert_eq!([second.line(), second.line()], ["$3", "100"]);
    assert_eq!(second.ask(&format!("LOCK.DEL l {next} balance")), "+OK");
    assert_eq!(second.ask(&format!("LOCK.GET l {next} balance")), "$-1");
    assert_eq!(second.number(&format!("LOCK.RELEASE l {next}")), 1);
    assert_eq!(second.number(&format!("LOCK.RELEASE l {next}")), 0);
    assert_eq!(second.ask("LOCK.HOLDER l"), "$-1");
    let late = second.ask(&format!("LOCK.GET l {next} balance"));
    assert!(late.starts_with("-FENCED nobody"), "{late}");
}

#[test]
fn a_lease_ends_without_renewal_and_a_client_that_moves_keeps_its_lock() {
    let nodes = ready_cluster(3, &[]);
    let mut first = Client::new(nodes[0].client);
    let mut second = Client::new(nodes[1].client);
    let token = first.number("LOCK.ACQUIRE l first LEASE 60000");
    // It goes on through another replica, and then its first connection ends.
    let mut moved = Client::new(nodes[2].client);
    assert_eq!(moved.number(&format!("LOCK.RENEW l {token}")), 1);
    // It comes back, once its first replica knows that it had gone, and goes again.
    first.send("LOCK.HOLDER l");
    let holder: Vec<String> = (0..6).map(|_| first.line()).collect();
    assert_eq!(holder[4], ":3", "it is served by the third replica");
    assert_eq!(first.number(&format!("LOCK.RENEW l {token}")), 1);
    moved.send("LOCK.HOLDER l");
    let holder: Vec<String> = (0..6).map(|_| moved.line()).collect();
    assert_eq!(holder[4], ":1", "it is served by the first replica");
    assert_eq!(moved.number(&format!("LOCK.RENEW l {token}")), 1);
    drop(first);
    assert_eq!(second.ask("LOCK.ACQUIRE l second WAIT 300"), "$-1");
    assert_eq!(moved.number(&format!("LOCK.RENEW l {token}")), 1);
    assert_eq!(moved.number(&format!("LOCK.RELEASE l {token}")), 1);
    assert_eq!(moved.number(&format!("LOCK.RENEW l {token}")), 0);

    let token = moved.number("LOCK.ACQUIRE l third LEASE 300");
    let next = second.number("LOCK.ACQUIRE l second WAIT 0");
    assert!(next > token);
    assert_eq!(moved.number(&format!("LOCK.RENEW l {token}")), 0);
    // With STAY a place in the queue outlasts the wait.
    assert_eq!(moved.ask("LOCK.ACQUIRE l fourth WAIT 10 STAY"), "$-1");
    let mut fifth = Client::new(nodes[0].client);
    assert_eq!(fifth.ask("LOCK.ACQUIRE l fifth WAIT 10 STAY"), "$-1");
    assert_eq!(second.number(&format!("LOCK.RELEASE l {next}")), 1);
    assert_eq!(fifth.ask("LOCK.ACQUIRE l fifth WAIT 300 STAY"), "$-1");
    let fourth = moved.number("LOCK.ACQUIRE l fourth WAIT 0");
    drop(moved);
    assert!(fifth.number("LOCK.ACQUIRE l fifth WAIT 0") > fourth);
}

/// Waits until so many requests wait for the lock `l`.
fn until_waiting(client: &mut Client, count: u64) {
    wait_for("requests to wait", || {
        client.send("LOCK.HOLDER l");
        let holder: Vec<String> = (0..6).map(|_| client.line()).collect();
        (holder[5] == format!(":{count}")).then_some(())
    });
}

#[test]
fn who_waits_at_a_replica_that_stops_keeps_its_place_at_another_one() {
    let mut nodes = ready_cluster(3, &["--lock-takeover-ms", "60000"]);
    let mut first = Client::new(nodes[1].client);
    let token = first.number("LOCK.ACQUIRE l first");
    let mut second = Client::new(nodes[0].client);
    second.send("LOCK.ACQUIRE l second WAIT 0");
    until_waiting(&mut first, 1);
    let mut third = Client::new(nodes[2].client);
    third.send("LOCK.ACQUIRE l third WAIT 0");
    until_waiting(&mut first, 2);
    nodes[0].signal("TERM");
    assert_eq!(second.line(), "-ERR the replica is stopping; not acquired");
    // Whatever the replica has asked for is ordered before it has ended.
    assert_eq!(nodes[0].exit_code(), Some(0));
    let mut moved = Client::new(nodes[1].client);
    moved.send("LOCK.ACQUIRE l second WAIT 0");
    assert_eq!(first.number(&format!("LOCK.RELEASE l {token}")), 1);
    let second = number(&moved.line());
    assert_eq!(moved.number(&format!("LOCK.RELEASE l {second}")), 1);
    assert!(number(&third.line()) > second);
}

#[test]
fn names_that_are_too_long_are_refused() {
    let nodes = ready_cluster(1, &[]);
    let mut client = Client::new(nodes[0].client);
    let long = "x".repeat(257);
    let value = "x".repeat(256 * 1024 + 1);
    let set = ["LOCK.SET", "l", "1", "k", &value].map(|word| format!("${}\r\n{word}", word.len()));
    for request in [
        format!("LOCK.ACQUIRE {long} o"),
        format!("LOCK.ACQUIRE l {long}"),
        format!("LOCK.GET l 1 {long}"),
        format!("*5\r\n{}", set.join("\r\n")),
    ] {
        let reply = client.ask(&request);
        assert!(
            reply.starts_with("-ERR ") && reply.contains("256 bytes"),
            "{reply}"
        );
    }
    assert_eq!(client.number(&format!("LOCK.RENEW {long} 1")), 0);
    assert_eq!(client.number(&format!("LOCK.RELEASE {long} 1")), 0);
}

#[test]
fn the_locks_of_a_frozen_replica_are_taken_over() {
    let nodes = ready_cluster(3, &["--lock-takeover-ms", "3000"]);
    let mut first = Client::new(nodes[2].client);
    let token = first.number("LOCK.ACQUIRE l first");
    assert_eq!(first.ask(&format!("LOCK.SET l {token} k 1")), "+OK");
    nodes[2].signal("STOP");
    let mut second = Client::new(nodes[0].client);
    let next = second.number("LOCK.ACQUIRE l second WAIT 0");
    assert!(next > token);
    nodes[2].signal("CONT");
    let late = first.ask(&format!("LOCK.SET l {token} k 2"));
    assert!(late.starts_with("-FENCED "), "{late}");
    assert_eq!(first.number(&format!("LOCK.RENEW l {token}")), 0);
}

#[test]
fn without_total_order_there_are_no_locks() {
    let nodes = ready_cluster(1, &["--consistency", "register"]);
    let refused = nodes[0].ask("LOCK.ACQUIRE l o");
    assert!(refused.contains("locks need total order"), "{refused}");
}

/// The replicas' addresses, the given one first.
fn addresses(nodes: &[Node], first: usize) -> String {
    let all = (0..nodes.len()).map(|at| nodes[(first + at) % nodes.len()].client.to_string());
    all.collect::<Vec<_>>().join(",")
}

/// `quorate lock job` with these options, which runs a script of the shell.
fn lock(nodes: &[Node], folder: &Path, options: &[&str], script: &str) -> Command {
    let mut command = quorate();
    command
        .args(["lock", "job", "--addr", &addresses(nodes, 0)])
        .args(options)
        .args(["--", "sh", "-c", script])
        .env("FOLDER", folder)
        .env("BIN", env!("CARGO_BIN_EXE_quorate"))
        .stdin(Stdio::null());
    command
}

/// A running `quorate lock`, which is killed with what it runs when it is dropped.
struct Running {
    child: Child,
    words: std::path::PathBuf,
}

impl Running {
    fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let words = folder.join(format!("{name}.log"));
        command.stderr(File::create(&words).unwrap());
        command.stdout(File::create(folder.join(format!("{name}.out"))).unwrap());
        let child = command.begin().unwrap();
        Running { child, words }
    }

    fn ended(&mut self) -> Option<i32> {
        let status = wait_for("the end of quorate lock", || self.child.try_wait().unwrap());
        status.code()
    }

    fn words(&self) -> String {
        fs::read_to_string(&self.words).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a file has, once it is there.
fn told(folder: &Path, name: &str) -> String {
    wait_for(name, || {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    })
}

/// Says on a file that a script may go on.
fn tell(folder: &Path, name: &str) {
    File::create(folder.join(name)).unwrap();
}

/// Writes down the process group and the token, and waits for `go-a`; writes, then, what the lock guards.
const HOLDER: &str = r#"echo $$ > $FOLDER/group-a; echo $QUORATE_LOCK_TOKEN > $FOLDER/token-a
    "$BIN" fenced set balance 100
    while [ ! -e $FOLDER/go-a ]; do sleep 0.05; done
    "$BIN" fenced set balance 150; echo $? > $FOLDER/late; "$BIN" fenced get balance; echo $? >> $FOLDER/late"#;

/// Reads; waits for `go-b`; writes.
const NEXT: &str = r#""$BIN" fenced get balance > $FOLDER/read-b; echo $QUORATE_LOCK_TOKEN > $FOLDER/token-b
    while [ ! -e $FOLDER/go-b ]; do sleep 0.05; done
    "$BIN" fenced set balance 130"#;

#[test]
fn h2_e5_a_frozen_holder_loses_the_lock_and_its_late_write_is_refused() {
    let nodes = ready_cluster(3, &[]);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let options = ["--ttl", "3", "--on-lost", "warn"];
    let mut holder = Running::start(lock(&nodes, folder, &options, HOLDER), folder, "a");
    let token: u64 = told(folder, "token-a").parse().unwrap();
    let group: i32 = told(folder, "group-a").parse().unwrap();
    let mut next = Running::start(lock(&nodes, folder, &["--ttl", "30"], NEXT), folder, "b");
    std::thread::sleep(Duration::from_secs(4));
    assert!(!folder.join("token-b").exists(), "the lock is renewed");
    signal(holder.child.id().cast_signed(), "STOP");
    signal(-group, "STOP");
    let next_token: u64 = told(folder, "token-b").parse().unwrap();
    assert!(next_token > token);
    assert_eq!(told(folder, "read-b"), "100");
    // The first one goes on before the second one has written anything.
    tell(folder, "go-a");
    signal(-group, "CONT");
    signal(holder.child.id().cast_signed(), "CONT");
    assert_eq!(holder.ended(), Some(76));
    assert_eq!(told(folder, "late"), "77\n77", "both were refused");
    let words = holder.words();
    // It may notice first that its time is over, or that another holder is there.
    assert!(
        words.contains(&format!("lock `job` with token {token} is lost: "))
            && words.contains("; the command goes on without it"),
        "{words}"
    );
    tell(folder, "go-b");
    assert_eq!(next.ended(), Some(0), "{}", next.words());
    let script = r#""$BIN" fenced get balance"#;
    let output = lock(&nodes, folder, &[], script).finish().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "130\n");
}

#[test]
fn a_command_whose_lock_is_lost_is_ended_with_all_that_it_has_started() {
    let nodes = ready_cluster(3, &[]);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let script = r#"sh -c 'echo $$ > $FOLDER/inner; trap "" TERM; while :; do sleep 1; done' &
        echo $$ > $FOLDER/outer; wait"#;
    let mut holder = Running::start(lock(&nodes, folder, &["--ttl", "3"], script), folder, "a");
    let inner = told(folder, "inner");
    let outer = told(folder, "outer");
    signal(holder.child.id().cast_signed(), "STOP");
    let other = lock(&nodes, folder, &["--wait", "30"], "exit 5")
        .finish()
        .unwrap();
    assert_eq!(other.status.code(), Some(5));
    signal(holder.child.id().cast_signed(), "CONT");
    assert_eq!(holder.ended(), Some(76));
    let words = holder.words();
    assert!(words.contains("the command is ended"), "{words}");
    for process in [inner, outer] {
        wait_for("the command's processes to end", || {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"));
            let is_gone = stat.map_or(true, |stat| stat.contains(") Z "));
            is_gone.then_some(())
        });
    }
}

#[test]
fn when_its_replica_is_killed_the_holder_keeps_the_lock_through_another_one() {
    keeps_the_lock_after("KILL");
}

#[test]
fn when_its_replica_is_frozen_the_holder_keeps_the_lock_through_another_one() {
    keeps_the_lock_after("STOP");
}

#[test]
fn when_its_replica_is_stopped_the_holder_keeps_the_lock_through_another_one() {
    keeps_the_lock_after("TERM");
}

/// The replica that serves the holder gets this signal.
fn keeps_the_lock_after(name: &str) {
    let nodes = ready_cluster(3, &["--lock-takeover-ms", "20000"]);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let script = r#"echo $QUORATE_LOCK_TOKEN > $FOLDER/token
        while [ ! -e $FOLDER/go ]; do sleep 0.05; done
        "$BIN" fenced set k v && exit 3"#;
    let mut holder = Running::start(lock(&nodes, folder, &["--ttl", "6"], script), folder, "a");
    let token = told(folder, "token");
    nodes[0].signal(name);
    let served_by = |process: u64| {
        wait_for("another replica to serve the lock", || {
            let mut client = Client::new(nodes[2].client);
            if client.ask("LOCK.HOLDER job") != "*4" {
                return None;
            }
            let holder: Vec<String> = (0..5).map(|_| client.line()).collect();
            assert_eq!(holder[0], format!(":{token}"));
            (holder[3] == format!(":{process}")).then_some(())
        });
    };
    served_by(2);
    tell(folder, "go");
    assert_eq!(holder.ended(), Some(3), "{}", holder.words());
    // The end of the command has given the lock back.
    assert_eq!(Client::new(nodes[2].client).ask("LOCK.HOLDER job"), "$-1");
}

#[test]
fn a_frozen_holder_whose_command_ends_meanwhile_says_that_the_lock_was_lost() {
    let nodes = ready_cluster(3, &[]);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let script = "echo $QUORATE_LOCK_TOKEN > $FOLDER/token
        while [ ! -e $FOLDER/go ]; do sleep 0.05; done
        echo done > $FOLDER/done";
    let mut holder = Running::start(lock(&nodes, folder, &["--ttl", "1"], script), folder, "a");
    told(folder, "token");
    let alone = holder.child.id().cast_signed();
    signal(alone, "STOP");
    let next = "echo $QUORATE_LOCK_TOKEN > $FOLDER/next";
    let next = lock(&nodes, folder, &[], next).finish().unwrap();
    assert_eq!(next.status.code(), Some(0));
    tell(folder, "go");
    told(folder, "done");
    signal(alone, "CONT");
    assert_eq!(holder.ended(), Some(76));
    let words = holder.words();
    assert!(words.contains("lost"), "{words}");
}

#[test]
fn exit_statuses_and_signals_are_passed_on() {
    let nodes = ready_cluster(1, &[]);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let run = |options: &[&str], script: &str| {
        let output = lock(&nodes, folder, options, script).finish().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), words)
    };
    assert_eq!(run(&[], "exit 7"), (Some(7), String::new()));
    assert_eq!(run(&[], "kill -KILL $$").0, Some(137));
    let mut missing = quorate();
    let missing = missing
        .args([
            "lock",
            "job",
            "--addr",
            &addresses(&nodes, 0),
            "--",
            "/nothing/there",
        ])
        .finish()
        .unwrap();
    assert_eq!(missing.status.code(), Some(127));

    let script = r"trap 'exit 9' TERM; echo ready > $FOLDER/ready; while :; do sleep 0.05; done";
    let mut holder = Running::start(lock(&nodes, folder, &[], script), folder, "a");
    told(folder, "ready");
    let (code, words) = run(&["--wait", "0.3"], "exit 0");
    assert_eq!(code, Some(75), "{words}");
    assert!(
        words.contains("not acquired: it is held by another"),
        "{words}"
    );
    signal(holder.child.id().cast_signed(), "TERM");
    assert_eq!(holder.ended(), Some(9));
    // The lock is free at once.
    assert_eq!(run(&["--wait", "0.1"], "exit 4").0, Some(4));
    // Nobody answers there.
    let mut nobody = quorate();
    let nobody = nobody
        .args([
            "lock",
            "job",
            "--addr",
            "127.0.0.1:1",
            "--wait",
            "0.5",
            "--",
            "true",
        ])
        .finish()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(75));
    assert_eq!(nobody.status.signal(), None);
}
