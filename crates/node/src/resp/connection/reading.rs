//! Reads what one client sends, splits it into requests, and submits these.
use super::{Batch, PendingReply, Session, Source};
use crate::{
    node::{
        Store,
        registers::Registers,
        replica::Refusal,
        unwritten::{Held, Share, Unwritten},
    },
    resp::{
        answer::Answer,
        client::Client,
        locks::{Claims, Interruption, LockRequest},
        request::{self, Request},
        scan::Scanner,
        single::{self, Single},
    },
};
use bytes::BytesMut;
use std::{
    io::{self, ErrorKind},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The most requests of one batch.
pub(super) const BATCH: usize = 1024;

/// The length in bytes at which a batch of commands is closed.
const BATCH_BYTES: usize = 64 * 1024;

/// The room for one read, in bytes.
const READ: usize = 16 * 1024;

/// How many bytes of its requests every client may keep here, however much all clients keep together.
pub(super) const ALLOWANCE: usize = 64 * 1024;

/// The error for a client that sends more than that when all together keep too much.
pub(super) const TOO_MUCH: &str = "ERR the clients of this replica hold too much memory together \
                                   (`client_memory_mib`); not executed";

/// For how long, and how many bytes, the connection is read on after the last request.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// Why the reader has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The client has closed its side, or the replica stops.
    Left,
    /// The last request was answered, and the client may send more.
    Parted,
}

/// The result of one read.
enum Came {
    Something,
    Nothing,
    TooMuch,
}

/// The side of a connection that reads.
pub(super) struct Reader<'s, R, I> {
    pub read: R,
    pub client: Client,
    pub session: &'s Session<I>,
    pub unwritten: &'s Unwritten,
    pub queue: mpsc::Sender<Batch>,
    buffer: BytesMut,
    scanner: Scanner,
    commands: BytesMut,
    /// Counts the bytes that are kept of what was read, beyond the allowance.
    share: Share,
    activity: Arc<Activity>,
    /// The request whose turn is next.
    lock: Option<LockRequest>,
    /// What the client holds and waits for.
    claims: Claims,
}

/// How many batches are in flight for a client, and when the last one was.
struct Activity {
    begin: Instant,
    batches: AtomicUsize,
    /// When the last batch was written, in milliseconds from the beginning.
    last: AtomicU64,
    written: Notify,
}

/// Marks a batch as in flight until its replies have been written.
pub(super) struct OnItsWay(Arc<Activity>);

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Activity {
            begin: Instant::now(),
            batches: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            written: Notify::new(),
        })
    }

    fn begin(self: &Arc<Self>) -> OnItsWay {
        self.batches.fetch_add(1, Relaxed);
        OnItsWay(self.clone())
    }

    /// Waits until no batch is in flight. Only the reader waits.
    async fn quiet(&self) {
        while self.batches.load(Relaxed) > 0 {
            self.written.notified().await;
        }
    }

    /// How long no batch has been in flight; `None` if one is.
    fn idle_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last.load(Relaxed));
        (self.batches.load(Relaxed) == 0).then(|| self.begin.elapsed().saturating_sub(last))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let now = self.0.begin.elapsed().as_millis() as u64;
        self.0.last.store(now, Relaxed);
        self.0.batches.fetch_sub(1, Relaxed);
        self.0.written.notify_one();
    }
}

impl<'s, R: AsyncRead + Unpin, I: Fn() -> String> Reader<'s, R, I> {
    /// A reader that has read nothing yet.
    pub fn new(
        read: R,
        client: Client,
        session: &'s Session<I>,
        unwritten: &'s Unwritten,
        queue: mpsc::Sender<Batch>,
    ) -> Self {
        Reader {
            read,
            client,
            session,
            unwritten,
            queue,
            buffer: BytesMut::new(),
            scanner: Scanner::default(),
            commands: BytesMut::new(),
            share: session.together.share(),
            activity: Activity::new(),
            lock: None,
            claims: Claims::default(),
        }
    }

    /// Reads until the client leaves, its connection must end, or the replica stops.
    pub async fn run(mut self, stop: &CancellationToken) -> io::Result<(R, End)> {
        let end = self.read_on(stop).await;
        if stop.is_cancelled() {
            self.claims.leave();
        }
        Ok((self.read, end?))
    }

