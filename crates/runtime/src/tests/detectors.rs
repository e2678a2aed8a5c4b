//! What the failure detectors of a node say, over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{Error, Node};
use futures::StreamExt;
use quorate_abstractions::{eventually_perfect::Indication, perfect::Crash};
use quorate_core::ProcessSet;
use quorate_detectors::exclude_on_timeout;
use std::time::Duration;

async fn started(kind: Kind) -> Vec<Node> {
    let mut nodes = Vec::new();
    for builder in builders(kind, 3) {
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    nodes
}

#[tokio::test]
async fn who_is_gone_is_suspected_and_another_one_is_trusted() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut nodes = started(kind).await;
        let mut hints = nodes[2].leader_hints();
        while within(hints.next()).await.unwrap() != Some(p(1)) {}
        let mut suspicions = nodes[2].suspicions();
        drop(nodes.remove(0));
        let suspicion = within(suspicions.next()).await;
        assert_eq!(suspicion, Some(Indication::Suspect(p(1))), "{kind:?}");
        assert_eq!(within(hints.next()).await, Some(Some(p(2))), "{kind:?}");
        let node = nodes.pop().unwrap();
        assert_eq!(*node.suspected().borrow(), ProcessSet::from_iter([p(1)]));
        assert_eq!(*node.leader_hint().borrow(), Some(p(2)));
        // A reader that begins late gets the present value.
        let late = within(node.suspicions().next()).await;
        assert_eq!(late, Some(Indication::Suspect(p(1))));
        assert!(matches!(node.crashes(), Err(Error::NeedsPerfect(_))));
        within(node.shutdown()).await.unwrap();
        assert_eq!(
            within(suspicions.next()).await,
            None,
            "the node has stopped"
        );
        assert_eq!(within(hints.next()).await, None);
    }
}

#[tokio::test]
async fn who_is_heard_again_is_restored() {
    let nodes = started(Kind::Udp).await;
    let mut suspicions = nodes[1].suspicions();
    nodes[1].faults().cut(p(3));
    assert_eq!(
        within(suspicions.next()).await,
        Some(Indication::Suspect(p(3)))
    );
    nodes[1].faults().heal();
    assert_eq!(
        within(suspicions.next()).await,
        Some(Indication::Restore(p(3)))
    );
}

#[tokio::test]
async fn crashes_are_reported_where_the_system_is_synchronous() {
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    let mut nodes = Vec::new();
    for builder in builders(Kind::Udp, 3) {
        let builder = builder.assume_synchronous(bounds);
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    let mut crashes = nodes[0].crashes().unwrap();
    drop(nodes.pop());
    assert_eq!(within(crashes.next()).await, Some(Crash(p(3))));
    let mut late = nodes[0].crashes().unwrap();
    assert_eq!(within(late.next()).await, Some(Crash(p(3))));
}
