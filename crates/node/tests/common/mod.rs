//! Replicas as processes, for the tests of the binary. Whatever happens, they end with the test.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test binary uses a part, and fails by panicking"
)]
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long anything may take on a loaded machine.
pub const TIMEOUT: Duration = Duration::from_mins(1);

pub fn quorate() -> Command {
    without_variables(Command::new(env!("CARGO_BIN_EXE_quorate")))
}

fn without_variables(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUORATE_")) {
        command.env_remove(name);
    }
    command
}

/// Waits until `condition` returns `Some`.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Held while free addresses are searched, and while a program is started.
static LOOKING: Mutex<()> = Mutex::new(());

fn looking() -> MutexGuard<'static, ()> {
    LOOKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts programs while no other thread searches for free addresses. Until its program runs, a child has
/// open whatever this process has, so that an address that was only tried would stay in use for a while.
pub trait Apart {
    /// As [`Command::spawn`].
    fn begin(&mut self) -> io::Result<Child>;
    /// As [`Command::output`], without any input.
    fn finish(&mut self) -> io::Result<Output>;
}

impl Apart for Command {
    fn begin(&mut self) -> io::Result<Child> {
        let _looking = looking();
        self.spawn()
    }

    fn finish(&mut self) -> io::Result<Output> {
        let without_input = self.stdin(Stdio::null());
        let captured = without_input.stdout(Stdio::piped()).stderr(Stdio::piped());
        captured.begin()?.wait_with_output()
    }
}

/// Free loopback addresses, for UDP and TCP, all different, and never given out twice. They lie
/// below the ports that the system gives to outgoing connections, which could take them meanwhile.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let offset = std::process::id() as usize * 101;
    let mut free = Vec::new();
    while free.len() < count {
        let number = offset + NEXT.fetch_add(1, Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], 12_000 + (number % 20_000) as u16));
        let _looking = looking();
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            free.push(address);
        }
    }
    free
}

/// A running replica.
pub struct Node {
    child: Child,
    arguments: Vec<String>,
    /// The commands of a shell that then becomes the replica.
    before: String,
    log: PathBuf,
    pub client: SocketAddr,
    pub admin: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.arguments.join(" "), self.log());
        }
    }
}

impl Node {
    pub fn start(arguments: Vec<String>, client: SocketAddr, admin: SocketAddr) -> Self {
        Self::start_under("", arguments, client, admin)
    }

    /// The same, after the commands `before` of a shell that then becomes the replica.
    fn start_under(
        before: &str,
        arguments: Vec<String>,
        client: SocketAddr,
        admin: SocketAddr,
    ) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("{}-{number}.log", std::process::id());
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut command = quorate();
        if !before.is_empty() {
            let binary = command.get_program().to_owned();
            command = without_variables(Command::new("sh"));
            command
                .args(["-c", &format!("{before} && exec \"$0\" \"$@\"")])
                .arg(binary);
        }
        let child = command
            .args(["node", "--stop-at-end-of-input"])
            .args([
                "--client",
                &client.to_string(),
                "--admin",
                &admin.to_string(),
            ])
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .begin()
            .unwrap();
        Node {
            child,
            arguments,
            before: before.to_owned(),
            log,
            client,
            admin,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the same replica again, without its memory.
    pub fn start_again(&mut self) {
        *self = Node::start_under(
            &self.before,
            self.arguments.clone(),
            self.client,
            self.admin,
        );
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id().cast_signed(), name);
        if name == "STOP" {
            // The signal is on its way: its threads go on until each has got it.
            wait_for("the process to be stopped", || {
                self.is_stopped().then_some(())
            });
        }
    }

    /// Whether all threads of the process are stopped.
    fn is_stopped(&self) -> bool {
        let threads = format!("/proc/{}/task", self.child.id());
        let mut threads = fs::read_dir(threads).unwrap();
        threads.all(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat"));
            // The state stands behind the name, which is in parentheses.
            let stat = stat.unwrap_or_default();
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
        })
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        wait_for("the end of a replica", || self.child.try_wait().unwrap()).code()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends one request, as a line, and reads its reply.
    pub fn ask(&self, request: &str) -> String {
        ask(self.client, request)
    }

