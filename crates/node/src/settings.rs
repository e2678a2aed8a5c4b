//! The settings of a replica. Flags override the environment, which overrides the file, which overrides the
//! defaults.
mod doors;
mod keys;
mod registers;
mod stack;

pub use doors::Doors;
pub use keys::Keys;
pub use registers::{Access, Consistency, Registers};
pub use stack::Stack;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use quorate_core::{Membership, ProcessId};
use quorate_links::perfect;
use quorate_quorums::flooding;
use quorate_runtime::PeerAddress;
use quorate_services::kv::VERSION;
use quorate_stacks::agreements::Consensus;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// The most records that still fit into an answer that `quorate trace` reads.
const MOST_TRACE_RECORDS: usize = 50_000;

/// The edge that carries the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams: the protocol retransmits by itself.
    #[default]
    Udp,
    /// Byte streams.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        })
    }
}

/// The format of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Where the settings come from.
#[derive(Args, Clone, Debug, Default)]
pub struct Source {
    /// The configuration file (TOML). Flags and QUORATE_* variables override it.
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: RawSettings,
}

/// Every setting, as a flag, an environment variable and a key of the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    /// Which of the peers this process is, counted from 1.
    #[arg(long, env = "QUORATE_ID")]
    id: Option<usize>,
    /// The name of the cluster: processes of another one are refused.
    #[arg(long, env = "QUORATE_CLUSTER")]
    cluster: Option<String>,
    /// The address of every process, or a name that resolves to it, in the order of their ids, including this
    /// process.
    #[arg(
        long,
        env = "QUORATE_PEERS",
        value_delimiter = ',',
        value_name = "HOST:PORT,…"
    )]
    peers: Option<Vec<String>>,
    /// Where to listen to the other processes, if not at the address that `peers` has for this one.
    #[arg(long, env = "QUORATE_BIND", value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
    /// The file with the secret of this process, which `quorate keys new` writes. With it the links between the processes
    /// are sealed.
    #[arg(long, env = "QUORATE_SECRET", value_name = "FILE")]
    secret: Option<PathBuf>,
    /// The identity of every process, in the order of their ids, including this process. Two, with a space between them,
    /// while one is replaced by the other.
    #[arg(
        long,
        env = "QUORATE_IDENTITIES",
        value_delimiter = ',',
        value_name = "IDENTITY,…"
    )]
    identities: Option<Vec<String>>,
    /// The same in a file, one line for each process.
    #[arg(long, env = "QUORATE_IDENTITIES_FILE", value_name = "FILE")]
    identities_file: Option<PathBuf>,
    /// What carries the protocol between the processes.
    #[arg(long, env = "QUORATE_TRANSPORT", value_enum)]
    transport: Option<Transport>,
    /// Where to listen to clients (RESP, the protocol of Redis).
    #[arg(long, env = "QUORATE_CLIENT", value_name = "ADDRESS:PORT")]
    client: Option<SocketAddr>,
    /// Where to serve health, metrics and status over HTTP.
    #[arg(long, env = "QUORATE_ADMIN", value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
    /// Whether ports that others may reach can stand open, and whether what is secret may cross a network in clear.
    #[arg(long, env = "QUORATE_INSECURE", num_args = 0..=1, default_missing_value = "true")]
    insecure: Option<bool>,
    /// The file with the tokens, one a line, of which HTTP asks for one (mode 0600).
    #[arg(long, env = "QUORATE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(default)]
    client_tls: doors::ClientTls,
    #[command(flatten)]
    #[serde(default)]
    admin_tls: doors::AdminTls,
    /// The users. They stand in the file only.
    #[arg(skip)]
    #[serde(default)]
    users: doors::UserChoices,
    /// The most clients at a time; a client beyond that is told so. There can be fewer if the process may not
    /// open so many descriptors.
    #[arg(long, env = "QUORATE_CONNECTIONS")]
    connections: Option<usize>,
    /// After how long an idle client is given up, in milliseconds; 0: never.
    #[arg(long, env = "QUORATE_CLIENT_IDLE_MS")]
    client_idle_ms: Option<u64>,
    /// How much all clients together may hold of what they have sent and were returned, in MiB.
    #[arg(long, env = "QUORATE_CLIENT_MEMORY_MIB")]
    client_memory_mib: Option<usize>,
    /// The most messages of this process on their way through total order.
    #[arg(long, env = "QUORATE_WINDOW")]
    window: Option<usize>,
    /// What serves the store: total order, or a register a key, without a leader.
    #[arg(long, env = "QUORATE_CONSISTENCY", value_enum)]
    consistency: Option<Consistency>,
    #[command(flatten)]
    #[serde(default)]
    registers: registers::Choices,
    #[command(flatten)]
    #[serde(default)]
    stack: stack::Choices,
    /// The most consensus instances in flight.
    #[arg(long, env = "QUORATE_INSTANCES")]
    instances: Option<usize>,
    /// The longest datagram, in bytes.
    #[arg(long, env = "QUORATE_DATAGRAM")]
    datagram: Option<usize>,
    /// How often a sign of life is sent, in milliseconds.
    #[arg(long, env = "QUORATE_HEARTBEAT_MS")]
    heartbeat_ms: Option<u64>,
    /// How long a silence is at first taken for a crash, in milliseconds; grows with each mistake.
    #[arg(long, env = "QUORATE_SUSPICION_MS")]
    suspicion_ms: Option<u64>,
    /// How long a command waits for a majority before it is answered -NOQUORUM, in milliseconds.
    #[arg(long, env = "QUORATE_DEADLINE_MS")]
    deadline_ms: Option<u64>,
    /// How long a replica may be suspected before the locks of its clients are taken over, in milliseconds. The
    /// same on every replica.
    #[arg(long, env = "QUORATE_LOCK_TAKEOVER_MS")]
    lock_takeover_ms: Option<u64>,
    /// Whether POST /faults may disturb this process's network, for experiments.
    #[arg(long, env = "QUORATE_FAULTS", num_args = 0..=1, default_missing_value = "true")]
    faults: Option<bool>,
    /// How many records of what the protocol does to keep for `quorate trace`; 0: none.
    #[arg(long, env = "QUORATE_TRACE_RECORDS", value_name = "RECORDS")]
    trace_records: Option<usize>,
    /// What to log: error, warn, info, debug, trace, or a filter by module.
    #[arg(long, env = "QUORATE_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How to log.
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

