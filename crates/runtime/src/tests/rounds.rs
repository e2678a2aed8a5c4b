//! Synchronous rounds over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{
    Builder, Error, InRound, Node, NodeEvent, ProposeError, RoundBroadcaster, RoundProposer,
    StartError,
    faults::{Direction, Fault},
    node::{
        Coded,
        Content::{Message, SenderFaulty},
    },
};
use bytes::Bytes;
use futures::StreamExt;
use quorate_detectors::exclude_on_timeout::SynchronyBounds;
use quorate_rounds::synchroniser::{BadBounds, RoundBounds};
use std::time::Duration;

/// Longer than any message takes on loopback, on a machine that is busy.
const DELAY: Duration = Duration::from_millis(400);

fn bounds() -> RoundBounds {
    RoundBounds::new(DELAY).unwrap()
}

fn synchronous(builder: Builder) -> Builder {
    let bounds = SynchronyBounds::new(Duration::from_millis(100), Duration::from_mins(1));
    builder.assume_synchronous(bounds.unwrap())
}

struct Member {
    node: Node,
    motions: RoundProposer<u64>,
    calls: RoundBroadcaster<String>,
}

/// Processes of which at most `f` fail, once all are connected.
async fn members(kind: Kind, n: usize, f: usize) -> Vec<Member> {
    let mut members = Vec::new();
    for builder in builders(kind, n) {
        let mut builder = synchronous(builder);
        let motions = builder.consensus_in_rounds("motions", f, bounds()).unwrap();
        let calls = builder.terminating_in_rounds("calls", f, bounds()).unwrap();
        members.push(Member {
            node: builder.start().await.unwrap(),
            motions,
            calls,
        });
    }
    for member in &members {
        let mut status = member.node.status();
        let all = status.wait_for(|now| now.connected().len() == n - 1);
        within(all).await.unwrap();
    }
    members
}

async fn stop(members: Vec<Member>) {
    for member in members {
        within(member.node.shutdown()).await.unwrap();
    }
}

fn omissions(members: &[Member]) -> u64 {
    let of = |member: &Member| {
        member
            .node
            .status()
            .borrow()
            .omissions
            .values()
            .sum::<u64>()
    };
    members.iter().map(of).sum()
}

#[tokio::test]
async fn consensus_is_decided_after_f_plus_one_rounds_and_a_broadcast_after_one() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let members = members(kind, 3, 1).await;
        // In the second instance p2 alone proposes, and calls the others.
        let proposals = members.iter().zip([7, 8, 9]);
        let first = proposals
            .map(|(member, value)| async move { member.motions.propose(1, &value).await.unwrap() });
        let first = within(futures::future::join_all(first)).await;
        let InRound { value, round } = first[0];
        assert!(first.iter().all(|it| *it == first[0]), "{first:?}");
        assert!([7, 8, 9].contains(&value) && round == 2, "{kind:?}");
        let began = std::time::Instant::now();
        let second = within(members[1].motions.propose(2, &5)).await.unwrap();
        assert_eq!((second.value, second.round), (5, 2));
        assert!(began.elapsed() >= 2 * members[1].motions.round_length());
        for member in &members {
            assert_eq!(within(member.motions.decision(2)).await.unwrap(), second);
        }
        let message = Message("present".to_owned());
        let (value, round) = (message.clone(), 1);
        let delivered = within(members[2].calls.broadcast(1, &"present".to_owned())).await;
        assert_eq!(delivered.unwrap(), InRound { value, round });
        for member in &members {
            let outcome = within(member.calls.outcome(p(3), 1)).await.unwrap();
            assert_eq!(outcome.value, message, "{kind:?}");
            let expected = within(member.calls.expect(p(3), 1)).await.unwrap();
            assert_eq!(expected, outcome, "it is remembered");
        }
        assert_eq!(omissions(&members), 0);
        stop(members).await;
    }
}

#[tokio::test]
async fn who_expects_a_message_that_does_not_come_learns_that_the_source_is_faulty() {
    let mut members = members(Kind::Udp, 4, 2).await;
    drop(members.pop());
    // p1 waits for a message of p4 that is due, and calls the others, which wait, too.
    let expected = within(members[0].calls.expect(p(4), 1)).await.unwrap();
    assert_eq!(expected.value, SenderFaulty);
    assert_eq!(expected.round, 2, "one process is silent");
    for member in &members {
        let outcome = within(member.calls.outcome(p(4), 1)).await.unwrap();
        assert_eq!(outcome.value, SenderFaulty);
    }
    // Nor does a source broadcast what others have expected before it.
    let expected = within(members[0].calls.expect(p(2), 1)).await.unwrap();
    assert_eq!(expected.value, SenderFaulty);
    let late = within(members[1].calls.broadcast(1, &"late".to_owned()))
        .await
        .unwrap();
    assert_eq!(late.value, SenderFaulty);
    let next = within(members[1].calls.broadcast(2, &"next".to_owned()))
        .await
        .unwrap();
    assert_eq!(next.value, Message("next".to_owned()));
    // Consensus needs no more rounds than before.
    let decided = within(members[2].motions.propose(1, &3)).await.unwrap();
    assert_eq!((decided.value, decided.round), (3, 3));
    stop(members).await;
}

