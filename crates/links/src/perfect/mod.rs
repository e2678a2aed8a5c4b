//! Perfect links over fair-loss links or over byte streams, in lanes: retransmit until acknowledged,
//! deliver once, between two incarnations that know each other.
//!
//! # Promises
//! Between two incarnations a lane is a sequence of streams in each direction. Within a stream:
//! - **PL1 reliable delivery** (liveness): what a correct process sends to a correct process is
//!   delivered, unless the stream ends.
//! - **PL2 no duplication** (safety): no message is delivered more than once.
//! - **PL3 no creation** (safety): what is delivered from p was sent by p, by that incarnation of it.
//! - Beyond the abstraction: what one incarnation sends to another on one lane of a stream is delivered
//!   in the order in which it was sent, without a hole, up to the end of the stream. Layers above must
//!   not rest on it.
//!
//! Between streams:
//! - **ST1** (safety): the sender indicates `Ended`, then `Begun`, the receiver `Gap` before it delivers
//!   anything of the next stream: each once for each stream that ends.
//! - **ST2** (liveness): a stream that has ended is followed by another, if the two are correct and connected.
//! - **ST3** (liveness): a stream ends only if its receiver owes more than `queue_limit`, or if the receiver has
//!   forgotten the session in which something was sent: it took another start for the sender's, and has come
//!   back to this one. No process is excluded for that.
//!
//! And besides:
//! - On lanes of [`PerfectLinks::datagrams`], fair loss only, for each direction of a channel by itself:
//!   what is sent infinitely often is delivered infinitely often, once the two have met; PL3.
//!
//! # Assumes
//! Crash-stop processes of a fixed membership, each start of one under another incarnation (which may
//! be any number, also a smaller one), and one of two edges with the interface of
//! [`fair_loss`]: fair-loss datagrams, or a byte stream cut into datagrams
//! ([`LinkSettings::stream`]). An adversary may send anything, but does not see what others send: it
//! can replay what it was given, and cannot guess 64 random bits. No clock is compared with another.
//! For liveness, a majority of processes that have been admitted, and stay connected ([`AdmissionRule`]).
//!
//! # Messages
//! | frame | meaning |
//! |---|---|
//! | HELLO | who I am and of what cluster, version, stack, lanes and membership; the nonce that I have drawn for you, and its number; the echo of yours; the voters that I know; whether I wait to be adopted |
//! | PACKET | the numbered packet of a stream: chunks of messages; everything up to a number has arrived |
//! | ACKNOWLEDGE | what has arrived of a stream, with the gaps |
//! | OPEN | my last stream has ended; the next has this number, and begins with this packet |
//! | OPENED | I know; of the one before it everything up to this packet had arrived |
//! | BEAT | I am alive, and hear a majority or do not; who leaves, as I know |
//! | EXCLUDED | you may not take part (with the echo of your nonce) |
//! | DATAGRAM | one message of a fair-loss lane, with a stamp; nothing answers it |
//! | ROOM | the modules for which I have no room, with a stamp: when that changes, and with heartbeats |
//!
//! Layouts stand in `frame.rs` and `hello.rs`. Every frame carries the checksum of its bytes: of one that is
//! damaged nothing is believed. Every frame but HELLO and EXCLUDED carries the token of
//! its session, derived from both incarnations and both nonces.
//!
//! # Cost
//! One step. Messages that enter in one batch leave as ⌈bytes / datagram⌉ packets in ⌈bytes / 60 KiB⌉
//! transmissions; a packet has 38 bytes of its own, a message 2 to 5. One acknowledgement for each
//! batch of at least two packets; a single one waits for company, for an eighth of the timeout. The
//! handshake takes two to five greetings a pair. Timers: one a peer. Memory a peer: of what is
//! sent and not acknowledged, `queue_limit`, up to four times as much while the peer acknowledges,
//! and for 2 s (over a stream edge 5 s) while it does not; nothing once the stream has ended; twice the
//! window of early packets; and four incomplete messages of the largest size. A module whose users
//! honour its [room](PerfectLinks::pressure) is owed an eighth of `queue_limit` by each peer that is waited
//! for (less, where there are more than eight modules), and what its senders have in flight beyond it. A
//! stream that begins anew costs a round trip, and until then a frame at most every 2 s (over a stream edge 20 s). On fair-loss lanes: one frame a message and receiver, with 26
//! bytes of its own, which leaves at once; no memory but, until the process is admitted, what it sends to
//! itself.
//!
//! # Why it holds
//! *PL1.* A message is in the queue of its lane, in a packet in flight, or acknowledged; a packet that
//! times out, or that later ones have overtaken for longer than the network reorders, is sent again, and the timeout is bounded, so that
//! fair loss lets it through. Nothing ever closes the window: the receiver takes the next packet
//! always, and two may always be in flight. *PL2.* Packets of a session are numbered, and each is
//! unpacked once, in the order of numbers; duplicates are acknowledged, never delivered. *PL3.*
//! A frame without the session's token is dropped, and the token takes both nonces, which only the
//! two have seen.
//!
//! *No hole that nobody knows of.* A queue that is too long is not shortened: the stream ends, with all that
//! waits. Too long is a queue above its limit of which nothing is acknowledged for a while, so that a burst
//! alone ends nothing; and four times the limit, so that memory is bounded. The sender sends no packet of the
//! next stream before OPENED, and the receiver says OPENED only after it has indicated the gap and forgotten
//! what was incomplete: ST1. Streams are numbered without a hole, so that OPEN changes something once, and
//! OPENED as well; both are repeated and repeatable, the answer being what the receiver had when the stream
//! was opened, not what it has now. Packet numbers go on from stream to stream under one token: a copy from
//! an ended stream is older than all that is expected, and names another stream besides. OPEN is repeated
//! until it is answered, ever more slowly, and at once when a silence ends: ST2. Each direction ends and
//! begins by itself, so that there is nothing to agree on, and nobody to yield. What overflows before the two
//! have met ends a stream like any other: the session begins with an OPEN. What a process sends to itself
//! waits for its admission only: beyond the limit it is refused, with the same three words.
//!
//! *Fair-loss lanes.* A DATAGRAM is sent and taken without a word from the other side, by the token of the
//! session, whatever becomes of streams; and so are BEATs. It goes when another incarnation has the seat.
//!
//! *Which start is the latest.* A process tells each start of a peer that it hears a nonce, and numbers its
//! draws: an echo counts for that draw and start only, and a start that is verified ends its draw and all earlier
//! ones (`draws.rs` has the argument). When a process learns from others who holds a seat, the draws for other
//! starts of it end as well: who echoes a later one was alive after that holder. So an old datagram changes
//! nothing, however late it is. Of greetings that are not verified nothing is kept, so that strangers cannot fill
//! it: a nonce is a keyed hash of the start and the draw.
//!
//! *Who takes part.* An incarnation becomes the *voter* of its seat at a process when it is the first
//! to echo the nonce of that process, or the first that a voter tells of. Data flows between two
//! voters that are *admitted*: ⌊(n + f) / 2⌋ others know them as voters, where f is the largest
//! minority ([`AdmissionRule::RestartSafe`]). An incarnation that is not the voter learns so from the
//! first greeting that it verifies, and stops for good.
//!
//! *One incarnation a seat.* While no more than f processes are ever started again without their
//! memory, at most one incarnation of a seat is admitted, so that a restart is the crash of a
//! crash-stop process and nothing else. Suppose that two of one seat were. Of the n - 1 others,
//! ⌊(n + f) / 2⌋ knew the one as the voter, and as many the other: in at least
//! 2⌊(n + f) / 2⌋ - (n - 1) ≥ f seats somebody knew the one, and somebody the other, when that was
//! admitted. An incarnation knows one voter a seat until another has been admitted, or adopted: these
//! were two incarnations, so that each of these seats has been restarted, too. With the seat in question that makes f + 1 restarts. Fewer others
//! would not do: what could form a cluster without those that are stopped or cut off are the late
//! and the restarted together, n - ⌊(n + f) / 2⌋ - 1 + f of them.
//!
//! *Late first starts.* A seat that has never had a start is no reason to turn one away. The first is a
//! member that lags: nobody was admitted in its seat before, so that its empty memory breaks no promise; what
//! it has missed it learns from the gaps of the streams to it. Some may know a first start that ended before
//! enough had met it, and others the second one. If the second is admitted, the first never was and never will
//! be (above), so that whoever knows the first takes the second instead, and an admitted start does not stop
//! because of it; it does if the other is known to have been admitted as well, since then more memories are
//! lost than may be. If it is not admitted, it is told of the first and waits as a newcomer, and says so: then
//! those who know no other start of it indicate `Replaced`, too, so that whoever decides about adoptions
//! learns that one is wanted.
//!
//! *Newcomers.* With [`LinkSettings::rejoin`], an incarnation that comes after another waits instead,
//! greeting, until somebody [adopts](quorate_abstractions::link::Adopt) it: then it is the voter
//! everywhere, and the one before it is none. Who adopts answers for the agreement behind it. A newcomer
//! takes part in the lanes below that path only; in the others its seat stays empty for ever.
//!
//! *Pressure* ([`pressure`](quorate_abstractions::pressure)). Who owes a module too much slows it while it
//! acknowledges something now and then. What the others say of their room follows from their own queues and
//! users, never from what they were told, so that nobody waits in a circle; it is said when it changes and with
//! the next heartbeats, and stands for 10 s, so that no loss makes anybody wait for longer. For a user that
//! stands still nothing is taken from anybody, as if it had not arrived: it comes again, or its stream ends;
//! meanwhile this process says that it hears nobody. Once it says otherwise, or that it has room again, what has
//! timed out comes again at once, and what has ended is opened, however long it was: its heartbeats have ended
//! every silence before.
//!
//! # Source
//! Cachin, Guerraoui, Rodrigues, *Introduction to Reliable and Secure Distributed Programming*, 2.4.4
//! "Eliminate Duplicates"; Jacobson, *Congestion Avoidance and Control*, 1988, for the timeout and the
//! window; RFC 2018 for selective acknowledgements; RFC 8985 (RACK) for what is lost and what is
//! late, with a count of duplicates in the place of DSACK. Deviations from the book: messages are told apart
//! by place, not content; acknowledgements end retransmission; the set of delivered messages is a
//! number and the early packets; links hold between incarnations, and within streams, which end when a
//! peer does not acknowledge for too long.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use quorate_abstractions::{fair_loss::Transmit, link::{Deliver, Links, SendRequest}};
//! use quorate_core::{Addr, Host};
//! use quorate_links::perfect::{LinkSettings, PerfectLinks, StartError};
//!
//! fn wire(
//!     host: &impl Host,
//!     edge: Addr<Transmit>,
//!     up: Addr<Deliver<Bytes>>,
//! ) -> Result<Addr<SendRequest<Bytes>>, StartError> {
//!     let links = PerfectLinks::new(host, LinkSettings::default());
//!     let greetings = links.at("greetings").open(up);
//!     // The edge delivers to links.arrivals().
//!     links.start(edge)?;
//!     Ok(greetings)
//! }
//! ```
mod algorithm;
mod congestion;
mod datagrams;
mod draws;
mod events;
mod frame;
mod framing;
mod gauge;
mod gauges;
mod greeting;
mod handshake;
mod hello;
mod newcomers;
mod oneself;
mod outbox;
mod passage;
mod peer;
mod pressure;
mod queue;
mod receiving;
mod reordering;
mod seats;
mod sending;
mod session;
mod slowdown;
mod streams;
mod transmission;
mod voter;
mod watchers;

