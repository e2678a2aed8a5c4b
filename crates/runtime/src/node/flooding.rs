//! Flooding as a module: a message reaches each process to which a path of channels leads.
use super::{
    Builder,
    codec::{Coded, Coding},
    kept::Kept,
    links::offering,
    messages::Messages,
    outlet::Outlet,
    window::Limits,
};
use crate::error::{Error, StartError};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    flooding::{Request, Slot},
    link::{Deliver, Links, To},
};
use quorate_core::{
    Observation, Observe, ProcessSet,
    message::digest,
    wire::{Undecodable, Wire},
};
use quorate_quorums::flooding::{self, FloodingSettings};
use std::{fmt, sync::Arc};

/// The algorithms of a module of flooding, top down.
const FLOODING: &str = "flooding:repeating links:fair-loss";

/// The longest message, in bytes.
const LONGEST: usize = 64 * 1024;

/// The most posts of a process at a time.
const POSTS: usize = 1 << 10;

/// A message, encoded.
struct Flooded(Bytes);

impl Wire for Flooded {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.0);
    }

    fn into_bytes(self) -> Bytes {
        self.0
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(Flooded(bytes))
    }
}

impl Observe for Flooded {
    fn observe(&self) -> Observation {
        Observation::internal("Flooded").digest(digest(&self.0))
    }
}

/// Posts messages of type `T`, through one module of a node. Clones share its window.
pub struct Flooder<T> {
    kept: Arc<Kept<Request<Flooded>>>,
    codec: Coding<T>,
}

impl<T> Clone for Flooder<T> {
    fn clone(&self) -> Self {
        Flooder {
            kept: self.kept.clone(),
            codec: self.codec,
        }
    }
}

impl<T> fmt::Debug for Flooder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flooder").finish_non_exhaustive()
    }
}

impl<T> Flooder<T> {
    /// Waits for room in the module's [window](Builder::window), and posts a message to all processes, this
    /// one included. Every process that the message reaches passes it on, again and again, until the
    /// returned post is dropped. The window counts the posts that are not dropped.
    ///
    /// A call that is dropped while it waits has not posted.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), above 64 KiB; [`Unencodable`](Error::Unencodable);
    /// [`NotStarted`](Error::NotStarted), [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked): nothing was posted.
    pub async fn post(&self, message: &T) -> Result<Posted<T>, Error> {
        self.post_to(To::All, message).await
    }

    /// Like [`post`](Flooder::post), to these processes only; the others pass the message on.
    ///
    /// # Errors
    /// As [`post`](Flooder::post).
    pub async fn post_for(&self, to: ProcessSet, message: &T) -> Result<Posted<T>, Error> {
        self.post_to(To::Some(to), message).await
    }

    async fn post_to(&self, to: To, message: &T) -> Result<Posted<T>, Error> {
        let bytes = (self.codec.encode)(message)?;
        let size = bytes.len();
        let slot = Slot(self.kept.begin(size).await?);
        let message = Flooded(bytes);
        self.kept.request(Request::Post { slot, to, message });
        Ok(Posted {
            flooder: self.clone(),
            slot,
            size,
        })
    }
}

/// A message that is passed on until this is dropped. A process that is reached only later does not get it.
#[must_use = "the message is not passed on once this is dropped"]
pub struct Posted<T> {
    flooder: Flooder<T>,
    slot: Slot,
    size: usize,
}

impl<T> fmt::Debug for Posted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Posted({})", self.slot.0)
    }
}

impl<T> Drop for Posted<T> {
    fn drop(&mut self) {
        let slot = self.slot;
        self.flooder.kept.end(Request::Withdraw { slot }, self.size);
    }
}

/// Flooding.
impl Builder {
    /// Declares flooding of messages of type `T`, over fair-loss links. A message that a correct process
    /// posts, and keeps posted, is delivered once by every correct process to which a path of correct
    /// processes and channels leads, although channels fail in one direction for good. Nothing is
    /// acknowledged, so that the poster does not learn which processes have the message. A message that
    /// arrives while the reader's [backlog](Builder::backlog) is full is lost.
    ///
    /// A message has 64 KiB at most, and a process has at most 1024 posts at a time, unless its window is
    /// smaller. The builder's [datagram](Builder::datagram) must not be below 1050 bytes. The posts of a
    /// process are gone after its restart: the new start counts as another process.
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
    /// let (board, mut notes) = node.flooding::<String>("board")?;
    /// let node = node.start().await?;
    ///
    /// let posted = board.post(&"out for lunch".to_owned()).await?;
    /// let (from, note) = notes.next().await.ok_or("the node has stopped")??;
    /// assert_eq!((from, &*note), (me, "out for lunch"));
    /// drop(posted);
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flooding<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Flooder<T>, Messages<T>), StartError> {
        self.flooding_of(name.into())
    }

    fn flooding_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
    ) -> Result<(Flooder<T>, Messages<T>), StartError> {
        let kept = Arc::new(Kept::new(Limits {
            messages: self.limits.messages.min(POSTS),
            ..self.limits
        }));
        let (outlet, intake) = Outlet::new(self.backlog);
        let (opened, inlet) = (kept.clone(), outlet.clone());
        self.module(&name, &codec.of(&name, FLOODING), move |wiring| {
            let up = offering(&wiring, inlet).with(|delivery: Deliver<Flooded>| Deliver {
                from: delivery.from,
                message: delivery.message.0,
            });
            let settings = FloodingSettings {
                entry: LONGEST,
                ..FloodingSettings::repeating()
            };
            let lane = wiring.links.datagrams().lane();
            let requests = flooding::spawn(&wiring.host, settings, lane, up);
            opened.open(&wiring, requests, LONGEST);
        })?;
        self.floods = true;
        self.handles.agreements.push(kept.clone());
        self.handles.outlets.push(Arc::new(outlet));
        Ok((Flooder { kept, codec }, Messages::new(intake, codec)))
    }
}
