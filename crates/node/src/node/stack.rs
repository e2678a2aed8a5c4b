//! The protocol stack of a replica: edge, links, ◇P, Ω, total order, on the protocol thread.
use super::view::View;
use crate::configuration::{Configuration, Transport};
use anyhow::{Context, Result};
use quorate_abstractions::{
    fair_loss,
    link::Links,
    reconfigurable::{Indication, Request},
    total_order::Broadcast,
};
use quorate_broadcast::by_leader::{self, Rejoining};
use quorate_catalogue::broadcasts::{self, Below};
use quorate_core::{Addr, Counters, Host};
use quorate_detectors::{increasing_timeout, lowest_rank};
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
const ORDER: &str = "total-order";

/// A running stack.
pub struct Stack {
    /// Where messages enter total order.
    pub order: Addr<Request>,
    /// Where they come out, and whatever else the order has to say.
    pub indications: mpsc::UnboundedReceiver<Indication>,
    /// What the modules counted.
    pub counters: Counters,
    /// The switches of the fault injector.
    pub faults: Faults,
    /// What the protocol does, where the configuration wants it recorded.
    pub recorder: Option<Recorder>,
    /// The protocol thread.
    pub running: Running,
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
    let detector = increasing_timeout::spawn(&host.at("detector"), detection, heartbeat);
    let leader = lowest_rank::spawn(&host.at("leader"), &detector);
    let (up, indications) = mpsc::unbounded_channel();
    let tuning = by_leader::Configuration {
        instances: configuration.instances as u64,
        ..by_leader::Configuration::default()
    };
    // Once the receiver is gone the replica is stopping, and nobody waits for deliveries.
    let up = Addr::new(move |indication| drop(up.send(indication)));
    let below = Below {
        links: links.clone(),
        eventually_perfect: detector.clone(),
        leader: leader.clone(),
        perfect: None,
        total_order: tuning,
    };
    let order = order(configuration, &host, &below, up)?;

    let watched = view.clone();
    links
        .status()
        .send(Addr::new(move |status| watched.upon_status(status)));
    let watched = view.clone();
    detector.send(Addr::new(move |change| watched.upon_suspicion(change)));
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
        indications,
        counters: host.counters().clone(),
        faults,
        recorder,
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
    if configuration.stack.rejoins() {
        let links = &below.links;
        let rejoining = Rejoining {
            status: links.status(),
            adopt: links.adopt(),
        };
        return Ok(by_leader::spawn_reconfigurable(
            &host.at(ORDER),
            below.total_order,
            links.at(ORDER).lane(),
            &below.leader,
            rejoining,
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

fn link_configuration(configuration: &Configuration) -> perfect::Configuration {
    let stream = configuration.transport == Transport::Tcp;
    perfect::Configuration {
        cluster: configuration.cluster.clone(),
        stack: configuration.stack.to_string(),
        datagram: if stream {
            STREAM_DATAGRAM
        } else {
            configuration.datagram
        },
        stream,
        rejoin: configuration.stack.rejoins().then(|| ORDER.to_owned()),
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
