//! Handles for a user's own algorithms.
use super::{
    Builder, Wiring,
    flow::{Flow, Payload},
    outlet::{Cost, Intake, OVERHEAD, Outlet},
    window::Full,
};
use crate::error::{Error, StartError, StreamError};
use futures_core::Stream;
use quorate_abstractions::pressure::Wait;
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe};
use std::{
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

type Answers<I> = Box<dyn Fn(&I) -> u64 + Send + Sync>;
type Bytes<I> = Box<dyn Fn(&I) -> usize + Send + Sync>;

/// The settings of the [handles](Builder::custom) of a user's own algorithm; `I` is the type of its
/// indications.
pub struct Custom<I> {
    algorithms: String,
    answers: Option<Answers<I>>,
    bytes: Bytes<I>,
    wait: Wait,
}

impl<I> Custom<I> {
    /// Names the algorithms of the module: processes that differ in the name do not talk to each other.
    /// Change the name when the messages change.
    #[must_use]
    pub fn new(algorithms: &str) -> Self {
        Custom {
            algorithms: algorithms.to_owned(),
            answers: None,
            bytes: Box::new(|_| size_of::<I>()),
            wait: Wait::default(),
        }
    }

    /// Sets how many of this process's requests an indication answers, the oldest first. An answered
    /// request frees its place in the window, and a shutdown no longer waits for it. Without this setting a
    /// request keeps its place until the algorithm has received it.
    #[must_use]
    pub fn answers(mut self, answers: impl Fn(&I) -> u64 + Send + Sync + 'static) -> Self {
        self.answers = Some(Box::new(answers));
        self
    }

    /// Sets how many bytes an indication holds, if that is more than the size of its type. It takes this
    /// part of the [backlog](Builder::backlog) until it is read.
    #[must_use]
    pub fn bytes(mut self, bytes: impl Fn(&I) -> usize + Send + Sync + 'static) -> Self {
        self.bytes = Box::new(bytes);
        self
    }

    /// Sets how requests wait for slow peers. Default: for all peers, up to two minutes of silence.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }
}

/// A request in flight. Its length is unknown: the window counts requests only.
pub(super) struct Request<R>(R);

impl<R: 'static> Payload for Request<R> {
    fn length(&self) -> usize {
        0
    }
}

impl<R> Observe for Request<R> {
    fn observe(&self) -> Observation {
        Observation::request("Request")
    }
}

/// Passes on requests that no indication answers, once the algorithm has handled the earlier ones. Its
/// mailbox is made before that of the algorithm, so that the algorithm's turn comes first.
struct Passing<R>(PhantomData<fn(R)>);

impl<R: Send + 'static> Algorithm for Passing<R> {
    type Event = Request<R>;
    type Effect = Request<R>;

    fn upon(&mut self, request: Request<R>, ctx: &mut Ctx<Self>) {
        ctx.trigger(request);
    }
}

/// An indication, and the bytes that it takes of the backlog.
struct Indicated<I>(I, usize);

impl<I> Cost for Indicated<I> {
    fn cost(&self) -> usize {
        self.1
    }
}

