use super::*;
use crate::{
    Broadcaster, Builder, Deliveries, Delivery, Error, Node, StartError, StreamError,
    faults::{Direction, Fault},
    node::{Admission, ChannelState},
};
use futures::StreamExt;
use quorate_broadcast::by_consensus;
use quorate_detectors::increasing_timeout;
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, TcpListener, UdpSocket};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    text: String,
}

fn order(number: u64) -> Order {
    Order {
        number,
        text: format!("order {number}"),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    Udp,
    Tcp,
}

/// Builders of a cluster on free loopback ports.
pub(crate) fn builders(kind: Kind, n: usize) -> Vec<Builder> {
    let udp: Vec<_> = (0..n)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let tcp: Vec<_> = (0..n)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let peers: Vec<SocketAddr> = match kind {
        Kind::Udp => udp
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect(),
        Kind::Tcp => tcp
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect(),
    };
    let sockets = udp.into_iter().zip(tcp).enumerate();
    sockets
        .map(|(index, (udp, tcp))| {
            let builder = Node::builder(p(index + 1), peers.clone()).on_panic(OnPanic::End);
            match kind {
                Kind::Udp => builder.socket(udp),
                Kind::Tcp => builder.socket(tcp),
            }
        })
        .collect()
}

struct Member {
    node: Node,
    orders: Broadcaster<Order>,
    delivered: Deliveries<Order>,
}

async fn cluster(builders: Vec<Builder>) -> Vec<Member> {
    let mut members = Vec::new();
    for mut builder in builders {
        let (orders, delivered) = builder.total_order("orders").unwrap();
        members.push(Member {
            node: builder.start().await.unwrap(),
            orders,
            delivered,
        });
    }
    members
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future)
        .await
        .expect("in time")
}

impl Member {
    async fn take(&mut self, count: usize) -> Vec<Delivery<Order>> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(within(self.delivered.next()).await.unwrap().unwrap());
        }
        all
    }
}

