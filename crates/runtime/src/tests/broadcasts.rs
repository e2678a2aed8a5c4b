//! Every broadcast by its name, over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{Error, Event, MembersEvent, Node, StartError};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use quorate_abstractions::{best_effort, link::Links};
use quorate_broadcast::best_effort::over;
use quorate_core::{
    Addr, Layer,
    wire::{encode_value, put_number},
};
use quorate_detectors::exclude_on_timeout;
use quorate_stacks::{
    broadcasts::{Broadcast, Needs},
    views::Views,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Bounds that hold on a loaded machine, too.
fn bounds() -> exclude_on_timeout::SynchronyBounds {
    let interval = Duration::from_millis(100);
    let settings = exclude_on_timeout::SynchronyBounds::new(interval, Duration::from_mins(1));
    settings.unwrap()
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
            mine.push(builder.broadcast::<u64>(name, *broadcast).unwrap());
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
        let declared = builder.broadcast::<u64>(name, broadcast);
        let refused = matches!(declared, Err(StartError::NeedsPerfect(_)));
        assert_eq!(refused, broadcast.needs() == Needs::Perfect, "{name}");
    }
    let unknown = "gossip".parse::<Broadcast>().map_err(StartError::from);
    assert!(matches!(unknown, Err(StartError::UnknownBroadcast(_))));
}

#[tokio::test]
async fn views_that_need_synchrony_or_do_not_exist_are_refused() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    for views in Views::all() {
        let name = views.name();
        let declared = builder.views_with::<u64>(name, views);
        let refused = matches!(declared, Err(StartError::NeedsPerfect(_)));
        assert_eq!(refused, views.needs_perfect(), "{name}");
    }
    let unknown = "gossip".parse::<Views>().map_err(StartError::from);
    assert!(matches!(unknown, Err(StartError::UnknownViews(_))));
    let mut builder = builder.assume_synchronous(bounds());
    for views in Views::all().filter(|views| views.needs_perfect()) {
        let name = views.name();
        assert!(builder.views_with::<u64>(name, views).is_ok(), "{name}");
    }
}

#[tokio::test]
async fn every_group_begins_with_everybody_and_delivers_everywhere() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut nodes = Vec::new();
        let mut handles = Vec::new();
        for builder in builders(kind, 3) {
            let mut builder = builder.assume_synchronous(bounds());
            for views in Views::all() {
                let name = views.name();
                handles.push((name, builder.views_with::<u64>(name, views).unwrap()));
            }
            nodes.push(builder.start().await.unwrap());
        }
        for (_, (group, _)) in &handles {
            within(group.deliver(7)).await.unwrap();
            assert_eq!(group.pending(), 0);
        }
        for (name, (_, events)) in &mut handles {
            let first = within(events.next()).await.unwrap().unwrap();
            let is_full = matches!(first, Event::View { view, .. } if view.members.len() == 3);
            assert!(is_full, "{name}: {first:?}");
            for _ in 1..=3 {
                let event = within(events.next()).await.unwrap().unwrap();
                let is_seven = matches!(&event, Event::Deliver(it) if it.message == 7);
                assert!(is_seven, "{name}: {event:?}");
            }
        }
        for node in nodes {
            node.shutdown().await.unwrap();
        }
    }
}