    async fn read_on(&mut self, stop: &CancellationToken) -> io::Result<End> {
        loop {
            if !self.client.access.is_welcome() {
                return Ok(End::Left);
            }
            if self.client.access.is_stranger() {
                self.activity.quiet().await;
            }
            let (mut slots, mut last) = self.gather();
            if let Some(penalty) = self.client.access.take_penalty() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(penalty) => {}
                }
            }
            if slots.is_empty()
                && let Some(request) = self.lock.take()
            {
                let answer = self.serve_lock(request, stop).await;
                slots.push(PendingReply::Ready(answer));
            } else if slots.is_empty() && !last {
                let dismissed = self.client.access.dismissal();
                let came = tokio::select! {
                    () = stop.cancelled() => return Ok(End::Left),
                    () = dismissed => return Ok(End::Left),
                    came = self.read_some() => came?,
                };
                match came {
                    Came::Something => {
                        self.client.upon_read();
                        continue;
                    }
                    Came::Nothing => return Ok(End::Left),
                    Came::TooMuch => {
                        slots.push(PendingReply::Ready(Answer::error(TOO_MUCH)));
                        last = true;
                    }
                }
            }
            // This waits while the client does not read its replies.
            self.unwritten.room().await;
            let Some(batch) = self.begin(slots).await else {
                return Ok(End::Left);
            };
            if self.queue.send(batch).await.is_err() {
                return Ok(End::Left);
            }
            if last {
                return Ok(End::Parted);
            }
        }
    }

    /// Serves a request about a lock when all before it has been answered. While it waits for a lock the client is
    /// read on, so that its end is seen.
    async fn serve_lock(&mut self, request: LockRequest, stop: &CancellationToken) -> Answer {
        let Some(locks) = &self.session.locks else {
            return Answer::error(
                "ERR locks need total order: this cluster is consistency = \"register\"",
            );
        };
        self.activity.quiet().await;
        let deadline = self.session.deadline;
        if let Store::Ordered(replica) = &self.session.store
            && let Err(Refusal::NotVoter(reason)) = replica.voter(Instant::now() + deadline).await
        {
            return Answer::Error(format!("NOTVOTER {reason}; not executed"));
        }
        let dismissed = self.client.access.dismissal();
        let left = async {
            while self.buffer.len() < ALLOWANCE {
                if !matches!(self.read.read_buf(&mut self.buffer).await, Ok(1..)) {
                    return;
                }
            }
            // It sends much, and does not wait for the answer: whether it is there is seen when it is read on.
            std::future::pending::<()>().await;
        };
        let gone = async {
            tokio::select! {
                () = left => {}
                () = dismissed => {}
            }
        };
        let interruption = async {
            tokio::select! {
                () = gone => Interruption::Gone,
                () = stop.cancelled() => Interruption::Stopping,
            }
        };
        self.claims
            .serve(locks, request, deadline, interruption)
            .await
    }

    /// Submits a batch. Returns `None` if the writer has ended.
    async fn begin(&mut self, mut slots: Vec<PendingReply>) -> Option<Batch> {
        let mut ready = self.unwritten.hold(0);
        let source = match &self.session.store {
            Store::Ordered(_) => {
                ready.set(slots.iter().map(PendingReply::ready).sum());
                self.submit(&slots).await
            }
            Store::Registers(registers) => {
                let placing = Placing {
                    registers,
                    limit: self.session.deadline,
                    unwritten: self.unwritten,
                    queue: &self.queue,
                    activity: &self.activity,
                };
                slots = placing.place(slots, &mut ready).await?;
                Source::Nowhere
            }
        };
        Some(Batch {
            slots,
            source,
            _ready: ready,
            _on_its_way: self.activity.begin(),
        })
    }

    /// Reads what the client has sent. In the middle of a request the client may not stall for long. Between
    /// two requests, when no reply is in flight, it may be idle for as long as the server's settings say.
    async fn read_some(&mut self) -> io::Result<Came> {
        request::shrink(&mut self.buffer);
        let between = self.buffer.is_empty();
        self.buffer.reserve(READ);
        let kept = self.buffer.capacity() + self.commands.capacity();
        if !self.share.try_set(kept.saturating_sub(ALLOWANCE)) {
            return Ok(Came::TooMuch);
        }
        let length = match (between, self.session.idle) {
            (false, _) => self.read_rest().await?,
            (true, None) => self.read.read_buf(&mut self.buffer).await?,
            (true, Some(idle)) => self.read_while_not_idle(idle).await?,
        };
        Ok(if length == 0 {
            Came::Nothing
        } else {
            Came::Something
        })
    }

    async fn read_rest(&mut self) -> io::Result<usize> {
        let stall = self.session.stall;
        let length = timeout(stall, self.read.read_buf(&mut self.buffer)).await;
        length.unwrap_or_else(|_| {
            let words = format!("the client has left a request unfinished for {stall:?}");
            Err(io::Error::new(ErrorKind::TimedOut, words))
        })
    }

    /// Returns 0 when the client has been idle for this time: it has sent nothing, and all its requests were
    /// answered.
    async fn read_while_not_idle(&mut self, idle: Duration) -> io::Result<usize> {
        let mut limit = idle;
        loop {
            let length = timeout(limit, self.read.read_buf(&mut self.buffer)).await;
            if let Ok(length) = length {
                return length;
            }
            limit = idle.saturating_sub(self.activity.idle_for().unwrap_or_default());
            if limit.is_zero() {
                return Ok(0);
            }
        }
    }

    /// Takes the requests of the next batch off the buffer, and encodes their commands. Returns `true` if the
    /// connection ends after this batch.
    fn gather(&mut self) -> (Vec<PendingReply>, bool) {
        let mut slots = Vec::new();
        if self.lock.is_some() {
            return (slots, false);
        }
        // The bytes of requests that are not encoded, and of replies that are here.
        let mut bytes = 0;
        while slots.len() < BATCH && self.commands.len() + bytes < BATCH_BYTES {
            let access = &self.client.access;
            let alone = access.is_stranger() || access.has_penalty();
            if alone && !slots.is_empty() {
                break;
            }
            bytes += slots.last().map_or(0, PendingReply::ready);
            let before = self.client.protocol();
            let request = request::take(&mut self.buffer, &mut self.scanner, &mut self.client);
            let protocol = self.client.protocol();
            if protocol != before {
                slots.push(PendingReply::Speak(protocol));
            }
            match request {
                Ok(None) => break,
                Ok(Some(Request::Command(command))) => match &self.session.store {
                    Store::Ordered(_) => {
                        command.encode(&mut self.commands);
                        slots.push(PendingReply::Ordered);
                    }
                    Store::Registers(_) => slots.push(match Single::from_command(command) {
                        Ok(single) => {
                            bytes += single.len();
                            PendingReply::Single(single)
                        }
                        Err(refused) => PendingReply::Ready(refused),
                    }),
                },
                Ok(Some(Request::Lock(request))) => {
                    self.lock = Some(request);
                    break;
                }
                Ok(Some(Request::Answered(answer))) => slots.push(PendingReply::Ready(answer)),
                Ok(Some(Request::Info)) => {
                    slots.push(PendingReply::Ready(Answer::Text(
                        (self.session.info)().into(),
                    )));
                }
                Ok(Some(Request::Nothing)) => {}
                Ok(Some(Request::Quit)) => {
                    slots.push(PendingReply::Ready(Answer::Simple("OK")));
                    return (slots, true);
                }
                Err(words) => {
                    slots.push(PendingReply::Ready(Answer::Error(words)));
                    return (slots, true);
                }
            }
        }
        (slots, false)
    }

    async fn submit(&mut self, slots: &[PendingReply]) -> Source {
        let ordered = slots
            .iter()
            .filter(|slot| matches!(slot, PendingReply::Ordered))
            .count();
        if ordered == 0 {
            return Source::Nowhere;
        }
        let Store::Ordered(replica) = &self.session.store else {
            return Source::Nowhere;
        };
        let deadline = Instant::now() + self.session.deadline;
        let held = self.unwritten.hold(0);
        let submitted = replica
            .submit(ordered, &self.commands, deadline, held)
            .await;
        self.commands.clear();
        if self.commands.capacity() > 2 * BATCH_BYTES {
            self.commands = BytesMut::new();
        }
        match submitted {
            Ok(answer) => Source::Answer(answer, deadline),
            Err(refusal) => Source::Refused(refusal),
        }
    }
}

