//! The events of a node, over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
    replicated::{bind, deposit, free, kill, start},
};
use crate::{
    NodeEvent, NodeEvents,
    faults::Faults,
    node::{Admission, ChannelState},
};
use futures::StreamExt;
use quorate_core::{MessageId, ProcessSet, message::Origin};

/// Reads until all these events have come, in any order.
async fn until_all(events: &mut NodeEvents, mut wanted: Vec<NodeEvent>) {
    while !wanted.is_empty() {
        let event = within(events.next()).await.unwrap();
        wanted.retain(|it| *it != event);
    }
}

/// Reads until a wanted event comes.
async fn until(events: &mut NodeEvents, wanted: impl Fn(&NodeEvent) -> bool) -> NodeEvent {
    loop {
        let event = within(events.next()).await.unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn who_meets_is_admitted_and_whoever_goes_is_suspected() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut nodes = Vec::new();
        let mut all = Vec::new();
        for builder in builders(kind, 3) {
            let node = builder.start().await.unwrap();
            all.push(node.events());
            nodes.push(node);
        }
        // While it is alone, p1 is not admitted.
        let begin = all[0].now();
        assert_eq!((&begin.admission, begin.needed), (&Admission::Joining, 2));
        let connected = |rank: usize| NodeEvent::Connected {
            peer: p(rank),
            incarnation: nodes[rank - 1].incarnation(),
        };
        let elected = |rank| NodeEvent::Elected { leader: p(rank) };
        let wanted = vec![NodeEvent::Admitted, connected(2), connected(3), elected(1)];
        until_all(&mut all[0], wanted).await;
        let holder = all[0].now().peers[2].holder;
        assert_eq!(holder, Some(nodes[2].incarnation()), "{kind:?}");
        let mut status = nodes[0].status();
        let met = ProcessSet::from_iter([p(2), p(3)]);
        within(status.wait_for(|now| now.met == met)).await.unwrap();
        for node in &nodes {
            within(node.admitted()).await.unwrap();
        }
        let mut last = nodes[2].events();
        // Another leader may have been trusted while the cluster formed.
        if last.now().leader != Some(p(1)) {
            until(&mut last, |event| *event == elected(1)).await;
        }
        drop(nodes.remove(0));
        let wanted = vec![NodeEvent::Suspected { peer: p(1) }, elected(2)];
        until_all(&mut last, wanted).await;
        assert_eq!(last.now().leader, Some(p(2)), "{kind:?}");
        within(nodes.remove(1).shutdown()).await.unwrap();
        while within(last.next()).await.is_some() {}
    }
}

#[tokio::test]
async fn who_is_started_again_waits_for_the_state_and_the_others_see_its_seat_change() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let peers = free(kind);
        let mut processes = Vec::new();
        for rank in 1..=3 {
            processes.push(start(bind(kind, rank, &peers)).await);
        }
        for process in &processes {
            within(process.node.admitted()).await.unwrap();
        }
        assert_eq!(deposit(&processes[0].bank, "ann", 3).await, 3);
        let mut seen = processes[0].node.events();
        let last = processes.remove(2).node;
        let known = last.incarnation();
        kill(last).await;

        // p1 hears nobody before a reader listens to its events.
        let faults = Faults::default();
        faults.cut(p(1));
        faults.cut(p(2));
        let again = start(bind(kind, 3, &peers).faults(faults.clone())).await;
        let mut own = again.node.events();
        let mut admissions = vec![own.now().admission.clone()];
        faults.heal();
        let mut told = Vec::new();
        while own.now().admission != Admission::Admitted {
            told.push(within(own.next()).await.unwrap());
            admissions.push(own.now().admission.clone());
        }
        admissions.dedup();
        let expected = [Admission::Joining, Admission::Newcomer, Admission::Admitted];
        assert_eq!(admissions, expected, "{kind:?}");
        let is_newcomer = |event: &&NodeEvent| matches!(event, NodeEvent::Newcomer { .. });
        assert_eq!(told.iter().filter(is_newcomer).count(), 1, "{told:?}");
        let caught_up = told.last().unwrap();
        assert!(
            matches!(caught_up, NodeEvent::CaughtUp { bytes, position } if *bytes > 0 && *position > 0),
            "{told:?}"
        );
        assert_eq!(within(own.next()).await, Some(NodeEvent::Admitted));
        within(again.node.admitted()).await.unwrap();
        assert!(own.now().started_again);

        let incarnation = again.node.incarnation();
        let replaced = NodeEvent::Replaced {
            peer: p(3),
            known,
            newcomer: incarnation,
        };
        until(&mut seen, |event| *event == replaced).await;
        let process = p(3);
        let origin = Origin {
            process,
            incarnation,
        };
        let mut wanted = vec![NodeEvent::Seats {
            epoch: 1,
            newcomers: vec![(origin, 1)],
        }];
        wanted.push(NodeEvent::Connected {
            peer: process,
            incarnation,
        });
        until_all(&mut seen, wanted).await;
        let seat = &seen.now().peers[2];
        assert_eq!((seat.holder, seat.held_before), (Some(incarnation), 1));
        assert_eq!(seat.channel, ChannelState::Connected { incarnation });
        let id: MessageId = within(again.news.deliver(1)).await.unwrap();
        assert_eq!(id.origin, origin);
    }
}
