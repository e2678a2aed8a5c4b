//! Posts and repetitions that a user keeps going until it drops them. Each takes room in a window.
use super::{
    Abandon, Wiring,
    window::{Limits, Window},
};
use crate::error::Error;
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::link::{self, Links, To};
use quorate_core::{Addr, Host, ProcessId};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The entrance of requests to the algorithm.
struct Inlet<R: 'static> {
    requests: Addr<R>,
    /// The address by which a process tells itself that the protocol thread has handled the end of a post
    /// or repetition.
    marks: Addr<link::SendRequest<Bytes>>,
    me: ProcessId,
    /// The longest message, in bytes.
    longest: usize,
}

/// The posts or repetitions of one module, which are made by requests of type `R`.
pub(super) struct Kept<R: 'static> {
    inlet: OnceLock<Inlet<R>>,
    window: Window,
    /// The number that were begun so far.
    begun: AtomicU64,
}

impl<R: Send + 'static> Kept<R> {
    /// Limits how many are kept going at a time.
    pub fn new(limits: Limits) -> Self {
        Kept {
            inlet: OnceLock::new(),
            window: Window::new(limits),
            begun: AtomicU64::new(0),
        }
    }

    /// From now on requests go to `requests`, with messages of at most `longest` bytes.
    pub fn open(self: &Arc<Self>, wiring: &Wiring, requests: Addr<R>, longest: usize) {
        let (kept, me) = (self.clone(), wiring.host.me());
        let marks = wiring.links.at("sent").open(Addr::new(move |mark| {
            kept.upon_mark(me, &mark);
        }));
        let inlet = Inlet {
            requests,
            marks,
            me,
            longest,
        };
        // The builder that made this sets it once.
        let _ = self.inlet.set(inlet);
    }

    /// Waits for room for one of this size, and returns its number. A caller that stops waiting has begun
    /// nothing.
    pub async fn begin(&self, size: usize) -> Result<u64, Error> {
        self.check(size)?;
        self.window.take(size).await?.keep(size);
        Ok(self.begun.fetch_add(1, Relaxed) + 1)
    }

    /// Whether a message of this size may be sent.
    pub fn check(&self, size: usize) -> Result<(), Error> {
        let Some(inlet) = self.inlet.get() else {
            return Err(self.window.closed().unwrap_or(Error::NotStarted));
        };
        let limit = inlet.longest;
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        Ok(())
    }

    /// Passes a request to the algorithm.
    pub fn request(&self, request: R) {
        if let Some(inlet) = self.inlet.get() {
            inlet.requests.send(request);
        }
    }

    /// Passes a request to the algorithm that ends one of this size. Its room is given back when the
    /// protocol thread has handled the request.
    pub fn end(&self, request: R, size: usize) {
        if let Some(inlet) = self.inlet.get() {
            inlet.requests.send(request);
            let mut mark = BytesMut::with_capacity(8);
            mark.put_u64_le(size as u64);
            inlet.marks.send(link::SendRequest {
                to: To::One(inlet.me),
                message: mark.freeze(),
            });
        }
    }

    /// A mark has come back. Marks of other processes are ignored.
    fn upon_mark(&self, me: ProcessId, mark: &link::Deliver<Bytes>) {
        if mark.from == me
            && let Ok(size) = <[u8; 8]>::try_from(&mark.message[..])
        {
            self.window.give_back(1, u64::from_le_bytes(size) as usize);
        }
    }
}

impl<R: Send + 'static> Abandon for Kept<R> {
    fn close(&self, error: &Error) {
        self.window.close(error);
    }

    fn abandon(&self, error: &Error) {
        self.window.close(error);
    }
}
