//! Processes that cannot talk to each other, and the errors that they get, over real sockets.
use super::{
    node::{Kind, within},
    p,
    replicated::{bind, free, kill},
};
use crate::{Builder, Error, Node};
use futures::future::join_all;
use std::{net::UdpSocket, time::Duration};
use tokio::time::sleep;

/// Starts a node with a module of this name.
async fn with(mut builder: Builder, module: &str) -> Node {
    let _ = builder.best_effort::<String>(module).unwrap();
    within(builder.start()).await.unwrap()
}

/// Asks again at each change while others refuse, until this process is admitted.
async fn until_admitted(node: &Node) {
    let mut status = node.status();
    loop {
        status.borrow_and_update();
        match node.admitted().await {
            Ok(()) => return,
            Err(Error::Refused { .. }) => status.changed().await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_by_too_many_learns_why_and_is_admitted_when_that_is_over() {
    for kind in [Kind::Udp, Kind::Tcp] {
        for n in [2, 3] {
            let peers = &free(kind)[..n];
            let bind = |rank| bind(kind, rank, peers);
            let mut nodes = Vec::new();
            for rank in 1..n {
                nodes.push(with(bind(rank), "letters").await);
            }
            let wrong = with(bind(n), "parcels").await;
            for node in &nodes {
                let error = within(node.admitted()).await.unwrap_err();
                assert!(
                    matches!(&error, Error::Refused { by, reason } if *by == p(n) && reason.contains("parcels")),
                    "{kind:?}, n = {n}: {error}"
                );
            }
            let error = within(wrong.admitted()).await.unwrap_err();
            assert!(matches!(error, Error::Refused { reason, .. } if reason.contains("letters")));
            // Now with the right modules, in another cluster.
            kill(wrong).await;
            let wrong = with(bind(n).cluster("elsewhere"), "letters").await;
            let error = within(wrong.admitted()).await.unwrap_err();
            assert!(
                matches!(&error, Error::Refused { reason, .. } if reason.contains("elsewhere")),
                "{kind:?}, n = {n}: {error}"
            );
            kill(wrong).await;
            nodes.push(with(bind(n), "letters").await);
            within(join_all(nodes.iter().map(until_admitted))).await;
        }
    }
}

/// Two processes run with the same rank: the others answer the one whose address they know.
#[tokio::test(flavor = "multi_thread")]
async fn who_greets_in_the_name_of_another_from_elsewhere_is_counted() {
    let peers = free(Kind::Udp);
    let mut nodes = Vec::new();
    for rank in 1..=3 {
        nodes.push(with(bind(Kind::Udp, rank, &peers), "letters").await);
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
        assert_eq!(node.counters().total("strangers"), 0);
    }
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    let second = Node::builder(p(2), peers).socket(elsewhere);
    let _second = with(second, "letters").await;
    for node in [&nodes[0], &nodes[2]] {
        within(async {
            while node.counters().total("strangers") == 0 {
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}
