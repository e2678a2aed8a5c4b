//! Every broadcast of the catalogue, by its name, over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{Error, Event, Node};
use futures::StreamExt;
use quorate_catalogue::broadcasts::{Broadcast, Needs};
use quorate_detectors::exclude_on_timeout;
use std::{collections::BTreeMap, time::Duration};

/// Bounds that a loaded machine keeps, too.
fn bounds() -> exclude_on_timeout::Configuration {
    let interval = Duration::from_millis(100);
    let configuration = exclude_on_timeout::Configuration::new(interval, Duration::from_mins(1));
    configuration.unwrap()
}

#[tokio::test]
async fn every_broadcast_delivers_everything_everywhere_in_the_origin_s_order() {
    let all: Vec<Broadcast> = Broadcast::all().collect();
    let mut nodes: Vec<Node> = Vec::new();
    let mut handles = Vec::new();
    for builder in builders(Kind::Udp, 3) {
        let mut builder = builder.assume_synchronous(bounds());
        let mut mine = Vec::new();
        for broadcast in &all {
            let name = broadcast.name();
            mine.push(builder.broadcast::<u64>(name, name).unwrap());
        }
        nodes.push(builder.start().await.unwrap());
        handles.push(mine);
    }
    for (broadcaster, _) in handles.iter().flatten() {
        for number in 1..=20 {
            within(broadcaster.broadcast(number)).await.unwrap();
        }
    }
    for mine in &mut handles {
        for (broadcast, (_, deliveries)) in all.iter().zip(mine) {
            let mut numbers: BTreeMap<_, Vec<u64>> = BTreeMap::new();
            for _ in 0..60 {
                let delivery = within(deliveries.next()).await.unwrap().unwrap();
                assert_eq!(delivery.id.sequence, delivery.message, "{broadcast}");
                numbers
                    .entry(delivery.origin)
                    .or_default()
                    .push(delivery.message);
            }
            for rank in 1..=3 {
                let mut numbers = numbers.remove(&p(rank)).unwrap();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(1..=20), "{broadcast}");
            }
        }
    }
    for node in nodes {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_needs_synchrony_or_does_not_exist_is_refused() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    for broadcast in Broadcast::all() {
        let name = broadcast.name();
        let declared = builder.broadcast::<u64>(name, name);
        let refused = matches!(declared, Err(Error::NeedsPerfect(_)));
        assert_eq!(refused, broadcast.needs() == Needs::Perfect, "{name}");
    }
    let unknown = builder.broadcast::<u64>("feed", "gossip");
    assert!(matches!(unknown, Err(Error::UnknownBroadcast(_))));
}

#[tokio::test]
async fn views_that_need_synchrony_or_do_not_exist_are_refused() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let refused = builder.views_with::<u64>("views", "views-by-consensus");
    assert!(matches!(refused, Err(Error::NeedsPerfect(_))));
    let unknown = builder.views_with::<u64>("views", "gossip");
    assert!(matches!(unknown, Err(Error::UnknownViews(_))));
    let mut builder = builder.assume_synchronous(bounds());
    assert!(
        builder
            .views_with::<u64>("views", "views-by-consensus")
            .is_ok()
    );
}

#[tokio::test]
async fn a_group_by_consensus_begins_with_everybody_and_delivers_everywhere() {
    let mut nodes = Vec::new();
    let mut handles = Vec::new();
    for builder in builders(Kind::Udp, 3) {
        let mut builder = builder.assume_synchronous(bounds());
        handles.push(
            builder
                .views_with::<u64>("views", "views-by-consensus")
                .unwrap(),
        );
        nodes.push(builder.start().await.unwrap());
    }
    for (group, _) in &handles {
        within(group.deliver(7)).await.unwrap();
        assert_eq!(group.pending(), 0);
    }
    for (_, events) in &mut handles {
        let first = within(events.next()).await.unwrap().unwrap();
        assert!(matches!(first, Event::View { view, .. } if view.members.len() == 3));
        for _ in 1..=3 {
            let event = within(events.next()).await.unwrap().unwrap();
            assert!(matches!(event, Event::Deliver(delivery) if delivery.message == 7));
        }
    }
    for node in nodes {
        node.shutdown().await.unwrap();
    }
}
