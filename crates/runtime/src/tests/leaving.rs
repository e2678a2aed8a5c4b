//! Nodes that are shut down in good order: nobody waits until they are suspected for their silence.
use super::{
    node::{Kind, builders, within},
    p,
    replicated::{Bank, bind, deposit, free, kill},
};
use crate::{Broadcaster, Builder, Deliveries, Node, NodeEvent};
use futures::StreamExt;
use quorate_abstractions::eventually_perfect::Indication;
use quorate_detectors::increasing_timeout;
use std::time::{Duration, Instant};

/// Sets a timeout that is never reached: if a process is suspected, it is for another reason.
fn with_long_timeout(builder: Builder) -> Builder {
    builder.detector(increasing_timeout::DetectorSettings {
        timeout: Duration::from_hours(1),
        ..increasing_timeout::DetectorSettings::default()
    })
}

struct Member {
    node: Node,
    orders: Broadcaster<u64>,
    _delivered: Deliveries<u64>,
}

async fn start(builders: impl Iterator<Item = Builder>) -> Vec<Member> {
    let mut members = Vec::new();
    for mut builder in builders {
        let (orders, delivered) = builder.total_order("orders").unwrap();
        members.push(Member {
            node: within(builder.start()).await.unwrap(),
            orders,
            _delivered: delivered,
        });
    }
    // A process that has not met this one need not learn that it leaves.
    for member in &members {
        let mut status = member.node.status();
        let others = members.len() - 1;
        let met = status.wait_for(|now| now.connected().len() == others);
        within(met).await.unwrap();
    }
    members
}

/// Five processes lose their leader, then the next one, and then the one after that.
#[tokio::test]
async fn a_leader_that_leaves_is_suspected_at_once_and_the_next_one_leads() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = start(builders(kind, 5).into_iter().map(with_long_timeout)).await;
        for leader in 1..=2 {
            // The leader orders the broadcasts of the others.
            within(members[2].orders.deliver(1)).await.unwrap();
            let mut hints = members[0].node.leader_hints();
            while within(hints.next()).await.unwrap() != Some(p(leader)) {}
            let mut suspicions = members[2].node.suspicions();
            for gone in 1..leader {
                let known = within(suspicions.next()).await;
                assert_eq!(known, Some(Indication::Suspect(p(gone))));
            }
            let first = members.remove(0);
            within(first.node.shutdown()).await.unwrap();
            // It learned of its successor before it stopped.
            assert_eq!(within(hints.next()).await, Some(Some(p(leader + 1))));
            assert_eq!(within(hints.next()).await, None);
            let suspicion = within(suspicions.next()).await;
            assert_eq!(suspicion, Some(Indication::Suspect(p(leader))), "{kind:?}");
            for member in &members {
                within(member.orders.deliver(2)).await.unwrap();
            }
        }
        // Without the third of five nothing can be decided: it is not suspected as long as it is there.
        let first = members.remove(0);
        within(first.node.shutdown()).await.unwrap();
        let suspected = *members[0].node.suspected().borrow();
        assert!(!suspected.contains(p(3)), "{suspected:?}");
    }
}

#[tokio::test]
async fn a_follower_that_leaves_disturbs_nobody() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = start(builders(kind, 3).into_iter().map(with_long_timeout)).await;
        within(members[1].orders.deliver(1)).await.unwrap();
        let mut hints = members[1].node.leader_hints();
        while within(hints.next()).await.unwrap() != Some(p(1)) {}
        let mut suspicions = members[1].node.suspicions();
        let mut events = members[1].node.events();
        within(members.remove(2).node.shutdown()).await.unwrap();
        // To the watcher of crashes, leaving is no crash.
        let (process, peer) = (p(3), p(3));
        while within(events.next()).await.unwrap() != (NodeEvent::Leaving { process }) {}
        let next = within(events.next()).await;
        assert_eq!(next, Some(NodeEvent::Suspected { peer }), "{kind:?}");
        let suspicion = within(suspicions.next()).await;
        assert_eq!(suspicion, Some(Indication::Suspect(p(3))), "{kind:?}");
        for member in &members {
            within(member.orders.deliver(2)).await.unwrap();
        }
        let second = members.remove(1);
        within(second.node.shutdown()).await.unwrap();
        assert_eq!(within(hints.next()).await, None, "p1 led all the time");
    }
}

