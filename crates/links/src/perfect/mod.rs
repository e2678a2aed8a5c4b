//! Perfect links over fair-loss links or over byte streams, in lanes: retransmit until acknowledged,
//! deliver once, between two incarnations that know each other.
//!
//! # Promises
//! Between two incarnations a lane is a sequence of streams in each direction. Within a stream:
//! - **PL1 reliable delivery** (liveness): what a correct process sends to a correct process is
//!   delivered, unless the stream ends.
//! - **PL2 no duplication** (safety): no message is delivered more than once.
//! - **PL3 no creation** (safety): what is delivered from p was sent by p, by that incarnation of it.
//! - Beyond the abstraction: the messages of one incarnation to another on one lane of a stream are delivered
//!   in the order in which they were sent, without a hole, up to the end of the stream. Layers above must not
//!   rely on it.
//!
//! Between streams:
//! - **ST1** (safety): for each stream that ends, the sender indicates `Ended` and then `Begun`, each once.
//!   The receiver indicates `Gap`, once, before it delivers any message of the next stream.
//! - **ST2** (liveness): a stream that has ended is followed by another, if the two are correct and connected.
//! - **ST3** (liveness): a stream ends only if its receiver owes more than `queue_limit`, or if the receiver
//!   has forgotten the session in which something was sent, because it took another start for the sender's
//!   and has come back to this one. No process is excluded for that.
//!
//! And besides:
//! - On lanes of [`PerfectLinks::datagrams`], only fair loss, for each direction of a channel by itself: a
//!   message sent infinitely often is delivered infinitely often, once the two have met; PL3.
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
//! The layouts are documented in `frame.rs` and `hello.rs`. Every frame carries the checksum of its bytes; a
//! damaged frame is dropped. Every frame but HELLO and EXCLUDED carries the token of its session, derived
//! from both incarnations and both nonces.
//!
//! # Cost
//! One step. Messages that enter in one batch leave as ⌈bytes / datagram⌉ packets in ⌈bytes / 60 KiB⌉
//! transmissions. A packet has 38 bytes of overhead, a message 2 to 5. Each batch of at least two packets
//! gets one acknowledgement; the acknowledgement of a single packet waits for more packets, for an eighth of
//! the timeout. The handshake takes two to five greetings per pair. There is one timer per peer. Memory per
//! peer: for messages sent and not acknowledged, `queue_limit`, and up to four times as much while the peer
//! acknowledges, and for 2 s (over a stream edge 5 s) while it does not; nothing once the stream has ended.
//! In addition, twice the window for early packets, and four incomplete messages of the largest size. If its
//! users honour its [room](PerfectLinks::pressure), a module is owed by each peer that is waited for an
//! eighth of `queue_limit` (less, where there are more than eight modules), and what its senders have in
//! flight beyond it. A stream that begins anew costs a round trip, and until then a frame at most every 2 s
//! (over a stream edge 20 s). On fair-loss lanes: one frame per message and receiver, with 26 bytes of
//! overhead, which leaves at once; no memory except, until the process is admitted, for its messages to
//! itself.
//!
//! # Why it holds
//! *PL1.* A message is in the queue of its lane, in a packet in flight, or acknowledged. A packet that times
//! out, or that later ones have overtaken for longer than the network reorders, is sent again, and the
//! timeout is bounded, so that fair loss lets it through. Nothing ever closes the window: the receiver always
//! takes the next packet, and two may always be in flight. *PL2.* Packets of a session are numbered, and each
//! is unpacked once, in the order of numbers; duplicates are acknowledged, never delivered. *PL3.* A frame
//! without the session's token is dropped, and the token is derived from both nonces, which only the two have
//! seen.
//!
//! *No hole that nobody knows of.* A queue that is too long is not shortened: the stream ends, and all
//! waiting messages are dropped. A queue is too long if it is above its limit and nothing of it is
//! acknowledged for a while, so that a burst alone ends no stream; or if it reaches four times the limit, so
//! that memory is bounded. The sender sends no packet of the next stream before OPENED, and the receiver says
//! OPENED only after it has indicated the gap and forgotten incomplete messages: ST1. Streams are numbered
//! consecutively, so that OPEN has an effect only once, and so has OPENED. Both can be repeated, because the
//! answer tells which packets the receiver had when the stream was opened, not which it has now. Packet
//! numbers go on from stream to stream under one token: a copy from an ended stream is older than every
//! expected packet, and names another stream besides. OPEN is repeated until it is answered, ever more
//! slowly, and at once when a silence ends: ST2. Each direction ends and begins by itself, so that the two
//! have nothing to agree on. An overflow before the two have met ends a stream like any other: the session
//! begins with an OPEN. Messages of a process to itself wait only for its admission: beyond the limit they
//! are refused, with the same three indications.
//!
//! *Fair-loss lanes.* A DATAGRAM is sent and accepted by the token of the session alone, without any frame
//! from the other side, whatever happens to the streams; so are BEATs. The session ends when another
//! incarnation has the seat.
//!
//! *Which start is the latest.* A process tells a nonce to each start of a peer that it hears, and numbers
//! its draws: an echo counts for that draw and start only, and a verified start ends its draw and all earlier
//! ones (`draws.rs` has the argument). When a process learns from others which start holds a seat, the draws
//! for other starts of the seat end as well: a start that echoes a later nonce was alive after that holder.
//! So an old datagram changes nothing, however late it is. Greetings that are not verified use no memory, so
//! that strangers cannot fill it: a nonce is a keyed hash of the start and the draw.
//!
//! *Who takes part.* An incarnation becomes the *voter* of its seat at a process when it is the first
//! to echo the nonce of that process, or the first that a voter tells of. Data flows between two
//! voters that are *admitted*: ⌊(n + f) / 2⌋ others know them as voters, where f is the largest
//! minority ([`AdmissionRule::RestartSafe`]). An incarnation that is not the voter learns so from the
//! first greeting that it verifies, and stops for good.
//!
//! *One incarnation a seat.* While no more than f processes are ever started again without their memory, at
//! most one incarnation of a seat is admitted, so that a restart is the crash of a crash-stop process and
//! nothing else. Suppose that two incarnations of one seat were admitted. Of the n - 1 others, ⌊(n + f) / 2⌋
//! knew the one as the voter, and as many the other. So in at least 2⌊(n + f) / 2⌋ - (n - 1) ≥ f seats one
//! process knew the first, and one process the second, when that incarnation was admitted. An incarnation
//! knows one voter per seat until another has been admitted, or adopted: so the two processes were two
//! incarnations, and each of these seats has been restarted, too. With the seat in question that makes f + 1
//! restarts. A smaller number of others would not do: the processes that come late and those that restart
//! could together form a cluster without the processes that are stopped or cut off, and these are n - ⌊(n +
//! f) / 2⌋ - 1 + f processes.
//!
//! *Late first starts.* A seat that has never had a start does not make the others turn a start away. Its
//! first start is a member that lags: no start was admitted in its seat before, so that its empty memory
//! breaks no promise. It learns from the gaps of the streams to it that it has missed messages. Some
//! processes may know a first start that ended before enough had met it, and others the second one. If the
//! second is admitted, the first never was and never will be (above), so that a process that knows the first
//! takes the second instead, and an admitted start does not stop because of the first; it does stop if the
//! other is known to have been admitted as well, because then more memories are lost than may be. If the
//! second is not admitted, it is told of the first and waits as a newcomer, and says so: then the processes
//! that know no other start of the seat indicate `Replaced`, too, so that the group that decides about
//! adoptions learns that one is wanted.
//!
//! *Newcomers.* With [`LinkSettings::rejoin`], an incarnation that comes after another waits instead,
//! greeting, until the group [adopts](quorate_abstractions::link::Adopt) it: then it is the voter everywhere,
//! and the one before it is not. The caller that adopts is responsible for the agreement behind it. A
//! newcomer takes part only in the lanes below that path; in the others its seat stays empty for ever.
//!
//! *Pressure* ([`pressure`](quorate_abstractions::pressure)). A peer that owes a module too much slows the
//! module as long as it acknowledges something now and then. What a process says of its room follows from its
//! own queues and users, never from what others told it, so that processes cannot wait for each other in a
//! circle. It is said when it changes and with the next heartbeats, and is valid for 10 s, so that a loss
//! delays nobody for longer. For a user that stands still the link takes no packets from any peer, as if they
//! had not arrived: they come again, or their stream ends. Meanwhile this process says that it hears nobody.
//! Once it says otherwise, or that it has room again, its peers send at once the packets that have timed out,
//! and open the streams that have ended, however long it took: its heartbeats went on, so that there is no
//! silence whose end would trigger that.
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
pub use frame::claimed_sender;
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

