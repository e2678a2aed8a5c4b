//! `quorate node`: one replica of the key-value store.
mod admin;
pub mod listeners;
mod modules;
mod outcomes;
pub mod registers;
pub mod replica;
pub mod unwritten;
mod view;

use crate::{
    doors::{
        reload::{Change, Reload},
        tls::{Demand, Plain, Tls, TlsFiles},
        tokens::AdminDoor,
        users::ClientDoor,
    },
    logging, resp,
    settings::{Consistency, NodeSettings, Source},
};
use admin::{Admin, Agreements, Memory};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use modules::Modules;
use quorate_core::Incarnation;
use quorate_runtime::{
    Error,
    node::{self, NodeStatus},
};
use quorate_services::kv::MAXIMUM_BYTES;
use quorate_stacks::quorum_system::STORE;
use registers::Registers;
use replica::Replica;
use serde_json::json;
use std::{fmt::Write, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use unwritten::Together;
use view::View;

/// Runs one replica of the key-value store.
#[derive(Args, Debug)]
pub struct Node {
    #[command(flatten)]
    source: Source,
    /// Stop when the standard input ends: for a parent that must not leave replicas behind.
    #[arg(long, hide = true)]
    stop_at_end_of_input: bool,
}

/// The exit status of a replica whose seat another start of the same process has taken over. If a supervisor
/// started it again, it would displace that other one in turn; so this status differs from that of other
/// failures.
const DISPLACED: u8 = 3;

/// Runs a replica until a signal stops it, or another start takes its seat over.
pub fn run(node: Node) -> Result<ExitCode> {
    let settings = node.source.clone().load()?;
    logging::start(&settings.log, settings.log_format)?;
    // Clients and HTTP share one thread; the protocol has its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        let doors = Doors::new(node.source, &settings)?;
        let listeners = open(&settings, node.stop_at_end_of_input).await?;
        doors.reload.upon_hangup()?;
        serve(settings, listeners, doors).await
    });
    // The operating system may still be looking up a name, which can take long.
    runtime.shutdown_background();
    served
}

/// What serves the store.
#[derive(Clone)]
pub enum Store {
    /// Total order.
    Ordered(Replica),
    /// One register for each key.
    Registers(Registers),
}

/// The listeners that must be open before the protocol starts.
struct Listeners {
    stop: CancellationToken,
    clients: TcpListener,
    http: TcpListener,
}

/// Who comes in, and how.
struct Doors {
    client: Arc<ClientDoor>,
    client_tls: Option<Tls>,
    admin: Arc<AdminDoor>,
    admin_tls: Option<Tls>,
    /// What of it, and of other parts of the node, can be read anew.
    reload: Reload,
}

impl Doors {
    fn new(source: Source, settings: &NodeSettings) -> Result<Self> {
        let doors = &settings.doors;
        let client_tls = speak(
            doors.client_tls.as_ref(),
            CLIENT_TLS,
            Demand::Always,
            resp::NO_TLS,
        )?;
        let admin_tls = speak(
            doors.admin_tls.as_ref(),
            ADMIN_TLS,
            Demand::IfAny,
            admin::NO_TLS,
        )?;
        let client = ClientDoor::new(doors.users.clone());
        let asks = doors
            .admin_tls
            .as_ref()
            .is_some_and(|it| it.client_ca.is_some());
        let admin = AdminDoor::new(doors.tokens.clone(), asks);
        let (for_clients, for_operators) = (client.clone(), admin.clone());
        let (of_clients, of_operators) = (client_tls.clone(), admin_tls.clone());
        let reload = Reload::new(source, settings.clone());
        reload.add("users", move |new| {
            let (door, users) = (for_clients.clone(), new.doors.users.clone());
            Ok(Box::new(move || door.replace(users)))
        });
        reload.add("admin_token_file", move |new| {
            let (door, tokens) = (for_operators.clone(), new.doors.tokens.clone());
            Ok(Box::new(move || door.replace(tokens)))
        });
        reload.add(CLIENT_TLS, move |new| {
            let files = new.doors.client_tls.as_ref();
            certificates(of_clients.clone(), files, Demand::Always)
        });
        reload.add(ADMIN_TLS, move |new| {
            let files = new.doors.admin_tls.as_ref();
            let still_asks = files.is_some_and(|it| it.client_ca.is_some());
            if still_asks != asks {
                bail!("`client_ca` is set or taken away: that needs a restart");
            }
            certificates(of_operators.clone(), files, Demand::IfAny)
        });
        Ok(Doors {
            client,
            client_tls,
            admin,
            admin_tls,
            reload,
        })
    }

    /// Whether anybody is asked for anything.
    fn ask(&self) -> bool {
        let tls = self.client_tls.is_some() || self.admin_tls.is_some();
        tls || !self.client.is_open() || !self.admin.is_open()
    }
}

const CLIENT_TLS: &str = "[client_tls]";
const ADMIN_TLS: &str = "[admin_tls]";