pub use datagrams::Datagrams;
pub use gauge::Gauge;
pub use hello::greets_as;

use algorithm::PerfectLink;
use events::{Effect, Event};
use hello::{Identity, MAXIMUM_CLUSTER};
use quorate_abstractions::{
    Subscribe, fair_loss,
    heartbeat::{Beat, Heard},
    lanes::{LaneTable, OpenedTwice, Tap},
    link::{Adopt, Deliver, Links, SendRequest, Status},
    pressure::{Backlog, Room, Wait},
};
use quorate_core::{Addr, Host, Mailbox, Membership, Name, ProcessSet, wire::Wire};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Longer datagrams are dropped, whatever the own ones' size is.
const LARGEST_DATAGRAM: usize = 64 * 1024;

/// How many must know a process as the voter of its seat before it takes part.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AdmissionRule {
    /// ⌊(n + f) / 2⌋ others, f being the largest minority: at most one incarnation of a seat ever takes
    /// part, while at most f processes are started again without their memory. A cluster's first
    /// processes take part when so many and one have met: 2 of 2, 3 of 3, 3 of 4, 4 of 5, 6 of 7.
    #[default]
    RestartSafe,
    /// A majority, itself included. A cluster forms although a minority is missing from the start.
    /// Only where no process is ever started again without its memory, as in the crash-stop model:
    /// with an odd n, two incarnations of a seat can be admitted by majorities that share nobody else.
    CrashStop,
}

