//! Terminating broadcast over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{
    Answer, Answers, Builder, Error, Node, Source, StartError, StreamError,
    node::{
        Coded,
        Content::{self, Message, SenderFaulty},
    },
};
use futures::StreamExt;
use quorate_core::ProcessId;
use quorate_detectors::exclude_on_timeout;
use std::{collections::BTreeMap, time::Duration};

fn synchronous(builder: Builder, delay: Duration) -> Builder {
    let bounds = exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay);
    builder.assume_synchronous(bounds.unwrap())
}

struct Member {
    node: Node,
    source: Source<String>,
    answers: Answers<String>,
}

async fn members(kind: Kind, delay: Duration) -> Vec<Member> {
    let mut members = Vec::new();
    for builder in builders(kind, 3) {
        let mut builder = synchronous(builder, delay);
        let (source, answers) = builder.terminating("calls").unwrap();
        let node = builder.start().await.unwrap();
        members.push(Member {
            node,
            source,
            answers,
        });
    }
    members
}

type Calls = BTreeMap<ProcessId, Vec<Content<String>>>;

/// Reads this many answers for each source. They come in order.
async fn read(answers: &mut Answers<String>, count: usize) -> Calls {
    let mut calls = Calls::new();
    for _ in 0..count {
        let answer = within(answers.next()).await.unwrap().unwrap();
        let of_source = calls.entry(answer.source).or_default();
        of_source.push(answer.outcome);
        assert_eq!(answer.number, of_source.len() as u64);
    }
    calls
}

fn call(rank: usize, number: usize) -> String {
    format!("{number} of p{rank}")
}

/// The first messages of a source, and the last answer about it.
fn calls(rank: usize, count: usize, last: Option<Content<String>>) -> Vec<Content<String>> {
    let messages = (1..=count).map(|number| Message(call(rank, number)));
    messages.chain(last).collect()
}

