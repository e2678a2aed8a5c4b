use super::*;
use crate::{
    faults::{Direction, Fault, Faults},
    tcp::{TcpEdge, TcpSettings},
    udp::{UdpEdge, UdpSettings},
};
use bytes::Bytes;
use quorate_abstractions::fair_loss::{Indication, Transmit, datagrams};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Udp,
    Tcp,
}

/// A process that has only an edge.
struct Bare {
    _thread: ProtocolThread,
    transmit: Addr<Transmit>,
    faults: Faults,
    arrived: Receiver<Indication>,
    counters: quorate_core::Counters,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

fn bind(kind: Kind, address: &str) -> Socket {
    match kind {
        Kind::Udp => Socket::Udp(UdpSocket::bind(address).unwrap()),
        Kind::Tcp => Socket::Tcp(TcpListener::bind(address).unwrap()),
    }
}

impl Socket {
    fn address(&self) -> SocketAddr {
        match self {
            Socket::Udp(socket) => socket.local_addr().unwrap(),
            Socket::Tcp(socket) => socket.local_addr().unwrap(),
        }
    }
}

/// Passes its events on.
struct Pass;

impl Algorithm for Pass {
    type Event = Transmit;
    type Effect = Transmit;

    fn upon(&mut self, event: Transmit, ctx: &mut Ctx<Self>) {
        ctx.trigger(event);
    }
}

/// The edge must be used from the protocol thread, as by a link: an actor passes transmissions on.
fn bare(me: usize, socket: Socket, peers: &[SocketAddr]) -> Bare {
    bare_with(me, socket, peers, TIMEOUT)
}

fn bare_with(me: usize, socket: Socket, peers: &[SocketAddr], silence: Duration) -> Bare {
    let mut protocol = protocol(me, peers.len());
    let faults = Faults::default();
    let (sender, arrived) = mpsc::channel();
    let up = Addr::new(move |indication| {
        let _ = sender.send(indication);
    });
    let edge = match socket {
        Socket::Udp(socket) => {
            let settings = UdpSettings::default();
            UdpEdge::attach(&mut protocol, socket, peers, settings, &faults, up)
        }
        Socket::Tcp(socket) => {
            let settings = TcpSettings {
                maximum_frame: 256 * 1024,
                silence,
                ..TcpSettings::default()
            };
            TcpEdge::attach(&mut protocol, socket, peers, settings, &faults, up)
        }
    }
    .unwrap();
    let mailbox = protocol.host().mailbox();
    let transmit = mailbox.addr();
    protocol
        .host()
        .start(mailbox, Pass, move |transmit| edge.send(transmit));
    let counters = protocol.host().counters().clone();
    Bare {
        _thread: protocol.start().unwrap(),
        transmit,
        faults,
        arrived,
        counters,
    }
}

fn pair(kind: Kind) -> [Bare; 2] {
    let sockets = [bind(kind, "127.0.0.1:0"), bind(kind, "127.0.0.1:0")];
    let peers: Vec<_> = sockets.iter().map(Socket::address).collect();
    let mut me = 0;
    let pair = sockets.map(|socket| {
        me += 1;
        bare(me, socket, &peers)
    });
    if kind == Kind::Tcp {
        for (bare, peer) in pair.iter().zip([2, 1]) {
            assert_eq!(
                bare.arrived.recv_timeout(TIMEOUT),
                Ok(Indication::Reopened(p(peer)))
            );
        }
    }
    pair
}

impl Bare {
    fn send(&self, to: usize, bytes: impl Into<Bytes>, segment: usize) {
        self.transmit.send(Transmit {
            to: p(to),
            bytes: bytes.into(),
            segment,
        });
    }

    /// The next arrival's datagrams.
    fn next(&self) -> Vec<Bytes> {
        loop {
            let indication = self.arrived.recv_timeout(TIMEOUT).unwrap();
            if let Indication::Arrive { bytes, segment } = indication {
                return datagrams(bytes, segment).collect();
            }
        }
    }

    /// Waits until datagrams of `count` bytes in all have come.
    fn bytes(&self, count: usize) -> Vec<Bytes> {
        let mut all = Vec::new();
        while all.iter().map(Bytes::len).sum::<usize>() < count {
            all.extend(self.next());
        }
        all
    }