impl AdmissionRule {
    /// How many other processes of a membership that is.
    #[must_use]
    pub const fn others(self, processes: &Membership) -> usize {
        match self {
            AdmissionRule::RestartSafe => usize::midpoint(processes.n(), processes.minority()),
            AdmissionRule::CrashStop => processes.majority() - 1,
        }
    }
}

/// A message that this process wanted to send on a lane, and that went to nobody, since it is too long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TooLong {
    pub lane: Name,
    /// How long the message is, encoded.
    pub bytes: usize,
    /// How long it may be.
    pub limit: usize,
}

/// How a process talks to its peers. What must be the same everywhere is compared when two meet.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The cluster's name, at most 64 bytes; the same everywhere.
    pub cluster: String,
    /// The names of the algorithms in use; the same everywhere.
    pub stack: String,
    /// The size of a datagram, 512 bytes to 64 KiB. May differ between processes.
    pub datagram: usize,
    /// Longer messages are refused: see [`PerfectLinks::too_long`]. The same everywhere.
    pub maximum_message: usize,
    /// Where a peer owes acknowledgements of more than so many bytes, those that wait to be sent included,
    /// the stream to it ends once it acknowledges nothing for 2 s (5 s over a stream edge), or has not
    /// answered for long already; where it owes more than four times as many, the stream ends at once.
    pub queue_limit: usize,
    /// Whether the edge is a byte stream, which neither loses nor reorders until it is interrupted.
    pub stream: bool,
    /// Who must know this process before it takes part; of no concern to the others.
    pub admission: AdmissionRule,
    /// The path of the lanes in which incarnations that come after others take part, once they are
    /// [adopted](quorate_abstractions::link::Adopt); all other lanes are closed to them. `None`: they are
    /// excluded. The same everywhere.
    pub rejoin: Option<String>,
    /// How many bytes may be in flight to a peer; `None`: 1 MiB over datagrams, 4 MiB over a stream.
    pub window: Option<usize>,
}

