//! What the programs share: a limit of time, and nodes in one program.
pub mod replica;

use quorate::prelude::*;
use std::{net::UdpSocket, time::Duration};
use tokio::time::timeout;

/// What comes of a step.
pub type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Nothing that is promised may take longer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What comes of it, unless it takes too long.
pub async fn within<T>(what: impl Future<Output = T>) -> Fallible<T> {
    Ok(timeout(LIMIT, what).await?)
}

/// The builders of p1 … pn of a cluster on loopback.
pub fn builders(cluster: &str, n: usize) -> Fallible<Vec<Builder>> {
    let sockets = (0..n).map(|_| UdpSocket::bind("127.0.0.1:0"));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    let peers = sockets.iter().map(UdpSocket::local_addr);
    let peers = peers.collect::<Result<Vec<_>, _>>()?;
    let builder = |(rank, socket)| {
        let me = ProcessId::from_rank(rank).ok_or("a rank is 1 to 128")?;
        let builder = Node::builder(me, peers.clone());
        Ok(builder.socket(socket).cluster(cluster))
    };
    (1..).zip(sockets).map(builder).collect()
}

/// Waits until each of these nodes has met all others.
pub async fn all_have_met(nodes: &[Node]) -> Fallible {
    for node in nodes {
        let mut status = node.status();
        within(status.wait_for(|now| now.connected().len() == nodes.len() - 1)).await??;
    }
    Ok(())
}
