//! Locks over sockets: who holds them, who loses them, and what a late holder may do.
use super::{
    node::{Kind, builders, within},
    p,
    replicated::{bind, free, kill},
};
use crate::{
    Builder, Error, Node, StartError, SubmitError,
    node::{Claim, LockError, LockSettings, Locks},
};
use futures::{FutureExt, future::join_all};
use quorate_services::locks::{REQUESTS, Refusal};
use std::time::Duration;

/// Long enough for what a holder does before it stalls, also on a loaded machine.
const LEASE: Duration = Duration::from_secs(3);

/// What does not end while a test runs.
const LONG: Duration = Duration::from_mins(10);

async fn begin(mut builder: Builder, lease: Option<Duration>, takeover: Duration) -> (Node, Locks) {
    let settings = LockSettings { lease, takeover };
    let locks = builder.locks("locks", settings).unwrap();
    (within(builder.start()).await.unwrap(), locks)
}

async fn three(lease: Duration) -> Vec<(Node, Locks)> {
    let begun = builders(Kind::Udp, 3)
        .into_iter()
        .map(|builder| begin(builder, Some(lease), LONG));
    let all = join_all(begun).await;
    for (node, _) in &all {
        within(node.admitted()).await.unwrap();
    }
    all
}

/// A request of a client that never renews it.
async fn claim(locks: &Locks, owner: &str, lease: Option<Duration>) -> Claim {
    let claim = within(locks.claim("l", owner, lease, true)).await;
    claim.unwrap().unwrap()
}

fn number(value: Option<bytes::Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_has_the_lock_and_tokens_grow_and_no_update_is_lost() {
    let all = three(LONG).await;
    let working = all.iter().map(|(_, locks)| async {
        let mut tokens = Vec::new();
        for _ in 0..15 {
            let lock = locks.lock("counter").await.unwrap();
            let read = lock.read("n").await.unwrap();
            let next = number(read) + 1;
            lock.write("n", Some(&next.to_le_bytes())).await.unwrap();
            tokens.push((next, lock.token()));
            assert!(!lock.lost().is_cancelled());
            lock.unlock().await.unwrap();
        }
        tokens
    });
    let mut tokens = within(join_all(working)).await.concat();
    tokens.sort_unstable();
    assert!(tokens.iter().map(|(next, _)| *next).eq(1..=45));
    assert!(tokens.iter().is_sorted_by_key(|(_, token)| *token));
    assert_eq!(within(all[0].1.holder("counter")).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_is_a_place_of_the_order_as_the_fence_of_a_term_is() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let leadership = builder.leadership("writer").unwrap();
    let locks = builder.locks("locks", LockSettings::default()).unwrap();
    let _node = within(builder.start()).await.unwrap();
    let first = within(leadership.acquired()).await.unwrap().fence();
    let lock = within(locks.lock("l")).await.unwrap();
    let second = within(leadership.acquired()).await.unwrap().fence();
    assert!(first < lock.token() && lock.token() < second);
    assert_eq!((lock.token(), second), (first + 1, first + 2));
}

#[tokio::test]
async fn who_waits_is_served_in_order_and_who_gives_up_is_left_out() {
    let all = three(LONG).await;
    let held = within(all[0].1.lock("l")).await.unwrap();
    assert!(within(all[1].1.try_lock("l")).await.unwrap().is_none());
    let mut second = claim(&all[1].1, "second", Some(LONG)).await;
    let third = claim(&all[2].1, "third", Some(LONG)).await;
    let mut fourth = claim(&all[2].1, "fourth", Some(LONG)).await;
    assert!(held.token() < second.token() && second.token() < fourth.token());
    assert!(!second.is_held() && second.held().now_or_never().is_none());
    drop(third);
    let holder = within(all[1].1.holder("l")).await.unwrap().unwrap();
    assert_eq!((holder.token, holder.process), (held.token(), p(1)));
    // A lock that is dropped is given back.
    drop(held);
    within(second.held()).await.unwrap();
    // A caller that does not wait any more has left no request.
    let gone = all[0].1.lock("l");
    assert!(
        tokio::time::timeout(Duration::from_millis(100), gone)
            .await
            .is_err()
    );
    assert!(within(all[0].1.release("l", second.token())).await.unwrap());
    within(fourth.held()).await.unwrap();
    drop(fourth);
    let last = within(all[0].1.lock("l")).await.unwrap();
    assert!(!within(all[0].1.release("l", second.token())).await.unwrap());
    within(last.unlock()).await.unwrap();
}

#[tokio::test]
async fn h2_e5_a_holder_that_stalls_loses_the_lock_and_neither_reads_nor_writes_any_more() {
    let all = three(LONG).await;
    let mut stalled = claim(&all[0].1, "stalled", Some(LEASE)).await;
    within(stalled.held()).await.unwrap();
    let token = stalled.token();
    let locks = &all[0].1;
    within(locks.write("l", token, "k", Some(b"100")))
        .await
        .unwrap();
    // It does not renew, and the next one has the lock, and has only read.
    let next = within(all[1].1.lock("l")).await.unwrap();
    let read = within(next.read("k")).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"100"[..]));
    let late = within(locks.write("l", token, "k", Some(b"150"))).await;
    let holder = next.token();
    assert!(
        matches!(late, Err(LockError::Fenced { holder: Some(by) }) if by == holder),
        "{late:?}"
    );
    let late = within(locks.read("l", token, "k")).await;
    assert!(matches!(late, Err(LockError::Fenced { .. })), "{late:?}");
    assert!(!within(stalled.renew()).await.unwrap());
    assert!(matches!(within(stalled.held()).await, Err(LockError::Lost)));
    let read = within(next.read("k")).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"100"[..]));
}