#[tokio::test]
async fn three_nodes_deliver_the_same_sequence() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = cluster(builders(kind, 3)).await;
        for member in &members {
            let orders = member.orders.clone();
            tokio::spawn(async move {
                for number in 0..2000 {
                    orders.broadcast(order(number)).await.unwrap();
                }
            });
        }
        let mut sequences = Vec::new();
        for member in &mut members {
            sequences.push(member.take(6000).await);
        }
        assert_eq!(sequences[0], sequences[1], "{kind:?}");
        assert_eq!(sequences[1], sequences[2], "{kind:?}");
        for rank in 1..=3 {
            let own = sequences[0].iter().filter(|d| d.origin == p(rank));
            assert!(
                own.map(|d| d.message.number).eq(0..2000),
                "in p{rank}'s order"
            );
        }
        for member in members {
            within(member.node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_broadcast_can_be_waited_for() {
    let mut members = cluster(builders(Kind::Udp, 3)).await;
    let id = within(members[1].orders.deliver(order(1))).await.unwrap();
    assert_eq!((id.origin, id.sequence), (members[1].node.origin(), 1));
    let delivery = members[0].take(1).await.remove(0);
    assert_eq!((delivery.id, delivery.origin), (id, p(2)));
    assert_eq!(members[1].orders.pending(), 0);
}

#[tokio::test]
async fn uniform_broadcast_reaches_everybody() {
    let mut nodes = Vec::new();
    for mut builder in builders(Kind::Udp, 3) {
        let handles = builder.uniform::<Order>("news").unwrap();
        nodes.push((builder.start().await.unwrap(), handles));
    }
    let (_, (news, _)) = &nodes[2];
    let id = within(news.deliver(order(4))).await.unwrap();
    for (_, (_, delivered)) in &mut nodes {
        let delivery = within(delivered.next()).await.unwrap().unwrap();
        assert_eq!((delivery.id, delivery.message), (id, order(4)));
    }
}

#[tokio::test]
async fn best_effort_broadcast_is_numbered_and_returns_permits() {
    let mut nodes = Vec::new();
    for builder in builders(Kind::Udp, 2) {
        let mut builder = builder.window(2);
        let handles = builder.best_effort::<Order>("gossip").unwrap();
        nodes.push((builder.start().await.unwrap(), handles));
    }
    for number in 1..=10 {
        within(nodes[0].1.0.broadcast(order(number))).await.unwrap();
    }
    let origin = nodes[0].0.origin();
    for (_, (_, delivered)) in &mut nodes {
        for number in 1..=10 {
            let delivery = within(delivered.next()).await.unwrap().unwrap();
            assert_eq!(delivery.message, order(number));
            assert_eq!((delivery.id.origin, delivery.id.sequence), (origin, number));
        }
    }
}

#[tokio::test]
async fn a_lone_process_is_its_own_majority() {
    let builders = builders(Kind::Tcp, 1).into_iter();
    // The drain time has no limit.
    let builders = builders.map(|builder| builder.drain(Duration::MAX));
    let mut members = cluster(builders.collect()).await;
    within(members[0].orders.deliver(order(1))).await.unwrap();
    assert_eq!(members[0].take(1).await[0].message, order(1));
    within(members.remove(0).node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn the_window_holds_back_and_a_stop_lets_go() {
    let builders = builders(Kind::Udp, 3).into_iter();
    let builders = builders.map(|b| b.window(4).drain(Duration::from_millis(50)));
    // The node is alone: nothing is ever delivered.
    let mut members = cluster(builders.take(1).collect()).await;
    let Member { node, orders, .. } = members.remove(0);
    for number in 0..4 {
        within(orders.broadcast(order(number))).await.unwrap();
    }
    assert_eq!(orders.pending(), 4);
    let mut fifth = Box::pin(orders.broadcast(order(5)));
    assert!(futures::poll!(&mut fifth).is_pending());
    let other = orders.clone();
    let stopped = within(node.shutdown()).await;
    assert!(
        matches!(stopped, Err(Error::NotDrained { pending: 4 })),
        "{stopped:?}"
    );
    assert!(matches!(within(fifth).await, Err(Error::Stopped)));
    assert!(matches!(
        within(other.deliver(order(6))).await,
        Err(Error::Stopped)
    ));
}

#[tokio::test]
async fn what_was_in_flight_at_the_stop_has_an_unknown_outcome() {
    let mut members = cluster(builders(Kind::Udp, 3).into_iter().take(1).collect()).await;
    let Member {
        node,
        orders,
        mut delivered,
    } = members.remove(0);
    let mut waiting = Box::pin(orders.deliver(order(1)));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(node);
    assert!(matches!(within(waiting).await, Err(Error::OutcomeUnknown)));
    assert!(within(delivered.next()).await.is_none());
}

#[tokio::test]
async fn a_reader_that_lags_is_told_and_cut_off() {
    let mut all = builders(Kind::Udp, 3).into_iter();
    let slow = all.next().unwrap().backlog(100 * 100);
    let mut members = cluster(std::iter::once(slow).chain(all).collect()).await;
    // Broadcasts wait for the reader while it may still read, and for a short time after that.
    let begin = Instant::now();
    let mut sent = 0;
    while sent < 500 || begin.elapsed() < Duration::from_secs(3) {
        within(members[1].orders.deliver(order(sent)))
            .await
            .unwrap();
        sent += 1;
    }
    members[1].take(sent as usize).await;
    // The deliveries within the limit are not lost; then the error comes, then the end.
    let mut next = 0;
    let error = loop {
        match within(members[0].delivered.next()).await.unwrap() {
            Ok(delivery) => assert_eq!(delivery.message.number, next),
            Err(error) => break error,
        }
        next += 1;
    };
    assert!(
        matches!(error, StreamError::Lagged { limit: 10_000 }),
        "{error:?}"
    );
    assert!(within(members[0].delivered.next()).await.is_none());
    // The process itself still takes part.
    within(members[0].orders.deliver(order(0))).await.unwrap();
}

#[tokio::test]
async fn a_message_above_the_limit_and_one_of_another_type_are_errors() {
    let mut nodes = Vec::new();
    for (rank, mut builder) in (1..).zip(builders(Kind::Udp, 3)) {
        builder = builder.maximum_message(64 * 1024);
        if rank == 1 {
            let (text, _) = builder.total_order::<String>("mixed").unwrap();
            nodes.push((builder.start().await.unwrap(), Some(text), None));
        } else {
            let (_, numbers) = builder.total_order::<[u64; 2]>("mixed").unwrap();
            nodes.push((builder.start().await.unwrap(), None, Some(numbers)));
        }
    }
    let text = nodes[0].1.clone().unwrap();
    let large = within(text.broadcast("x".repeat(64 * 1024))).await;
    assert!(matches!(large, Err(Error::TooLarge { .. })));
    within(text.broadcast("x".repeat(60 * 1024))).await.unwrap();
    let numbers = nodes[1].2.as_mut().unwrap();
    let first = within(numbers.next()).await.unwrap();
    assert!(matches!(first, Err(StreamError::Undecodable { id }) if id.sequence == 1));
}

#[tokio::test]
async fn settings_with_which_nothing_would_happen_are_refused() {
    let total_order = by_consensus::OrderSettings::default();
    let zeros = [
        by_consensus::OrderSettings {
            instances: 0,
            ..total_order
        },
        by_consensus::OrderSettings {
            batches: 0,
            ..total_order
        },
        by_consensus::OrderSettings {
            proposal: 0,
            ..total_order
        },
    ];
    let builder = || builders(Kind::Udp, 1).remove(0);
    let silent = builder().detector(increasing_timeout::DetectorSettings {
        interval: Duration::ZERO,
        ..increasing_timeout::DetectorSettings::default()
    });
    let hasty = builder().detector(increasing_timeout::DetectorSettings {
        timeout: Duration::ZERO,
        ..increasing_timeout::DetectorSettings::default()
    });
    let mut refused = vec![
        (silent, "the detector's interval must be above 0"),
        (hasty, "the detector's timeout must be above 0"),
    ];
    let stalled = zeros.map(|zero| builder().total_order_settings(zero));
    refused.extend(stalled.into_iter().zip([
        "total order's `instances` must be above 0",
        "total order's `batches` must be above 0",
        "total order's `proposal` must be above 0",
    ]));
    for (builder, message) in refused {
        let error = builder.start().await.err().unwrap();
        assert!(matches!(error, StartError::Zero(_)), "{error:?}");
        assert_eq!(error.to_string(), message);
    }
    let short = builder().queue_limit(1000).maximum_message(1001);
    let error = short.start().await.err().unwrap();
    let message = "the queue limit, 1000 bytes, is below the longest message, 1001 bytes";
    assert_eq!(error.to_string(), message);
    let fitting = builder().queue_limit(2000).maximum_message(2000);
    fitting.start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn batches_never_outgrow_the_link() {
    let greedy = |builder: Builder| {
        let total_order = by_consensus::OrderSettings {
            batches: 1,
            batch_bytes: usize::MAX,
            ..by_consensus::OrderSettings::default()
        };
        builder
            .maximum_message(64 * 1024)
            .total_order_settings(total_order)
    };
    let builders = builders(Kind::Udp, 3).into_iter().map(greedy);
    let mut members = cluster(builders.collect()).await;
    let large = || Order {
        number: 0,
        text: "x".repeat(10_000),
    };
    // The first leaves at once; the others wait together, for more than one message.
    for _ in 0..50 {
        within(members[0].orders.broadcast(large())).await.unwrap();
    }
    for member in &mut members {
        member.take(50).await;
    }
}

#[tokio::test]
async fn a_one_way_cut_heals() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = cluster(builders(kind, 3)).await;
        within(members[0].orders.deliver(order(0))).await.unwrap();
        // p3 hears nobody, so that it cannot learn that its broadcasts are delivered.
        for peer in [1, 2] {
            members[2]
                .node
                .faults()
                .set(p(peer), Direction::Incoming, Fault::cut());
        }
        let mut status = members[2].node.status();
        within(status.wait_for(|now| now.suspected.len() == 2))
            .await
            .unwrap();
        assert!(!status.borrow().has_quorum());
        let waiting = {
            let orders = members[2].orders.clone();
            tokio::spawn(async move { orders.deliver(order(1)).await })
        };
        within(members[1].orders.deliver(order(2))).await.unwrap();
        assert!(!waiting.is_finished());
        members[2].node.faults().heal();
        within(waiting).await.unwrap().unwrap();
        within(status.wait_for(|now| now.suspected.is_empty()))
            .await
            .unwrap();
        let first = members[2].take(3).await;
        assert_eq!(first, members[1].take(3).await, "{kind:?}");
    }
}

/// p1, which coordinates the first round of every instance, is heard by all and hears nobody.
#[tokio::test]
async fn decisions_do_not_wait_for_a_coordinator_that_hears_nobody() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = cluster(builders(kind, 3)).await;
        within(members[0].orders.deliver(order(0))).await.unwrap();
        for peer in [2, 3] {
            let faults = members[0].node.faults();
            faults.set(p(peer), Direction::Incoming, Fault::cut());
        }
        for number in 1..=10 {
            within(members[1].orders.deliver(order(number)))
                .await
                .unwrap();
        }
        let now = members[1].node.status().borrow().clone();
        assert!(now.suspected.contains(p(1)) && now.leader == Some(p(2)));
        members[0].node.faults().heal();
        let mut status = members[1].node.status();
        within(status.wait_for(|now| now.suspected.is_empty() && now.leader == Some(p(1))))
            .await
            .unwrap();
        assert_eq!(members[0].take(11).await, members[1].take(11).await);
        // p1 suspected the others by mistake, and raises its timeouts; they suspected p1 rightly, because
        // it was deaf.
        let first = increasing_timeout::DetectorSettings::default().timeout;
        let floor =
            |now: &crate::node::NodeStatus, of: usize| now.peers[of - 1].timeout.unwrap().floor;
        let mut status = members[0].node.status();
        let raised = first + first / 20;
        within(status.wait_for(|now| floor(now, 2) == raised && floor(now, 3) == raised))
            .await
            .unwrap();
        assert_eq!(floor(&members[1].node.status().borrow(), 1), first);
        assert_eq!(status.borrow().peers[0].timeout, None, "it is p1 itself");
    }
}

#[tokio::test]
async fn the_crash_of_a_minority_is_survived_and_seen() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = cluster(builders(kind, 3)).await;
        within(members[2].orders.deliver(order(0))).await.unwrap();
        drop(members.remove(0));
        for number in 1..=10 {
            within(members[0].orders.deliver(order(number)))
                .await
                .unwrap();
        }
        assert_eq!(members[0].take(11).await, members[1].take(11).await);
        let mut status = members[1].node.status();
        within(status.wait_for(|now| now.suspected.contains(p(1)) && now.leader == Some(p(2))))
            .await
            .unwrap();
        assert!(status.borrow().has_quorum());
    }
}