    /// Sends an HTTP request; returns the status code and the body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        http(self.admin, method, path, body).unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.http("GET", "/status", "").1).unwrap()
    }

    pub fn is_ready(&self) -> bool {
        http(self.admin, "GET", "/readyz", "").is_some_and(|(code, _)| code == 200)
    }
}

/// Sends a signal, as STOP, to a process, or to a group if its number is negative.
pub fn signal(whom: i32, name: &str) {
    let kind: Signal = format!("SIG{name}").parse().unwrap();
    kill(Pid::from_raw(whom), kind).unwrap();
}

/// Starts `n` replicas that know each other, without waiting for them.
pub fn cluster(n: usize, extra: &[&str]) -> Vec<Node> {
    starting(n, extra).collect()
}

/// The same replicas, each started when the iterator returns it.
pub fn starting(n: usize, extra: &[&str]) -> impl Iterator<Item = Node> {
    starting_under("", n, extra)
}

/// The same replicas, each after the commands `before` of a shell.
pub fn cluster_under(before: &str, n: usize, extra: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<_> = starting_under(before, n, extra).collect();
    wait_until_ready(&mut nodes);
    nodes
}

/// The keys of a cluster: its links are sealed, as those of clusters that people run.
fn keys(n: usize) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let name = format!("keys-{}-{number}", std::process::id());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Of an earlier process with the same number.
    let _ = fs::remove_dir_all(&directory);
    let (folder, members) = (directory.display().to_string(), n.to_string());
    let made = run(&["keys", "cluster", &folder, "--members", &members]);
    assert!(made.status.success(), "{made:?}");
    directory
}

fn starting_under(before: &str, n: usize, extra: &[&str]) -> impl Iterator<Item = Node> {
    let before = before.to_owned();
    let addresses = free_addresses(3 * n);
    let peers: Vec<String> = addresses[..n].iter().map(ToString::to_string).collect();
    let extra: Vec<_> = extra.iter().map(ToString::to_string).collect();
    let keys = keys(n);
    let start = move |rank: usize| {
        let path = |file: &str| keys.join(file).display().to_string();
        let mut arguments = vec!["--id".to_owned(), rank.to_string()];
        arguments.extend(["--secret".to_owned(), path(&format!("p{rank}/secret"))]);
        arguments.extend(["--identities-file".to_owned(), path("members/identities")]);
        arguments.extend(["--peers".to_owned(), peers.join(",")]);
        arguments.extend(extra.clone());
        Node::start_under(
            &before,
            arguments,
            addresses[n + rank - 1],
            addresses[2 * n + rank - 1],
        )
    };
    (1..=n).map(start)
}

/// Starts `n` replicas, and waits until all are ready to serve.
pub fn ready_cluster(n: usize, extra: &[&str]) -> Vec<Node> {
    let mut nodes = cluster(n, extra);
    wait_until_ready(&mut nodes);
    nodes
}

fn wait_until_ready(nodes: &mut [Node]) {
    wait_for("a cluster to be ready", || {
        for node in &mut *nodes {
            let ended = node.child.try_wait().unwrap();
            assert!(ended.is_none(), "a replica has ended: {}", node.log());
        }
        nodes.iter().all(Node::is_ready).then_some(())
    });
}

/// Sends one request, as a line, to a RESP server; returns its reply: the line, or the string itself.
pub fn ask(server: SocketAddr, request: &str) -> String {
    let mut stream = wait_for("a connection", || TcpStream::connect(server).ok());
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
        .write_all(format!("{request}\r\n").as_bytes())
        .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    if line.starts_with('$') && line.trim() != "$-1" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    line.trim_end().to_owned()
}

pub fn http(server: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    quorate()
        .args(arguments)
        .stdin(Stdio::null())
        .finish()
        .unwrap()
}
