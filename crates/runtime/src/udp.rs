//! Datagrams over UDP: a fair-loss link that never blocks the protocol thread.
//!
//! A run of datagrams of equal size is sent in one system call if the kernel can segment (GSO). Received
//! runs are coalesced (GRO), several in one call. Datagrams that the kernel does not take at once wait in a
//! small queue; when it is full, datagrams are dropped and counted, as the network itself would drop them.
//!
//! Received bytes are copied once, from a fixed receive area into a buffer of their own size. So a message
//! that is kept holds only the memory of the bytes that arrived with it.
//!
//! # Who speaks, and where it is
//! The layer above decides which process has sent a datagram, by the contents of the datagram. The source address
//! proves nothing; it is passed on to a layer that can make use of it ([`attach_addressed`](UdpEdge::attach_addressed)),
//! and such a layer can also direct datagrams to another address. Otherwise it is ignored. So a peer may send from another address than the one to which datagrams for it are sent, for
//! example after a move, or behind address translation. The destination address of a peer comes from the
//! table ([`Addresses`]) alone, which no datagram changes: so a forged source cannot redirect datagrams.
//! When the table gets another address for a peer, the link is told that the way is [open
//! again](Indication::Reopened). Only two functions use source addresses: the switches of
//! [`faults`](crate::faults) (datagrams from an address that is not in the table pass them), and the log of
//! processes that greet from an unexpected address. Such a process can be a peer that has moved, until its
//! name is looked up.
use crate::{
    edge::Edge,
    faults::{Faults, Injected},
    peers::{Addresses, Changes, canonical},
    strangers::Strangers,
    thread::Protocol,
};
use bytes::{Buf, Bytes};
use quinn_udp::{RecvMeta, UdpSocketState};
use quorate_abstractions::{
    addressed::{Indication, Path, Source, Transmit},
    fair_loss,
};
use quorate_core::{Addr, Counters, Host, Name, Time, counters::Counter};
use quorate_links::perfect::greets_as;
use std::{
    collections::VecDeque,
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Receive buffers for each system call. Each is large enough for the longest run that the kernel
/// coalesces.
const BUFFERS: usize = 16;
const BUFFER_LENGTH: usize = 64 * 1024;
/// The most bytes that one UDP packet carries over IPv6, and therefore also over IPv4, before it is
/// segmented.
const MAXIMUM_PACKET: usize = 65_535 - 40 - 8;

/// How a [`UdpEdge`] is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpSettings {
    /// The size of the kernel's send and receive buffers to ask for, in bytes. The kernel may grant less.
    pub socket_buffer: usize,
    /// How many bytes may wait for the kernel before datagrams are dropped.
    pub queue_limit: usize,
}

impl Default for UdpSettings {
    fn default() -> Self {
        UdpSettings {
            socket_buffer: 8 << 20,
            queue_limit: 4 << 20,
        }
    }
}

/// A UDP socket on the protocol thread.
pub struct UdpEdge {
    sender: Arc<Sender>,
    injected: Injected,
    /// `None` if the layer above knows where datagrams come from, and who is a stranger.
    strangers: Option<Strangers>,
    changes: Changes,
    area: Vec<u8>,
    received: Counter,
    received_bytes: Counter,
    receive_errors: Counter,
}

crate::debug::opaque!(UdpEdge);

impl UdpEdge {
    /// Joins a bound socket to the link whose indications go to `up`, and returns the address for the
    /// link's transmissions. `peers` are the addresses of p1 … pn, the own one included. A datagram to a
    /// process whose address is not known is dropped and counted.
    ///
    /// # Errors
    /// When the operating system refuses the socket.
    pub fn attach(
        protocol: &mut Protocol,
        socket: UdpSocket,
        peers: impl Into<Addresses>,
        settings: UdpSettings,
        faults: &Faults,
        up: Addr<fair_loss::Indication>,
    ) -> io::Result<Addr<fair_loss::Transmit>> {
        let up = up.with(fair_loss::Indication::from);
        let peers = peers.into();
        Ok(Self::join(protocol, socket, peers, settings, faults, false, up)?.with(Transmit::from))
    }

    /// The same for a layer that is told where datagrams come from, and may direct them elsewhere.
    ///
    /// # Errors
    /// When the operating system refuses the socket.
    pub fn attach_addressed(
        protocol: &mut Protocol,
        socket: UdpSocket,
        peers: impl Into<Addresses>,
        settings: UdpSettings,
        faults: &Faults,
        up: Addr<Indication>,
    ) -> io::Result<Addr<Transmit>> {
        Self::join(protocol, socket, peers.into(), settings, faults, true, up)
    }