#[tokio::test]
async fn a_new_incarnation_is_excluded_and_told_so() {
    let sockets: Vec<_> = (0..3)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let peers: Vec<_> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
    let mut all = Vec::new();
    for (rank, socket) in (1..).zip(sockets) {
        all.push(Node::builder(p(rank), peers.clone()).socket(socket));
    }
    let mut members = cluster(all).await;
    for member in &members {
        within(member.node.admitted()).await.unwrap();
    }
    let last = members.remove(2);
    within(last.node.shutdown()).await.unwrap();
    let socket = UdpSocket::bind(peers[2]).unwrap();
    let mut again = cluster(vec![Node::builder(p(3), peers).socket(socket)]).await;
    let mut status = again[0].node.status();
    let excluded = |admission: &Admission| matches!(admission, Admission::Excluded { .. });
    within(status.wait_for(|now| excluded(&now.admission)))
        .await
        .unwrap();
    assert!(matches!(
        within(again[0].node.admitted()).await,
        Err(Error::Excluded { .. })
    ));
    assert_eq!(*again[0].node.leader_hint().borrow(), None);
    let refused = within(again[0].orders.broadcast(order(1))).await;
    assert!(
        matches!(refused, Err(Error::Excluded { .. })),
        "{refused:?}"
    );
    let end = within(again[0].delivered.next()).await;
    assert!(matches!(
        end,
        Some(Err(StreamError::Ended(Error::Excluded { .. })))
    ));
    let mut status = members[0].node.status();
    within(status.wait_for(|now| matches!(now.peers[2].channel, ChannelState::Replaced { .. })))
        .await
        .unwrap();
}