/// TLS for a port, if these settings say that it speaks it.
fn speak(
    files: Option<&TlsFiles>,
    key: &'static str,
    demand: Demand,
    plain: Plain,
) -> Result<Option<Tls>> {
    let Some(files) = files else {
        return Ok(None);
    };
    Ok(Some(Tls::new(files.load(demand).context(key)?, plain)))
}

/// Prepares other certificates for a port.
fn certificates(tls: Option<Tls>, files: Option<&TlsFiles>, demand: Demand) -> Result<Change> {
    match (tls, files) {
        (None, None) => Ok(Box::new(|| {})),
        (Some(tls), Some(files)) => {
            let config = files.load(demand)?;
            Ok(Box::new(move || tls.replace(config)))
        }
        (None, Some(_)) => bail!("the port speaks no TLS: that needs a restart"),
        (Some(_), None) => bail!("the port speaks TLS: to end that needs a restart"),
    }
}

/// Opens the listeners.
async fn open(settings: &NodeSettings, stop_at_end_of_input: bool) -> Result<Listeners> {
    let stop = stop_signal()?;
    if stop_at_end_of_input {
        watch_input(stop.clone());
    }
    let clients = listen(settings.client, "clients (`client`)").await?;
    let http = listen(settings.admin, "HTTP (`admin`)").await?;
    Ok(Listeners {
        stop,
        clients,
        http,
    })
}

async fn serve(settings: NodeSettings, listeners: Listeners, doors: Doors) -> Result<ExitCode> {
    let Listeners {
        stop,
        clients,
        http,
    } = listeners;
    let (builder, modules) = modules::declare(&settings)?;
    let node = builder.start().await.context("cannot start the node")?;
    if let Some(ring) = node.key_ring() {
        read_keys_anew(&doors.reload, ring.clone());
    }
    let view = View::of(&node, settings.membership, settings.deadline);
    let locks = modules.locks.clone();
    let (store, memory, agreements) = serving(&settings, modules, &view);
    watch_outcomes(&store, &view);
    announce(
        &settings,
        node.incarnation(),
        clients.local_addr()?,
        http.local_addr()?,
    );

    let admin = Admin {
        view,
        store: store.clone(),
        memory,
        counters: node.counters().clone(),
        gauges: node.gauges(),
        identity: json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cluster": settings.cluster,
            "incarnation": node.incarnation().to_string(),
            "transport": settings.transport.to_string(),
            "consistency": settings.consistency.to_string(),
            "stack": node.stack(),
        }),
        agreements,
        peers: settings.peers.clone().into(),
        deadline: settings.deadline,
        faults: settings.faults.then(|| node.faults().clone()),
        recorder: node.recorder().cloned(),
        client_door: doors.client.clone(),
        operator_door: doors.admin.clone(),
        reload: doors.reload.clone(),
        insecure: settings.insecure,
        membership: settings.membership,
        me: settings.me,
    };
    let session = resp::Session {
        store,
        locks,
        deadline: settings.deadline,
        info: info_text(admin.clone()),
        stall: resp::STALL,
        idle: settings.client_idle,
        together: Together::new(settings.client_memory),
    };
    let watched = admin.view.clone();
    let causes = admin.view.clone();
    tokio::spawn(causes.watch_causes(|cause| warn!("this replica cannot serve: {cause}")));
    let connections =
        listeners::room_for_clients(settings.connections, settings.membership.n(), doors.ask());
    let router = admin::router(admin);
    tokio::spawn(admin::serve(http, router, doors.admin, doors.admin_tls));
    let port = resp::Port {
        listener: clients,
        connections,
        door: doors.client,
        tls: doors.client_tls,
    };
    let clients = tokio::spawn(resp::serve(port, session, stop.clone()));

    let code = tokio::select! {
        () = stop.cancelled() => ExitCode::SUCCESS,
        () = displaced(node.status()) => {
            eprintln!("quorate: {}", watched.live().err().unwrap_or_default());
            stop.cancel();
            ExitCode::from(DISPLACED)
        }
        _ = node.ended() => return Err(why(&node).await),
    };
    info!("stopping: clients are told what became of their commands");
    let limit = settings.deadline + Duration::from_secs(1);
    if timeout(limit, clients).await.is_err() {
        warn!("some clients were still reading their replies");
    }
    if let Err(error) = node.shutdown().await {
        warn!("{error}");
    }
    info!("stopped");
    Ok(code)
}

/// Lets a reload take up other keys.
fn read_keys_anew(reload: &Reload, ring: node::KeyRing) {
    reload.add("keys", move |new| {
        let keys = new.keys.as_ref();
        let keys = keys.context("`secret` is not set any more: that needs a restart")?;
        let prepared = ring.prepare(keys.read()?, keys.identities.clone())?;
        Ok(Box::new(move || prepared.take_up()))
    });
}

/// Waits until this process has taken part and may not any more: another start of it has its seat.
async fn displaced(mut status: watch::Receiver<NodeStatus>) {
    let displaced = |now: &NodeStatus| {
        now.took_part && matches!(now.admission, node::Admission::Excluded { .. })
    };
    if status.wait_for(displaced).await.is_err() {
        // The node has stopped.
        std::future::pending::<()>().await;
    }
}

