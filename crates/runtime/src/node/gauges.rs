//! Measurements of the exchange with each peer.
use super::{Node, answer};
use crate::error::Error;
use quorate_abstractions::Subscribe;
use quorate_links::perfect::Gauge;
use std::fmt;

/// Reads measurements of the exchange with each peer: the bytes that the peer has not acknowledged, the
/// round-trip time, and how much may be in flight. Clones read the same values.
///
/// The node has these values in any case: a program that never reads them pays nothing.
#[derive(Clone)]
pub struct Gauges(pub(super) Subscribe<Vec<Gauge>>);

impl Gauges {
    /// The gauges of the peers, in the order of their ranks, without the process itself, as of some moment
    /// between the call and its return.
    ///
    /// Cancel safe: a caller that stops waiting has changed nothing.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) when the node has stopped.
    pub async fn read(&self) -> Result<Vec<Gauge>, Error> {
        answer(&self.0).await.ok_or(Error::Stopped)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Node {
    /// Measurements of the exchange with each peer.
    ///
    /// ```
    /// # use quorate_runtime::Node;
    /// # use quorate_core::ProcessId;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let peers = ["127.0.0.1:0".parse::<std::net::SocketAddr>()?];
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let node = Node::builder(me, peers).socket(socket).start().await?;
    /// for gauge in node.gauges().read().await? {
    ///     println!("{} owes {} bytes, {:?}", gauge.peer, gauge.owed, gauge.round_trip);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn gauges(&self) -> Gauges {
        Gauges(self.inner.gauges.clone())
    }
}
