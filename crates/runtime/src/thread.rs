//! The protocol thread: one operating-system thread that runs all algorithms of a process.
use crate::{
    edge::Edge,
    executor::Executor,
    host::{Identity, TokioHost},
    recorder::Recorder,
};
use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};
use tokio::{runtime, sync::watch};

/// How the protocol thread ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// An algorithm panicked, which is a defect of the algorithm.
    Panicked(String),
}

/// What a panic in an algorithm leads to, after it was logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnPanic {
    /// The whole operating-system process aborts: half a protocol stack must not go on.
    #[default]
    Abort,
    /// The protocol thread ends, as [`Ending::Panicked`]. For tests.
    End,
}

/// What is called when a protocol thread has ended.
type AtEnd = Box<dyn FnOnce(&Ending) + Send>;

/// A runtime that does not wait for its end. Others must not be dropped where one may not block, and
/// whoever starts nodes is asynchronous.
struct Background(Option<runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A process that has not started: wire it up, then start its protocol thread.
pub struct Protocol {
    host: TokioHost,
    handle: runtime::Handle,
    runtime: Background,
    edges: Vec<Box<dyn Edge>>,
    on_panic: OnPanic,
    at_end: Vec<AtEnd>,
    recorder: Option<Recorder>,
}

impl Protocol {
    /// A process with nothing on it.
    ///
    /// # Errors
    /// When the operating system refuses what a runtime needs.
    pub fn new(identity: Identity) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        Ok(Protocol {
            host: TokioHost::new(identity),
            handle: runtime.handle().clone(),
            runtime: Background(Some(runtime)),
            edges: Vec::new(),
            on_panic: OnPanic::default(),
            at_end: Vec::new(),
            recorder: None,
        })
    }

    /// Where algorithms are started. They may be started later, too.
    pub fn host(&self) -> &TokioHost {
        &self.host
    }

    /// Says what a panic leads to.
    pub fn on_panic(&mut self, on_panic: OnPanic) {
        self.on_panic = on_panic;
    }

    /// Keeps the last `capacity` records of what the algorithms do. What passes in the lanes is seen
    /// if the recorder is given to the link, too, before lanes are opened on it.
    pub fn record(&mut self, capacity: usize) -> Recorder {
        let recorder = Recorder::new(self.host.shared.identity.clone(), capacity);
        self.recorder = Some(recorder.clone());
        recorder
    }

    /// The runtime in whose context the sockets of edges are to be made.
    pub fn runtime(&self) -> &runtime::Handle {
        &self.handle
    }

    /// Has `edge` polled by the protocol thread.
    pub fn attach(&mut self, edge: impl Edge + 'static) {
        self.edges.push(Box::new(edge));
    }

    /// Has `at_end` called, on the protocol thread, when all algorithms have been dropped.
    pub fn at_end(&mut self, at_end: impl FnOnce(&Ending) + Send + 'static) {
        self.at_end.push(Box::new(at_end));
    }

    /// Starts the protocol thread.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(self) -> io::Result<ProtocolThread> {
        let host = self.host.clone();
        let (ending, ended) = watch::channel(None);
        let me = quorate_core::Host::me(&host);
        thread::Builder::new()
            .name(format!("quorate-{me}"))
            .spawn(move || self.run(&ending))?;
        Ok(ProtocolThread { host, ended })
    }

    fn run(self, ending: &watch::Sender<Option<Ending>>) {
        let Protocol {
            host,
            mut runtime,
            edges,
            on_panic,
            at_end,
            recorder,
            ..
        } = self;
        let Some(runtime) = runtime.0.take() else {
            return;
        };
        let mut executor = Executor::new(host.shared.clone(), edges, recorder);
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(executor.run())));
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
        {
            let _context = runtime.enter();
            drop(executor);
        }
        drop(runtime);
        for at_end in at_end {
            at_end(&ended);
        }
        ending.send_replace(Some(ended));
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
    /// Where algorithms are started.
    pub fn host(&self) -> &TokioHost {
        &self.host
    }

    /// Tells the thread to stop after the batch at hand.
    pub fn stop(&self) {
        self.host.shared.stop();
    }

    /// Waits for the end of the thread: by then its sockets are closed and its algorithms dropped.
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