    fn wait_for(&self, reason: &str, count: u64) {
        let begun = Instant::now();
        while self.counters.total(reason) < count {
            assert!(begun.elapsed() < TIMEOUT, "{reason} never reached {count}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn datagrams_arrive_with_their_boundaries() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let [one, two] = pair(kind);
        one.send(2, &b"hello"[..], 5);
        assert_eq!(two.next(), [&b"hello"[..]], "{kind:?}");
        two.send(1, &b"and back"[..], 100);
        assert_eq!(one.next(), [&b"and back"[..]], "{kind:?}");
    }
}

#[test]
fn a_run_of_segments_is_one_request_and_arrives_whole() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let [one, two] = pair(kind);
        // More than one segmentation offload takes: 200 datagrams of 1,200 bytes and a short one.
        let bytes: Vec<u8> = (0..200 * 1200 + 7).map(|i| (i / 1200) as u8).collect();
        one.send(2, bytes.clone(), 1200);
        let datagrams = two.bytes(bytes.len());
        assert_eq!(datagrams.len(), 201, "{kind:?}");
        for (number, datagram) in datagrams.iter().enumerate() {
            assert_eq!(datagram.len(), if number == 200 { 7 } else { 1200 });
            assert!(datagram.iter().all(|byte| *byte == number as u8));
        }
    }
}

#[test]
fn large_datagrams_pass_the_loopback() {
    let [one, two] = pair(Kind::Udp);
    for length in [16 << 10, 60_000] {
        one.send(2, vec![7; length * 5], length);
        let datagrams = two.bytes(length * 5);
        assert!(datagrams.iter().all(|d| d.len() == length));
    }
}

#[test]
fn faults_are_switched_at_run_time() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let [one, two] = pair(kind);
        one.faults.set(p(2), Direction::Outgoing, Fault::cut());
        one.send(2, &b"lost"[..], 4);
        one.wait_for("cut", 1);
        // The other direction still works.
        two.send(1, &b"fine"[..], 4);
        assert_eq!(one.next(), [&b"fine"[..]]);
        one.faults.heal();
        // A stream that lost bytes is begun anew.
        let reopened = |times| {
            if kind == Kind::Tcp {
                one.wait_for("connected", times);
            }
        };
        reopened(2);
        two.faults.set(p(1), Direction::Incoming, Fault::cut());
        one.send(2, &b"lost too"[..], 8);
        two.wait_for("cut", 1);
        let duplicate = Fault {
            duplicate: 1.0,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(5),
            ..Fault::default()
        };
        two.faults.set(p(1), Direction::Incoming, duplicate);
        reopened(3);
        one.send(2, &b"twice"[..], 5);
        assert_eq!(
            (two.next(), two.next()),
            (vec!["twice".into()], vec!["twice".into()])
        );
        two.faults.heal();
        let loss = Fault {
            loss: 1.0,
            ..Fault::default()
        };
        one.faults.set(p(2), Direction::Outgoing, loss);
        one.send(2, &b"aabbcc"[..], 2);
        // Over a stream it is a frame, which comes late; later frames come after it.
        one.wait_for("lost", if kind == Kind::Tcp { 1 } else { 3 });
        one.faults.heal();
        assert!(!one.faults.are_active());
        one.send(2, &b"healed"[..], 6);
        if kind == Kind::Tcp {
            assert_eq!(two.next(), ["aa", "bb", "cc"]);
        }
        assert_eq!(two.next(), [&b"healed"[..]]);
    }
}

#[test]
fn a_process_that_comes_back_is_connected_again() {
    let sockets = [
        bind(Kind::Tcp, "127.0.0.1:0"),
        bind(Kind::Tcp, "127.0.0.1:0"),
    ];
    let peers: Vec<_> = sockets.iter().map(Socket::address).collect();
    let [first, second] = sockets;
    let one = bare(1, first, &peers);
    let two = bare(2, second, &peers);
    let reopened = |bare: &Bare, peer| {
        assert_eq!(
            bare.arrived.recv_timeout(TIMEOUT),
            Ok(Indication::Reopened(p(peer)))
        );
    };
    reopened(&one, 2);
    reopened(&two, 1);
    drop(two);
    one.wait_for("disconnected", 1);
    // The first dial may still find a listener that is about to close.
    let begun = Instant::now();
    while one.counters.total("unconnected") == 0 {
        assert!(begun.elapsed() < TIMEOUT, "nothing is found unconnected");
        one.send(2, &b"nobody there"[..], 12);
        std::thread::yield_now();
    }
    let address = peers[1].to_string();
    let again = loop {
        // The kernel may need a moment to free the port.
        match TcpListener::bind(&address) {
            Ok(listener) => break Socket::Tcp(listener),
            Err(_) => std::thread::yield_now(),
        }
    };
    let two = bare(2, again, &peers);
    reopened(&one, 2);
    reopened(&two, 1);
    one.send(2, &b"welcome"[..], 7);
    assert_eq!(two.next(), [&b"welcome"[..]]);
}