impl RawSettings {
    /// These settings, and where one is not set, that of `below`.
    fn over(self, below: RawSettings) -> RawSettings {
        // Whoever says the identities in one way replaces those that were said in the other.
        let own = self.identities.is_some() || self.identities_file.is_some();
        let (identities, identities_file) = if own {
            (self.identities, self.identities_file)
        } else {
            (below.identities, below.identities_file)
        };
        RawSettings {
            id: self.id.or(below.id),
            cluster: self.cluster.or(below.cluster),
            peers: self.peers.or(below.peers),
            bind: self.bind.or(below.bind),
            secret: self.secret.or(below.secret),
            identities,
            identities_file,
            transport: self.transport.or(below.transport),
            client: self.client.or(below.client),
            admin: self.admin.or(below.admin),
            insecure: self.insecure.or(below.insecure),
            admin_token_file: self.admin_token_file.or(below.admin_token_file),
            client_tls: self.client_tls.over(below.client_tls),
            admin_tls: self.admin_tls.over(below.admin_tls),
            // No flag names users.
            users: below.users,
            connections: self.connections.or(below.connections),
            client_idle_ms: self.client_idle_ms.or(below.client_idle_ms),
            client_memory_mib: self.client_memory_mib.or(below.client_memory_mib),
            window: self.window.or(below.window),
            consistency: self.consistency.or(below.consistency),
            registers: self.registers.over(below.registers),
            stack: self.stack.over(below.stack),
            instances: self.instances.or(below.instances),
            datagram: self.datagram.or(below.datagram),
            heartbeat_ms: self.heartbeat_ms.or(below.heartbeat_ms),
            suspicion_ms: self.suspicion_ms.or(below.suspicion_ms),
            deadline_ms: self.deadline_ms.or(below.deadline_ms),
            lock_takeover_ms: self.lock_takeover_ms.or(below.lock_takeover_ms),
            faults: self.faults.or(below.faults),
            trace_records: self.trace_records.or(below.trace_records),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
        }
    }
}

