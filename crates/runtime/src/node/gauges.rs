//! How the exchange with the peers goes, in numbers, for whoever asks.
use super::{Node, answer};
use crate::error::Error;
use quorate_abstractions::Subscribe;
use quorate_links::perfect::Gauge;
use std::fmt;

/// Reads how the exchange with each peer goes: what it owes, how long a round trip takes, how much may be in flight.
/// Clones read the same.
///
/// Nothing is measured for it that is not known anyway: who never asks pays nothing.
#[derive(Clone)]
pub struct Gauges(pub(super) Subscribe<Vec<Gauge>>);

impl Gauges {
    /// The peers, in the order of their ranks, without the process itself; as of some moment between the call and
    /// its return.
    ///
    /// Cancel safe: who stops waiting has changed nothing.
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
    /// How the exchange with each peer goes, in numbers.
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
