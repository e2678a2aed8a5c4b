//! Unmodified clients of Redis, and a Redis to compare with, if they are installed; and how a replica
//! withstands bad clients.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Apart, Node, TIMEOUT, free_addresses, ready_cluster, run, wait_for};
use redis::{Commands, ExistenceCheck, SetOptions};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

/// Whether a program is installed; prints a line if it is not.
fn is_there(program: &str, arguments: &[&str], package: &str) -> bool {
    let output = Command::new(program).args(arguments).finish();
    let there = output.is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: there is no {program} that can do {arguments:?} ({package})");
    }
    there
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Reads until the server closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset also means that the server has closed the connection.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends these lines one after the other; returns all that the server answers until it closes the connection.
fn conversation(server: SocketAddr, lines: &[&str]) -> String {
    let mut stream = connect(server);
    let text = lines.join("\r\n") + "\r\n";
    stream.write_all(text.as_bytes()).unwrap();
    rest(stream)
}

#[test]
fn redis_py_speaks_both_versions() {
    if !is_there("python3", &["-c", "import redis"], "pip install redis") {
        return;
    }
    let nodes = ready_cluster(3, &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/redis_py.py");
    let output = Command::new("python3")
        .args([script, &nodes[1].client.port().to_string()])
        .finish()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}

#[test]
fn redis_cli_speaks_both_versions() {
    if !is_there("redis-cli", &["--version"], "apt-get install redis-tools") {
        return;
    }
    let nodes = ready_cluster(3, &[]);
    let port = nodes[2].client.port().to_string();
    for version in ["-2", "-3"] {
        let cli = |arguments: &[&str]| {
            let output = Command::new("redis-cli")
                .args(["-p", &port, version])
                .args(arguments)
                .finish()
                .unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && words.is_empty(), "{words}");
            String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned()
        };
        assert_eq!(cli(&["flushall"]), "OK");
        assert_eq!(cli(&["get", "k"]), "");
        assert_eq!(cli(&["--no-raw", "get", "k"]), "(nil)");
        assert_eq!(cli(&["set", "k", "a b", "NX"]), "OK");
        assert_eq!(cli(&["set", "k", "c", "XX", "GET"]), "a b");
        assert_eq!(cli(&["mget", "k", "x"]), "c");
        assert_eq!(cli(&["incrby", "n", "-5"]), "-5");
        assert!(cli(&["incrby", "n", "+5"]).starts_with("ERR value is not an integer"));
        assert!(cli(&["hello"]).contains("quorate"));
        assert!(cli(&["info"]).starts_with("# Quorate"));
        assert!(cli(&["client", "list"]).contains(" resp="));
        assert_eq!(
            cli(&[
                "--user",
                "default",
                "--pass",
                "any",
                "--no-auth-warning",
                "ping"
            ]),
            "PONG"
        );
        let names = cli(&["command", "list"]);
        let count = cli(&["command", "count"]);
        assert_eq!(names.lines().count().to_string(), count);
    }
}

#[test]
fn redis_rs_speaks_both_versions() {
    let nodes = ready_cluster(3, &[]);
    let client = nodes[0].client;
    for url in [
        format!("redis://{client}/?protocol=resp2"),
        format!("redis://{client}/?protocol=resp3"),
        format!("redis://default:any@{client}/?protocol=resp2"),
        format!("redis://default:any@{client}/?protocol=resp3"),
    ] {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let connection = &mut connection;
        let no: Option<String> = None;
        redis::cmd("FLUSHALL").exec(connection).unwrap();
        assert_eq!(connection.get("k"), Ok(no.clone()));
        assert_eq!(connection.set("k", "v"), Ok(()));
        let only_if_absent = SetOptions::default().conditional_set(ExistenceCheck::NX);
        assert_eq!(connection.set_options("k", "w", only_if_absent), Ok(no));
        assert_eq!(
            connection.mget(&["k", "x"]),
            Ok(vec![Some("v".to_owned()), None])
        );
        assert_eq!(connection.incr("n", -5), Ok(-5));
        assert_eq!(connection.mset_nx(&[("a", 1), ("b", 2)]), Ok(true));
        assert_eq!(connection.del(&["a", "b", "c"]), Ok(2));
        let settings = redis::cmd("CONFIG")
            .arg("GET")
            .arg("save")
            .query(connection);
        assert_eq!(
            settings,
            Ok(BTreeMap::from([("save".to_owned(), String::new())]))
        );
        let mut pipe = redis::pipe();
        pipe.set("p", 1).ignore().incr("p", 1).get("p");
        assert_eq!(pipe.query(connection), Ok((2, "2".to_owned())));
        let refused: redis::RedisResult<i64> =
            redis::cmd("INCRBY").arg("n").arg("+5").query(connection);
        assert!(refused.unwrap_err().to_string().contains("not an integer"));
    }
}