#[tokio::test]
async fn a_lock_is_renewed_while_it_is_held_and_its_holder_learns_when_it_is_lost() {
    let all = three(LEASE).await;
    let lock = within(all[0].1.lock("l")).await.unwrap();
    let other = all[1].1.lock("l");
    let waited = tokio::time::timeout(LEASE * 3 / 2, other).await;
    assert!(waited.is_err(), "it was renewed");
    assert!(!lock.lost().is_cancelled());
    assert!(within(all[1].1.release("l", lock.token())).await.unwrap());
    within(lock.lost().cancelled()).await;
    let late = within(lock.write("k", None)).await;
    assert!(
        matches!(late, Err(LockError::Fenced { holder: None })),
        "{late:?}"
    );
    assert!(matches!(within(lock.unlock()).await, Err(LockError::Lost)));
}

#[tokio::test]
async fn who_reconnects_elsewhere_keeps_the_lock_and_the_place_in_the_queue() {
    let all = three(LONG).await;
    let mut first = claim(&all[0].1, "first", Some(LONG)).await;
    let mut second = claim(&all[0].1, "second", Some(LONG)).await;
    let mut moved = within(all[1].1.attach("l", first.token()))
        .await
        .unwrap()
        .unwrap();
    within(moved.held()).await.unwrap();
    // The claim before it has ended, and takes nothing with it.
    while first.is_held() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(within(first.held()).await, Err(LockError::Lost)));
    drop(first);
    let again = claim(&all[2].1, "second", Some(LONG)).await;
    assert_eq!(again.token(), second.token());
    assert!(matches!(within(second.held()).await, Err(LockError::Lost)));
    drop(second);
    let holder = within(all[0].1.holder("l")).await.unwrap().unwrap();
    assert_eq!((holder.token, holder.waiting), (moved.token(), 1));
    assert_eq!(holder.process, p(2));
    assert!(within(moved.renew()).await.unwrap());
    assert!(within(all[2].1.attach("l", 0)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_locks_of_a_process_that_is_killed_or_started_again_are_taken_over() {
    let peers = free(Kind::Udp);
    let mut all = Vec::new();
    for rank in 1..=3 {
        all.push(begin(bind(Kind::Udp, rank, &peers), None, LEASE).await);
    }
    for (node, _) in &all {
        within(node.admitted()).await.unwrap();
    }
    // It has no lease: only its process says that it is there.
    let of_third = within(all[2].1.lock("l")).await.unwrap();
    let waits = claim(&all[2].1, "waits", None).await;
    let mut last = claim(&all[1].1, "last", None).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!last.is_held(), "its process is there");
    let token = of_third.token();
    kill(all.remove(2).0).await;
    within(of_third.lost().cancelled()).await;
    within(last.held()).await.unwrap();
    assert!(token < last.token());
    drop((of_third, waits));
    let (node, again) = begin(bind(Kind::Udp, 3, &peers), None, LEASE).await;
    within(node.admitted()).await.unwrap();
    let late = within(again.write("l", token, "k", Some(b"x"))).await;
    assert!(matches!(late, Err(LockError::Fenced { .. })), "{late:?}");
    // What the second start waits for is its own.
    let mut mine = claim(&again, "mine", None).await;
    drop(last);
    within(mine.held()).await.unwrap();
    within(again.write("l", mine.token(), "k", Some(b"x")))
        .await
        .unwrap();
}

/// Whoever gives up and tries again while nothing is ordered leaves requests behind that cannot end yet.
#[tokio::test]
async fn requests_that_were_given_up_while_a_process_is_cut_off_are_bounded() {
    let mut all = three(LONG).await;
    let (_node, locks) = all.remove(0);
    for (node, _) in all {
        kill(node).await;
    }
    let tries = (0..2 * REQUESTS).map(|_| locks.lock("l").now_or_never());
    let refused = tries.flatten().next().expect("it refuses at last");
    assert!(
        matches!(refused, Err(LockError::Refused(Refusal::TooManyRequests))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_node_that_is_not_there_has_no_locks_and_a_name_is_used_once() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let locks = builder.locks("locks", LockSettings::default()).unwrap();
    let taken = builder.locks("locks", LockSettings::default());
    assert!(matches!(taken, Err(StartError::UsedTwice(_))));
    let failed = |error: &LockError, expected: fn(&Error) -> bool| match error {
        LockError::Failed(SubmitError::NotSubmitted(error)) => expected(error),
        _ => false,
    };
    let early = within(locks.lock("l")).await.unwrap_err();
    assert!(
        failed(&early, |error| matches!(error, Error::NotStarted)),
        "{early}"
    );
    let node = within(builder.start()).await.unwrap();
    let long = within(locks.lock("x".repeat(300))).await;
    assert!(matches!(long, Err(LockError::Refused(_))), "{long:?}");
    let lock = within(locks.lock("l")).await.unwrap();
    let mut waits = claim(&locks, "waits", None).await;
    let (ended, waited) = tokio::join!(node.shutdown(), waits.held());
    ended.unwrap();
    let stopped = |error: &Error| matches!(error, Error::Stopped);
    assert!(failed(&waited.unwrap_err(), stopped));
    within(lock.lost().cancelled()).await;
    assert!(failed(&within(locks.lock("l")).await.unwrap_err(), stopped));
    assert!(failed(&within(lock.unlock()).await.unwrap_err(), stopped));
}