/// The longest datagram that is accepted, in bytes, whatever size this process uses itself.
const LARGEST_DATAGRAM: usize = 64 * 1024;

/// How many must know a process as the voter of its seat before it takes part.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AdmissionRule {
    /// ⌊(n + f) / 2⌋ others, where f is the largest minority: at most one incarnation of a seat ever takes
    /// part, while at most f processes are started again without their memory. A cluster's first processes
    /// take part when this number of others and one more have met: 2 of 2, 3 of 3, 3 of 4, 4 of 5, 6 of 7.
    #[default]
    RestartSafe,
    /// A majority, itself included. A cluster forms even if a minority is missing from the start. Use this
    /// only where no process is ever started again without its memory, as in the crash-stop model: with an
    /// odd n, two incarnations of a seat can be admitted by majorities that have no other seat in common.
    CrashStop,
}

impl AdmissionRule {
    /// How many other processes of a membership must know the process.
    #[must_use]
    pub const fn others(self, processes: &Membership) -> usize {
        match self {
            AdmissionRule::RestartSafe => usize::midpoint(processes.n(), processes.minority()),
            AdmissionRule::CrashStop => processes.majority() - 1,
        }
    }
}

/// A message that this process wanted to send on a lane, but that was not sent because it is too long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TooLong {
    pub lane: Name,
    /// The length of the encoded message, in bytes.
    pub bytes: usize,
    /// The longest message allowed, in bytes.
    pub limit: usize,
}