/// The settings of one replica, complete and consistent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSettings {
    /// This process.
    pub me: ProcessId,
    /// Π.
    pub membership: Membership,
    /// The cluster's name.
    pub cluster: String,
    /// `host:port` of p1 … pn.
    pub peers: Vec<String>,
    /// Where to listen to the peers; `None`: at this process's own entry of `peers`.
    pub bind: Option<SocketAddr>,
    /// The keys with which the links between the processes are sealed.
    pub keys: Option<Keys>,
    /// What carries the protocol.
    pub transport: Transport,
    /// Where to listen to clients.
    pub client: SocketAddr,
    /// Where to serve HTTP.
    pub admin: SocketAddr,
    /// Who may come in through these two.
    pub doors: Doors,
    /// Whether ports that others may reach can stand open: said in the log and in `/status`.
    pub insecure: bool,
    /// The most clients at a time.
    pub connections: usize,
    /// The time after which an idle client is disconnected; `None`: never.
    pub client_idle: Option<Duration>,
    /// How many bytes all clients together may hold.
    pub client_memory: usize,
    /// The most own messages in flight.
    pub window: usize,
    /// What serves the store.
    pub consistency: Consistency,
    /// Which registers run.
    pub registers: Registers,
    /// Which algorithms run beside them.
    pub stack: Stack,
    /// The most consensus instances in flight.
    pub instances: usize,
    /// The longest datagram.
    pub datagram: usize,
    /// The time between two heartbeats.
    pub heartbeat: Duration,
    /// The first timeout of the failure detector.
    pub suspicion: Duration,
    /// The time after which a command is answered with `-NOQUORUM`.
    pub deadline: Duration,
    /// The time for which a replica may be suspected before the locks of its clients are taken over.
    pub lock_takeover: Duration,
    /// Whether faults may be injected.
    pub faults: bool,
    /// How many records of what the protocol does are kept; 0: none.
    pub trace_records: usize,
    /// The filter of the log.
    pub log: String,
    /// The form of the log.
    pub log_format: LogFormat,
}

impl NodeSettings {
    /// All but what can be changed while the node runs.
    #[must_use]
    pub fn without_doors(&self) -> Self {
        // Whether there are keys at all is decided at the start.
        let keys = self.keys.as_ref().map(|_| Keys::default());
        NodeSettings {
            keys,
            doors: Doors::default(),
            ..self.clone()
        }
    }

    /// What peers compare of this program beyond the names of its modules.
    pub fn application(&self) -> String {
        match self.consistency {
            Consistency::TotalOrder => {
                let consensus = match self.stack.consensus {
                    Consensus::ByTotalOrder => " consensus:by-total-order",
                    // The other kinds of consensus are modules of their own, which have names.
                    _ => "",
                };
                format!("quorate-node commands:{VERSION}{consensus}")
            }
            Consistency::Register => "quorate-node consistency:register".to_owned(),
        }
    }
}

impl Source {
    /// A file, and nothing else.
    #[cfg(test)]
    pub fn of_file(path: &Path) -> Self {
        Source {
            config: Some(path.to_owned()),
            settings: RawSettings::default(),
        }
    }

    /// Reads the file, if one is named, overrides it by flags and environment, and checks the result.
    pub fn load(self) -> Result<NodeSettings> {
        let file = match &self.config {
            Some(path) => {
                let settings = read(path)?;
                RawSettings {
                    registers: settings.registers.beside(path),
                    secret: settings.secret.map(|it| keys::beside(path, &it)),
                    identities_file: settings.identities_file.map(|it| keys::beside(path, &it)),
                    admin_token_file: doors::beside(settings.admin_token_file, path),
                    client_tls: settings.client_tls.beside(path),
                    admin_tls: settings.admin_tls.beside(path),
                    users: settings.users.beside(path),
                    ..settings
                }
            }
            None => RawSettings::default(),
        };
        complete(self.settings.over(file))
    }
}

fn read(path: &Path) -> Result<RawSettings> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let words = error.message().replace('\n', " ");
        anyhow::anyhow!("{name}:{line}: {}", moved(&words).unwrap_or(words))
    })
}

/// Says where a key is now, if the error is that it stands where it was before.
fn moved(words: &str) -> Option<String> {
    let unknown = words.strip_prefix("unknown field `")?;
    let (key, _) = unknown.split_once('`')?;
    (key == "total_order")
        .then(|| format!("`{key}` is in the table `[stack]` now: write `[stack]` above it"))
}