#[tokio::test]
async fn every_message_of_every_source_is_delivered_everywhere_in_its_order() {
    const COUNT: usize = 20;
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = members(kind, Duration::from_mins(1)).await;
        for (rank, member) in (1..).zip(&members) {
            for number in 1..=COUNT {
                let call = call(rank, number);
                within(member.source.broadcast(call)).await.unwrap();
            }
        }
        for member in &mut members {
            let read = read(&mut member.answers, 3 * COUNT).await;
            for rank in 1..=3 {
                assert_eq!(read[&p(rank)], calls(rank, COUNT, None), "{kind:?}");
            }
            assert_eq!(member.source.pending(), 0);
        }
        for member in members {
            within(member.node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn everybody_gets_the_same_of_a_dead_source_and_then_that_it_is_faulty() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let mut members = members(kind, Duration::from_secs(2)).await;
        let gone = members.pop().unwrap();
        within(gone.source.broadcast(call(3, 1))).await.unwrap();
        for member in &mut members {
            let read = read(&mut member.answers, 1).await;
            assert_eq!(read[&p(3)], calls(3, 1, None), "{kind:?}");
        }
        drop(gone);
        let faulty = Answer {
            source: p(3),
            number: 2,
            outcome: SenderFaulty,
        };
        for member in &mut members {
            let answer = within(member.answers.next()).await.unwrap().unwrap();
            assert_eq!(answer, faulty, "{kind:?}");
        }
        // The others go on, and there is nothing more about it.
        for (rank, member) in (1..).zip(&members) {
            within(member.source.broadcast(call(rank, 1)))
                .await
                .unwrap();
        }
        for member in &mut members {
            let read = read(&mut member.answers, 2).await;
            let others = [1, 2].map(|rank| (p(rank), calls(rank, 1, None)));
            assert_eq!(read, Calls::from(others), "{kind:?}");
        }
        for mut member in members {
            within(member.node.shutdown()).await.unwrap();
            assert!(within(member.answers.next()).await.is_none());
        }
    }
}

#[tokio::test]
async fn a_message_of_another_type_is_an_error_and_the_stream_goes_on() {
    let mut builders = builders(Kind::Udp, 2).into_iter();
    let mut next = || synchronous(builders.next().unwrap(), Duration::from_mins(1));
    let (mut one, mut other) = (next(), next());
    let (numbers, _answers) = one.terminating::<u64>("calls").unwrap();
    let (_source, mut bits) = other.terminating::<bool>("calls").unwrap();
    let nodes = [one.start().await.unwrap(), other.start().await.unwrap()];
    for number in [7, 1] {
        within(numbers.broadcast(number)).await.unwrap();
    }
    let first = within(bits.next()).await.unwrap();
    assert!(
        matches!(first, Err(StreamError::UndecodableAnswer { of, number: 1 }) if of == p(1)),
        "{first:?}"
    );
    let second = within(bits.next()).await.unwrap().unwrap();
    assert_eq!((second.number, second.outcome), (2, Message(true)));
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn terminating_broadcast_needs_synchrony_and_a_name_of_its_own() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let refused = builder.terminating::<u64>("calls");
    assert!(matches!(refused, Err(StartError::NeedsPerfect(_))));
    let mut builder = synchronous(builder, Duration::from_mins(1));
    let (source, _answers) = builder.terminating::<u64>("calls").unwrap();
    let twice = builder.terminating::<u64>("calls");
    assert!(matches!(twice, Err(StartError::UsedTwice(_))));
    assert!(matches!(source.broadcast(1).await, Err(Error::NotStarted)));
}

#[tokio::test]
async fn nobody_waits_for_a_stopped_node() {
    let builder = builders(Kind::Udp, 3).remove(0);
    let drain = Duration::from_millis(100);
    let mut builder = synchronous(builder, Duration::from_mins(1))
        .window(1)
        .drain(drain);
    let (source, mut answers) = builder.terminating::<u64>("calls").unwrap();
    let node = builder.start().await.unwrap();
    within(source.broadcast(1)).await.unwrap();
    // The other nodes are not running: the window stays full.
    let waits = tokio::spawn({
        let source = source.clone();
        async move { source.broadcast(2).await }
    });
    let ended = within(node.shutdown()).await;
    assert!(matches!(ended, Err(Error::NotDrained { pending: 1 })));
    let refused = within(waits).await.unwrap();
    assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
    assert!(within(answers.next()).await.is_none());
    assert!(matches!(source.broadcast(3).await, Err(Error::Stopped)));
}

/// Terminating broadcast over regular consensus, with plain bytes, and P as it follows from terminating
/// broadcast.
#[tokio::test]
async fn over_regular_consensus_a_crash_is_answered_too_and_p_can_be_derived() {
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 3) {
        let mut builder = synchronous(builder, Duration::from_secs(2));
        let regular = builder.terminating_regular::<u64>("regular").unwrap();
        let raw = builder.terminating(Coded::raw("raw")).unwrap();
        let crashes = builder.crashes_from_terminating("derived").unwrap();
        handles.push((regular, raw, crashes));
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    let ((source, _), (raw, _), _) = &handles[2];
    within(source.broadcast(7)).await.unwrap();
    within(raw.broadcast("seven".into())).await.unwrap();
    let ((_, answers), (_, bytes), _) = &mut handles[0];
    let answer = within(answers.next()).await.unwrap().unwrap();
    assert_eq!((answer.source, answer.outcome), (p(3), Message(7)));
    let answer = within(bytes.next()).await.unwrap().unwrap();
    assert_eq!(answer.outcome, Message("seven".into()));
    drop(nodes.pop());
    let ((_, answers), _, crashes) = &mut handles[0];
    let answer = within(answers.next()).await.unwrap().unwrap();
    assert_eq!((answer.number, answer.outcome), (2, SenderFaulty));
    let crash = within(crashes.next()).await;
    assert_eq!(crash, Some(quorate_abstractions::perfect::Crash(p(3))));
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}