impl Default for LinkSettings {
    fn default() -> Self {
        LinkSettings {
            cluster: "quorate".to_owned(),
            stack: String::new(),
            datagram: 1200,
            maximum_message: 16 << 20,
            queue_limit: 64 << 20,
            stream: false,
            admission: AdmissionRule::default(),
            rejoin: None,
            window: None,
        }
    }
}

impl LinkSettings {
    fn window(&self) -> usize {
        let default = if self.stream { 4 << 20 } else { 1 << 20 };
        self.window.unwrap_or(default).max(2 * self.datagram)
    }

    fn lowest_timeout(&self) -> Duration {
        Duration::from_millis(if self.stream { 2000 } else { 30 })
    }

    fn highest_timeout(&self) -> Duration {
        Duration::from_secs(if self.stream { 20 } else { 2 })
    }
}

/// A link that cannot start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StartError {
    /// A lane was opened twice.
    #[error(transparent)]
    OpenedTwice(#[from] OpenedTwice),
    /// It has started before.
    #[error("the link has started before")]
    StartedTwice,
    /// More lanes than the wire has numbers for.
    #[error("at most 65535 lanes, not {0}")]
    TooManyLanes(usize),
    /// The cluster's name is too long.
    #[error("a cluster's name is at most {MAXIMUM_CLUSTER} bytes long, not {0}")]
    LongName(usize),
    /// The datagram cannot hold a greeting, or is longer than what peers accept.
    #[error("a datagram is 512 bytes to 64 KiB long, not {0}")]
    BadDatagram(usize),
}