/// The last process to leave still delivers its own broadcasts: no process announces that it leaves before
/// that.
#[tokio::test]
async fn all_that_leave_together_deliver_what_is_in_flight() {
    for kind in [Kind::Udp, Kind::Tcp] {
        for _ in 0..5 {
            let members = start(builders(kind, 3).into_iter().map(with_long_timeout)).await;
            for number in 0..100 {
                for member in &members {
                    within(member.orders.broadcast(number)).await.unwrap();
                }
            }
            let ends = members.iter().map(|member| member.node.shutdown());
            for end in within(futures::future::join_all(ends)).await {
                end.unwrap();
            }
        }
    }
}

/// A rolling restart of machines, where each process is shut down in good order: its later start announces
/// no leaving.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_comes_back_and_leads_again() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let peers = free(kind);
        let start = |rank| {
            let mut builder = with_long_timeout(bind(kind, rank, &peers));
            let bank = builder.replicated("bank", Bank::default()).unwrap();
            async move { (within(builder.start()).await.unwrap(), bank) }
        };
        let mut all = Vec::new();
        for rank in 1..=3 {
            all.push(start(rank).await);
        }
        let mut balance = 0;
        for leaver in [0, 0, 1, 2] {
            for (_, bank) in &all {
                balance += 1;
                assert_eq!(deposit(bank, "ann", 1).await, balance);
            }
            let (node, _) = all.remove(leaver);
            within(node.shutdown()).await.unwrap();
            for (_, bank) in &all {
                balance += 1;
                assert_eq!(deposit(bank, "ann", 1).await, balance);
            }
            all.insert(leaver, start(leaver + 1).await);
            balance += 1;
            assert_eq!(deposit(&all[leaver].1, "ann", 1).await, balance);
            for (node, _) in &all {
                let mut trusted = node.leader_hint();
                let first = trusted.wait_for(|leader| *leader == Some(p(1)));
                within(first).await.unwrap();
                let mut suspected = node.suspected();
                let nobody = suspected.wait_for(|all| all.is_empty());
                within(nobody).await.unwrap();
            }
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Kill,
    ShutDown,
}

/// The longest time that p`client` waits for a delivery of its own while p`rank` ends, and the median of
/// all its waits.
async fn pause(kind: Kind, rank: usize, client: usize, end: End) -> (Duration, Duration) {
    let mut members = start(builders(kind, 3).into_iter()).await;
    let orders = members[client - 1].orders.clone();
    within(orders.deliver(0)).await.unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut waits = Vec::new();
        while stopped.try_recv().is_err() {
            let begun = Instant::now();
            orders.deliver(1).await.unwrap();
            waits.push(begun.elapsed());
        }
        waits.sort_unstable();
        (waits[waits.len() - 1], waits[waits.len() / 2])
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let gone = members.remove(rank - 1);
    match end {
        End::Kill => kill(gone.node).await,
        End::ShutDown => within(gone.node.shutdown()).await.unwrap(),
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stop.send(()).unwrap();
    within(writer).await.unwrap()
}

/// Prints the longest time that a client waits while a process ends, and the usual time: `cargo test
/// --release -p quorate-runtime --lib -- --ignored --nocapture pauses_at_a_hand_over`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn pauses_at_a_hand_over() {
    const RUNS: usize = 20;
    for kind in [Kind::Udp, Kind::Tcp] {
        for (rank, client, end) in [
            (1, 2, End::Kill),
            (1, 2, End::ShutDown),
            (1, 3, End::ShutDown),
            (3, 2, End::ShutDown),
        ] {
            let (mut longest, mut usual) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                let (most, median) = pause(kind, rank, client, end).await;
                longest.push(most);
                usual.push(median);
            }
            longest.sort_unstable();
            usual.sort_unstable();
            println!(
                "{kind:?} {end:?} of p{rank}, written through p{client}: longest wait, median of {RUNS} runs \
                 {:?}, maximum {:?}; usual wait {:?}",
                longest[RUNS / 2],
                longest[RUNS - 1],
                usual[RUNS / 2],
            );
        }
    }
}