    fn join(
        protocol: &mut Protocol,
        socket: UdpSocket,
        peers: Addresses,
        settings: UdpSettings,
        faults: &Faults,
        is_addressed: bool,
        up: Addr<Indication>,
    ) -> io::Result<Addr<Transmit>> {
        let host = protocol.host().at("udp");
        let state = UdpSocketState::new((&socket).into())?;
        // The kernel may grant less than this, which is no error.
        let _ = state.set_send_buffer_size((&socket).into(), settings.socket_buffer);
        let _ = state.set_recv_buffer_size((&socket).into(), settings.socket_buffer);
        socket.set_nonblocking(true)?;
        let socket = {
            let _context = protocol.runtime().enter();
            register(socket, Interest::READABLE)?
        };
        let count = |reason| host.counters().counter(host.path(), reason);
        let changes = peers.changes();
        let sender = Arc::new(Sender {
            socket,
            state,
            peers,
            queue_limit: settings.queue_limit,
            queue: Mutex::default(),
            counts: Counts::new(host.counters(), host.path()),
        });
        let out = {
            let sender = sender.clone();
            Addr::new(move |transmit| sender.transmit(transmit))
        };
        let (transmit, injected) = Injected::attach(&host, faults.clone(), false, out, up);
        protocol.attach(UdpEdge {
            sender,
            injected,
            strangers: (!is_addressed).then(|| Strangers::new(&host)),
            changes,
            area: vec![0; BUFFERS * BUFFER_LENGTH],
            received: count("received"),
            received_bytes: count("received_bytes"),
            receive_errors: count("receive_errors"),
        });
        Ok(transmit)
    }

    /// Receives once, and returns whether anything came.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut ready = match self.sender.socket.poll_read_ready(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(ready)) => ready,
            Poll::Ready(Err(_)) => {
                self.receive_errors.add(1);
                return false;
            }
        };
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut rest = self.area.chunks_exact_mut(BUFFER_LENGTH);
        let mut buffers: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        let Sender { socket, state, .. } = &*self.sender;
        let result = state.recv(socket.get_ref().into(), &mut buffers, &mut metas);
        let filled = match result {
            Ok(filled) => filled,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.receive_errors.add(1);
                    return true;
                }
                0
            }
        };
        if filled < BUFFERS {
            // Nothing is left: this saves the system call that would find that out.
            ready.clear_ready();
        }
        for (index, meta) in metas[..filled].iter().enumerate() {
            self.arrive(index, meta);
        }
        // This is returned even if nothing came: only a later look that finds the socket not ready asks to
        // be woken.
        true
    }

    fn arrive(&self, index: usize, meta: &RecvMeta) {
        let area = &self.area[index * BUFFER_LENGTH..][..BUFFER_LENGTH];
        let bytes = &area[..meta.len.min(BUFFER_LENGTH)];
        let segment = if meta.stride == 0 {
            bytes.len()
        } else {
            meta.stride
        };
        if bytes.is_empty() {
            return;
        }
        self.received.add(bytes.len().div_ceil(segment) as u64);
        self.received_bytes.add(bytes.len() as u64);
        let at = || self.sender.peers.at(meta.addr);
        let source = match &self.strangers {
            Some(strangers) => {
                self.look_for_strangers(strangers, bytes, meta.addr);
                Source::Unknown
            }
            None => Source::Address(canonical(meta.addr), at()),
        };
        self.injected
            .arrive(source, Bytes::copy_from_slice(bytes), segment, at);
    }
}

/// Processes that greet from an unexpected address.
impl UdpEdge {
    fn look_for_strangers(&self, strangers: &Strangers, datagram: &[u8], from: SocketAddr) {
        let peers = &self.sender.peers;
        if let Some(claimed) = greets_as(datagram)
            && peers.at(from) != Some(claimed)
            && let Some(entry) = peers.of(claimed)
        {
            strangers.heard(claimed, from, entry);
        }
    }
}

