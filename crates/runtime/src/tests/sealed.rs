//! Sealed links, over real sockets.
use super::{
    node::{Kind, builders, within},
    *,
};
use crate::{
    Broadcaster, Builder, Deliveries, Node, StartError,
    node::{BadKeys, NodeStatus, Protection},
};
use bytes::Bytes;
use futures::StreamExt;
use quorate_abstractions::addressed::Source;
use quorate_core::{Random, Time};
use quorate_sealed::{
    Agreed, Identity, Secret, Settings,
    peers::Peers,
    step::{Output, Step},
};
use rand::{RngExt, SeedableRng};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

fn secret(number: usize) -> Secret {
    Secret::new([number as u8; 32])
}

/// The secrets with these numbers are those of p1, p2, …
fn listed(numbers: &[usize]) -> Vec<(ProcessId, Identity)> {
    let seats = numbers.iter().enumerate();
    seats
        .map(|(index, number)| (p(index + 1), secret(*number).identity()))
        .collect()
}

fn sealed_builders(kind: Kind, n: usize) -> Vec<Builder> {
    let numbers: Vec<_> = (1..=n).collect();
    let builders = builders(kind, n).into_iter().enumerate();
    builders
        .map(|(index, builder)| builder.sealed(secret(index + 1), listed(&numbers)))
        .collect()
}

struct Member {
    node: Node,
    orders: Broadcaster<u64>,
    delivered: Deliveries<u64>,
}

impl Member {
    async fn start(mut builder: Builder) -> Member {
        let (orders, delivered) = builder.total_order("orders").unwrap();
        let node = builder.start().await.unwrap();
        Member {
            node,
            orders,
            delivered,
        }
    }

    async fn take(&mut self, count: usize) -> Vec<(ProcessId, u64)> {
        let mut all = Vec::new();
        while all.len() < count {
            let delivery = within(self.delivered.next()).await.unwrap().unwrap();
            all.push((delivery.origin, delivery.message));
        }
        all
    }

    fn counted(&self, reason: &str) -> u64 {
        let counts = self.node.counters().snapshot().into_iter();
        let of_layer =
            counts.filter(|(module, of, _)| module.as_str() == "sealed" && *of == reason);
        of_layer.map(|(_, _, count)| count).sum()
    }

    async fn until(&self, is_so: impl FnMut(&NodeStatus) -> bool) {
        until(&self.node, is_so).await;
    }
}

/// Waits until the status is so.
async fn until(node: &Node, is_so: impl FnMut(&NodeStatus) -> bool) {
    let mut status = node.status();
    within(status.wait_for(is_so)).await.unwrap();
}