fn complete(settings: RawSettings) -> Result<NodeSettings> {
    let peers = settings
        .peers
        .context("`peers` is not set: name the address of every process of the cluster")?;
    let id = settings
        .id
        .context("`id` is not set: say which of the peers this process is, counted from 1")?;
    let membership = Membership::of_size(peers.len()).context("`peers`")?;
    check_peers(&peers)?;
    let me = ProcessId::from_rank(id).filter(|me| membership.contains(*me));
    let Some(me) = me else {
        bail!(
            "`id` is {id}, but `peers` names the processes 1 to {}",
            peers.len()
        );
    };
    let milliseconds = |name, value: Option<u64>, default| {
        let value = value.unwrap_or(default);
        ensure!(value > 0, "`{name}` must be above 0");
        Ok(Duration::from_millis(value))
    };
    let at_least = |name, value: Option<usize>, default, least| {
        let value = value.unwrap_or(default);
        ensure!(
            value >= least,
            "`{name}` is {value}, but at least {least} is needed"
        );
        Ok(value)
    };
    let (identities, file) = (settings.identities, settings.identities_file);
    let keys = keys::complete(settings.secret, identities, file, peers.len())?;
    let heartbeat = milliseconds("heartbeat_ms", settings.heartbeat_ms, 50)?;
    let deadline = milliseconds("deadline_ms", settings.deadline_ms, 2000)?;
    let settings = NodeSettings {
        me,
        membership,
        cluster: settings.cluster.unwrap_or_else(|| "quorate".into()),
        peers,
        bind: settings.bind,
        keys,
        transport: settings.transport.unwrap_or_default(),
        client: settings
            .client
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 6379))),
        admin: settings
            .admin
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8379))),
        doors: Doors::complete(
            settings.users,
            settings.client_tls,
            settings.admin_tls,
            settings.admin_token_file,
        )?,
        insecure: settings.insecure.unwrap_or(false),
        connections: at_least("connections", settings.connections, 1000, 1)?,
        client_idle: match settings.client_idle_ms.unwrap_or(0) {
            0 => None,
            idle => Some(Duration::from_millis(idle)),
        },
        // The least value has room for the longest request, whose buffer grows by doubling, and for another.
        client_memory: at_least("client_memory_mib", settings.client_memory_mib, 256, 32)?
            .saturating_mul(1024 * 1024),
        window: at_least("window", settings.window, 256, 1)?,
        consistency: settings.consistency.unwrap_or_default(),
        registers: settings.registers.complete(&membership, deadline)?,
        stack: settings.stack.complete(heartbeat)?,
        instances: at_least("instances", settings.instances, 4, 1)?,
        datagram: at_least("datagram", settings.datagram, 1200, 512)?,
        heartbeat,
        suspicion: milliseconds("suspicion_ms", settings.suspicion_ms, 500)?,
        deadline,
        lock_takeover: milliseconds("lock_takeover_ms", settings.lock_takeover_ms, 10_000)?,
        faults: settings.faults.unwrap_or(false),
        trace_records: settings.trace_records.unwrap_or(0),
        log: settings.log.unwrap_or_else(|| "info".into()),
        log_format: settings.log_format.unwrap_or_default(),
    };
    check(&settings)?;
    Ok(settings)
}

/// Refuses settings that do not go together.
fn check(settings: &NodeSettings) -> Result<()> {
    ensure!(
        settings.datagram <= 65_000,
        "`datagram` is {}, but at most 65000 bytes fit",
        settings.datagram
    );
    if !settings.insecure {
        settings
            .doors
            .ensure_locked(settings.client, settings.admin)?;
    }
    ensure_flooding_fits(settings)?;
    ensure!(
        settings.trace_records <= MOST_TRACE_RECORDS,
        "`trace_records` is {}, but at most {MOST_TRACE_RECORDS} are kept",
        settings.trace_records
    );
    ensure!(
        settings.heartbeat * 2 <= settings.suspicion,
        "`suspicion_ms` must be at least twice `heartbeat_ms`: one lost heartbeat is no crash"
    );
    ensure!(
        settings.client.port() == 0 || settings.client != settings.admin,
        "`client` and `admin` are both {}",
        settings.client
    );
    Ok(())
}

/// Checks that every peer is `host:port`, and that no two are the same.
fn check_peers(peers: &[String]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for (rank, peer) in (1..).zip(peers) {
        let address = peer.parse::<PeerAddress>().ok();
        let address = address.filter(|it| it.fixed().is_none_or(|fixed| fixed.port() > 0));
        ensure!(
            address.is_some(),
            "`peers`: process {rank} is `{peer}`, which is no HOST:PORT"
        );
        if let Some(first) = seen.insert(address, rank) {
            bail!("`peers`: processes {first} and {rank} are both at {peer}");
        }
    }
    Ok(())
}

/// Checks that flooded messages fit into datagrams, if access is generalized.
fn ensure_flooding_fits(settings: &NodeSettings) -> Result<()> {
    let udp = settings.transport == Transport::Udp;
    if !udp || !settings.registers.are_generalized() {
        return Ok(());
    }
    let sealing = settings
        .keys
        .as_ref()
        .map_or(0, |_| quorate_sealed::layer::SHORTER);
    let links = perfect::LinkSettings {
        datagram: settings.datagram - sealing,
        ..perfect::LinkSettings::default()
    };
    let (room, needed) = (
        links.datagram_message(),
        flooding::FloodingSettings::repeating().datagram,
    );
    ensure!(
        room >= needed,
        "`datagram` is {}, but `access = \"generalized\"` needs at least {}",
        settings.datagram,
        settings.datagram + needed.saturating_sub(room)
    );
    Ok(())
}

#[cfg(test)]
mod tests;
