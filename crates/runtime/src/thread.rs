//! The protocol thread: one operating-system thread that runs all algorithms of a process, or of several
//! processes that [share](SharedThread) it.
use crate::{
    edge::Edge,
    executor::Executor,
    host::{Identity, TokioHost},
    recorder::Recorder,
};
use std::{
    any::Any,
    fmt,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    thread,
};
use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::{LocalSet, spawn_local},
};
use tracing::Span;

/// How the protocol thread ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// An algorithm panicked, which is a defect of the algorithm.
    Panicked(String),
}

/// What happens, after logging, when an algorithm panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnPanic {
    /// The whole operating-system process aborts, because half a protocol stack must not go on.
    #[default]
    Abort,
    /// The protocol thread ends, as [`Ending::Panicked`]. For tests.
    End,
}

/// A function that is called when a protocol thread has ended.
type AtEnd = Box<dyn FnOnce(&Ending) + Send>;

/// A runtime that is shut down in the background. Dropping an ordinary runtime blocks, which is not allowed
/// in asynchronous code, and nodes are started from asynchronous code.
struct Background(Option<runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The owner of the thread.
enum Ownership {
    /// The process itself, with this runtime.
    Own(Background),
    Shared(SharedThread),
}

/// A process that starts on a shared thread, and the channel that tells how it has ended.
type Starting = (Parts, watch::Sender<Option<Ending>>);

/// A protocol thread that several processes share: for programs with many nodes that each have little to
/// do. The processes take turns, and each waits for the others' turns. Clones are handles on the same
/// thread, which ends when all of them are dropped and the processes on it have ended.
///
/// ```
/// # use quorate_core::ProcessId;
/// # use quorate_runtime::{Node, thread::SharedThread};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
/// let thread = SharedThread::start("many")?;
/// let mut nodes = Vec::new();
/// for _ in 0..10 {
///     let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
///     let peers = vec![socket.local_addr()?];
///     let builder = Node::builder(me, peers).socket(socket).shared_thread(&thread);
///     nodes.push(builder.start().await?);
/// }
/// for node in nodes {
///     node.admitted().await?;
///     node.shutdown().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedThread {
    handle: runtime::Handle,
    starting: mpsc::UnboundedSender<Starting>,
}

impl SharedThread {
    /// Starts a thread with this name, and with no process on it.
    ///
    /// # Errors
    /// When the operating system refuses a thread, or the resources that a runtime needs.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = new_runtime()?;
        let handle = runtime.handle().clone();
        let (starting, mut started) = mpsc::unbounded_channel::<Starting>();
        let run = move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                // A process keeps the shared thread alive for as long as it runs.
                while let Some((parts, ending)) = started.recv().await {
                    spawn_local(parts.run_beside_others(ending));
                }
            });
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(SharedThread { handle, starting })
    }
}

impl fmt::Debug for SharedThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedThread").finish_non_exhaustive()
    }
}

fn new_runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

/// A process that has not started. First wire its algorithms, then start its protocol thread.
pub struct Protocol {
    host: TokioHost,
    handle: runtime::Handle,
    place: Ownership,
    edges: Vec<Box<dyn Edge>>,
    on_panic: OnPanic,
    at_end: Vec<AtEnd>,
    recorder: Option<Recorder>,
    span: Span,
}

impl Protocol {
    /// A process with no algorithms.
    ///
    /// # Errors
    /// When the operating system refuses the resources that a runtime needs.
    pub fn new(identity: Identity) -> io::Result<Self> {
        let runtime = new_runtime()?;
        let handle = runtime.handle().clone();
        let place = Ownership::Own(Background(Some(runtime)));
        Ok(Self::at(identity, handle, place))
    }

    /// A process with no algorithms that will run on a thread with other processes.
    pub fn on(identity: Identity, thread: &SharedThread) -> Self {
        let place = Ownership::Shared(thread.clone());
        Self::at(identity, thread.handle.clone(), place)
    }

    fn at(identity: Identity, handle: runtime::Handle, place: Ownership) -> Self {
        Protocol {
            host: TokioHost::new(identity),
            handle,
            place,
            edges: Vec::new(),
            on_panic: OnPanic::default(),
            at_end: Vec::new(),
            recorder: None,
            span: Span::none(),
        }
    }

    /// The host, which starts algorithms, also after the thread has started.
    pub fn host(&self) -> &TokioHost {
        &self.host
    }

    /// Sets what happens when an algorithm panics.
    pub fn on_panic(&mut self, on_panic: OnPanic) {
        self.on_panic = on_panic;
    }

    /// Keeps the last `capacity` records of the algorithms' activity. To record messages in the lanes, too,
    /// give the recorder to the link before lanes are opened on it.
    pub fn record(&mut self, capacity: usize) -> Recorder {
        let recorder = Recorder::new(self.host.shared.identity.clone(), capacity);
        self.recorder = Some(recorder.clone());
        recorder
    }