/// Makes the objects that serve clients and operators.
fn serving(settings: &NodeSettings, modules: Modules, view: &View) -> (Store, Memory, Agreements) {
    let longest = if settings.registers.carry_the_store() {
        STORE
    } else {
        MAXIMUM_BYTES
    };
    let registers = Registers::new(modules.registers, modules.lengths, longest, view);
    let store = match modules.store {
        Some(store) => {
            let replica = Replica::new(store, view.clone());
            let sender = replica.clone();
            tokio::spawn(async move { sender.send_parcels().await });
            Store::Ordered(replica)
        }
        None => Store::Registers(registers.clone()),
    };
    let memory = Memory {
        registers,
        snapshot: modules.snapshot,
        joined: modules.joined,
    };
    let agreements = Agreements {
        consensus: modules.consensus,
        commit: modules.commit,
        stack: settings.stack.clone(),
    };
    (store, memory, agreements)
}

/// The reason why a node has ended by itself.
async fn why(node: &quorate_runtime::Node) -> anyhow::Error {
    match node.shutdown().await {
        Err(Error::ReportedCrashed { by }) => anyhow!(
            "{by} has reported this process as crashed: the system is not as synchronous as `[stack]` \
             assumes, and this process has to stop"
        ),
        Err(error) => anyhow!("the node has ended: {error}"),
        Ok(()) => anyhow!("the node has ended"),
    }
}

/// Derives readiness from the outcomes of the store's requests.
fn watch_outcomes(store: &Store, view: &View) {
    let (store, view) = (store.clone(), view.clone());
    tokio::spawn(async move {
        let role = view.role();
        match &store {
            Store::Ordered(replica) => view.outcomes().watch(replica, role).await,
            Store::Registers(registers) => view.outcomes().watch(registers, role).await,
        }
    });
}

/// Returns a token that SIGTERM or SIGINT cancels.
fn stop_signal() -> Result<CancellationToken> {
    let cannot = "cannot wait for signals";
    let mut terminate = signal(SignalKind::terminate()).context(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(cannot)?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

/// Cancels `stop` when the standard input ends, because the process at its other end is gone.
fn watch_input(stop: CancellationToken) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.cancel();
    });
}

async fn listen(address: SocketAddr, whom: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address} to {whom}"))
}

fn announce(
    settings: &NodeSettings,
    incarnation: Incarnation,
    client: SocketAddr,
    admin: SocketAddr,
) {
    let n = settings.membership.n();
    let (cluster, transport) = (&settings.cluster, settings.transport);
    info!(
        %incarnation,
        "p{} of {n} of the cluster `{cluster}` over {transport}: clients at {client}, HTTP at {admin}",
        settings.me.rank()
    );
    // If the quorums come from a file, that file says what they survive.
    let by_file =
        settings.consistency == Consistency::Register && settings.registers.carry_the_store();
    if n > 1 && n.is_multiple_of(2) && !by_file {
        let fewer = match n - 1 {
            1 => "1 process does".to_owned(),
            fewer => format!("{fewer} processes do"),
        };
        warn!("{n} processes survive no more crashes than {fewer}: an odd number is better");
    }
    if n == 1 {
        warn!("a single process: nothing is replicated, and a restart loses everything");
    }
    if settings.faults {
        warn!("fault injection is allowed: whoever may ask at {admin} can cut this process off");
    }
    if settings.insecure {
        warn!("insecure = true: whoever reaches a port that stands open can do everything there");
    }
}

/// The text of INFO: what this replica knows, without asking the others.
fn info_text(admin: Admin) -> impl Fn() -> String + Clone {
    move || {
        let status = admin.status();
        let mut text = String::from("# Quorate\r\n");
        for (key, value) in status.as_object().into_iter().flatten() {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(_) | serde_json::Value::Null => continue,
                other => other.to_string(),
            };
            let _ = write!(text, "{key}:{value}\r\n");
        }
        text + &format!("# Keyspace\r\ndb0:keys={},expires=0\r\n", status["keys"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn only_who_took_part_can_be_displaced() {
        let p1 = quorate_core::ProcessId::from_rank(1).unwrap();
        let now = watch::Sender::new(NodeStatus::new(p1, Incarnation(1), &[], 1));
        let mut displaced = Box::pin(displaced(now.subscribe()));
        let excluded = || node::Admission::Excluded {
            by: p1,
            reason: "another start".to_owned(),
        };
        now.send_modify(|now| now.admission = excluded());
        assert!(displaced.as_mut().now_or_never().is_none());
        now.send_modify(|now| (now.admission, now.took_part) = (node::Admission::Unreadable, true));
        assert!(displaced.as_mut().now_or_never().is_none());
        now.send_modify(|now| now.admission = excluded());
        assert!(displaced.now_or_never().is_some());
    }
}