impl Edge for UdpEdge {
    fn poll(&mut self, cx: &mut Context<'_>, _now: Time) -> bool {
        let moved = self.changes.take(cx);
        for (peer, _) in &moved {
            self.injected.reopened(*peer);
        }
        self.sender.flush(cx);
        self.receive(cx) || !moved.is_empty()
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, and asks for what an owned socket grants: the descriptor lives"
)]
fn register(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

struct Counts {
    sent: Counter,
    sent_bytes: Counter,
    no_such_peer: Counter,
    no_address: Counter,
    queue_full: Counter,
    send_errors: Counter,
}

impl Counts {
    fn new(counters: &Counters, module: &Name) -> Self {
        let count = |reason| counters.counter(module, reason);
        Counts {
            sent: count("sent"),
            sent_bytes: count("sent_bytes"),
            no_such_peer: count("no_such_peer"),
            no_address: count("no_address"),
            queue_full: count("queue_full"),
            send_errors: count("send_errors"),
        }
    }
}

/// The datagrams that wait for the kernel.
#[derive(Default)]
struct Queue {
    transmits: VecDeque<Transmit>,
    bytes: usize,
    /// Wakes the thread when the kernel takes more. Present only while datagrams wait.
    writable: Option<AsyncFd<UdpSocket>>,
}

/// The sending half, reached through the link's address.
struct Sender {
    /// Registered for reading only. A UDP socket becomes writable after each datagram that its peer has
    /// read, and would wake the thread each time.
    socket: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    peers: Addresses,
    queue_limit: usize,
    queue: Mutex<Queue>,
    counts: Counts,
}

impl Sender {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transmit(&self, mut transmit: Transmit) {
        transmit.segment = transmit.segment.max(1);
        let mut queue = self.queue();
        if !queue.transmits.is_empty() || !self.send(&mut transmit) {
            if queue.bytes + transmit.bytes.len() > self.queue_limit {
                let datagrams = transmit.bytes.len().div_ceil(transmit.segment);
                self.counts.queue_full.add(datagrams as u64);
                return;
            }
            queue.bytes += transmit.bytes.len();
            queue.transmits.push_back(transmit);
        }
    }

    /// Sends the datagrams that the kernel takes, and removes them from `transmit`; `false` if some are
    /// left.
    fn send(&self, transmit: &mut Transmit) -> bool {
        let destination = match transmit.path {
            Path::Listed => self.peers.of(transmit.to),
            Path::Address(address) => Some(address),
        };
        let Some(destination) = destination else {
            if transmit.to.index() < self.peers.processes() {
                self.counts.no_address.add(1);
            } else {
                self.counts.no_such_peer.add(1);
            }
            return true;
        };
        while !transmit.bytes.is_empty() {
            let segments = (MAXIMUM_PACKET / transmit.segment)
                .min(self.state.max_gso_segments())
                .max(1);
            let length = transmit.bytes.len().min(segments * transmit.segment);
            let packet = quinn_udp::Transmit {
                destination,
                ecn: None,
                contents: &transmit.bytes[..length],
                segment_size: (length > transmit.segment).then_some(transmit.segment),
                src_ip: None,
            };
            let result = self.state.try_send(self.socket.get_ref().into(), &packet);
            match result {
                Ok(()) => {
                    let datagrams = length.div_ceil(transmit.segment);
                    self.counts.sent.add(datagrams as u64);
                    self.counts.sent_bytes.add(length as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The interface is down, or the datagram is above the path's limit: it counts as lost in
                // the network.
                Err(_) => self.counts.send_errors.add(1),
            }
            transmit.bytes.advance(length);
        }
        true
    }

    /// Sends as many waiting datagrams as the kernel takes. `cx` is woken when it takes more.
    fn flush(&self, cx: &mut Context<'_>) {
        let mut queue = self.queue();
        while let Some(mut transmit) = queue.transmits.pop_front() {
            queue.bytes -= transmit.bytes.len();
            if self.send(&mut transmit) {
                continue;
            }
            queue.bytes += transmit.bytes.len();
            queue.transmits.push_front(transmit);
            if !self.may_try_again(&mut queue, cx) {
                return;
            }
        }
        queue.writable = None;
    }

    /// Whether the kernel may take more now; if not, `cx` is woken when it does.
    fn may_try_again(&self, queue: &mut Queue, cx: &mut Context<'_>) -> bool {
        if queue.writable.is_none() {
            let socket = self.socket.get_ref().try_clone();
            let writable = socket.and_then(|socket| register(socket, Interest::WRITABLE));
            queue.writable = writable.ok();
        }
        match &queue.writable {
            Some(writable) => match writable.poll_write_ready(cx) {
                Poll::Ready(Ok(mut ready)) => {
                    ready.clear_ready();
                    true
                }
                Poll::Ready(Err(_)) | Poll::Pending => false,
            },
            // There are no file descriptors left: the next event that wakes the thread leads to another
            // try.
            None => false,
        }
    }
}