    /// Logs the requests and indications of the algorithms in this span, at the level `TRACE` and with the
    /// target `quorate::modules`, if the log's filter wants them.
    pub fn span(&mut self, span: Span) {
        self.span = span;
    }

    /// The runtime in whose context the sockets of edges must be made.
    pub fn runtime(&self) -> &runtime::Handle {
        &self.handle
    }

    /// Adds an edge that the protocol thread polls.
    pub fn attach(&mut self, edge: impl Edge + 'static) {
        self.edges.push(Box::new(edge));
    }

    /// Calls `at_end` on the protocol thread when all algorithms have been dropped.
    pub fn at_end(&mut self, at_end: impl FnOnce(&Ending) + Send + 'static) {
        self.at_end.push(Box::new(at_end));
    }

    /// Starts the protocol thread, or starts the process on the thread that it shares.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(self) -> io::Result<ProtocolThread> {
        let Protocol {
            host,
            place,
            edges,
            on_panic,
            at_end,
            recorder,
            span,
            ..
        } = self;
        let (ending, ended) = watch::channel(None);
        let executor = Executor::new(host.shared.clone(), edges, recorder, span);
        let thread = match &place {
            Ownership::Own(_) => None,
            Ownership::Shared(thread) => Some(thread.clone()),
        };
        let parts = Parts {
            host: host.clone(),
            executor,
            on_panic,
            at_end,
            _thread: thread,
        };
        match place {
            Ownership::Own(runtime) => {
                let me = quorate_core::Host::me(&host);
                thread::Builder::new()
                    .name(format!("quorate-{me}"))
                    .spawn(move || parts.run_alone(runtime, &ending))?;
            }
            Ownership::Shared(SharedThread { starting, .. }) => {
                // The thread runs for as long as a sender exists.
                let _ = starting.send((parts, ending));
            }
        }
        Ok(ProtocolThread { host, ended })
    }
}

/// The parts of a process that the protocol thread runs.
struct Parts {
    host: TokioHost,
    executor: Executor,
    on_panic: OnPanic,
    at_end: Vec<AtEnd>,
    /// Keeps a shared thread alive.
    _thread: Option<SharedThread>,
}

/// The result of [`catch_unwind`].
type Caught = Result<(), Box<dyn Any + Send>>;

impl Parts {
    fn run_alone(mut self, mut runtime: Background, ending: &watch::Sender<Option<Ending>>) {
        let Some(runtime) = runtime.0.take() else {
            return;
        };
        let run = AssertUnwindSafe(|| runtime.block_on(self.executor.run()));
        let result = catch_unwind(run);
        let context = runtime.enter();
        let end = self.end(result);
        drop(context);
        drop(runtime);
        end.tell(ending);
    }

    async fn run_beside_others(mut self, ending: watch::Sender<Option<Ending>>) {
        let result = {
            let mut run = pin!(self.executor.run());
            poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
                polled.map_or_else(|panic| Poll::Ready(Err(panic)), |polled| polled.map(Ok))
            })
            .await
        };
        self.end(result).tell(&ending);
    }

    /// Drops all parts that ran.
    fn end(self, result: Caught) -> End {
        let Parts {
            host,
            executor,
            on_panic,
            at_end,
            ..
        } = self;
        let ended = match result {
            Ok(()) => Ending::Stopped,
            Err(panic) => {
                let module = executor.running().unwrap_or_else(|| "an edge".to_owned());
                let message = message_of(panic.as_ref());
                tracing::error!(module, message, "a panic in the protocol stack");
                if on_panic == OnPanic::Abort {
                    std::process::abort();
                }
                Ending::Panicked(format!("{module}: {message}"))
            }
        };
        host.shared.stop();
        drop(executor);
        End { ended, at_end }
    }
}

/// The end of a process, which others wait for.
struct End {
    ended: Ending,
    at_end: Vec<AtEnd>,
}

impl End {
    fn tell(self, ending: &watch::Sender<Option<Ending>>) {
        for at_end in self.at_end {
            at_end(&self.ended);
        }
        ending.send_replace(Some(self.ended));
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A running protocol thread. It stops when this handle is dropped.
pub struct ProtocolThread {
    host: TokioHost,
    ended: watch::Receiver<Option<Ending>>,
}

impl ProtocolThread {
    /// The host, which starts algorithms.
    pub fn host(&self) -> &TokioHost {
        &self.host
    }

    /// Tells the thread to stop after the present batch.
    pub fn stop(&self) {
        self.host.shared.stop();
    }

    /// Waits for the end of the thread. Then its sockets are closed and its algorithms are dropped.
    pub async fn ended(&self) -> Ending {
        let mut ended = self.ended.clone();
        let ending = match ended.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone(),
            Err(_) => None,
        };
        ending.unwrap_or(Ending::Stopped)
    }
}

impl Drop for ProtocolThread {
    fn drop(&mut self) {
        self.stop();
    }
}
