//! Frames over TCP: the same fair-loss interface as over UDP. Connections that end are opened again.
//!
//! Every process dials every other one, and sends only on the connections that it dialled. So no tie-break
//! is needed, and a reset loses one direction only. The link sends again the frames that are lost with a
//! connection: the edge reports [`Reopened`](Indication::Reopened) when a way is open (again), and keeps
//! nothing for a peer to which it is not connected.
//!
//! A connection begins with a preamble that names the dialling process. (The name is for bookkeeping: the
//! link verifies the sender.) Frames follow: length and segment (four bytes each, in big-endian order), and
//! then that many bytes. A frame that claims more than the limit ends the connection.
//!
//! The address that a connection comes from is ignored. The address at which a peer is dialled comes from
//! the table ([`Addresses`]) alone, which no arriving data changes. When the table gets another address for
//! a peer, that address is dialled at once, and the connection to the former one ends.
//!
//! A connection that was cut by a fault (see [`faults`](crate::faults)) is reset when the cut is over: a
//! gap in a stream means that the stream was interrupted.
use crate::{
    edge::Edge,
    faults::{Direction, Faults, Injected},
    peers::{Addresses, Changes},
    strangers::Strangers,
    thread::Protocol,
};
use bytes::{BufMut, BytesMut};
use quorate_abstractions::{
    addressed,
    fair_loss::{Indication, Transmit},
};
use quorate_core::{Addr, Counters, Host, Name, ProcessId, Time, counters::Counter};
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

mod incoming;
mod outgoing;

use incoming::Incoming;
use outgoing::Outgoing;

const MAGIC: &[u8; 7] = b"quorate";
const PREAMBLE: usize = MAGIC.len() + 1;
const HEAD: usize = 8;
/// How long the edge accepts no connection after the operating system refused to accept one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the edge checks whether a fault has ended.
const FAULTS_CHECK: Duration = Duration::from_millis(50);
/// How many connections are kept that claim to come from the same process; old ones may not be known to be
/// dead yet. A further one replaces the oldest: so strangers that claim to be a member, and keep their
/// connections open, do not lock the member out.
const KEPT_PER_PEER: usize = 4;
/// How many connections are kept, for each process, that have not yet named their process.
const UNNAMED_PER_PEER: usize = 2;

/// How a [`TcpEdge`] is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpSettings {
    /// How many bytes may wait for a peer's connection before frames are dropped.
    pub queue_limit: usize,
    /// The longest frame that is sent or accepted, in bytes.
    pub maximum_frame: usize,
    /// A connection is closed if nothing moves on it for this time, although something should.
    pub silence: Duration,
    /// The first and the longest backoff before a connection is tried again.
    pub back_off: (Duration, Duration),
}

impl Default for TcpSettings {
    fn default() -> Self {
        TcpSettings {
            queue_limit: 16 << 20,
            maximum_frame: 1 << 20,
            silence: Duration::from_secs(5),
            back_off: (Duration::from_millis(20), Duration::from_secs(1)),
        }
    }
}

/// What the edge counts, under `tcp`.
#[derive(Clone)]
struct Counts {
    sent: Counter,
    sent_bytes: Counter,
    received: Counter,
    received_bytes: Counter,
    connected: Counter,
    disconnected: Counter,
    unconnected: Counter,
    queue_full: Counter,
    too_large: Counter,
    no_such_peer: Counter,
    bad_preamble: Counter,
    bad_frame: Counter,
    stalled: Counter,
    refused: Counter,
    accept_errors: Counter,
}

impl Counts {
    fn new(counters: &Counters, module: &Name) -> Self {
        let count = |reason| counters.counter(module, reason);
        Counts {
            sent: count("sent"),
            sent_bytes: count("sent_bytes"),
            received: count("received"),
            received_bytes: count("received_bytes"),
            connected: count("connected"),
            disconnected: count("disconnected"),
            unconnected: count("unconnected"),
            queue_full: count("queue_full"),
            too_large: count("too_large"),
            no_such_peer: count("no_such_peer"),
            bad_preamble: count("bad_preamble"),
            bad_frame: count("bad_frame"),
            stalled: count("stalled"),
            refused: count("refused"),
            accept_errors: count("accept_errors"),
        }
    }
}

/// The frames that wait for a peer's connection.
#[derive(Default)]
struct Outbox {
    /// Whether there is a connection.
    open: bool,
    bytes: BytesMut,
}

