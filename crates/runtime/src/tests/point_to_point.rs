//! The handles of point-to-point links, over real sockets.
use super::{
    codecs::Pretending,
    node::{Kind, builders, within},
    p,
};
use crate::{
    Error, Messages, Node, Sender, StartError, StreamError, TrySendError,
    faults::{Direction, Fault},
    node::Coded,
};
use bytes::Bytes;
use futures::StreamExt;
use std::{collections::BTreeMap, time::Duration};

struct Member<T> {
    node: Node,
    sender: Sender<T>,
    messages: Messages<T>,
}

/// Three processes with perfect links.
async fn three(kind: Kind) -> Vec<Member<(u64, String)>> {
    let mut members = Vec::new();
    for mut builder in builders(kind, 3) {
        let (sender, messages) = builder.links("mail").unwrap();
        members.push(Member {
            node: builder.start().await.unwrap(),
            sender,
            messages,
        });
    }
    members
}

/// Waits until data flows between all.
async fn met(nodes: &[Node]) {
    for node in nodes {
        let others = nodes.len() - 1;
        let mut status = node.status();
        let all = status.wait_for(|now| now.connected().len() == others);
        within(all).await.unwrap();
    }
}

async fn next<T>(messages: &mut Messages<T>) -> Result<(quorate_core::ProcessId, T), StreamError> {
    within(messages.next()).await.expect("the node runs")
}

#[tokio::test]
async fn everybody_sends_to_everybody_and_each_message_arrives_once_where_it_was_sent() {
    const EACH: u64 = 500;
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = three(kind).await;
        for (from, member) in (1..).zip(&members) {
            let sender = member.sender.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    for to in 1..=3 {
                        let message = (number, format!("p{from} to p{to}"));
                        sender.send(p(to), message).await.unwrap();
                    }
                }
            });
        }
        for (to, member) in (1..).zip(&mut members) {
            let mut numbers: BTreeMap<_, Vec<u64>> = BTreeMap::new();
            for _ in 0..3 * EACH {
                let (from, (number, text)) = next(&mut member.messages).await.unwrap();
                assert_eq!(text, format!("{from} to p{to}"), "{kind:?}");
                numbers.entry(from).or_default().push(number);
            }
            for mut numbers in numbers.into_values() {
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..EACH), "{kind:?}");
            }
        }
        for member in members {
            within(member.node.shutdown()).await.unwrap();
        }
    }
}

