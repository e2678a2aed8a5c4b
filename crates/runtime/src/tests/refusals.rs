//! Processes that cannot talk to each other, and what they are told, over real sockets.
use super::{
    node::{Kind, within},
    p,
    replicated::{bind, free, kill},
};
use crate::{Builder, Error, Node};
use futures::future::join_all;

/// With a module of this name.
async fn with(mut builder: Builder, module: &str) -> Node {
    let _ = builder.best_effort::<String>(module).unwrap();
    within(builder.start()).await.unwrap()
}

/// Asks again at each change while others refuse, until it is admitted.
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
            // With the right modules, in another cluster.
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