/// What the clones of a link share.
struct Shared {
    /// Taken when the link starts.
    mailbox: Mutex<Option<Mailbox<Event>>>,
    events: Addr<Event>,
    lanes: LaneTable,
    settings: LinkSettings,
}

/// The perfect links of one process: lanes are opened on it, then it is started on an edge.
pub struct PerfectLinks<H> {
    host: H,
    path: Name,
    shared: Arc<Shared>,
}

impl<H: Clone> Clone for PerfectLinks<H> {
    fn clone(&self) -> Self {
        PerfectLinks {
            host: self.host.clone(),
            path: self.path.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<H: Host> PerfectLinks<H> {
    /// The links of the process that `host` runs. Makes their mailbox at once.
    pub fn new(host: &H, settings: LinkSettings) -> Self {
        let host = host.at("link");
        let mailbox = host.mailbox();
        PerfectLinks {
            path: Name::root(),
            shared: Arc::new(Shared {
                events: mailbox.addr(),
                mailbox: Mutex::new(Some(mailbox)),
                lanes: LaneTable::default(),
                settings,
            }),
            host,
        }
    }

    /// Has `tap` see what passes in the lanes that are opened from now on.
    pub fn tap(&self, tap: Arc<dyn Tap>) {
        self.shared.lanes.tap(tap);
    }

    /// Sends a heartbeat for each [`Beat`], and indicates to `up` of whom anything was heard.
    pub fn heartbeat(&self, up: Addr<Heard>) -> Addr<Beat> {
        self.shared.events.send(Event::Listen(up));
        self.shared.events.with(Event::Beat)
    }

    /// The same for a second detector, which says nothing with its heartbeats: each repeats what was said last
    /// with those of the [first](PerfectLinks::heartbeat).
    pub fn signs_of_life(&self, up: Addr<Heard>) -> Addr<Beat> {
        self.shared.events.send(Event::Listen(up));
        self.shared.events.with(|_: Beat| Event::Repeat)
    }

    /// Tells which other processes have met this one: they know it as the holder of its seat, as far as they
    /// have said so. The present ones first, then every change. It is admitted once they are
    /// [enough](AdmissionRule).
    pub fn met(&self) -> Subscribe<ProcessSet> {
        self.shared.events.with(Event::Meet)
    }

    /// Tells of each message from now on that this process wanted to send, and that is too long.
    pub fn too_long(&self) -> Subscribe<TooLong> {
        self.shared.events.with(Event::WatchLengths)
    }

    /// Where those who agree on it say that an incarnation takes the place of another.
    pub fn adopt(&self) -> Addr<Adopt> {
        self.shared.events.with(Event::Adopt)
    }

    /// Has `up` told whether the module at whose path these links are may send; it waits for others as
    /// `wait` says. A module is what one first segment of paths names.
    pub fn pressure(&self, wait: Wait, up: Addr<Room>) {
        let event = Event::Pressure(self.module(), wait, up);
        self.shared.events.send(event);
    }

    /// Where that module says how far its user is behind.
    pub fn backlog(&self) -> Addr<Backlog> {
        let module = self.module();
        let backlog = move |backlog| Event::Backlog(module.clone(), backlog);
        self.shared.events.with(backlog)
    }

    /// Tells of every module for which there is pressure whether it may send: of those that may not, and
    /// then of every change.
    pub fn rooms(&self) -> Addr<Addr<(Name, Room)>> {
        self.shared.events.with(Event::Observe)
    }

    fn module(&self) -> Name {
        Name::from(pressure::module_of(&self.path))
    }

    /// Answers, once, when all that was sent to peers that are connected and answer is acknowledged.
    pub fn drained(&self) -> Subscribe<()> {
        self.shared.events.with(Event::Drain)
    }

    /// Answers how the exchange with each peer goes.
    pub fn gauges(&self) -> Subscribe<Vec<Gauge>> {
        self.shared.events.with(Event::Gauge)
    }

    /// Where the edge delivers.
    pub fn arrivals(&self) -> Addr<fair_loss::Indication> {
        self.shared.events.with(Event::Edge)
    }

    /// Closes the table of lanes and starts.
    ///
    /// # Errors
    /// When a lane was opened twice, the link has started before, or its settings are unusable.
    pub fn start(&self, edge: Addr<fair_loss::Transmit>) -> Result<(), StartError> {
        let settings = self.shared.settings.clone();
        if settings.cluster.len() > MAXIMUM_CLUSTER {
            return Err(StartError::LongName(settings.cluster.len()));
        }
        if !(512..=LARGEST_DATAGRAM).contains(&settings.datagram) {
            return Err(StartError::BadDatagram(settings.datagram));
        }
        let lanes = self.shared.lanes.close()?;
        if lanes.len() >= usize::from(u16::MAX) {
            return Err(StartError::TooManyLanes(lanes.len()));
        }
        let mut mailbox = self
            .shared
            .mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mailbox = mailbox.take().ok_or(StartError::StartedTwice)?;
        let identity = Identity {
            me: self.host.me(),
            n: self.host.processes().n(),
            incarnation: self.host.incarnation(),
            cluster: settings.cluster.clone(),
            stack: settings.stack.clone(),
            maximum_message: settings.maximum_message,
            lanes_fingerprint: lanes.fingerprint(),
            lanes: lanes.descriptions(),
        };
        let link = PerfectLink::new(settings, identity, *self.host.processes(), lanes.clone());
        self.host.start(mailbox, link, move |effect| match effect {
            Effect::Deliver(lane, from, bytes) | Effect::DeliverDatagram(lane, from, bytes) => {
                lanes.deliver(lane, from, bytes);
            }
            Effect::Transmit(transmit) => edge.send(transmit),
            Effect::Heard(up, heard) => up.send(heard),
            Effect::Status(up, status) => up.iter().for_each(|up| up.send(status.clone())),
            Effect::Met(up, met) => up.iter().for_each(|up| up.send(met)),
            Effect::TooLong(up, message) => up.iter().for_each(|up| up.send(message.clone())),
            Effect::Room(up, room) => up.iter().for_each(|up| up.send(room)),
            Effect::RoomOf(up, module, room) => {
                for up in up {
                    up.send((module.clone(), room));
                }
            }
            Effect::Drained(reply) => reply.send(()),
            Effect::Gauges(reply, gauges) => reply.send(gauges),
        });
        Ok(())
    }
}

impl<H: Host> Links for PerfectLinks<H> {
    fn at(&self, segment: &str) -> Self {
        PerfectLinks {
            path: self.path.at(segment),
            ..self.clone()
        }
    }

    fn status(&self) -> Subscribe<Status> {
        self.shared.events.with(Event::Watch)
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        let send = self
            .shared
            .events
            .with(|(opened, send)| Event::Send(opened, send));
        self.shared
            .lanes
            .open(self.path.clone(), self.host.counters(), up, send)
    }
}

#[cfg(test)]
mod tests;
