use super::*;
use crate::node::view::Role;
use bytes::Bytes;
use quorate_core::{Incarnation, ProcessId, message::Origin};
use quorate_runtime::node::{Alone, Chunk, Machine};
use quorate_services::kv::{Command, MAXIMUM_BYTES};
use std::time::Duration;
use tokio::{sync::watch, task::yield_now};

/// A store of this process alone, which applies the parcels that the test lets through.
pub(crate) struct Order {
    pub replica: Replica,
    pub role: watch::Sender<Role>,
    alone: Alone<Store>,
}

/// Does not count what is returned.
fn held() -> Held {
    Held::uncounted()
}

async fn replies(answer: Answer) -> Vec<Reply> {
    answer.await.unwrap().0
}

fn p(rank: usize) -> Origin {
    Origin {
        process: ProcessId::from_rank(rank).unwrap(),
        incarnation: Incarnation(1),
    }
}

impl Order {
    /// The store of a voter. It must be made inside a runtime.
    pub fn new(window: usize) -> Self {
        let order = Self::joining(window);
        order.role.send_replace(Role::Voter);
        order
    }

    /// The store of a process that has not been admitted yet.
    fn joining(window: usize) -> Self {
        let (view, role) = View::told(Duration::from_secs(2));
        let (store, alone) = Alone::bytes(p(1), Store::default(), window);
        let replica = Replica::new(store, view);
        let sender = replica.clone();
        tokio::spawn(async move { sender.send_parcels().await });
        Order {
            replica,
            role,
            alone,
        }
    }

    /// Waits for the next parcel and applies it.
    pub async fn deliver_one(&mut self) {
        self.alone.apply_next().await;
    }

    /// Applies a message that another process has submitted.
    fn deliver(&mut self, payload: Bytes) {
        self.alone.apply_of(p(2), 1, &payload).unwrap();
    }

    /// The number of parcels in flight, once all that can be submitted are.
    async fn in_flight(&self) -> usize {
        // Nothing here waits for anything but other tasks of this thread.
        for _ in 0..100 {
            yield_now().await;
        }
        self.alone.waiting()
    }

    fn state(&self) -> Vec<Bytes> {
        let mut view = self.alone.snapshot();
        std::iter::from_fn(|| view.next_chunk()).collect()
    }

    /// Delivers everything, for ever.
    pub fn run(mut self) -> Replica {
        let replica = self.replica.clone();
        tokio::spawn(async move {
            loop {
                self.deliver_one().await;
            }
        });
        replica
    }
}

fn encoded(command: &Command) -> BytesMut {
    let mut out = BytesMut::new();
    command.encode(&mut out);
    out
}

fn incr() -> BytesMut {
    encoded(&Command::IncrBy(Bytes::from_static(b"k"), 1))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

fn late() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

#[tokio::test]
async fn what_waits_together_travels_together_and_is_answered_in_order() {
    let mut order = Order::new(1);
    let mut answers = Vec::new();
    for _ in 0..5 {
        let answer = order
            .replica
            .submit(1, &incr(), late(), held())
            .await
            .unwrap();
        answers.push(answer);
    }
    assert_eq!(order.in_flight().await, 1, "one command carries all five");
    order.deliver_one().await;
    for (count, answer) in (1..).zip(answers) {
        assert_eq!(replies(answer).await, vec![Reply::Integer(count)]);
    }
    assert_eq!(order.replica.progress().applied, 5);
}

#[tokio::test]
async fn a_client_that_gave_up_does_not_shift_the_replies_of_others() {
    let mut order = Order::new(4);
    let two = [incr(), incr()].concat();
    drop(order.replica.submit(2, &two, late(), held()).await);
    let second = order
        .replica
        .submit(1, &incr(), late(), held())
        .await
        .unwrap();
    order.deliver_one().await;
    assert_eq!(replies(second).await, vec![Reply::Integer(3)]);
}

#[tokio::test]
async fn the_window_limits_what_is_in_flight() {
    let mut order = Order::new(2);
    let large = encoded(&Command::Set(
        Bytes::from_static(b"k"),
        vec![0; PARCEL].into(),
    ));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(
            order
                .replica
                .submit(1, &large, late(), held())
                .await
                .unwrap(),
        );
    }
    assert_eq!(order.in_flight().await, 2);
    order.deliver_one().await;
    assert_eq!(order.in_flight().await, 2);
    order.deliver_one().await;
    order.deliver_one().await;
    assert_eq!(order.in_flight().await, 1);
}

#[tokio::test]
async fn without_room_the_deadline_refuses_and_nothing_is_executed() {
    let order = Order::new(1);
    let large = vec![0; MAXIMUM_BYTES];
    let mut answers = Vec::new();
    for _ in 0..ROOM / large.len() {
        answers.push(
            order
                .replica
                .submit(1, &large, late(), held())
                .await
                .unwrap(),
        );
    }
    let refused = order.replica.submit(1, &incr(), soon(), held()).await;
    assert_eq!(refused.err(), Some(Refusal::NoQuorum));
}

