//! Stubborn links as a module: a message is sent again and again, until its sender stops it.
use super::{
    Builder,
    codec::{Coded, Coding},
    kept::Kept,
    links::offering,
    messages::Messages,
    outlet::Outlet,
};
use crate::error::{Error, StartError};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{Indication, Transmit},
    link::{self, Links, To},
};
use quorate_core::{Addr, Layer, ProcessId};
use quorate_links::stubborn::{self, Deliver, Pauses, Request};
use std::{fmt, sync::Arc};

/// The algorithms of a module of stubborn links, top down.
const STUBBORN: &str = "links:stubborn links:fair-loss";

/// The bytes that a stubborn link puts in front of a message: the sender and the message's identifier.
const HEAD: usize = 9;

/// Sends messages of type `T` again and again, through one module of a node. Clones share its window.
pub struct Repeater<T> {
    kept: Arc<Kept<Request>>,
    n: usize,
    codec: Coding<T>,
}

impl<T> Clone for Repeater<T> {
    fn clone(&self) -> Self {
        Repeater {
            kept: self.kept.clone(),
            n: self.n,
            codec: self.codec,
        }
    }
}

impl<T> fmt::Debug for Repeater<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeater").finish_non_exhaustive()
    }
}

impl<T> Repeater<T> {
    /// Waits for room in the module's [window](Builder::window), and sends: at once, and again after pauses
    /// that grow from 50 ms to 2 s, until the returned repetition is dropped. The window counts the
    /// messages that are being sent.
    ///
    /// A call that is dropped while it waits has not sent.
    ///
    /// # Errors
    /// [`NotMember`](Error::NotMember) when there is no such process; [`TooLarge`](Error::TooLarge) when no
    /// datagram carries the message; [`Unencodable`](Error::Unencodable); [`NotStarted`](Error::NotStarted),
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked): the message was not sent.
    pub async fn send(&self, to: ProcessId, message: &T) -> Result<Repetition, Error> {
        if to.rank() > self.n {
            let (process, n) = (to, self.n);
            return Err(Error::NotMember { process, n });
        }
        let bytes = (self.codec.encode)(message)?;
        let size = bytes.len();
        let id = self.kept.begin(size).await?;
        self.kept.request(Request::Send { to, id, bytes });
        Ok(Repetition {
            kept: self.kept.clone(),
            to,
            id,
            size,
        })
    }
}

/// A message that is sent again and again until this is dropped. Datagrams in flight may still arrive after
/// that.
#[must_use = "the message is not sent again once this is dropped"]
pub struct Repetition {
    kept: Arc<Kept<Request>>,
    to: ProcessId,
    id: u64,
    size: usize,
}

impl fmt::Debug for Repetition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repetition({}, to {})", self.id, self.to)
    }
}

impl Drop for Repetition {
    fn drop(&mut self) {
        let (to, id) = (self.to, self.id);
        self.kept.end(Request::Cancel { to, id }, self.size);
    }
}

/// Stubborn links.
impl Builder {
    /// Declares stubborn links for messages of type `T`: a message to a correct process arrives there again
    /// and again, until its sender stops it. They stand on [fair-loss links](Builder::datagrams): nothing
    /// is acknowledged, and a copy that arrives while the reader's [backlog](Builder::backlog) is full is
    /// lost. A message must fit into a datagram: it may have 35 bytes less than the builder's
    /// [datagram](Builder::datagram).
    ///
    /// # Errors
    /// When the name is used already.
    ///
    /// # Example
    /// ```
    /// # use futures::StreamExt;
    /// # use quorate_core::ProcessId;
    /// # use quorate_runtime::Node;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let peers = vec![socket.local_addr()?];
    /// let mut node = Node::builder(me, peers).socket(socket);
    /// let (beacon, mut seen) = node.stubborn::<String>("beacon")?;
    /// let node = node.start().await?;
    ///
    /// let repetition = beacon.send(me, &"here".to_owned()).await?;
    /// for _ in 0..2 {
    ///     let (_, word) = seen.next().await.ok_or("the node has stopped")??;
    ///     assert_eq!(word, "here");
    /// }
    /// drop(repetition);
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stubborn<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Repeater<T>, Messages<T>), StartError> {
        self.stubborn_of(name.into())
    }

    fn stubborn_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
    ) -> Result<(Repeater<T>, Messages<T>), StartError> {
        let kept = Arc::new(Kept::new(self.limits));
        let (outlet, intake) = Outlet::new(self.backlog);
        let (opened, inlet) = (kept.clone(), outlet.clone());
        self.module(&name, &codec.of(&name, STUBBORN), move |wiring| {
            let links = wiring.links.datagrams();
            let up = offering(&wiring, inlet).with(|Deliver { from, bytes, .. }: Deliver| {
                link::Deliver {
                    from,
                    message: bytes,
                }
            });
            let lane = links.lane();
            let edge = move |up: Addr<Indication>| over(lane, up);
            let requests = stubborn::spawn(&wiring.host, Pauses::default(), edge, up);
            let longest = links.longest().saturating_sub(HEAD);
            opened.open(&wiring, requests, longest);
        })?;
        self.handles.agreements.push(kept.clone());
        self.handles.outlets.push(Arc::new(outlet));
        let n = self.processes();
        let repeater = Repeater { kept, n, codec };
        Ok((repeater, Messages::new(intake, codec)))
    }
}

/// A fair-loss lane, in place of the edge on which a stubborn link stands. A message that names another
/// process than its sender is dropped.
fn over(lane: impl Layer<link::Port<Bytes>>, up: Addr<Indication>) -> Addr<Transmit> {
    let arrive = Addr::new(
        move |link::Deliver { from, message }: link::Deliver<Bytes>| {
            if message.first().map(|rank| usize::from(*rank)) == Some(from.rank()) {
                let segment = message.len();
                up.send(Indication::Arrive {
                    bytes: message,
                    segment,
                });
            }
        },
    );
    let transmit = |Transmit { to, bytes, .. }: Transmit| link::SendRequest {
        to: To::One(to),
        message: bytes,
    };
    lane.attach(arrive).with(transmit)
}
