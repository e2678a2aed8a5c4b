//! The doors for clients and operators: users, tokens, TLS, and what stands open.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Apart, Node, TIMEOUT, free_addresses, run, wait_for};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Passwords and tokens that must show nowhere.
const ALICE: &str = "alice-has-this-password";
const BOB: &str = "bob-has-another-password";
const MONITOR: &str = "monitors-may-only-look";
const TOKEN: &str = "token-of-the-operators";

/// A folder with a configuration and secrets, and the one replica that uses them.
struct House {
    folder: TempDir,
    addresses: Vec<SocketAddr>,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses = free_addresses(3);
        let house = House { folder, addresses };
        house.secret("alice.password", ALICE);
        house.secret("bob.password", BOB);
        house.secret("monitor.password", MONITOR);
        house.secret("tokens", TOKEN);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file that only its owner can read.
    fn secret(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::write(&path, format!("{content}\n")).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration.
    fn configure(&self, text: &str) {
        let head = format!("id = 1\npeers = ['{}']\n", self.addresses[0]);
        fs::write(self.path("node.toml"), head + text).unwrap();
    }

    /// Starts the replica, without waiting for it.
    fn start(&self) -> Node {
        self.start_at(self.addresses[1], self.addresses[2])
    }

    fn start_at(&self, client: SocketAddr, admin: SocketAddr) -> Node {
        let arguments = vec!["--config".to_owned(), self.text("node.toml")];
        Node::start(arguments, client, admin)
    }

    /// Starts the replica, and waits until it serves: `/readyz` needs no token.
    fn serve(&self, text: &str) -> Node {
        self.configure(text);
        let node = self.start();
        wait_for("the replica", || node.is_ready().then_some(()));
        node
    }

    /// Makes a certificate in the folder `tls`.
    fn certificate(&self, arguments: &[&str]) {
        let folder = self.text("tls");
        let output = run(&[&["keys", "certificate", "--out", &folder], arguments].concat());
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
    }

    /// Trusts what the authority of the folder `tls` has signed, and shows this certificate.
    fn trusting(&self, own: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.path("tls/ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let file = |ending| self.path(&format!("tls/{name}.{ending}"));
                let certificate = CertificateDer::from_pem_file(file("pem")).unwrap();
                let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
        };
        Arc::new(config)
    }
}

/// Three users, and a token.
const USERS: &str = "admin_token_file = 'tokens'\n\
    users.alice = { rights = ['read', 'write'], password_file = 'alice.password' }\n\
    users.bob = { rights = ['read', 'write', 'admin'], password_file = 'bob.password' }\n\
    users.default = { rights = 'read', password_file = 'monitor.password' }\n";

const CLIENT_TLS: &str =
    "client_tls = { certificate = 'tls/localhost.pem', key = 'tls/localhost.key' }\n";
const ADMIN_TLS: &str =
    "admin_tls = { certificate = 'tls/localhost.pem', key = 'tls/localhost.key' }\n";

/// A connection on which lines are sent, and replies of one line are read.
struct Talk<S>(BufReader<S>);

fn plain(server: SocketAddr) -> TcpStream {
    let stream = wait_for("a connection", || TcpStream::connect(server).ok());
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

fn talk(server: SocketAddr) -> Talk<TcpStream> {
    Talk(BufReader::new(plain(server)))
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Makes the handshake.
fn secured(server: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Secured> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut stream = plain(server);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

impl<S: Read + Write> Talk<S> {
    /// Sends a request, and returns its reply; an empty one if the connection has ended.
    fn ask(&mut self, request: &str) -> String {
        // The server may have closed the connection.
        let _ = self
            .0
            .get_mut()
            .write_all(format!("{request}\r\n").as_bytes());
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        if line.starts_with('$') && line.trim() != "$-1" {
            line.clear();
            let _ = self.0.read_line(&mut line);
        }
        line.trim_end().to_owned()
    }

    /// Waits until the server closes the connection; returns what it has said before.
    fn end(mut self) -> String {
        let mut rest = Vec::new();
        // A reset also means that the server has closed the connection.
        if let Err(error) = self.0.read_to_end(&mut rest) {
            let waited = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
            assert!(!waited.contains(&error.kind()), "the connection goes on");
        }
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Sends a request of HTTP with these lines in its head; returns the head and the body of the answer.
fn request(mut stream: impl Read + Write, head: &str, body: &str) -> (String, String) {
    let length = body.len();
    let text = format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server that does not read the body resets the connection.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

fn http(server: SocketAddr, line: &str, token: Option<&str>) -> (String, String) {
    let token = token.map_or(String::new(), |it| {
        format!("\r\nAuthorization: Bearer {it}")
    });
    request(
        plain(server),
        &format!("{line} HTTP/1.1\r\nHost: x{token}"),
        "",
    )
}

fn code(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|it| it.parse().ok())
        .unwrap_or(0)
}

fn status(node: &Node) -> serde_json::Value {
    let (_, body) = http(node.admin, "GET /status", Some(TOKEN));
    serde_json::from_str(&body).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// Whether a program is installed; prints a line if it is not.
fn is_there(program: &str, arguments: &[&str], package: &str) -> bool {
    let output = Command::new(program).args(arguments).finish();
    let there = output.is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: there is no {program} that can do {arguments:?} ({package})");
    }
    there
}

#[test]
fn users_come_in_by_their_passwords_and_do_what_they_may() {
    let house = House::new();
    let node = house.serve(&(USERS.to_owned() + "log = 'trace'\n"));
    let mut client = talk(node.client);
    assert_eq!(client.ask("GET k"), "-NOAUTH Authentication required.");
    assert_eq!(client.ask("NOSUCH"), "-ERR unknown command 'NOSUCH'");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    let hostile = format!("AUTH \"no\\x1b[31m-\\nbody\" {ALICE}");
    assert_eq!(client.ask(&hostile), wrong);
    assert_eq!(client.ask(&format!("AUTH alice {BOB}")), wrong);
    assert_eq!(client.ask(&format!("AUTH alice {ALICE}")), "+OK");
    assert_eq!(client.ask("ACL WHOAMI"), "alice");
    assert_eq!(client.ask("SET k v"), "+OK");
    assert!(client.ask("LOCK.ACQUIRE l me").starts_with(':'));
    let refused = "-NOPERM this user has no permissions to run the 'flushall' command";
    assert_eq!(client.ask("FLUSHALL"), refused);
    // The password alone is that of `default`.
    assert_eq!(client.ask(&format!("AUTH {MONITOR}")), "+OK");
    assert_eq!(client.ask("GET k"), "v");
    let refused = "-NOPERM this user has no permissions to run the 'set' command";
    assert_eq!(client.ask("SET k w"), refused);
    assert_eq!(
        client.ask("LOCK.RELEASE l 1").split(' ').next(),
        Some("-NOPERM")
    );
    assert_eq!(client.ask(&format!("AUTH bob {BOB}")), "+OK");
    assert_eq!(client.ask("FLUSHALL"), "+OK");

    // Neither the log at its loudest nor anything else shows a password, and a name is shown harmlessly.
    let (_, shown) = http(node.admin, "GET /status", Some(TOKEN));
    let (_, metrics) = http(node.admin, "GET /metrics", Some(TOKEN));
    assert!(
        metrics.contains("quorate_refused_passwords_total 2"),
        "{metrics}"
    );
    assert_eq!(status(&node)["refused_passwords"], 2);
    let log = node.log();
    assert!(log.contains(r"the user is `no\u{1b}[31m-\nbody`"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains("-\nbody"), "{log}");
    for secret in [ALICE, BOB, MONITOR, TOKEN] {
        for text in [&log, &shown, &metrics] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// What somebody is told without a password, with a wrong one, and for what he may not do: as Redis 7 has it.
#[test]
fn refusals_are_those_of_redis() {
    if !is_there(
        "redis-server",
        &["--version"],
        "apt-get install redis-server",
    ) {
        return;
    }
    let house = House::new();
    let node = house.serve(USERS);
    let address = free_addresses(1)[0];
    let port = address.port();
    let settings = format!(
        "port {port}\nbind 127.0.0.1\nsave \"\"\nuser default off\n\
         user alice on >{ALICE} ~* +@all -flushall\n"
    );
    fs::write(house.path("redis.conf"), settings).unwrap();
    let mut redis = Command::new("redis-server")
        .arg(house.path("redis.conf"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .begin()
        .unwrap();
    let compared = std::panic::catch_unwind(|| {
        let hello = format!("HELLO 2 AUTH alice {ALICE}");
        let auth = format!("AUTH alice {ALICE}");
        for conversation in [
            &[
                "GET k",
                "GET",
                "PING",
                "HELLO 3",
                "HELLO 4",
                "CLIENT ID",
                "AUTH a b c",
                "QUIT",
            ][..],
            &[
                "AUTH alice wrong",
                "AUTH nobody wrong",
                "AUTH wrong",
                "GET k",
                "HELLO 3 AUTH alice wrong",
            ],
            &[
                &auth,
                "ACL WHOAMI",
                "FLUSHALL",
                "SET k v",
                "AUTH alice wrong",
                "ACL WHOAMI",
                "GET k",
                "RESET",
                "GET k",
            ],
            &[&hello],
            &["*11"],
            &["*2\r\n$4\r\nAUTH\r\n$16385"],
            &["*-1\r\n*10\r\n$0\r\n\r\n$x"],
        ] {
            let [mut own, mut theirs] = [node.client, address].map(talk);
            for request in conversation {
                let (own, theirs) = (own.ask(request), theirs.ask(request));
                // The greeting differs in names and numbers.
                if request.starts_with("HELLO 2") {
                    assert!(
                        own.starts_with('*') && theirs.starts_with('*'),
                        "{own} {theirs}"
                    );
                } else {
                    assert_eq!(own, theirs, "{request}");
                }
            }
        }
    });
    let _ = redis.kill();
    let _ = redis.wait();
    if let Err(failed) = compared {
        std::panic::resume_unwind(failed);
    }
}

#[test]
fn wrong_passwords_in_a_loop_are_slow_and_others_are_not() {
    let house = House::new();
    let node = house.serve(USERS);
    let begin = Instant::now();
    let guess = |name: usize| {
        let client = node.client;
        std::thread::spawn(move || {
            let mut talk = talk(client);
            let mut tried = 0;
            while begin.elapsed() < Duration::from_secs(3) {
                assert!(
                    talk.ask(&format!("AUTH alice {name}-{tried}"))
                        .starts_with("-WRONGPASS")
                );
                tried += 1;
            }
            tried
        })
    };
    let guessing: Vec<_> = (0..8).map(guess).collect();
    while begin.elapsed() < Duration::from_secs(3) {
        let begin = Instant::now();
        let mut alice = talk(node.client);
        assert_eq!(alice.ask(&format!("AUTH alice {ALICE}")), "+OK");
        assert_eq!(alice.ask("PING"), "+PONG");
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
    }
    let tried: u32 = guessing.into_iter().map(|it| it.join().unwrap()).sum();
    // A quarter of a second, a half, one, two: the fourth ends behind the three seconds.
    assert!((8..=32).contains(&tried), "{tried} guesses");
    assert_eq!(status(&node)["refused_passwords"], tried);
    let lines = node
        .log()
        .lines()
        .filter(|it| it.contains("wrong user or password"))
        .count();
    assert!((1..=6).contains(&lines), "{lines} lines");
}

#[test]
fn a_reload_takes_up_all_or_nothing() {
    let house = House::new();
    let node = house.serve(USERS);
    let enter = |name: &str, password: &str| {
        let mut client = talk(node.client);
        assert_eq!(client.ask(&format!("AUTH {name} {password}")), "+OK");
        client
    };
    let (mut alice, bob, mut monitor) = (
        enter("alice", ALICE),
        enter("bob", BOB),
        enter("default", MONITOR),
    );
    let reload = |token| http(node.admin, "POST /reload", Some(token));

    // The password of alice is being replaced; bob is gone; the monitor may write.
    house.secret("alice.password", &format!("{ALICE}\nthe-next-password"));
    house.secret("tokens", "the-next-token-of-operators");
    house.configure(
        "admin_token_file = 'tokens'\n\
         users.alice = { rights = ['read'], password_file = 'alice.password' }\n\
         users.default = { rights = ['read', 'write'], password_file = 'monitor.password' }\n",
    );
    assert_eq!(alice.ask("SET k v"), "+OK");
    let (head, body) = reload(TOKEN);
    assert_eq!(code(&head), 200, "{body}");
    assert!(
        body.contains("users") && body.contains(r#""needs_restart":false"#),
        "{body}"
    );
    assert_eq!(bob.end(), "", "his session has ended");
    assert!(alice.ask("SET k w").starts_with("-NOPERM"));
    assert_eq!(monitor.ask("SET k x"), "+OK");
    assert_eq!(alice.ask("GET k"), "x");
    let mut next = enter("alice", "the-next-password");
    assert_eq!(code(&reload(TOKEN).0), 401, "the token was replaced");

    // Only the next password is left: who came in by the old one goes. This time by a signal.
    house.secret("alice.password", "the-next-password");
    node.signal("HUP");
    assert_eq!(alice.end(), "");
    assert_eq!(next.ask("GET k"), "x");

    // What is wrong changes nothing, and is said.
    let broken = [
        ("users = { }\nnonsense = 1\n", "nonsense"),
        (
            "users.alice = { rights = 'all', password_file = 'alice.password' }\n",
            "`rights` are some of",
        ),
        (
            "users.alice = { rights = 'read', password_file = 'nowhere' }\n",
            "nowhere",
        ),
        ("admin_token_file = 'nowhere'\n", "nowhere"),
        (
            "client_tls = { certificate = 'c', key = 'k' }\n",
            "[client_tls]",
        ),
    ];
    for (text, words) in broken {
        house.configure(text);
        let (head, body) = reload("the-next-token-of-operators");
        assert_eq!(code(&head), 422, "{body}");
        assert!(body.contains(words), "{body}");
        assert_eq!(next.ask("GET k"), "x", "she is still here");
        assert_eq!(
            talk(node.client).ask("GET k").split(' ').next(),
            Some("-NOAUTH")
        );
    }
    assert!(
        node.log().contains("nothing was read anew"),
        "{}",
        node.log()
    );
    house.configure("admin_token_file = 'tokens'\nwindow = 7\n");
    let (_, body) = reload("the-next-token-of-operators");
    assert!(body.contains(r#""needs_restart":true"#), "{body}");
    assert_eq!(
        talk(node.client).ask("GET k"),
        "x",
        "nobody is asked any more"
    );
    assert_eq!(next.end(), "");
}

#[test]
fn a_reload_ends_the_wait_for_a_lock_of_who_is_removed() {
    let house = House::new();
    let node = house.serve(USERS);
    let mut bob = talk(node.client);
    assert_eq!(bob.ask(&format!("AUTH bob {BOB}")), "+OK");
    assert!(bob.ask("LOCK.ACQUIRE l bob").starts_with(':'));
    let mut alice = talk(node.client);
    assert_eq!(alice.ask(&format!("AUTH alice {ALICE}")), "+OK");
    alice
        .0
        .get_mut()
        .write_all(b"LOCK.ACQUIRE l alice WAIT 0\r\n")
        .unwrap();
    wait_for("her to wait", || {
        bob.ask("LOCK.HOLDER l").starts_with("*4").then_some(())
    });
    house.configure(
        "admin_token_file = 'tokens'\nusers.bob = { rights = ['read'], password_file = 'bob.password' }\n",
    );
    assert_eq!(code(&http(node.admin, "POST /reload", Some(TOKEN)).0), 200);
    let said = alice.end();
    assert!(said.is_empty() || said == "$-1\r\n", "{said}");
}

#[test]
fn the_port_speaks_tls_and_certificates_are_replaced() {
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    let node = house.serve(&(USERS.to_owned() + CLIENT_TLS));
    let trusting = house.trusting(None);
    let mut alice = Talk(BufReader::new(
        secured(node.client, trusting.clone()).unwrap(),
    ));
    assert!(alice.ask("PING").starts_with("-NOAUTH"));
    assert_eq!(alice.ask(&format!("AUTH alice {ALICE}")), "+OK");
    let value = "x".repeat(1_000_000);
    assert_eq!(
        alice.ask(&format!(
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n{value}"
        )),
        "+OK"
    );
    assert_eq!(alice.ask("GET k"), value);

    // Who does not speak TLS is told so, at once.
    let begin = Instant::now();
    let mut other = talk(node.client);
    assert_eq!(other.ask("PING"), "-ERR this port speaks TLS only");
    assert_eq!(other.end(), "");
    assert!(begin.elapsed() < Duration::from_secs(3));

    // The same authority signs another certificate.
    let certificate = |stream: &Secured| {
        let chain = stream.conn.peer_certificates().unwrap();
        chain[0].to_vec()
    };
    let first = certificate(alice.0.get_ref());
    for file in ["localhost.pem", "localhost.key"] {
        fs::rename(
            house.path("tls").join(file),
            house.path("tls").join(format!("old.{file}")),
        )
        .unwrap();
    }
    let (head, body) = http(node.admin, "POST /reload", Some(TOKEN));
    assert_eq!(code(&head), 422, "{body}");
    let same = secured(node.client, trusting.clone()).unwrap();
    assert_eq!(certificate(&same), first, "all stays as it was");
    house.certificate(&["--name", "localhost"]);
    assert_eq!(code(&http(node.admin, "POST /reload", Some(TOKEN)).0), 200);
    let next = secured(node.client, trusting).unwrap();
    assert_ne!(certificate(&next), first);
    assert_eq!(alice.ask("PING"), "+PONG", "open sessions go on");

    // A key that others can read is refused, and so is one of another certificate.
    let key = house.path("tls/localhost.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (head, body) = http(node.admin, "POST /reload", Some(TOKEN));
    assert!(code(&head) == 422 && body.contains("chmod 600"), "{body}");
    fs::copy(house.path("tls/old.localhost.key"), &key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let (head, body) = http(node.admin, "POST /reload", Some(TOKEN));
    assert!(
        code(&head) == 422 && body.contains("localhost.key"),
        "{body}"
    );
}

#[test]
fn certificates_of_clients_are_asked_for() {
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    house.certificate(&["--name", "operator", "--client"]);
    let tls = |table: &str| {
        format!(
            "{table} = {{ certificate = 'tls/localhost.pem', key = 'tls/localhost.key', \
             client_ca = 'tls/ca.pem' }}\n"
        )
    };
    house.configure(&(tls("client_tls") + &tls("admin_tls")));
    let node = house.start();
    let with = house.trusting(Some("operator"));
    let get = |config: &Arc<ClientConfig>, path: &str| {
        let stream = secured(node.admin, config.clone()).unwrap();
        request(stream, &format!("GET {path} HTTP/1.1\r\nHost: x"), "")
    };
    wait_for("the replica", || {
        (code(&get(&with, "/readyz").0) == 200).then_some(())
    });
    let mut client = Talk(BufReader::new(secured(node.client, with.clone()).unwrap()));
    assert_eq!(client.ask("SET k v"), "+OK");

    // In TLS 1.3 the client learns that it is refused when it reads.
    let refused = |config: Arc<ClientConfig>| {
        secured(node.client, config)
            .map(|stream| Talk(BufReader::new(stream)).ask("GET k"))
            .unwrap_or_default()
    };
    assert_eq!(refused(house.trusting(None)), "");
    // A server's certificate is no client's, nor is one of another authority.
    assert_eq!(refused(house.trusting(Some("localhost"))), "");
    let other = House::new();
    other.certificate(&["--name", "operator", "--client"]);
    for file in ["operator.pem", "operator.key"] {
        fs::copy(
            other.path("tls").join(file),
            house.path("tls").join(format!("strange-{file}")),
        )
        .unwrap();
    }
    assert_eq!(refused(house.trusting(Some("strange-operator"))), "");

    // The admin port asks whoever has none, and tells probes whether it is ready.
    let without = house.trusting(None);
    assert_eq!(code(&get(&without, "/readyz").0), 200);
    assert_eq!(code(&get(&without, "/status").0), 401);
    assert_eq!(code(&get(&with, "/status").0), 200);
    let (head, body) = http(node.admin, "GET /readyz", None);
    assert_eq!(
        (code(&head), body.as_str()),
        (400, "this port speaks TLS only\n")
    );
}

fn descriptors(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.id()))
        .unwrap()
        .count()
}

/// The resident memory of a process, in KiB.
fn memory(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Opens many connections that begin in this way and then say nothing. Meanwhile a client comes in.
fn flood(node: &Node, begin: &[u8], mut comes_in: impl FnMut()) {
    let (files, kilobytes) = (descriptors(node), memory(node));
    let mut strangers = Vec::new();
    for number in 0..1000 {
        let mut stream = plain(node.client);
        let _ = stream.write_all(begin);
        strangers.push(stream);
        if number % 100 == 99 {
            let begin = Instant::now();
            comes_in();
            assert!(
                begin.elapsed() < Duration::from_secs(2),
                "{:?}",
                begin.elapsed()
            );
        }
    }
    let (more, grown) = (
        descriptors(node).saturating_sub(files),
        memory(node).saturating_sub(kilobytes),
    );
    assert!(more <= 64 + 8, "{more} descriptors more");
    assert!(grown <= 16 * 1024, "{grown} KiB more");
    drop(strangers);
}

#[test]
fn a_thousand_half_open_handshakes_cost_little_and_keep_nobody_out() {
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    let node = house.serve(&(USERS.to_owned() + CLIENT_TLS));
    let trusting = house.trusting(None);
    let comes_in = || {
        let mut alice = Talk(BufReader::new(
            secured(node.client, trusting.clone()).unwrap(),
        ));
        assert_eq!(alice.ask(&format!("AUTH alice {ALICE}")), "+OK");
    };
    comes_in();
    flood(&node, b"", comes_in);
    // A handshake of TLS 1.2 that announces 512 bytes, of which five have come.
    flood(&node, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", comes_in);
    // Each ends by itself.
    let mut silent = plain(node.client);
    silent.write_all(b"\x16\x03\x01").unwrap();
    let begin = Instant::now();
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    let waited = begin.elapsed();
    assert!((4..20).contains(&waited.as_secs()), "{waited:?}");
}

#[test]
fn a_thousand_clients_without_a_password_cost_little_and_keep_nobody_out() {
    let house = House::new();
    let node = house.serve(USERS);
    let comes_in = || {
        let mut alice = talk(node.client);
        assert_eq!(alice.ask(&format!("AUTH alice {ALICE}")), "+OK");
    };
    flood(&node, b"", comes_in);
    flood(&node, b"*3\r\n$4\r\nAUTH\r\n$16384\r\nx", comes_in);
    // What a stranger may send is small.
    let mut stranger = talk(node.client);
    let words = "-ERR Protocol error: unauthenticated bulk length";
    assert_eq!(stranger.ask("*2\r\n$4\r\nAUTH\r\n$16385"), words);
    let mut stranger = talk(node.client);
    let words = "-ERR Protocol error: unauthenticated multibulk length";
    assert_eq!(stranger.ask("*11"), words);
    let mut alice = talk(node.client);
    assert_eq!(alice.ask(&format!("AUTH alice {ALICE}")), "+OK");
    let many = format!("*11\r\n$3\r\nDEL{}", "\r\n$1\r\nk".repeat(10));
    assert_eq!(
        alice.ask(&many),
        ":0",
        "who has shown a password may send more"
    );
}

/// What Prometheus 2.42 sends, line by line.
const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: localhost:8379\r\nUser-Agent: Prometheus/2.42.0\r\n\
    Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
    text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n\
    X-Prometheus-Scrape-Timeout-Seconds: 10";

#[test]
fn the_admin_port_asks_for_a_token() {
    let house = House::new();
    let node = house.serve(&(USERS.to_owned() + "faults = true\n"));
    for (line, right) in [
        ("GET /status", 200),
        ("GET /metrics", 200),
        ("GET /members", 200),
        ("GET /views", 200),
        ("GET /faults", 200),
        ("DELETE /faults", 200),
        ("GET /trace", 403),
        ("POST /reload", 200),
        ("POST /propose", 400),
        ("POST /commit", 400),
        ("POST /registers/read", 400),
        ("POST /registers/write", 400),
        ("POST /registers/snapshot", 400),
        ("POST /registers/join", 400),
        ("GET /nothing", 404),
    ] {
        let (head, body) = http(node.admin, line, None);
        assert_eq!(code(&head), 401, "{line}");
        assert!(
            head.to_lowercase().contains("www-authenticate: bearer"),
            "{head}"
        );
        assert!(body.contains("Authorization: Bearer"), "{body}");
        let (head, body) = http(node.admin, line, Some(TOKEN));
        let found = code(&head);
        // What is wrong with the request is said by its handler.
        let is_right =
            found == right || right == 400 && (400..=422).contains(&found) && found != 401;
        assert!(is_right, "{line}: {head} {body}");
    }
    for line in ["GET /livez", "GET /readyz"] {
        assert_eq!(code(&http(node.admin, line, None).0), 200, "{line}");
    }

    // As Prometheus does it.
    let scraped = |token: &str| {
        let head = format!("{SCRAPE}\r\nAuthorization: Bearer {token}");
        request(plain(node.admin), &head, "")
    };
    let (head, body) = scraped(TOKEN);
    assert_eq!(code(&head), 200);
    assert!(
        head.to_lowercase()
            .contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(
        body.contains("\nquorate_ready 1\n")
            && body.contains("# TYPE quorate_events_total counter")
    );

    // A wrong one is late, counted, and not repeated.
    let begin = Instant::now();
    let (head, _) = scraped("a-token-of-somebody-else");
    assert_eq!(code(&head), 401);
    assert!(head.contains("invalid_token"), "{head}");
    assert!(begin.elapsed() >= Duration::from_millis(900));
    let head = format!("{SCRAPE}\r\nAuthorization: Basic {TOKEN}");
    assert_eq!(code(&request(plain(node.admin), &head, "").0), 401);
    assert_eq!(status(&node)["refused_tokens"], 2);
    let log = node.log();
    assert!(
        log.contains("wrong token") && !log.contains("somebody-else"),
        "{log}"
    );
}

#[test]
fn connections_that_show_no_token_keep_no_operator_out() {
    let house = House::new();
    let node = house.serve(USERS);
    let before = descriptors(&node);
    let mut silent = Vec::new();
    for number in 0..200 {
        silent.push(plain(node.admin));
        if number % 50 == 49 {
            let begin = Instant::now();
            assert_eq!(status(&node)["insecure"], false);
            assert_eq!(code(&http(node.admin, "GET /readyz", None).0), 200);
            assert!(
                begin.elapsed() < Duration::from_secs(2),
                "{:?}",
                begin.elapsed()
            );
        }
    }
    let during = descriptors(&node);
    assert!(
        during <= before + 16 + 4,
        "{before} before, {during} during"
    );
}

#[test]
fn who_shows_nothing_gets_no_reasons() {
    let house = House::new();
    // Two of three are missing, and one of them has a name that is nobody's business.
    let others = "peers = ['OWN', 'a-secret-host.invalid:7100', '127.0.0.1:9']\n";
    let others = others.replace("OWN", &house.addresses[0].to_string());
    fs::write(house.path("node.toml"), format!("id = 1\n{others}{USERS}")).unwrap();
    let node = house.start();
    let (head, body) = wait_for("HTTP", || {
        TcpStream::connect(node.admin).ok()?;
        Some(http(node.admin, "GET /readyz", None))
    });
    assert_eq!((code(&head), body.as_str()), (503, "not ready\n"));
    let (head, body) = http(node.admin, "GET /readyz", Some(TOKEN));
    assert!(
        code(&head) == 503 && body.len() > "not ready\n".len(),
        "{body}"
    );
}

#[test]
fn what_others_can_reach_needs_a_lock() {
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    let refusal = |text: &str, arguments: &[&str]| {
        house.configure(text);
        let config = house.text("node.toml");
        // If it starts after all, it stops at once: there is no input.
        let begin = ["node", "--stop-at-end-of-input", "--config", &config];
        let output = run(&[&begin, arguments].concat());
        assert!(!output.status.success());
        let line = stderr(&output);
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    };
    let (client, admin) = (["--client", "0.0.0.0:0"], ["--admin", "0.0.0.0:0"]);
    for (text, arguments, key) in [
        ("", client, "`[users]`"),
        (USERS, client, "`[client_tls]`"),
        ("", admin, "`admin_token_file`"),
        (USERS, admin, "`[admin_tls]`"),
    ] {
        let line = refusal(text, &arguments);
        assert!(
            line.contains(key) && line.contains("`insecure = true`"),
            "{line}"
        );
    }
    // Locked doors may be reached by everybody.
    let everywhere = |address: SocketAddr| SocketAddr::from(([0, 0, 0, 0], address.port()));
    let (client, admin) = (
        everywhere(house.addresses[1]),
        everywhere(house.addresses[2]),
    );
    house.configure(&(USERS.to_owned() + CLIENT_TLS + ADMIN_TLS));
    let mut node = house.start_at(client, admin);
    let trusting = house.trusting(None);
    let ask = |path: &str| {
        let stream = secured(node.admin, trusting.clone()).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}");
        request(stream, &head, "")
    };
    wait_for("the replica", || {
        (code(&ask("/readyz").0) == 200).then_some(())
    });
    assert!(ask("/status").1.contains(r#""insecure":false"#));
    node.kill();

    // Without locks the settings have to say so, and then it is said everywhere.
    house.configure("insecure = true\n");
    let node = house.start_at(client, admin);
    wait_for("the replica", || node.is_ready().then_some(()));
    assert_eq!(node.status()["insecure"], true);
    assert_eq!(node.http("GET", "/readyz", "").1, "ready (insecure)\n");
    assert!(node.log().contains("insecure = true"), "{}", node.log());
    assert!(
        node.http("GET", "/metrics", "")
            .1
            .contains("\nquorate_insecure 1\n")
    );
}

#[test]
fn the_command_line_shows_tokens_passwords_and_certificates() {
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    house.certificate(&["--name", "operator", "--client"]);
    let tls = format!("{CLIENT_TLS}{ADMIN_TLS}faults = true\ntrace_records = 100\n");
    house.configure(&(USERS.to_owned() + &tls));
    let node = house.start();
    let (client, admin) = (node.client.to_string(), node.admin.to_string());
    let (ca, token, password) = (
        house.text("tls/ca.pem"),
        house.text("tokens"),
        house.text("alice.password"),
    );
    let operator = ["--admin", &admin, "--tls-ca", &ca, "--token-file", &token];
    wait_for("the replica", || {
        let asked = run(&["status", "--check", "--admin", &admin, "--tls-ca", &ca]);
        asked.status.success().then_some(())
    });
    for verb in [
        &["status"][..],
        &["members"],
        &["views"],
        &["propose", "1", "v"],
        &["commit", "1", "yes"],
        &["registers", "read", "k"],
        &["faults", "heal"],
        &["trace"],
        &["reload"],
    ] {
        let output = run(&[verb, &operator].concat());
        let words = stdout(&output);
        assert!(!words.contains(TOKEN), "{words}");
        let output = run(&[verb, &operator[..4]].concat());
        assert!(!output.status.success(), "{verb:?} without a token");
        let words = stderr(&output);
        assert!(
            words.contains("401") || words.contains("no replica has sent"),
            "{verb:?}: {words}"
        );
    }
    // The server is not who it should be, or there is no TLS at all.
    let output = run(&[&["status"][..], &operator, &["--tls-name", "elsewhere"]].concat());
    assert!(
        !output.status.success() && stderr(&output).contains("elsewhere"),
        "{}",
        stderr(&output)
    );
    let output = run(&["status", "--admin", &admin, "--token-file", &token]);
    assert!(stderr(&output).contains("400"), "{}", stderr(&output));

    let user = [
        "--addr",
        &client,
        "--tls-ca",
        &ca,
        "--user",
        "alice",
        "--password-file",
        &password,
    ];
    let quorate = env!("CARGO_BIN_EXE_quorate");
    let script = format!("{quorate} fenced set k v && {quorate} fenced get k");
    let output = run(&[&["lock", "l"][..], &user, &["--", "sh", "-c", &script]].concat());
    assert_eq!(stdout(&output), "v");
    let begin = Instant::now();
    let bob = house.text("bob.password");
    let wrong = [
        "--addr",
        &client,
        "--tls-ca",
        &ca,
        "--user",
        "alice",
        "--password-file",
        &bob,
    ];
    let output = run(&[&["lock", "l"][..], &wrong, &["--", "true"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("WRONGPASS"), "{}", stderr(&output));
    let output = run(&[
        &["fenced", "--lock", "l", "--token", "1"][..],
        &wrong,
        &["get", "k"],
    ]
    .concat());
    assert!(stderr(&output).contains("WRONGPASS"), "{}", stderr(&output));
    assert!(begin.elapsed() < Duration::from_secs(20));
    let load = [
        "registers",
        "load",
        "--operations",
        "50",
        "--server",
        &client,
    ];
    let output = run(&[&load[..], &user[2..]].concat());
    assert!(stdout(&output).starts_with("50 operations returned"));
    let output = run(&[&load[..], &wrong[2..]].concat());
    assert!(stderr(&output).contains("WRONGPASS"), "{}", stderr(&output));
}

#[test]
fn tokens_and_keys_of_certificates_are_their_owners_alone() {
    let house = House::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let token = house.text("new-token");
    let output = run(&["keys", "token", &token]);
    let digest = stdout(&output);
    let text = fs::read_to_string(&token).unwrap();
    assert_eq!((digest.len(), text.trim().len()), (64, 64));
    assert_ne!(digest, text.trim(), "the token itself is not printed");
    assert_eq!(mode(Path::new(&token)), 0o600);
    assert!(
        !run(&["keys", "token", &token]).status.success(),
        "it is not replaced"
    );
    // What is printed is what the settings take.
    let user = format!("users.carol = {{ rights = 'read', password_sha256 = '{digest}' }}\n");
    let node = house.serve(&user);
    assert_eq!(
        talk(node.client).ask(&format!("AUTH carol {}", text.trim())),
        "+OK"
    );
    assert!(
        talk(node.client)
            .ask(&format!("AUTH carol {digest}"))
            .starts_with("-WRONGPASS")
    );

    house.certificate(&["--name", "localhost"]);
    for key in ["tls/ca.key", "tls/localhost.key"] {
        assert_eq!(mode(&house.path(key)), 0o600, "{key}");
    }
    let folder = house.text("tls");
    let again = run(&[
        "keys",
        "certificate",
        "--name",
        "localhost",
        "--out",
        &folder,
    ]);
    assert!(
        stderr(&again).contains("localhost.key: there is a file already"),
        "{}",
        stderr(&again)
    );
    // The authority of another cluster does not accept what this key signs.
    let other = House::new();
    other.certificate(&["--name", "localhost"]);
    fs::copy(other.path("tls/ca.pem"), house.path("tls/ca.pem")).unwrap();
    let output = run(&["keys", "certificate", "--name", "second", "--out", &folder]);
    assert!(
        stderr(&output).contains("does not accept what ca.key signs"),
        "{}",
        stderr(&output)
    );
    assert!(!house.path("tls/second.pem").exists() && !house.path("tls/second.key").exists());
    let output = run(&["keys", "certificate", "--name", "no name", "--out", &folder]);
    assert!(!output.status.success());
}

#[test]
fn redis_cli_speaks_tls_and_signs_in() {
    if !is_there(
        "redis-cli",
        &["--tls", "--version"],
        "apt-get install redis-tools",
    ) {
        return;
    }
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    let node = house.serve(&(USERS.to_owned() + CLIENT_TLS));
    let (port, ca) = (node.client.port().to_string(), house.text("tls/ca.pem"));
    for version in ["-2", "-3"] {
        let cli = |arguments: &[&str]| {
            let output = Command::new("redis-cli")
                .args([
                    "-h",
                    "localhost",
                    "-p",
                    &port,
                    version,
                    "--tls",
                    "--cacert",
                    &ca,
                ])
                .args(["--no-auth-warning"])
                .args(arguments)
                .finish()
                .unwrap();
            stdout(&output) + &stderr(&output)
        };
        let alice = ["--user", "alice", "--pass", ALICE];
        assert_eq!(cli(&[&alice[..], &["set", "k", "v"]].concat()), "OK");
        assert_eq!(cli(&[&alice[..], &["get", "k"]].concat()), "v");
        assert_eq!(cli(&["-a", MONITOR, "acl", "whoami"]), "default");
        assert!(cli(&["get", "k"]).starts_with("NOAUTH"));
        assert!(cli(&["--user", "alice", "--pass", "wrong", "get", "k"]).contains("WRONGPASS"));
        assert!(cli(&[&alice[..], &["flushall"]].concat()).starts_with("NOPERM"));
    }
}

#[test]
fn redis_py_speaks_tls_and_signs_in() {
    if !is_there("python3", &["-c", "import redis"], "pip install redis") {
        return;
    }
    let house = House::new();
    house.certificate(&["--name", "localhost"]);
    let node = house.serve(&(USERS.to_owned() + CLIENT_TLS));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/redis_py_tls.py");
    let output = Command::new("python3")
        .args([script, &node.client.port().to_string()])
        .args([house.text("tls/ca.pem"), house.text("alice.password")])
        .finish()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