impl Builder {
    /// Declares a user's own algorithm, with a handle for its requests `R` and a stream of its indications
    /// `I`. The node calls `wire` when it starts: `wire` is given the address for the algorithm's
    /// indications, and returns the address for its requests. As with [`module`](Builder::module), the
    /// names must be the same on every process.
    ///
    /// Each request takes one place in the module's [window](Builder::window). Requests wait for a place,
    /// and while a peer that is [waited for](Custom::wait) has too many bytes not acknowledged. Indications
    /// wait for a slow reader, which slows the other processes as the [deliveries](super::Deliveries) of a
    /// broadcast do. Both handles end with the node, and when this process may not take part.
    ///
    /// # Errors
    /// When the name is used already, or is no segment of a path.
    ///
    /// # Example
    /// A process that sends a number to itself for each request:
    /// ```
    /// # use futures::StreamExt;
    /// # use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
    /// # use quorate_core::{Addr, Layer, ProcessId};
    /// # use quorate_runtime::{Node, node::Custom};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let peers = vec![socket.local_addr()?];
    /// let mut node = Node::builder(me, peers).socket(socket);
    /// let echo = Custom::new("echo").answers(|_| 1);
    /// let (requests, mut echoes) = node.custom("echo", echo, |wiring, up: Addr<u64>| {
    ///     let me = wiring.host.me();
    ///     let arrived = Addr::new(move |Deliver { message: Number(number), .. }| up.send(number));
    ///     let lane = wiring.links.lane().attach(arrived);
    ///     lane.with(move |number| SendRequest { to: To::One(me), message: Number(number) })
    /// })?;
    /// let node = node.start().await?;
    /// requests.request(7).await?;
    /// assert_eq!(echoes.next().await.ok_or("the node has stopped")??, 7);
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// # use quorate_core::{Host, wire::Plain};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Number(u64);
    /// # impl Plain for Number {}
    /// ```
    pub fn custom<R, I>(
        &mut self,
        name: &str,
        custom: Custom<I>,
        wire: impl FnOnce(&Wiring, Addr<I>) -> Addr<R> + Send + 'static,
    ) -> Result<(Requests<R>, Indications<I>), StartError>
    where
        R: Send + 'static,
        I: Send + 'static,
    {
        let Custom {
            algorithms,
            answers,
            bytes,
            wait,
        } = custom;
        let flow: Arc<Flow<Request<R>>> = Arc::new(Flow::new(self.limits, 0));
        let (outlet, intake) = Outlet::new(self.backlog);
        let (entry, inlet) = (flow.clone(), outlet.clone());
        self.module(name, &algorithms, move |wiring| {
            let (me, host) = (wiring.origin(), wiring.host.at("requests"));
            let passing = answers.is_none().then(|| host.mailbox());
            inlet.open(wiring.pressure(wait, entry.pressure()), wait.reader());
            let own = entry.clone();
            let up = Addr::new(move |indication: I| {
                if let Some(answers) = &answers {
                    own.settled(answers(&indication));
                }
                let bytes = bytes(&indication).saturating_add(OVERHEAD);
                inlet.tell(Indicated(indication, bytes));
            });
            let port = wire(&wiring, up);
            let Some(mailbox) = passing else {
                return entry.open(me, port.with(|Request(request)| request));
            };
            entry.open(me, mailbox.addr());
            host.start(mailbox, Passing(PhantomData), move |Request(request)| {
                port.send(request);
                entry.settled(1);
            });
        })?;
        self.handles.flows.push(flow.clone());
        self.handles.outlets.push(Arc::new(outlet));
        Ok((Requests { flow }, Indications { intake }))
    }
}

/// The handle for requests to a user's own algorithm. Clones share its window.
pub struct Requests<R> {
    flow: Arc<Flow<Request<R>>>,
}

impl<R> Clone for Requests<R> {
    fn clone(&self) -> Self {
        Requests {
            flow: self.flow.clone(),
        }
    }
}

impl<R: 'static> Requests<R> {
    /// Waits for room in the module's window and at the peers, and makes the request. Returns the sequence
    /// number of the request at this process. When the call returns, the request is in flight to the
    /// algorithm.
    ///
    /// Callers are let through in the order in which they came. A call that is dropped while it waits has
    /// requested nothing.
    ///
    /// # Errors
    /// [`NotStarted`](Error::NotStarted), [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`StartedAgain`](Error::StartedAgain), [`ReportedCrashed`](Error::ReportedCrashed),
    /// [`Panicked`](Error::Panicked): nothing was requested.
    pub async fn request(&self, request: R) -> Result<u64, Error> {
        let id = self.flow.request(Request(request)).await?;
        Ok(id.sequence)
    }

    /// Makes the request if there is room now and no other caller waits for room.
    ///
    /// # Errors
    /// [`Full`](TryRequestError::Full), with the request; and as [`request`](Requests::request).
    pub fn try_request(&self, request: R) -> Result<u64, TryRequestError<R>> {
        match self.flow.try_room(0)? {
            Ok(room) => Ok(self.flow.request_in(room, Request(request))?.sequence),
            Err(Full) => Err(TryRequestError::Full(request)),
        }
    }

    /// The number of requests that have a place in the window: they are not answered yet, or, if nothing
    /// answers them, the algorithm has not received them yet.
    pub fn pending(&self) -> u64 {
        self.flow.pending()
    }
}

/// The reason why a request was not made at once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TryRequestError<R> {
    /// There is no room at the moment. Here is the request.
    #[error("there is no room at the moment")]
    Full(R),
    /// It cannot be requested.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The indications of a user's own algorithm, in order: a [`Stream`] that ends when the node stops. A slow
/// reader slows the others. A reader that reads nothing at all for as long as the module
/// [waits](Custom::wait) for a reader gets [`StreamError::Lagged`] and the end, when more than the
/// builder's [backlog](Builder::backlog) waits for it.
pub struct Indications<I> {
    intake: Intake<Indicated<I>>,
}

impl<I> Stream for Indications<I> {
    type Item = Result<I, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.get_mut().intake.poll_next(cx);
        next.map(|item| item.map(|item| item.map(|Indicated(indication, _)| indication)))
    }
}