/// The settings of a link. Settings that must be the same everywhere are compared when two processes meet.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The cluster's name, at most 64 bytes; the same everywhere.
    pub cluster: String,
    /// The names of the algorithms in use; the same everywhere.
    pub stack: String,
    /// The size of a datagram in bytes, 512 bytes to 64 KiB. May differ between processes.
    pub datagram: usize,
    /// The longest message in bytes. Longer ones are refused: see [`PerfectLinks::too_long`]. The same
    /// everywhere.
    pub maximum_message: usize,
    /// The most bytes, those that wait to be sent included, that a peer may owe acknowledgements for. If it
    /// owes more, the stream to it ends once it acknowledges nothing for 2 s (5 s over a stream edge), or at
    /// once if it has not answered for that long already. If it owes more than four times as much, the stream
    /// ends at once.
    pub queue_limit: usize,
    /// Whether the edge is a byte stream, which does not lose or reorder until it is interrupted.
    pub stream: bool,
    /// How many others must know this process before it takes part. Does not concern the other processes.
    pub admission: AdmissionRule,
    /// The path of the lanes in which later incarnations of a seat take part, once they are
    /// [adopted](quorate_abstractions::link::Adopt); all other lanes are closed to them. If `None`, they are
    /// excluded. The same everywhere.
    pub rejoin: Option<String>,
    /// How many bytes may be in flight to a peer. `None` means 1 MiB over datagrams, 4 MiB over a stream.
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