/// A Redis server, which is stopped when this is dropped.
struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    fn start() -> Self {
        let address = free_addresses(1)[0];
        let child = Command::new("redis-server")
            .args(["--port", &address.port().to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .begin()
            .unwrap();
        let redis = Redis { child, address };
        wait_for("Redis", || TcpStream::connect(redis.address).ok());
        redis
    }
}

/// Requests that a replica answers byte for byte as Redis 7 does, in each version of the protocol.
const SAME: &[&str] = &[
    "FLUSHALL",
    "GET k",
    "SET k v NX",
    "SET k w NX",
    "SET k w NX GET",
    "SET k w XX GET",
    "SET k x GET",
    "SET new y GET",
    "SET none y XX",
    "SET none y XX GET",
    "SET k v NX XX",
    "SET k v XX NX",
    "SET k v NX NX",
    "SET k v what",
    "SET k",
    "SETNX k z",
    "SETNX s z",
    "GETSET k z",
    "GETSET g z",
    "GETDEL g",
    "GETDEL g",
    "MSETNX a 1 k 2",
    "MSETNX a 1 b 2",
    "MSETNX a 1 b",
    "MSET a 1 b",
    "MGET a b c",
    "APPEND a 1",
    "STRLEN a",
    "STRLEN nothing",
    "EXISTS a a b c",
    "DEL a b c",
    "INCR n",
    "INCRBY n +5",
    "INCRBY n 007",
    "INCRBY n -0",
    "INCRBY n \"\"",
    "INCRBY n 9223372036854775808",
    "INCRBY n -5",
    "INCRBY n 9223372036854775807",
    "INCRBY n 9223372036854775807",
    "DECRBY n -9223372036854775808",
    "DECRBY n 3",
    "SET i 007",
    "INCR i",
    "SET i +5",
    "INCR i",
    "SET i -0",
    "DECR i",
    "SET i \" 1\"",
    "INCR i",
    "SET quoted \"a\\x00\\n\\\"b\"",
    "GET quoted",
    "SET quoted 'it\\'s \\n'",
    "GET quoted",
    "DBSIZE",
    "PING",
    "PING 'a b'",
    "PING a b",
    "ECHO word",
    "ECHO",
    "SELECT 0",
    "SELECT 99",
    "SELECT 00",
    "AUTH x",
    "AUTH default x",
    "AUTH bob x",
    "AUTH a b c",
    "ACL WHOAMI",
    "ACL WHOAMI x",
    "ACL WHAT",
    "ACL",
    "HELLO 4",
    "HELLO 03",
    "HELLO x",
    "HELLO 2 SETNAME",
    "HELLO 2 AUTH default",
    "HELLO 2 AUTH bob x",
    "HELLO 2 WHAT",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT GETNAME",
    "CLIENT SETNAME 'a b'",
    "CLIENT SETNAME",
    "CLIENT SETNAME \"\"",
    "CLIENT GETNAME",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT WHAT",
    "CLIENT WHAT",
    "CLIENT",
    "COMMAND COUNT x",
    "COMMAND INFO nosuch",
    "COMMAND WHAT",
    "CONFIG GET save",
    "CONFIG GET appendonly",
    "CONFIG GET nosuch",
    "CONFIG GET",
    "FLUSHALL SYNC",
    "FLUSHDB WHAT",
    "RESET",
    "GET k",
];

#[test]
fn a_replica_answers_as_redis_does() {
    if !is_there(
        "redis-server",
        &["--version"],
        "apt-get install redis-server",
    ) {
        return;
    }
    let redis = Redis::start();
    let nodes = ready_cluster(1, &[]);
    for last in [
        "QUIT now",
        "SET k \"v",
        "SET k 'v'x",
        "*1\r\n$-5",
        "*99999999999\r\n",
        "*x\r\n",
        "*1\r\n:1\r\n",
    ] {
        let own = conversation(nodes[0].client, &["PING", last]);
        assert_eq!(own, conversation(redis.address, &["PING", last]), "{last}");
    }
    for version in ["HELLO 2", "HELLO 3"] {
        // The requests are sent one at a time, so that a difference names its request.
        let mut servers = [nodes[0].client, redis.address].map(|server| {
            let mut reader = BufReader::new(connect(server));
            // The comparison begins after the greeting, which differs in names and numbers.
            let request = format!("{version}\r\nECHO ready\r\n");
            reader.get_mut().write_all(request.as_bytes()).unwrap();
            up_to(&mut reader, "ready\r\n");
            reader
        });
        for request in SAME {
            let [own, theirs] = servers.each_mut().map(|reader| {
                let text = format!("{request}\r\nECHO a-word-that-ends-it\r\n");
                reader.get_mut().write_all(text.as_bytes()).unwrap();
                up_to(reader, "a-word-that-ends-it\r\n")
            });
            assert_eq!(own, theirs, "{version}, {request}");
        }
    }
}

/// Reads up to and including `end`.
fn up_to(reader: &mut impl BufRead, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let length = reader.read_until(b'\n', &mut text).unwrap();
        assert!(
            length > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&text)
        );
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn what_is_too_much_ends_with_an_error_in_words() {
    let nodes = ready_cluster(1, &[]);
    let mut many = b"*65537\r\n".to_vec();
    many.extend(b"$1\r\nx\r\n".repeat(65_537));
    let length = 9 * 1024 * 1024;
    let mut long = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n").into_bytes();
    long.resize(long.len() + length, b'x');
    for (request, words) in [
        (many, "-ERR Protocol error: invalid multibulk length\r\n"),
        (long, "-ERR Protocol error: invalid bulk length\r\n"),
    ] {
        let mut stream = connect(nodes[0].client);
        // The server reads all of it, although its beginning was enough to refuse it.
        stream.write_all(&request).unwrap();
        assert_eq!(rest(stream), words);
    }
}

#[test]
fn who_comes_when_there_are_enough_is_told_so() {
    let nodes = ready_cluster(1, &["--connections", "2"]);
    let mut clients: Vec<TcpStream> = (0..2).map(|_| connect(nodes[0].client)).collect();
    for client in &mut clients {
        client.write_all(b"PING\r\n").unwrap();
        client.read_exact(&mut [0; 7]).unwrap();
    }
    for _ in 0..50 {
        let mut refused = connect(nodes[0].client);
        let _ = refused.write_all(b"PING\r\n");
        assert_eq!(rest(refused), "-ERR max number of clients reached\r\n");
    }
    drop(clients);
    wait_for("a place for another", || {
        (nodes[0].ask("PING") == "+PONG").then_some(())
    });
}

#[test]
fn an_idle_client_is_given_up_where_the_settings_say_so() {
    let nodes = ready_cluster(1, &["--client-idle-ms", "300"]);
    let mut client = connect(nodes[0].client);
    client.write_all(b"PING\r\n").unwrap();
    assert_eq!(rest(client), "+PONG\r\n");
}

/// Peers have descriptors of their own: they connect to a replica that is flooded by clients as before.
#[test]
fn a_flood_of_clients_leaves_descriptors_to_peers() {
    let mut nodes = common::cluster_under("ulimit -n 120", 3, &["--transport", "tcp"]);
    let mut flood = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        let mut client = connect(nodes[0].client);
        client.write_all(b"PING\r\n").unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(client);
        // If many are refused, some get no reply at all.
        let _ = reader.read_line(&mut line);
        if line == "+PONG\r\n" {
            flood.push(reader);
        } else {
            refused += 1;
        }
    }
    let words = "descriptors, of which";
    assert!(nodes[0].log().contains(words), "{}", nodes[0].log());
    assert!(!flood.is_empty() && refused > 200, "{refused} were refused");
    nodes[2].kill();
    nodes[2].start_again();
    wait_for("the peer to have come back", || {
        nodes[2].is_ready().then_some(())
    });
    assert!(nodes[0].is_ready(), "and HTTP is served");
    assert!(
        !nodes[0].log().contains("cannot accept"),
        "{}",
        nodes[0].log()
    );
}

/// More HTTP connections than are served at a time, which say nothing, do not use up the process.
#[test]
fn http_connections_are_limited() {
    let nodes = ready_cluster(1, &[]);
    let before = descriptors(&nodes[0]);
    let silent: Vec<TcpStream> = (0..100).map(|_| connect(nodes[0].admin)).collect();
    assert_eq!(nodes[0].ask("PING"), "+PONG");
    let during = descriptors(&nodes[0]);
    assert!(during <= before + 40, "{before} before, {during} during");
    drop(silent);
    wait_for("HTTP to be served again", || {
        nodes[0].is_ready().then_some(())
    });
}

fn descriptors(node: &Node) -> usize {
    let path = format!("/proc/{}/fd", node.id());
    std::fs::read_dir(path).unwrap().count()
}

#[test]
fn options_of_a_group_work_after_the_subcommand() {
    let nodes = ready_cluster(3, &["--faults"]);
    let admin = nodes[0].admin.to_string();
    for arguments in [
        ["faults", "cut", "2", "--admin", &admin],
        ["faults", "--admin", &admin, "cut", "3"],
    ] {
        let output = run(&arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
    }
    assert!(run(&["faults", "heal", "--admin", &admin]).status.success());
}
