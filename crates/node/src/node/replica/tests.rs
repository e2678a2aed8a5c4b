use super::*;
use crate::node::indications;
use bytes::Bytes;
use quorate_abstractions::{
    link::Status,
    pressure::{Hindrance, Room},
    reconfigurable::{Configuration, View as StateView},
};
use quorate_core::{Incarnation, Membership, ProcessId};
use quorate_services::kv::Command;
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};

/// A total order of one process, that delivers what the test lets through.
pub(crate) struct Order {
    pub replica: Replica,
    pub view: View,
    requests: mpsc::UnboundedReceiver<Request>,
    indications: Addr<Indication>,
    delivered: u64,
}

/// Nobody counts what is returned.
fn held() -> Held {
    Held::uncounted()
}

async fn replies(answer: Answer) -> Vec<Reply> {
    answer.await.unwrap().0
}

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

fn origin() -> Origin {
    Origin {
        process: p(1),
        incarnation: Incarnation(1),
    }
}

fn newcomer_status() -> Status {
    Status::Newcomer {
        by: p(2),
        known: Incarnation(9),
    }
}

impl Order {
    /// Of a voter. Must be made inside a runtime.
    pub fn new(window: usize) -> Self {
        let order = Self::joining(window);
        order.view.upon_status(Status::Admitted);
        order
    }

    /// Of a process that has not been admitted yet.
    fn joining(window: usize) -> Self {
        let view = View::new(
            origin(),
            Membership::of_size(3).unwrap(),
            Duration::from_secs(2),
        );
        let (out, requests) = mpsc::unbounded_channel();
        let (indications, indicated) = indications::channel(Addr::nowhere());
        let out = Addr::new(move |request| out.send(request).unwrap());
        let replica = Replica::new(origin(), out, window, view.clone());
        let (sender, follower) = (replica.clone(), replica.clone());
        tokio::spawn(async move { sender.send_parcels().await });
        tokio::spawn(async move { follower.follow(indicated).await });
        Order {
            replica,
            view,
            requests,
            indications,
            delivered: 0,
        }
    }

