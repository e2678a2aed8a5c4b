//! Perfect links on real sockets, with the edges' own faults and worse ones. The simulator's checkers judge
//! PL1–3 and the order of a lane.
mod proxy;
mod recorder;

use super::*;
use crate::{
    faults::{Direction, Fault, Faults},
    tcp::{TcpEdge, TcpSettings},
    udp::{UdpEdge, UdpSettings},
};
use bytes::Bytes;
use proxy::Proxy;
use quorate_abstractions::link::{Deliver, Links, SendRequest as SendTo, Status, To};
use quorate_core::Counters;
use quorate_links::perfect::{LinkSettings, PerfectLinks};
use quorate_sim::Verdict;
use recorder::Recorder;
use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Mutex,
};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Udp,
    Tcp,
}

const KINDS: [Kind; 2] = [Kind::Udp, Kind::Tcp];

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Socket {
    fn free(kind: Kind) -> Self {
        Self::at(kind, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    fn at(kind: Kind, address: SocketAddr) -> std::io::Result<Self> {
        match kind {
            Kind::Udp => UdpSocket::bind(address).map(Socket::Udp),
            Kind::Tcp => TcpListener::bind(address).map(Socket::Tcp),
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Socket::Udp(socket) => socket.local_addr().unwrap(),
            Socket::Tcp(socket) => socket.local_addr().unwrap(),
        }
    }
}

/// Sockets for p1 … pn, and their addresses.
fn sockets(kind: Kind, n: usize) -> (Vec<Socket>, Vec<SocketAddr>) {
    let sockets: Vec<_> = (0..n).map(|_| Socket::free(kind)).collect();
    let addresses = sockets.iter().map(Socket::address).collect();
    (sockets, addresses)
}

/// One start of a process: a link over an edge, without other modules.
struct Start {
    recorded: ProcessId,
    recorder: Recorder,
    lane: Addr<SendTo<Bytes>>,
    faults: Faults,
    counters: Counters,
    statuses: Arc<Mutex<Vec<Status>>>,
    drained: Addr<Addr<()>>,
    _thread: ProtocolThread,
}

/// Starts the process of this rank. Its incarnation is recorded as a process of its own.
fn start(
    rank: usize,
    recorded: usize,
    socket: Socket,
    peers: &[SocketAddr],
    recorder: &Recorder,
) -> Start {
    let recorded = p(recorded);
    let mut protocol = Protocol::new(Identity {
        me: p(rank),
        incarnation: Incarnation(recorded.rank() as u64),
        processes: Membership::of_size(peers.len()).unwrap(),
        seed: 7,
    })
    .unwrap();
    protocol.on_panic(OnPanic::End);
    let host = protocol.host().clone();
    let stream = matches!(socket, Socket::Tcp(_));
    let settings = LinkSettings {
        stream,
        datagram: if stream { 32 * 1024 } else { 1200 },
        ..LinkSettings::default()
    };
    let links = PerfectLinks::new(&host, settings);
    let of_links = recorder.clone();
    let up = Addr::new(move |Deliver { from, message }| of_links.deliver(from, recorded, &message));
    let lane = links.at("lane").open(up);
    let statuses: Arc<Mutex<Vec<Status>>> = Arc::default();
    let all = statuses.clone();
    let watcher = Addr::new(move |status| all.lock().unwrap().push(status));
    links.status().send(watcher);
    let faults = Faults::default();
    let edge = attach(&mut protocol, socket, peers, &faults, links.arrivals());
    links.start(edge).unwrap();
    Start {
        recorded,
        recorder: recorder.clone(),
        lane,
        faults,
        counters: host.counters().clone(),
        statuses,
        drained: links.drained(),
        _thread: protocol.start().unwrap(),
    }
}

fn attach(
    protocol: &mut Protocol,
    socket: Socket,
    peers: &[SocketAddr],
    faults: &Faults,
    up: Addr<quorate_abstractions::fair_loss::Indication>,
) -> Addr<quorate_abstractions::fair_loss::Transmit> {
    match socket {
        Socket::Udp(socket) => {
            let settings = UdpSettings::default();
            UdpEdge::attach(protocol, socket, peers, settings, faults, up).unwrap()
        }
        Socket::Tcp(socket) => {
            let settings = TcpSettings {
                silence: Duration::from_millis(500),
                back_off: (Duration::from_millis(5), Duration::from_millis(50)),
                ..TcpSettings::default()
            };
            TcpEdge::attach(protocol, socket, peers, settings, faults, up).unwrap()
        }
    }
}

impl Start {
    /// Sends this many different messages; some need many datagrams.
    fn send(&self, to: usize, what: &str, count: usize) {
        for number in 0..count {
            let mut text = format!("{} to {}: {what} {number} ", self.recorded, p(to));
            let length = if number % 40 == 7 {
                100_000
            } else {
                number * 7 % 300
            };
            text.extend(std::iter::repeat_n('x', length));
            let message = Bytes::from(text);
            self.recorder.send(self.recorded, p(to), &message);
            let to = To::One(p(to));
            self.lane.send(SendTo { to, message });
        }
    }

    fn wait_for(&self, reason: &str, count: u64) {
        let begun = Instant::now();
        while self.counters.total(reason) < count {
            assert!(begun.elapsed() < TIMEOUT, "{reason} never reached {count}");
            std::thread::yield_now();
        }
    }

    fn wait_for_status(&self, wanted: fn(&Status) -> bool) {
        let begun = Instant::now();
        while !self.statuses.lock().unwrap().iter().any(wanted) {
            let statuses = self.statuses.lock().unwrap();
            assert!(begun.elapsed() < TIMEOUT, "waited in vain: {statuses:?}");
            drop(statuses);
            std::thread::yield_now();
        }
    }

    /// Waits until the peers have acknowledged everything.
    fn drain(&self) {
        let (sender, drained) = mpsc::channel();
        self.drained.send(Addr::new(move |()| {
            let _ = sender.send(());
        }));
        drained.recv_timeout(TIMEOUT).unwrap();
    }
}

/// The processes of a test, by index.
struct Conversation {
    starts: Vec<Start>,
    recorder: Recorder,
    /// The number of messages that must be delivered.
    sent: usize,
}

impl Conversation {
    fn of(kind: Kind, n: usize) -> Self {
        let (sockets, peers) = sockets(kind, n);
        Self::on(sockets, |_| peers.clone())
    }

    /// Starts processes on these sockets; `peers` gives each its own addresses of the others.
    fn on(sockets: Vec<Socket>, peers: impl Fn(usize) -> Vec<SocketAddr>) -> Self {
        let recorder = Recorder::new();
        let starts = (1..).zip(sockets);
        let starts =
            starts.map(|(rank, socket)| start(rank, rank, socket, &peers(rank), &recorder));
        Conversation {
            starts: starts.collect(),
            recorder,
            sent: 0,
        }
    }

    /// Every process sends this many messages to every other process.
    fn all_to_all(&mut self, what: &str, count: usize) {
        let n = self.starts.len();
        for (start, rank) in self.starts.iter().zip(1..) {
            for to in (1..=n).filter(|to| *to != rank) {
                start.send(to, what, count);
            }
        }
        self.sent += n * (n - 1) * count;
    }

    /// Waits until everything has been delivered.
    fn wait(&self) {
        self.recorder.wait(self.sent);
    }

    /// Waits until everything has been delivered, and asks the checkers whether every message was correct.
    fn judge(mut self) {
        self.wait();
        self.starts.iter().for_each(Start::drain);
        // A message that is delivered twice would come before these.
        self.all_to_all("end", 1);
        self.wait();
        let correct = self.starts.iter().map(|start| start.recorded).collect();
        self.recorder.assert_all_hold(correct);
    }
}

fn everywhere(starts: &[Start], fault: Fault) {
    for start in starts {
        for rank in 1..=starts.len() {
            for direction in [Direction::Outgoing, Direction::Incoming] {
                start.faults.set(p(rank), direction, fault);
            }
        }
    }
}

/// The sum of this counter over all processes.
fn total(starts: &[Start], reason: &str) -> u64 {
    starts
        .iter()
        .map(|start| start.counters.total(reason))
        .sum()
}

#[test]
fn pl1_to_pl3_and_order_under_loss_duplication_and_reordering() {
    for kind in KINDS {
        let mut talk = Conversation::of(kind, 3);
        let bad = Fault {
            loss: 0.3,
            duplicate: 0.2,
            delay: Duration::from_micros(500),
            jitter: Duration::from_millis(3),
            ..Fault::default()
        };
        for round in 0..5 {
            let before = ["lost", "duplicated"].map(|reason| total(&talk.starts, reason));
            everywhere(&talk.starts, bad);
            let mut part = 0;
            while total(&talk.starts, "lost") == before[0]
                || total(&talk.starts, "duplicated") == before[1]
            {
                talk.all_to_all(&format!("round {round}.{part}"), 10);
                part += 1;
                std::thread::yield_now();
            }
            talk.starts.iter().for_each(|start| start.faults.heal());
            talk.wait();
        }
        talk.judge();
    }
}

#[test]
fn pl1_to_pl3_and_order_while_datagrams_overtake_and_arrive_twice_to_the_end() {
    for kind in KINDS {
        let mut talk = Conversation::of(kind, 2);
        let bad = Fault {
            duplicate: 0.5,
            jitter: Duration::from_millis(5),
            ..Fault::default()
        };
        everywhere(&talk.starts, bad);
        talk.all_to_all("overtaken", 300);
        talk.judge();
    }
}

#[test]
fn pl1_over_a_one_way_cut_that_heals() {
    for kind in KINDS {
        let mut talk = Conversation::of(kind, 2);
        talk.all_to_all("before", 10);
        talk.wait();
        for (at, direction) in [(0, Direction::Outgoing), (1, Direction::Incoming)] {
            let before = talk.starts[at].counters.total("cut");
            talk.starts[at]
                .faults
                .set(p(2 - at), direction, Fault::cut());
            talk.all_to_all(&format!("{direction:?}"), 50);
            talk.starts[at].wait_for("cut", before + 5);
            talk.starts[at].faults.heal();
            talk.wait();
        }
        talk.judge();
    }
}

/// Two processes whose connections pass through proxies: the first to p1, the second to p2.
fn through_proxies() -> (Conversation, [Proxy; 2]) {
    let (sockets, addresses) = sockets(Kind::Tcp, 2);
    let proxies = [Proxy::to(addresses[0]), Proxy::to(addresses[1])];
    let talk = Conversation::on(sockets, |rank| {
        let mut peers = addresses.clone();
        peers[2 - rank] = proxies[2 - rank].address;
        peers
    });
    (talk, proxies)
}

#[test]
fn pl1_to_pl3_and_order_across_connection_resets() {
    let (mut talk, proxies) = through_proxies();
    talk.all_to_all("before", 10);
    talk.wait();
    for round in 0..20 {
        talk.all_to_all(&format!("round {round}"), 50);
        let dialler = round % 2;
        let connected = talk.starts[dialler].counters.total("connected");
        proxies[1 - dialler].reset();
        talk.starts[dialler].wait_for("connected", connected + 1);
    }
    talk.judge();
}

#[test]
fn pl1_to_pl3_and_order_with_a_half_open_peer() {
    let (mut talk, proxies) = through_proxies();
    talk.all_to_all("before", 10);
    talk.wait();
    for round in 0..2 {
        // p1 takes p2 for connected, but its messages are lost.
        let connected = talk.starts[0].counters.total("connected");
        proxies[1].fall_silent();
        talk.all_to_all(&format!("round {round}"), 2000);
        talk.starts[0].wait_for("connected", connected + 1);
        talk.wait();
    }
    talk.judge();
}

#[test]
fn pl1_to_pl3_and_order_when_both_connect_at_the_same_time() {
    for kind in KINDS {
        for _ in 0..10 {
            let (sockets, peers) = sockets(kind, 2);
            let (recorder, together) = (Recorder::new(), Barrier::new(2));
            let starts = std::thread::scope(|scope| {
                let start = |(rank, socket)| {
                    let (recorder, together, peers) = (&recorder, &together, &peers);
                    scope.spawn(move || {
                        together.wait();
                        start(rank, rank, socket, peers, recorder)
                    })
                };
                let threads: Vec<_> = (1..).zip(sockets).map(start).collect();
                let starts = threads.into_iter().map(|thread| thread.join().unwrap());
                starts.collect()
            });
            let sent = 0;
            let mut talk = Conversation {
                starts,
                recorder,
                sent,
            };
            talk.all_to_all("at once", 20);
            talk.judge();
        }
    }
}

/// Binds an address again. The operating system may need a moment to free the port.
fn again(kind: Kind, address: SocketAddr) -> Socket {
    let begun = Instant::now();
    loop {
        match Socket::at(kind, address) {
            Ok(socket) => return socket,
            Err(error) => assert!(begun.elapsed() < TIMEOUT, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn pl2_and_pl3_keep_two_incarnations_apart_when_a_known_process_restarts() {
    for kind in KINDS {
        let (sockets, peers) = sockets(kind, 3);
        let mut talk = Conversation::on(sockets, |_| peers.clone());
        talk.all_to_all("before", 20);
        talk.wait();
        // Messages in flight to p3 when it dies must not reach its successor.
        talk.starts[2].faults.cut(p(1));
        talk.starts[0].send(3, "to the first", 20);
        drop(talk.starts.pop());
        let socket = again(kind, peers[2]);
        let second = start(3, 6, socket, &peers, &talk.recorder);
        second.send(1, "of the second", 20);
        second.wait_for_status(|status| matches!(status, Status::Excluded { .. }));
        talk.starts[0].wait_for_status(|status| matches!(status, Status::Replaced { .. }));
        talk.all_to_all("after", 20);
        talk.judge();
    }
}

#[test]
fn pl1_to_pl3_and_order_of_an_incarnation_whose_earlier_one_met_nobody() {
    for kind in KINDS {
        let (mut sockets, peers) = sockets(kind, 2);
        let (recorder, elsewhere) = (Recorder::new(), Recorder::new());
        // p1 is not there yet: messages to it find a closed port.
        drop(sockets.remove(0));
        let first = start(2, 4, sockets.remove(0), &peers, &elsewhere);
        first.send(1, "of the first", 20);
        drop(first);
        let second = start(2, 2, again(kind, peers[1]), &peers, &recorder);
        let one = start(1, 1, again(kind, peers[0]), &peers, &recorder);
        let mut talk = Conversation {
            starts: vec![one, second],
            recorder,
            sent: 0,
        };
        talk.all_to_all("of those that met", 50);
        talk.judge();
    }
}

#[test]
fn the_checkers_tell_what_a_link_does_wrong() {
    let message = |text: &'static str| Bytes::from_static(text.as_bytes());
    let says = |deliver: &[&'static str]| {
        let recorder = Recorder::new();
        for text in ["a", "b"] {
            recorder.send(p(1), p(2), &message(text));
        }
        for text in deliver {
            recorder.deliver(p(1), p(2), &message(text));
        }
        let verdicts = recorder
            .verdicts([p(1), p(2)].into_iter().collect())
            .into_iter();
        let broken = verdicts.filter(|(_, verdict)| *verdict != Verdict::Holds);
        broken.map(|(tag, _)| tag).collect::<Vec<_>>()
    };
    assert_eq!(says(&["a", "b"]), [""; 0]);
    assert_eq!(says(&["a"]), ["PL1"]);
    assert_eq!(says(&["a", "b", "b"]), ["PL2", "FIFO"]);
    assert_eq!(says(&["a", "b", "c"]), ["PL3", "FIFO"]);
    assert_eq!(says(&["b", "a"])[0], "FIFO");
}