#[tokio::test]
async fn three_sealed_nodes_deliver_the_same_sequence_and_know_each_other() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = Vec::new();
        for builder in sealed_builders(kind, 3) {
            members.push(Member::start(builder).await);
        }
        for member in &members {
            let orders = member.orders.clone();
            tokio::spawn(async move {
                for number in 0..500 {
                    orders.broadcast(number).await.unwrap();
                }
            });
        }
        let mut sequences = Vec::new();
        for member in &mut members {
            sequences.push(member.take(1500).await);
        }
        assert_eq!(sequences[0], sequences[1], "{kind:?}");
        assert_eq!(sequences[1], sequences[2], "{kind:?}");
        for (index, member) in members.iter().enumerate() {
            member
                .until(|status| {
                    status.peers.iter().all(|peer| {
                        let own = secret(peer.process.rank()).identity().fingerprint();
                        let of_me = peer.process == p(index + 1);
                        peer.identity == (!of_me).then_some(own)
                    })
                })
                .await;
            let protection = member.node.status().borrow().protection;
            assert_eq!(protection, Protection::Sealed);
        }
        for member in members {
            within(member.node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn all_keys_of_a_running_cluster_are_replaced_and_nothing_is_lost() {
    let old = [1, 2, 3];
    let new = [11, 12, 13];
    let both = [listed(&old), listed(&new)].concat();
    for kind in [Kind::Udp, Kind::Tcp] {
        // Under load, until all is replaced.
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut nodes, mut loads, mut readers) = (Vec::new(), Vec::new(), Vec::new());
        for builder in sealed_builders(kind, 3) {
            let Member {
                node,
                orders,
                mut delivered,
            } = Member::start(builder).await;
            nodes.push(node);
            let is_over = is_over.clone();
            loads.push(tokio::spawn(async move {
                let mut number = 0;
                while !is_over.load(Relaxed) {
                    orders.broadcast(number).await.unwrap();
                    number += 1;
                    tokio::task::yield_now().await;
                }
                number
            }));
            readers.push(tokio::spawn(async move {
                let mut all = Vec::new();
                while let Some(delivery) = delivered.next().await {
                    let delivery = delivery.unwrap();
                    all.push((delivery.origin, delivery.message));
                }
                all
            }));
        }
        let pause = || tokio::time::sleep(Duration::from_millis(300));
        pause().await;
        for (node, own) in nodes.iter().zip(old) {
            node.renew_keys(secret(own), both.clone()).unwrap();
            pause().await;
        }
        for (node, own) in nodes.iter().zip(new) {
            node.renew_keys(secret(own), both.clone()).unwrap();
            pause().await;
        }
        for (node, own) in nodes.iter().zip(new) {
            node.renew_keys(secret(own), listed(&new)).unwrap();
            pause().await;
        }
        for node in &nodes {
            until(node, |status| {
                let others = status.peers.iter().filter(|peer| peer.process != status.me);
                let mut of = others.map(|peer| (peer.process.rank(), peer.identity.clone()));
                of.all(|(rank, has)| has == Some(secret(new[rank - 1]).identity().fingerprint()))
            })
            .await;
        }
        is_over.store(true, Relaxed);
        let mut sent = Vec::new();
        for load in loads {
            sent.push(within(load).await.unwrap());
        }
        for node in &nodes {
            within(node.shutdown()).await.unwrap();
        }
        let mut sequences = Vec::new();
        for reader in readers {
            sequences.push(within(reader).await.unwrap());
        }
        // Who stops first may not see the last of the others'.
        let longest = sequences
            .iter()
            .max_by_key(|all| all.len())
            .unwrap()
            .clone();
        for (rank, sent) in (1..).zip(sent) {
            assert!(sent > 0, "{kind:?}");
            let own = longest.iter().filter(|(origin, _)| *origin == p(rank));
            assert!(
                own.map(|(_, number)| *number).eq(0..sent),
                "{kind:?} p{rank}"
            );
        }
        for all in sequences {
            assert_eq!(all[..], longest[..all.len()], "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_node_without_keys_binds_loopback_alone_unless_it_is_told_that_it_is_insecure() {
    let anywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let peers: Vec<SocketAddr> = vec!["127.0.0.1:7100".parse().unwrap()];
    for tcp in [false, true] {
        let builder = || {
            let builder = Node::builder(p(1), peers.clone());
            if tcp {
                builder.tcp(anywhere)
            } else {
                builder.udp(anywhere)
            }
        };
        let refused = builder().start().await.err();
        assert!(
            matches!(&refused, Some(StartError::Unprotected { .. })),
            "{refused:?}"
        );
        let insecure = builder().insecure().start().await.unwrap();
        assert_eq!(insecure.status().borrow().protection, Protection::Insecure);
        let sealed = builder().sealed(secret(1), listed(&[1]));
        let sealed = sealed.start().await.unwrap();
        assert_eq!(sealed.status().borrow().protection, Protection::Sealed);
        for node in [insecure, sealed] {
            within(node.shutdown()).await.unwrap();
        }
    }
    let here = builders(Kind::Udp, 1).remove(0).insecure();
    let here = here.start().await.unwrap();
    assert_eq!(here.status().borrow().protection, Protection::Loopback);
}

#[tokio::test]
async fn keys_that_are_not_those_of_the_cluster_are_refused_and_change_nothing() {
    let start = async |own: usize, identities: Vec<(ProcessId, Identity)>| {
        let builder = builders(Kind::Udp, 3).remove(0);
        let started = builder.sealed(secret(own), identities).start().await;
        match started {
            Err(StartError::Keys(bad)) => Some(bad),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        }
    };
    let fingerprint = |own: usize| secret(own).identity().fingerprint();
    let not_own = BadKeys::NotOwn {
        me: p(1),
        fingerprint: fingerprint(9),
    };
    let refusals = [
        (9, listed(&[1, 2, 3]), not_own),
        (1, listed(&[1, 2]), BadKeys::Missing(p(3))),
        (
            1,
            listed(&[1, 2, 2]),
            BadKeys::Shared {
                one: p(2),
                other: p(3),
            },
        ),
        (1, listed(&[1, 2, 3, 4]), BadKeys::NotMember(p(4))),
        (
            1,
            [listed(&[1, 2, 3]), listed(&[11, 12]), listed(&[21])].concat(),
            BadKeys::TooMany {
                process: p(1),
                listed: 3,
            },
        ),
    ];
    for (own, identities, bad) in refusals {
        assert_eq!(start(own, identities).await, Some(bad));
    }
    // One identity that stands there twice is one.
    assert_eq!(
        start(1, [listed(&[1, 2, 3]), listed(&[1, 12])].concat()).await,
        None
    );

    // While it runs: what is wrong is refused as a whole.
    let mut members = Vec::new();
    for builder in sealed_builders(Kind::Udp, 2) {
        members.push(Member::start(builder).await);
    }
    within(members[0].orders.deliver(1)).await.unwrap();
    let bad = members[0].node.renew_keys(secret(9), listed(&[1, 9]));
    assert!(matches!(bad, Err(BadKeys::NotOwn { .. })), "{bad:?}");
    within(members[0].orders.deliver(2)).await.unwrap();
    members[1]
        .until(|status| status.peers[0].identity.is_some())
        .await;
    let plain = Member::start(builders(Kind::Udp, 1).remove(0)).await;
    let none = plain.node.renew_keys(secret(1), listed(&[1]));
    assert_eq!(none, Err(BadKeys::NotSealed));
}

/// Tries to begin a session with a node in somebody's place, and says whether it has one.
struct Try {
    peers: Peers,
    rng: Random,
    socket: UdpSocket,
    node: SocketAddr,
    begun: bool,
}

impl Try {
    fn act(&mut self, act: impl FnOnce(&mut Peers, &mut Step<'_>)) {
        let (mut outputs, mut counts) = (Vec::new(), Vec::new());
        let mut step = Step {
            now: Time::ZERO,
            rng: &mut self.rng,
            outputs: &mut outputs,
            counts: &mut counts,
        };
        act(&mut self.peers, &mut step);
        for output in outputs {
            match output {
                Output::Transmit { bytes, .. } => {
                    self.socket.send_to(&bytes, self.node).unwrap();
                }
                Output::Begun { .. } => self.begun = true,
                _ => {}
            }
        }
    }
}

/// How many of these starts in the place of p1, with keys of this kind, get a session with p2 at this address.
fn admitted_of(kind: &str, starts: std::ops::Range<u64>, node: SocketAddr) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wait = Duration::from_millis(1);
    socket.set_read_timeout(Some(wait)).unwrap();
    let agreed = Agreed::new::<&str>("quorate", 1, "", &[]);
    let mut rng = Random::seed_from_u64(starts.start);
    let mut admitted = 0;
    for start in starts {
        let own = match kind {
            "of nobody" => Secret::new(rng.random()),
            "of another seat" => secret(2),
            "of the past" => secret(1),
            _ => secret(11),
        };
        let identities = [(p(2), vec![secret(2).identity()])];
        let settings = Settings::new(own, agreed, identities.into(), |_| None);
        let mut it = Try {
            peers: Peers::new(p(1), Incarnation(start), settings),
            rng: Random::seed_from_u64(rng.random()),
            socket: socket.try_clone().unwrap(),
            node,
            begun: false,
        };
        it.act(Peers::begin);
        let mut buffer = [0; 2048];
        let reads = if kind == "listed" { 1000 } else { 2 };
        for _ in 0..reads {
            let Ok((length, _)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let datagram = Bytes::copy_from_slice(&buffer[..length]);
            it.act(|peers, step| peers.receive(Source::Unknown, &datagram, step));
            if it.begun {
                break;
            }
        }
        admitted += u64::from(it.begun);
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_but_the_listed_one_is_admitted_in_a_thousand_tries_of_each_kind() {
    let mut members = Vec::new();
    // p1 does not run: nothing of it is known. A higher seat does not insist on its own handshake.
    for builder in sealed_builders(Kind::Udp, 5).into_iter().skip(1) {
        members.push(Member::start(builder).await);
    }
    // The former identity of p1 is 1.
    for (rank, member) in (2..).zip(&members) {
        let renewed = member
            .node
            .renew_keys(secret(rank), listed(&[11, 2, 3, 4, 5]));
        renewed.unwrap();
    }
    within(members[0].orders.deliver(1)).await.unwrap();
    let node = members[0].node.local_addr();
    // The listed key at last, so that the test can fail.
    let kinds: &'static [(&str, u64, u64)] = &[
        ("of nobody", 1000, 0),
        ("of another seat", 1000, 0),
        ("of the past", 1000, 0),
        ("listed", 1, 1),
    ];
    let (last, wrong) = kinds.split_last().unwrap();
    let mut running = Vec::new();
    for (number, &(kind, many, admitted)) in (0..).zip(wrong) {
        let starts = number * 1000..number * 1000 + many;
        let tries = tokio::task::spawn_blocking(move || admitted_of(kind, starts, node));
        running.push((tries, admitted));
    }
    for (tries, admitted) in running {
        assert_eq!(tries.await.unwrap(), admitted);
    }
    let (kind, _, admitted) = *last;
    let tries = tokio::task::spawn_blocking(move || admitted_of(kind, 5000..5001, node));
    assert_eq!(tries.await.unwrap(), admitted);
    assert!(members[0].counted("unlisted-identity") > 0);
    within(members[0].orders.deliver(2)).await.unwrap();
    assert_eq!(members[1].take(2).await, [(p(2), 1), (p(2), 2)]);
}

/// Stands between p1 and p2: each has it in the place of the other.
struct Relay {
    /// Which p1 has in the place of p2, and the other way round.
    facing: [SocketAddr; 2],
    state: Arc<RelayState>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct RelayState {
    stop: AtomicBool,
    tampers: AtomicBool,
    moved: AtomicBool,
    altered: AtomicU64,
}

impl Relay {
    fn start(ends: [SocketAddr; 2]) -> Relay {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let wait = Duration::from_millis(1);
            socket.set_read_timeout(Some(wait)).unwrap();
            socket
        };
        let (sockets, elsewhere) = ([bind(), bind()], bind());
        let facing = [0, 1].map(|index: usize| sockets[index].local_addr().unwrap());
        let state = Arc::new(RelayState::default());
        let of_thread = state.clone();
        let run = move || {
            let state = of_thread;
            let mut rng = Random::seed_from_u64(5);
            let mut buffer = vec![0; 65536];
            let mut recorded: [Vec<Vec<u8>>; 2] = Default::default();
            while !state.stop.load(Relaxed) {
                let is_elsewhere = state.moved.load(Relaxed);
                for from in [0, 1] {
                    // p2 seems to be elsewhere: what p1 sends to the former place is lost.
                    let listener = match (from, is_elsewhere) {
                        (0, true) => &elsewhere,
                        _ => &sockets[from],
                    };
                    let Ok((length, _)) = listener.recv_from(&mut buffer) else {
                        continue;
                    };
                    let to = 1 - from;
                    let out = match (to, is_elsewhere) {
                        (0, true) => &elsewhere,
                        _ => &sockets[to],
                    };
                    let datagram = &buffer[..length];
                    let _ = out.send_to(datagram, ends[to]);
                    if !state.tampers.load(Relaxed) {
                        continue;
                    }
                    recorded[from].push(datagram.to_vec());
                    if recorded[from].len() > 500 {
                        recorded[from].remove(0);
                    }
                    let pick = rng.random_range(0..recorded[from].len());
                    let mut other = recorded[from][pick].clone();
                    state.altered.fetch_add(1, Relaxed);
                    match rng.random_range(0..4) {
                        // Repeated.
                        0 => {}
                        1 => other.truncate(rng.random_range(0..other.len())),
                        2 => {
                            let at = rng.random_range(0..other.len());
                            other[at] ^= 1 << rng.random_range(0..8);
                        }
                        // Reflected.
                        _ => {
                            let _ = sockets[from].send_to(&other, ends[from]);
                            continue;
                        }
                    }
                    if !other.is_empty() {
                        let _ = out.send_to(&other, ends[to]);
                    }
                }
            }
        };
        Relay {
            facing,
            state,
            thread: Some(std::thread::spawn(run)),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// p1 and p2 with a relay between them.
async fn pair_over_a_relay() -> ([Member; 2], Relay) {
    let sockets = [0, 1].map(|_: usize| UdpSocket::bind("127.0.0.1:0").unwrap());
    let ends = [0, 1].map(|index: usize| sockets[index].local_addr().unwrap());
    let relay = Relay::start(ends);
    let mut members = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let mut peers = ends;
        peers[1 - index] = relay.facing[index];
        let builder = Node::builder(p(index + 1), peers).socket(socket);
        let builder = builder.sealed(secret(index + 1), listed(&[1, 2]));
        members.push(Member::start(builder.on_panic(OnPanic::End)).await);
    }
    let [one, two] = <[Member; 2]>::try_from(members).ok().unwrap();
    ([one, two], relay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_truncated_flipped_and_reflected_datagrams_change_nothing_but_counters() {
    let ([mut one, mut two], relay) = pair_over_a_relay().await;
    within(one.orders.deliver(0)).await.unwrap();
    relay.state.tampers.store(true, Relaxed);
    for number in 1..=300 {
        within(one.orders.deliver(number)).await.unwrap();
        within(two.orders.deliver(number)).await.unwrap();
    }
    relay.state.tampers.store(false, Relaxed);
    let altered = relay.state.altered.load(Relaxed);
    let (of_one, of_two) = (one.take(601).await, two.take(601).await);
    assert_eq!(of_one, of_two);
    let reasons = ["forged", "repeated", "malformed", "no-session"];
    let refused = reasons.map(|reason| one.counted(reason) + two.counted(reason));
    // What is refused of handshakes is counted under other reasons.
    assert!(
        altered > 500 && refused.iter().sum::<u64>() > altered / 2,
        "{altered}: {refused:?}"
    );
    assert!(refused[..3].iter().all(|count| *count > 0), "{refused:?}");
    // No session was replaced by what the relay has made, and nobody has moved.
    assert_eq!(
        one.counted("impersonation") + two.counted("impersonation"),
        0
    );
    let at = one.node.status().borrow().peers[1].address;
    assert_eq!(at, Some(relay.facing[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moves_is_found_by_what_it_seals() {
    let ([mut one, mut two], relay) = pair_over_a_relay().await;
    within(one.orders.deliver(0)).await.unwrap();
    relay.state.moved.store(true, Relaxed);
    one.until(|status| status.peers[1].address != Some(relay.facing[0]))
        .await;
    within(one.orders.deliver(1)).await.unwrap();
    within(two.orders.deliver(2)).await.unwrap();
    assert_eq!(one.take(3).await, two.take(3).await);
}