/// What is needed to put operations in their registers' queues.
struct Placing<'s> {
    registers: &'s Registers,
    limit: Duration,
    /// Counts the values that are not yet written.
    unwritten: &'s Unwritten,
    queue: &'s mpsc::Sender<Batch>,
    activity: &'s Arc<Activity>,
}

impl Placing<'_> {
    /// Puts every operation in its register's queue, in their order. If one has to wait until values are
    /// written, those before it are sent to the writer first, and the rest is returned. The replies in it
    /// that are here already are counted in `ready`. Returns `None` if the writer has ended.
    async fn place(&self, slots: Vec<PendingReply>, ready: &mut Held) -> Option<Vec<PendingReply>> {
        let mut placed = Vec::with_capacity(slots.len());
        let mut deadline = Instant::now() + self.limit;
        for slot in slots {
            let PendingReply::Single(single) = slot else {
                ready.add(slot.ready());
                placed.push(slot);
                continue;
            };
            let bytes = single.awaited(self.registers);
            let held = if let Some(held) = self.unwritten.try_reserve(bytes) {
                held
            } else {
                let batch = Batch {
                    slots: mem::take(&mut placed),
                    source: Source::Nowhere,
                    _ready: mem::replace(ready, self.unwritten.hold(0)),
                    _on_its_way: self.activity.begin(),
                };
                self.queue.send(batch).await.ok()?;
                let held = self.unwritten.reserve(bytes).await;
                deadline = Instant::now() + self.limit;
                held
            };
            placed.push(match single.submit(self.registers, deadline, held).await {
                Ok(operation) => PendingReply::Placed(operation),
                Err(not_done) => {
                    let limit = format!("{:?}", self.limit);
                    PendingReply::Ready(single::not_done(not_done, &limit))
                }
            });
        }
        Some(placed)
    }
}

/// Reads on for a while, and drops what it reads. A connection that is closed before all received bytes were
/// read is reset, and then its client may never see the last reply.
pub async fn discard(mut read: impl AsyncRead + Unpin) {
    let forget = async {
        let mut forgotten = 0;
        let mut buffer = BytesMut::with_capacity(READ);
        while forgotten < LINGER_BYTES {
            buffer.clear();
            match read.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => forgotten += length,
            }
        }
    };
    let _ = timeout(LINGER, forget).await;
}
