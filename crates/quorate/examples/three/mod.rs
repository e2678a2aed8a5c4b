//! Code that the examples share: some processes on loopback, in one program.
use quorate::{Builder, prelude::*, sealed::Secret};
use std::net::UdpSocket;

/// The result of an example.
pub type ExampleResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Builders of p1, p2 and p3, each with its socket.
///
/// # Errors
/// When no socket can be bound.
pub fn builders(cluster: &str) -> ExampleResult<Vec<Builder>> {
    builders_of(3, cluster)
}

/// Builders of so many processes, each with its socket.
///
/// # Errors
/// When no socket can be bound.
pub fn builders_of(n: usize, cluster: &str) -> ExampleResult<Vec<Builder>> {
    let (mut own, mut peers, mut identities) = (Vec::new(), Vec::new(), Vec::new());
    for rank in 1..=n {
        let me = ProcessId::from_rank(rank).ok_or("a rank is 1 to 128")?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        // Where the nodes are processes of their own, each has its secret in a file: see `quorate keys`.
        let secret = Secret::new(rand::random());
        peers.push(socket.local_addr()?);
        identities.push((me, secret.identity()));
        own.push((me, socket, secret));
    }
    let mut builders = Vec::new();
    for (me, socket, secret) in own {
        let builder = Node::builder(me, peers.clone()).socket(socket);
        builders.push(builder.cluster(cluster).sealed(secret, identities.clone()));
    }
    Ok(builders)
}

/// The next `count` messages, each with the process that broadcast it.
///
/// # Errors
/// When the node stops before that.
pub async fn take<T>(
    deliveries: &mut Deliveries<T>,
    count: usize,
) -> ExampleResult<Vec<(ProcessId, T)>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let delivery = deliveries.next().await.ok_or("the node has stopped")??;
        taken.push((delivery.origin, delivery.message));
    }
    Ok(taken)
}

/// Stops all nodes.
///
/// # Errors
/// When one does not stop in time.
pub async fn shut_down(nodes: Vec<Node>) -> ExampleResult<()> {
    for node in nodes {
        node.shutdown().await?;
    }
    Ok(())
}