#[test]
fn hostile_connections_are_closed_and_counted() {
    use std::io::{Read, Write};
    let [one, two] = pair(Kind::Tcp);
    let address = {
        // p2's address as the edge sees it: a stranger dials it.
        let socket = bind(Kind::Tcp, "127.0.0.1:0");
        let peers = [socket.address(), socket.address()];
        let three = bare(1, socket, &peers);
        (three, peers[0])
    };
    let (victim, address) = address;
    let closed = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let _ = stream.write_all(bytes);
        let mut rest = Vec::new();
        // A reset or an orderly end: in both cases the connection is over.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    };
    closed(b"GET / HTTP/1.1\r\n\r\n");
    closed(b"quorate\x00");
    closed(b"quorate\x7f");
    victim.wait_for("bad_preamble", 3);
    let frame = |length: u32, segment: u32| {
        [
            &b"quorate\x02"[..],
            &length.to_be_bytes(),
            &segment.to_be_bytes(),
            b"x",
        ]
        .concat()
    };
    closed(&frame(u32::MAX, 1));
    closed(&frame(0, 0));
    closed(&frame(1, 0));
    closed(&frame(1, 2));
    victim.wait_for("bad_frame", 4);
    one.send(2, &b"still here"[..], 10);
    assert_eq!(two.next(), [&b"still here"[..]]);
}

#[test]
fn a_flood_of_connections_is_refused() {
    let socket = bind(Kind::Tcp, "127.0.0.1:0");
    let address = socket.address();
    let victim = bare(1, socket, &[address]);
    let _held: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    victim.wait_for("refused", 16);
}

#[test]
fn strangers_who_claim_to_be_a_member_do_not_lock_it_out() {
    use std::io::Write;
    let sockets = [
        bind(Kind::Tcp, "127.0.0.1:0"),
        bind(Kind::Tcp, "127.0.0.1:0"),
    ];
    let peers: Vec<_> = sockets.iter().map(Socket::address).collect();
    let [first, second] = sockets;
    let one = bare(1, first, &peers);
    // Some strangers claim to be p2, and some send nothing at all.
    let stranger = |head: &[u8]| {
        let mut stream = TcpStream::connect(peers[0]).unwrap();
        stream.write_all(head).unwrap();
        stream
    };
    let hold = || {
        let claims = (0..20).map(|_| {
            let stream = stranger(b"quorate\x02\0\0\0\x01\0\0\0\x01x");
            assert_eq!(one.next(), [&b"x"[..]]);
            stream
        });
        let mut held: Vec<_> = claims.collect();
        held.extend((0..20).map(|_| stranger(b"")));
        held
    };
    let _held = hold();
    one.wait_for("refused", 16 + 16);
    let two = bare(2, second, &peers);
    let reopened = || {
        let indication = two.arrived.recv_timeout(TIMEOUT);
        assert_eq!(indication, Ok(Indication::Reopened(p(1))));
    };
    reopened();
    two.send(1, &b"let me in"[..], 9);
    assert_eq!(one.next(), [&b"let me in"[..]]);
    // A connection that is driven out is dialled again, perhaps more than once: a message may be lost on
    // the way.
    let _held_too = hold();
    reopened();
    let begun = Instant::now();
    loop {
        two.send(1, &b"and again"[..], 9);
        let came = one.arrived.recv_timeout(Duration::from_millis(10));
        if let Ok(Indication::Arrive { bytes, .. }) = came {
            assert_eq!(bytes, b"and again"[..]);
            break;
        }
        assert!(begun.elapsed() < TIMEOUT, "it never came back");
    }
}

#[test]
fn a_connection_from_elsewhere_in_the_name_of_a_member_is_counted() {
    use std::io::Write;
    let listener = bind(Kind::Tcp, "127.0.0.1:0");
    let address = listener.address();
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 9));
    let here = SocketAddr::from(([127, 0, 0, 1], 9));
    let first = bare(1, listener, &[address, elsewhere, here]);
    let dial = |rank: u8| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"quorate").unwrap();
        stream.write_all(&[rank]).unwrap();
        stream
    };
    // The port from which it is dialled is ignored.
    let _third = dial(3);
    let _second = dial(2);
    first.wait_for("strangers", 1);
    assert_eq!(first.counters.total("strangers"), 1);
}

#[test]
fn a_preamble_in_drips_is_not_waited_for() {
    use std::io::Write;
    let socket = bind(Kind::Tcp, "127.0.0.1:0");
    let address = socket.address();
    let victim = bare_with(1, socket, &[address], Duration::from_millis(200));
    let mut stream = TcpStream::connect(address).unwrap();
    for byte in b"quorate" {
        // It is never silent for long, but still too slow.
        let _ = stream.write_all(&[*byte]);
        std::thread::sleep(Duration::from_millis(180));
    }
    assert_eq!(victim.counters.total("stalled"), 1);
}

#[test]
fn what_is_sent_to_no_member_is_counted_and_dropped() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let [one, _two] = pair(kind);
        one.send(9, &b"x"[..], 1);
        one.wait_for("no_such_peer", 1);
    }
}