/// One process is gone while another broadcasts: the remaining ones leave the first view with the same
/// deliveries.
#[tokio::test]
async fn a_group_over_p_excludes_who_is_gone_and_goes_on() {
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    for views in Views::all().filter(|views| views.needs_perfect()) {
        let (mut nodes, mut handles) = (Vec::new(), Vec::new());
        for builder in builders(Kind::Udp, 3) {
            let mut builder = builder.assume_synchronous(bounds);
            handles.push(builder.views_with::<u64>("views", views).unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        // With three processes, none is admitted before all have met.
        for node in &nodes {
            within(node.admitted()).await.unwrap();
        }
        let (gone, _) = handles.pop().unwrap();
        within(gone.deliver(3)).await.unwrap();
        drop(nodes.pop());
        let mut present = BTreeMap::new();
        for (rank, (group, events)) in (1..).zip(&mut handles) {
            within(group.deliver(rank)).await.unwrap();
            let before: &mut Vec<_> = present.entry(rank).or_default();
            loop {
                match within(events.next()).await.unwrap().unwrap() {
                    Event::View { view, .. } if view.id == 0 => {}
                    Event::View { view, .. } => {
                        assert!(!view.members.contains(p(3)) && view.members.len() == 2);
                        break;
                    }
                    Event::Deliver(delivery) => before.push(delivery.message),
                    event => panic!("{views}: {event:?}"),
                }
            }
            before.sort_unstable();
        }
        assert_eq!(present[&1], present[&2], "{views}");
        for (group, _) in &handles {
            within(group.deliver(9)).await.unwrap();
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}

/// One process leaves a group in which nobody joins: its messages are delivered, and no further ones.
#[tokio::test]
async fn who_leaves_a_group_over_p_is_told_and_broadcasts_nothing_more() {
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    for views in Views::all().filter(|views| views.needs_perfect()) {
        let (mut nodes, mut handles) = (Vec::new(), Vec::new());
        for builder in builders(Kind::Udp, 3) {
            let mut builder = builder.assume_synchronous(bounds);
            handles.push(builder.views_with::<u64>("views", views).unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        for node in &nodes {
            within(node.admitted()).await.unwrap();
        }
        for message in 1..=3 {
            within(handles[2].0.broadcast(message)).await.unwrap();
        }
        handles[2].0.leave();
        let refused = within(handles[2].0.broadcast(4)).await;
        assert!(matches!(refused, Err(Error::Leaves)), "{views}");
        for (rank, (_, events)) in (1..).zip(&mut handles) {
            let mut delivered = Vec::new();
            loop {
                match within(events.next()).await.unwrap().unwrap() {
                    Event::View { view, .. } if view.id == 0 => {}
                    Event::View { view, .. } => {
                        assert!(rank < 3 && view.members.iter().eq([p(1), p(2)]), "{views}");
                        break;
                    }
                    Event::Left { view } => {
                        assert_eq!((rank, view), (3, 1), "{views}");
                        break;
                    }
                    Event::Deliver(delivery) => delivered.push(delivery.message),
                    event => panic!("{views}: {event:?}"),
                }
            }
            assert_eq!(delivered, [1, 2, 3], "{views}");
        }
        for (group, _) in &handles[..2] {
            within(group.deliver(9)).await.unwrap();
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}

/// The third process asks before its node has started.
#[tokio::test]
async fn a_wish_to_leave_before_the_start_is_kept() {
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for (rank, builder) in (1..).zip(builders(Kind::Udp, 3)) {
        let mut builder = builder.assume_synchronous(bounds);
        let members = builder.membership("members").unwrap();
        let groups: Vec<_> = Views::all()
            .filter(|views| views.needs_perfect())
            .map(|views| builder.views_with::<u64>(views.name(), views).unwrap())
            .collect();
        assert!(groups.len() > 1);
        if rank == 3 {
            members.leave();
            for (group, _) in &groups {
                group.leave();
                let refused = within(group.broadcast(1)).await;
                assert!(matches!(refused, Err(Error::Leaves)), "{refused:?}");
            }
        }
        all.push((members, groups));
        nodes.push(builder.start().await.unwrap());
    }
    for (rank, (members, groups)) in (1..).zip(&mut all) {
        loop {
            match within(members.next()).await.unwrap().unwrap() {
                MembersEvent::View(view) if view.id == 0 => {}
                MembersEvent::View(view) => {
                    break assert!(rank < 3 && view.members.iter().eq([p(1), p(2)]));
                }
                MembersEvent::Left(view) => break assert_eq!((rank, view.id), (3, 1)),
            }
        }
        for (_, events) in groups {
            loop {
                match within(events.next()).await.unwrap().unwrap() {
                    Event::View { view, .. } if view.id == 0 => {}
                    Event::View { view, .. } => {
                        break assert!(rank < 3 && view.members.iter().eq([p(1), p(2)]));
                    }
                    Event::Left { view } => break assert_eq!((rank, view), (3, 1)),
                    event => panic!("{event:?}"),
                }
            }
        }
    }
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn group_membership_agrees_on_who_leaves() {
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 3) {
        let mut builder = builder.assume_synchronous(bounds);
        handles.push(builder.membership("members").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    handles[0].leave();
    for (rank, members) in (1..).zip(&mut handles) {
        let first = within(members.next()).await.unwrap().unwrap();
        assert!(matches!(first, MembersEvent::View(view) if view.id == 0));
        let next = within(members.next()).await.unwrap().unwrap();
        let (has_left, view) = match next {
            MembersEvent::View(view) => (false, view),
            MembersEvent::Left(view) => (true, view),
        };
        assert_eq!((has_left, view.id), (rank == 1, 1));
        assert!(view.members.iter().eq([p(2), p(3)]));
    }
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn group_membership_agrees_on_who_is_gone() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let refused = builder.membership("members");
    assert!(matches!(refused, Err(StartError::NeedsPerfect(_))));
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 3) {
        let mut builder = builder.assume_synchronous(bounds);
        handles.push(builder.membership("members").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    drop(nodes.pop());
    for members in &mut handles[..2] {
        for (id, present) in [(0, &[p(1), p(2), p(3)][..]), (1, &[p(1), p(2)])] {
            let next = within(members.next()).await.unwrap().unwrap();
            let MembersEvent::View(view) = next else {
                panic!("{next:?}");
            };
            assert_eq!(view.id, id);
            assert!(view.members.iter().eq(present.iter().copied()));
        }
    }
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
    for members in &mut handles {
        let last = within(members.next()).await;
        // Nobody has read the stream of the process that is gone: it has the first view.
        let is_first = |event| matches!(event, MembersEvent::View(view) if view.id == 0);
        assert!(last.is_none_or(|event| is_first(event.unwrap())));
        assert!(within(members.next()).await.is_none());
    }
}

/// A peer may choose any sequence numbers, and the reader counts on from them.
#[tokio::test]
async fn a_message_of_a_forged_number_is_counted_and_reaches_nobody() {
    let mut all = builders(Kind::Udp, 2);
    let (mut reader, mut forger) = (all.remove(0), all.remove(0));
    let (_, mut deliveries) = reader.best_effort::<String>("news").unwrap();
    let port: Arc<OnceLock<Addr<best_effort::Broadcast<Bytes>>>> = Arc::default();
    let opened = port.clone();
    forger
        .module("news", "best-effort", move |wiring| {
            let requests = over(wiring.links.lane()).attach(Addr::nowhere());
            assert!(opened.set(requests).is_ok());
        })
        .unwrap();
    let (reader, forger) = (reader.start().await.unwrap(), forger.start().await.unwrap());
    for sequence in [u64::MAX, 0, 1] {
        let mut message = BytesMut::new();
        put_number(forger.origin().incarnation.0, &mut message);
        put_number(sequence, &mut message);
        message.extend_from_slice(&encode_value(&format!("number {sequence}")).unwrap());
        let requests = port.get().unwrap();
        requests.send(best_effort::Broadcast(message.freeze()));
    }
    let delivery = within(deliveries.next()).await.unwrap().unwrap();
    assert_eq!((delivery.id.sequence, &*delivery.message), (1, "number 1"));
    assert_eq!(reader.counters().total("undecodable"), 2);
}

/// The primary is gone while the others broadcast: its backup takes over, and orders what is requested again, once.
#[tokio::test]
async fn when_the_primary_is_gone_a_backup_takes_over_and_all_deliver_one_order() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let refused = builder.broadcast::<u64>("log", Broadcast::PrimaryBackup);
    assert!(matches!(refused, Err(StartError::NeedsPerfect(_))));
    let delay = Duration::from_secs(2);
    let bounds =
        exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap();
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut handles) = (Vec::new(), Vec::new());
        for builder in builders(kind, 3) {
            let mut builder = builder.assume_synchronous(bounds);
            let log = builder.broadcast::<u64>("log", Broadcast::PrimaryBackup);
            handles.push(log.unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        // With three processes, none is admitted before all have met.
        for node in &nodes {
            within(node.admitted()).await.unwrap();
        }
        for (rank, (broadcaster, _)) in (1..).zip(&handles) {
            for number in 1..=20 {
                within(broadcaster.broadcast(100 * rank + number))
                    .await
                    .unwrap();
            }
        }
        drop(nodes.remove(0));
        for (rank, (broadcaster, _)) in (1..).zip(&handles).skip(1) {
            for number in 21..=40 {
                within(broadcaster.broadcast(100 * rank + number))
                    .await
                    .unwrap();
            }
        }
        let mut logs = Vec::new();
        for (_, deliveries) in &mut handles[1..] {
            let (mut log, mut own) = (Vec::new(), 0);
            while own < 80 {
                let delivery = within(deliveries.next()).await.unwrap().unwrap();
                own += u64::from(delivery.origin != p(1));
                log.push(delivery.message);
            }
            logs.push(log);
        }
        assert_eq!(logs[0], logs[1], "{kind:?}");
        for rank in [2, 3] {
            let of_rank = logs[0].iter().filter(|message| **message / 100 == rank);
            let expected = (1..=40).map(|number| 100 * rank + number);
            assert!(of_rank.copied().eq(expected), "{kind:?}: {:?}", logs[0]);
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}