#[tokio::test]
async fn cancellation_shuts_down_in_good_order() {
    let token = tokio_util::sync::CancellationToken::new();
    let all = builders(Kind::Udp, 3).into_iter();
    let members = cluster(all.map(|b| b.cancellation(token.clone())).collect()).await;
    within(members[0].orders.deliver(order(1))).await.unwrap();
    token.cancel();
    for member in &members {
        assert_eq!(within(member.node.ended()).await, Ending::Stopped);
        let refused = within(member.orders.broadcast(order(2))).await;
        assert!(matches!(refused, Err(Error::Stopped)));
    }
}

#[tokio::test]
async fn a_panic_reaches_every_handle() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let (orders, mut delivered) = builder.total_order::<Order>("orders").unwrap();
    builder
        .module("faulty", "faulty", |wiring| {
            let boom = start(&wiring.host, "boom", |_, _| panic!("on purpose"), |_| ());
            boom.send(Tag(1));
        })
        .unwrap();
    let node = builder.start().await.unwrap();
    let Ending::Panicked(message) = within(node.ended()).await else {
        panic!("it should have ended by a panic");
    };
    assert_eq!(message, "faulty/boom: on purpose");
    assert!(matches!(
        within(delivered.next()).await,
        Some(Err(StreamError::Ended(Error::Panicked(_))))
    ));
    assert!(matches!(
        within(orders.broadcast(order(1))).await,
        Err(Error::Panicked(_))
    ));
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let other: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let error = |builder: Builder| async { builder.start().await.err().unwrap().to_string() };
    let busy = Node::builder(p(1), vec![address]).udp(address);
    assert_eq!(
        error(busy).await,
        format!("cannot bind {address}: address in use")
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let busy = Node::builder(p(1), vec![address]).tcp(address);
    assert_eq!(
        error(busy).await,
        format!("cannot bind {address}: address in use")
    );
    let twice = Node::builder(p(1), vec![other, other]).udp(other);
    assert_eq!(
        error(twice).await,
        "p1 and p2 have the same address, 127.0.0.1:1"
    );
    let stranger = Node::builder(p(3), vec![other]).udp(other);
    assert_eq!(error(stranger).await, "p3 is not among the 1 peers");
    let nowhere = Node::builder(p(1), vec![other]);
    assert!(error(nowhere).await.contains("no socket"));
}

