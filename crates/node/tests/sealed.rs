//! Replicas whose links are sealed.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::{Node, ask, free_addresses, run, wait_for};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

const N: usize = 3;

/// Makes a secret, and gives its identity.
fn new_secret(file: &Path) -> String {
    let made = run(&["keys", "new", &file.display().to_string()]);
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn fingerprint(identity: &str) -> String {
    let checked = run(&["keys", "check", identity]);
    let text = String::from_utf8(checked.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// Three replicas with a configuration file each.
struct Cluster {
    folder: tempfile::TempDir,
    nodes: Vec<Node>,
}

impl Cluster {
    fn start(transport: &str) -> (Self, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let addresses = free_addresses(N * 3);
        let peers: Vec<_> = addresses[..N].iter().map(|it| format!("'{it}'")).collect();
        let mut identities = Vec::new();
        for rank in 1..=N {
            identities.push(new_secret(&folder.path().join(format!("old{rank}"))));
        }
        fs::write(folder.path().join("identities"), identities.join("\n")).unwrap();
        let mut nodes = Vec::new();
        for rank in 1..=N {
            let config = folder.path().join(format!("p{rank}.toml"));
            let text = format!(
                "id = {rank}\npeers = [{}]\ntransport = '{transport}'\nsecret = 'secret{rank}'\n\
                 identities_file = 'identities'\n",
                peers.join(", ")
            );
            fs::write(&config, text).unwrap();
            let old = folder.path().join(format!("old{rank}"));
            fs::rename(old, folder.path().join(format!("secret{rank}"))).unwrap();
            let arguments = vec!["--config".to_owned(), config.display().to_string()];
            let (client, admin) = (addresses[N + rank - 1], addresses[2 * N + rank - 1]);
            nodes.push(Node::start(arguments, client, admin));
        }
        for node in &nodes {
            wait_for("a replica to be ready", || node.is_ready().then_some(()));
        }
        (Cluster { folder, nodes }, identities)
    }

    fn list(&self, lines: &[String]) {
        fs::write(self.folder.path().join("identities"), lines.join("\n")).unwrap();
    }

    /// Waits until each replica has this many reloads in its log, and says what the last one was.
    fn reloaded(&self, count: usize) {
        for node in &self.nodes {
            wait_for("the keys to be read anew", || {
                (node.log().matches("read anew").count() >= count).then_some(())
            });
        }
    }

    /// Which identities the replicas have proven to each other.
    fn proven(&self) -> Vec<Vec<Option<String>>> {
        let of = |node: &Node| {
            let status = node.status();
            let peers = status["peers"].as_array().unwrap().clone();
            let identity = |peer: &serde_json::Value| peer["identity"].as_str().map(str::to_owned);
            peers.iter().map(identity).collect()
        };
        self.nodes.iter().map(of).collect()
    }

    fn wait_until_proven(&self, identities: &[String]) {
        let prints: Vec<_> = identities.iter().map(|it| fingerprint(it)).collect();
        let expected: Vec<Vec<_>> = (0..N)
            .map(|me| {
                let others = (0..N).filter(|other| *other != me);
                others.map(|other| Some(prints[other].clone())).collect()
            })
            .collect();
        wait_for("the identities to be proven", || {
            (self.proven() == expected).then_some(())
        });
    }
}

/// A client that counts, until it is told to end. Gives how often it was answered, and what it was answered else.
fn count(
    server: SocketAddr,
    key: String,
    is_over: Arc<AtomicBool>,
) -> thread::JoinHandle<(u64, Vec<String>)> {
    thread::spawn(move || {
        let (mut counted, mut others) = (0, Vec::new());
        while !is_over.load(Relaxed) {
            let answer = ask(server, &format!("INCR {key}"));
            if answer == format!(":{}", counted + 1) {
                counted += 1;
            } else {
                others.push(answer);
            }
        }
        (counted, others)
    })
}

#[test]
fn all_keys_of_a_running_cluster_are_replaced_and_no_client_notices() {
    for transport in ["udp", "tcp"] {
        let (cluster, old) = Cluster::start(transport);
        for node in &cluster.nodes {
            assert_eq!(node.status()["protection"], "sealed");
        }
        cluster.wait_until_proven(&old);
        let is_over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (1..)
            .zip(&cluster.nodes)
            .map(|(number, node)| count(node.client, format!("k{number}"), is_over.clone()))
            .collect();

        let folder = cluster.folder.path();
        let new: Vec<_> = (1..=N)
            .map(|rank| new_secret(&folder.join(format!("new{rank}"))))
            .collect();
        let both = old.iter().zip(&new);
        let both: Vec<_> = both.map(|(old, new)| format!("{old} {new}")).collect();
        cluster.list(&both);
        cluster.nodes.iter().for_each(|node| node.signal("HUP"));
        cluster.reloaded(1);
        for rank in 1..=N {
            let secret = folder.join(format!("secret{rank}"));
            fs::rename(folder.join(format!("new{rank}")), secret).unwrap();
            cluster.nodes[rank - 1].signal("HUP");
        }
        cluster.reloaded(2);
        cluster.list(&new);
        for node in &cluster.nodes {
            let (code, body) = node.http("POST", "/reload", "");
            assert_eq!(code, 200, "{body}");
            assert!(body.contains("keys"), "{body}");
        }
        cluster.wait_until_proven(&new);

        is_over.store(true, Relaxed);
        for (number, client) in (1..).zip(clients) {
            let (counted, others) = client.join().unwrap();
            assert!(others.is_empty() && counted > 0, "{transport}: {others:?}");
            for node in &cluster.nodes {
                wait_for("every replica to have all", || {
                    (node.ask(&format!("GET k{number}")) == counted.to_string()).then_some(())
                });
            }
        }
        // What does not fit together is refused as a whole, and says why.
        let before = cluster.proven();
        cluster.list(&[new[1].clone(), new[0].clone(), new[2].clone()]);
        let (code, body) = cluster.nodes[0].http("POST", "/reload", "");
        assert_ne!(code, 200);
        assert!(body.contains("not listed for p1"), "{body}");
        assert_eq!(cluster.proven(), before);
    }
}

#[test]
fn who_has_other_keys_is_left_out_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let keys = |name: &str| {
        let directory = folder.path().join(name);
        let made = run(&[
            "keys",
            "cluster",
            &directory.display().to_string(),
            "--members",
            "3",
        ]);
        assert!(made.status.success(), "{made:?}");
        directory
    };
    let (ours, theirs) = (keys("ours"), keys("theirs"));
    let addresses = free_addresses(9);
    let peers: Vec<_> = addresses[..3].iter().map(ToString::to_string).collect();
    let start = |rank: usize, keys: &Path| {
        let (secret, list) = (
            keys.join(format!("p{rank}/secret")),
            keys.join("members/identities"),
        );
        let arguments = [
            "--id",
            &rank.to_string(),
            "--peers",
            &peers.join(","),
            "--secret",
            &secret.display().to_string(),
            "--identities-file",
            &list.display().to_string(),
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        Node::start(arguments, addresses[2 + rank], addresses[5 + rank])
    };
    let [one, two] = [1, 2].map(|rank| start(rank, &ours));
    let three = start(3, &theirs);
    wait_for("somebody to warn of the stranger", || {
        let logs = [&one, &two, &three].map(Node::log);
        let words = ["with an identity that this process does not have"];
        let warns = |log: &String| words.iter().any(|words| log.contains(words));
        logs.iter().any(warns).then_some(())
    });
    for node in [&one, &two] {
        let status = node.status();
        let peers = status["peers"].as_array().unwrap();
        let stranger = peers.iter().find(|peer| peer["process"] == 3).unwrap();
        assert!(stranger["identity"].is_null() && stranger["connected"] == false);
    }
    // With its own keys it is admitted.
    drop(three);
    let third = start(3, &ours);
    for node in [&one, &two, &third] {
        wait_for("all to be ready", || node.is_ready().then_some(()));
    }
    assert_eq!(one.ask("SET k v"), "+OK");
    assert_eq!(third.ask("GET k"), "v");
}
