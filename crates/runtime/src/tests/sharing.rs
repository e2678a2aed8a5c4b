//! Nodes that share a protocol thread.
use super::{
    node::{Kind, builders, within},
    *,
};
use crate::{
    Broadcaster, Deliveries, Node,
    thread::{Ending, SharedThread},
};
use futures::StreamExt;
use std::{
    fs,
    time::{Duration, Instant},
};

struct Member {
    node: Node,
    numbers: Broadcaster<u64>,
    delivered: Deliveries<u64>,
}

/// A cluster of three, on a shared thread, or with a thread for each process.
async fn cluster(kind: Kind, thread: Option<&SharedThread>) -> Vec<Member> {
    let mut members = Vec::new();
    for mut builder in builders(kind, 3) {
        if let Some(thread) = thread {
            builder = builder.shared_thread(thread);
        }
        let (numbers, delivered) = builder.total_order("numbers").unwrap();
        members.push(Member {
            node: within(builder.start()).await.unwrap(),
            numbers,
            delivered,
        });
    }
    members
}

async fn next(member: &mut Member) -> u64 {
    let next = within(member.delivered.next()).await;
    next.unwrap().unwrap().message
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_on_one_thread_order_as_others_do() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let thread = SharedThread::start("shared").unwrap();
        let mut clusters = Vec::new();
        for _ in 0..3 {
            clusters.push(cluster(kind, Some(&thread)).await);
        }
        drop(thread);
        for number in 0..100 {
            for (which, cluster) in clusters.iter().enumerate() {
                let place = (number as usize + which) % 3;
                let numbers = &cluster[place].numbers;
                within(numbers.broadcast(number)).await.unwrap();
            }
        }
        for cluster in &mut clusters {
            let mut orders = Vec::new();
            for member in cluster.iter_mut() {
                let mut order = Vec::new();
                for _ in 0..100 {
                    order.push(next(member).await);
                }
                orders.push(order);
            }
            assert!(orders.iter().all(|order| *order == orders[0]));
            orders[0].sort_unstable();
            assert!(orders[0].iter().copied().eq(0..100));
        }
        // One cluster after the other stops, and the others go on.
        for mut cluster in clusters {
            for member in &cluster {
                within(member.numbers.deliver(100)).await.unwrap();
            }
            for member in cluster.drain(..) {
                within(member.node.shutdown()).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_own_node_and_no_other() {
    let thread = SharedThread::start("shared").unwrap();
    let mut members = cluster(Kind::Udp, Some(&thread)).await;
    let mut faulty = builders(Kind::Udp, 1).remove(0).shared_thread(&thread);
    faulty
        .module("faulty", "faulty", |wiring| {
            let up = Addr::new(|_: quorate_abstractions::leader::Trust| panic!("on purpose"));
            wiring.leader.send(up);
        })
        .unwrap();
    let faulty = within(faulty.start()).await.unwrap();
    assert!(matches!(within(faulty.ended()).await, Ending::Panicked(_)));
    within(members[0].numbers.broadcast(7)).await.unwrap();
    for member in &mut members {
        assert_eq!(next(member).await, 7);
    }
}

/// The processor time of this process so far, in hundredths of a second.
fn processor_time() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    [11, 12]
        .map(|place| fields[place].parse::<u64>().unwrap())
        .iter()
        .sum()
}

/// The cost of 51 idle nodes, in 17 clusters of three: with a thread for each, and on one thread.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: run it alone, with --nocapture"]
async fn what_idle_nodes_cost() {
    for is_shared in [false, true] {
        let thread = is_shared.then(|| SharedThread::start("shared").unwrap());
        let mut clusters = Vec::new();
        for _ in 0..17 {
            clusters.push(cluster(Kind::Udp, thread.as_ref()).await);
        }
        for member in clusters.iter().flatten() {
            within(member.node.admitted()).await.unwrap();
        }
        let (begun, before) = (Instant::now(), processor_time());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let spent = (processor_time() - before) as f64 / 100.0;
        let percent = 100.0 * spent / begun.elapsed().as_secs_f64();
        println!("shared: {is_shared}, {percent:.1} % of a processor");
    }
}
