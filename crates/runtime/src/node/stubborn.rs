//! Stubborn links as a module: what is sent is sent again and again, until its sender has enough.
use super::{
    Builder,
    agreement::Abandon,
    handles::Codec,
    links::offering,
    messages::Messages,
    outlet::Outlet,
    window::{Limits, Window},
};
use crate::error::Error;
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    fair_loss::{Indication, Transmit},
    link::{self, Links, To},
};
use quorate_core::{Addr, Host, Layer, ProcessId};
use quorate_links::stubborn::{self, Deliver, Pauses, Request};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What a module of stubborn links is made of, top down.
const STUBBORN: &str = "links:stubborn links:fair-loss";

/// What a stubborn link puts in front of a message: who sends it, and its identifier.
const HEAD: usize = 9;

/// Where messages enter the link.
struct Door {
    requests: Addr<Request>,
    /// Where a process tells itself that the link has taken a cancellation.
    marks: Addr<link::Send<Bytes>>,
    me: ProcessId,
    /// The longest message.
    longest: usize,
}

/// What the clones of a handle share.
struct Shared {
    door: OnceLock<Door>,
    window: Window,
    /// How many messages were sent so far.
    sent: AtomicU64,
    n: usize,
}

impl Abandon for Shared {
    fn close(&self, error: &Error) {
        self.window.close(error);
    }

    fn abandon(&self, error: &Error) {
        self.window.close(error);
    }
}

/// Sends messages of type `T` again and again, through one module of a node. Clones share its window.
pub struct Repeater<T> {
    shared: Arc<Shared>,
    codec: Codec<T>,
}

impl<T> Clone for Repeater<T> {
    fn clone(&self) -> Self {
        Repeater {
            shared: self.shared.clone(),
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
    /// Waits for room in the module's [window](Builder::window), and sends: at once, and after pauses that
    /// grow from 50 ms to 2 s, until what this returns is dropped. The window counts what is being sent.
    ///
    /// A call that is dropped while it waits has not sent.
    ///
    /// # Errors
    /// [`NotMember`](Error::NotMember) when there is no such process; [`TooLarge`](Error::TooLarge) when no
    /// datagram carries the message; [`Unencodable`](Error::Unencodable); [`NotStarted`](Error::NotStarted),
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked): the message was not sent.
    pub async fn send(&self, to: ProcessId, message: &T) -> Result<Repetition, Error> {
        let shared = &self.shared;
        if to.rank() > shared.n {
            return Err(Error::NotMember {
                me: to,
                n: shared.n,
            });
        }
        let Some(door) = shared.door.get() else {
            return Err(shared.window.closed().unwrap_or(Error::NotStarted));
        };
        let bytes = (self.codec.encode)(message)?;
        let (size, limit) = (bytes.len(), door.longest);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        shared.window.take(size).await?.keep(size);
        let id = shared.sent.fetch_add(1, Relaxed) + 1;
        door.requests.send(Request::Send { to, id, bytes });
        Ok(Repetition {
            shared: shared.clone(),
            to,
            id,
            size,
        })
    }
}

/// A message that is sent again and again until this is dropped. What is on its way then may still arrive.
#[must_use = "the message is not sent again once this is dropped"]
pub struct Repetition {
    shared: Arc<Shared>,
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
        if let Some(door) = self.shared.door.get() {
            door.requests.send(Request::Cancel { to, id });
            // Its room is given back when the link has taken that.
            let mut mark = BytesMut::with_capacity(8);
            mark.put_u64_le(self.size as u64);
            door.marks.send(link::Send {
                to: To::One(door.me),
                message: mark.freeze(),
            });
        }
    }
}

/// Stubborn links.
impl Builder {
    /// Declares stubborn links for messages of type `T`: what is sent to a correct process arrives there again
    /// and again, until its sender has enough. Over [fair-loss links](Builder::datagrams): nothing is
    /// acknowledged, and what arrives while the reader's [backlog](Builder::backlog) is full is lost, that time.
    /// A message is limited to what a datagram carries, 35 bytes less than the builder's
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
    pub fn stubborn<T>(&mut self, name: &str) -> Result<(Repeater<T>, Messages<T>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.stubborn_of(name, Codec::typed())
    }

    /// As [`stubborn`](Builder::stubborn), of bytes as they are.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn stubborn_bytes(
        &mut self,
        name: &str,
    ) -> Result<(Repeater<Bytes>, Messages<Bytes>), Error> {
        self.stubborn_of(name, Codec::raw())
    }

    fn stubborn_of<T>(
        &mut self,
        name: &str,
        codec: Codec<T>,
    ) -> Result<(Repeater<T>, Messages<T>), Error> {
        let Limits { messages, bytes } = self.limits;
        let shared = Arc::new(Shared {
            door: OnceLock::new(),
            window: Window::new(Limits { messages, bytes }),
            sent: AtomicU64::new(0),
            n: self.processes(),
        });
        let (outlet, intake) = Outlet::new(self.backlog);
        let (opened, inlet) = (shared.clone(), outlet.clone());
        self.module(name, STUBBORN, move |wiring| {
            let (me, links) = (wiring.host.me(), wiring.links.datagrams());
            let up = offering(&wiring, inlet).with(|Deliver { from, bytes, .. }: Deliver| {
                link::Deliver {
                    from,
                    message: bytes,
                }
            });
            let lane = links.lane();
            let edge = move |up: Addr<Indication>| over(lane, up);
            let requests = stubborn::spawn(&wiring.host, Pauses::default(), edge, up);
            let marked = opened.clone();
            let marks = wiring.links.at("sent").open(Addr::new(move |mark| {
                marked.upon_mark(me, &mark);
            }));
            let door = Door {
                requests,
                marks,
                me,
                longest: links.longest().saturating_sub(HEAD),
            };
            // Wired once, by the builder that made the module.
            let _ = opened.door.set(door);
        })?;
        self.handles.agreements.push(shared.clone());
        self.handles.outlets.push(Arc::new(outlet));
        let repeater = Repeater { shared, codec };
        Ok((repeater, Messages::new(intake, codec)))
    }
}

impl Shared {
    /// The link has taken the cancellation of a message of this length.
    fn upon_mark(&self, me: ProcessId, mark: &link::Deliver<Bytes>) {
        if mark.from == me
            && let Ok(size) = <[u8; 8]>::try_from(&mark.message[..])
        {
            self.window.give_back(1, u64::from_le_bytes(size) as usize);
        }
    }
}

/// A fair-loss lane, in the place of the edge that a stubborn link stands on. What claims to be another's than
/// its sender's is dropped.
fn over(
    lane: impl Layer<link::Send<Bytes>, link::Deliver<Bytes>>,
    up: Addr<Indication>,
) -> Addr<Transmit> {
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
    let transmit = |Transmit { to, bytes, .. }: Transmit| link::Send {
        to: To::One(to),
        message: bytes,
    };
    lane.attach(arrive).with(transmit)
}
