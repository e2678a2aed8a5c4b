//! Users that broadcast in their reading loop, and users that never read.
use super::{
    node::{Kind, builders, within},
    p,
    pressure::read,
};
use crate::node::NodeStatus;
use futures::StreamExt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;

/// The first process may send answers while the others wait for its reading, and soon has read everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_behind_answers_each_message_that_it_reads() {
    const COUNT: usize = 600;
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 2) {
        // From half of this limit on the other process is slowed; the rest has room for its bytes in
        // flight.
        let mut builder = builder.backlog(32 << 20);
        handles.push(builder.best_effort::<String>("news").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        let mut status = node.status();
        within(status.wait_for(|now| now.connected().len() == 1))
            .await
            .unwrap();
    }
    let (asking, answers) = handles.pop().unwrap();
    let sender = tokio::spawn(async move {
        for _ in 0..COUNT {
            asking.broadcast("x".repeat(64 * 1024)).await.unwrap();
        }
    });
    let read = read(answers, usize::MAX, false);
    let mut status = nodes[1].status();
    let by_p1 = |now: &NodeStatus| {
        let by = now.slowed.get("news");
        by.is_some_and(|by| by.by == p(1) && by.announced)
    };
    within(status.wait_for(by_p1)).await.unwrap();
    let (news, mut deliveries) = handles.pop().unwrap();
    within(async {
        for _ in 0..2 * COUNT {
            let delivery = deliveries.next().await.unwrap().unwrap();
            if delivery.origin == p(2) {
                news.broadcast(delivery.message).await.unwrap();
            }
        }
        sender.await.unwrap();
        while read.count() < 2 * COUNT as u64 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_broadcasts_and_never_reads_is_held_up_at_its_limit() {
    const LENGTH: usize = 16 * 1024;
    const LIMIT: usize = 4 << 20;
    let mut builder = builders(Kind::Udp, 1).remove(0).backlog(LIMIT);
    let (news, _deliveries) = builder.best_effort::<String>("news").unwrap();
    let node = builder.start().await.unwrap();
    let sent: Arc<AtomicU64> = Arc::default();
    let counted = sent.clone();
    let sender = tokio::spawn(async move {
        loop {
            news.broadcast("x".repeat(LENGTH)).await.unwrap();
            counted.fetch_add(1, Relaxed);
        }
    });
    let mut status = node.status();
    let by_itself = |now: &NodeStatus| now.slowed.get("news").is_some_and(|by| by.by == p(1));
    within(status.wait_for(by_itself)).await.unwrap();
    let bytes = sent.load(Relaxed) as usize * LENGTH;
    // The sending stops not at half of the limit, but above it, and messages in flight come in addition.
    let possible = LIMIT / 4 * 3..LIMIT + (6 << 20);
    assert!(possible.contains(&bytes), "{bytes}");
    sender.abort();
}