/// The sending half, reached through the link's address.
struct Sender {
    outboxes: Vec<Mutex<Outbox>>,
    settings: TcpSettings,
    counts: Counts,
    /// The addresses of p1 … pn.
    peers: Addresses,
    strangers: Strangers,
}

impl Sender {
    /// Checks whether a connection that claims to come from a process comes from that process's address.
    fn look_for_strangers(&self, claimed: ProcessId, from: SocketAddr) {
        // The port that it comes from is arbitrary.
        if let Some(entry) = self.peers.of(claimed)
            && entry.ip().to_canonical() != from.ip().to_canonical()
        {
            self.strangers.heard(claimed, from, entry);
        }
    }

    fn outbox(&self, peer: usize) -> Option<MutexGuard<'_, Outbox>> {
        let outbox = self.outboxes.get(peer)?;
        Some(outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn transmit(&self, transmit: Transmit) {
        let Transmit { to, bytes, segment } = transmit;
        let Some(mut outbox) = self.outbox(to.index()) else {
            self.counts.no_such_peer.add(1);
            return;
        };
        if !outbox.open {
            self.counts.unconnected.add(1);
            return;
        }
        let segment = segment.clamp(1, bytes.len().max(1));
        if segment > self.settings.maximum_frame {
            self.counts.too_large.add(1);
            return;
        }
        let most = self.settings.maximum_frame / segment * segment;
        for frame in bytes.chunks(most) {
            if outbox.bytes.len() + HEAD + frame.len() > self.settings.queue_limit {
                self.counts.queue_full.add(1);
                return;
            }
            outbox.bytes.put_u32(frame.len() as u32);
            outbox.bytes.put_u32(segment.min(frame.len()) as u32);
            outbox.bytes.put_slice(frame);
            self.counts.sent.add(1);
            self.counts.sent_bytes.add(frame.len() as u64);
        }
    }
}

/// The connections of a process, on the protocol thread.
pub struct TcpEdge {
    listener: TcpListener,
    /// No connection is accepted before this time.
    paused_until: Option<Time>,
    outgoing: Vec<Outgoing>,
    changes: Changes,
    /// Accepted connections that have not named their process yet, oldest first.
    unnamed: VecDeque<Incoming>,
    /// Connections that have named their process, in the order in which they did.
    incoming: Vec<Incoming>,
    sender: Arc<Sender>,
    injected: Injected,
    /// The latest time for the next check for silent connections and ended faults.
    check_at: Time,
    /// The version of the fault switches at the last check.
    faults: u64,
}

crate::debug::opaque!(TcpEdge);

impl TcpEdge {
    /// Joins a listening socket to the link whose indications go to `up`, and returns the address for the
    /// link's transmissions. `peers` are the addresses of p1 … pn, the own one included. A process whose
    /// address is not known is not dialled.
    ///
    /// # Errors
    /// When the operating system refuses the socket.
    pub fn attach(
        protocol: &mut Protocol,
        listener: std::net::TcpListener,
        peers: impl Into<Addresses>,
        settings: TcpSettings,
        faults: &Faults,
        up: Addr<Indication>,
    ) -> io::Result<Addr<Transmit>> {
        let peers = peers.into();
        let host = protocol.host().at("tcp");
        listener.set_nonblocking(true)?;
        let listener = {
            let _context = protocol.runtime().enter();
            TcpListener::from_std(listener)?
        };
        let sender = Arc::new(Sender {
            outboxes: (0..peers.processes()).map(|_| Mutex::default()).collect(),
            settings,
            counts: Counts::new(host.counters(), host.path()),
            peers: peers.clone(),
            strangers: Strangers::new(&host),
        });
        let out = {
            let sender = sender.clone();
            Addr::new(move |transmit: addressed::Transmit| sender.transmit(transmit.into()))
        };
        let me = host.me();
        let changes = peers.changes();
        let others = host.processes().others(me);
        let members = others.iter().filter(|p| p.index() < peers.processes());
        let outgoing = members.map(|p| Outgoing::new(me, p, peers.of(p), settings.back_off.0));
        let outgoing = outgoing.collect();
        let up = up.with(Indication::from);
        let (transmit, injected) = Injected::attach(&host, faults.clone(), true, out, up);
        protocol.attach(TcpEdge {
            listener,
            paused_until: None,
            outgoing,
            changes,
            unnamed: VecDeque::new(),
            incoming: Vec::new(),
            sender,
            injected,
            check_at: Time::ZERO,
            faults: 0,
        });
        Ok(transmit.with(addressed::Transmit::from))
    }

