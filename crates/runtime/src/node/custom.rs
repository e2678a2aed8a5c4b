//! Handles for algorithms of one's own.
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

/// What the [handles](Builder::custom) of an algorithm of one's own have to know of it: `I` is what it indicates.
pub struct Custom<I> {
    algorithms: String,
    answers: Option<Answers<I>>,
    bytes: Bytes<I>,
    wait: Wait,
}

impl<I> Custom<I> {
    /// Names what the module is made of: processes that differ in it do not talk to each other. Change it when
    /// messages change.
    #[must_use]
    pub fn new(algorithms: &str) -> Self {
        Custom {
            algorithms: algorithms.to_owned(),
            answers: None,
            bytes: Box::new(|_| size_of::<I>()),
            wait: Wait::default(),
        }
    }

    /// How many of this process's requests an indication answers, the oldest first: their places in the window
    /// are free again, and a shutdown waits for no more of them. Where nothing is said here, a request has its
    /// place until the algorithm has got it.
    #[must_use]
    pub fn answers(mut self, answers: impl Fn(&I) -> u64 + Send + Sync + 'static) -> Self {
        self.answers = Some(Box::new(answers));
        self
    }

    /// How many bytes an indication holds, where that is more than its type tells: so much of the
    /// [backlog](Builder::backlog) it takes until it is read.
    #[must_use]
    pub fn bytes(mut self, bytes: impl Fn(&I) -> usize + Send + Sync + 'static) -> Self {
        self.bytes = Box::new(bytes);
        self
    }

    /// For whom requests wait that do not keep up. Default: for everybody, up to two minutes of silence.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }
}

/// A request on its way. How long it is nobody knows: the window counts how many there are.
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

/// Passes requests on that nothing answers, once the algorithm has handled those before. Its mailbox is made
/// before that of the algorithm, so that the algorithm's turn comes first.
struct Passing<R>(PhantomData<fn(R)>);

impl<R: Send + 'static> Algorithm for Passing<R> {
    type Event = Request<R>;
    type Effect = Request<R>;

    fn upon(&mut self, request: Request<R>, ctx: &mut Ctx<Self>) {
        ctx.trigger(request);
    }
}

/// An indication, and how many bytes it counts for.
struct Indicated<I>(I, usize);

impl<I> Cost for Indicated<I> {
    fn cost(&self) -> usize {
        self.1
    }
}

impl Builder {
    /// Declares an algorithm of one's own, with a handle for its requests `R` and a stream of what it
    /// indicates, `I`. `wire` starts it when the node starts: it is given where the algorithm's indications go,
    /// and gives where its requests go. As with [`module`](Builder::module), the names are the same on every
    /// process.
    ///
    /// Requests wait for a place in the module's [window](Builder::window), of which each takes one, and while
    /// some peer that is [waited for](Custom::wait) owes the module too much. Indications wait for a slow
    /// reader, which slows others as the [deliveries](super::Deliveries) of a broadcast do. Both handles end with
    /// the node, and when this process may not take part.
    ///
    /// # Errors
    /// When the name is used already, or is no segment of a path.
    ///
    /// # Example
    /// A process that tells itself what it is asked to:
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

/// Where the requests to an algorithm of one's own enter. Clones share its window.
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
    /// Waits for room in the module's window, and at the peers, and requests; gives the sequence number of the
    /// request at this process. That the call has returned says that the request is on its way to the algorithm.
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

    /// Requests, if there is room now and nobody waits for it.
    ///
    /// # Errors
    /// [`Full`](TryRequestError::Full), with the request; and as [`request`](Requests::request).
    pub fn try_request(&self, request: R) -> Result<u64, TryRequestError<R>> {
        match self.flow.try_room(0)? {
            Ok(room) => Ok(self.flow.request_in(room, Request(request))?.sequence),
            Err(Full) => Err(TryRequestError::Full(request)),
        }
    }

    /// How many requests have a place in the window: they are not answered yet, or, where nothing answers them,
    /// have not got to the algorithm.
    pub fn pending(&self) -> u64 {
        self.flow.pending()
    }
}

/// Why nothing was requested at once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TryRequestError<R> {
    /// There is no room at the moment. Here is the request.
    #[error("there is no room at the moment")]
    Full(R),
    /// It cannot be requested.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What an algorithm of one's own indicates, in order: a [`Stream`] that ends when the node stops. Who reads
/// slowly slows others; who reads nothing at all for as long as the module [waits](Custom::wait) for a reader gets
/// [`StreamError::Lagged`] when more than the builder's [backlog](Builder::backlog) is there, and the end.
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