#[tokio::test]
async fn a_message_that_takes_too_long_is_an_omission_that_the_node_reports() {
    let members = members(Kind::Udp, 3, 1).await;
    let mut events = members[0].node.events();
    let slow = Fault {
        delay: 6 * DELAY,
        ..Fault::default()
    };
    members[1]
        .node
        .faults()
        .set(p(1), Direction::Outgoing, slow);
    // p2 begins, and p1 hears of it from p3.
    let decided = within(members[1].motions.propose(1, &5)).await.unwrap();
    assert_eq!(decided.value, 5);
    let omission = loop {
        if let NodeEvent::Omission {
            module,
            from,
            instance,
            round,
        } = within(events.next()).await.unwrap()
        {
            break (module, from, instance, round);
        }
    };
    assert_eq!(omission, ("motions".to_owned(), p(2), 1, 1));
    assert!(events.now().omissions[&p(2)] >= 1);
    let counted = members[0].node.counters().snapshot();
    let late = counted.iter().find(|(module, reason, _)| {
        module.to_string().starts_with("motions") && *reason == "message after the end of its round"
    });
    assert!(late.is_some(), "{counted:?}");
    // p3 has said the value in time.
    let decided = within(members[0].motions.decision(1)).await.unwrap();
    assert_eq!(decided.value, 5);
    members[1].node.faults().heal();
    stop(members).await;
}

#[tokio::test]
async fn rounds_need_synchrony_and_bounds_and_a_name_of_their_own() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let refused = builder.consensus_in_rounds::<u64>("motions", 1, bounds());
    assert!(matches!(refused, Err(StartError::NeedsRounds(_))));
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("assume_synchronous"), "{why}");
    let refused = builder.terminating_in_rounds::<u64>("calls", 1, bounds());
    assert!(matches!(refused, Err(StartError::NeedsRounds(_))));
    let mut builder = synchronous(builder);
    let refused = builder.consensus_in_rounds::<u64>("motions", 3, bounds());
    let too_many = BadBounds::TooManyFailures { f: 3, n: 3 };
    assert!(matches!(refused, Err(StartError::BadRounds(it)) if it == too_many));
    let refused = builder.terminating_in_rounds::<u64>("calls", 2, bounds().drift(300_000));
    assert!(matches!(refused, Err(StartError::BadRounds(_))));
    let motions = builder.consensus_in_rounds::<u64>("motions", 1, bounds());
    let motions = motions.unwrap();
    let calls = builder.terminating_in_rounds::<u64>("calls", 1, bounds());
    let calls = calls.unwrap();
    let twice = builder.terminating_in_rounds::<u64>("motions", 1, bounds());
    assert!(matches!(twice, Err(StartError::UsedTwice(_))));
    let not_started = |error| matches!(error, ProposeError::Failed(Error::NotStarted));
    assert!(not_started(motions.propose(1, &1).await.unwrap_err()));
    assert!(not_started(calls.broadcast(1, &1).await.unwrap_err()));
    let nobody = calls.expect(p(4), 1).await.unwrap_err();
    assert!(matches!(
        nobody,
        ProposeError::Failed(Error::NotMember { n: 3, .. })
    ));
}

#[tokio::test]
async fn a_caller_is_told_what_it_did_wrong_and_nobody_waits_for_a_stopped_node() {
    let mut builder = synchronous(builders(Kind::Udp, 2).remove(0)).maximum_message(5024);
    let motions = builder.consensus_in_rounds(Coded::raw("motions"), 1, bounds());
    let calls = builder.terminating_in_rounds(Coded::raw("calls"), 1, bounds());
    let (motions, calls) = (motions.unwrap(), calls.unwrap());
    let node = builder.start().await.unwrap();
    let bytes = |length| Bytes::from(vec![7; length]);
    // The values of both processes fit into one message.
    let error = within(motions.propose(1, &bytes(2001))).await.unwrap_err();
    let ProposeError::Failed(Error::TooLarge { size, limit }) = error else {
        panic!("{error}");
    };
    assert_eq!((size, limit), (2001, 2000));
    let error = within(calls.broadcast(1, &bytes(4001))).await.unwrap_err();
    assert!(matches!(
        error,
        ProposeError::Failed(Error::TooLarge { limit: 4000, .. })
    ));
    let far = within(motions.decision(1 << 40)).await.unwrap_err();
    assert!(matches!(far, ProposeError::InstanceTooFar { .. }));
    // The other process is not there: this one decides alone.
    let decided = within(motions.propose(1, &bytes(2000))).await.unwrap();
    assert_eq!(decided.value, bytes(2000));
    let waits = tokio::spawn(async move { motions.decision(2).await });
    let delivered = within(calls.broadcast(1, &bytes(4000))).await.unwrap();
    assert_eq!(delivered.value, Message(bytes(4000)));
    within(node.shutdown()).await.unwrap();
    let error = within(waits).await.unwrap().unwrap_err();
    assert!(matches!(error, ProposeError::Failed(_)), "{error}");
    let error = within(calls.broadcast(2, &bytes(1))).await.unwrap_err();
    assert!(
        matches!(error, ProposeError::Failed(Error::Stopped)),
        "{error}"
    );
}
