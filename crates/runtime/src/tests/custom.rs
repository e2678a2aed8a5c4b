//! A user's own algorithms, with handles, over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{
    Builder, Custom, Error, Indications, NodeEvent, Requests, TryRequestError,
    faults::{Direction, Fault},
    node::NodeStatus,
};
use futures::StreamExt;
use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
use quorate_core::{Addr, Layer, ProcessId, wire::Plain};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A message that consists of headers only.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug)]
struct Letter(Vec<String>);

impl Plain for Letter {}

impl Letter {
    fn of(bytes: usize) -> Self {
        Letter(vec!["x".repeat(bytes / 4); 4])
    }
}

type Post = (Requests<(ProcessId, Letter)>, Indications<Deliver<Letter>>);

/// An algorithm that is only a lane. No indication answers its requests.
fn post(builder: &mut Builder) -> Post {
    let length = |it: &Deliver<Letter>| it.message.0.iter().map(String::len).sum();
    let post = Custom::new("post").bytes(length);
    let handles = builder.custom("post", post, |wiring, up| {
        let lane = wiring.links.lane().attach(up);
        lane.with(|(to, message)| SendRequest {
            to: To::One(to),
            message,
        })
    });
    handles.unwrap()
}

#[tokio::test]
async fn a_long_message_arrives_and_one_above_the_limit_is_told_at_its_sender() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut posts) = (Vec::new(), Vec::new());
        for mut builder in builders(kind, 2) {
            posts.push(post(&mut builder));
            nodes.push(builder.start().await.unwrap());
        }
        let mut events = nodes[0].events();
        let (_, mut letters) = posts.pop().unwrap();
        let (write, _own) = posts.pop().unwrap();
        for bytes in [20 << 20, 100 << 10, 12 << 20] {
            let letter = (p(2), Letter::of(bytes));
            within(write.request(letter)).await.unwrap();
        }
        let mut lengths = Vec::new();
        while lengths.len() < 2 {
            let letter = within(letters.next()).await.unwrap().unwrap();
            assert_eq!(letter.from, p(1));
            lengths.push(letter.message.0.concat().len());
        }
        lengths.sort_unstable();
        assert_eq!(lengths, [100 << 10, 12 << 20], "{kind:?}");
        let too_long = loop {
            let event = within(events.next()).await.unwrap();
            if let NodeEvent::TooLong { lane, bytes, limit } = event {
                break (lane, bytes >> 20, limit);
            }
        };
        assert_eq!(too_long, ("post".to_owned(), 20, 16 << 20), "{kind:?}");
    }
}

#[tokio::test]
async fn requests_that_are_answered_have_their_places_until_then() {
    let mut builder = builders(Kind::Udp, 1).remove(0).window(2);
    let asked: Arc<Mutex<Vec<&str>>> = Arc::default();
    let answer: Arc<Mutex<Option<Addr<u64>>>> = Arc::default();
    let (seen, said) = (asked.clone(), answer.clone());
    let oracle = Custom::new("oracle").answers(|answered: &u64| *answered);
    let (requests, mut answers) = builder
        .custom("oracle", oracle, move |_, up| {
            *said.lock().unwrap() = Some(up);
            Addr::new(move |question| seen.lock().unwrap().push(question))
        })
        .unwrap();
    let early = requests.request("too early").await;
    assert!(matches!(early, Err(Error::NotStarted)));
    let node = builder.drain(Duration::from_millis(50)).start();
    let node = node.await.unwrap();
    assert_eq!(within(requests.request("a")).await.unwrap(), 1);
    assert_eq!(requests.try_request("b").unwrap(), 2);
    let full = requests.try_request("c");
    assert!(matches!(full, Err(TryRequestError::Full("c"))));
    assert_eq!(*asked.lock().unwrap(), ["a", "b"]);
    let up = answer.lock().unwrap().clone().unwrap();
    let third = tokio::spawn({
        let requests = requests.clone();
        async move { requests.request("c").await }
    });
    // The algorithm answers no request, and then more requests than there are.
    up.send(0);
    up.send(9);
    assert_eq!(within(third).await.unwrap().unwrap(), 3);
    assert_eq!(within(requests.request("d")).await.unwrap(), 4);
    assert_eq!(requests.pending(), 2);
    for expected in [0, 9] {
        assert_eq!(within(answers.next()).await.unwrap().unwrap(), expected);
    }
    let ended = within(node.shutdown()).await;
    assert!(matches!(ended, Err(Error::NotDrained { pending: 2 })));
    assert!(within(answers.next()).await.is_none());
    let late = requests.request("e").await;
    assert!(matches!(late, Err(Error::Stopped)));
}

/// Sends such letters from p1 to p2 until `stop` is cancelled. Returns their number.
async fn write_until(
    write: Requests<(ProcessId, Letter)>,
    stop: tokio_util::sync::CancellationToken,
    written: Arc<AtomicU64>,
) -> u64 {
    while !stop.is_cancelled() {
        write
            .request((p(2), Letter::of(64 << 10)))
            .await
            .expect("a node that runs");
        written.fetch_add(1, Relaxed);
    }
    written.load(Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_room_at_the_peers_and_nothing_is_lost() {
    for is_cut in [true, false] {
        let (mut nodes, mut posts) = (Vec::new(), Vec::new());
        for builder in builders(Kind::Udp, 2) {
            let mut builder = builder.backlog(4 << 20);
            posts.push(post(&mut builder));
            nodes.push(builder.start().await.unwrap());
        }
        for node in &nodes {
            within(node.admitted()).await.unwrap();
        }
        let (_, mut letters) = posts.pop().unwrap();
        let (write, _own) = posts.pop().unwrap();
        if is_cut {
            let cut = Fault {
                cut: true,
                ..Fault::default()
            };
            nodes[1].faults().set(p(1), Direction::Incoming, cut);
        }
        let (stop, written) = (tokio_util::sync::CancellationToken::new(), Arc::default());
        let writer = tokio::spawn(write_until(write, stop.clone(), written));
        // Either p2 does not acknowledge, or its user does not read.
        let slowed = |now: &NodeStatus| {
            let by = now.slowed.get("post");
            by.is_some_and(|by| by.by == p(2) && by.announced != is_cut)
        };
        let mut status = nodes[0].status();
        within(status.wait_for(slowed)).await.unwrap();
        stop.cancel();
        if is_cut {
            let whole = Fault::default();
            nodes[1].faults().set(p(1), Direction::Incoming, whole);
        }
        let mut read = 0;
        let written = within(async {
            let mut writer = writer;
            loop {
                tokio::select! {
                    written = &mut writer => break written.unwrap(),
                    letter = letters.next() => {
                        letter.unwrap().unwrap();
                        read += 1;
                    }
                }
            }
        })
        .await;
        while read < written {
            within(letters.next()).await.unwrap().unwrap();
            read += 1;
        }
    }
}