#[tokio::test]
async fn only_a_voter_takes_commands() {
    let order = Order::joining(1);
    let refusal = async || {
        let refused = order.replica.submit(1, &incr(), soon(), held()).await;
        let Err(Refusal::NotVoter(words)) = refused else {
            panic!("{:?}", refused.map(drop));
        };
        let proposed = order.replica.propose(1, b"a", soon()).await;
        assert_eq!(proposed.err(), Some(Refusal::NotVoter(words.clone())));
        words
    };
    assert!(refusal().await.starts_with("not admitted yet"));
    order.role.send_replace(Role::Newcomer);
    assert!(refusal().await.starts_with("newcomer: "));
    let excluded = Role::Excluded("of an error".to_owned());
    order.role.send_replace(excluded);
    assert!(refusal().await.ends_with("of an error"));
}

#[tokio::test]
async fn who_is_still_joining_takes_commands_as_soon_as_it_is_admitted() {
    let order = Order::joining(1);
    let role = order.role.clone();
    let replica = order.run();
    let submitted = tokio::spawn(async move { replica.submit(1, &incr(), late(), held()).await });
    yield_now().await;
    role.send_replace(Role::Voter);
    let answer = submitted.await.unwrap().unwrap();
    assert_eq!(replies(answer).await, vec![Reply::Integer(1)]);
}

#[tokio::test]
async fn proposals_are_answered_with_what_was_decided_between_commands() {
    let mut order = Order::new(8);
    let before = order
        .replica
        .submit(1, &incr(), late(), held())
        .await
        .unwrap();
    let first = order.replica.propose(7, b"a", late()).await.unwrap();
    let second = order.replica.propose(7, b"b", late()).await.unwrap();
    let after = order
        .replica
        .submit(1, &incr(), late(), held())
        .await
        .unwrap();
    for _ in 0..4 {
        order.deliver_one().await;
    }
    let decided = ProposalResult::Decided(Bytes::from_static(b"a"));
    assert_eq!(replies(before).await, vec![Reply::Integer(1)]);
    assert_eq!(first.await.as_ref(), Ok(&decided));
    assert_eq!(second.await.as_ref(), Ok(&decided));
    assert_eq!(replies(after).await, vec![Reply::Integer(2)]);
    // An instance that is already decided here needs no message.
    let third = order.replica.propose(7, b"c", late()).await.unwrap();
    assert_eq!(third.await, Ok(decided));
    assert_eq!(order.in_flight().await, 0);
}

/// The payload of a message that increments.
fn increment() -> Bytes {
    let mut payload = machine::commands();
    payload.extend_from_slice(&incr());
    payload.freeze()
}

#[tokio::test]
async fn who_was_too_far_behind_answers_what_came_after_its_new_state_only() {
    let (mut ahead, mut behind) = (Order::new(8), Order::new(8));
    let before = behind.replica.submit(1, &incr(), late(), held()).await;
    let before = before.unwrap();
    assert_eq!(behind.in_flight().await, 1);
    let after = behind.replica.submit(1, &incr(), late(), held()).await;
    let after = after.unwrap();
    assert_eq!(behind.in_flight().await, 2);
    // The others have delivered the first one.
    ahead.deliver(increment());
    behind.alone.restore(ahead.alone.snapshot(), 1).unwrap();
    behind.deliver_one().await;
    assert_eq!(replies(after).await, vec![Reply::Integer(2)]);
    assert!(before.await.is_err(), "its reply is not known here");
    assert_eq!(behind.replica.progress().in_flight, 0);
}

#[tokio::test]
async fn equal_sequences_give_equal_states() {
    let (mut one, mut other) = (Order::new(8), Order::new(8));
    for order in [&mut one, &mut other] {
        order.deliver(increment());
        order.deliver(machine::proposal(3, b"a"));
        order.deliver(Bytes::from_static(b"nothing that is known"));
    }
    assert_eq!(one.state(), other.state());
    assert_eq!(one.replica.progress().undecodable, 1);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_changes_nothing() {
    let (mut ahead, mut behind) = (Order::new(8), Order::new(8));
    for _ in 0..3 {
        ahead.deliver(increment());
    }
    behind.deliver(increment());
    let mut view = ahead.alone.snapshot();
    let chunk = view.next_chunk().unwrap();
    let mut half = Store::default();
    half.restore(Chunk::of(chunk.slice(..chunk.len() / 2)))
        .unwrap();
    assert!(half.restored().is_err());
    let progress = behind.replica.progress();
    assert_eq!((progress.delivered, progress.applied), (1, 1));
    behind.alone.restore(ahead.alone.snapshot(), 0).unwrap();
    assert_eq!(behind.replica.progress().delivered, 3);
    assert_eq!(behind.state(), ahead.state());
}

#[tokio::test]
async fn once_the_store_is_gone_nobody_waits_for_ever() {
    let order = Order::new(1);
    let first = order.replica.submit(1, &incr(), late(), held()).await;
    assert_eq!(order.in_flight().await, 1);
    let second = order.replica.submit(1, &incr(), late(), held()).await;
    order.alone.stop();
    assert!(first.unwrap().await.is_err());
    assert!(second.unwrap().await.is_err());
    assert_eq!(order.replica.progress().in_flight, 0);
}