    async fn next_broadcast(&mut self) -> Bytes {
        match self.requests.recv().await {
            Some(Request::Broadcast(Broadcast { payload })) => payload,
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&mut self, payload: Bytes) {
        self.delivered += 1;
        self.indicate(Indication::Deliver(Deliver {
            origin: origin(),
            first: self.delivered,
            payloads: vec![payload],
        }));
    }

    fn indicate(&self, indication: Indication) {
        self.indications.send(indication);
    }

    /// Waits for the next message and delivers it; says how many bytes it was.
    pub async fn deliver_one(&mut self) -> usize {
        let payload = self.next_broadcast().await;
        let length = payload.len();
        self.deliver(payload);
        length
    }

    /// The state that the replica gives to whom has this ticket.
    async fn state(&mut self, ticket: u64) -> Bytes {
        self.indicate(Indication::StateWanted { ticket });
        match self.requests.recv().await {
            Some(Request::State { ticket: t, view }) if t == ticket => whole(view),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the replica has acted upon all that was indicated.
    async fn settle(&mut self) {
        self.state(u64::MAX).await;
    }

    /// Gives the replica a state, in pieces.
    fn restore(&self, mut state: Bytes) {
        self.indicate(Indication::Restore(Restore::Begin));
        while !state.is_empty() {
            let chunk = state.split_to(state.len().min(7));
            self.indicate(Indication::Restore(Restore::Chunk(chunk)));
        }
        self.indicate(Indication::Restore(Restore::Whole));
    }

    /// Delivers everything, for ever.
    pub fn run(mut self) -> (Replica, View) {
        let handles = (self.replica.clone(), self.view.clone());
        tokio::spawn(async move {
            loop {
                self.deliver_one().await;
            }
        });
        handles
    }
}

/// All that a view gives.
fn whole(mut view: StateView) -> Bytes {
    let mut whole = BytesMut::new();
    while let Some(chunk) = view.next_chunk() {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
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
    let length = order.deliver_one().await;
    let expected = machine::commands().len() + 5 * incr().len();
    assert_eq!(length, expected, "one message carries all five");
    for (count, answer) in (1..).zip(answers) {
        assert_eq!(replies(answer).await, vec![Reply::Integer(count)]);
    }
    assert_eq!(order.replica.progress().applied, 5);
}

#[tokio::test]
async fn nothing_enters_total_order_while_the_peers_have_no_room() {
    let mut order = Order::new(8);
    let slow = Hindrance {
        by: p(2),
        owed: 9 << 20,
        announced: false,
    };
    let rooms = order.view.rooms().clone();
    rooms.upon_room((ORDER.into(), Room::Full(slow)));
    let told = order.view.to_json()["slowed"][0].clone();
    assert_eq!((&told["module"], &told["by"]), (&ORDER.into(), &2.into()));
    let answer = order
        .replica
        .submit(1, &incr(), late(), held())
        .await
        .unwrap();
    let early = timeout(Duration::from_millis(20), order.next_broadcast()).await;
    assert!(early.is_err(), "{early:?}");
    rooms.upon_room((ORDER.into(), Room::Open));
    order.deliver_one().await;
    assert_eq!(replies(answer).await, vec![Reply::Integer(1)]);
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
async fn the_window_limits_what_is_under_way() {
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
    let first = order.next_broadcast().await;
    order.next_broadcast().await;
    let third = timeout(Duration::from_millis(50), order.requests.recv()).await;
    assert!(third.is_err(), "a third is under way");
    order.deliver(first);
    order.next_broadcast().await;
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
    order.view.upon_status(newcomer_status());
    assert!(refusal().await.starts_with("newcomer: "));
    order.view.upon_status(Status::Excluded {
        by: p(2),
        reason: "of an error".into(),
    });
    assert!(refusal().await.ends_with("of an error"));
}

#[tokio::test]
async fn who_is_still_joining_takes_commands_as_soon_as_it_is_admitted() {
    let (replica, view) = Order::joining(1).run();
    let submitted = tokio::spawn(async move { replica.submit(1, &incr(), late(), held()).await });
    tokio::task::yield_now().await;
    view.upon_status(Status::Admitted);
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
    let decided = Outcome::Decided(Bytes::from_static(b"a"));
    assert_eq!(replies(before).await, vec![Reply::Integer(1)]);
    assert_eq!(first.await.as_ref(), Ok(&decided));
    assert_eq!(second.await.as_ref(), Ok(&decided));
    assert_eq!(replies(after).await, vec![Reply::Integer(2)]);
    // What is decided here already needs no message.
    let third = order.replica.propose(7, b"c", late()).await.unwrap();
    assert_eq!(third.await, Ok(decided));
    assert!(order.requests.try_recv().is_err());
}

/// The payload of a message that increments.
fn increment() -> Bytes {
    let mut payload = machine::commands();
    payload.extend_from_slice(&incr());
    payload.freeze()
}

#[tokio::test]
async fn a_newcomer_gets_the_state_of_exactly_the_point_at_which_it_was_wanted() {
    let mut giver = Order::new(8);
    giver.deliver(increment());
    giver.deliver(machine::proposal(3, b"a"));
    // Everything is in the queue before anything is acted upon.
    giver.indicate(Indication::StateWanted { ticket: 5 });
    giver.deliver(increment());
    let Some(Request::State { ticket: 5, view }) = giver.requests.recv().await else {
        panic!("no state");
    };

    let mut taker = Order::joining(8);
    taker.view.upon_status(newcomer_status());
    let waiting = {
        let replica = taker.replica.clone();
        tokio::spawn(async move { replica.submit(1, &incr(), late(), held()).await })
    };
    taker.restore(whole(view));
    let configuration = Configuration {
        number: 1,
        newcomers: vec![(origin(), 1)],
    };
    taker.indicate(Indication::Configuration(configuration));
    // The third message of the order, by whoever it was; then what waited here.
    taker.indicate(Indication::Deliver(Deliver {
        origin: Origin {
            process: p(1),
            incarnation: Incarnation(9),
        },
        first: 2,
        payloads: vec![increment()],
    }));
    let answer = waiting.await.unwrap().unwrap();
    taker.deliver_one().await;
    assert_eq!(replies(answer).await, vec![Reply::Integer(3)]);
    let decided = taker.replica.propose(3, b"b", late()).await.unwrap();
    assert_eq!(
        decided.await,
        Ok(Outcome::Decided(Bytes::from_static(b"a")))
    );
    assert_eq!(taker.view.to_json()["standing"], "voter");
    assert_eq!(taker.view.to_json()["configuration"], 1);
    assert_eq!(taker.replica.progress().delivered, 4);
}

#[tokio::test]
async fn who_was_too_far_behind_answers_what_came_after_its_new_state_only() {
    let (mut ahead, mut behind) = (Order::new(8), Order::new(8));
    let before = behind
        .replica
        .submit(1, &incr(), late(), held())
        .await
        .unwrap();
    let first = behind.next_broadcast().await;
    let after = behind
        .replica
        .submit(1, &incr(), late(), held())
        .await
        .unwrap();
    let second = behind.next_broadcast().await;
    // The others have delivered the first one.
    ahead.deliver(first);
    behind.restore(ahead.state(1).await);
    behind.delivered = 1;
    behind.deliver(second);
    assert_eq!(replies(after).await, vec![Reply::Integer(2)]);
    assert!(before.await.is_err(), "its reply is not known here");
    assert_eq!(behind.replica.progress().under_way, 0);
}

#[tokio::test]
async fn equal_sequences_give_equal_states() {
    let (mut one, mut other) = (Order::new(8), Order::new(8));
    for order in [&mut one, &mut other] {
        order.deliver(increment());
        order.deliver(machine::proposal(3, b"a"));
        order.deliver(Bytes::from_static(b"nothing that is known"));
    }
    assert_eq!(one.state(1).await, other.state(2).await);
}

#[tokio::test]
async fn a_newcomer_that_cannot_read_its_state_does_not_serve() {
    let order = Order::joining(8);
    order.view.upon_status(newcomer_status());
    order.restore(Bytes::from_static(b"nonsense"));
    let refused = order.replica.submit(1, &incr(), late(), held()).await;
    let Err(Refusal::NotVoter(words)) = refused else {
        panic!("it serves");
    };
    assert!(words.contains("cannot read the state"), "{words}");
}

#[tokio::test]
async fn until_a_state_is_whole_the_replica_has_the_one_that_it_had() {
    let (mut ahead, mut behind) = (Order::new(8), Order::new(8));
    for _ in 0..3 {
        ahead.deliver(increment());
    }
    let state = ahead.state(1).await;
    let half = state.slice(..state.len() / 2);
    let begin = || Indication::Restore(Restore::Begin);
    behind.deliver(increment());
    behind.indicate(begin());
    behind.indicate(Indication::Restore(Restore::Chunk(half.clone())));
    behind.deliver(increment());
    // Nothing comes of this one, and the next one begins from its beginning.
    behind.indicate(Indication::Restore(Restore::Abandoned));
    behind.indicate(Indication::Restore(Restore::Chunk(half.clone())));
    behind.indicate(Indication::Restore(Restore::Whole));
    behind.indicate(begin());
    behind.indicate(Indication::Restore(Restore::Chunk(half.clone())));
    behind.indicate(begin());
    behind.indicate(Indication::Restore(Restore::Chunk(half.clone())));
    behind.settle().await;
    let progress = behind.replica.progress();
    assert_eq!((progress.delivered, progress.applied), (2, 2));
    assert_eq!(progress.incoming, Some(half.len() as u64));
    let rest = state.slice(half.len()..);
    behind.indicate(Indication::Restore(Restore::Chunk(rest)));
    behind.indicate(Indication::Restore(Restore::Whole));
    behind.settle().await;
    let progress = behind.replica.progress();
    assert_eq!((progress.delivered, progress.incoming), (3, None));
    assert_eq!(behind.state(2).await, state);
}