#[tokio::test]
async fn a_name_is_used_once_and_a_handle_waits_for_the_start() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let (orders, _) = builder.total_order::<Order>("orders").unwrap();
    let twice = builder.uniform::<Order>("orders").err().unwrap();
    assert_eq!(twice.to_string(), "the name `orders` is used twice");
    assert!(matches!(
        builder.uniform::<Order>("a/b"),
        Err(StartError::BadName(_))
    ));
    assert!(matches!(
        orders.broadcast(order(1)).await,
        Err(Error::NotStarted)
    ));
}

#[tokio::test]
async fn a_module_that_cannot_be_wired_keeps_the_node_from_starting() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let (orders, _delivered) = builder.total_order::<Order>("orders").unwrap();
    let refuse = |_| {
        Err(StartError::NeedsPerfect(
            quorate_stacks::broadcasts::NeedsPerfect("it"),
        ))
    };
    builder.fallible_module("broken", "it", refuse).unwrap();
    let error = within(builder.start()).await.err().unwrap();
    assert!(matches!(error, StartError::NeedsPerfect(_)), "{error}");
    let refused = within(orders.broadcast(order(1))).await;
    assert!(matches!(refused, Err(Error::NotStarted)), "{refused:?}");
}

#[test]
fn a_node_starts_within_a_runtime_only() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let (orders, _delivered) = builder.total_order::<Order>("orders").unwrap();
    let mut start = std::pin::pin!(builder.start());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(started) = start.as_mut().poll(&mut context) else {
        panic!("it waits for nothing");
    };
    assert!(matches!(started.err(), Some(StartError::NoRuntime)));
    let mut broadcast = std::pin::pin!(orders.broadcast(order(1)));
    let refused = broadcast.as_mut().poll(&mut context);
    assert!(matches!(
        refused,
        std::task::Poll::Ready(Err(Error::NotStarted))
    ));
}