/// p3 does not read: messages to it wait, while p2 still gets its messages.
#[tokio::test]
async fn who_does_not_read_slows_what_is_sent_to_it_and_nothing_else() {
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 3) {
        let mut builder = builder.window(4).backlog(64 << 10);
        handles.push(builder.links(Coded::raw("mail")).unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    let message = Bytes::from(vec![7; 8 << 10]);
    let sender = handles[0].0.clone();
    let slow = tokio::spawn({
        let (sender, message) = (sender.clone(), message.clone());
        async move {
            for _ in 0..200 {
                sender.send(p(3), message.clone()).await.unwrap();
            }
        }
    });
    let quick = tokio::spawn(async move {
        for _ in 0..200 {
            sender.send(p(2), message.clone()).await.unwrap();
        }
    });
    for _ in 0..200 {
        assert_eq!(next(&mut handles[1].1).await.unwrap().0, p(1));
    }
    within(quick).await.unwrap();
    assert!(!slow.is_finished(), "nobody has read");
    for _ in 0..200 {
        assert_eq!(next(&mut handles[2].1).await.unwrap().0, p(1));
    }
    within(slow).await.unwrap();
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn a_permit_holds_room_and_what_cannot_be_sent_is_refused() {
    let mut builder = builders(Kind::Udp, 1)
        .remove(0)
        .window(1)
        .maximum_message(4096);
    let (mail, mut letters) = builder.links::<String>("mail").unwrap();
    let used = builder.total_order::<u64>("mail:p1");
    assert!(matches!(used, Err(StartError::UsedTwice(_))));
    let used = builder.links::<u64>("mail");
    assert!(matches!(used, Err(StartError::UsedTwice(_))));
    let early = mail.send(p(1), String::new()).await;
    assert!(matches!(early, Err(Error::NotStarted)));
    let node = builder.start().await.unwrap();
    let permit = within(mail.reserve(p(1))).await.unwrap();
    let full = mail.try_send(p(1), "second".to_owned());
    assert!(matches!(full, Err(TrySendError::Full(text)) if text == "second"));
    permit.send("first".to_owned()).unwrap();
    assert_eq!(next(&mut letters).await.unwrap().1, "first");
    let long = mail.send(p(1), "x".repeat(4096)).await;
    assert!(matches!(long, Err(Error::TooLarge { .. })));
    let nobody = mail.send(p(2), String::new()).await;
    assert!(matches!(nobody, Err(Error::NotMember { n: 1, .. })));
    within(node.shutdown()).await.unwrap();
    let late = mail.send(p(1), String::new()).await;
    assert!(matches!(late, Err(Error::Stopped)));
    assert!(within(letters.next()).await.is_none());
}

#[tokio::test]
async fn a_message_of_another_type_is_told_with_its_sender_and_the_stream_goes_on() {
    let mut all = builders(Kind::Udp, 2);
    let (mut other, mut one) = (all.remove(1), all.remove(0));
    let (_, mut letters) = one.links::<u64>("mail").unwrap();
    let (mail, _) = other.links(Coded::by::<Pretending>("mail")).unwrap();
    let _nodes = [one.start().await.unwrap(), other.start().await.unwrap()];
    within(mail.send(p(1), Bytes::new())).await.unwrap();
    within(mail.send(p(1), Bytes::from_static(&[7])))
        .await
        .unwrap();
    let first = next(&mut letters).await;
    let from = p(2);
    assert!(
        matches!(first, Err(StreamError::UndecodableMessage { from: sender }) if sender == from)
    );
    assert_eq!(next(&mut letters).await.unwrap(), (from, 7));
}

#[tokio::test]
async fn datagrams_arrive_though_the_way_back_is_cut_and_long_ones_are_refused() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut handles) = (Vec::new(), Vec::new());
        for mut builder in builders(kind, 2) {
            handles.push(builder.datagrams::<Vec<u8>>("gauge").unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        met(&nodes).await;
        nodes[0]
            .faults()
            .set(p(2), Direction::Incoming, Fault::cut());
        let (sender, _) = &handles[0];
        let long = sender.send(p(2), vec![7; 64 << 10]).await;
        assert!(matches!(long, Err(Error::TooLarge { .. })), "{kind:?}");
        let gauge = sender.clone();
        // Some messages may be lost.
        let sends = tokio::spawn(async move {
            for reading in (0..=255).cycle() {
                gauge.send(p(2), vec![reading; 900]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        for _ in 0..20 {
            let (from, reading) = next(&mut handles[1].1).await.unwrap();
            assert!(from == p(1) && reading.len() == 900);
        }
        sends.abort();
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_repeated_arrives_again_and_again_until_its_sender_has_enough() {
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 2) {
        let mut builder = builder.window(1);
        handles.push(builder.stubborn::<u64>("beacon").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    let beacon = handles[0].0.clone();
    let first = within(beacon.send(p(2), &1)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut handles[1].1).await.unwrap(), (p(1), 1));
    }
    // The window has room for one message.
    let mut second = tokio::spawn(async move { beacon.send(p(2), &2).await.unwrap() });
    let waits = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
    assert!(waits.is_err());
    drop(first);
    let _second = within(second).await.unwrap();
    loop {
        if next(&mut handles[1].1).await.unwrap().1 == 2 {
            break;
        }
    }
    // The first message is not sent again: copies in flight have been read by now, or come soon.
    let mut since = 0;
    while since < 3 {
        since = match next(&mut handles[1].1).await.unwrap().1 {
            2 => since + 1,
            _ => 0,
        };
    }
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

/// Only the channels p1 → p2 → p3 → p1 are left.
#[tokio::test]
async fn what_is_flooded_goes_round_channels_that_are_cut() {
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for mut builder in builders(Kind::Udp, 3) {
        handles.push(builder.flooding::<String>("board").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    met(&nodes).await;
    for (from, to) in [(2, 1), (3, 2), (1, 3)] {
        let faults = nodes[to - 1].faults();
        faults.set(p(from), Direction::Incoming, Fault::cut());
    }
    // The note is longer than a datagram.
    let note = "news ".repeat(1000);
    let posted = within(handles[0].0.post(&note)).await.unwrap();
    for (_, notes) in &mut handles {
        assert_eq!(next(notes).await.unwrap(), (p(1), note.clone()));
    }
    let to = quorate_core::ProcessSet::from_iter([p(2)]);
    let other = within(handles[2].0.post_for(to, &"for p2".to_owned()))
        .await
        .unwrap();
    assert_eq!(
        next(&mut handles[1].1).await.unwrap(),
        (p(3), "for p2".to_owned())
    );
    drop((posted, other));
    let long = within(handles[0].0.post(&"x".repeat(100_000))).await;
    assert!(matches!(long, Err(Error::TooLarge { .. })));
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}