    fn accept(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        if self.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        self.paused_until = None;
        let mut progress = false;
        let most = UNNAMED_PER_PEER * self.sender.outboxes.len();
        for _ in 0..most {
            let Poll::Ready(result) = self.listener.poll_accept(cx) else {
                break;
            };
            progress = true;
            let Ok((stream, _)) = result else {
                self.sender.counts.accept_errors.add(1);
                self.paused_until = Some(now + ACCEPT_PAUSE);
                break;
            };
            set_up(&stream, self.sender.settings.silence);
            if self.unnamed.len() >= most {
                self.unnamed.pop_front();
                self.sender.counts.refused.add(1);
            }
            self.unnamed.push_back(Incoming::new(stream, now));
        }
        progress
    }

    /// Dials the peers whose addresses have changed.
    fn notice_moves(&mut self, cx: &Context<'_>, now: Time) {
        for (peer, address) in self.changes.take(cx) {
            let mut ways = self.outgoing.iter_mut();
            if let Some(way) = ways.find(|way| way.peer == peer) {
                way.move_to(address, now, &self.sender);
            }
        }
    }

    /// Resets the connections whose cuts have ended.
    fn notice_faults(&mut self, now: Time) {
        let faults = self.injected.faults();
        let version = faults.version();
        if std::mem::replace(&mut self.faults, version) == version {
            return;
        }
        for way in &mut self.outgoing {
            if has_new_hole(faults, way.peer, Direction::Outgoing, &mut way.holes) {
                way.reset(now, &self.sender);
            }
        }
        self.incoming.retain_mut(|connection| {
            let Some(from) = connection.from else {
                return true;
            };
            !has_new_hole(faults, from, Direction::Incoming, &mut connection.holes)
        });
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        let mut progress = false;
        let (sender, injected) = (&*self.sender, &self.injected);
        let mut poll = |connection: &mut Incoming| {
            let outcome = connection.poll(cx, now, sender, injected);
            progress |= outcome != Ok(false);
            if outcome.is_err() {
                sender.counts.disconnected.add(1);
            }
            outcome.is_ok()
        };
        self.incoming.retain_mut(&mut poll);
        self.unnamed.retain_mut(&mut poll);
        while let Some(index) = self.unnamed.iter().position(|c| c.from.is_some())
            && let Some(connection) = self.unnamed.remove(index)
        {
            self.keep(connection, now);
        }
        progress
    }

    /// Keeps a connection that has named its process. If there are too many of that process, the oldest one
    /// is closed.
    fn keep(&mut self, connection: Incoming, now: Time) {
        let of_same = |other: &&Incoming| other.from == connection.from;
        if self.incoming.iter().filter(of_same).count() >= KEPT_PER_PEER
            && let Some(oldest) = self.incoming.iter().position(|other| of_same(&other))
        {
            self.incoming.remove(oldest);
            self.sender.counts.refused.add(1);
        }
        let mut ways = self.outgoing.iter_mut();
        if let Some(way) = ways.find(|way| connection.from == Some(way.peer)) {
            way.hurry(now, self.sender.settings.back_off.0);
        }
        self.incoming.push(connection);
    }
}

impl Edge for TcpEdge {
    fn poll(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        self.notice_faults(now);
        self.notice_moves(cx, now);
        let mut progress = self.accept(cx, now);
        for way in &mut self.outgoing {
            progress |= way.poll(cx, now, &self.sender, &self.injected);
        }
        progress |= self.poll_incoming(cx, now);
        if self.injected.faults().are_active() {
            self.check_at = now + FAULTS_CHECK;
        } else if self.check_at <= now {
            self.check_at = now + self.sender.settings.silence / 4;
        }
        progress
    }

    fn deadline(&self) -> Option<Time> {
        let ways = self.outgoing.iter().filter_map(Outgoing::deadline);
        ways.chain(self.paused_until).chain([self.check_at]).min()
    }
}

/// The connection has ended, or must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Broken;

/// Whether the way has been cut by a fault since `holes` was counted, and is open again.
fn has_new_hole(faults: &Faults, peer: ProcessId, direction: Direction, holes: &mut u64) -> bool {
    if faults.get(peer, direction).cut {
        return false;
    }
    let now = faults.holes(peer, direction);
    std::mem::replace(holes, now) != now
}

/// Sets options so that small frames are sent at once, and a peer whose machine has failed is noticed.
fn set_up(stream: &TcpStream, silence: Duration) {
    // If the operating system lacks one of these options, the effect is only a delay.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_keepalive(true);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let _ = socket.set_tcp_user_timeout(Some(silence));
}
