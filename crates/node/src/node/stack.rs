//! The protocol stack of a replica: edge, links, ◇P, Ω, total order or registers, on the protocol thread.
mod memory;

pub use memory::Memory;

use super::{
    indications::{self, Indications},
    one_shot::OneShot,
    view::View,
};
use crate::configuration::{Configuration, Consistency, Transport};
use anyhow::{Context, Result};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    atomic_commit::{self, Outcome},
    consensus, fair_loss,
    link::Links,
    perfect::Crash,
    pressure::Wait,
    reconfigurable::{Indication, Request},
    total_order::Broadcast,
};
use quorate_broadcast::by_leader;
use quorate_catalogue::{
    agreements::Consensus,
    broadcasts::{self, Below},
};
use quorate_core::{Addr, Counters, Host, ProcessId};
use quorate_detectors::{
    exclude_on_timeout,
    exclusion_notice::{self, Reported},
    first_incarnations, increasing_timeout, lowest_rank,
};
use quorate_links::perfect::{self, PerfectLinks};
use quorate_runtime::{
    faults::Faults,
    host::Identity,
    recorder::Recorder,
    tcp::{TcpConfiguration, TcpEdge},
    thread::{Ending, Protocol, ProtocolThread},
    udp::{UdpConfiguration, UdpEdge},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

/// Over a byte stream, what the link takes for a datagram is only a unit of acknowledgement.
const STREAM_DATAGRAM: usize = 32 * 1024;

/// How long the end waits until the others have acknowledged what was sent to them.
const DRAINING: Duration = Duration::from_secs(2);

/// Where total order is.
pub const ORDER: &str = "total-order";

/// A running stack.
pub struct Stack {
    /// Total order, where that serves the store.
    pub order: Option<Order>,
    /// Registers, a snapshot and lattice agreement.
    pub memory: Memory,
    /// What the modules counted.
    pub counters: Counters,
    /// The switches of the fault injector.
    pub faults: Faults,
    /// What the protocol does, where the configuration wants it recorded.
    pub recorder: Option<Recorder>,
    /// What decides what is proposed; `None`: total order does.
    pub consensus: Option<OneShot<consensus::Propose, Bytes>>,
    /// What commits.
    pub commit: OneShot<atomic_commit::Propose, Outcome>,
    /// Who reports this process as crashed, where the system is assumed to be synchronous.
    pub reported: mpsc::UnboundedReceiver<ProcessId>,
    /// The protocol thread.
    pub running: Running,
}

/// Total order.
pub struct Order {
    /// Where messages enter it.
    pub requests: Addr<Request>,
    /// Where they come out, and whatever else the order has to say.
    pub indications: Indications,
}

/// The protocol thread of a stack.
pub struct Running {
    thread: ProtocolThread,
    drained: Addr<Addr<()>>,
}

impl Running {
    /// Waits for the end of the thread; says why it ended.
    pub async fn ended(&self) -> String {
        match self.thread.ended().await {
            Ending::Stopped => "it was stopped".into(),
            Ending::Panicked(what) => format!("a panic in {what}"),
        }
    }

    /// Waits, not for long, until the peers have what was sent to them; then stops the thread.
    pub async fn shutdown(self) {
        let (done, drained) = oneshot::channel();
        let done = std::sync::Mutex::new(Some(done));
        self.drained.send(Addr::new(move |()| {
            let done = done.lock().ok().and_then(|mut done| done.take());
            if let Some(done) = done {
                let _ = done.send(());
            }
        }));
        if timeout(DRAINING, drained).await.is_err() {
            warn!("some peers have not acknowledged everything");
        }
        self.thread.stop();
        self.thread.ended().await;
    }
}

/// Starts the stack of the process with this identity. What it learns of the cluster goes to `view`.
pub fn start(
    configuration: &Configuration,
    identity: Identity,
    peers: &[SocketAddr],
    view: &View,
) -> Result<Stack> {
    let mut protocol = Protocol::new(identity).context("cannot start the protocol thread")?;
    let host = protocol.host().clone();

    let links = PerfectLinks::new(&host, link_configuration(configuration));
    let records = configuration.trace_records;
    let recorder = (records > 0).then(|| protocol.record(records));
    if let Some(recorder) = &recorder {
        links.tap(Arc::new(recorder.clone()));
    }
    let detection = increasing_timeout::Configuration {
        interval: configuration.heartbeat,
        timeout: configuration.suspicion,
    };
    let heartbeat = |up| links.heartbeat(up);
    let detector = increasing_timeout::spawn_with_incarnations(
        &host.at("detector"),
        detection,
        heartbeat,
        &links.status(),
    );
    let suspicions = detector.suspicions.clone();
    let leader = lowest_rank::spawn_by_reach(&host.at("leader"), &detector.reach);
    let tuning = by_leader::Configuration {
        instances: configuration.instances as u64,
        ..by_leader::Configuration::default()
    };
    let (perfect, reported) = synchrony(configuration, &host, &links);
    let below = Below {
        links: links.clone(),
        eventually_perfect: suspicions.clone(),
        leader: leader.clone(),
        perfect,
        total_order: tuning,
    };
    let order = match configuration.consistency {
        Consistency::TotalOrder => {
            let links = links.at(ORDER);
            // What the replica waits for it learns with all other modules.
            links.pressure(Wait::for_majority(), Addr::nowhere());
            let (up, indications) = indications::channel(links.backlog());
            Some(Order {
                requests: order(configuration, &host, &below, up)?,
                indications,
            })
        }
        Consistency::Register => None,
    };
    let memory = memory::start(configuration, &host, &links, &links.datagrams(), view);
    let (consensus, commit) = agreements(configuration, &host, below, &detector)?;

    let rooms = view.rooms().clone();
    let rooms = Addr::new(move |news| rooms.upon_room(news));
    links.rooms().send(rooms);
    let watched = view.clone();
    links
        .status()
        .send(Addr::new(move |status| watched.upon_status(status)));
    let watched = view.clone();
    suspicions.send(Addr::new(move |change| watched.upon_suspicion(change)));
    let watched = view.clone();
    let timeouts = Addr::new(move |allowed| watched.upon_timeout(allowed));
    detector.timeouts.send(timeouts);
    let watched = view.clone();
    let reach = Addr::new(move |reach| watched.upon_reach(reach));
    detector.reach.send(reach);
    let watched = view.clone();
    leader.send(Addr::new(move |trust| watched.upon_trust(trust)));

    let faults = Faults::default();
    let arrivals = links.arrivals();
    let edge = attach(&mut protocol, configuration, peers, &faults, arrivals)?;
    links.start(edge).context("cannot start the links")?;
    let drained = links.drained();
    let thread = protocol
        .start()
        .context("cannot start the protocol thread")?;
    Ok(Stack {
        order,
        memory,
        counters: host.counters().clone(),
        faults,
        recorder,
        consensus,
        commit,
        reported,
        running: Running { thread, drained },
    })
}

/// Starts total order. By leader, it puts processes that come back in their slots again.
fn order<H: Host>(
    configuration: &Configuration,
    host: &H,
    below: &Below<PerfectLinks<H>>,
    up: Addr<Indication>,
) -> Result<Addr<Request>> {
    if configuration.rejoins() {
        let links = &below.links;
        return Ok(by_leader::spawn_reconfigurable(
            &host.at(ORDER),
            below.total_order,
            &links.at(ORDER),
            &below.leader,
            links.adopt(),
            up,
        ));
    }
    let up = up.with(Indication::Deliver);
    let broadcast = broadcasts::spawn(configuration.stack.total_order, host, below, up)?;
    Ok(Addr::new(move |request| match request {
        Request::Broadcast(Broadcast { payload }) => broadcast.send(payload),
        // Nobody asked for a state.
        Request::State { .. } => {}
    }))
}

/// P, if the system is assumed to be synchronous; and who reports this process as crashed.
fn synchrony<H: Host>(
    configuration: &Configuration,
    host: &H,
    links: &PerfectLinks<H>,
) -> (Option<Subscribe<Crash>>, mpsc::UnboundedReceiver<ProcessId>) {
    let (reports, reported) = mpsc::unbounded_channel();
    let perfect = configuration.stack.synchrony.map(|bounds| {
        let host = host.at("synchrony");
        let heartbeat = |up| links.heartbeat(up);
        let status = links.status();
        let perfect =
            exclude_on_timeout::spawn_with_incarnations(&host, bounds, heartbeat, &status);
        let notices = links.at("synchrony").lane();
        let up = Addr::new(move |Reported { by }| {
            // Once the receiver is gone the node is stopping already.
            let _ = reports.send(by);
        });
        exclusion_notice::spawn(&host.at("notices"), notices, &status, &perfect, up);
        perfect
    });
    (perfect, reported)
}

type Agreeing = (
    Option<OneShot<consensus::Propose, Bytes>>,
    OneShot<atomic_commit::Propose, Outcome>,
);

/// Starts what proposals and votes go to, below which no incarnation but the first of a slot counts.
fn agreements<H: Host + Clone>(
    configuration: &Configuration,
    host: &H,
    below: Below<PerfectLinks<H>>,
    detector: &increasing_timeout::Detector,
) -> Result<Agreeing> {
    let firsts = host.at("first-incarnations");
    let status = below.links.status();
    let (suspicions, reach) = (&detector.suspicions, &detector.reach);
    let detector = first_incarnations::spawn(&firsts, suspicions, reach, &status);
    let leader = lowest_rank::spawn_by_reach(&firsts.at("leader"), &detector.reach);
    let below = Below {
        eventually_perfect: detector.suspicions,
        leader,
        ..below
    };
    let stack = &configuration.stack;
    let consensus = match stack.consensus {
        Consensus::ByTotalOrder => None,
        chosen => Some(OneShot::start(|up| {
            let up = up.with(|consensus::Decide { instance, value }| (instance, value));
            match memory::system(&configuration.registers, host.processes().n()) {
                // Where there is a file of quorums, they are its.
                Some(system) if chosen == Consensus::ByQuorums => {
                    let datagrams = below.links.datagrams();
                    let ground = memory::ground(host, &below.links, &datagrams);
                    Ok(ground.at("consensus").consensus(&system, up))
                }
                _ => chosen.spawn(host, &below, up),
            }
        })?),
    };
    let commit = OneShot::start(|up| {
        let up = up.with(|atomic_commit::Decide { instance, outcome }| (instance, outcome));
        stack.commit.spawn(host, &below, up)
    })?;
    Ok((consensus, commit))
}

fn link_configuration(configuration: &Configuration) -> perfect::Configuration {
    let stream = configuration.transport == Transport::Tcp;
    perfect::Configuration {
        cluster: configuration.cluster.clone(),
        stack: configuration.algorithms(),
        datagram: if stream {
            STREAM_DATAGRAM
        } else {
            configuration.datagram
        },
        stream,
        rejoin: configuration.rejoins().then(|| ORDER.to_owned()),
        ..perfect::Configuration::default()
    }
}

/// Opens the socket that the peers talk to, and joins it to the link.
fn attach(
    protocol: &mut Protocol,
    configuration: &Configuration,
    peers: &[SocketAddr],
    faults: &Faults,
    up: Addr<fair_loss::Indication>,
) -> Result<Addr<fair_loss::Transmit>> {
    let own = peers.get(configuration.me.index()).copied();
    let bind = configuration.bind.or(own).context("`peers` is empty")?;
    let cannot = || format!("cannot listen at {bind} to the peers (`bind`)");
    match configuration.transport {
        Transport::Udp => {
            let socket = std::net::UdpSocket::bind(bind).with_context(cannot)?;
            UdpEdge::attach(
                protocol,
                socket,
                peers,
                UdpConfiguration::default(),
                faults,
                up,
            )
            .with_context(cannot)
        }
        Transport::Tcp => {
            let listener = std::net::TcpListener::bind(bind).with_context(cannot)?;
            TcpEdge::attach(
                protocol,
                listener,
                peers,
                TcpConfiguration::default(),
                faults,
                up,
            )
            .with_context(cannot)
        }
    }
}
