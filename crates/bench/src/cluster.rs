//! Nodes on loopback, in this operating-system process, each with a protocol thread and sockets.
use crate::{
    Error,
    strangers::{Flood, Strangers},
};
use quorate_core::ProcessId;
use quorate_runtime::{
    Builder, Node,
    node::{Admission, Socket},
};
use quorate_sealed::{Identity, Secret};
use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};
use tokio::{runtime, time::timeout};

/// The name of the cluster.
const NAME: &str = "bench";
/// How long the nodes may take to find each other.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The length of a datagram that loopback carries whole, with its MTU of 64 KiB.
const LOOPBACK_DATAGRAM: usize = 60 * 1024;

/// The transport between the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// Connections.
    Tcp,
}

/// How the nodes are connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Network {
    pub transport: Transport,
    /// The length of a datagram in bytes; `None`: the length that suits loopback.
    pub datagram: Option<usize>,
    /// Whether the links are sealed.
    pub sealed: bool,
}

impl Network {
    fn bind(self) -> std::io::Result<(Socket, SocketAddr)> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(match self.transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(any)?;
                let address = socket.local_addr()?;
                (socket.into(), address)
            }
            Transport::Tcp => {
                let listener = TcpListener::bind(any)?;
                let address = listener.local_addr()?;
                (listener.into(), address)
            }
        })
    }
}

/// A secret that everybody knows: the cost does not depend on it.
fn secret(index: usize) -> Secret {
    Secret::new([index as u8 + 1; 32])
}

fn identities(n: usize) -> Vec<(ProcessId, Identity)> {
    let seats = (0..n).filter_map(|index| Some((ProcessId::from_rank(index + 1)?, index)));
    seats
        .map(|(process, index)| (process, secret(index).identity()))
        .collect()
}

/// The running nodes. They stop when this is dropped.
pub(crate) struct Cluster {
    runtime: runtime::Runtime,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `n` nodes, each with the modules that `declare` declares for its index, and waits until every
    /// node is connected to every other.
    pub fn start(
        n: usize,
        network: Network,
        mut declare: impl FnMut(usize, &mut Builder) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sockets = (0..n).map(|_| network.bind());
        let (sockets, peers): (Vec<_>, Vec<_>) =
            sockets.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let mut nodes = Vec::new();
        for (index, socket) in sockets.into_iter().enumerate() {
            let me =
                ProcessId::from_rank(index + 1).ok_or(Error::Unusable("too many processes"))?;
            let mut builder = Node::builder(me, peers.clone())
                .cluster(NAME)
                .socket(socket);
            if let Some(datagram) = network.datagram {
                builder = builder.datagram(datagram);
            } else if network.transport == Transport::Udp {
                builder = builder.datagram(LOOPBACK_DATAGRAM);
            }
            if network.sealed {
                builder = builder.sealed(secret(index), identities(n));
            }
            declare(index, &mut builder)?;
            nodes.push(runtime.block_on(builder.start())?);
        }
        let cluster = Cluster { runtime, nodes };
        cluster.meet()?;
        Ok(cluster)
    }

    fn meet(&self) -> Result<(), Error> {
        let others = self.nodes.len() - 1;
        let meeting = async {
            for node in &self.nodes {
                let mut status = node.status();
                let met = status.wait_for(|now| {
                    now.admission == Admission::Admitted && now.connected().len() == others
                });
                // A node that stops is noticed by the code that waits for its results.
                let _ = met.await;
            }
        };
        self.runtime
            .block_on(async { timeout(TIMEOUT, meeting).await })
            .map_err(|_| Error::Stalled(TIMEOUT))
    }

    /// Strangers begin handshakes with the nodes, until what this returns is dropped.
    pub fn flood(&self, whither: Strangers) -> Result<Flood, Error> {
        let addresses: Vec<_> = self.nodes.iter().map(Node::local_addr).collect();
        Flood::start(whither, NAME, &addresses, &identities(self.nodes.len()))
    }

    /// The counters of every node, to find out where time went.
    pub fn counts(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in &self.nodes {
            for (module, reason, count) in node.counters().snapshot() {
                lines.push(format!("{} {module} {reason} {count}", node.me()));
            }
        }
        lines
    }
}