#[tokio::test]
async fn addresses_at_which_nobody_can_be_are_refused() {
    let own: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for (other, over_tcp) in [
        ("0.0.0.0:7000", false),
        ("127.0.0.2:0", false),
        ("[::]:7000", true),
        ("[::1]:7000", false),
    ] {
        let address: SocketAddr = other.parse().unwrap();
        let builder = Node::builder(p(1), vec![own, address]);
        let builder = if over_tcp {
            builder.tcp(own)
        } else {
            builder.udp(own)
        };
        let error = builder.start().await.err().unwrap();
        let said = format!("p2 cannot be talked to at {other} from 127.0.0.1:");
        assert!(error.to_string().starts_with(&said), "{error}");
        assert!(matches!(error, StartError::BadAddress { .. }));
    }
    let fine = Node::builder(p(1), vec![own, "[::1]:7000".parse().unwrap()]).tcp(own);
    fine.start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn when_a_node_is_dropped_its_handles_say_so_at_once() {
    let mut members = cluster(builders(Kind::Udp, 1)).await;
    let Member { node, orders, .. } = members.remove(0);
    within(orders.deliver(order(1))).await.unwrap();
    drop(node);
    let refused = orders.broadcast(order(2)).await;
    assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    second: u64,
}

#[tokio::test]
async fn what_could_not_be_read_again_is_refused_where_it_is_sent() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let (untagged, _u) = builder.total_order::<Untagged>("untagged").unwrap();
    let (skipping, mut read) = builder.total_order::<Skipping>("skipping").unwrap();
    let node = builder.start().await.unwrap();
    for message in [Untagged::Number(1), Untagged::Text("a".into())] {
        let refused = untagged.broadcast(message).await;
        assert!(matches!(refused, Err(Error::Unencodable)), "{refused:?}");
    }
    let (first, second) = (None, 1);
    let refused = skipping.broadcast(Skipping { first, second }).await;
    assert!(matches!(refused, Err(Error::Unencodable)), "{refused:?}");
    let (first, second) = (Some("a".to_owned()), 2);
    let whole = Skipping { first, second };
    within(skipping.broadcast(whole.clone())).await.unwrap();
    let read = within(read.next()).await.unwrap().unwrap();
    assert_eq!(
        (read.message, read.id.sequence),
        (whole, 1),
        "no place was taken"
    );
    // Any holder of a reference can tell it to stop.
    within(node.shutdown()).await.unwrap();
    assert!(matches!(
        untagged.broadcast(Untagged::Number(1)).await,
        Err(Error::Unencodable)
    ));
    let (first, second) = (Some("b".to_owned()), 3);
    let late = skipping.broadcast(Skipping { first, second }).await;
    assert!(matches!(late, Err(Error::Stopped)), "{late:?}");
}