/// Why a link cannot start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StartError {
    /// A lane was opened twice.
    #[error(transparent)]
    OpenedTwice(#[from] OpenedTwice),
    /// The link has started before.
    #[error("the link has started before")]
    StartedTwice,
    /// There are more lanes than the wire has numbers for.
    #[error("at most 65535 lanes, not {0}")]
    TooManyLanes(usize),
    /// The cluster's name is too long.
    #[error("a cluster's name is at most {MAXIMUM_CLUSTER} bytes long, not {0}")]
    LongName(usize),
    /// The datagram size is too small for a greeting, or larger than peers accept.
    #[error("a datagram is 512 bytes to 64 KiB long, not {0}")]
    BadDatagram(usize),
}

/// The state that the clones of a link share.
struct Shared {
    /// The mailbox, until the link starts.
    mailbox: Mutex<Option<Mailbox<Event>>>,
    events: Addr<Event>,
    lanes: LaneTable,
    settings: LinkSettings,
}

/// The perfect links of one process. Open lanes on it, then start it on an edge.
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

    /// Lets `tap` see the messages of all lanes that are opened from now on.
    pub fn tap(&self, tap: Arc<dyn Tap>) {
        self.shared.lanes.tap(tap);
    }

    /// Sends a heartbeat for each [`Beat`], and indicates to `up` which processes were heard.
    pub fn heartbeat(&self, up: Addr<Heard>) -> Addr<Beat> {
        self.shared.events.send(Event::Listen(up));
        self.shared.events.with(Event::Beat)
    }

    /// The same for a second detector, which adds nothing to the heartbeats: each of its heartbeats repeats
    /// the last one of the [first](PerfectLinks::heartbeat) detector.
    pub fn signs_of_life(&self, up: Addr<Heard>) -> Addr<Beat> {
        self.shared.events.send(Event::Listen(up));
        self.shared.events.with(|_: Beat| Event::Repeat)
    }

    /// Tells which other processes have met this one, that is, know it as the holder of its seat, as far as
    /// they have said so. Subscribers get the present set first, then every change. This process is admitted
    /// once [enough](AdmissionRule) have met it.
    pub fn met(&self) -> Subscribe<ProcessSet> {
        self.shared.events.with(Event::Meet)
    }

    /// Tells of each message from now on that this process wanted to send and that is too long.
    pub fn too_long(&self) -> Subscribe<TooLong> {
        self.shared.events.with(Event::WatchLengths)
    }

    /// The address for adoptions: the group that agrees on it says that an incarnation takes another's place.
    pub fn adopt(&self) -> Addr<Adopt> {
        self.shared.events.with(Event::Adopt)
    }

    /// Tells `up` whether the module at the path of these links may send. `wait` says which slow peers the
    /// module waits for. A module consists of the lanes whose paths share a first segment.
    pub fn pressure(&self, wait: Wait, up: Addr<Room>) {
        let event = Event::Pressure(self.module(), wait, up);
        self.shared.events.send(event);
    }

    /// The address at which that module reports its user's backlog.
    pub fn backlog(&self) -> Addr<Backlog> {
        let module = self.module();
        let backlog = move |backlog| Event::Backlog(module.clone(), backlog);
        self.shared.events.with(backlog)
    }

    /// Tells of every module under pressure whether it may send: first of the modules that may not, then of
    /// every change.
    pub fn rooms(&self) -> Addr<Addr<(Name, Room)>> {
        self.shared.events.with(Event::Observe)
    }

    fn module(&self) -> Name {
        Name::from(pressure::module_of(&self.path))
    }

    /// Answers, once, when the peers that are connected and respond have acknowledged everything.
    pub fn drained(&self) -> Subscribe<()> {
        self.shared.events.with(Event::Drain)
    }

    /// Answers with the state of the exchange with each peer.
    pub fn gauges(&self) -> Subscribe<Vec<Gauge>> {
        self.shared.events.with(Event::Gauge)
    }

    /// The address to which the edge delivers.
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
